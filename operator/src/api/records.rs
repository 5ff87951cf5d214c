//! Member records, computed from Peer objects. Ed25519 is deterministic, so every leader signs the same
//! bytes for the same Peer and time of issue. Pure.

use kube::ResourceExt;
use peerup_crds::{PairingCode, Peer, PeerMethod, PeerNetwork};
use peerup_protocol::{
    UnixTime,
    id::InvalidId,
    record::{MemberRecord, Method, Signed},
};

use crate::{clock, keys::NetworkKey};

/// A Peer object that no record can be made of: somebody wrote it by hand.
#[derive(Debug, thiserror::Error)]
#[error("the Peer {name} cannot be read: {reason}")]
pub(super) struct Unreadable {
    name: String,
    reason: String,
}

/// How long records of this peer live, in seconds.
pub(crate) fn life(network: &PeerNetwork, peer: &Peer, code: Option<&PairingCode>) -> UnixTime {
    let peers = &network.spec.peers;
    let seconds = match peer.spec.method {
        PeerMethod::Attested => peers.attested_ttl_seconds,
        PeerMethod::Code => {
            let own = code.and_then(|code| code.spec.peer.as_ref()?.credential_ttl_seconds);
            own.unwrap_or(peers.credential_ttl_seconds)
        }
    };
    u64::from(seconds)
}

/// When the record that is now in force began: at the peer's creation, and again whenever two thirds of a
/// life are over. Who asks twice gets the same bytes, and never an expired record.
pub(crate) fn issued(peer: &Peer, life: UnixTime, now: UnixTime) -> UnixTime {
    let created = peer
        .creation_timestamp()
        .map_or(now, |time| clock::unix(&time));
    let period = (life / 3 * 2).max(1);
    created + now.saturating_sub(created) / period * period
}

/// The record of a peer, issued at a time.
pub(super) fn sign(
    key: &NetworkKey,
    peer: &Peer,
    issued: UnixTime,
    life: UnixTime,
) -> Result<Signed, Unreadable> {
    let record = MemberRecord {
        net: key.id,
        serial: peer
            .spec
            .serial
            .parse()
            .map_err(|error: InvalidId| unreadable(peer, &error))?,
        peer: peer
            .spec
            .peer_id
            .parse()
            .map_err(|error| unreadable(peer, &error))?,
        name: peer
            .spec
            .display_name
            .parse()
            .map_err(|error: InvalidId| unreadable(peer, &error))?,
        subject: peer.spec.subject.clone().unwrap_or_default(),
        method: match peer.spec.method {
            PeerMethod::Code => Method::Code,
            PeerMethod::Attested => Method::Attested,
        },
        issued,
        not_after: issued + life,
    };
    Ok(Signed::sign(&key.signing, record.encode()))
}

fn unreadable(peer: &Peer, reason: &impl ToString) -> Unreadable {
    Unreadable {
        name: peer.name_any(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use peerup_protocol::secret::NetworkSeed;
    use serde_json::json;

    use super::*;

    fn peer() -> Peer {
        serde_json::from_value(json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "Peer",
            "metadata": {"name": "main.laptop", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "networkRef": {"name": "main"}, "peerID": "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                "serial": "00000000000000ff", "type": "External", "method": "Code",
                "pairingCodeRef": {"name": "team", "slot": 0}, "displayName": "laptop",
            },
        }))
        .unwrap()
    }

    #[test]
    fn periods_follow_each_other_without_a_gap() {
        let created = clock::unix(&peer().creation_timestamp().unwrap());
        for (now, expected) in [
            (0, 0),
            (599, 0),
            (600, 600),
            (1199, 600),
            (6_000_001, 6_000_000),
        ] {
            assert_eq!(
                issued(&peer(), 900, created + now),
                created + expected,
                "{now}"
            );
        }
        assert_eq!(
            issued(&peer(), 900, created - 5),
            created,
            "our clock is behind"
        );
        assert_eq!(issued(&peer(), 0, created + 7), created + 7);
    }

    #[test]
    fn the_same_peer_and_time_give_the_same_bytes() {
        let key = NetworkKey::new(NetworkSeed::new([7; 32]));
        let first = sign(&key, &peer(), 1000, 60).unwrap();
        assert_eq!(
            first,
            sign(
                &NetworkKey::new(NetworkSeed::new([7; 32])),
                &peer(),
                1000,
                60
            )
            .unwrap()
        );
        assert!(first.verify(&key.public()).is_ok());
        let record = MemberRecord::decode(&first.bytes).unwrap();
        assert_eq!(
            (
                record.serial.0,
                record.name.as_str(),
                record.subject.as_str()
            ),
            (255, "laptop", "")
        );
        assert_eq!(
            (record.method, record.issued, record.not_after),
            (Method::Code, 1000, 1060)
        );
    }

    #[test]
    fn a_peer_written_by_hand_is_told() {
        let key = NetworkKey::new(NetworkSeed::new([7; 32]));
        let mut bad = peer();
        bad.spec.serial = "many".to_owned();
        assert!(
            sign(&key, &bad, 0, 1)
                .unwrap_err()
                .to_string()
                .starts_with("the Peer main.laptop cannot be read: ")
        );
    }
}
