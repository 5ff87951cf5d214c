//! `lookup`: the salt of a handshake that a relay is asked for.

use peerup_protocol::{
    PeerId, UnixTime,
    api::{LookupAnswer, LookupRequest},
    code::HandshakeKind,
    derive,
    id::{GroupId, Slot},
    secret::CodeSecret,
};

use super::{Api, callers::RelayCaller, codes, problem::Refusal};
use crate::{clock, keys::NetworkKey};

impl Api {
    pub(super) fn lookup(
        &self,
        relay: &RelayCaller,
        request: &LookupRequest,
    ) -> Result<LookupAnswer, Refusal> {
        let unknown =
            || Refusal::NotFound("no code of this network has this group and slot".to_owned());
        if request.kind != HandshakeKind::Group {
            return Err(unknown());
        }
        if request.slot == Slot::ATTESTED {
            let secret = attested(&relay.key, &request.peer_id, request.group, clock::now())
                .ok_or_else(unknown)?;
            let salt = derive::code_hash(&relay.key.id, &request.group, request.slot, &secret);
            return Ok(LookupAnswer {
                salt,
                attested: true,
            });
        }
        let code = codes::find(&self.context, &relay.network, request.group).ok_or_else(unknown)?;
        let salt = codes::slot(&code, request.slot)
            .and_then(codes::hash)
            .ok_or_else(unknown)?;
        Ok(LookupAnswer {
            salt,
            attested: false,
        })
    }
}

/// The secret of an attested code of this peer, if the group is one of the present windows'.
pub(super) fn attested(
    key: &NetworkKey,
    peer: &PeerId,
    group: GroupId,
    now: UnixTime,
) -> Option<CodeSecret> {
    let window = derive::attest_window(now);
    let windows = [window.checked_sub(1), Some(window), window.checked_add(1)];
    windows.into_iter().flatten().find_map(|window| {
        let (derived, secret) = derive::attested(&key.seed, &key.id, peer, window);
        (derived == group).then_some(secret)
    })
}

#[cfg(test)]
mod tests {
    use peerup_protocol::secret::NetworkSeed;

    use super::*;

    #[test]
    fn an_attested_code_is_its_peers_and_lives_three_windows() {
        let key = NetworkKey::new(NetworkSeed::new([7; 32]));
        let peer = |seed| {
            peerup_protocol::id::peer_id(
                &peerup_protocol::SigningKey::from_bytes(&[seed; 32]).verifying_key(),
            )
        };
        let (group, secret) = derive::attested(&key.seed, &key.id, &peer(1), 100);
        for (now, expected) in [
            (98 * 60 + 59, false),
            (99 * 60, true),
            (100 * 60, true),
            (101 * 60 + 59, true),
            (102 * 60, false),
        ] {
            assert_eq!(
                attested(&key, &peer(1), group, now),
                expected.then(|| secret.clone()),
                "{now}"
            );
        }
        assert_eq!(attested(&key, &peer(2), group, 100 * 60), None, "another's");
        assert_eq!(attested(&key, &peer(1), group, 0), None);
    }
}
