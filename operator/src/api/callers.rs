//! Who calls: a sidecar in a pod of a network, or a relay of a network. A token says for which pod it was
//! issued; that the pod lives, belongs to the network and is what it says is looked at on every call.

use std::{net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, header, request::Parts};
use kube::ResourceExt;
use peerup_crds::{
    PeerNetwork,
    names::{self, labels},
};
use peerup_protocol::{
    SigningKey, UnixTime,
    api::{RELAY_SIGNATURE_HEADER, RelaySignature},
    derive, message,
};

use super::{
    problem::Refusal,
    tokens::{Identity, Tokens, claims},
};
use crate::{
    admission::select::{self, Home},
    clock,
    context::Context,
    keys::NetworkKey,
    pods::Pod,
};

/// How far a relay's clock may be away, in seconds.
const SKEW: UnixTime = 60;

/// A caller whose every proof was checked just now.
pub(super) enum Caller {
    /// A sidecar.
    Pod(PodCaller),
    /// A relay.
    Relay(RelayCaller),
}

/// A sidecar: its pod and its network.
pub(super) struct PodCaller {
    pub(super) network: Arc<PeerNetwork>,
    pub(super) pod: Arc<Pod>,
    pub(super) token: String,
}

/// A relay and its network.
pub(super) struct RelayCaller {
    pub(super) network: Arc<PeerNetwork>,
    pub(super) ordinal: u8,
    pub(super) key: Arc<NetworkKey>,
}

/// Finds out who calls. `source` is `None` for what another replica passed on.
pub(super) async fn authenticate(
    context: &Context,
    tokens: &Tokens,
    parts: &Parts,
    body: &[u8],
    source: Option<IpAddr>,
) -> Result<Caller, Refusal> {
    let token = bearer(&parts.headers).ok_or(Refusal::Unauthenticated(
        "a service account token must come as Authorization: Bearer",
    ))?;
    let claims = claims::read(token).ok_or(Refusal::Unauthenticated(
        "the token must be a service account's, with audience peerup.dev/<namespace>/<network>",
    ))?;
    let now = clock::now();
    let identity = tokens.verify(token, &claims, source, now).await?;
    let audience = &claims.audience;
    let network = context
        .stores
        .networks
        .get(&audience.namespace, &audience.network)
        .ok_or_else(|| {
            Refusal::forbidden(
                "NoSuchNetwork",
                format!(
                    "the PeerNetwork of audience {} does not exist",
                    audience.text
                ),
            )
        })?;
    let pod = live_pod(context, &identity)?;
    if !audience.relay {
        belongs(context, &network, &pod)?;
        return Ok(Caller::Pod(PodCaller {
            network,
            pod,
            token: token.to_owned(),
        }));
    }
    let ordinal = relay_ordinal(&network, &identity)?;
    let key = context.keys.of(&network)?;
    let call = SignedCall {
        method: parts.method.as_str(),
        path_and_query: path_and_query(parts),
        token,
        body,
    };
    call.verify(
        &parts.headers,
        &SigningKey::from_bytes(derive::relay_seed(&key.seed, &key.id, ordinal).expose()),
        now,
    )?;
    Ok(Caller::Relay(RelayCaller {
        network,
        ordinal,
        key,
    }))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::trim)
}

pub(super) fn path_and_query(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |path| path.as_str())
}

/// The pod of a token, if it is there and not at its end: the API server confirms tokens of pods for a
/// while after they are gone.
fn live_pod(context: &Context, identity: &Identity) -> Result<Arc<Pod>, Refusal> {
    let pod = context.stores.pods.get(&identity.namespace, &identity.pod);
    pod.filter(|pod| pod.uid().as_ref() == Some(&identity.uid) && !pod.is_over())
        .ok_or_else(|| {
            Refusal::forbidden(
                "PodGone",
                format!(
                    "pod {}/{} of the token is not running",
                    identity.namespace, identity.pod
                ),
            )
        })
}

/// Whether the pod was given to this network, and the network still takes pods of its namespace.
fn belongs(context: &Context, network: &PeerNetwork, pod: &Pod) -> Result<(), Refusal> {
    let label = |key: &str| pod.labels().get(key).map(String::as_str);
    if label(labels::INJECTED) != Some("true")
        || label(labels::NETWORK_UID) != network.metadata.uid.as_deref()
    {
        return Err(Refusal::forbidden(
            "NotInjected",
            "the pod was not given a sidecar of this network",
        ));
    }
    let name = pod.namespace().unwrap_or_default();
    let namespace = context.stores.namespaces.get_global(&name);
    if select::admits(network, &Home::of(namespace.as_deref(), &name)) {
        Ok(())
    } else {
        Err(Refusal::forbidden(
            "NamespaceNotAdmitted",
            format!("the PeerNetwork must admit namespace {name} in spec.allowedNamespaces"),
        ))
    }
}

/// Which relay of the network the pod is. Anybody can ask for a token with a relay's audience; only the
/// relays' service account in the network's namespace makes it one.
fn relay_ordinal(network: &PeerNetwork, identity: &Identity) -> Result<u8, Refusal> {
    let relay = names::relay(&network.name_any());
    let ordinal = identity
        .pod
        .strip_prefix(&format!("{relay}-"))
        .and_then(|text| text.parse::<u8>().ok());
    let replicas = network.spec.relay.managed.replicas;
    let ordinal = ordinal.filter(|ordinal| {
        *ordinal < replicas && identity.pod == names::relay_replica(&network.name_any(), *ordinal)
    });
    match ordinal {
        Some(ordinal)
            if identity.namespace == network.namespace().unwrap_or_default()
                && identity.service_account == relay =>
        {
            Ok(ordinal)
        }
        Some(_) | None => Err(Refusal::forbidden(
            "NotARelay",
            "the token's pod is no relay of this network",
        )),
    }
}

/// A relay's call, as the relay signs it.
struct SignedCall<'a> {
    method: &'a str,
    path_and_query: &'a str,
    token: &'a str,
    body: &'a [u8],
}

impl SignedCall<'_> {
    fn verify(&self, headers: &HeaderMap, key: &SigningKey, now: UnixTime) -> Result<(), Refusal> {
        let refused = || {
            Refusal::forbidden(
                "NotARelay",
                format!(
                    "header {RELAY_SIGNATURE_HEADER} must hold <unix seconds>.<base64 signature> by the relay's key, made just now"
                ),
            )
        };
        let header = headers
            .get(RELAY_SIGNATURE_HEADER)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(refused)?;
        let RelaySignature { time, signature } = header.parse().map_err(|_| refused())?;
        if time.abs_diff(now) > SKEW {
            return Err(refused());
        }
        let signed = message::relay_call(
            self.method,
            self.path_and_query,
            time,
            self.token.as_bytes(),
            self.body,
        );
        message::verify(&key.verifying_key(), &signed, &signature).map_err(|_| refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(namespace: &str, account: &str, pod: &str) -> Identity {
        Identity {
            namespace: namespace.into(),
            service_account: account.into(),
            pod: pod.into(),
            uid: "u".into(),
        }
    }

    #[test]
    fn only_the_networks_own_relays_are_relays() {
        let network: PeerNetwork = serde_json::from_value(serde_json::json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
            "metadata": {"name": "main", "namespace": "infra"}, "spec": {"relay": {"managed": {"replicas": 2}}},
        }))
        .unwrap();
        let ordinal = |namespace, account, pod| {
            relay_ordinal(&network, &identity(namespace, account, pod)).ok()
        };
        assert_eq!(ordinal("infra", "main-relay", "main-relay-1"), Some(1));
        assert_eq!(
            ordinal("infra", "main-relay", "main-relay-2"),
            None,
            "more than replicas"
        );
        assert_eq!(ordinal("infra", "main-relay", "main-relay-01"), None);
        assert_eq!(ordinal("infra", "main-relay", "main-relay-+1"), None);
        assert_eq!(
            ordinal("infra", "default", "main-relay-1"),
            None,
            "another account"
        );
        assert_eq!(
            ordinal("shop", "main-relay", "main-relay-1"),
            None,
            "another namespace"
        );
        assert_eq!(ordinal("infra", "main-relay", "other-relay-1"), None);
    }

    #[test]
    fn a_relays_signature_covers_the_whole_call() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let call = SignedCall {
            method: "POST",
            path_and_query: "/v1/relay/redeem",
            token: "t",
            body: b"{}",
        };
        let signed = message::relay_call("POST", "/v1/relay/redeem", 1000, b"t", b"{}");
        let value = RelaySignature {
            time: 1000,
            signature: message::sign(&key, &signed),
        }
        .to_string();
        let headers = |value: &str| {
            HeaderMap::from_iter([(
                RELAY_SIGNATURE_HEADER
                    .parse::<header::HeaderName>()
                    .unwrap(),
                value.parse().unwrap(),
            )])
        };
        let good = headers(&value);
        assert!(call.verify(&good, &key, 1060).is_ok() && call.verify(&good, &key, 940).is_ok());
        assert!(call.verify(&good, &key, 1061).is_err() && call.verify(&good, &key, 939).is_err());
        assert!(
            call.verify(&good, &SigningKey::from_bytes(&[8; 32]), 1000)
                .is_err()
        );
        assert!(call.verify(&HeaderMap::new(), &key, 1000).is_err());
        for bad in [
            "",
            "1000",
            "1000,",
            "x,AAAA",
            &value.replacen("1000", "1001", 1),
        ] {
            assert!(call.verify(&headers(bad), &key, 1000).is_err(), "{bad}");
        }
        for other in [
            SignedCall {
                method: "GET",
                ..call
            },
            SignedCall {
                path_and_query: "/v1/relay/renew",
                ..call
            },
            SignedCall { token: "u", ..call },
            SignedCall {
                body: b"{ }",
                ..call
            },
        ] {
            assert!(other.verify(&good, &key, 1000).is_err());
        }
    }
}
