//! Who may use a service of this peer (pure).

use peerup_protocol::UnixTime;
use peerup_protocol::record::{MemberRecord, Method, NetworkDocument};
use peerup_protocol::service::{ServiceAnswer, ServiceName};

use crate::membership::Membership;

/// Who asks, as far as this peer knows by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    /// The record that this peer has verified on the connection and that holds now; none of a relay.
    pub(super) record: Option<&'a MemberRecord>,
    /// Whether a person here has compared with it.
    pub(super) verified: bool,
}

/// The network, as far as this peer knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// The newest document; none before a relay has told the first one.
    pub(super) document: Option<&'a NetworkDocument>,
    /// Whether this peer would have heard of a revocation.
    pub(super) is_fresh: bool,
}

impl<'a> View<'a> {
    pub(super) fn of(membership: &'a Membership, now: UnixTime) -> Self {
        Self {
            document: membership.document(),
            is_fresh: membership.hears_of_revocations(now),
        }
    }

    /// What the network's switches have against services with a peer, in either direction. `vouched` says whether the
    /// cluster knows it, `verified` whether a person here has compared with it. Without a document nothing is known
    /// against anybody.
    fn objection(&self, vouched: bool, verified: bool) -> Option<ServiceAnswer> {
        let flags = self.document?.flags;
        if flags.verification_required && !vouched && !verified {
            return Some(ServiceAnswer::VerificationRequired);
        }
        (flags.stale_refused && !self.is_fresh).then_some(ServiceAnswer::StaleRevocations)
    }

    /// What they have against services with this member.
    pub(super) fn objection_to(
        &self,
        record: &MemberRecord,
        verified: bool,
    ) -> Option<ServiceAnswer> {
        let vouched = match record.method {
            Method::Attested | Method::Voucher => true,
            Method::Code => false,
        };
        self.objection(vouched, verified)
    }
}

/// What one stream may do. `room` says whether this peer carries another one of the asker.
pub(super) fn decide(
    service: &ServiceName,
    asker: Asker<'_>,
    network: View<'_>,
    room: bool,
) -> ServiceAnswer {
    let Some(record) = asker.record else {
        return ServiceAnswer::NotAllowed;
    };
    // Before the first document nobody knows the rules; it comes with the first relay.
    let Some(document) = network.document else {
        return ServiceAnswer::Busy;
    };
    if !is_open(service, document) {
        return ServiceAnswer::NotAllowed;
    }
    if let Some(refusal) = network.objection_to(record, asker.verified) {
        return refusal;
    }
    if room {
        ServiceAnswer::Accepted
    } else {
        ServiceAnswer::Busy
    }
}

/// What one stream of a guest of this peer may do. Nobody but a person here can vouch for a guest.
pub(super) fn decide_guest(
    service: &ServiceName,
    verified: bool,
    network: View<'_>,
    room: bool,
) -> ServiceAnswer {
    let Some(document) = network.document else {
        return ServiceAnswer::Busy;
    };
    if !document.flags.guests || !is_open(service, document) {
        return ServiceAnswer::NotAllowed;
    }
    if let Some(refusal) = network.objection(false, verified) {
        return refusal;
    }
    if room {
        ServiceAnswer::Accepted
    } else {
        ServiceAnswer::Busy
    }
}

/// What one stream of this guest's sponsor may do. A guest does not know the network's rules; what it exposes, it
/// exposes to its sponsor, who is the only one that reaches it.
pub(super) const fn decide_sponsor(room: bool) -> ServiceAnswer {
    if room {
        ServiceAnswer::Accepted
    } else {
        ServiceAnswer::Busy
    }
}

/// Open to every member. Access rules are not read: where one concerns the service, or all is closed by default,
/// nobody is let in, since nobody can be told from those who may.
fn is_open(service: &ServiceName, network: &NetworkDocument) -> bool {
    let concerns = |rule: &String| {
        let name = rule.split('=').next().unwrap_or_default().trim();
        name == "*" || name == service.as_str()
    };
    !network.flags.access_default_deny && !network.access.iter().any(concerns)
}

#[cfg(test)]
mod tests {
    use peerup_protocol::SigningKey;
    use peerup_protocol::id::{DhtNamespace, NetworkId, PeerName, Serial, peer_id};
    use peerup_protocol::record::Flags;

    use super::*;

    fn record(method: Method) -> MemberRecord {
        MemberRecord {
            net: NetworkId([1; 16]),
            serial: Serial(1),
            peer: peer_id(&SigningKey::from_bytes(&[2; 32]).verifying_key()),
            name: PeerName::parse("laptop").unwrap(),
            subject: String::new(),
            method,
            issued: 0,
            not_after: 1,
        }
    }

    fn network() -> NetworkDocument {
        NetworkDocument {
            net: NetworkId([1; 16]),
            epoch: 1,
            issued: 0,
            namespace: DhtNamespace::parse("crew").unwrap(),
            cluster: "local".to_owned(),
            flags: Flags::default(),
            relays: Vec::new(),
            access: Vec::new(),
        }
    }

    fn view(document: &NetworkDocument) -> View<'_> {
        View {
            document: Some(document),
            is_fresh: true,
        }
    }

    const UNKNOWN: View<'_> = View {
        document: None,
        is_fresh: true,
    };

    fn http() -> ServiceName {
        ServiceName::parse("http").unwrap()
    }

    fn of(method: Method, verified: bool, network: &NetworkDocument) -> ServiceAnswer {
        let record = record(method);
        let asker = Asker {
            record: Some(&record),
            verified,
        };
        decide(&http(), asker, view(network), true)
    }

    #[test]
    fn members_only() {
        let asker = Asker {
            record: None,
            verified: true,
        };
        assert_eq!(
            decide(&http(), asker, view(&network()), true),
            ServiceAnswer::NotAllowed
        );
        for method in [Method::Code, Method::Attested, Method::Voucher] {
            assert_eq!(of(method, false, &network()), ServiceAnswer::Accepted);
        }
    }

    #[test]
    fn nobody_before_the_rules_are_known() {
        let record = record(Method::Attested);
        let asker = Asker {
            record: Some(&record),
            verified: true,
        };
        assert_eq!(decide(&http(), asker, UNKNOWN, true), ServiceAnswer::Busy);
    }

    #[test]
    fn verification_is_by_a_cluster_or_by_a_person_here() {
        let mut strict = network();
        strict.flags.verification_required = true;
        for (method, verified, expected) in [
            (Method::Code, false, ServiceAnswer::VerificationRequired),
            (Method::Code, true, ServiceAnswer::Accepted),
            (Method::Attested, false, ServiceAnswer::Accepted),
            (Method::Voucher, false, ServiceAnswer::Accepted),
        ] {
            assert_eq!(of(method, verified, &strict), expected, "{method:?}");
        }
    }

    #[test]
    fn who_may_have_missed_a_revocation_lets_nobody_in_where_the_network_wants_that() {
        let record = record(Method::Attested);
        let asker = Asker {
            record: Some(&record),
            verified: true,
        };
        let mut wary = network();
        wary.flags.guests = true;
        for (stale_refused, is_fresh, expected) in [
            (true, false, ServiceAnswer::StaleRevocations),
            (true, true, ServiceAnswer::Accepted),
            (false, false, ServiceAnswer::Accepted),
        ] {
            wary.flags.stale_refused = stale_refused;
            let known = View {
                is_fresh,
                ..view(&wary)
            };
            assert_eq!(decide(&http(), asker, known, true), expected);
            assert_eq!(decide_guest(&http(), true, known, true), expected);
        }
    }

    #[test]
    fn a_full_peer_says_so_to_those_only_who_may() {
        let record = record(Method::Code);
        let asker = Asker {
            record: Some(&record),
            verified: false,
        };
        let mut strict = network();
        assert_eq!(
            decide(&http(), asker, view(&strict), false),
            ServiceAnswer::Busy
        );
        strict.flags.verification_required = true;
        assert_eq!(
            decide(&http(), asker, view(&strict), false),
            ServiceAnswer::VerificationRequired
        );
    }

    #[test]
    fn a_guest_uses_what_is_open_while_the_network_has_guests() {
        let with = |flags| NetworkDocument { flags, ..network() };
        let guests = Flags {
            guests: true,
            ..Flags::default()
        };
        let of = |network: &NetworkDocument, verified| {
            decide_guest(&http(), verified, view(network), true)
        };
        assert_eq!(of(&with(guests), false), ServiceAnswer::Accepted);
        assert_eq!(of(&with(Flags::default()), true), ServiceAnswer::NotAllowed);
        let strict = Flags {
            verification_required: true,
            ..guests
        };
        assert_eq!(
            of(&with(strict), false),
            ServiceAnswer::VerificationRequired
        );
        assert_eq!(of(&with(strict), true), ServiceAnswer::Accepted);
        let closed = Flags {
            access_default_deny: true,
            ..guests
        };
        assert_eq!(of(&with(closed), true), ServiceAnswer::NotAllowed);
        let mut ruled = with(guests);
        ruled.access.push("http=*".to_owned());
        assert_eq!(of(&ruled, true), ServiceAnswer::NotAllowed);
        let full = decide_guest(&http(), false, view(&with(guests)), false);
        assert_eq!(full, ServiceAnswer::Busy);
        assert_eq!(
            decide_guest(&http(), true, UNKNOWN, true),
            ServiceAnswer::Busy
        );
    }

    #[test]
    fn rules_that_are_not_read_let_nobody_in() {
        let mut closed = network();
        closed.flags.access_default_deny = true;
        assert_eq!(
            of(Method::Attested, true, &closed),
            ServiceAnswer::NotAllowed
        );
        for (rule, expected) in [
            ("http=laptop", ServiceAnswer::NotAllowed),
            (" http =laptop", ServiceAnswer::NotAllowed),
            ("*=ns:shop", ServiceAnswer::NotAllowed),
            ("ssh=laptop", ServiceAnswer::Accepted),
        ] {
            let mut ruled = network();
            ruled.access.push(rule.to_owned());
            assert_eq!(of(Method::Code, false, &ruled), expected, "{rule}");
        }
    }
}
