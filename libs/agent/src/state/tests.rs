//! Tests against real directories.

use super::*;

/// A directory of its own for one test, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let path =
            std::env::temp_dir().join(format!("peerup-state-{:016x}", rand::random::<u64>()));
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_key_is_made_once_for_its_owner_only() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    let first = store.identity(Secret::from([7; 32])).unwrap();
    let second = store.identity(Secret::from([8; 32])).unwrap();
    assert_eq!(first.expose(), &[7; 32]);
    assert_eq!(second.expose(), &[7; 32]);
    assert_eq!(mode_of(&dir.0).unwrap(), 0o700);
    assert_eq!(mode_of(&dir.0.join(IDENTITY)).unwrap(), 0o600);
}

#[test]
fn a_key_that_others_can_read_is_refused_or_tightened() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    store.identity(Secret::from([7; 32])).unwrap();
    let path = dir.0.join(IDENTITY);
    chmod(&path, 0o640);
    let refused = store.identity(Secret::from([8; 32])).unwrap_err();
    assert!(
        matches!(
            refused,
            StateError::Permissions {
                found: 0o640,
                expected: 0o600,
                ..
            }
        ),
        "{refused}"
    );
    drop(store);
    let store = Store::open(&dir.0, Access::Tighten).unwrap();
    assert_eq!(
        store.identity(Secret::from([8; 32])).unwrap().expose(),
        &[7; 32]
    );
    assert_eq!(mode_of(&path).unwrap(), 0o600);
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let dir = Scratch::new();
    std::fs::create_dir(&dir.0).unwrap();
    chmod(&dir.0, 0o777);
    assert!(matches!(
        Store::open(&dir.0, Access::Refuse),
        Err(StateError::Permissions { found: 0o777, .. })
    ));
    Store::open(&dir.0, Access::Tighten).unwrap();
}

#[test]
fn a_damaged_key_is_said_and_kept() {
    for content in [&[1_u8; 31][..], &[1; 33], &[]] {
        let dir = Scratch::new();
        let store = Store::open(&dir.0, Access::Refuse).unwrap();
        let path = dir.0.join(IDENTITY);
        std::fs::write(&path, content).unwrap();
        chmod(&path, 0o600);
        let error = store.identity(Secret::from([8; 32])).unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}

#[test]
fn membership_survives_a_new_process_and_can_be_forgotten() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    assert_eq!(store.membership::<String>().unwrap(), None);
    store.save_membership(&"one").unwrap();
    store.save_membership(&"two").unwrap();
    drop(store);
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    assert_eq!(
        store.membership::<String>().unwrap().as_deref(),
        Some("two")
    );
    store.forget_membership().unwrap();
    store.forget_membership().unwrap();
    assert_eq!(store.membership::<String>().unwrap(), None);
}

#[test]
fn a_failed_write_keeps_what_was_there() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    store.save_membership(&"one").unwrap();
    // A directory in the way of the file beside: works as root too, unlike permissions.
    std::fs::create_dir(dir.0.join("membership.new")).unwrap();
    let error = store.save_membership(&"two").unwrap_err();
    assert!(error.to_string().contains("membership.json"), "{error}");
    assert_eq!(
        store.membership::<String>().unwrap().as_deref(),
        Some("one")
    );
}

#[test]
fn one_process_at_a_time_and_others_see_it() {
    let dir = Scratch::new();
    assert_eq!(read_status::<String>(&dir.0).unwrap(), None);
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    store.save_status(&"joined").unwrap();
    assert!(matches!(
        Store::open(&dir.0, Access::Refuse),
        Err(StateError::InUse { .. })
    ));
    let seen = read_status::<String>(&dir.0).unwrap();
    assert_eq!(seen, Some(("joined".to_owned(), true)));
    drop(store);
    let seen = read_status::<String>(&dir.0).unwrap();
    assert_eq!(seen, Some(("joined".to_owned(), false)));
}

#[test]
fn a_membership_that_others_can_write_is_refused_before_it_is_read() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    store.save_membership(&"one").unwrap();
    store.save_services(&"web").unwrap();
    store.save_verified(&"home").unwrap();
    for (name, mode) in [(MEMBERSHIP, 0o620), (SERVICES, 0o602), (VERIFIED, 0o666)] {
        let path = dir.0.join(name);
        assert_eq!(mode_of(&path).unwrap(), 0o600);
        chmod(&path, mode);
        let refused = match name {
            MEMBERSHIP => store.membership::<String>(),
            VERIFIED => store.verified::<String>(),
            _ => store.services::<String>(),
        };
        assert!(
            matches!(
                refused,
                Err(StateError::Permissions { found, expected: 0o600, .. }) if found == mode
            ),
            "{refused:?}"
        );
    }
    drop(store);
    let pod = Store::open(&dir.0, Access::Tighten).unwrap();
    assert_eq!(pod.membership::<String>().unwrap().as_deref(), Some("one"));
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let dir = Scratch::new();
    std::fs::create_dir(&dir.0).unwrap();
    let owner = std::fs::metadata(&dir.0).unwrap().uid();
    refuse_owner(&dir.0, owner).unwrap();
    let refused = refuse_owner(&dir.0, owner + 1).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "{} belongs to user {owner}, this program runs as user {}; expected that they are the same: run it as \
             that user, or choose another directory",
            dir.0.display(),
            owner + 1
        )
    );
}

#[test]
fn what_a_crash_left_half_written_is_neither_read_nor_kept() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    store.save_membership(&"one").unwrap();
    let beside = dir.0.join("membership.new");
    std::fs::write(&beside, "\"tw").unwrap();
    chmod(&beside, 0o666);
    assert_eq!(
        store.membership::<String>().unwrap().as_deref(),
        Some("one")
    );
    store.save_membership(&"two").unwrap();
    assert_eq!(
        store.membership::<String>().unwrap().as_deref(),
        Some("two")
    );
    assert!(!beside.exists());
    assert_eq!(mode_of(&dir.0.join(MEMBERSHIP)).unwrap(), 0o600);
}

#[test]
fn erasing_leaves_nothing_of_the_peer() {
    let dir = Scratch::new();
    let store = Store::open(&dir.0, Access::Refuse).unwrap();
    store.identity(Secret::from([7; 32])).unwrap();
    store.save_membership(&"one").unwrap();
    store.save_services(&"web").unwrap();
    store.save_verified(&"home").unwrap();
    store.save_status(&"joined").unwrap();
    std::fs::write(dir.0.join("identity.new"), [7; 32]).unwrap();
    std::fs::create_dir(dir.0.join(RUN)).unwrap();
    std::fs::write(dir.0.join(RUN).join("api.sock"), "").unwrap();
    store.erase().unwrap();
    store.erase().unwrap();
    let left: Vec<_> = std::fs::read_dir(&dir.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [LOCK]);
    let fresh = store.identity(Secret::from([8; 32])).unwrap();
    assert_eq!(fresh.expose(), &[8; 32]);
}
