//! What a network signs: its document and its revocations, under numbers that only grow.

use peerup_crds::{
    PeerNetworkSpec, PeerNetworkStatus, Revocation, StaleRevocations, Switch, Verification,
};
use peerup_pairing::membership::SKEW_SECONDS;
use peerup_protocol::{
    id::{DhtNamespace, Serial},
    record::{Flags, NetworkDocument, Relay, Revocations, Signed},
};

use super::{Observed, RESIGN_SECONDS, relay_addresses, relay_peer};
use crate::{clock, context::Published, keys::NetworkKey};

/// What follows for status and members.
pub(super) struct Plan {
    pub(super) epoch: u64,
    pub(super) revocations: Vec<Revocation>,
    pub(super) publish: Option<Published>,
}

pub(super) fn plan(
    seen: &Observed,
    key: &NetworkKey,
    dht_namespace: &str,
    status: &PeerNetworkStatus,
) -> Plan {
    let revocations = unexpired(seen);
    let written = seen
        .network
        .status
        .as_ref()
        .and_then(|status| status.epoch)
        .unwrap_or(0);
    // A name that breaks the rule cannot pass the API server; then nothing is signed.
    let Ok(namespace) = DhtNamespace::parse(dht_namespace) else {
        return Plan {
            epoch: written,
            revocations,
            publish: None,
        };
    };
    let relays = (0..).zip(&status.relays).map(|(ordinal, _)| Relay {
        peer: relay_peer(key, ordinal),
        addresses: relay_addresses(seen, ordinal),
    });
    let mut document = NetworkDocument {
        net: key.id,
        epoch: 0,
        issued: seen.now,
        namespace,
        cluster: seen.cluster.clone(),
        flags: flags(&seen.network.spec),
        relays: relays.collect(),
        access: Vec::new(),
    };
    let mut list = Revocations {
        net: key.id,
        epoch: 0,
        issued: seen.now,
        serials: revocations
            .iter()
            .filter_map(|entry| entry.serial.parse::<Serial>().ok())
            .collect(),
    };
    let (epoch, due) = number(seen, &document, &list, written);
    document.epoch = epoch;
    list.epoch = epoch;
    let publish = due.then(|| Published {
        epoch,
        issued: seen.now,
        document: Signed::sign(&key.signing, document.encode()),
        revocations: Signed::sign(&key.signing, list.encode()),
    });
    Plan {
        epoch,
        revocations,
        publish,
    }
}

fn flags(spec: &PeerNetworkSpec) -> Flags {
    Flags {
        guests: match spec.pairing.guests {
            Switch::Enabled => true,
            Switch::Disabled => false,
        },
        access_default_deny: false,
        verification_required: match spec.peers.verification {
            Verification::Preferred => false,
            Verification::Required => true,
        },
        stale_refused: match spec.peers.stale_revocations {
            StaleRevocations::Warn => false,
            StaleRevocations::Refuse => true,
        },
    }
}

/// The number under which to publish, and whether it is time to. A content that nobody has seen under the written
/// number gets the next one; whoever revokes has written a new number already. What was signed while the clock was ahead
/// is refused by those whose clock is right, and under its own number nothing that is older replaces it.
fn number(
    seen: &Observed,
    document: &NetworkDocument,
    list: &Revocations,
    written: u64,
) -> (u64, bool) {
    let Some(published) = &seen.published else {
        return (written + 1, true);
    };
    let is_ahead = published.issued > seen.now + SKEW_SECONDS;
    let same = same_content(published, document, list) && !is_ahead;
    if written > published.epoch {
        (written, true)
    } else if same {
        (
            published.epoch,
            seen.now >= published.issued + RESIGN_SECONDS,
        )
    } else {
        (published.epoch + 1, true)
    }
}

fn same_content(published: &Published, document: &NetworkDocument, list: &Revocations) -> bool {
    let (epoch, issued) = (published.epoch, published.issued);
    let document = NetworkDocument {
        epoch,
        issued,
        ..document.clone()
    };
    let list = Revocations {
        epoch,
        issued,
        ..list.clone()
    };
    published.document.bytes == document.encode() && published.revocations.bytes == list.encode()
}

/// Entries leave when the record that they speak of has ended by itself.
fn unexpired(seen: &Observed) -> Vec<Revocation> {
    let all = seen
        .network
        .status
        .as_ref()
        .map(|status| status.revocations.as_slice())
        .unwrap_or_default();
    let mut kept: Vec<_> = all
        .iter()
        .filter(|entry| clock::unix(&entry.until_time) > seen.now)
        .cloned()
        .collect();
    kept.sort_by(|a, b| a.serial.cmp(&b.serial));
    kept
}
