//! Services of TCP programs: what this peer exposes to others, and the local ports that lead to what others expose.
//!
//! ```text
//! app ─TCP─▶ 127.0.0.1:9000  outbound ══ stream svc/http ══▶ inbound ─TCP─▶ 127.0.0.1:8080
//!                            target, reach                   admit, load
//! ```
//! Both are there from start to end of the agent, whatever becomes of its membership; they change while it runs.

mod admit;
pub(crate) mod inbound;
mod load;
mod outbound;
mod pipe;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peerup_node::TooManyServices;
use peerup_protocol::service::{Expose, Forward, MAX_ENTRIES, ServiceName};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::session::lock;
use crate::shared::Shared;
use crate::status::Board;
use load::Load;
use pipe::Bytes;

/// How much is carried at once, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Connections of one other peer to services of this one.
    pub per_peer: usize,
    /// Connections of all other peers to services of this one; as many of local programs to forwarded ports.
    pub total: usize,
    /// Time for a local program to take a connection.
    pub connect: Duration,
    /// A connection without a byte in either direction is reset after this time; never by default.
    pub idle: Option<Duration>,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            per_peer: 128,
            total: 512,
            connect: Duration::from_secs(5),
            idle: None,
        }
    }
}

/// Why a service is not exposed or forwarded.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// There are as many as there may be.
    #[error("there are {MAX_ENTRIES} already; remove one first")]
    TooMany,
    /// Their names do not fit together.
    #[error(transparent)]
    Names(#[from] TooManyServices),
    /// The local port leads elsewhere.
    #[error("port {port} is forwarded to {to} already; remove that first, or take another port")]
    Forwarded {
        /// The port.
        port: u16,
        /// Service and target.
        to: String,
    },
    /// The local port can't be listened on.
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
}

/// What is exposed and forwarded at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceList {
    /// Services for other members.
    pub exposed: Vec<Exposed>,
    /// Local ports.
    pub forwards: Vec<Forwarded>,
}

/// A service for other members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exposed {
    /// Its name and the program's place, as in `http=8080`.
    pub service: Expose,
    /// Connections that are carried.
    pub connections: usize,
}

/// A local port that leads to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forwarded {
    /// Port, service and target, as in `9000=http@web`.
    pub forward: Forward,
    /// Connections that are carried or being made.
    pub connections: usize,
    /// Why the last connection that failed was not carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
}

/// One exposed service; clones are the same, and each connection holds one.
#[derive(Debug, Clone)]
struct Offer {
    expose: Expose,
    stop: CancellationToken,
    holders: Arc<()>,
}

/// One forwarded port; clones are the same, and each connection holds one.
#[derive(Debug, Clone)]
struct Listening {
    forward: Forward,
    address: SocketAddr,
    stop: CancellationToken,
    holders: Arc<()>,
    last_failure: Arc<Mutex<Option<String>>>,
    /// Cancelled when the port is free again.
    closed: CancellationToken,
}

impl Listening {
    fn note(&self, failure: String) {
        *lock(&self.last_failure) = Some(failure);
    }
}

/// All services of an agent.
#[derive(Debug)]
pub(crate) struct Services {
    limits: ServiceLimits,
    board: Board,
    metrics: Metrics,
    load: Load,
    outbound: Arc<Semaphore>,
    turn: AtomicUsize,
    offers: Mutex<BTreeMap<ServiceName, Offer>>,
    forwards: Mutex<BTreeMap<u16, Listening>>,
    /// Ports that are no longer forwarded and perhaps not free yet.
    closing: Mutex<BTreeMap<u16, CancellationToken>>,
    /// One change at a time, so that the node hears them in order.
    changing: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// An agent that is dropped leaves no port open.
impl Drop for Services {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Services {
    pub(crate) fn new(limits: ServiceLimits, board: Board, metrics: Metrics) -> Self {
        Self {
            load: Load::new(limits.per_peer, limits.total),
            outbound: Arc::new(Semaphore::new(limits.total.min(Semaphore::MAX_PERMITS))),
            limits,
            board,
            metrics,
            turn: AtomicUsize::new(0),
            offers: Mutex::default(),
            forwards: Mutex::default(),
            closing: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Inbound streams that may be served at once; those over the limits are answered too.
    pub(crate) fn max_inbound(&self) -> usize {
        self.limits.total.saturating_mul(2)
    }

    pub(crate) async fn expose(
        &self,
        shared: &Shared,
        expose: Expose,
    ) -> Result<(), ServicesError> {
        let _one = self.changing.lock().await;
        let service = expose.service.clone();
        let former = {
            let mut offers = lock(&self.offers);
            let former = offers.get(&service).cloned();
            match &former {
                Some(former) if former.expose == expose => return Ok(()),
                None if offers.len() >= MAX_ENTRIES => return Err(ServicesError::TooMany),
                Some(_) | None => (),
            }
            let offer = Offer {
                expose,
                stop: self.stop.child_token(),
                holders: Arc::default(),
            };
            offers.insert(service.clone(), offer);
            former
        };
        if let Err(error) = self.apply(shared).await {
            let mut offers = lock(&self.offers);
            match former {
                Some(former) => offers.insert(service, former),
                None => offers.remove(&service),
            };
            return Err(error);
        }
        if let Some(former) = former {
            former.stop.cancel();
        }
        self.show();
        Ok(())
    }

    pub(crate) async fn unexpose(
        &self,
        shared: &Shared,
        service: &ServiceName,
    ) -> Result<bool, ServicesError> {
        let _one = self.changing.lock().await;
        let former = lock(&self.offers).remove(service);
        let Some(former) = former else {
            return Ok(false);
        };
        former.stop.cancel();
        self.show();
        self.apply(shared).await?;
        Ok(true)
    }

    /// Tells the node of the present membership, if there is one, what is exposed.
    async fn apply(&self, shared: &Shared) -> Result<(), ServicesError> {
        let names: Vec<ServiceName> = lock(&self.offers).keys().cloned().collect();
        match shared.session() {
            Ok(session) => Ok(session.node.expose(names).await?),
            Err(_) => Ok(()),
        }
    }

    /// A membership has begun.
    pub(crate) async fn begin(&self, shared: &Shared) {
        let _one = self.changing.lock().await;
        if let Err(error) = self.apply(shared).await {
            tracing::error!(%error, "services are not exposed");
            self.board
                .update(|status| status.services.problems.push(error.to_string()));
        }
    }

    pub(crate) async fn forward(
        &self,
        shared: &Arc<Shared>,
        forward: Forward,
    ) -> Result<SocketAddr, ServicesError> {
        let _one = self.changing.lock().await;
        let port = forward.port;
        if let Some(known) = lock(&self.forwards).get(&port) {
            return if known.forward == forward {
                Ok(known.address)
            } else {
                let to = format!("{}@{}", known.forward.service, known.forward.target);
                Err(ServicesError::Forwarded { port, to })
            };
        }
        if lock(&self.forwards).len() >= MAX_ENTRIES {
            return Err(ServicesError::TooMany);
        }
        let closing = lock(&self.closing).remove(&port);
        if let Some(closed) = closing {
            closed.cancelled().await;
        }
        let failed = |source| ServicesError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listening = Listening {
            forward: Forward {
                port: address.port(),
                ..forward
            },
            address,
            stop: self.stop.child_token(),
            holders: Arc::default(),
            last_failure: Arc::default(),
            closed: CancellationToken::new(),
        };
        lock(&self.forwards).insert(address.port(), listening.clone());
        self.show();
        let weak = Arc::downgrade(shared);
        self.tasks
            .spawn(outbound::listen(weak, listener, listening));
        Ok(address)
    }

    pub(crate) fn unforward(&self, port: u16) -> bool {
        let former = lock(&self.forwards).remove(&port);
        let Some(former) = former else {
            return false;
        };
        former.stop.cancel();
        let mut closing = lock(&self.closing);
        closing.retain(|_, closed| !closed.is_cancelled());
        closing.insert(port, former.closed);
        drop(closing);
        self.show();
        true
    }

    pub(crate) fn list(&self) -> ServiceList {
        let offers = lock(&self.offers);
        let forwards = lock(&self.forwards);
        let exposed = offers.values().map(|offer| Exposed {
            service: offer.expose.clone(),
            connections: Arc::strong_count(&offer.holders) - 1,
        });
        let forwarded = forwards.values().map(|listening| Forwarded {
            forward: listening.forward.clone(),
            // The registry and the task that listens hold one each.
            connections: Arc::strong_count(&listening.holders).saturating_sub(2),
            last_failure: lock(&listening.last_failure).clone(),
        });
        ServiceList {
            exposed: exposed.collect(),
            forwards: forwarded.collect(),
        }
    }

    /// Closes ports and connections.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn offer(&self, service: &ServiceName) -> Option<Offer> {
        lock(&self.offers).get(service).cloned()
    }

    fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    fn count(&self, service: &ServiceName, result: &str) {
        self.metrics.service_connection(service.as_str(), result);
    }

    fn bytes(&self, service: &ServiceName) -> Bytes {
        let [sent, received] = self.metrics.service_bytes(service.as_str());
        Bytes { sent, received }
    }

    fn show(&self) {
        let list = self.list();
        self.board.update(|status| {
            status.services.exposed = list.exposed.into_iter().map(|one| one.service).collect();
            status.services.forwards = list.forwards.into_iter().map(|one| one.forward).collect();
        });
    }
}
