//! What the operator makes for a network, as JSON for server-side apply. Pure.

use std::collections::BTreeMap;

use kube::{Resource as _, ResourceExt as _};
use peerup_crds::{
    PeerNetwork, ServiceType,
    names::{self, annotations, labels, ports},
};
use serde_json::{Value, json};

use super::addresses::{QUIC, STUN, STUN_ALTERNATE, TCP};
use crate::context::{ChildKey, Kind};

/// An object as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Which one.
    pub key: ChildKey,
    /// All fields that the operator wants to own.
    pub body: Value,
}

/// What all of a network's objects share.
pub(crate) struct Of<'a> {
    pub(crate) network: &'a PeerNetwork,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
}

impl<'a> Of<'a> {
    pub(crate) fn new(network: &'a PeerNetwork) -> Self {
        Self {
            network,
            name: network.name_any(),
            namespace: network.namespace().unwrap_or_default(),
            uid: network.uid().unwrap_or_default(),
        }
    }

    /// Labels of all objects made for the network.
    pub(crate) fn labels(&self) -> Value {
        json!({
            labels::NAME: labels::RELAY,
            labels::INSTANCE: self.name,
            labels::MANAGED_BY: labels::OPERATOR,
            labels::NETWORK_UID: self.uid,
        })
    }

    /// What selects the relays' pods.
    pub(crate) fn selector(&self) -> Value {
        json!({ labels::NAME: labels::RELAY, labels::INSTANCE: self.name })
    }

    fn desired(&self, kind: Kind, namespace: &str, name: &str, mut body: Value) -> Desired {
        let (api_version, kind_name) = api_of(kind);
        body["apiVersion"] = json!(api_version);
        body["kind"] = json!(kind_name);
        body["metadata"]["name"] = json!(name);
        body["metadata"]["namespace"] = json!(namespace);
        body["metadata"]["labels"] = self.labels();
        if namespace == self.namespace {
            // Without an owner it stays, found by its labels; an owner may not be in another namespace.
            body["metadata"]["ownerReferences"] = json!([self.network.controller_owner_ref(&())]);
        }
        Desired {
            key: ChildKey {
                kind,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            body,
        }
    }

    /// An object in the network's own namespace.
    pub(crate) fn own(&self, kind: Kind, name: &str, body: Value) -> Desired {
        self.desired(kind, &self.namespace, name, body)
    }
}

/// `apiVersion` and `kind`.
#[must_use]
pub fn api_of(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::ConfigMap => ("v1", "ConfigMap"),
        Kind::ServiceAccount => ("v1", "ServiceAccount"),
        Kind::Service => ("v1", "Service"),
        Kind::NetworkPolicy => ("networking.k8s.io/v1", "NetworkPolicy"),
        Kind::PodDisruptionBudget => ("policy/v1", "PodDisruptionBudget"),
        Kind::StatefulSet => ("apps/v1", "StatefulSet"),
    }
}

/// The CA bundle for the sidecars of a namespace.
pub(crate) fn ca_config_map(of: &Of<'_>, namespace: &str, bundle: &str) -> Desired {
    let body = json!({ "metadata": {}, "data": { names::secrets::CA_BUNDLE_KEY: bundle } });
    of.desired(
        Kind::ConfigMap,
        namespace,
        &names::ca_config_map(&of.uid),
        body,
    )
}

/// The relays' account, which may do nothing.
pub(crate) fn service_account(of: &Of<'_>) -> Desired {
    let body = json!({ "metadata": {}, "automountServiceAccountToken": false });
    of.own(Kind::ServiceAccount, &names::relay(&of.name), body)
}

/// Gives every relay's pod a DNS name, also before it is ready.
pub(crate) fn headless_service(of: &Of<'_>) -> Desired {
    let body = json!({ "metadata": {}, "spec": {
        "clusterIP": "None",
        "publishNotReadyAddresses": true,
        "selector": of.selector(),
        "ports": service_ports(ports::PEER),
    }});
    of.own(Kind::Service, &names::relay_headless(&of.name), body)
}

/// One relay's Service.
pub(crate) fn replica_service(of: &Of<'_>, ordinal: u8) -> Desired {
    let service = &of.network.spec.relay.managed.service;
    let name = names::relay_replica(&of.name, ordinal);
    let mut selector = of.selector();
    selector["statefulset.kubernetes.io/pod-name"] = json!(name);
    let mut spec = json!({ "selector": selector, "ports": service_ports(service.port) });
    spec["type"] = json!(match service.type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    });
    match service.type_ {
        ServiceType::ClusterIP => {}
        // The relay must see who calls: limits per source, and STUN's answer, depend on it.
        ServiceType::NodePort | ServiceType::LoadBalancer => {
            spec["externalTrafficPolicy"] = json!("Local")
        }
    }
    match (service.type_, &service.load_balancer_class) {
        (ServiceType::LoadBalancer, Some(class)) => spec["loadBalancerClass"] = json!(class),
        (ServiceType::LoadBalancer | ServiceType::ClusterIP | ServiceType::NodePort, _) => {}
    }
    let mut metadata = json!({});
    if !service.annotations.is_empty() {
        metadata["annotations"] = json!(service.annotations);
    }
    of.own(
        Kind::Service,
        &name,
        json!({ "metadata": metadata, "spec": spec }),
    )
}

fn service_ports(peer: u16) -> Value {
    json!([
        {"name": TCP, "protocol": "TCP", "port": peer, "targetPort": ports::PEER},
        {"name": QUIC, "protocol": "UDP", "port": peer, "targetPort": ports::PEER},
        {"name": STUN, "protocol": "UDP", "port": ports::STUN, "targetPort": ports::STUN},
        {"name": STUN_ALTERNATE, "protocol": "UDP", "port": ports::STUN_ALTERNATE, "targetPort": ports::STUN_ALTERNATE},
    ])
}

/// One relay at a time may be drained.
pub(crate) fn disruption_budget(of: &Of<'_>) -> Desired {
    let body = json!({ "metadata": {}, "spec": { "maxUnavailable": 1, "selector": { "matchLabels": of.selector() } } });
    of.own(Kind::PodDisruptionBudget, &names::relay(&of.name), body)
}

/// Everybody may reach the relays' ports, and nothing else of them.
pub(crate) fn network_policy(of: &Of<'_>) -> Desired {
    let open = [
        ("TCP", ports::PEER),
        ("UDP", ports::PEER),
        ("UDP", ports::STUN),
        ("UDP", ports::STUN_ALTERNATE),
        ("TCP", ports::HTTP),
    ];
    let open: Vec<_> = open
        .iter()
        .map(|(protocol, port)| json!({"protocol": protocol, "port": port}))
        .collect();
    let body = json!({ "metadata": {}, "spec": {
        "podSelector": { "matchLabels": of.selector() },
        "policyTypes": ["Ingress"],
        "ingress": [{ "ports": open }],
    }});
    of.own(Kind::NetworkPolicy, &names::relay(&of.name), body)
}

/// What the relays' pods need to know beside the PeerNetwork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySettings {
    /// Image of the relay.
    pub image: String,
    /// When it is pulled.
    pub pull_policy: &'static str,
    /// The operator API.
    pub operator_url: String,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// How relays write their logs.
    pub log_format: &'static str,
}

/// What the relays are told of their network.
pub(crate) struct Identity<'a> {
    pub(crate) dht_namespace: &'a str,
    pub(crate) public_key: String,
}

/// The relays.
pub(crate) fn stateful_set(
    of: &Of<'_>,
    settings: &RelaySettings,
    identity: &Identity<'_>,
) -> Desired {
    let body = json!({ "metadata": {}, "spec": {
        "replicas": of.network.spec.relay.managed.replicas,
        "serviceName": names::relay_headless(&of.name),
        "podManagementPolicy": "Parallel",
        "selector": { "matchLabels": of.selector() },
        "template": pod_template(of, settings, identity),
    }});
    of.own(Kind::StatefulSet, &names::relay(&of.name), body)
}

fn pod_template(of: &Of<'_>, settings: &RelaySettings, identity: &Identity<'_>) -> Value {
    let extra = &of.network.spec.relay.managed.pod_template;
    let mut labels = json!(extra.labels);
    merge(&mut labels, of.labels());
    // A relay is no pod of an application, whatever its namespace asked for.
    labels[labels::INJECT] = json!(labels::DISABLED);
    let scrape = ports::HTTP.to_string();
    let mut notes: BTreeMap<String, String> = extra.annotations.clone();
    notes.retain(|key, _| !key.starts_with(annotations::PREFIX));
    for (key, value) in [("scrape", "true"), ("port", &scrape), ("path", "/metrics")] {
        notes
            .entry(format!("prometheus.io/{key}"))
            .or_insert_with(|| value.to_owned());
    }
    json!({ "metadata": { "labels": labels, "annotations": notes }, "spec": pod_spec(of, settings, identity) })
}

fn pod_spec(of: &Of<'_>, settings: &RelaySettings, identity: &Identity<'_>) -> Value {
    let extra = &of.network.spec.relay.managed.pod_template;
    let mut spec = json!({
        "serviceAccountName": names::relay(&of.name),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(of, settings, identity)],
        "volumes": volumes(of),
    });
    if extra.affinity.is_none() {
        spec["topologySpreadConstraints"] = json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": of.selector()},
        }]);
    }
    let given = [
        ("nodeSelector", json!(extra.node_selector)),
        ("tolerations", json!(extra.tolerations)),
        ("affinity", json!(extra.affinity)),
        ("priorityClassName", json!(extra.priority_class_name)),
        ("imagePullSecrets", json!(extra.image_pull_secrets)),
    ];
    for (field, value) in given {
        let empty = value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty);
        if !empty {
            spec[field] = value;
        }
    }
    spec
}

fn container(of: &Of<'_>, settings: &RelaySettings, identity: &Identity<'_>) -> Value {
    let probe = |path: &str, period: u8| json!({"httpGet": {"path": path, "port": "metrics"}, "periodSeconds": period, "timeoutSeconds": 2});
    json!({
        "name": "relay",
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "env": env(of, settings, identity),
        "ports": [
            {"name": TCP, "containerPort": ports::PEER, "protocol": "TCP"},
            {"name": QUIC, "containerPort": ports::PEER, "protocol": "UDP"},
            {"name": STUN, "containerPort": ports::STUN, "protocol": "UDP"},
            {"name": STUN_ALTERNATE, "containerPort": ports::STUN_ALTERNATE, "protocol": "UDP"},
            {"name": "metrics", "containerPort": ports::HTTP, "protocol": "TCP"},
        ],
        "resources": of.network.spec.relay.managed.resources,
        "livenessProbe": probe("/livez", 10),
        "readinessProbe": probe("/readyz", 2),
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "state", "mountPath": "/var/run/peerup/state"},
            {"name": "key", "mountPath": "/var/run/peerup/key/seed", "subPathExpr": "$(POD_NAME)", "readOnly": true},
            {"name": "token", "mountPath": "/var/run/peerup/token", "readOnly": true},
            {"name": "ca", "mountPath": "/var/run/peerup/ca", "readOnly": true},
        ],
    })
}

fn env(of: &Of<'_>, settings: &RelaySettings, identity: &Identity<'_>) -> Value {
    let (managed, pairing) = (&of.network.spec.relay.managed, &of.network.spec.pairing);
    let inside_host = format!(
        "$(POD_NAME).{}.{}.svc.{}",
        names::relay_headless(&of.name),
        of.namespace,
        settings.cluster_domain
    );
    let pairs = [
        ("NETWORK", format!("{}/{}", of.namespace, of.name)),
        ("DHT_NAMESPACE", identity.dht_namespace.to_owned()),
        ("NETWORK_PUBLIC_KEY", identity.public_key.clone()),
        ("OPERATOR_URL", settings.operator_url.clone()),
        ("OPERATOR_CA_FILE", "/var/run/peerup/ca/ca.crt".to_owned()),
        ("TOKEN_FILE", "/var/run/peerup/token/token".to_owned()),
        ("KEY_FILE", "/var/run/peerup/key/seed".to_owned()),
        ("STATE_DIR", "/var/run/peerup/state".to_owned()),
        ("INSIDE_HOST", inside_host),
        ("MAX_RESERVATIONS", managed.max_reservations.to_string()),
        ("MAX_CIRCUITS", managed.max_circuits.to_string()),
        (
            "CIRCUIT_TIMEOUT_SECONDS",
            managed.circuit_timeout_seconds.to_string(),
        ),
        ("CIRCUIT_DATA_LIMIT", managed.circuit_data_limit.to_string()),
        (
            "MAX_PROBATIONARY_PEERS",
            pairing.max_probationary_peers.to_string(),
        ),
        (
            "PROBATION_TIMEOUT_SECONDS",
            pairing.probation_timeout_seconds.to_string(),
        ),
        ("LISTEN_PORT", ports::PEER.to_string()),
        (
            "STUN_PORTS",
            format!("{},{}", ports::STUN, ports::STUN_ALTERNATE),
        ),
        ("HTTP_LISTEN", format!("0.0.0.0:{}", ports::HTTP)),
        ("LOG_FORMAT", settings.log_format.to_owned()),
    ];
    let mut env = vec![
        json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}),
    ];
    env.extend(
        pairs
            .iter()
            .map(|(name, value)| json!({"name": format!("PEERUP_{name}"), "value": value})),
    );
    Value::Array(env)
}

fn volumes(of: &Of<'_>) -> Value {
    let token = json!({"audience": names::relay_audience(&of.namespace, &of.name), "expirationSeconds": 3600, "path": "token"});
    json!([
        {"name": "state", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "key", "secret": {"secretName": names::relay_keys(&of.name), "defaultMode": 0o440}},
        {"name": "token", "projected": {"defaultMode": 0o440, "sources": [{"serviceAccountToken": token}]}},
        {"name": "ca", "configMap": {"name": names::ca_config_map(&of.uid), "defaultMode": 0o444}},
    ])
}

/// Puts the fields of `over` into `under`.
fn merge(under: &mut Value, over: Value) {
    if let (Value::Object(under), Value::Object(over)) = (under, over) {
        under.extend(over);
    }
}
