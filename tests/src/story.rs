//! The story of the README, told on a cluster: what `make demo` shows and the e2e tier
//! checks. The commands are those that a person would type, and are printed.

pub mod cluster;
pub mod facts;
pub mod laptop;
pub mod shell;

/// What `helm install` is told; the README says the same.
pub const CHART: &str = "charts/peerup";
/// The namespace of the operator.
pub const HOME: &str = "peerup-system";
/// The operator's Deployment.
pub const OPERATOR: &str = "peerup-operator";
/// The namespace of the examples.
pub const SHOP: &str = "shop";
/// The PeerNetwork of the examples.
pub const NETWORK: &str = "crew";
/// The PairingCode of the examples.
pub const CODES: &str = "colleagues";
/// The Deployment of the examples.
pub const WEB: &str = "web";
/// The files of the examples, in order.
pub const EXAMPLES: [&str; 4] = [
    "docs/examples/1-namespace.yaml",
    "docs/examples/2-network.yaml",
    "docs/examples/3-codes.yaml",
    PODS,
];
/// The one of them that has pods.
pub const PODS: &str = "docs/examples/4-web.yaml";
