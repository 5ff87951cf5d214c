//! What a network's status says.

use kube::ResourceExt as _;
use peerup_crds::{
    PeerNetwork, PeerNetworkStatus, RelayState, RelayStatus, ServiceType, Switch, UsedGroup,
    names::{self, conditions as types},
    relays,
};
use peerup_protocol::record::MAX_REVOCATIONS;

use super::{Event, Observed, relay_addresses, relay_peer};
use crate::{
    clock,
    conditions::{self, Said},
    keys::NetworkKey,
    network::addresses,
};

/// Reason of a condition that lacks objects which the API server refused.
const OBJECT_REFUSED: &str = "ObjectRefused";
/// So many of them are named.
const NAMED: usize = 3;

type Conditions = Vec<(&'static str, Said)>;

/// The status of a network that runs, but for epoch and revocations.
pub(super) fn running(seen: &Observed, key: &NetworkKey, dht_namespace: &str) -> PeerNetworkStatus {
    let relays: Vec<_> = (0..seen.network.spec.relay.managed.replicas)
        .map(|ordinal| relay(seen, key, ordinal))
        .collect();
    let available = relay_available(seen, &relays);
    let conditions = vec![
        (types::READY, ready(seen, &available)),
        (types::RELAY_AVAILABLE, available),
        (types::INJECTION_READY, injection_ready(seen)),
        (types::PEERS_REACHABLE, peers_reachable(seen)),
        (types::SUSPENDED, suspended(seen)),
    ];
    PeerNetworkStatus {
        conditions: stamped(seen, conditions),
        dht_namespace: Some(dht_namespace.to_owned()),
        network_id: Some(key.id.to_string()),
        protocol: Some(format!("/peerup/{dht_namespace}/kad/1.0.0")),
        relays,
        used_groups: used_groups(seen),
        ..counted(seen)
    }
}

/// Entries leave when the codes that they speak of have ended.
fn used_groups(seen: &Observed) -> Vec<UsedGroup> {
    let all = seen
        .network
        .status
        .as_ref()
        .map(|status| status.used_groups.as_slice())
        .unwrap_or_default();
    let mut kept = all.to_vec();
    kept.retain(|used| clock::unix(&used.until_time) > seen.now);
    kept
}

/// The status of a network that cannot run; what it was is kept.
pub(super) fn blocked(seen: &Observed, reason: &'static str, message: &str) -> PeerNetworkStatus {
    let former = seen.network.status.clone().unwrap_or_default();
    let conditions = vec![
        (types::READY, Said::no(reason, message)),
        (types::RELAY_AVAILABLE, Said::unknown(reason, message)),
        (types::INJECTION_READY, Said::no(reason, message)),
        (types::PEERS_REACHABLE, peers_reachable(seen)),
        (types::SUSPENDED, suspended(seen)),
    ];
    let counted = counted(seen);
    PeerNetworkStatus {
        conditions: stamped(seen, conditions),
        observed_generation: counted.observed_generation,
        peers: counted.peers,
        injection: counted.injection,
        active_codes: counted.active_codes,
        ..former
    }
}

fn counted(seen: &Observed) -> PeerNetworkStatus {
    PeerNetworkStatus {
        observed_generation: seen.network.metadata.generation,
        peers: Some(seen.census.counts.clone()),
        injection: Some(seen.injection.clone()),
        active_codes: Some(seen.active_codes),
        ..PeerNetworkStatus::default()
    }
}

fn stamped(
    seen: &Observed,
    said: Conditions,
) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let former = seen
        .network
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    conditions::next(
        former,
        said,
        seen.network.metadata.generation,
        &clock::time(seen.now),
    )
}

fn relay(seen: &Observed, key: &NetworkKey, ordinal: u8) -> RelayStatus {
    RelayStatus {
        name: names::relay_replica(&seen.network.name_any(), ordinal),
        peer_id: relay_peer(key, ordinal).to_string(),
        addresses: relay_addresses(seen, ordinal)
            .iter()
            .map(ToString::to_string)
            .collect(),
        state: if seen.pods.get(&ordinal).is_some_and(|pod| pod.is_ready()) {
            RelayState::Ready
        } else {
            RelayState::NotReady
        },
    }
}

/// Refused objects of the network's namespace, or of others, with the API server's words.
fn refused(seen: &Observed, elsewhere: bool) -> Option<String> {
    let all = seen.refused.iter().filter(|one| one.elsewhere == elsewhere);
    let all: Vec<_> = all.map(ToString::to_string).collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let named = &all[..all.len().min(NAMED)];
    (!all.is_empty()).then(|| named.join("; ") + &more)
}

fn ready(seen: &Observed, available: &Said) -> Said {
    if let Some(refused) = refused(seen, false) {
        let advice =
            "correct spec.relay, or remove what is in the way; until then relays stay as they are";
        return Said::no(OBJECT_REFUSED, format!("{refused}; {advice}"));
    }
    let revocations = seen
        .network
        .status
        .as_ref()
        .map_or(0, |status| status.revocations.len());
    if revocations >= MAX_REVOCATIONS {
        return Said::no(
            "RevocationsFull",
            format!(
                "{revocations} peers are revoked, which is the most; the oldest entries leave as their records end"
            ),
        );
    }
    if available.status != "True" {
        return Said::no(available.reason, available.message.clone());
    }
    Said::yes("Running", "relays serve and documents are signed")
}

fn relay_available(seen: &Observed, all: &[RelayStatus]) -> Said {
    let ready = all
        .iter()
        .filter(|relay| relay.state == RelayState::Ready)
        .count();
    let serving = format!("{ready} of {} relays are ready", all.len());
    if ready == 0 {
        return Said::no(
            "NoRelayReady",
            format!(
                "{serving}; see kubectl describe statefulset {}",
                names::relay(&seen.network.name_any())
            ),
        );
    }
    let managed = &seen.network.spec.relay.managed;
    let mut advertised = managed
        .advertise_addresses
        .iter()
        .flat_map(|advertised| &advertised.addresses);
    if let Some(problem) = advertised.find_map(|text| addresses::problem(text)) {
        return Said::yes("BadAdvertisedAddress", format!("{serving}; {problem}"));
    }
    let places = u64::from(managed.replicas) * u64::from(managed.max_reservations);
    let wanted = u64::from(managed.replicas.min(2)) * u64::from(seen.network.spec.peers.max_peers);
    if places < wanted {
        return Said::yes(
            "TooFewReservations",
            format!(
                "{serving}; {places} reservations are fewer than the {wanted} that maxPeers may need: raise maxReservations or replicas"
            ),
        );
    }
    let has_outside = |relay: &RelayStatus| {
        let outside = relays::addresses(&seen.network, relay, relays::Side::Outside);
        !outside.is_empty()
    };
    let outside = all.iter().any(has_outside);
    match (outside, managed.service.type_) {
        (true, _) => Said::yes("Available", serving),
        (false, ServiceType::ClusterIP) => Said::yes(
            "InsideOnly",
            format!(
                "{serving}, reachable from inside the cluster; for machines outside set relay.managed.service.type or advertiseAddresses"
            ),
        ),
        (false, ServiceType::NodePort | ServiceType::LoadBalancer) => Said::yes(
            "NoOutsideAddress",
            format!("{serving}; no address from outside is known yet"),
        ),
    }
}

fn injection_ready(seen: &Observed) -> Said {
    // Those who can cause it are not those who can set the network right, so it stays Ready.
    if let Some(refused) = refused(seen, true) {
        let advice = "sidecars there do not hear of new certificates of the operator: remove the object in the way";
        return Said::no(OBJECT_REFUSED, format!("{refused}; {advice}"));
    }
    if seen.network.spec.injection.policy == Switch::Disabled {
        return Said::no(
            "InjectionDisabled",
            "injection.policy is Disabled: no pod gets a new sidecar",
        );
    }
    let counts = &seen.injection;
    if counts.not_injected > 0 {
        let message = format!(
            "{} pods asked for a sidecar and have none; restart them, and see their owners' events",
            counts.not_injected
        );
        return Said::no("NotInjected", message);
    }
    if counts.outdated > 0 {
        return Said::yes(
            "Outdated",
            format!(
                "{} of {} pods have the sidecar of a former template until they restart",
                counts.outdated, counts.pods
            ),
        );
    }
    Said::yes("Injecting", format!("{} pods have a sidecar", counts.pods))
}

fn peers_reachable(seen: &Observed) -> Said {
    let counts = &seen.census.counts;
    let minimum = seen.network.spec.reachability.minimum_grade;
    if counts.below_minimum > 0 {
        return Said::no(
            "BelowMinimumGrade",
            format!(
                "{} of {} peers are below grade {minimum}",
                counts.below_minimum, counts.total
            ),
        );
    }
    if counts.unknown > 0 {
        return Said::unknown(
            "ReportsMissing",
            format!(
                "{} of {} peers have not reported lately",
                counts.unknown, counts.total
            ),
        );
    }
    Said::yes(
        "AllReachable",
        format!("no peer of {} is below grade {minimum}", counts.total),
    )
}

fn suspended(seen: &Observed) -> Said {
    if seen.network.spec.suspend {
        Said::yes(
            "Suspended",
            "spec.suspend is set: no new codes, joins or records",
        )
    } else {
        Said::no("Active", "the network takes new members")
    }
}

/// The status, if it says something new.
pub(super) fn if_changed(
    network: &PeerNetwork,
    status: PeerNetworkStatus,
) -> Option<PeerNetworkStatus> {
    (network.status.as_ref() != Some(&status)).then_some(status)
}

/// Events when readiness changes or changes its reason, and when objects elsewhere are refused.
pub(super) fn events(network: &PeerNetwork, status: &PeerNetworkStatus) -> Vec<Event> {
    let former = network
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let before = |type_| conditions::find(former, type_).map(|said| said.reason.as_str());
    let news = |type_| {
        let said = conditions::find(&status.conditions, type_)?;
        (before(type_) != Some(said.reason.as_str())).then_some(said)
    };
    let ready = news(types::READY).map(|ready| {
        let begins = before(types::READY).is_none() && ready.reason == "NoRelayReady";
        if begins {
            return Event {
                warning: false,
                reason: "Starting".to_owned(),
                note: "relays are starting".to_owned(),
            };
        }
        Event {
            warning: ready.status != "True",
            reason: ready.reason.clone(),
            note: ready.message.clone(),
        }
    });
    let elsewhere = news(types::INJECTION_READY).filter(|said| said.reason == OBJECT_REFUSED);
    let elsewhere = elsewhere.map(|said| Event {
        warning: true,
        reason: said.reason.clone(),
        note: said.message.clone(),
    });
    ready.into_iter().chain(elsewhere).collect()
}
