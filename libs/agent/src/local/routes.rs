//! The calls of the local API.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use peerup_protocol::id::ServiceName;
use tokio_util::sync::CancellationToken;

use super::body::Body;
use super::comparisons::Comparisons;
use super::invites;
use super::problem::Refusal;
use super::services::Keeper;
use super::wire::{
    Compared, Comparison, Decided, Decision, Digits, Forwarding, Hop, Named, Offering, Pong,
    ReadOut,
};
use super::{MAX_REQUEST, path};
use crate::handle::{self, Handle};
use crate::netcheck::Netcheck;
use crate::services::ServiceList;
use crate::status::{Board, Status};

/// The peer that the API speaks for.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What it knows.
    pub board: Board,
    /// What it can be asked.
    pub handle: Handle,
    /// Cancelled when it is to end, by a call or by its process.
    pub stop: CancellationToken,
}

/// What the calls share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) peer: Peer,
    pub(super) keeper: Keeper,
    pub(super) comparisons: Comparisons,
}

pub(super) type Shared = State<Arc<Desk>>;

pub(super) fn router(desk: Arc<Desk>) -> Router {
    let below = |path: &str, name: &str| format!("{path}/{{{name}}}");
    Router::new()
        .route(path::STATUS, get(status))
        .route(path::STOP, post(stop))
        .route(path::MEASURE, post(measure))
        .route(path::PING, post(ping))
        .route(path::TRACE, post(trace))
        .route(path::COMPARISONS, post(compare))
        .route(&below(path::COMPARISONS, "id"), post(decide))
        .route(path::DIGITS, post(digits).put(read_out))
        .route(path::INVITES, post(invites::open).get(invites::list))
        .route(
            &below(path::INVITES, "id"),
            get(invites::one).delete(invites::close),
        )
        .route(&below(path::GUESTS, "name"), delete(invites::send_away))
        .route(path::SERVICES, get(services))
        .route(path::EXPOSED, post(expose))
        .route(&below(path::EXPOSED, "service"), delete(unexpose))
        .route(path::FORWARDS, post(forward))
        .route(&below(path::FORWARDS, "port"), delete(unforward))
        .fallback(|| async { Refusal::NoSuchCall })
        .method_not_allowed_fallback(|| async { Refusal::NoSuchCall })
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(desk)
}

async fn status(State(desk): Shared) -> Json<Status> {
    Json(desk.peer.board.status())
}

async fn stop(State(desk): Shared) -> StatusCode {
    desk.peer.stop.cancel();
    StatusCode::NO_CONTENT
}

async fn measure(State(desk): Shared) -> Result<Json<Netcheck>, Refusal> {
    Ok(Json(desk.peer.handle.measure().await?))
}

async fn ping(
    State(desk): Shared,
    Body(Named { peer }): Body<Named>,
) -> Result<Json<Pong>, Refusal> {
    let pong = desk.peer.handle.ping(&peer).await?;
    Ok(Json(Pong {
        peer: pong.peer,
        peer_id: pong.peer_id.to_string(),
        milliseconds: milliseconds(pong.rtt),
        path: pong.path,
        address: pong.address,
        badge: pong.badge,
    }))
}

async fn trace(
    State(desk): Shared,
    Body(Named { peer }): Body<Named>,
) -> Result<Json<Vec<Hop>>, Refusal> {
    let hops = desk.peer.handle.trace(&peer).await?;
    Ok(Json(hops.into_iter().map(hop).collect()))
}

fn hop(hop: handle::Hop) -> Hop {
    Hop {
        relay: hop.relay,
        name: hop.name,
        peer_id: hop.peer_id.to_string(),
        milliseconds: hop.rtt.map(milliseconds),
        address: hop.address,
        observed: hop.observed,
        badge: hop.badge,
    }
}

/// With three decimals: more is noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

async fn compare(
    State(desk): Shared,
    Body(Named { peer }): Body<Named>,
) -> Result<Json<Comparison>, Refusal> {
    if let Some(waiting) = desk.comparisons.find(&peer) {
        return Ok(Json(waiting));
    }
    let comparison = desk.peer.handle.verify(&peer).await?;
    Ok(Json(desk.comparisons.keep(comparison)?))
}

async fn decide(
    State(desk): Shared,
    Path(id): Path<String>,
    Body(Decision { same }): Body<Decision>,
) -> Result<Json<Decided>, Refusal> {
    let outcome = desk.comparisons.decide(&id, same).await?;
    Ok(Json(Decided { outcome }))
}

async fn digits(
    State(desk): Shared,
    Body(Named { peer }): Body<Named>,
) -> Result<Json<Digits>, Refusal> {
    let digits = desk.peer.handle.offline_digits(&peer)?;
    Ok(Json(Digits { digits }))
}

async fn read_out(
    State(desk): Shared,
    Body(ReadOut { peer, digits }): Body<ReadOut>,
) -> Result<Json<Compared>, Refusal> {
    let same = desk.peer.handle.verify_offline(&peer, &digits).await?;
    Ok(Json(Compared { same }))
}

async fn services(State(desk): Shared) -> Json<ServiceList> {
    Json(desk.peer.handle.services())
}

async fn expose(
    State(desk): Shared,
    Body(Offering { service }): Body<Offering>,
) -> Result<StatusCode, Refusal> {
    desk.keeper.expose(service).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unexpose(State(desk): Shared, Path(service): Path<String>) -> Result<StatusCode, Refusal> {
    let service = ServiceName::parse(&service);
    let service = service.map_err(|error| Refusal::Malformed(error.to_string()))?;
    desk.keeper.unexpose(&service).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn forward(
    State(desk): Shared,
    Body(Forwarding { forward }): Body<Forwarding>,
) -> Result<StatusCode, Refusal> {
    desk.keeper.forward(forward).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unforward(State(desk): Shared, Path(port): Path<String>) -> Result<StatusCode, Refusal> {
    let malformed = || Refusal::Malformed(format!("expected a port, got {port:?}"));
    let port = port.parse().map_err(|_| malformed())?;
    desk.keeper.unforward(port).await?;
    Ok(StatusCode::NO_CONTENT)
}
