//! The handler of a connection behind the gate: the inner behaviour's, or none.
//!
//! Not `Either`: its `on_behaviour_event` is unreachable code on a mismatch.

use std::task::{Context, Poll};

use either::Either;
use futures::future;
use libp2p::{
    core::upgrade::DeniedUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
            ListenUpgradeError, SendWrapper,
        },
    },
};

/// `Open` behaves as the inner handler; `Closed` offers nothing and drops what it is sent.
pub(crate) enum GateHandler<H> {
    Open(H),
    Closed,
}

type Inbound<H> =
    Either<SendWrapper<<H as ConnectionHandler>::InboundProtocol>, SendWrapper<DeniedUpgrade>>;
type InboundInfo<H> = Option<<H as ConnectionHandler>::InboundOpenInfo>;

impl<H: ConnectionHandler> ConnectionHandler for GateHandler<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = Inbound<H>;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = InboundInfo<H>;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        match self {
            Self::Open(inner) => inner
                .listen_protocol()
                .map_upgrade(|upgrade| Either::Left(SendWrapper(upgrade)))
                .map_info(Some),
            Self::Closed => SubstreamProtocol::new(Either::Right(SendWrapper(DeniedUpgrade)), None),
        }
    }

    fn connection_keep_alive(&self) -> bool {
        match self {
            Self::Open(inner) => inner.connection_keep_alive(),
            Self::Closed => false,
        }
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        if let Self::Open(inner) = self {
            inner.on_behaviour_event(event);
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<
        ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>,
    > {
        match self {
            Self::Open(inner) => inner.poll(cx),
            Self::Closed => Poll::Pending,
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        match self {
            Self::Open(inner) => inner.poll_close(cx),
            Self::Closed => Poll::Ready(None),
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        let Self::Open(inner) = self else { return };
        if let Some(event) = unwrap_event::<H>(event) {
            inner.on_connection_event(event);
        }
    }
}

type Outer<'a, H> = ConnectionEvent<
    'a,
    Inbound<H>,
    <H as ConnectionHandler>::OutboundProtocol,
    InboundInfo<H>,
    <H as ConnectionHandler>::OutboundOpenInfo,
>;
type Inner<'a, H> = ConnectionEvent<
    'a,
    <H as ConnectionHandler>::InboundProtocol,
    <H as ConnectionHandler>::OutboundProtocol,
    <H as ConnectionHandler>::InboundOpenInfo,
    <H as ConnectionHandler>::OutboundOpenInfo,
>;

/// The event in the inner handler's types; `None` for what the empty handler could have caused.
fn unwrap_event<H: ConnectionHandler>(event: Outer<'_, H>) -> Option<Inner<'_, H>> {
    Some(match event {
        ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info }) => {
            let protocol = match protocol {
                future::Either::Left(protocol) => protocol,
                future::Either::Right(never) => match never {},
            };
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol,
                info: info?,
            })
        }
        ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error }) => {
            let error = match error {
                Either::Left(error) => error,
                Either::Right(never) => match never {},
            };
            ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info: info?, error })
        }
        ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info })
        }
        ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error })
        }
        ConnectionEvent::AddressChange(change) => ConnectionEvent::AddressChange(change),
        ConnectionEvent::LocalProtocolsChange(change) => {
            ConnectionEvent::LocalProtocolsChange(change)
        }
        ConnectionEvent::RemoteProtocolsChange(change) => {
            ConnectionEvent::RemoteProtocolsChange(change)
        }
        _ => return None,
    })
}
