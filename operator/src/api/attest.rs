//! `attest`: the API server vouches for a pod, the pod proves its key, and gets a code that only this key
//! can redeem. The pod's Peer, and with it its name, is made here.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use kube::ResourceExt;
use peerup_crds::{
    Peer, PeerMethod, PeerNetwork, PeerState, PodRef,
    names::annotations,
    relays::{self, Side},
};
use peerup_pairing::names;
use peerup_protocol::{
    PeerId, UnixTime,
    api::{AttestAnswer, AttestRequest},
    code::{Code, CodeKind, MAX_ADDRESSES, Responder},
    derive,
    id::{DhtNamespace, PeerName, Slot, verifying_key},
    message,
    secret::SecretText,
};

use super::{
    Api,
    callers::PodCaller,
    members::{self, Blocker, Claim, Ground},
    problem::Refusal,
    settings,
};
use crate::{clock, keys::NetworkKey, network::addresses, pods::Pod};

/// New keys that one pod may bring …
const MOST_REKEYS: usize = 3;
/// … in so many seconds.
const REKEY_WINDOW: UnixTime = 600;
/// Pods whose new keys are remembered.
const MOST_PODS: usize = 8192;

/// When pods brought another key than before.
#[derive(Default)]
pub(super) struct Rekeys(Mutex<HashMap<String, VecDeque<UnixTime>>>);

impl Rekeys {
    fn allow(&self, pod_uid: &str, now: UnixTime) -> bool {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent =
            |times: &VecDeque<UnixTime>| times.back().is_some_and(|last| now < last + REKEY_WINDOW);
        if pods.len() >= MOST_PODS {
            pods.retain(|_, times| recent(times));
        }
        if pods.len() >= MOST_PODS && !pods.contains_key(pod_uid) {
            return false;
        }
        let times = pods.entry(pod_uid.to_owned()).or_default();
        while times
            .front()
            .is_some_and(|first| now >= first + REKEY_WINDOW)
        {
            times.pop_front();
        }
        let allowed = times.len() < MOST_REKEYS;
        if allowed {
            times.push_back(now);
        }
        allowed
    }
}

impl Api {
    pub(super) async fn attest(
        &self,
        caller: &PodCaller,
        request: &AttestRequest,
    ) -> Result<AttestAnswer, Refusal> {
        let proof = message::attest(caller.token.as_bytes(), &request.peer_id);
        let proved = verifying_key(&request.peer_id)
            .is_ok_and(|key| message::verify(&key, &proof, &request.signature).is_ok());
        if !proved {
            return Err(Refusal::forbidden(
                "BadSignature",
                "the signature must be the PeerId's key's, over this token",
            ));
        }
        if caller.network.spec.suspend {
            return Err(Refusal::conflict(
                "Suspended",
                "the PeerNetwork is suspended: nobody can join",
            ));
        }
        let key = self.context.keys.of(&caller.network)?;
        let peer = self.claim(caller, request.peer_id).await?;
        let name = PeerName::parse(&peer.spec.display_name)
            .map_err(|error| Refusal::Unavailable(error.to_string()))?;
        let code = self.attested_code(caller, &key, &request.peer_id)?;
        tracing::info!(network = caller.network.name_any(), pod = caller.pod.name_any(), %name, peer = %request.peer_id, "attested");
        Ok(AttestAnswer {
            code,
            name,
            settings: settings::of_pod(&caller.network),
        })
    }

    async fn claim(&self, caller: &PodCaller, id: PeerId) -> Result<Peer, Refusal> {
        let (network, pod, text) = (&caller.network, pod_ref(&caller.pod), id.to_string());
        let subject = names::subject(
            &self.context.config.cluster_name,
            &pod.namespace,
            &pod.service_account,
            &pod.name,
        )
        .map_err(|error| Refusal::conflict("SubjectTooLong", error.to_string()))?;
        let peers = self.related(network, &pod, &text);
        let known = |peer: &&Arc<Peer>| is_of(peer, &pod) && peer.spec.peer_id == text;
        self.admissible(&peers, &pod, &text)?;
        if let Some(known) = peers.iter().find(known) {
            return Ok(Peer::clone(known));
        }
        // Counted before the former ones go: afterwards some might be counted as gone twice.
        let full = members::is_full(&self.context, network, peers.len());
        self.replace_former(network, &peers, &pod).await?;
        if full {
            let detail = "the PeerNetwork has as many peers as spec.peers.maxPeers allows";
            return Err(Refusal::conflict("Full", detail));
        }
        let ground = Ground::Pod {
            pod: pod.clone(),
            subject,
        };
        let claim = Claim {
            network,
            asked: wanted_name(&caller.pod)?,
            peer: id,
            ground,
        };
        let judge = |there: &Peer| self.judge(there, &pod, &text);
        claim.make(&self.context, judge).await
    }

    /// The Peers of this pod and those of this identity.
    fn related(&self, network: &PeerNetwork, pod: &PodRef, id: &str) -> Vec<Arc<Peer>> {
        let mut peers = members::of_pod(&self.context, network, &pod.uid);
        let mut same = members::of_identity(&self.context, network, id);
        same.retain(|peer| !is_of(peer, pod));
        peers.append(&mut same);
        peers
    }

    /// Refuses a pod that was expelled, and an identity that lives elsewhere.
    fn admissible(&self, peers: &[Arc<Peer>], pod: &PodRef, id: &str) -> Result<(), Refusal> {
        let expelled = |peer: &Arc<Peer>| is_of(peer, pod) && peer.spec.state == PeerState::Revoked;
        if peers.iter().any(expelled) {
            let detail = "this pod's Peer was revoked; delete the pod to let its successor join";
            return Err(Refusal::forbidden("Revoked", detail));
        }
        let elsewhere = |peer: &Arc<Peer>| {
            let same = peer.spec.peer_id == id && !is_of(peer, pod);
            same && !members::pod_is_gone(&self.context, peer)
        };
        if peers.iter().any(elsewhere) {
            let detail = "this identity is another member's; a key belongs to one pod";
            return Err(Refusal::conflict("PeerIDTaken", detail));
        }
        Ok(())
    }

    /// Revokes what the pod was under another key, and what its key was in a pod that is gone.
    async fn replace_former(
        &self,
        network: &PeerNetwork,
        former: &[Arc<Peer>],
        pod: &PodRef,
    ) -> Result<(), Refusal> {
        if !former.is_empty() && !self.attempts.allow(&pod.uid, clock::now()) {
            let detail = "this pod brought too many keys; one is kept for its life";
            return Err(Refusal::conflict("TooManyKeys", detail));
        }
        for peer in former {
            members::delete(&members::api(&self.context, network), peer).await?;
        }
        Ok(())
    }

    /// A pod's name is freed for its successor in the same namespace once the pod is gone, and for the same
    /// pod with another key.
    fn judge(&self, there: &Peer, pod: &PodRef, id: &str) -> Blocker {
        let Some(other) = there
            .spec
            .pod_ref
            .as_ref()
            .filter(|_| there.spec.method == PeerMethod::Attested)
        else {
            return Blocker::Other;
        };
        let same_pod = other.uid == pod.uid;
        if same_pod && there.spec.peer_id == id {
            Blocker::Own
        } else if same_pod
            || (other.namespace == pod.namespace && members::pod_is_gone(&self.context, there))
        {
            Blocker::Void
        } else {
            Blocker::Other
        }
    }

    fn attested_code(
        &self,
        caller: &PodCaller,
        key: &NetworkKey,
        peer: &PeerId,
    ) -> Result<SecretText, Refusal> {
        let network = &caller.network;
        let namespaced = network.namespace().unwrap_or_default();
        let all = relays::responders(network, Side::Inside);
        let known = network.status.as_ref().map(|status| &status.relays);
        let responders = all.into_iter().filter_map(|responder| {
            let id = responder.peer.to_string();
            let relay = known?.iter().find(|relay| relay.peer_id == id)?;
            at_pod(
                responder,
                &*self.context.stores.pods.get(&namespaced, &relay.name)?,
            )
        });
        let responders: Vec<_> = responders.collect();
        let namespace = network
            .status
            .as_ref()
            .and_then(|status| status.dht_namespace.as_deref());
        let (Some(namespace), false) = (namespace, responders.is_empty()) else {
            return Err(Refusal::Unavailable(
                "no relay of the PeerNetwork is ready yet".to_owned(),
            ));
        };
        let window = derive::attest_window(clock::now());
        let (group, secret) = derive::attested(&key.seed, &key.id, peer, window);
        let code = Code {
            kind: CodeKind::Group,
            net: key.id,
            group,
            slot: Slot::ATTESTED,
            secret,
            namespace: DhtNamespace::parse(namespace)
                .map_err(|error| Refusal::Unavailable(error.to_string()))?,
            not_after: u32::try_from(derive::attest_not_after(window)).unwrap_or(u32::MAX),
            responders,
        };
        Ok(code.to_text())
    }
}

/// The relay with its pod's address before its name, if the pod is ready: a name that is asked for before DNS has it
/// stays unknown to caches for half a minute.
fn at_pod(mut relay: Responder, pod: &Pod) -> Option<Responder> {
    let mut addresses = addresses::of_pod(pod).filter(|_| pod.is_ready())?;
    addresses.append(&mut relay.addresses);
    addresses.truncate(MAX_ADDRESSES);
    relay.addresses = addresses;
    Some(relay)
}

fn is_of(peer: &Peer, pod: &PodRef) -> bool {
    let other = peer.spec.pod_ref.as_ref();
    other.is_some_and(|other| other.uid == pod.uid)
}

fn pod_ref(pod: &Pod) -> PodRef {
    PodRef {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        node_name: pod.node_name.clone(),
        service_account: pod
            .service_account
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
    }
}

/// What the pod asks for, else its own name; a bad wish was told at admission.
fn wanted_name(pod: &Pod) -> Result<PeerName, Refusal> {
    let wish = pod
        .annotations()
        .get(annotations::NAME)
        .and_then(|text| PeerName::parse(text).ok());
    match wish.filter(|name| name.check_request().is_ok()) {
        Some(name) => Ok(name),
        None => names::pod_name(&pod.name_any())
            .map_err(|error| Refusal::conflict("BadName", error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_may_bring_three_new_keys_in_ten_minutes() {
        let rekeys = Rekeys::default();
        let allowed = |now| rekeys.allow("u", now);
        assert_eq!(
            [allowed(0), allowed(1), allowed(2), allowed(3)],
            [true, true, true, false]
        );
        assert!(rekeys.allow("other", 3));
        assert_eq!(
            [allowed(599), allowed(600), allowed(600), allowed(601)],
            [false, true, false, true]
        );
    }

    #[test]
    fn names_are_wishes_or_the_pods_own() {
        let pod = |annotation: Option<&str>| -> Pod {
            let annotations = annotation.map(|value| serde_json::json!({"peerup.dev/name": value}));
            serde_json::from_value(
                serde_json::json!({"metadata": {"name": "web.v2-0", "annotations": annotations}}),
            )
            .unwrap()
        };
        let name = |annotation| wanted_name(&pod(annotation)).unwrap().to_string();
        assert_eq!(name(Some("front")), "front");
        for other in [None, Some("Front Door"), Some(&*"x".repeat(60))] {
            assert_eq!(name(other), "web-v2-0");
        }
    }

    #[test]
    fn a_relay_is_at_its_ready_pod_first_and_at_its_name_then() {
        let pod = |ready: &str| -> Pod {
            serde_json::from_value(serde_json::json!({"status": {
                "podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap()
        };
        let mut going = pod("True");
        going.metadata.deletion_timestamp = Some(clock::time(1));
        let name: peerup_protocol::Multiaddr =
            "/dns4/main-relay-0.example/tcp/4001".parse().unwrap();
        let relay = Responder {
            peer: peerup_protocol::id::peer_id(
                &peerup_protocol::SigningKey::from_bytes(&[7; 32]).verifying_key(),
            ),
            addresses: vec![name.clone()],
        };
        assert_eq!(at_pod(relay.clone(), &pod("False")), None);
        assert_eq!(at_pod(relay.clone(), &going), None, "it ends");
        let there = at_pod(relay, &pod("True")).unwrap().addresses;
        let texts: Vec<_> = there.iter().map(ToString::to_string).collect();
        let name = name.to_string();
        assert_eq!(
            texts,
            [
                "/ip4/10.0.0.9/udp/4001/quic-v1",
                "/ip4/10.0.0.9/tcp/4001",
                name.as_str()
            ]
        );
    }
}
