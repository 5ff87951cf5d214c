//! The network document: who its relays are and what its rules say.

use multiaddr::Multiaddr;
use sha2::{Digest, Sha256};

use crate::id::{DhtNamespace, NetworkId};
use crate::wire::{DecodeError, MAX_ADDRESS, Reader, Writer, address_from_bytes};
use crate::{PeerId, UnixTime};

/// Most relays of a network.
pub const MAX_RELAYS: usize = 9;
/// Most addresses of one relay.
pub const MAX_RELAY_ADDRESSES: usize = 16;
/// Longest cluster name in bytes.
pub const MAX_CLUSTER: usize = 32;
/// Most access rules.
pub const MAX_ACCESS_RULES: usize = 64;
/// Longest access rule in bytes.
pub const MAX_ACCESS_RULE: usize = 253;

pub(super) const LABEL: &str = "peerup/1/network";

/// Revocations are signed anew every 300 s. Who knows none that are younger than this may not have heard of one: the
/// operator is away, or a relay keeps them back.
pub const STALE_SECONDS: u64 = 900;

/// Switches of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Guests may be served (1).
    pub guests: bool,
    /// Services are closed unless a rule opens them (2).
    pub access_default_deny: bool,
    /// Services only with verified peers (4).
    pub verification_required: bool,
    /// No new services at a peer that has not heard of revocations for [`STALE_SECONDS`] (8).
    pub stale_refused: bool,
}

impl Flags {
    fn to_u8(self) -> u8 {
        u8::from(self.guests)
            | u8::from(self.access_default_deny) << 1
            | u8::from(self.verification_required) << 2
            | u8::from(self.stale_refused) << 3
    }

    fn from_u8(bits: u8) -> Result<Self, DecodeError> {
        if bits > 15 {
            return Err(DecodeError::unknown("network flags", bits));
        }
        let set = |bit: u8| bits & bit != 0;
        Ok(Self {
            guests: set(1),
            access_default_deny: set(2),
            verification_required: set(4),
            stale_refused: set(8),
        })
    }
}

/// One relay of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its identity.
    pub peer: PeerId,
    /// Inside and outside addresses. A plain `/…/udp/<port>` is STUN: the first
    /// is the primary, the second the alternate.
    pub addresses: Vec<Multiaddr>,
}

/// What every member must know about its network. `(epoch, issued)` orders documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkDocument {
    /// The network.
    pub net: NetworkId,
    /// Grows with every change.
    pub epoch: u64,
    /// When it was signed.
    pub issued: UnixTime,
    /// The network's name on the wire.
    pub namespace: DhtNamespace,
    /// The cluster that holds the network; at most [`MAX_CLUSTER`] bytes.
    pub cluster: String,
    /// Its switches.
    pub flags: Flags,
    /// Its relays; nobody else is one.
    pub relays: Vec<Relay>,
    /// Access rules, each `service=entry,entry…`.
    pub access: Vec<String>,
}

impl NetworkDocument {
    /// The bytes to sign. At most [`MAX_RELAYS`] relays with [`MAX_RELAY_ADDRESSES`]
    /// addresses and [`MAX_ACCESS_RULES`] rules are written; more are left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let w = Writer::new()
            .lp(LABEL)
            .bytes(self.net.0)
            .u64(self.epoch)
            .u64(self.issued);
        let mut w = w
            .lp(&self.namespace)
            .lp(&self.cluster)
            .u8(self.flags.to_u8());
        w = w.u8(self.relays.len().min(MAX_RELAYS) as u8);
        for relay in self.relays.iter().take(MAX_RELAYS) {
            let fits = relay
                .addresses
                .iter()
                .filter(|address| address.len() <= MAX_ADDRESS);
            let addresses: Vec<_> = fits.take(MAX_RELAY_ADDRESSES).collect();
            w = w.lp(relay.peer.to_bytes()).u8(addresses.len() as u8);
            w = addresses.into_iter().fold(w, Writer::lp);
        }
        w = w.u16(self.access.len().min(MAX_ACCESS_RULES) as u16);
        self.access
            .iter()
            .take(MAX_ACCESS_RULES)
            .fold(w, Writer::lp)
            .into_vec()
    }

    /// Reads a document; nothing is verified here.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        r.label(LABEL)?;
        let document = Self {
            net: NetworkId(r.array()?),
            epoch: r.u64()?,
            issued: r.u64()?,
            namespace: DhtNamespace::from_bytes(r.lp(DhtNamespace::MAX)?)?,
            cluster: r.text("a cluster's name", MAX_CLUSTER)?.to_owned(),
            flags: Flags::from_u8(r.u8()?)?,
            relays: decode_relays(&mut r)?,
            access: decode_access(&mut r)?,
        };
        r.finish()?;
        Ok(document)
    }

    /// What orders documents: the greater is the newer.
    #[must_use]
    pub fn version(&self) -> (u64, UnixTime) {
        (self.epoch, self.issued)
    }

    /// The relay with this identity.
    #[must_use]
    pub fn relay(&self, peer: &PeerId) -> Option<&Relay> {
        self.relays.iter().find(|relay| relay.peer == *peer)
    }
}

fn decode_relays(r: &mut Reader<'_>) -> Result<Vec<Relay>, DecodeError> {
    let count = usize::from(r.u8()?);
    if count > MAX_RELAYS {
        return Err(DecodeError::TooLong {
            max: MAX_RELAYS,
            got: count,
        });
    }
    let mut relays = Vec::with_capacity(count);
    for _ in 0..count {
        let peer = r.peer()?;
        let count = usize::from(r.u8()?);
        if count > MAX_RELAY_ADDRESSES {
            return Err(DecodeError::TooLong {
                max: MAX_RELAY_ADDRESSES,
                got: count,
            });
        }
        let addresses = (0..count)
            .map(|_| address_from_bytes(r.lp(MAX_ADDRESS)?))
            .collect::<Result<_, _>>()?;
        relays.push(Relay { peer, addresses });
    }
    Ok(relays)
}

fn decode_access(r: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    let count = r.count(MAX_ACCESS_RULES)?;
    (0..count)
        .map(|_| r.text("an access rule", MAX_ACCESS_RULE).map(str::to_owned))
        .collect()
}

/// The two relays (one, if there is only one) that serve a peer: those with the
/// highest SHA-256(PeerId ‖ relay PeerId), so that everyone can compute them.
#[must_use]
pub fn relays_of<'a>(document: &'a NetworkDocument, peer: &PeerId) -> Vec<&'a Relay> {
    let peer = peer.to_bytes();
    let rank = |relay: &Relay| -> [u8; 32] {
        Sha256::new_with_prefix(&peer)
            .chain_update(relay.peer.to_bytes())
            .finalize()
            .into()
    };
    let mut relays: Vec<_> = document.relays.iter().collect();
    relays.sort_by_cached_key(|relay| std::cmp::Reverse(rank(relay)));
    relays.truncate(2);
    relays
}
