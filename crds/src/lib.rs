//! The custom resources of `peerup.dev`: kinds, their rules and every name that Peerup uses in Kubernetes.
//!
//! [`PeerNetwork`] declares a private network, [`PairingCode`] hands out codes to join it and
//! [`Peer`] shows a member. [`definitions`] renders the CustomResourceDefinitions; the crate's
//! program writes them to `crds/yaml` and the chart, and the reference to `docs/reference.md`.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

mod codes;
mod files;
mod network;
mod peer;
mod reference;
mod resources;
mod schema;

pub mod names;
pub mod relays;

pub use codes::{
    CodeHash, CodeState, CodeStatus, Delivery, DeliveryType, HashesDelivery, PairingCode,
    PairingCodeSpec, PairingCodeStatus, PeerRef, PeerTemplate, SecretDelivery, SecretRef,
    SlotState,
};
pub use files::{File, files};
pub use network::{
    AdvertisedAddresses, AllowedNamespaces, ContainerMode, DeletionPolicy, GradeCounts, Hold,
    ImagePullPolicy, Injection, InjectionCounts, LogLevel, ManagedRelay, NamespacesFrom, Pairing,
    PeerCounts, PeerNetwork, PeerNetworkSpec, PeerNetworkStatus, Peers, PodTemplate, Reachability,
    Relay, RelayService, RelayState, RelayStatus, Revocation, ServiceType, StaleRevocations,
    Switch, UsedGroup, Verification,
};
pub use peer::{
    NetworkRef, PairingCodeRef, Peer, PeerMethod, PeerSpec, PeerState, PeerStatus, PeerType, PodRef,
};
pub use reference::reference;
pub use resources::Resources;
pub use schema::definitions;

#[cfg(test)]
mod tests;
