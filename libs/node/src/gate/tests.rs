//! The gate around a behaviour that writes down what it hears.

use std::{convert::Infallible, task::Waker};

use libp2p::{
    core::{ConnectedPoint, upgrade::DeniedUpgrade},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, ListenError, ListenFailure, SubstreamProtocol,
        behaviour::AddressChange, dial_opts::DialOpts, handler::ConnectionEvent,
    },
};

use super::*;

/// A handler that takes numbers and does nothing.
struct Deaf;

impl ConnectionHandler for Deaf {
    type FromBehaviour = u8;
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, _: u8) {}

    fn on_connection_event(&mut self, _: ConnectionEvent<DeniedUpgrade, DeniedUpgrade>) {}
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Handler(ConnectionId),
    Established(ConnectionId, usize),
    Closed(ConnectionId, usize),
    Moved(ConnectionId),
    ListenFailed(ConnectionId),
    DialFailed(Option<PeerId>),
}

#[derive(Default)]
struct Recorder {
    heard: Vec<Heard>,
    says: Vec<ToSwarm<(), u8>>,
}

impl NetworkBehaviour for Recorder {
    type ConnectionHandler = Deaf;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Deaf, ConnectionDenied> {
        self.heard.push(Heard::Handler(id));
        Ok(Deaf)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Deaf, ConnectionDenied> {
        self.heard.push(Heard::Handler(id));
        Ok(Deaf)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.heard.push(match event {
            FromSwarm::ConnectionEstablished(e) => {
                Heard::Established(e.connection_id, e.other_established)
            }
            FromSwarm::ConnectionClosed(e) => {
                Heard::Closed(e.connection_id, e.remaining_established)
            }
            FromSwarm::AddressChange(e) => Heard::Moved(e.connection_id),
            FromSwarm::ListenFailure(e) => Heard::ListenFailed(e.connection_id),
            FromSwarm::DialFailure(e) => Heard::DialFailed(e.peer_id),
            _ => return,
        });
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<(), u8>> {
        self.says.pop().map_or(Poll::Pending, Poll::Ready)
    }
}

struct Fixture {
    gate: Gate<Recorder>,
    members: Members,
    counters: Arc<Counters>,
    peer: PeerId,
}

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

fn endpoint() -> ConnectedPoint {
    ConnectedPoint::Listener {
        local_addr: "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
        send_back_addr: "/ip4/10.0.0.2/tcp/2".parse().unwrap(),
    }
}

impl Fixture {
    fn new() -> Self {
        let (members, counters) = (Members::default(), Arc::new(Counters::default()));
        let gate = Gate::new(Recorder::default(), members.clone(), Arc::clone(&counters));
        let peer = PeerId::random();
        Self {
            gate,
            members,
            counters,
            peer,
        }
    }

    /// A connection as the swarm makes it; `other` counts all, hidden ones too.
    fn connect(&mut self, number: usize, other: usize) -> bool {
        let open = self.decide(number);
        self.gate
            .on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: self.peer,
                connection_id: id(number),
                endpoint: &endpoint(),
                failed_addresses: &[],
                other_established: other,
            }));
        open
    }

    /// Whether the connection gets the inner handler.
    fn decide(&mut self, number: usize) -> bool {
        let address = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let made = self.gate.handle_established_inbound_connection(
            id(number),
            self.peer,
            &address,
            &address,
        );
        matches!(made, Ok(GateHandler::Open(_)))
    }

    fn close(&mut self, number: usize, remaining: usize) {
        self.gate
            .on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: self.peer,
                connection_id: id(number),
                endpoint: &endpoint(),
                cause: None,
                remaining_established: remaining,
            }));
    }

    fn heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.gate.inner.heard)
    }

    /// Where a message of the inner behaviour goes.
    fn says(&mut self, handler: NotifyHandler) -> Option<ConnectionId> {
        let message = ToSwarm::NotifyHandler {
            peer_id: self.peer,
            handler,
            event: 7,
        };
        self.gate.inner.says.push(message);
        match self.gate.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ToSwarm::NotifyHandler {
                handler: NotifyHandler::One(id),
                ..
            }) => Some(id),
            Poll::Pending => None,
            Poll::Ready(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_gated_connection_is_never_heard_of_and_not_counted() {
    let mut f = Fixture::new();
    assert!(!f.connect(1, 0));
    f.members.insert(f.peer, Rank::Member);
    assert!(f.connect(2, 1) && f.connect(3, 2));
    f.gate
        .on_swarm_event(FromSwarm::AddressChange(AddressChange {
            peer_id: f.peer,
            connection_id: id(1),
            old: &endpoint(),
            new: &endpoint(),
        }));
    f.close(3, 2);
    f.close(1, 1);
    f.close(2, 0);
    assert_eq!(
        f.heard(),
        vec![
            Heard::Handler(id(2)),
            Heard::Established(id(2), 0),
            Heard::Handler(id(3)),
            Heard::Established(id(3), 1),
            Heard::Closed(id(3), 1),
            Heard::Closed(id(2), 0),
        ]
    );
    assert!(f.gate.hidden.is_empty() && f.gate.visible.is_empty());
}

#[test]
fn what_was_decided_stays_when_membership_changes() {
    let mut f = Fixture::new();
    f.members.insert(f.peer, Rank::Member);
    assert!(f.decide(1));
    f.members.remove(&f.peer);
    assert!(!f.connect(2, 1));
    assert_eq!(f.heard(), vec![Heard::Handler(id(1))]);
    assert!(f.gate.visible.is_empty());
}

#[test]
fn messages_go_to_visible_connections_only() {
    let mut f = Fixture::new();
    f.connect(1, 0);
    assert_eq!(f.says(NotifyHandler::Any), None);
    f.members.insert(f.peer, Rank::Member);
    f.connect(2, 1);
    f.connect(3, 2);
    f.members.remove(&f.peer);
    f.connect(4, 3);
    assert_eq!(
        f.says(NotifyHandler::Any),
        Some(id(3)),
        "the newest visible one"
    );
    assert_eq!(f.says(NotifyHandler::One(id(2))), Some(id(2)));
    assert_eq!(f.says(NotifyHandler::One(id(4))), None);
    assert_eq!(f.counters.denied().misdirected, 2);
}

#[test]
fn inner_dials_fail_at_once() {
    let mut f = Fixture::new();
    let opts = DialOpts::peer_id(f.peer).build();
    f.gate.inner.says.push(ToSwarm::Dial { opts });
    assert!(
        f.gate
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    assert_eq!(f.heard(), vec![Heard::DialFailed(Some(f.peer))]);
    assert_eq!(f.counters.denied().misdirected, 1);
}

#[test]
fn a_connection_that_another_behaviour_denies_leaves_nothing() {
    let mut f = Fixture::new();
    assert!(!f.decide(1));
    let address: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
    f.gate
        .on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
            local_addr: &address,
            send_back_addr: &address,
            error: &ListenError::Aborted,
            connection_id: id(1),
            peer_id: Some(f.peer),
        }));
    assert!(!f.decide(2));
    f.gate.on_swarm_event(FromSwarm::DialFailure(DialFailure {
        peer_id: Some(f.peer),
        error: &DialError::Aborted,
        connection_id: id(2),
    }));
    assert!(f.gate.hidden.is_empty() && f.gate.visible.is_empty());
}
