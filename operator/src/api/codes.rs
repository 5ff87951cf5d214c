//! PairingCodes as books: reading what their status says, and writing by compare-and-swap what is decided.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use data_encoding::HEXLOWER;
use kube::{Api, Resource, ResourceExt, api::PostParams};
use peerup_crds::{
    CodeState, CodeStatus, PairingCode, Peer, PeerNetwork, PeerRef, SlotState, names::managers,
};
use peerup_pairing::book::{self, Group, Holder};
use peerup_protocol::{
    PeerId, UnixTime, VerifyingKey,
    api::RefusalReason,
    id::{GroupId, Slot},
};
use tokio::sync::OwnedMutexGuard;

use super::problem::Refusal;
use crate::{clock, context::Context};

/// Groups whose locks are remembered before those that nobody holds are forgotten.
const MOST_LOCKS: usize = 1024;
/// Compare-and-swaps of one attempt.
pub(super) const MOST_SWAPS: usize = 32;

/// One attempt at a time for each group in this replica. What holds is the compare-and-swap; this only
/// saves useless ones.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<GroupId, Weak<tokio::sync::Mutex<()>>>>);

impl Groups {
    pub(super) async fn lock(&self, group: GroupId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if locks.len() >= MOST_LOCKS {
                locks.retain(|_, lock| lock.strong_count() > 0);
            }
            let known = locks.get(&group).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                locks.insert(group, Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}

/// The PairingCode of a group, as the watch shows it.
pub(super) fn find(
    context: &Context,
    network: &PeerNetwork,
    group: GroupId,
) -> Option<Arc<PairingCode>> {
    let (name, group) = (network.name_any(), group.to_string());
    let is_it = |code: &Arc<PairingCode>| {
        let status = code.status.as_ref();
        code.spec.network_ref.name == name
            && status.and_then(|status| status.group.as_ref()) == Some(&group)
    };
    context
        .stores
        .codes
        .list_in(&network.namespace().unwrap_or_default())
        .into_iter()
        .find(is_it)
}

/// What the status says of one slot.
pub(super) fn slot(code: &PairingCode, slot: Slot) -> Option<&CodeStatus> {
    code.status
        .as_ref()?
        .codes
        .iter()
        .find(|status| status.slot == slot.0)
}

/// The handshake's salt of a slot.
pub(super) fn hash(status: &CodeStatus) -> Option<[u8; 32]> {
    HEXLOWER
        .decode(status.hash.as_bytes())
        .ok()?
        .try_into()
        .ok()
}

/// The key that proves a slot's code.
pub(super) fn public_key(status: &CodeStatus) -> Option<VerifyingKey> {
    let bytes: [u8; 32] = HEXLOWER
        .decode(status.public_key.as_bytes())
        .ok()?
        .try_into()
        .ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

/// A PairingCode as it stands in the API server, read to be swapped.
pub(super) struct Book {
    api: Api<PairingCode>,
    pub(super) code: PairingCode,
    pub(super) group: Group,
}

impl Book {
    /// Reads it, and, through `holder`, who used `slot`; `None` when it is gone.
    pub(super) async fn read(
        context: &Context,
        network: &PeerNetwork,
        name: &str,
        slot: Slot,
    ) -> Result<Option<Self>, Refusal> {
        let api: Api<PairingCode> = Api::namespaced(
            context.client.clone(),
            &network.namespace().unwrap_or_default(),
        );
        let Some(code) = api.get_opt(name).await? else {
            return Ok(None);
        };
        let used = self::slot(&code, slot).and_then(|status| status.peer_ref.clone());
        let holder = match used {
            Some(used) => {
                let there = super::members::api(context, network)
                    .get_opt(&used.name)
                    .await?;
                holder(there.as_ref().filter(|there| PeerRef::of(there) == used))
            }
            None => Holder::Gone,
        };
        let group = group(&code, network, holder);
        Ok(Some(Self { api, code, group }))
    }

    /// Whether the PairingCode takes part at all, whatever its slots say.
    pub(super) fn is_revoked(&self) -> bool {
        self.code.spec.state == CodeState::Revoked
            || self.code.metadata.deletion_timestamp.is_some()
    }

    /// Counts a failure; with the last one all unused slots burn. `None` when it does not count, else
    /// whether it was written: somebody else may have been faster.
    pub(super) async fn fail(
        &mut self,
        reason: RefusalReason,
        now: UnixTime,
    ) -> Result<Option<bool>, Refusal> {
        if self.is_revoked() || !self.group.fail(reason, now) {
            return Ok(None);
        }
        self.swap(None, now).await.map(Some)
    }

    /// Sets a slot to used by a Peer; `false` when somebody else was faster.
    pub(super) async fn take(
        &mut self,
        slot: Slot,
        id: PeerId,
        peer: &Peer,
        now: UnixTime,
    ) -> Result<bool, Refusal> {
        Ok(self.group.take(slot, id) && self.swap(Some((slot, PeerRef::of(peer))), now).await?)
    }

    async fn swap(
        &mut self,
        used: Option<(Slot, PeerRef)>,
        now: UnixTime,
    ) -> Result<bool, Refusal> {
        let Some(status) = &mut self.code.status else {
            return Ok(false);
        };
        status.failed_attempts = Some(self.group.failed);
        status.remaining = u32::try_from(self.group.remaining()).ok();
        for status in &mut status.codes {
            if let Some(state) = self.group.slots.get(&Slot(status.slot)) {
                status.state = written(*state);
            }
            if let Some((_, peer)) = used.as_ref().filter(|(slot, _)| slot.0 == status.slot) {
                status.used_time = Some(clock::time(now));
                status.peer_ref = Some(peer.clone());
            }
        }
        let how = PostParams {
            field_manager: Some(managers::OPERATOR.to_owned()),
            ..PostParams::default()
        };
        match self
            .api
            .replace_status(&self.code.name_any(), &how, &self.code)
            .await
        {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether failures have closed any code.
    pub(super) fn has_closed(&self) -> bool {
        let mut states = self.group.slots.values();
        states.any(|state| *state == book::SlotState::Burned)
    }

    /// What an event about it refers to.
    pub(super) fn reference(&self) -> k8s_openapi::api::core::v1::ObjectReference {
        self.code.object_ref(&())
    }
}

/// The book; `holder` is who used the slot in question, others are not looked at.
fn group(code: &PairingCode, network: &PeerNetwork, holder: Holder) -> Group {
    let status = code.status.as_ref();
    let slots = status
        .map(|status| status.codes.as_slice())
        .unwrap_or_default();
    Group {
        not_after: status
            .and_then(|status| status.expiration_time.as_ref())
            .map_or(0, clock::unix),
        failed: status
            .and_then(|status| status.failed_attempts)
            .unwrap_or(0),
        max_failed: code
            .spec
            .max_failed_attempts
            .unwrap_or(network.spec.pairing.max_failed_attempts),
        slots: slots
            .iter()
            .map(|status| (Slot(status.slot), state(status.state, holder)))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn holder(peer: Option<&Peer>) -> Holder {
    let Some(peer) = peer.filter(|peer| peer.metadata.deletion_timestamp.is_none()) else {
        return Holder::Gone;
    };
    match (peer.spec.peer_id.parse(), peer.spec.state) {
        (Ok(id), peerup_crds::PeerState::Active) => Holder::Active(id),
        (Ok(id), peerup_crds::PeerState::Revoked) => Holder::Revoked(id),
        (Err(_), _) => Holder::Gone,
    }
}

fn state(state: SlotState, holder: Holder) -> book::SlotState {
    match state {
        SlotState::Available => book::SlotState::Available,
        SlotState::Used => book::SlotState::Used(holder),
        SlotState::Expired => book::SlotState::Expired,
        SlotState::Burned => book::SlotState::Burned,
        SlotState::Revoked => book::SlotState::Revoked,
    }
}

fn written(state: book::SlotState) -> SlotState {
    match state {
        book::SlotState::Available => SlotState::Available,
        book::SlotState::Used(_) => SlotState::Used,
        book::SlotState::Expired => SlotState::Expired,
        book::SlotState::Burned => SlotState::Burned,
        book::SlotState::Revoked => SlotState::Revoked,
    }
}
