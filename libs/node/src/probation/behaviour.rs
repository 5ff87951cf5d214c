//! Obeys the pools: denies who does not fit, closes who is late.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
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

pub(crate) struct Probation {
    members: Members,
    pools: Pools<ConnectionId>,
    counters: Arc<Counters>,
    late: Vec<ConnectionId>,
    peers: HashMap<ConnectionId, PeerId>,
    timer: Option<Pin<Box<Sleep>>>,
    waker: Option<Waker>,
}

impl Probation {
    pub(crate) fn new(members: Members, limits: ProbationLimits, counters: Arc<Counters>) -> Self {
        Self {
            members,
            pools: Pools::new(limits),
            counters,
            late: Vec::new(),
            peers: HashMap::new(),
            timer: None,
            waker: None,
        }
    }

    /// Replaces the limits, for those who are there too.
    pub(crate) fn limit(&mut self, limits: ProbationLimits) {
        self.pools.limit(limits);
        self.rearm();
    }

    /// The connection shows what it is there for; if it does not fit it is closed.
    pub(crate) fn enter(&mut self, connection: ConnectionId, pool: Pool) -> Result<(), Refused> {
        let entered = self.pools.enter(connection, pool);
        if let Err(refused) = entered {
            self.counters.deny(match (refused, pool) {
                (_, Pool::Attested) => Denial::AttestedFull,
                (Refused::Source, _) => Denial::SourceFull,
                (Refused::Full | Refused::Unknown, _) => Denial::ProbationFull,
            });
            if refused != Refused::Unknown {
                self.late.push(connection);
            }
        }
        self.rearm();
        entered
    }

    pub(crate) fn counts(&self) -> Counts {
        self.pools.counts()
    }

    fn forget(&mut self, connection: ConnectionId) {
        self.peers.remove(&connection);
        if self.pools.leave(connection) {
            self.rearm();
        }
    }

    fn rearm(&mut self) {
        self.timer = self
            .pools
            .next_deadline()
            .map(|at| Box::pin(sleep_until(at.into())));
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
            self.pools
                .arrive(connection, ip, now())
                .map_err(|refused| {
                    self.counters.deny(match refused {
                        Refused::Source => Denial::SourceFull,
                        Refused::Full | Refused::Unknown => Denial::ArrivingFull,
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
            let expired = self.pools.expire(now());
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
