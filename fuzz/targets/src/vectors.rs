//! Known answers of `libs/protocol/vectors`: the one handshake that all targets of the
//! handshake take part in, and what seeds are made from.

use std::sync::LazyLock;

use data_encoding::HEXLOWER;
use peerup_protocol::id::{DhtNamespace, GroupId, NetworkId, PeerName, Slot};
use peerup_protocol::secret::Secret;
use peerup_protocol::{PeerId, UnixTime};
use serde_json::Value;

/// When the signed things among the vectors were signed.
const ISSUED: UnixTime = 1_790_000_000;

/// The file.
#[derive(Debug)]
pub struct File(Value);

/// The parts of the file that targets need at every run.
#[derive(Debug)]
pub struct Vectors {
    /// All of it.
    pub file: File,
    /// The network.
    pub net: NetworkId,
    /// Its name on the wire.
    pub namespace: DhtNamespace,
    /// The relay that answers.
    pub relay: PeerId,
    /// The peer that joins.
    pub joiner: PeerId,
    /// The member that invites.
    pub home: PeerId,
    /// The name that it asks for.
    pub name: PeerName,
    /// When everything was signed.
    pub issued: UnixTime,
    /// The code's group.
    pub group: GroupId,
    /// The code's slot.
    pub slot: Slot,
    /// Seed of the joiner's ephemeral key.
    pub joiner_seed: Secret<32>,
    /// Seed of the responder's.
    pub responder_seed: Secret<32>,
    /// The handshake's salt.
    pub salt: Vec<u8>,
    /// The frames M1 to M5.
    pub frames: [Vec<u8>; 5],
    /// The plain request.
    pub request: Vec<u8>,
    /// The plain response.
    pub response: Vec<u8>,
    /// The guest's grant.
    pub grant: Vec<u8>,
}

/// The vectors, read once.
#[must_use]
pub fn vectors() -> &'static Vectors {
    static READ: LazyLock<Vectors> = LazyLock::new(Vectors::read);
    &READ
}

impl Vectors {
    fn read() -> Self {
        let text = include_str!("../../../libs/protocol/vectors/vectors.json");
        let file = File(serde_json::from_str(text).expect("the vectors are JSON"));
        let handshake = |name: &str| file.bytes(&format!("/handshake_group/{name}"));
        let peer = |path: &str| PeerId::from_bytes(&file.bytes(path)).expect("a PeerId");
        Self {
            net: NetworkId(file.array("/identities/network_id")),
            namespace: file.text("/identities/namespace").parse().expect("a name"),
            relay: peer("/identities/relay_peer_id"),
            joiner: peer("/identities/joiner_peer_id"),
            home: peer("/identities/home_peer_id"),
            name: PeerName::parse("laptop").expect("a name"),
            issued: ISSUED,
            group: GroupId(file.array("/code/group")),
            slot: Slot(2),
            joiner_seed: Secret::new([7; 32]),
            responder_seed: Secret::new([9; 32]),
            salt: handshake("salt"),
            frames: ["m1", "m2", "m3", "m4", "m5"].map(handshake),
            request: handshake("request"),
            response: handshake("response"),
            grant: file.bytes("/signed/guest_grant"),
            file,
        }
    }
}

impl File {
    /// A text at a JSON pointer.
    #[must_use]
    pub fn text(&self, path: &str) -> &str {
        let found = self.0.pointer(path).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no vector {path}"))
    }

    /// Bytes, which stand there as hex.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        HEXLOWER.decode(self.text(path).as_bytes()).expect("hex")
    }

    /// Exactly `N` bytes.
    #[must_use]
    pub fn array<const N: usize>(&self, path: &str) -> [u8; N] {
        self.bytes(path).try_into().expect("the right length")
    }
}
