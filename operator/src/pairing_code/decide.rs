//! What a PairingCode needs next. Pure: codes are derived, so that no order of crashes matters.

use std::{collections::BTreeMap, sync::Arc};

use peerup_crds::{
    CodeState, CodeStatus, PairingCode, PairingCodeStatus, PeerNetwork, SlotState, UsedGroup,
    names::conditions as types,
};
use peerup_protocol::{UnixTime, code::Responder, id::DhtNamespace, secret::SecretText};
use serde_json::Value;

use crate::{
    clock, conditions,
    keys::{KeyError, NetworkKey},
};

mod issue;
mod say;
mod secret;

#[cfg(test)]
mod tests;

pub use issue::{hashes, mark_used, may_come};
pub use secret::secret_name;

/// When to look again at what a timer decides, at the latest.
const AGAIN_SECONDS: u64 = 300;

/// What this leader knows of the Secret; nobody may read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Nothing.
    #[default]
    Unknown,
    /// It was written with this content.
    Written(BTreeMap<String, SecretText>),
    /// There is none of ours any more.
    Removed,
    /// The API server refused it.
    Refused(String),
}

/// Everything that the decision depends on.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The time.
    pub now: UnixTime,
    /// The PairingCode.
    pub code: Arc<PairingCode>,
    /// Its network.
    pub network: Option<Arc<PeerNetwork>>,
    /// The network's key.
    pub key: Result<Arc<NetworkKey>, KeyError>,
    /// Who answers codes outside the cluster.
    pub responders: Vec<Responder>,
    /// Codes of the network's other PairingCodes that can be used or come first.
    pub other_codes: u32,
    /// An older PairingCode that has the same Secret.
    pub secret_rival: Option<String>,
    /// Another PairingCode that has the same group, or comes before this one with it.
    pub group_rival: Option<String>,
    /// What is known of the Secret.
    pub delivery: Delivery,
}

/// What to do, in the order in which the fields stand.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// A group to be marked as used in the network's status, before anything else is written.
    pub reserve: Option<UsedGroup>,
    /// The status, if it differs.
    pub status: Option<PairingCodeStatus>,
    /// What to do about the Secret.
    pub secret: SecretStep,
    /// What a person should know.
    pub event: Option<Event>,
    /// Failed attempts have just closed the group.
    pub burned: bool,
    /// When to look again, in seconds.
    pub again_seconds: Option<u64>,
}

/// What to do about the Secret.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum SecretStep {
    /// It is as it should be.
    #[default]
    Leave,
    /// Write it.
    Write {
        /// The Secret without its data.
        body: Value,
        /// Its data: codes.
        codes: BTreeMap<String, SecretText>,
    },
    /// Remove it, if it is ours: what has its name may be somebody else's.
    Remove {
        /// Its name.
        name: String,
    },
}

/// An event on the PairingCode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether something is wrong.
    pub warning: bool,
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub note: String,
}

/// Why a PairingCode does not get codes, or they cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Obstacle {
    reason: &'static str,
    message: String,
}

/// A network that is ready to have codes.
struct Ready<'a> {
    network: &'a PeerNetwork,
    key: &'a NetworkKey,
    namespace: DhtNamespace,
}

/// Decides.
#[must_use]
pub fn decide(seen: &Observed) -> Decision {
    if seen.code.metadata.deletion_timestamp.is_some() {
        return Decision::default();
    }
    let former = seen.code.status.clone().unwrap_or_default();
    let ready = ready(seen);
    let issued = former.group.is_some();
    let (mut status, reserve) = match &ready {
        Ok(ready) if !issued => match issue::refuse(seen, ready.network) {
            None => (
                issue::issue(seen, ready, former),
                issue::reservation(seen, ready.network),
            ),
            Some(obstacle) => return finish(seen, former, Err(obstacle), SecretStep::Leave),
        },
        Ok(_) | Err(_) => (former, None),
    };
    close(seen, &mut status);
    let secret = secret::step(seen, ready.as_ref().ok(), &mut status);
    Decision {
        reserve,
        ..finish(seen, status, ready.map(drop), secret)
    }
}

fn ready(seen: &Observed) -> Result<Ready<'_>, Obstacle> {
    let wanted = &seen.code.spec.network_ref.name;
    let Some(network) = &seen.network else {
        let message = format!(
            "there is no PeerNetwork {wanted} in this namespace; create it, or make a PairingCode for one that exists"
        );
        return Err(Obstacle {
            reason: "NetworkNotFound",
            message,
        });
    };
    let not_ready = |message: String| Obstacle {
        reason: "NetworkNotReady",
        message,
    };
    if network.metadata.deletion_timestamp.is_some() {
        return Err(Obstacle {
            reason: "NetworkTerminating",
            message: format!("the PeerNetwork {wanted} is being deleted"),
        });
    }
    if network.spec.suspend {
        return Err(Obstacle {
            reason: "Suspended",
            message: format!("the PeerNetwork {wanted} is suspended"),
        });
    }
    let status = network
        .status
        .as_ref()
        .filter(|status| status.network_id.is_some());
    let namespace =
        status.and_then(|status| DhtNamespace::parse(status.dht_namespace.as_deref()?).ok());
    let key = seen
        .key
        .as_deref()
        .map_err(|error| not_ready(error.to_string()))?;
    let namespace = namespace
        .ok_or_else(|| not_ready(format!("the PeerNetwork {wanted} is not set up yet")))?;
    Ok(Ready {
        network,
        key,
        namespace,
    })
}

/// Closes what failed attempts, time or the owner has ended.
fn close(seen: &Observed, status: &mut PairingCodeStatus) {
    let over = status
        .expiration_time
        .as_ref()
        .is_some_and(|end| clock::unix(end) <= seen.now);
    let end = match (seen.code.spec.state, over) {
        (CodeState::Revoked, _) => SlotState::Revoked,
        // The API closes them with the last failure; this is for a limit that was lowered since.
        (CodeState::Active, _) if has_failed(seen, status) => SlotState::Burned,
        (CodeState::Active, true) => SlotState::Expired,
        (CodeState::Active, false) => return,
    };
    for slot in status
        .codes
        .iter_mut()
        .filter(|slot| slot.state == SlotState::Available)
    {
        slot.state = end;
    }
}

/// Whether the group has seen as many failed attempts as it may.
fn has_failed(seen: &Observed, status: &PairingCodeStatus) -> bool {
    let network = seen.network.as_ref();
    let limit = seen
        .code
        .spec
        .max_failed_attempts
        .or_else(|| network.map(|network| network.spec.pairing.max_failed_attempts));
    limit.is_some_and(|limit| status.failed_attempts.unwrap_or(0) >= limit)
}

fn available(status: &PairingCodeStatus) -> impl Iterator<Item = &CodeStatus> {
    status
        .codes
        .iter()
        .filter(|slot| slot.state == SlotState::Available)
}

/// Says it all in the status.
fn finish(
    seen: &Observed,
    mut status: PairingCodeStatus,
    ready: Result<(), Obstacle>,
    secret: SecretStep,
) -> Decision {
    let former = seen.code.status.clone().unwrap_or_default();
    let said = say::all(seen, &status, &ready);
    status.remaining = status
        .group
        .is_some()
        .then(|| u32::try_from(available(&status).count()).unwrap_or(u32::MAX));
    status.observed_generation = seen.code.metadata.generation;
    status.conditions = conditions::next(
        &former.conditions,
        said,
        seen.code.metadata.generation,
        &clock::time(seen.now),
    );
    let burned = conditions::holds(&status.conditions, types::BURNED)
        && !conditions::holds(&former.conditions, types::BURNED);
    let ends = status
        .expiration_time
        .as_ref()
        .filter(|_| available(&status).next().is_some());
    let again = ends.map_or(AGAIN_SECONDS, |end| {
        clock::unix(end)
            .saturating_sub(seen.now)
            .clamp(1, AGAIN_SECONDS)
    });
    let idle = status.group.is_some()
        && available(&status).next().is_none()
        && status.secret_ref.is_none();
    Decision {
        reserve: None,
        event: event(&former, &status),
        secret,
        burned,
        again_seconds: (!idle).then_some(again),
        status: (former != status || seen.code.status.is_none()).then_some(status),
    }
}

/// An event when readiness changes its reason.
fn event(former: &PairingCodeStatus, status: &PairingCodeStatus) -> Option<Event> {
    let ready = conditions::find(&status.conditions, types::READY)?;
    let before =
        conditions::find(&former.conditions, types::READY).map(|ready| ready.reason.as_str());
    let expected = ["Issued", "Exhausted", "Expired", "Revoked"].contains(&ready.reason.as_str());
    (before != Some(ready.reason.as_str())).then(|| Event {
        warning: !expected,
        reason: ready.reason.clone(),
        note: ready.message.clone(),
    })
}
