//! Identify that tells nothing about this node but its key and what it supports
//! on the connection at hand.
//!
//! It never learns of addresses, so it sends none and does not rewrite an
//! observed port to a listening one; its address candidates are dropped.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p's enums are open; the rest does not concern this file"
)]

use std::task::{Context, Poll};

use libp2p::{
    core::{Endpoint, transport::PortUse},
    identify,
    identity::PublicKey,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};
use peerup_protocol::{Multiaddr, PeerId};

/// Constant, so that they tell no version.
const PROTOCOL_VERSION: &str = "peerup/1";
const AGENT_VERSION: &str = "peerup";

pub(crate) struct Quiet(identify::Behaviour);

impl Quiet {
    pub(crate) fn new(key: PublicKey) -> Self {
        Self(identify::Behaviour::new(
            identify::Config::new(PROTOCOL_VERSION.into(), key)
                .with_agent_version(AGENT_VERSION.into())
                .with_cache_size(0)
                .with_hide_listen_addrs(true),
        ))
    }
}

impl NetworkBehaviour for Quiet {
    type ConnectionHandler = THandler<identify::Behaviour>;
    type ToSwarm = identify::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0
            .handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(_)
            | FromSwarm::ConnectionClosed(_)
            | FromSwarm::AddressChange(_)
            | FromSwarm::DialFailure(_)
            | FromSwarm::ListenFailure(_) => self.0.on_swarm_event(event),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match self.0.poll(cx) {
                Poll::Ready(
                    ToSwarm::NewExternalAddrCandidate(_) | ToSwarm::NewExternalAddrOfPeer { .. },
                ) => {}
                other => return other,
            }
        }
    }
}
