//! Who may use the local API (pure).

/// The user whose processes alone own everything.
const ROOT: u32 = 0;

/// True if a process of user `caller` may speak with one of user `owner`: the same user, or root, whom nothing
/// could be kept from anyway.
pub(super) const fn may_call(owner: u32, caller: u32) -> bool {
    caller == owner || caller == ROOT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_call() {
        for (owner, caller, may) in [
            (1000, 1000, true),
            (1000, 0, true),
            (1000, 1001, false),
            (0, 0, true),
            (0, 1000, false),
            (1000, u32::MAX, false),
        ] {
            assert_eq!(may_call(owner, caller), may, "{caller} calls {owner}");
        }
    }
}
