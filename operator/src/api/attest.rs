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
/// Pods whose keys are remembered.
const MOST_PODS: usize = 16_384;

/// The keys that pods brought of late. What the watch tells comes too late to count by: a pod may bring the next key
/// before its former Peer is seen.
#[derive(Default)]
pub(super) struct Rekeys(Mutex<HashMap<String, Brought>>);

/// What one pod brought.
struct Brought {
    last: PeerId,
    seen: UnixTime,
    /// When each further key came.
    further: VecDeque<UnixTime>,
}

impl Rekeys {
    /// Whether a pod may be the member with this key; `is_further` tells of other Peers that it, or its key, had.
    fn allow(&self, pod_uid: &str, key: PeerId, is_further: bool, now: UnixTime) -> bool {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pods.len() >= MOST_PODS {
            pods.retain(|_, brought| now < brought.seen + REKEY_WINDOW);
        }
        if pods.len() >= MOST_PODS && !pods.contains_key(pod_uid) {
            return !is_further;
        }
        let known = pods.get(pod_uid);
        let counts = known.map_or(is_further, |brought| brought.last != key);
        let brought = pods.entry(pod_uid.to_owned()).or_insert_with(|| Brought {
            last: key,
            seen: now,
            further: VecDeque::new(),
        });
        !counts || brought.allow(key, now)
    }
}

impl Brought {
    fn allow(&mut self, key: PeerId, now: UnixTime) -> bool {
        let over = |first: &UnixTime| now >= first + REKEY_WINDOW;
        while self.further.front().is_some_and(over) {
            self.further.pop_front();
        }
        let allowed = self.further.len() < MOST_REKEYS;
        if allowed {
            self.further.push_back(now);
            (self.last, self.seen) = (key, now);
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
        let is_further = !peers.is_empty();
        let allowed = self.rekeys.allow(&pod.uid, id, is_further, clock::now());
        if !allowed {
            let detail = "this pod brought too many keys; one is kept for its life";
            return Err(Refusal::conflict("TooManyKeys", detail));
        }
        // Counted before the former ones go: afterwards some might be counted as gone twice.
        let full = members::is_full(&self.context, network, peers.len());
        self.delete(network, &peers).await?;
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
    async fn delete(&self, network: &PeerNetwork, former: &[Arc<Peer>]) -> Result<(), Refusal> {
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

    fn id(number: u8) -> PeerId {
        let key = peerup_protocol::SigningKey::from_bytes(&[number; 32]);
        peerup_protocol::id::peer_id(&key.verifying_key())
    }

    #[test]
    fn a_pod_may_bring_three_new_keys_in_ten_minutes() {
        let rekeys = Rekeys::default();
        let allowed = |number, now| rekeys.allow("u", id(number), true, now);
        assert_eq!(
            [
                allowed(1, 0),
                allowed(2, 1),
                allowed(3, 2),
                allowed(4, 3),
                allowed(3, 3)
            ],
            [true, true, true, false, true]
        );
        assert!(rekeys.allow("other", id(1), true, 3));
        assert_eq!(
            [
                allowed(4, 599),
                allowed(4, 600),
                allowed(5, 600),
                allowed(5, 601)
            ],
            [false, true, false, true]
        );
    }

    #[test]
    fn keys_count_before_their_peers_are_seen() {
        let rekeys = Rekeys::default();
        let allowed = |number| rekeys.allow("u", id(number), false, 0);
        // A key is asked for again, and two take turns.
        let tries = [1, 1, 2, 2, 1, 2, 1, 3].map(allowed);
        assert_eq!(tries, [true, true, true, true, true, true, false, false]);
    }

    #[test]
    fn where_too_many_pods_are_known_first_keys_pass() {
        let rekeys = Rekeys::default();
        for pod in 0..MOST_PODS {
            assert!(rekeys.allow(&pod.to_string(), id(1), false, 0));
        }
        assert!(rekeys.allow("u", id(1), false, 599));
        assert!(!rekeys.allow("u", id(2), true, 599));
        assert!(rekeys.allow("u", id(2), true, 600));
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
            peer: id(7),
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
