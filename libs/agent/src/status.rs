//! What a peer knows about itself: one JSON for the sidecar's `/status` and for `peerup status --json`.
//!
//! [`Board`] is where the tasks of an agent write it; metrics and the status file are made from it, so that they
//! never tell different stories.

use std::fmt;

use jiff::Timestamp;
use peerup_pairing::sas::Verified;
use peerup_protocol::grade::{IpVersion, Path};
use peerup_protocol::record::Method;
use peerup_protocol::report::Report;
use peerup_protocol::service::{Expose, Forward};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub mod text;
mod trigger;

pub use trigger::Trigger;

/// How far a peer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The process is up; nothing was asked of anybody yet.
    Starting,
    /// A pod proves to the operator what it is.
    Attesting,
    /// The code is being redeemed at a relay.
    Pairing,
    /// A record is held; no relay has accepted it since the start.
    Connecting,
    /// A record is held and a relay has accepted it.
    Joined,
    /// The record has expired or was revoked, and no new one could be had.
    Lapsed,
}

/// Who vouches for a peer's key, beyond its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verification {
    /// Nobody: no person has compared, no API server has attested.
    Unverified,
    /// A cluster's API server.
    Attested,
    /// A person, who has compared emoji or digits.
    #[serde(rename = "SAS")]
    Sas,
}

impl Verification {
    /// What the way of joining proves.
    #[must_use]
    pub const fn of(method: Method) -> Self {
        match method {
            Method::Attested | Method::Voucher => Self::Attested,
            Method::Code => Self::Unverified,
        }
    }
}

/// Whether a person at this peer has compared with another one. What a cluster says changes nothing here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Badge {
    /// Not, or what is stored of it does not hold.
    #[default]
    #[serde(rename = "UNVERIFIED")]
    Unverified,
    /// Both persons have said that they see the same.
    #[serde(rename = "VERIFIED")]
    Verified,
}

impl Badge {
    /// By what is stored.
    #[must_use]
    pub fn of(verified: Verified) -> Self {
        if verified.is_verified() {
            Self::Verified
        } else {
            Self::Unverified
        }
    }
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unverified => "[UNVERIFIED]",
            Self::Verified => "[VERIFIED]",
        })
    }
}

/// The status of one peer. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Its process.
    pub process_id: u32,
    /// When it started.
    pub started_time: Timestamp,
    /// When this status was last written.
    pub updated_time: Timestamp,
    /// How far it has come.
    pub phase: Phase,
    /// The peer's identity, once its key is there.
    #[serde(rename = "peerID", default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<String>,
    /// The membership, from the moment a record is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,
    /// When a relay first accepted the record after this start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_time: Option<Timestamp>,
    /// Seconds from the start of the process until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_duration_seconds: Option<f64>,
    /// When a relay or peer last proved its membership to this peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handshake_time: Option<Timestamp>,
    /// How this peer can be reached by others.
    pub path: Path,
    /// Connections to other peers, without a relay in between.
    pub direct_connections: usize,
    /// Connections to other peers through a relay.
    pub relayed_connections: usize,
    /// The network's relays that are this peer's.
    pub relays: Vec<Relay>,
    /// The other members, the guests of this peer, its sponsor.
    pub peers: Vec<Peer>,
    /// What is exposed and forwarded.
    #[serde(default, skip_serializing_if = "Services::is_empty")]
    pub services: Services,
    /// The last measurement, as reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachability: Option<Report>,
    /// The IP version that decided its grade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<IpVersion>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Timestamp>,
    /// What it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_trigger: Option<Trigger>,
    /// When one question has last confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check_time: Option<Timestamp>,
    /// When a report was last accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_report_time: Option<Timestamp>,
    /// What is wrong at present, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What the network's key has signed for this peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// The network, as 32 hex digits.
    #[serde(rename = "networkID")]
    pub network_id: String,
    /// Its DHT namespace.
    pub namespace: String,
    /// This peer's name in it.
    pub name: String,
    /// `<cluster>/<namespace>/<service account>/<pod>` for pods, else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Whose guest this peer is; nothing of a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sponsor: Option<String>,
    /// Who vouches for this peer.
    pub verification: Verification,
    /// When the record was signed.
    pub issued_time: Timestamp,
    /// When it ends, unless renewed.
    pub expiration_time: Timestamp,
    /// When the newest list of revocations was signed; a guest gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations_time: Option<Timestamp>,
}

/// One of the peer's relays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relay {
    /// Position in the network document.
    pub ordinal: usize,
    /// Its identity.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// True while a connection stands on which both sides have proved their membership.
    pub connected: bool,
    /// True while the relay takes circuits for this peer.
    pub reserved: bool,
}

/// What another peer is to this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// A member of the network.
    #[default]
    Member,
    /// A guest that this peer has invited.
    Guest,
    /// The one whose guest this peer is.
    Sponsor,
}

impl Role {
    fn is_member(&self) -> bool {
        *self == Self::Member
    }
}

/// Another peer: a member of the network, a guest of this peer, or its sponsor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its identity.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// What it is to this peer.
    #[serde(default, skip_serializing_if = "Role::is_member")]
    pub role: Role,
    /// `<cluster>/<namespace>/<service account>/<pod>` for pods, else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Who vouches for it; a person who has compared comes before a cluster.
    pub verification: Verification,
    /// Whether a person here has compared with it.
    #[serde(default)]
    pub badge: Badge,
    /// How it is connected to this peer at present.
    pub path: Path,
    /// The position in the network document of the relay between, if it is connected through one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<usize>,
    /// Why it is not connected directly, as far as both sides have measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relayed_reason: Option<String>,
}

/// Services of this peer and local ports to those of others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Services {
    /// What other members may use, as in `http=8080`.
    pub exposed: Vec<Expose>,
    /// Local ports, as in `9000=http@web`.
    pub forwards: Vec<Forward>,
    /// What was wanted and can't be, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl Services {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Status {
    /// A status at the start of the process.
    #[must_use]
    pub fn starting(now: Timestamp) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process_id: std::process::id(),
            started_time: now,
            updated_time: now,
            phase: Phase::Starting,
            peer_id: None,
            membership: None,
            joined_time: None,
            join_duration_seconds: None,
            last_handshake_time: None,
            path: Path::None,
            direct_connections: 0,
            relayed_connections: 0,
            relays: Vec::new(),
            peers: Vec::new(),
            services: Services::default(),
            reachability: None,
            ip_version: None,
            last_probe_time: None,
            last_probe_trigger: None,
            last_check_time: None,
            last_report_time: None,
            problem: None,
        }
    }

    /// There is no membership any more: nobody is connected.
    pub(crate) fn lapse(&mut self, problem: String) {
        self.phase = Phase::Lapsed;
        self.problem = Some(problem);
        self.path = Path::None;
        (self.direct_connections, self.relayed_connections) = (0, 0);
        for relay in &mut self.relays {
            (relay.connected, relay.reserved) = (false, false);
        }
        for peer in &mut self.peers {
            (peer.path, peer.relay) = (Path::None, None);
        }
    }

    /// True while a record is held that a relay has accepted.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.phase == Phase::Joined
    }
}

/// Where the tasks of one agent write its status and others watch it.
#[derive(Debug, Clone)]
pub struct Board {
    status: watch::Sender<Status>,
}

impl Board {
    /// A board that begins with `status`.
    #[must_use]
    pub fn new(status: Status) -> Self {
        Self {
            status: watch::Sender::new(status),
        }
    }

    /// A copy of the present status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Told whenever the status changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Changes the status; watchers are woken only if something is different.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            let changed = *status != before;
            if changed {
                status.updated_time = Timestamp::now();
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status::starting(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn json_is_camel_case_with_rfc_3339_times() {
        let mut status = status();
        status.process_id = 1;
        status.version = "0".to_owned();
        status.relays.push(Relay {
            ordinal: 0,
            peer_id: "r".to_owned(),
            connected: true,
            reserved: false,
        });
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "version": "0", "processId": 1, "phase": "Starting",
                "startedTime": "1970-01-01T00:00:00Z", "updatedTime": "1970-01-01T00:00:00Z",
                "path": "None", "directConnections": 0, "relayedConnections": 0, "peers": [],
                "relays": [{"ordinal": 0, "peerID": "r", "connected": true, "reserved": false}],
            })
        );
        assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
    }

    #[test]
    fn watchers_are_woken_by_changes_only() {
        let board = Board::new(status());
        let mut watch = board.watch();
        board.update(|_| ());
        assert!(!watch.has_changed().unwrap());
        board.update(|status| status.phase = Phase::Joined);
        assert!(watch.has_changed().unwrap());
        let seen = watch.borrow_and_update();
        assert!(seen.is_joined());
        assert!(seen.updated_time > Timestamp::UNIX_EPOCH);
    }
}
