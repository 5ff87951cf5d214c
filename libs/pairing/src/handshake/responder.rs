//! The side that answers: a relay, or the inviter.

use peerup_protocol::PeerId;
use peerup_protocol::code::HandshakeKind;
use peerup_protocol::id::{DhtNamespace, GroupId, NetworkId, Slot};
use peerup_protocol::secret::Secret;
use peerup_protocol::wire::Reader;
use x25519_dalek::{PublicKey, StaticSecret};

use super::keys::{Direction, Keys, Role, transcript_1, transcript_2};
use super::{Context, Failure, M1_LENGTH, M3_LENGTH, Reason, SUITE, VERSION};

/// The joiner's first message, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct M1 {
    /// Which handshake it wants.
    pub kind: HandshakeKind,
    /// The group it names; perhaps there is none.
    pub group: GroupId,
    /// The slot it names; perhaps there is none.
    pub slot: Slot,
    key: [u8; 32],
}

impl M1 {
    /// Reads M1.
    pub fn parse(m1: &[u8]) -> Result<Self, Failure> {
        if m1.len() != M1_LENGTH {
            return Err(Reason::Malformed.into());
        }
        let mut r = Reader::new(m1);
        let mut read = || {
            let head = (r.u8()?, r.u8()?, r.u8()?);
            let fields = (GroupId(r.array()?), Slot(r.u16()?), r.array::<32>()?);
            let zeros = r.array::<{ M1_LENGTH - 45 }>()?;
            Ok((head, fields, zeros))
        };
        let result: Result<_, peerup_protocol::wire::DecodeError> = read();
        let ((version, suite, kind), (group, slot, key), zeros) =
            result.map_err(|_| Reason::Malformed)?;
        if version != VERSION || suite != SUITE || zeros.iter().any(|byte| *byte != 0) {
            return Err(Reason::Malformed.into());
        }
        let kind = HandshakeKind::try_from(kind).map_err(|_| Reason::Malformed)?;
        Ok(Self {
            kind,
            group,
            slot,
            key,
        })
    }
}

/// A responder that has sent M2 and waits for M3.
pub struct Responder {
    context: Context,
    theirs: [u8; 32],
    own: StaticSecret,
}

/// A responder that knows the request and has not answered.
pub struct ResponderAnswering {
    keys: Keys,
    th2: [u8; 32],
}

/// A responder that has sent M4.
pub struct ResponderDone {
    keys: Keys,
    th2: [u8; 32],
}

impl Responder {
    /// Answers M1, whatever it names: known or not cannot be told apart. The seed
    /// is 32 random bytes that are never used again. Gives M2.
    #[must_use]
    pub fn on_m1(
        m1: M1,
        net: NetworkId,
        namespace: DhtNamespace,
        responder: PeerId,
        joiner: PeerId,
        seed: &Secret<32>,
    ) -> (Self, Vec<u8>) {
        let M1 {
            kind,
            group,
            slot,
            key,
        } = m1;
        let context = Context {
            kind,
            net,
            namespace,
            group,
            slot,
            responder,
            joiner,
        };
        let own = StaticSecret::from(*seed.expose());
        let m2 = PublicKey::from(&own).as_bytes().to_vec();
        (
            Self {
                context,
                theirs: key,
                own,
            },
            m2,
        )
    }

    /// Takes M3 and the salt (32 random bytes when the slot is unknown), gives the plain request.
    pub fn on_m3(self, m3: &[u8], salt: &[u8]) -> Result<(ResponderAnswering, Vec<u8>), Failure> {
        if m3.len() != M3_LENGTH {
            return Err(Reason::Malformed.into());
        }
        let (mac, sealed) = m3.split_first_chunk().ok_or(Reason::Malformed)?;
        let th1 = transcript_1(
            &self.context,
            &self.theirs,
            PublicKey::from(&self.own).as_bytes(),
        );
        let keys = Keys::agree(&self.own, &self.theirs, salt, &th1)?;
        keys.check(Role::Joiner, &th1, mac)?;
        let request = keys.open(Direction::ToResponder, 0, &th1, sealed)?;
        let th2 = transcript_2(&th1, m3);
        Ok((ResponderAnswering { keys, th2 }, request))
    }
}

impl ResponderAnswering {
    /// Takes the plain response (at most [`super::MAX_PLAIN`] bytes), gives M4.
    /// What must be durable is durable before this is called.
    pub fn accept(self, response: &[u8]) -> Result<(ResponderDone, Vec<u8>), Failure> {
        let Self { keys, th2 } = self;
        let mut m4 = keys.confirm(Role::Responder, &th2).to_vec();
        m4.extend(keys.seal(Direction::ToJoiner, 0, &th2, response)?);
        Ok((ResponderDone { keys, th2 }, m4))
    }
}

impl ResponderDone {
    /// Takes M5: the joiner has what it needs, the stream may be closed.
    pub fn on_m5(self, m5: &[u8]) -> Result<(), Failure> {
        match self
            .keys
            .open(Direction::ToResponder, 1, &self.th2, m5)?
            .as_slice()
        {
            b"committed" => Ok(()),
            _ => Err(Reason::Malformed.into()),
        }
    }
}
