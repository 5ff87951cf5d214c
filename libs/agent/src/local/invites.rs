//! Calls about invites and guests.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use peerup_protocol::id::{GroupId, PeerName};
use peerup_protocol::secret::SecretText;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::problem::Refusal;
use super::routes::Shared;
use crate::clock::timestamp;
use crate::hosting::InviteState;

/// Asks for an invite: `POST` to invites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Inviting {
    /// How long it waits for its guest, at most 600.
    pub(super) ttl_seconds: u64,
}

/// An invite of this peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invite {
    /// What it is asked for by; of no use to a guest.
    pub id: GroupId,
    /// How it stands with it.
    pub state: InviteWord,
    /// Whom it has let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<PeerName>,
    /// When it ends, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Timestamp>,
    /// The code for the guest, told once: to the one who opened the invite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<SecretText>,
}

/// How it stands with an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InviteWord {
    /// It waits for its guest.
    Open,
    /// It has let its guest in.
    Used,
    /// Three attempts with a wrong code have closed it.
    Failed,
    /// It was withdrawn.
    Withdrawn,
    /// Its time is over, or there never was one.
    Over,
}

pub(super) async fn open(
    State(desk): Shared,
    Body(Inviting { ttl_seconds }): Body<Inviting>,
) -> Result<Json<Invite>, Refusal> {
    let opened = desk.peer.handle.invite(ttl_seconds).await?;
    Ok(Json(Invite {
        id: opened.id,
        state: InviteWord::Open,
        guest: None,
        expiration_time: Some(timestamp(opened.ends)),
        code: Some(opened.code),
    }))
}

pub(super) async fn list(State(desk): Shared) -> Result<Json<Vec<Invite>>, Refusal> {
    let waiting = desk.peer.handle.invites()?.into_iter();
    let waiting = waiting.map(|(id, ends)| Invite {
        id,
        state: InviteWord::Open,
        guest: None,
        expiration_time: Some(timestamp(ends)),
        code: None,
    });
    Ok(Json(waiting.collect()))
}

pub(super) async fn one(
    State(desk): Shared,
    Path(id): Path<String>,
) -> Result<Json<Invite>, Refusal> {
    let id = parse(&id)?;
    let (state, guest) = match desk.peer.handle.invite_state(&id)? {
        InviteState::Open => (InviteWord::Open, None),
        InviteState::Used(guest) => (InviteWord::Used, Some(guest)),
        InviteState::Failed => (InviteWord::Failed, None),
        InviteState::Withdrawn => (InviteWord::Withdrawn, None),
        InviteState::Over => (InviteWord::Over, None),
    };
    let ends = desk.peer.handle.invites()?.get(&id).copied();
    Ok(Json(Invite {
        id,
        state,
        guest,
        expiration_time: ends.map(timestamp),
        code: None,
    }))
}

pub(super) async fn close(
    State(desk): Shared,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    match desk.peer.handle.withdraw(&parse(&id)?).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::NoSuchInvite(id)),
    }
}

pub(super) async fn send_away(
    State(desk): Shared,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    let name = PeerName::parse(&name);
    let name = name.map_err(|error| Refusal::Malformed(error.to_string()))?;
    desk.peer.handle.revoke_guest(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parse(id: &str) -> Result<GroupId, Refusal> {
    id.parse().map_err(|_| {
        Refusal::Malformed(format!(
            "expected the id of an invite, 16 hex digits, got {id:?}"
        ))
    })
}
