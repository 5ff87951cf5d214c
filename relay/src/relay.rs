//! A running relay: starts the parts, hands events to them, stops them in order.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use peerup_node::{Event, Node, NodeError, Role};
use peerup_operator_client::{OperatorClient, RelayClient};
use peerup_protocol::id::NetworkId;
use peerup_protocol::names::ProtocolNames;
use peerup_protocol::secret::Secret;
use peerup_protocol::{Multiaddr, PeerId, SigningKey};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addresses::Addresses;
use crate::config::Config;
use crate::egress::Egress;
use crate::http::{self, Pages};
use crate::inbound::{Caller, Inbound};
use crate::metrics::Metrics;
use crate::network::Network;
use crate::pairing::OperatorDesk;
use crate::probing::Probing;
use crate::roster::Roster;
use crate::store::Store;
use crate::stun::Stun;
use crate::{clock, limits, presence, sync};

/// Time for tasks to end after the node has closed its connections.
const GRACE: Duration = Duration::from_secs(5);

/// Why a relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No seed of 32 bytes.
    #[error("expected a key of 32 bytes in {path}: {reason}")]
    Key {
        /// Where it should be.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The libp2p node did not start.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A port is taken.
    #[error("cannot listen for {what}: {source}")]
    Listen {
        /// Whose port.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A metric's name is used twice.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A relay at work. It goes on until [`Relay::stop`].
#[derive(Debug)]
pub struct Relay {
    node: Node,
    http: SocketAddr,
    stun: [u16; 2],
    listening: watch::Receiver<Vec<Multiaddr>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Relay {
    /// Starts all parts. The operator need not be there: what was kept on disk serves until it is.
    ///
    /// # Errors
    /// When the key is missing or a port is taken.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let seed = read_seed(&config)?;
        let key = SigningKey::from_bytes(seed.expose());
        let metrics = Metrics::new(&limits::of_config(&config))?;
        let listen_failed = |what| move |source| StartError::Listen { what, source };
        let http = TcpListener::bind(config.http_listen)
            .await
            .map_err(listen_failed("http"))?;
        let http_address = http.local_addr().map_err(listen_failed("http"))?;
        let stun = Stun::bind(config.stun_ports, metrics.clone()).map_err(listen_failed("stun"))?;
        let stun = Arc::new(stun);
        let (node, events) = start_node(&config, seed)?;

        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let network = Arc::new(Network::new(
            node.clone(),
            Roster::new(config.network_public_key),
        ));
        let store = Store::new(config.state_dir.clone());
        restore(&network, &store).await;
        let operator = RelayClient::new(operator_client(&config), key);
        let (listening_sender, listening) = watch::channel(Vec::new());
        let parts = Parts {
            config,
            node: node.clone(),
            network,
            operator,
            metrics,
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let relay = Self {
            node,
            http: http_address,
            stun: stun.ports(),
            listening,
            tasks,
            stop,
        };
        parts.spawn(store, http, stun, events, listening_sender);
        tracing::info!(peer = %relay.peer_id(), "relay started");
        Ok(relay)
    }

    /// The relay's PeerId.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.node.peer_id()
    }

    /// Where /metrics, /livez and /readyz are.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// The STUN ports, primary first.
    #[must_use]
    pub const fn stun_ports(&self) -> [u16; 2] {
        self.stun
    }

    /// Addresses that are listened on so far, with the ports that the system chose.
    #[must_use]
    pub fn listening(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.listening.clone()
    }

    /// Closes all connections, then ends all tasks, within a bounded time.
    pub async fn stop(self) {
        self.node.shutdown().await;
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("tasks did not end in time");
        }
        tracing::info!("relay stopped");
    }
}

/// What the tasks are made of.
struct Parts {
    config: Config,
    node: Node,
    network: Arc<Network>,
    operator: RelayClient,
    metrics: Metrics,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Parts {
    fn spawn(
        self,
        store: Store,
        http: TcpListener,
        stun: Arc<Stun>,
        events: mpsc::Receiver<Event>,
        listening: watch::Sender<Vec<Multiaddr>>,
    ) {
        let egress = Arc::new(Egress::default());
        let probing = Probing::new(Arc::clone(&stun), Arc::clone(&egress));
        let dispatch = self.dispatch(probing, listening);
        let pages = Pages {
            metrics: self.metrics.clone(),
            node: self.node.clone(),
            network: Arc::clone(&self.network),
        };
        let me = self.node.peer_id();
        let presence = presence::Presence {
            node: self.node,
            operator: self.operator.clone(),
            addresses: Arc::clone(&dispatch.addresses),
            egress: Arc::clone(&egress),
            metrics: self.metrics.clone(),
            limits: limits::of_config(&self.config),
        };
        let presence = presence.tell(Arc::clone(&dispatch.changed), self.stop.clone());
        let (network, operator, stop) = (self.network, self.operator, self.stop);
        let follow = sync::follow(Arc::clone(&network), operator, stop.clone());
        let keep = sync::keep(Arc::clone(&network), store, stop.clone());
        self.tasks.spawn(dispatch.run(events));
        self.tasks.spawn(presence);
        self.tasks.spawn(follow);
        self.tasks.spawn(keep);
        self.tasks.spawn(http::serve(http, pages, stop.clone()));
        let (serving, stun_stop) = (Arc::clone(&stun), stop.clone());
        self.tasks
            .spawn(async move { serving.serve(stun_stop).await });
        let (known, egress_stop) = (Arc::clone(&network), stop.clone());
        self.tasks
            .spawn(async move { egress.follow(me, &known, &stun, egress_stop).await });
        self.tasks
            .spawn(async move { network.expel_ended(stop).await });
    }

    fn dispatch(&self, probing: Probing, listening: watch::Sender<Vec<Multiaddr>>) -> Dispatch {
        let desk = OperatorDesk::new(
            self.operator.clone(),
            Arc::clone(&self.network),
            self.tasks.clone(),
            self.stop.clone(),
        );
        let inbound = Inbound::new(
            self.node.clone(),
            self.config.dht_namespace.clone(),
            Arc::clone(&self.network),
            self.operator.clone(),
            desk,
            probing,
            self.metrics.clone(),
        );
        Dispatch {
            inbound: Arc::new(inbound),
            addresses: Arc::new(Addresses::new(&self.config.inside_host)),
            changed: Arc::new(Notify::new()),
            listening,
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
        }
    }
}

/// Hands the node's events on. It never waits for the network itself, because the swarm waits for it.
struct Dispatch {
    inbound: Arc<Inbound>,
    addresses: Arc<Addresses>,
    changed: Arc<Notify>,
    listening: watch::Sender<Vec<Multiaddr>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Dispatch {
    async fn run(self, mut events: mpsc::Receiver<Event>) {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.on(event),
                    None => return,
                },
                () = self.stop.cancelled() => return,
            }
        }
    }

    fn on(&self, event: Event) {
        match event {
            Event::Inbound {
                peer,
                connection,
                protocol,
                stream,
                origin,
            } => {
                let (inbound, stop) = (Arc::clone(&self.inbound), self.stop.clone());
                let from = Caller {
                    peer,
                    connection,
                    source: origin.ip(),
                };
                self.tasks.spawn(async move {
                    tokio::select! {
                        () = inbound.serve(from, protocol, stream) => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
            Event::Listening { address } => self.listening(address),
            Event::Connected { .. } | Event::Disconnected { .. } => self.changed.notify_one(),
            Event::Observed { .. }
            | Event::ReservationAccepted { .. }
            | Event::ReservationLost { .. } => {}
        }
    }

    fn listening(&self, address: Multiaddr) {
        tracing::debug!(%address, "listening");
        self.listening.send_modify(|all| all.push(address.clone()));
        let (node, addresses) = (self.inbound.node.clone(), Arc::clone(&self.addresses));
        self.tasks
            .spawn(async move { addresses.listening(&node, &address).await });
    }
}

/// Admits the members that were known when this relay last ran.
async fn restore(network: &Network, store: &Store) {
    let store = store.clone();
    let lists = match tokio::task::spawn_blocking(move || store.load()).await {
        Ok(Ok(Some(lists))) => lists,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => {
            tracing::warn!(%error, "kept lists not read");
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "kept lists not read");
            return;
        }
    };
    match network.apply(lists).await {
        Ok(refused) => {
            let members = network.roster().members(clock::now()).len();
            tracing::info!(members, refused, "kept lists read");
        }
        Err(error) => tracing::warn!(%error, "kept lists not taken over"),
    }
}

fn read_seed(config: &Config) -> Result<Secret<32>, StartError> {
    let failed = |reason: String| StartError::Key {
        path: config.key_file.clone(),
        reason,
    };
    let bytes = zeroize::Zeroizing::new(
        std::fs::read(&config.key_file).map_err(|error| failed(error.to_string()))?,
    );
    Secret::from_slice(&bytes).ok_or_else(|| failed(format!("the file has {} bytes", bytes.len())))
}

fn operator_client(config: &Config) -> OperatorClient {
    OperatorClient::new(peerup_operator_client::Config {
        url: config.operator_url.clone(),
        ca_file: Some(config.operator_ca_file.clone()),
        ca_pem: None,
        token_file: config.token_file.clone(),
        connect_timeout: peerup_operator_client::Config::CONNECT,
        attempt_timeout: peerup_operator_client::Config::ATTEMPT,
    })
}

fn start_node(
    config: &Config,
    seed: Secret<32>,
) -> Result<(Node, mpsc::Receiver<Event>), NodeError> {
    let net = NetworkId::of(&config.network_public_key);
    peerup_node::start(peerup_node::Config {
        seed,
        names: ProtocolNames::new(&net, &config.dht_namespace),
        role: Role::Relay(limits::of_config(config)),
        listen: listen_addresses(config.listen_port),
    })
}

/// TCP and QUIC on all addresses, IPv6 only where the machine has it.
fn listen_addresses(port: u16) -> Vec<Multiaddr> {
    let ipv6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let hosts = [Some("/ip4/0.0.0.0"), ipv6.then_some("/ip6/::")];
    hosts
        .into_iter()
        .flatten()
        .flat_map(|host| {
            [
                format!("{host}/tcp/{port}"),
                format!("{host}/udp/{port}/quic-v1"),
            ]
        })
        .filter_map(|address| address.parse().ok())
        .collect()
}
