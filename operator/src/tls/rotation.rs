//! When the authority is replaced, and how without a moment at which somebody is not believed. Pure.
//!
//! A new authority first only joins the bundle; when everybody has had time to read that, it begins to
//! sign; when nothing that the old one signed can still be in use, the old one leaves the bundle.

use super::authority::{AUTHORITY_LIFE, Authority, LEAF_LIFE};

/// Seconds for which a new authority is published before it signs.
pub(super) const NOTICE: u64 = 86_400;

/// All authorities there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authorities {
    /// The one that signs.
    pub(super) signing: Authority,
    /// The one that will.
    pub(super) next: Option<Authority>,
    /// Certificate of the one that did.
    pub(super) previous: Option<String>,
}

/// What is to be done with the authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Keep,
    /// Make the first, or one in place of what cannot be used.
    Create,
    /// Make the next one and publish it.
    Announce,
    /// Let the next one sign.
    Promote,
    /// Take the previous one out of the bundle.
    Forget,
}

/// The step that is due.
pub(super) fn plan(authorities: Option<&Authorities>, now: u64) -> Step {
    let Some(Authorities {
        signing,
        next,
        previous,
    }) = authorities
    else {
        return Step::Create;
    };
    let announced = |next: &Authority| now >= next.created.saturating_add(NOTICE);
    match next {
        Some(next) if announced(next) => Step::Promote,
        _ if now >= signing.not_after() => Step::Create,
        Some(_) => Step::Keep,
        None if now >= signing.created.saturating_add(AUTHORITY_LIFE / 3 * 2) => Step::Announce,
        None if previous.is_some() && now >= signing.created.saturating_add(NOTICE + LEAF_LIFE) => {
            Step::Forget
        }
        None => Step::Keep,
    }
}

impl Authorities {
    /// Only one, that signs.
    pub(super) fn first(signing: Authority) -> Self {
        Self {
            signing,
            next: None,
            previous: None,
        }
    }

    /// [`Step::Announce`].
    #[must_use]
    pub(super) fn announce(self, next: Authority) -> Self {
        Self {
            next: Some(next),
            ..self
        }
    }

    /// [`Step::Promote`].
    #[must_use]
    pub(super) fn promote(self) -> Self {
        match self.next {
            Some(next) => Self {
                signing: next,
                next: None,
                previous: Some(self.signing.certificate),
            },
            None => self,
        }
    }

    /// [`Step::Forget`].
    #[must_use]
    pub(super) fn forget(self) -> Self {
        Self {
            previous: None,
            ..self
        }
    }

    /// Every certificate that is to be believed, PEM.
    pub(super) fn bundle(&self) -> String {
        let all = [
            Some(&self.signing.certificate),
            self.next.as_ref().map(|next| &next.certificate),
            self.previous.as_ref(),
        ];
        all.into_iter()
            .flatten()
            .map(|pem| format!("{}\n", pem.trim_end()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(created: u64) -> Authority {
        Authority {
            created,
            certificate: format!("certificate {created}\n"),
            key: String::new().into(),
        }
    }

    #[test]
    fn a_life_of_two_authorities() {
        let day = 86_400;
        let due = 1_000 + AUTHORITY_LIFE / 3 * 2;
        assert_eq!(plan(None, 1_000), Step::Create);
        let first = Authorities::first(authority(1_000));
        assert_eq!(plan(Some(&first), due - 1), Step::Keep);
        assert_eq!(plan(Some(&first), due), Step::Announce);
        let both = first.announce(authority(due));
        assert_eq!(
            both.bundle(),
            format!("certificate 1000\ncertificate {due}\n")
        );
        assert_eq!(
            both.signing.created, 1_000,
            "an announced one does not sign yet"
        );
        assert_eq!(plan(Some(&both), due + NOTICE - 1), Step::Keep);
        assert_eq!(plan(Some(&both), due + NOTICE), Step::Promote);
        let promoted = both.promote();
        assert_eq!(
            promoted.bundle(),
            format!("certificate {due}\ncertificate 1000\n")
        );
        assert_eq!(plan(Some(&promoted), due + 8 * day - 1), Step::Keep);
        assert_eq!(plan(Some(&promoted), due + 8 * day), Step::Forget);
        assert_eq!(promoted.forget(), Authorities::first(authority(due)));
    }

    #[test]
    fn an_expired_authority_is_replaced_at_once() {
        let first = Authorities::first(authority(0));
        assert_eq!(plan(Some(&first), AUTHORITY_LIFE), Step::Create);
        let both = first.announce(authority(AUTHORITY_LIFE - 10));
        assert_eq!(plan(Some(&both), AUTHORITY_LIFE), Step::Create);
        let late = Authorities::first(authority(0)).announce(authority(AUTHORITY_LIFE - NOTICE));
        assert_eq!(plan(Some(&late), AUTHORITY_LIFE), Step::Promote);
    }
}
