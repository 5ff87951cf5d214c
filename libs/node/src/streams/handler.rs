//! One connection's streams: negotiates few at a time, holds inbound ones until
//! the reader has room.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p's enums are open; the rest does not concern this file"
)]

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    StreamProtocol,
    core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};
use tokio_util::sync::{CancellationToken, PollSender};

use super::{MAX_REQUESTED, MAX_WAITING, OpenReply};
use crate::{
    counters::{Counters, Denial},
    event::Event,
    node::OpenError,
    protocol::{Named, Offered, Protocol},
    stream::{Slots, Stream, Via},
};

/// Outbound streams negotiated at once: below the number at which a remote resets (128).
const MAX_NEGOTIATING: usize = 64;
/// Time for a negotiation.
const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream to open.
#[derive(Debug)]
pub(crate) struct Open {
    pub(super) name: StreamProtocol,
    pub(super) reply: OpenReply,
}

pub(crate) struct StreamHandler {
    here: Arc<Via>,
    offered: Offered,
    events: PollSender<Event>,
    slots: Slots,
    counters: Arc<Counters>,
    /// Cancelled when this handler, and with it the connection, ends.
    ended: CancellationToken,
    waiting: VecDeque<(Protocol, Stream)>,
    requested: VecDeque<Open>,
    negotiating: usize,
}

impl StreamHandler {
    pub(super) fn new(
        here: Arc<Via>,
        offered: Offered,
        events: PollSender<Event>,
        slots: Slots,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            here,
            offered,
            events,
            slots,
            counters,
            ended: CancellationToken::new(),
            waiting: VecDeque::new(),
            requested: VecDeque::new(),
            negotiating: 0,
        }
    }

    fn on_inbound(&mut self, protocol: Protocol, stream: libp2p::Stream) {
        match self.slots.take() {
            Some(slot) if self.waiting.len() < MAX_WAITING => {
                let stream = Stream::new(stream, &self.here, &self.ended, Some(slot));
                self.waiting.push_back((protocol, stream));
            }
            Some(_) | None => self.counters.deny(Denial::Stream),
        }
    }

    fn hand_over(&mut self, cx: &mut Context<'_>) {
        while !self.waiting.is_empty() {
            match self.events.poll_reserve(cx) {
                Poll::Pending => return,
                Poll::Ready(Err(_)) => return self.waiting.clear(),
                Poll::Ready(Ok(())) => {}
            }
            let Some((protocol, stream)) = self.waiting.pop_front() else {
                return;
            };
            let _ = self.events.send_item(Event::Inbound {
                peer: self.here.peer,
                connection: self.here.connection,
                origin: self.here.origin.clone(),
                protocol,
                stream,
            });
        }
    }
}

impl Drop for StreamHandler {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl ConnectionHandler for StreamHandler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Offer;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenReply;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer(self.offered.clone()), ()).with_timeout(NEGOTIATION_TIMEOUT)
    }

    fn connection_keep_alive(&self) -> bool {
        !self.waiting.is_empty() || !self.requested.is_empty()
    }

    fn on_behaviour_event(&mut self, open: Open) {
        if self.requested.len() < MAX_REQUESTED {
            self.requested.push_back(open);
        } else {
            let _ = open.reply.send(Err(OpenError::Busy));
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, OpenReply, Infallible>> {
        self.hand_over(cx);
        while self.negotiating < MAX_NEGOTIATING {
            let Some(Open { name, reply }) = self.requested.pop_front() else {
                break;
            };
            if reply.is_closed() {
                continue;
            }
            self.negotiating += 1;
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(name), reply)
                    .with_timeout(NEGOTIATION_TIMEOUT),
            });
        }
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<Offer, Self::OutboundProtocol, (), OpenReply>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (protocol, stream),
                ..
            }) => self.on_inbound(protocol, stream),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: reply,
            }) => {
                self.negotiating = self.negotiating.saturating_sub(1);
                let _ = reply.send(Ok(Stream::new(stream, &self.here, &self.ended, None)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                self.negotiating = self.negotiating.saturating_sub(1);
                let _ = reply.send(Err(match error {
                    StreamUpgradeError::Timeout => OpenError::TimedOut,
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
                    StreamUpgradeError::Io(error) => OpenError::Io(error),
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            _ => {}
        }
    }
}

/// Takes any of the offered protocols and says which.
#[derive(Debug, Clone)]
pub(crate) struct Offer(Offered);

impl AsRef<str> for Named {
    fn as_ref(&self) -> &str {
        self.name().as_ref()
    }
}

impl UpgradeInfo for Offer {
    type Info = Named;
    type InfoIter = std::vec::IntoIter<Named>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.now().into_iter()
    }
}

impl InboundUpgrade<libp2p::Stream> for Offer {
    type Output = (Protocol, libp2p::Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: libp2p::Stream, named: Named) -> Self::Future {
        ready(Ok((named.protocol().clone(), stream)))
    }
}
