//! Two members of a network that know each other; neither listens, so that they meet through the relay.

use std::sync::Arc;

use peerup_agent::ServiceLimits;

use super::relay::{FakeRelay, Network};
use super::{Peer, Scratch, is_connected, with_code};

pub(crate) struct Pair {
    pub(crate) network: Arc<Network>,
    pub(crate) _relay: FakeRelay,
    /// Of the laptop, of the server.
    pub(crate) dirs: [Scratch; 2],
    pub(crate) laptop: Peer,
    pub(crate) server: Peer,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        let limits = ServiceLimits::default();
        Self::limited(Network::new(3600), "server", [limits; 2]).await
    }

    /// The limits of the laptop, and of the server, which is called so.
    pub(crate) async fn limited(
        network: Arc<Network>,
        called: &str,
        [at_laptop, at_server]: [ServiceLimits; 2],
    ) -> Self {
        let relay = FakeRelay::start(&network).await;
        let dirs = [Scratch::new(), Scratch::new()];
        let join = |slot: u16, name: &str, limits: ServiceLimits| {
            let source = with_code(network.code(slot), name);
            Peer::limited(&dirs[usize::from(slot)].0, source, limits)
        };
        let (laptop, server) = (join(0, "laptop", at_laptop), join(1, called, at_server));
        for peer in [&laptop, &server] {
            peer.until("joined", is_connected).await;
        }
        laptop.knows(called).await;
        server.knows("laptop").await;
        Self {
            network,
            _relay: relay,
            dirs,
            laptop,
            server,
        }
    }
}
