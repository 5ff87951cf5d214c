//! `redeem`: a joiner has shown a relay that it holds a code; the operator checks both signatures, claims a
//! name, uses the code, and signs the record, in this order.

use kube::ResourceExt;
use peerup_crds::{PairingCodeRef, Peer, PeerMethod, PeerRef, PeerState, names};
use peerup_pairing::{book::Redeem, join};
use peerup_protocol::{
    VerifyingKey,
    api::{IssuedRecord, RedeemAnswer, RedeemRequest, RefusalReason, Refused},
    code::HandshakeKind,
    derive,
    frame::JoinRequest,
    id::Slot,
};

use super::{
    Api,
    callers::RelayCaller,
    codes::{self, Book},
    lookup,
    members::{self, Blocker, Claim, Ground},
    problem::Refusal,
    records,
};
use crate::{clock, context::PeerKey};

/// One look at a code's book.
enum Turn {
    Answered(RedeemAnswer),
    /// Somebody else wrote first.
    Again,
}

impl Api {
    pub(super) async fn redeem(
        &self,
        relay: &RelayCaller,
        request: &RedeemRequest,
    ) -> Result<RedeemAnswer, Refusal> {
        let answer = match (request.kind, request.slot) {
            _ if relay.network.spec.suspend => refused(RefusalReason::Suspended, false),
            (HandshakeKind::Invite | HandshakeKind::Voucher, _) => {
                refused(RefusalReason::Malformed, false)
            }
            (HandshakeKind::Group, Slot::ATTESTED) => self.redeem_attested(relay, request).await?,
            (HandshakeKind::Group, _) => self.redeem_code(relay, request).await?,
        };
        let (result, reason) = match &answer {
            RedeemAnswer::Record(_) => ("joined", ""),
            RedeemAnswer::Refused(refused) => ("refused", refused.refused.as_str()),
        };
        self.context
            .metrics
            .pairing
            .attempts
            .with_label_values(&[result, reason])
            .inc();
        tracing::info!(network = relay.network.name_any(), peer = %request.peer_id, slot = %request.slot, result, reason, "redeem");
        Ok(answer)
    }

    async fn redeem_attested(
        &self,
        relay: &RelayCaller,
        request: &RedeemRequest,
    ) -> Result<RedeemAnswer, Refusal> {
        let now = clock::now();
        let Some(secret) = lookup::attested(&relay.key, &request.peer_id, request.group, now)
        else {
            return Ok(refused(RefusalReason::UnknownGroup, false));
        };
        let code_key =
            derive::code_key(&relay.key.id, &request.group, request.slot, &secret).verifying_key();
        if !is_signed(relay, request, &code_key) {
            return Ok(refused(RefusalReason::BadSignature, false));
        }
        let Some(peer) = self.attested_peer(relay, request).await? else {
            return Ok(refused(RefusalReason::UnknownGroup, false));
        };
        if peer.spec.state == PeerState::Revoked {
            return Ok(refused(RefusalReason::Revoked, false));
        }
        if members::pod_is_gone(&self.context, &peer) {
            return Ok(refused(RefusalReason::PodGone, false));
        }
        let answer = issue(relay, &peer, None)?;
        let key = PeerKey {
            namespace: peer.namespace().unwrap_or_default(),
            name: peer.name_any(),
        };
        self.context
            .reports
            .redeemed(key, &peer.uid().unwrap_or_default());
        Ok(answer)
    }

    /// The Peer made at attestation a moment ago: the watch may not have shown it yet.
    async fn attested_peer(
        &self,
        relay: &RelayCaller,
        request: &RedeemRequest,
    ) -> Result<Option<Peer>, Refusal> {
        let is_it = |peer: &Peer| {
            peer.spec.method == PeerMethod::Attested
                && peer.spec.peer_id == request.peer_id.to_string()
        };
        if let Some(peer) = members::find(&self.context, &relay.network, &request.peer_id)
            .filter(|peer| is_it(peer))
        {
            return Ok(Some(Peer::clone(&peer)));
        }
        let name = names::peer(&relay.network.name_any(), request.name.as_str());
        let peer = members::api(&self.context, &relay.network)
            .get_opt(&name)
            .await?;
        Ok(peer.filter(|peer| is_it(peer) && peer.metadata.deletion_timestamp.is_none()))
    }

    async fn redeem_code(
        &self,
        relay: &RelayCaller,
        request: &RedeemRequest,
    ) -> Result<RedeemAnswer, Refusal> {
        let Some(code) = codes::find(&self.context, &relay.network, request.group) else {
            return Ok(refused(RefusalReason::UnknownGroup, false));
        };
        let _alone = self.groups.lock(request.group).await;
        for _ in 0..codes::MOST_SWAPS {
            let Some(book) = Book::read(
                &self.context,
                &relay.network,
                &code.name_any(),
                request.slot,
            )
            .await?
            else {
                return Ok(refused(RefusalReason::UnknownGroup, false));
            };
            match self.turn(relay, request, book).await? {
                Turn::Answered(answer) => return Ok(answer),
                Turn::Again => {}
            }
        }
        Err(Refusal::Unavailable(
            "the PairingCode changes too often to be written".to_owned(),
        ))
    }

    async fn turn(
        &self,
        relay: &RelayCaller,
        request: &RedeemRequest,
        mut book: Book,
    ) -> Result<Turn, Refusal> {
        let Some(code_key) = codes::slot(&book.code, request.slot).and_then(codes::public_key)
        else {
            return Ok(Turn::Answered(refused(RefusalReason::UnknownSlot, false)));
        };
        if book.is_revoked() {
            return Ok(Turn::Answered(refused(RefusalReason::Revoked, false)));
        }
        if !is_signed(relay, request, &code_key) {
            return self
                .count_and_refuse(&mut book, RefusalReason::BadSignature)
                .await;
        }
        match book
            .group
            .redeem(request.slot, &request.peer_id, clock::now())
        {
            Redeem::Refuse(Refused {
                refused: reason,
                counted: true,
            }) => self.count_and_refuse(&mut book, reason).await,
            Redeem::Refuse(Refused {
                refused: reason,
                counted: false,
            }) => Ok(Turn::Answered(refused(reason, false))),
            Redeem::Again => self.again(relay, request, &book).await,
            Redeem::Admit => self.admit(relay, request, book).await,
        }
    }

    async fn count_and_refuse(
        &self,
        book: &mut Book,
        reason: RefusalReason,
    ) -> Result<Turn, Refusal> {
        let counted = self.count(book, reason).await?;
        Ok(counted.map_or(Turn::Again, |counted| {
            Turn::Answered(refused(reason, counted))
        }))
    }

    /// The slot's member asks once more: its answer may have been lost.
    async fn again(
        &self,
        relay: &RelayCaller,
        request: &RedeemRequest,
        book: &Book,
    ) -> Result<Turn, Refusal> {
        let used = codes::slot(&book.code, request.slot).and_then(|slot| slot.peer_ref.clone());
        let Some(used) = used else {
            return Ok(Turn::Again);
        };
        let peer = members::api(&self.context, &relay.network)
            .get_opt(&used.name)
            .await?;
        match peer.filter(|peer| PeerRef::of(peer) == used) {
            Some(peer) => issue(relay, &peer, Some(book)).map(Turn::Answered),
            None => Ok(Turn::Again),
        }
    }

    async fn admit(
        &self,
        relay: &RelayCaller,
        request: &RedeemRequest,
        mut book: Book,
    ) -> Result<Turn, Refusal> {
        if members::is_full(&self.context, &relay.network, 0) {
            return Ok(Turn::Answered(refused(RefusalReason::Full, false)));
        }
        let ground = PairingCodeRef {
            name: book.code.name_any(),
            slot: request.slot.0,
        };
        let claim = Claim {
            network: &relay.network,
            asked: request.name.clone(),
            peer: request.peer_id,
            ground: Ground::Code(ground.clone()),
        };
        let id = request.peer_id.to_string();
        let is_own = |there: &Peer| {
            there.spec.peer_id == id && there.spec.pairing_code_ref.as_ref() == Some(&ground)
        };
        let made = claim
            .make(&self.context, |there| {
                if is_own(there) {
                    Blocker::Own
                } else {
                    Blocker::Other
                }
            })
            .await;
        let peer = match made {
            Ok(peer) => peer,
            Err(Refusal::Conflict { .. }) => {
                return Ok(Turn::Answered(refused(RefusalReason::NameTaken, false)));
            }
            Err(error) => return Err(error),
        };
        if peer.spec.state == PeerState::Revoked {
            return Ok(Turn::Answered(refused(RefusalReason::Revoked, false)));
        }
        if book
            .take(request.slot, request.peer_id, &peer, clock::now())
            .await?
        {
            return issue(relay, &peer, Some(&book)).map(Turn::Answered);
        }
        // Somebody else wrote: the claim stays for the next turn, and if that finds the slot used, the
        // reconciler frees it.
        Ok(Turn::Again)
    }
}

fn refused(reason: RefusalReason, counted: bool) -> RedeemAnswer {
    RedeemAnswer::Refused(Refused {
        refused: reason,
        counted,
    })
}

fn is_signed(relay: &RelayCaller, request: &RedeemRequest, code_key: &VerifyingKey) -> bool {
    let join = JoinRequest {
        name: request.name.clone(),
        proof: request.proof,
        identity: request.identity,
    };
    join::verify_request(
        &relay.key.id,
        &request.group,
        request.slot,
        &request.peer_id,
        &join,
        code_key,
    )
    .is_ok()
}

fn issue(relay: &RelayCaller, peer: &Peer, book: Option<&Book>) -> Result<RedeemAnswer, Refusal> {
    let life = records::life(&relay.network, peer, book.map(|book| &book.code));
    let issued = records::issued(peer, life, clock::now());
    let signed = records::sign(&relay.key, peer, issued, life)
        .map_err(|error| Refusal::Unavailable(error.to_string()))?;
    Ok(RedeemAnswer::Record(IssuedRecord {
        record: signed.bytes,
        signature: signed.signature,
        network_public_key: relay.key.public().to_bytes(),
    }))
}
