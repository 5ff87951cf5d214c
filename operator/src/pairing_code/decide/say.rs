//! What a PairingCode's conditions say.

use peerup_crds::{CodeState, PairingCodeStatus, SlotState, names::conditions as types};

use super::{Delivery, Observed, Obstacle, available, hashes};
use crate::conditions::{self, Said};

/// All conditions.
pub(super) fn all(
    seen: &Observed,
    status: &PairingCodeStatus,
    ready: &Result<(), Obstacle>,
) -> Vec<(&'static str, Said)> {
    vec![
        (types::READY, readiness(seen, status, ready)),
        (types::DELIVERED, delivered(seen, status, ready)),
        (types::EXHAUSTED, exhausted(status)),
        (
            types::EXPIRED,
            ended(
                status,
                SlotState::Expired,
                ["Expired", "NotExpired"],
                "codes ended unused",
            ),
        ),
        (
            types::BURNED,
            ended(
                status,
                SlotState::Burned,
                ["FailedAttempts", "NotBurned"],
                "codes were closed by failed attempts",
            ),
        ),
    ]
}

fn count(status: &PairingCodeStatus, state: SlotState) -> usize {
    status
        .codes
        .iter()
        .filter(|slot| slot.state == state)
        .count()
}

fn readiness(seen: &Observed, status: &PairingCodeStatus, ready: &Result<(), Obstacle>) -> Said {
    let (left, all) = (available(status).count(), status.codes.len());
    if status.group.is_some() && left == 0 {
        return over(seen, status);
    }
    match ready {
        Err(obstacle) => Said::no(obstacle.reason, obstacle.message.clone()),
        Ok(()) => Said::yes("Issued", format!("{left} of {all} codes can be used")),
    }
}

/// Why no code is left; what somebody did weighs more than what time did.
fn over(seen: &Observed, status: &PairingCodeStatus) -> Said {
    let used = count(status, SlotState::Used);
    let with_used =
        |text: &str| format!("{text}; {used} of {} were used before", status.codes.len());
    if count(status, SlotState::Burned) > 0 {
        let failed = status.failed_attempts.unwrap_or(0);
        let why = "somebody guesses, or tries a code that another has used; make a new PairingCode";
        return Said::no(
            "Burned",
            with_used(&format!(
                "{failed} failed attempts have closed the codes: {why}"
            )),
        );
    }
    if seen.code.spec.state == CodeState::Revoked && count(status, SlotState::Revoked) > 0 {
        return Said::no("Revoked", with_used("the codes were revoked"));
    }
    if count(status, SlotState::Expired) > 0 {
        return Said::no(
            "Expired",
            with_used("the codes' time is over; make a new PairingCode"),
        );
    }
    Said::no("Exhausted", format!("all {used} codes were used"))
}

fn delivered(seen: &Observed, status: &PairingCodeStatus, ready: &Result<(), Obstacle>) -> Said {
    if status.group.is_some() && available(status).next().is_none() {
        return Said::no("NothingLeft", "no code is left to be delivered");
    }
    if let Err(obstacle) = ready {
        return Said::no(obstacle.reason, obstacle.message.clone());
    }
    if hashes(&seen.code).is_some() {
        return Said::yes(
            "MadeElsewhere",
            "whoever made the codes has them; here are only their hashes and public keys",
        );
    }
    let network = &seen.code.spec.network_ref.name;
    let before = conditions::holds(&status.conditions, types::DELIVERED);
    if seen.responders.is_empty() && !before {
        let advice = "set relay.managed.service.type to NodePort or LoadBalancer, or relay.managed.advertiseAddresses";
        return Said::no(
            "NoOutsideAddress",
            format!(
                "no relay of PeerNetwork {network} has an address outside the cluster; {advice}"
            ),
        );
    }
    let name = status
        .secret_ref
        .as_ref()
        .map_or("", |secret| secret.name.as_str());
    match &seen.delivery {
        Delivery::Refused(why) => Said::no(
            "SecretRefused",
            format!("the Secret {name} cannot be written: {why}"),
        ),
        Delivery::Written(_) => Said::yes("Written", format!("the codes are in the Secret {name}")),
        // A former leader has written it.
        Delivery::Unknown if before => {
            Said::yes("Written", format!("the codes are in the Secret {name}"))
        }
        Delivery::Unknown | Delivery::Removed => Said::no(
            "Pending",
            format!("the Secret {name} is about to be written"),
        ),
    }
}

fn exhausted(status: &PairingCodeStatus) -> Said {
    let (used, all) = (count(status, SlotState::Used), status.codes.len());
    if all > 0 && used == all {
        Said::yes("AllUsed", format!("all {all} codes were used"))
    } else {
        Said::no("NotExhausted", format!("{used} of {all} codes were used"))
    }
}

fn ended(
    status: &PairingCodeStatus,
    state: SlotState,
    [yes, no]: [&'static str; 2],
    what: &str,
) -> Said {
    match count(status, state) {
        0 => Said::no(no, format!("no {what}")),
        ended => Said::yes(yes, format!("{ended} {what}")),
    }
}
