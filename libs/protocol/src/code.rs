//! Codes: what a person holds. `peerup1-` and base32 of payload ‖ checksum.

#[cfg(test)]
mod tests;

use std::fmt;

use data_encoding::BASE32_NOPAD;
use multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::id::{DhtNamespace, GroupId, NetworkId, Slot};
use crate::relay_address::{is_host, is_transport};
use crate::secret::{CodeSecret, SecretText};
use crate::wire::{
    DecodeError, MAX_ADDRESS, PEER_ID_LENGTH, Reader, Writer, address_from_bytes, peer_from_bytes,
};
use crate::{PeerId, UnixTime};

/// Most responders in a code.
pub const MAX_RESPONDERS: usize = 9;
/// Most addresses of one responder in a code.
pub const MAX_ADDRESSES: usize = 8;
/// Longest text that is looked at, in bytes, dashes and white space included.
pub const MAX_TEXT: usize = 64 * 1024;

/// No payload with its checksum is longer.
const MAX_PAYLOAD: usize =
    128 + MAX_RESPONDERS * (PEER_ID_LENGTH + 2 + MAX_ADDRESSES * (MAX_ADDRESS + 1));

const PREFIX: &str = "peerup1";
const SUITE: u8 = 1;

/// What a code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// Membership, served by the network's relays.
    Group,
    /// A guest, served by the inviter.
    Invite,
}

impl CodeKind {
    /// The handshake that redeems such a code.
    #[must_use]
    pub fn handshake(self) -> HandshakeKind {
        match self {
            Self::Group => HandshakeKind::Group,
            Self::Invite => HandshakeKind::Invite,
        }
    }
}

/// Which handshake: what is the salt, what the request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HandshakeKind {
    /// A group's code; the salt is the code's hash.
    Group = 1,
    /// An invite; the salt is the secret.
    Invite = 2,
    /// A voucher of a second cluster.
    Voucher = 3,
}

impl HandshakeKind {
    /// The byte on the wire.
    #[must_use]
    pub fn as_u8(self) -> u8 {
        self as u8
    }
}

impl TryFrom<u8> for HandshakeKind {
    type Error = DecodeError;
    fn try_from(value: u8) -> Result<Self, DecodeError> {
        match value {
            1 => Ok(Self::Group),
            2 => Ok(Self::Invite),
            3 => Ok(Self::Voucher),
            _ => Err(DecodeError::unknown("handshake kind", value)),
        }
    }
}

/// Who may answer the handshake, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Responder {
    /// The only identity that may answer there.
    pub peer: PeerId,
    /// Where to dial it.
    pub addresses: Vec<Multiaddr>,
}

/// A code, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// What it is for.
    pub kind: CodeKind,
    /// The network; the answer's key must hash to it.
    pub net: NetworkId,
    /// The group of codes.
    pub group: GroupId,
    /// Its number there.
    pub slot: Slot,
    /// What proves that one holds the code.
    pub secret: CodeSecret,
    /// The network's name on the wire.
    pub namespace: DhtNamespace,
    /// When it ends, Unix seconds.
    pub not_after: u32,
    /// Who answers: one to nine.
    pub responders: Vec<Responder>,
}

/// Why a text is not a code. Nothing of the text is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// It does not start with `peerup1-`.
    #[error("a code starts with peerup1-; copy it whole")]
    Prefix,
    /// Longer than any code.
    #[error("this is longer than any code")]
    TooLong,
    /// A character that no code has, or one too few or too many.
    #[error("the code is cut or has a character that no code has; copy it again")]
    Alphabet,
    /// The checksum differs.
    #[error("the code has a typo: its checksum does not match; copy it again")]
    Checksum,
    /// The checksum is right and the content is not: another version.
    #[error("the code is not understood by this version: {0}")]
    Content(#[from] DecodeError),
}

impl Code {
    /// Reads a code; case, dashes and white space do not matter.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        if text.len() > MAX_TEXT {
            return Err(CodeError::TooLong);
        }
        let kept = text.chars().filter(|c| *c != '-' && !c.is_whitespace());
        // Sized once, so that no copy of a secret is left behind by growing.
        let mut plain = Zeroizing::new(String::with_capacity(text.len()));
        plain.extend(kept.map(|c| c.to_ascii_uppercase()));
        let body = plain
            .strip_prefix(PREFIX.to_ascii_uppercase().as_str())
            .ok_or(CodeError::Prefix)?;
        let bytes = Zeroizing::new(
            BASE32_NOPAD
                .decode(body.as_bytes())
                .map_err(|_| CodeError::Alphabet)?,
        );
        let (payload, checksum) = bytes.split_last_chunk::<4>().ok_or(CodeError::Checksum)?;
        if checksum_of(payload) != *checksum {
            return Err(CodeError::Checksum);
        }
        Ok(Self::decode(payload)?)
    }

    /// The text for a person. At most nine responders with eight addresses of at
    /// most 255 bytes each are written; more are left out, and so are responders
    /// without an address. Without any responder it is not a code.
    #[must_use]
    pub fn to_text(&self) -> SecretText {
        let mut bytes = Zeroizing::new(self.encode());
        let checksum = checksum_of(&bytes);
        bytes.extend_from_slice(&checksum);
        let mut text = format!("{PREFIX}-");
        text.reserve_exact(BASE32_NOPAD.encode_len(bytes.len()));
        BASE32_NOPAD.encode_append(&bytes, &mut text);
        text.make_ascii_lowercase();
        SecretText::new(text)
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        now >= UnixTime::from(self.not_after)
    }

    fn encode(&self) -> Vec<u8> {
        let kind = self.kind.handshake().as_u8();
        let mut w = Writer::with_capacity(MAX_PAYLOAD)
            .u8(kind)
            .u8(SUITE)
            .bytes(self.net.0)
            .bytes(self.group.0)
            .u16(self.slot.0);
        w = w
            .bytes(self.secret.expose())
            .lp8(&self.namespace)
            .u32(self.not_after);
        let reachable = self.responders.iter().filter_map(with_addresses);
        let reachable: Vec<_> = reachable.take(MAX_RESPONDERS).collect();
        w = w.u8(reachable.len() as u8);
        for (peer, addresses) in reachable {
            w = w.lp8(peer.to_bytes()).u8(addresses.len() as u8);
            w = addresses.into_iter().fold(w, Writer::lp8);
        }
        w.into_vec()
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload);
        let kind = match r.u8()? {
            1 => CodeKind::Group,
            2 => CodeKind::Invite,
            other => return Err(DecodeError::unknown("code kind", other)),
        };
        let suite = r.u8()?;
        if suite != SUITE {
            return Err(DecodeError::unknown("suite", suite));
        }
        let code = Self {
            kind,
            net: NetworkId(r.array()?),
            group: GroupId(r.array()?),
            slot: Slot(r.u16()?),
            secret: CodeSecret::new(r.array()?),
            namespace: DhtNamespace::from_bytes(r.lp8(DhtNamespace::MAX)?)?,
            not_after: r.u32()?,
            responders: decode_responders(&mut r, kind)?,
        };
        r.finish()?;
        Ok(code)
    }
}

/// A responder with the addresses that fit; nothing if none does.
fn with_addresses(responder: &Responder) -> Option<(PeerId, Vec<&Multiaddr>)> {
    let fits = responder
        .addresses
        .iter()
        .filter(|address| address.len() <= MAX_ADDRESS);
    let addresses: Vec<_> = fits.take(MAX_ADDRESSES).collect();
    (!addresses.is_empty()).then_some((responder.peer, addresses))
}

fn decode_responders(r: &mut Reader<'_>, kind: CodeKind) -> Result<Vec<Responder>, DecodeError> {
    let count = counted(r, MAX_RESPONDERS)?;
    let mut responders = Vec::with_capacity(count);
    for _ in 0..count {
        let peer = peer_from_bytes(r.lp8(PEER_ID_LENGTH)?)?;
        let count = counted(r, MAX_ADDRESSES)?;
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let address = address_from_bytes(r.lp8(MAX_ADDRESS)?)?;
            check_address(&address, kind)?;
            addresses.push(address);
        }
        responders.push(Responder { peer, addresses });
    }
    Ok(responders)
}

fn counted(r: &mut Reader<'_>, max: usize) -> Result<usize, DecodeError> {
    match usize::from(r.u8()?) {
        0 => Err(DecodeError::invalid("a list in a code", "not be empty")),
        got if got > max => Err(DecodeError::TooLong { max, got }),
        got => Ok(got),
    }
}

fn checksum_of(payload: &[u8]) -> [u8; 4] {
    let digest: [u8; 32] = Sha256::new_with_prefix(Writer::new().lp("peerup/1/code").into_vec())
        .chain_update(payload)
        .finalize()
        .into();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Host, transport, and in invites a circuit over a relay; nothing else.
fn check_address(address: &Multiaddr, kind: CodeKind) -> Result<(), DecodeError> {
    let parts: Vec<_> = address.iter().collect();
    let ok = match parts.as_slice() {
        [host, way @ .., Protocol::P2p(_), Protocol::P2pCircuit] if kind == CodeKind::Invite => {
            is_host(host) && is_transport(way)
        }
        [host, way @ ..] => is_host(host) && is_transport(way),
        [] => false,
    };
    if ok {
        Ok(())
    } else {
        Err(DecodeError::invalid(
            "an address in a code",
            "be a host with tcp or quic-v1",
        ))
    }
}

impl fmt::Display for HandshakeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "group",
            Self::Invite => "invite",
            Self::Voucher => "voucher",
        })
    }
}
