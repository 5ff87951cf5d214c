//! Obeys the pools: denies who does not fit, closes who is late.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use libp2p::{
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};
use peerup_protocol::{Multiaddr, PeerId};
use tokio::time::{Sleep, sleep_until};

use super::{Counts, Pool, Pools, ProbationLimits, Refused};
use crate::{
    counters::{Counters, Denial},
    event::ip_of,
    members::Members,
    targets::is_circuit,
};

/// The pools of one node: this closes by them, the relay's circuits ask them about guests.
pub(crate) type SharedPools = Arc<Mutex<Pools<ConnectionId>>>;

pub(crate) fn lock(pools: &SharedPools) -> MutexGuard<'_, Pools<ConnectionId>> {
    pools.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Probation {
    members: Members,
    pools: SharedPools,
    counters: Arc<Counters>,
    late: Vec<ConnectionId>,
    peers: HashMap<ConnectionId, PeerId>,
    timer: Option<Pin<Box<Sleep>>>,
    waker: Option<Waker>,
}

impl Probation {
    pub(crate) fn new(members: Members, pools: SharedPools, counters: Arc<Counters>) -> Self {
        Self {
            members,
            pools,
            counters,
            late: Vec::new(),
            peers: HashMap::new(),
            timer: None,
            waker: None,
        }
    }

    /// Replaces the limits, for those who are there too.
    pub(crate) fn limit(&mut self, limits: ProbationLimits) {
        lock(&self.pools).limit(limits);
        self.rearm();
    }

    /// The connection shows what it is there for; if it does not fit it is closed.
    pub(crate) fn enter(&mut self, connection: ConnectionId, pool: Pool) -> Result<(), Refused> {
        let entered = lock(&self.pools).enter(connection, pool);
        if let Err(refused) = entered {
            self.counters.deny(match (refused, pool) {
                (_, Pool::Attested) => Denial::AttestedFull,
                (Refused::Source, _) => Denial::SourceFull,
                (Refused::Full | Refused::Unknown | Refused::Engaged, _) => Denial::ProbationFull,
            });
            if refused != Refused::Unknown {
                self.late.push(connection);
            }
        }
        self.rearm();
        entered
    }

    pub(crate) fn counts(&self) -> Counts {
        lock(&self.pools).counts()
    }

    fn forget(&mut self, connection: ConnectionId) {
        self.peers.remove(&connection);
        let was_here = lock(&self.pools).leave(connection);
        if was_here {
            self.rearm();
        }
    }

    fn rearm(&mut self) {
        let next = lock(&self.pools).next_deadline();
        self.timer = next.map(|at| Box::pin(sleep_until(at.into())));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Probation {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.members.contains(&peer) {
            let relayed = is_circuit(local);
            let ip = if relayed { None } else { ip_of(remote) };
            let arrived = lock(&self.pools).arrive(connection, ip, now());
            arrived.map_err(|refused| {
                self.counters.deny(match refused {
                    Refused::Source => Denial::SourceFull,
                    Refused::Full | Refused::Unknown | Refused::Engaged => Denial::ArrivingFull,
                });
                ConnectionDenied::new(refused)
            })?;
            self.peers.insert(connection, peer);
            self.rearm();
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        if let FromSwarm::ConnectionClosed(closed) = event {
            self.forget(closed.connection_id);
        } else if let FromSwarm::ListenFailure(failure) = event {
            self.forget(failure.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while self
            .timer
            .as_mut()
            .is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
        {
            let expired = lock(&self.pools).expire(now());
            expired
                .iter()
                .for_each(|_| self.counters.deny(Denial::Late));
            self.late.extend(expired);
            self.rearm();
        }
        while let Some(connection) = self.late.pop() {
            if let Some(peer_id) = self.peers.remove(&connection) {
                let connection = CloseConnection::One(connection);
                return Poll::Ready(ToSwarm::CloseConnection {
                    peer_id,
                    connection,
                });
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The runtime's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
