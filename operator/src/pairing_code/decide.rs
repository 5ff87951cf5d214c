//! What a PairingCode needs next. Pure: codes are derived, so that no order of crashes matters.

use std::{collections::BTreeMap, sync::Arc};

use kube::{Resource as _, ResourceExt as _};
use peerup_crds::{
    CodeState, CodeStatus, PairingCode, PairingCodeStatus, PeerNetwork, SecretRef, SlotState,
    names::{self, conditions as types, labels},
};
use peerup_protocol::{
    UnixTime,
    code::{Code, CodeKind, Responder},
    derive,
    id::{DhtNamespace, Slot},
    secret::SecretText,
};
use serde_json::{Value, json};

use crate::{
    clock, conditions,
    keys::{KeyError, NetworkKey},
};

mod say;

#[cfg(test)]
mod tests;

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
    /// It was removed.
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
    /// What is known of the Secret.
    pub delivery: Delivery,
}

/// What to do, in the order in which the fields stand.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
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
    /// Remove it.
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
    let mut status = match &ready {
        Ok(ready) if !issued => match refuse(seen, ready.network) {
            None => issue(seen, ready, former.clone()),
            Some(obstacle) => return finish(seen, former, Err(obstacle), SecretStep::Leave),
        },
        Ok(_) | Err(_) => former.clone(),
    };
    close(seen, &mut status);
    let secret = secret(seen, ready.as_ref().ok(), &mut status);
    finish(seen, status, ready.map(drop), secret)
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

/// Limits of the network that this PairingCode breaks.
fn refuse(seen: &Observed, network: &PeerNetwork) -> Option<Obstacle> {
    let (spec, limits) = (&seen.code.spec, &network.spec.pairing);
    if spec.state == CodeState::Revoked {
        return Some(Obstacle {
            reason: "Revoked",
            message: "revoked before it had codes".to_owned(),
        });
    }
    if spec.ttl_seconds > limits.max_ttl_seconds {
        let message = format!(
            "ttlSeconds {} is over the network's pairing.maxTTLSeconds {}; make a PairingCode with a shorter one",
            spec.ttl_seconds, limits.max_ttl_seconds
        );
        return Some(Obstacle {
            reason: "TTLTooLong",
            message,
        });
    }
    let wanted = seen.other_codes.saturating_add(spec.count.into());
    if wanted > limits.max_active_codes {
        let message = format!(
            "{} codes more than the {} that can be used now would be over the network's pairing.maxActiveCodes {}; wait, or revoke others",
            spec.count, seen.other_codes, limits.max_active_codes
        );
        return Some(Obstacle {
            reason: "QuotaExceeded",
            message,
        });
    }
    seen.secret_rival.as_ref().map(|rival| Obstacle {
        reason: "SecretTaken",
        message: format!("the Secret {} belongs to the older PairingCode {rival}; name another one in delivery.secret.name", secret_name(&seen.code)),
    })
}

/// Name of the Secret that the codes are put into.
#[must_use]
pub fn secret_name(code: &PairingCode) -> String {
    let named = code
        .spec
        .delivery
        .as_ref()
        .and_then(|delivery| delivery.secret.as_ref());
    named.map_or_else(|| code.name_any(), |secret| secret.name.clone())
}

fn issue(seen: &Observed, ready: &Ready<'_>, former: PairingCodeStatus) -> PairingCodeStatus {
    let uid = seen.code.uid().unwrap_or_default();
    let (seed, net) = (&ready.key.seed, &ready.key.id);
    let group = derive::group_of(seed, net, &uid);
    let slot = |slot: u16| {
        let secret = derive::slot_secret(seed, net, &uid, Slot(slot));
        CodeStatus {
            slot,
            hash: hex(&derive::code_hash(net, &group, Slot(slot), &secret)),
            public_key: hex(derive::code_key(net, &group, Slot(slot), &secret)
                .verifying_key()
                .as_bytes()),
            state: SlotState::Available,
            used_time: None,
            peer_ref: None,
        }
    };
    PairingCodeStatus {
        group: Some(group.to_string()),
        issued_time: Some(clock::time(seen.now)),
        expiration_time: Some(clock::time(
            seen.now + u64::from(seen.code.spec.ttl_seconds),
        )),
        failed_attempts: Some(0),
        secret_ref: Some(SecretRef {
            name: secret_name(&seen.code),
        }),
        codes: (0..seen.code.spec.count).map(slot).collect(),
        ..former
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Closes what time or the owner has ended.
fn close(seen: &Observed, status: &mut PairingCodeStatus) {
    let over = status
        .expiration_time
        .as_ref()
        .is_some_and(|end| clock::unix(end) <= seen.now);
    let end = match (seen.code.spec.state, over) {
        (CodeState::Revoked, _) => SlotState::Revoked,
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

fn available(status: &PairingCodeStatus) -> impl Iterator<Item = &CodeStatus> {
    status
        .codes
        .iter()
        .filter(|slot| slot.state == SlotState::Available)
}

fn secret(
    seen: &Observed,
    ready: Option<&Ready<'_>>,
    status: &mut PairingCodeStatus,
) -> SecretStep {
    let Some(name) = status.secret_ref.as_ref().map(|secret| secret.name.clone()) else {
        return SecretStep::Leave;
    };
    if available(status).next().is_none() {
        if seen.delivery == Delivery::Removed {
            status.secret_ref = None;
            return SecretStep::Leave;
        }
        return SecretStep::Remove { name };
    }
    let (Some(ready), false) = (ready, seen.responders.is_empty()) else {
        return SecretStep::Leave;
    };
    let codes = texts(seen, ready, status);
    let network_uid = ready.network.uid().unwrap_or_default();
    match &seen.delivery {
        Delivery::Written(written) if *written == codes => SecretStep::Leave,
        Delivery::Unknown | Delivery::Written(_) | Delivery::Removed | Delivery::Refused(_) => {
            SecretStep::Write {
                body: body(seen, &name, &network_uid),
                codes,
            }
        }
    }
}

fn texts(
    seen: &Observed,
    ready: &Ready<'_>,
    status: &PairingCodeStatus,
) -> BTreeMap<String, SecretText> {
    let uid = seen.code.uid().unwrap_or_default();
    let (seed, net) = (&ready.key.seed, ready.key.id);
    let not_after = status.expiration_time.as_ref().map_or(0, clock::unix);
    let text = |slot: &CodeStatus| Code {
        kind: CodeKind::Group,
        net,
        group: derive::group_of(seed, &net, &uid),
        slot: Slot(slot.slot),
        secret: derive::slot_secret(seed, &net, &uid, Slot(slot.slot)),
        namespace: ready.namespace.clone(),
        not_after: u32::try_from(not_after).unwrap_or(u32::MAX),
        responders: seen.responders.clone(),
    };
    available(status)
        .map(|slot| (names::secrets::code_key(slot.slot), text(slot).to_text()))
        .collect()
}

fn body(seen: &Observed, name: &str, network_uid: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": names::secrets::CODES_TYPE,
        "metadata": {
            "name": name,
            "namespace": seen.code.namespace(),
            "labels": { labels::MANAGED_BY: labels::OPERATOR, labels::NETWORK_UID: network_uid },
            "ownerReferences": [seen.code.controller_owner_ref(&())],
        },
    })
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
