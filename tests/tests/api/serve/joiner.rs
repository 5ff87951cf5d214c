//! What a relay asks of the operator on behalf of somebody who joins.

use anyhow::{Result, bail, ensure};
use peerup_protocol::api::{
    IssuedRecord, LookupAnswer, LookupRequest, RedeemAnswer, RedeemRequest, RefusalReason, path,
};
use peerup_protocol::code::{Code, HandshakeKind};
use peerup_protocol::id::{PeerName, peer_id};
use peerup_protocol::{SigningKey, derive, message};
use peerup_tests::wait::eventually;

use super::world::{Answer, Relay, SOON, key};

/// What a relay asks when a joiner begins.
pub(super) fn lookup(code: &Code, joiner: &SigningKey) -> LookupRequest {
    LookupRequest {
        kind: HandshakeKind::Group,
        group: code.group,
        slot: code.slot,
        peer_id: peer_id(&joiner.verifying_key()),
    }
}

/// What a relay asks when a joiner has shown the code.
pub(super) fn redeem(code: &Code, joiner: &SigningKey, name: &str) -> Result<RedeemRequest> {
    let code_key = derive::code_key(&code.net, &code.group, code.slot, &code.secret);
    signed(code, joiner, name, &code_key)
}

pub(super) fn signed(
    code: &Code,
    joiner: &SigningKey,
    name: &str,
    code_key: &SigningKey,
) -> Result<RedeemRequest> {
    let (peer, name) = (peer_id(&joiner.verifying_key()), PeerName::parse(name)?);
    let join = message::join(&code.net, &code.group, code.slot, &peer, &name);
    let genuine = derive::code_key(&code.net, &code.group, code.slot, &code.secret).verifying_key();
    Ok(RedeemRequest {
        kind: HandshakeKind::Group,
        group: code.group,
        slot: code.slot,
        peer_id: peer,
        name,
        proof: message::sign(code_key, &join),
        identity: message::sign(joiner, &message::join_identity(&join, &genuine)),
    })
}

/// The record of a redemption that was to succeed.
pub(super) fn record(answer: &Answer) -> Result<IssuedRecord> {
    match answer.ok()? {
        RedeemAnswer::Record(record) => Ok(record),
        RedeemAnswer::Refused(refused) => bail!("refused: {refused:?}"),
    }
}

/// Why a redemption was refused, and whether that was counted.
pub(super) fn refusal(answer: &Answer) -> Result<(RefusalReason, bool)> {
    match answer.ok()? {
        RedeemAnswer::Record(_) => bail!("it was admitted"),
        RedeemAnswer::Refused(refused) => Ok((refused.refused, refused.counted)),
    }
}

/// Waits until the operator knows relay and code.
pub(super) async fn known(relay: &Relay<'_>, code: &Code) -> Result<()> {
    let ask = lookup(code, &key(1));
    let answer: LookupAnswer = eventually("the code to be known", SOON, async || {
        relay.post(path::LOOKUP, &ask).await?.ok()
    })
    .await?;
    ensure!(
        !answer.attested
            && answer.salt == derive::code_hash(&code.net, &code.group, code.slot, &code.secret)
    );
    Ok(())
}
