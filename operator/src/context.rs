//! What all parts of the operator share.

use std::sync::Arc;

use kube::Client;

use crate::{
    config::Config, events::Events, health::Health, keys::Keys, leader::Leadership,
    metrics::Metrics,
};

mod ca;
mod children;
mod documents;
mod index;
mod presence;
mod reports;
mod stores;
mod written;

pub use ca::CaBundle;
pub use children::{ChildKey, Children, Kind};
pub use documents::{Documents, Published};
pub use index::PeerIndex;
pub use presence::{Presence, RelayPresence};
pub use reports::{Heard, PeerKey, Reports};
pub use stores::{Change, Stores, Watched};
pub use written::Written;

/// The cluster, the settings, and what is kept in memory.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The settings.
    pub config: Arc<Config>,
    /// What is counted.
    pub metrics: Metrics,
    /// Who leads.
    pub leadership: Leadership,
    /// What the cluster holds.
    pub stores: Stores,
    /// Keys of networks.
    pub keys: Keys,
    /// Signed documents of networks.
    pub documents: Documents,
    /// Last reports of peers.
    pub reports: Reports,
    /// Who is online at which relay.
    pub presence: Presence,
    /// Certificates by which others know the operator.
    pub ca: CaBundle,
    /// Events on objects.
    pub events: Events,
    /// Whether this replica can do its work.
    pub health: Health,
}

impl Context {
    /// Forgets what only the leader knows: somebody else leads now, or nobody.
    pub fn forget_term(&self) {
        self.documents.clear();
        self.reports.clear();
        self.presence.clear();
        self.metrics.forget_term();
    }
}
