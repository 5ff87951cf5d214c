//! Every name by which Peerup's parts know each other in Kubernetes.

/// API group of all kinds.
pub const GROUP: &str = "peerup.dev";
/// The one served version.
pub const VERSION: &str = "v1alpha1";
/// Longest name of a PeerNetwork: what is derived from it stays a DNS label.
pub const NETWORK_NAME_MAX: usize = 40;
/// Most groups of codes made elsewhere that a network remembers.
pub const USED_GROUPS_MAX: usize = 1024;
/// Most replicas of a managed relay; keys are made for all of them at once.
pub const RELAYS_MAX: u8 = 9;

/// Labels.
pub mod labels {
    /// On a namespace or pod: `enabled` or `disabled`; the pod wins.
    pub const INJECT: &str = "peerup.dev/inject";
    /// Value of [`INJECT`] that opts in.
    pub const ENABLED: &str = "enabled";
    /// Value of [`INJECT`] that opts out.
    pub const DISABLED: &str = "disabled";
    /// Set on injected pods: `"true"`.
    pub const INJECTED: &str = "peerup.dev/injected";
    /// Set on injected pods and on all that the operator makes for a network: UID of the PeerNetwork.
    pub const NETWORK_UID: &str = "peerup.dev/network-uid";
    /// Kubernetes' own label for the program that keeps an object.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Value of [`MANAGED_BY`] on all that the operator makes.
    pub const OPERATOR: &str = "peerup-operator";
    /// Kubernetes' own label for the application.
    pub const NAME: &str = "app.kubernetes.io/name";
    /// Value of [`NAME`] on relays.
    pub const RELAY: &str = "peerup-relay";
    /// Kubernetes' own label for the instance: the network's name on relays.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
}

/// Annotations.
pub mod annotations {
    /// On a namespace or pod: `<name>` or `<namespace>/<name>` of a PeerNetwork; the pod wins.
    pub const NETWORK: &str = "peerup.dev/network";
    /// Set on injected pods: version and template hash.
    pub const STATUS: &str = "peerup.dev/status";
    /// On a pod: the name it asks for in the network.
    pub const NAME: &str = "peerup.dev/name";
    /// On a pod: services that it offers, such as `http=8080,ssh=127.0.0.1:22`.
    pub const EXPOSE: &str = "peerup.dev/expose";
    /// On a pod: local ports that lead to services of others, such as `9000=http@shop/web`.
    pub const FORWARD: &str = "peerup.dev/forward";
    /// On a pod: `none`, `started` or `joined`: what the app's start waits for.
    pub const HOLD: &str = "peerup.dev/hold";
    /// On a pod: another sidecar image, as far as the operator allows it.
    pub const IMAGE: &str = "peerup.dev/image";
    /// On a pod: `error`, `warn`, `info`, `debug` or `trace`.
    pub const LOG_LEVEL: &str = "peerup.dev/log-level";
    /// On a pod: CPU request of the sidecar.
    pub const CPU_REQUEST: &str = "peerup.dev/cpu-request";
    /// On a pod: CPU limit of the sidecar.
    pub const CPU_LIMIT: &str = "peerup.dev/cpu-limit";
    /// On a pod: memory request of the sidecar.
    pub const MEMORY_REQUEST: &str = "peerup.dev/memory-request";
    /// On a pod: memory limit of the sidecar.
    pub const MEMORY_LIMIT: &str = "peerup.dev/memory-limit";
    /// On a pod: `native` or `container`.
    pub const CONTAINER_MODE: &str = "peerup.dev/container-mode";
    /// On a Peer: when its claim of the name was last taken up by a joiner, RFC 3339.
    pub const CLAIMED: &str = "peerup.dev/claimed-time";
    /// Prefix of all annotations of ours; an unknown one under it is warned about.
    pub const PREFIX: &str = "peerup.dev/";
}

/// Condition types.
pub mod conditions {
    /// PeerNetwork, PairingCode: it does what its spec says.
    pub const READY: &str = "Ready";
    /// PeerNetwork: at least one relay can be used.
    pub const RELAY_AVAILABLE: &str = "RelayAvailable";
    /// PeerNetwork: opted-in pods get their sidecar.
    pub const INJECTION_READY: &str = "InjectionReady";
    /// PeerNetwork: no peer is below the minimum grade.
    pub const PEERS_REACHABLE: &str = "PeersReachable";
    /// PeerNetwork: no new codes, joins or records.
    pub const SUSPENDED: &str = "Suspended";
    /// PairingCode: its Secret holds the codes.
    pub const DELIVERED: &str = "Delivered";
    /// PairingCode: no slot is available any more.
    pub const EXHAUSTED: &str = "Exhausted";
    /// PairingCode: its time is over.
    pub const EXPIRED: &str = "Expired";
    /// PairingCode: too many failed attempts closed it.
    pub const BURNED: &str = "Burned";
    /// Peer: it holds a record.
    pub const JOINED: &str = "Joined";
    /// Peer: somebody vouches for its key; the reason says who.
    pub const VERIFIED: &str = "Verified";
    /// Peer: its grade; the reason is `GradeA` to `GradeF` or `ReportStale`.
    pub const REACHABLE: &str = "Reachable";
    /// Pod: as [`JOINED`].
    pub const POD_JOINED: &str = "peerup.dev/Joined";
    /// Pod: as [`VERIFIED`].
    pub const POD_VERIFIED: &str = "peerup.dev/Verified";
    /// Pod: as [`REACHABLE`].
    pub const POD_REACHABLE: &str = "peerup.dev/Reachable";
}

/// Finalizers.
pub mod finalizers {
    /// On a PeerNetwork: its key and ConfigMaps in other namespaces are removed first.
    pub const NETWORK: &str = "peerup.dev/network-cleanup";
    /// On a Peer: its serial is first written to the network's revocations.
    pub const PEER: &str = "peerup.dev/relay-revoke";
}

/// Field managers of server-side apply.
pub mod managers {
    /// What the controllers own.
    pub const OPERATOR: &str = "peerup-operator";
    /// Grades and the conditions of Peers and pods.
    pub const GRADE: &str = "peerup-grade";
    /// `caBundle` of the webhook configuration, and nothing else.
    pub const WEBHOOK_CA: &str = "peerup-webhook-ca";
}

/// Types and keys of Secrets.
pub mod secrets {
    /// Type of the Secret that holds a network's key.
    pub const NETWORK_KEY_TYPE: &str = "peerup.dev/network-key";
    /// Key of the seed in it: 32 bytes.
    pub const NETWORK_KEY: &str = "seed";
    /// Type of the Secret that holds the keys of a network's relays.
    pub const RELAY_KEYS_TYPE: &str = "peerup.dev/relay-keys";
    /// Type of the Secret that holds the operator's certificate authority.
    pub const CA_TYPE: &str = "peerup.dev/ca";
    /// Type of the Secret that holds the codes of a PairingCode.
    pub const CODES_TYPE: &str = "peerup.dev/pairing-codes";
    /// Key of the CA bundle in ConfigMaps.
    pub const CA_BUNDLE_KEY: &str = "ca.crt";

    /// Key of a slot's code in a Secret of type [`CODES_TYPE`].
    #[must_use]
    pub fn code_key(slot: u16) -> String {
        format!("code-{slot}")
    }
}

/// Ports.
pub mod ports {
    /// Operator API, HTTPS.
    pub const API: u16 = 9444;
    /// Admission webhook on the pod, HTTPS; the Service offers it at 443.
    pub const WEBHOOK: u16 = 10250;
    /// Plain HTTP of every program: metrics and health.
    pub const HTTP: u16 = 9465;
    /// Peers and relays, TCP and UDP (QUIC).
    pub const PEER: u16 = 4001;
    /// STUN, primary.
    pub const STUN: u16 = 3478;
    /// STUN, alternate.
    pub const STUN_ALTERNATE: u16 = 3479;
}

/// The sidecar in a pod.
pub mod sidecar {
    /// Name of the container.
    pub const CONTAINER: &str = "peerup";
    /// Name of its metrics port.
    pub const METRICS_PORT: &str = "peerup-metrics";
    /// Volume of its state.
    pub const STATE_VOLUME: &str = "peerup-state";
    /// Volume of its token.
    pub const TOKEN_VOLUME: &str = "peerup-token";
    /// Volume of the operator's CA bundle.
    pub const CA_VOLUME: &str = "peerup-ca";
    /// Empty volume that hides the app's token from it.
    pub const NO_TOKEN_VOLUME: &str = "peerup-no-token";
}

/// StatefulSet and ServiceAccount of a network's relays.
#[must_use]
pub fn relay(network: &str) -> String {
    format!("{network}-relay")
}

/// One replica: its pod, its Service and its key in the Secret of [`relay_keys`].
#[must_use]
pub fn relay_replica(network: &str, ordinal: u8) -> String {
    format!("{network}-relay-{ordinal}")
}

/// Headless Service of a network's relays.
#[must_use]
pub fn relay_headless(network: &str) -> String {
    format!("{network}-relays")
}

/// Secret with the keys of a network's relays.
#[must_use]
pub fn relay_keys(network: &str) -> String {
    format!("{network}-relay-keys")
}

/// Secret with a network's key, in the operator's namespace.
#[must_use]
pub fn network_key(uid: &str) -> String {
    format!("peerup-network-{uid}")
}

/// ConfigMap with the operator's CA bundle in a namespace that opted in: first 8 characters of the network's UID.
#[must_use]
pub fn ca_config_map(uid: &str) -> String {
    let short: String = uid.chars().take(8).collect();
    format!("peerup-{short}")
}

/// Peer object: creating it claims the peer's name.
#[must_use]
pub fn peer(network: &str, peer: &str) -> String {
    format!("{network}.{peer}")
}

/// Audience of a sidecar's token.
#[must_use]
pub fn audience(namespace: &str, network: &str) -> String {
    format!("{GROUP}/{namespace}/{network}")
}

/// Audience of a relay's token.
#[must_use]
pub fn relay_audience(namespace: &str, network: &str) -> String {
    format!("{GROUP}/{namespace}/{network}/relay")
}
