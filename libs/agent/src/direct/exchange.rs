//! The stream `direct`, both sides. How long a dial took and why it failed is not told: after a failure the answer
//! comes at a fixed time, so that it says nothing about the addresses but that they were of no use.

use std::net::IpAddr;
use std::time::Duration;

use futures::AsyncWriteExt;
use peerup_node::io::{FRAME_TIMEOUT, FrameError, read_frame, read_frame_within, write_frame};
use peerup_node::{ConnectionId, OpenError, PeerId, Protocol, Stream};
use peerup_protocol::frame::{DirectOffer, DirectOutcome, DirectSide, MAX_FRAME};
use tokio::time::{Instant, sleep_until, timeout};

use super::addresses::{self, Near};
use super::ended;
use crate::measure::facts;
use crate::session::exchange::{self, ExchangeError, SHORT};
use crate::session::{Session, lock};

/// Time for the dials of one side, and until a failure is told.
const DIAL: Duration = Duration::from_secs(5);

/// Asks over a circuit; whether there is a direct connection now.
pub(super) async fn ask(
    session: &Session,
    peer: PeerId,
    circuit: ConnectionId,
) -> Result<bool, ExchangeError> {
    let mut stream = session.node.open_on(circuit, Protocol::Direct).await?;
    let near = Near::of_circuit(&stream.origin().address);
    let own = Own::of(session, near).await?;
    let offer = own.offer.encode();
    let theirs = exchange::ask(Ok(&mut stream), &offer, SHORT, DirectOffer::decode).await?;
    session.direct.told(peer, theirs.side);
    let outcome = dial(session, peer, &theirs, &own).await;
    write_frame(&mut stream, &outcome.encode()).await?;
    match outcome {
        DirectOutcome::Connected => Ok(true),
        DirectOutcome::NotReached => Ok(hear(&mut stream).await? == DirectOutcome::Connected),
    }
}

/// Answers a peer that asks, and dials it when it did not come through.
pub(crate) async fn serve(session: &Session, mut stream: Stream) {
    let peer = stream.peer();
    // Where there is a direct connection nobody needs another one.
    if !stream.origin().relayed || session.member(&peer).is_none() {
        return;
    }
    if !lock(&session.direct.plan).may_answer(peer, Instant::now()) {
        tracing::debug!(%peer, "asked for addresses too often, or by the wrong side");
        return;
    }
    if let Err(error) = answer(session, peer, &mut stream).await {
        tracing::debug!(%peer, %error, "no direct connection");
    }
}

async fn answer(session: &Session, peer: PeerId, stream: &mut Stream) -> Result<(), ExchangeError> {
    let theirs = DirectOffer::decode(&read_frame(stream, MAX_FRAME).await?)?;
    session.direct.told(peer, theirs.side);
    let near = Near::of_circuit(&stream.origin().address);
    let own = Own::of(session, near).await?;
    write_frame(stream, &own.offer.encode()).await?;
    if hear(stream).await? == DirectOutcome::Connected {
        return Ok(());
    }
    if !lock(&session.direct.plan).may_dial(peer, Instant::now()) {
        return Ok(());
    }
    let outcome = dial(session, peer, &theirs, &own).await;
    ended(session, peer, outcome == DirectOutcome::Connected);
    write_frame(stream, &outcome.encode()).await?;
    Ok(stream.close().await.map_err(FrameError::Io)?)
}

/// What came of the other side's dials.
async fn hear(stream: &mut Stream) -> Result<DirectOutcome, ExchangeError> {
    let frame = read_frame_within(stream, MAX_FRAME, DIAL + FRAME_TIMEOUT).await?;
    Ok(DirectOutcome::decode(&frame)?)
}

/// This side of a round.
struct Own {
    near: Near,
    listening: Vec<peerup_node::Multiaddr>,
    offer: DirectOffer,
}

impl Own {
    async fn of(session: &Session, near: Near) -> Result<Self, ExchangeError> {
        let listening = session.node.listening().await;
        let listening = listening.map_err(|_| OpenError::Closed)?;
        let seen = lock(&session.direct.seen).all();
        let routes: Vec<IpAddr> = facts::routes();
        let offer = DirectOffer {
            addresses: addresses::to_tell(&listening, &seen, &routes, near),
            side: side(session),
        };
        Ok(Self {
            near,
            listening,
            offer,
        })
    }
}

/// How this peer is reached, as measured last.
fn side(session: &Session) -> Option<DirectSide> {
    let report = session.board.status().reachability?;
    Some(DirectSide {
        grade: report.grade,
        mapping: report.mapping,
        filtering: report.filtering,
    })
}

/// Dials what the other side tells. Without anything to dial there is nothing to hide.
async fn dial(session: &Session, peer: PeerId, theirs: &DirectOffer, own: &Own) -> DirectOutcome {
    let addresses = addresses::to_dial(&theirs.addresses, &own.listening, own.near);
    if addresses.is_empty() {
        return DirectOutcome::NotReached;
    }
    let told = Instant::now() + DIAL;
    let connected = session.connect(peer, addresses);
    match timeout(DIAL, connected).await {
        Ok(Ok(_)) => {
            session.shaken();
            return DirectOutcome::Connected;
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "not reached directly"),
        Err(_) => tracing::debug!(%peer, "not reached directly in time"),
    }
    sleep_until(told).await;
    DirectOutcome::NotReached
}
