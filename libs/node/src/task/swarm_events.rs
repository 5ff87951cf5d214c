//! What the swarm says, as events and answers.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p's enums are open; the rest does not concern this file"
)]

use std::io;

use libp2p::{
    core::{ConnectedPoint, transport::ListenerId},
    identify, kad, ping, relay,
    swarm::{self, ConnectionId, ListenError, SwarmEvent},
};
use peerup_protocol::PeerId;

use super::Task;
use crate::{
    behaviour::{BehaviourEvent, InnerEvent},
    counters::Denial,
    dht,
    event::{Event, Origin},
    node::{DialError, ReserveError},
    probation::Refused,
};

impl Task {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } if !self.reservations.contains_key(&listener_id) => {
                self.outbox.push_back(Event::Listening { address });
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.on_established(peer_id, connection_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                cause,
                ..
            } => {
                tracing::debug!(peer = %peer_id, connection = %connection_id, ?cause, "connection closed");
                self.on_closed(peer_id, connection_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                if let Some(reply) = self.dials.remove(&connection_id) {
                    let _ = reply.send(Err(dial_error(&error)));
                }
            }
            SwarmEvent::IncomingConnectionError { error, .. } => self.on_inbound_error(&error),
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } => {
                self.on_listener_closed(listener_id, reason);
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "listener error");
            }
            _ => {}
        }
    }

    fn on_established(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let asked = self.dials.remove(&connection);
        if asked.is_some_and(|reply| reply.send(Ok(connection)).is_err()) {
            // Whoever dialled has given up: nobody would use it, or close it.
            self.swarm.close_connection(connection);
        }
        let links = self.swarm.behaviour().streams.links_to(&peer);
        let admitted = links.iter().any(|l| l.id == connection && l.full);
        self.outbox.push_back(Event::Connected {
            peer,
            connection,
            origin: Origin::of(endpoint),
            dialled: endpoint.is_dialer(),
            admitted,
        });
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId, remaining: u32) {
        // Circuits through a relay that is gone would notice only when they next write.
        for orphan in self.swarm.behaviour().streams.orphans(&peer) {
            self.swarm.close_connection(orphan);
        }
        self.outbox.push_back(Event::Disconnected {
            peer,
            connection,
            remaining,
        });
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gate(event) => self.on_inner_event(event),
            BehaviourEvent::Circuits(event) => tracing::debug!(?event, "relay"),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.outbox.push_back(Event::Observed {
                    peer: peer_id,
                    address: info.observed_addr,
                });
            }
            BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Probation(never)
            | BehaviourEvent::Limits(never)
            | BehaviourEvent::Memory(never)
            | BehaviourEvent::Streams(never) => match never {},
        }
    }

    fn on_inner_event(&mut self, event: InnerEvent) {
        match event {
            InnerEvent::Client(relay::client::Event::ReservationReqAccepted {
                relay_peer_id,
                renewal,
                ..
            }) => self.on_reserved(relay_peer_id, renewal),
            InnerEvent::Client(event) => tracing::debug!(?event, "relay client"),
            InnerEvent::Dht(kad::Event::InboundRequest { request }) => {
                let kad = &mut self.swarm.behaviour_mut().gate.inner_mut().dht;
                if !dht::keep(kad, request) {
                    self.counters.deny(Denial::Record);
                }
            }
            InnerEvent::Dht(kad::Event::OutboundQueryProgressed {
                id, result, step, ..
            }) => self.queries.on_progress(id, result, &step),
            InnerEvent::Dht(event) => tracing::trace!(?event, "dht"),
            InnerEvent::Ping(event) => self.on_ping(&event),
        }
    }

    /// Ping keeps its first failure to itself, so what it reports is the second in a row.
    fn on_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(_) | Err(ping::Failure::Unsupported) => {}
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => {
                tracing::debug!(peer = %event.peer, connection = %event.connection, "no answer to two pings");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    fn on_reserved(&mut self, relay: PeerId, renewed: bool) {
        for reservation in self.reservations.values_mut().filter(|r| r.relay == relay) {
            if let Some(waiting) = reservation.waiting.take() {
                let _ = waiting.send(Ok(()));
            }
        }
        self.outbox
            .push_back(Event::ReservationAccepted { relay, renewed });
    }

    fn on_listener_closed(&mut self, listener: ListenerId, reason: Result<(), io::Error>) {
        let Some(reservation) = self.reservations.remove(&listener) else {
            if let Err(error) = reason {
                tracing::error!(%error, "listener closed");
            }
            return;
        };
        match reservation.waiting {
            Some(waiting) => {
                let why = reason
                    .err()
                    .map_or_else(|| "connection closed".into(), |error| chain(&error));
                let _ = waiting.send(Err(ReserveError::Refused(why)));
            }
            None => self.outbox.push_back(Event::ReservationLost {
                relay: reservation.relay,
            }),
        }
    }

    fn on_inbound_error(&mut self, error: &ListenError) {
        if let ListenError::Denied { cause } = error {
            // The pools have counted theirs.
            if cause.downcast_ref::<Refused>().is_none() {
                self.counters.deny(Denial::Connection);
            }
        }
        tracing::debug!(%error, "inbound connection failed");
    }
}

pub(super) fn dial_error(error: &swarm::DialError) -> DialError {
    match error {
        swarm::DialError::NoAddresses => DialError::NoAddress,
        swarm::DialError::WrongPeerId { obtained, .. } => DialError::WrongPeer(*obtained),
        swarm::DialError::LocalPeerId { .. } => DialError::Failed("it is this node".into()),
        swarm::DialError::Denied { .. } => DialError::Denied,
        swarm::DialError::Aborted
        | swarm::DialError::DialPeerConditionFalse(_)
        | swarm::DialError::Transport(_) => DialError::Failed(error.to_string()),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
