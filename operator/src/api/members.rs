//! Peer objects: finding, creating and freeing them. Creating one claims its name in the network.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use peerup_crds::{
    NetworkRef, PairingCodeRef, Peer, PeerMethod, PeerNetwork, PeerSpec, PeerState, PeerType,
    PodRef,
    names::{self, annotations, finalizers, labels, managers},
};
use peerup_pairing::names::next_name;
use peerup_protocol::{
    PeerId,
    id::{PeerName, Serial},
};

use serde_json::json;
use tokio::sync::broadcast::Receiver;

use super::problem::Refusal;
use crate::{
    clock,
    context::{Change, Context},
};

/// How long a claim waits for a Peer of the same name that is on its way out.
const FREED: Duration = Duration::from_secs(4);
/// Between two looks at it, should the watch be late.
const LOOK: Duration = Duration::from_millis(250);
/// Names that one claim tries.
const MOST_NAMES: usize = 64;

/// Why the bearer may be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ground {
    /// It is a pod, attested.
    Pod { pod: PodRef, subject: String },
    /// It holds a code.
    Code(PairingCodeRef),
}

/// A claim to a name in a network.
pub(super) struct Claim<'a> {
    pub(super) network: &'a PeerNetwork,
    pub(super) asked: PeerName,
    pub(super) peer: PeerId,
    pub(super) ground: Ground,
}

/// What a Peer that already has the wanted name means for a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocker {
    /// It is this claim's own, made before.
    Own,
    /// Its claim is void: it may be deleted.
    Void,
    /// It is on its way out and its name will be free.
    Leaving,
    /// It is another's.
    Other,
}

/// All Peers of a network that are not being deleted: a look at each, for what is done seldom.
pub(super) fn of_network(context: &Context, network: &PeerNetwork) -> Vec<Arc<Peer>> {
    let name = network.name_any();
    let mut peers = context
        .stores
        .peers
        .list_in(&network.namespace().unwrap_or_default());
    peers.retain(|peer| {
        peer.spec.network_ref.name == name && peer.metadata.deletion_timestamp.is_none()
    });
    peers
}

/// The Peers of a pod in a network that are not being deleted.
pub(super) fn of_pod(context: &Context, network: &PeerNetwork, uid: &str) -> Vec<Arc<Peer>> {
    let stores = &context.stores;
    stores.index.of_pod(&stores.peers, network, uid)
}

/// The Peers of an identity in a network that are not being deleted.
pub(super) fn of_identity(context: &Context, network: &PeerNetwork, id: &str) -> Vec<Arc<Peer>> {
    let stores = &context.stores;
    stores.index.of_identity(&stores.peers, network, id)
}

/// Whether a network has as many Peers as it may, but for `leaving` of them.
pub(super) fn is_full(context: &Context, network: &PeerNetwork, leaving: usize) -> bool {
    let staying = context.stores.index.count(network).saturating_sub(leaving);
    staying >= network.spec.peers.max_peers as usize
}

/// The Peer of an identity; an active one before one that was revoked.
pub(super) fn find(context: &Context, network: &PeerNetwork, peer: &PeerId) -> Option<Arc<Peer>> {
    let same = of_identity(context, network, &peer.to_string());
    same.into_iter().max_by_key(|peer| {
        (
            peer.spec.state == PeerState::Active,
            peer.creation_timestamp(),
        )
    })
}

/// Whether the pod of a Peer is gone; `false` for peers that are no pods.
pub(super) fn pod_is_gone(context: &Context, peer: &Peer) -> bool {
    peer.spec.pod_ref.as_ref().is_some_and(|pod| {
        let there = context.stores.pods.get(&pod.namespace, &pod.name);
        !there.is_some_and(|there| there.uid().as_ref() == Some(&pod.uid) && !there.is_over())
    })
}

impl Claim<'_> {
    /// Claims the first name that is free, or finds the claim that this one made before. `judge` says
    /// what a Peer in the way means.
    pub(super) async fn make(
        &self,
        context: &Context,
        judge: impl Fn(&Peer) -> Blocker,
    ) -> Result<Peer, Refusal> {
        let api = api(context, self.network);
        let mut taken: Vec<PeerName> = Vec::new();
        while let Some(name) =
            next_name(&self.asked, |name| taken.contains(name)).filter(|_| taken.len() < MOST_NAMES)
        {
            if let Some(peer) = self.try_name(context, &api, &name, &judge).await? {
                return Ok(peer);
            }
            taken.push(name);
        }
        Err(Refusal::conflict(
            "NameTaken",
            format!("the name {} and all numbered ones are taken", self.asked),
        ))
    }

    /// The claimed Peer, or `None` when the name is another's.
    async fn try_name(
        &self,
        context: &Context,
        api: &Api<Peer>,
        name: &PeerName,
        judge: &impl Fn(&Peer) -> Blocker,
    ) -> Result<Option<Peer>, Refusal> {
        let deadline = tokio::time::Instant::now() + FREED;
        let mut changes = context.stores.peers.changes();
        loop {
            let object = self.object(name);
            match api
                .create(
                    &PostParams {
                        field_manager: Some(managers::OPERATOR.to_owned()),
                        ..PostParams::default()
                    },
                    &object,
                )
                .await
            {
                Ok(created) => return Ok(Some(created)),
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
                Err(error) => return Err(error.into()),
            }
            let Some(there) = api.get_opt(&object.name_any()).await? else {
                continue;
            };
            let blocker = if there.metadata.deletion_timestamp.is_some() {
                Blocker::Leaving
            } else {
                judge(&there)
            };
            match blocker {
                Blocker::Own => match self.taken_up(api, &there).await? {
                    Some(own) => return Ok(Some(own)),
                    None if tokio::time::Instant::now() < deadline => continue,
                    None => {}
                },
                Blocker::Other => return Ok(None),
                Blocker::Void => delete(api, &there).await?,
                Blocker::Leaving => {}
            }
            // Its finalizer goes as soon as its revocation is written.
            let freed = gone(&mut changes, api, &there);
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                return Err(Refusal::Unavailable(format!(
                    "the former Peer {} is still being removed",
                    object.name_any()
                )));
            }
        }
    }

    /// The claim of a code, young again: by a write, so that nobody frees it as it was seen before. `None` when
    /// it was changed meanwhile.
    async fn taken_up(&self, api: &Api<Peer>, claimed: &Peer) -> Result<Option<Peer>, Refusal> {
        match self.ground {
            Ground::Pod { .. } => return Ok(Some(claimed.clone())),
            Ground::Code(_) => {}
        }
        let patch = Patch::Merge(json!({ "metadata": {
            "resourceVersion": claimed.resource_version(),
            "uid": claimed.uid(),
            "annotations": { annotations::CLAIMED: clock::time(clock::now()) },
        } }));
        match api
            .patch(&claimed.name_any(), &PatchParams::default(), &patch)
            .await
        {
            Ok(own) => Ok(Some(own)),
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn object(&self, name: &PeerName) -> Peer {
        let network = self.network.name_any();
        let uid = self.network.uid().unwrap_or_default();
        let (pod_ref, subject, code) = match &self.ground {
            Ground::Pod { pod, subject } => (Some(pod.clone()), Some(subject.clone()), None),
            Ground::Code(code) => (None, None, Some(code.clone())),
        };
        let (type_, method) = match &self.ground {
            Ground::Pod { .. } => (PeerType::Pod, PeerMethod::Attested),
            Ground::Code(_) => (PeerType::External, PeerMethod::Code),
        };
        let spec = PeerSpec {
            network_ref: NetworkRef {
                name: network.clone(),
            },
            peer_id: self.peer.to_string(),
            serial: Serial(rand::random::<u64>() >> 1).to_string(),
            subject,
            type_,
            method,
            pod_ref,
            pairing_code_ref: code,
            display_name: name.to_string(),
            state: PeerState::Active,
        };
        let mut peer = Peer::new(&names::peer(&network, name.as_str()), spec);
        peer.metadata = ObjectMeta {
            namespace: self.network.namespace(),
            labels: Some(
                [
                    (labels::NETWORK_UID.to_owned(), uid),
                    (labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned()),
                ]
                .into(),
            ),
            finalizers: Some(vec![finalizers::PEER.to_owned()]),
            ..peer.metadata
        };
        peer
    }
}

/// Waits until a Peer is not there any more, or another one under its name.
async fn gone(changes: &mut Receiver<Change<Peer>>, api: &Api<Peer>, there: &Peer) {
    loop {
        tokio::select! {
            change = changes.recv() => if matches!(change, Ok(Change::Deleted(gone)) if gone.uid() == there.uid()) { return },
            () = tokio::time::sleep(LOOK) => {
                let now = api.get_opt(&there.name_any()).await;
                if now.is_ok_and(|now| now.is_none_or(|now| now.uid() != there.uid())) { return }
            }
        }
    }
}

/// Peers of a network's namespace.
pub(super) fn api(context: &Context, network: &PeerNetwork) -> Api<Peer> {
    Api::namespaced(
        context.client.clone(),
        &network.namespace().unwrap_or_default(),
    )
}

/// Deletes exactly this Peer, as it was seen.
pub(super) async fn delete(api: &Api<Peer>, peer: &Peer) -> kube::Result<()> {
    let seen = Preconditions {
        uid: peer.uid(),
        resource_version: peer.resource_version(),
    };
    let deleted = api
        .delete(
            &peer.name_any(),
            &DeleteParams::default().preconditions(seen),
        )
        .await;
    match deleted {
        Ok(_) => Ok(()),
        // Gone, or changed meanwhile: whoever asked looks again.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a Peer is a member and not only a claim: for codes its slot names it, or the peer controller has
/// once seen that.
pub(super) fn is_member(context: &Context, peer: &Peer) -> bool {
    if peer.spec.state == PeerState::Revoked || peer.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let Some(code) = &peer.spec.pairing_code_ref else {
        return true;
    };
    if peer
        .status
        .as_ref()
        .is_some_and(|status| status.joined_time.is_some())
    {
        return true;
    }
    let code_object = context
        .stores
        .codes
        .get(&peer.namespace().unwrap_or_default(), &code.name);
    code_object.is_some_and(|object| {
        let used = object.slot_of(peer);
        used.is_some_and(|used| used.slot == code.slot)
    })
}
