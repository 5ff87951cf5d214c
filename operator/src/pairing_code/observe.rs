//! Reads all that the decision about a PairingCode needs; every read is one of memory.

use std::sync::Arc;

use kube::ResourceExt as _;
use peerup_crds::{
    PairingCode, PeerNetwork,
    relays::{Side, responders},
};
use peerup_protocol::UnixTime;

use super::decide::{Delivery, Observed, hashes, may_come, secret_name};
use crate::{clock, context::Context, keys::KeyError, network::observe::available};

/// Looks.
pub(super) fn observe(context: &Context, code: Arc<PairingCode>, delivery: Delivery) -> Observed {
    let namespace = code.namespace().unwrap_or_default();
    let network = context
        .stores
        .networks
        .get(&namespace, &code.spec.network_ref.name);
    let others: Vec<_> = context
        .stores
        .codes
        .list_in(&namespace)
        .into_iter()
        .filter(|other| other.uid() != code.uid())
        .collect();
    let now = clock::now();
    Observed {
        now,
        key: network
            .as_ref()
            .map_or(Err(KeyError::NotMade), |network| context.keys.of(network)),
        responders: network
            .as_deref()
            .map_or_else(Vec::new, |network| responders(network, Side::Outside)),
        other_codes: others
            .iter()
            .map(|other| counted(other, &code, network.as_deref(), now))
            .sum(),
        secret_rival: others
            .iter()
            .find(|other| is_rival(other, &code))
            .map(|other| other.name_any()),
        group_rival: others
            .iter()
            .find(|other| has_group_of(other, &code))
            .map(|other| other.name_any()),
        delivery,
        network,
        code,
    }
}

/// What another PairingCode of the network takes of its quota: codes that can be used, or that it will get first.
fn counted(
    other: &PairingCode,
    code: &PairingCode,
    network: Option<&PeerNetwork>,
    now: UnixTime,
) -> u32 {
    if other.spec.network_ref != code.spec.network_ref {
        return 0;
    }
    let issued = other
        .status
        .as_ref()
        .is_some_and(|status| status.group.is_some());
    let comes =
        is_older(other, code) && network.is_some_and(|network| may_come(other, network, now));
    match (issued, comes) {
        (true, _) => available(other),
        (false, true) => other.spec.count.into(),
        (false, false) => 0,
    }
}

fn is_older(other: &PairingCode, code: &PairingCode) -> bool {
    let age = |code: &PairingCode| (code.creation_timestamp(), code.uid());
    age(other) < age(code)
}

fn is_rival(other: &PairingCode, code: &PairingCode) -> bool {
    let holds = other
        .status
        .as_ref()
        .is_some_and(|status| status.secret_ref.is_some());
    let name = secret_name(code);
    (holds || is_older(other, code)) && name.is_some() && secret_name(other) == name
}

/// Whether another PairingCode has this one's group, or asked for it before.
fn has_group_of(other: &PairingCode, code: &PairingCode) -> bool {
    let Some(wanted) = hashes(code).map(|hashes| &hashes.group) else {
        return false;
    };
    let has = other
        .status
        .as_ref()
        .is_some_and(|status| status.group.as_ref() == Some(wanted));
    let asked = hashes(other).is_some_and(|hashes| hashes.group == *wanted);
    other.spec.network_ref == code.spec.network_ref && (has || (asked && is_older(other, code)))
}
