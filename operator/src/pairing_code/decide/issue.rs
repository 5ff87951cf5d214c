//! Whether a PairingCode may have codes, and which: derived ones, or those that were made elsewhere, of which only
//! hashes and public keys are known.

use data_encoding::HEXLOWER;
use kube::ResourceExt as _;
use peerup_crds::{
    CodeHash, CodeState, CodeStatus, HashesDelivery, PairingCode, PairingCodeStatus, PeerNetwork,
    PeerNetworkStatus, SecretRef, SlotState, UsedGroup, names,
};
use peerup_protocol::{UnixTime, VerifyingKey, derive, id::Slot};

use super::{Observed, Obstacle, Ready, secret::secret_name};
use crate::clock;

/// How far the clock of whoever made the codes may be ahead, in seconds.
const SKEW: UnixTime = 60;

/// What stands for codes that were made elsewhere.
#[must_use]
pub fn hashes(code: &PairingCode) -> Option<&HashesDelivery> {
    code.spec.delivery.as_ref()?.hashes.as_ref()
}

/// Limits of the network that this PairingCode breaks.
pub(super) fn refuse(seen: &Observed, network: &PeerNetwork) -> Option<Obstacle> {
    let (spec, limits) = (&seen.code.spec, &network.spec.pairing);
    if spec.state == CodeState::Revoked {
        return Some(Obstacle {
            reason: "Revoked",
            message: "revoked before it had codes".to_owned(),
        });
    }
    if let Some(obstacle) = life(&seen.code, network, seen.now) {
        return Some(obstacle);
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
    match hashes(&seen.code) {
        Some(hashes) => group_taken(seen, network, hashes).or_else(|| bad_key(hashes)),
        None => secret_taken(seen),
    }
}

/// Why the codes would end too late, or have ended already.
fn life(code: &PairingCode, network: &PeerNetwork, now: UnixTime) -> Option<Obstacle> {
    let longest = network.spec.pairing.max_ttl_seconds;
    let too_long = |what: &str, seconds: UnixTime| Obstacle {
        reason: "TTLTooLong",
        message: format!(
            "{what} {seconds} is over the network's pairing.maxTTLSeconds {longest}; make a PairingCode with a shorter one"
        ),
    };
    let Some(hashes) = hashes(code) else {
        let wanted = code.spec.ttl_seconds;
        return (wanted > longest).then(|| too_long("ttlSeconds", wanted.into()));
    };
    let end = clock::unix(&hashes.not_after_time);
    if end <= now {
        return Some(Obstacle {
            reason: "Expired",
            message: format!(
                "delivery.hashes.notAfterTime {} is over; make new codes",
                hashes.not_after_time.0
            ),
        });
    }
    let ahead = end - now;
    (ahead > UnixTime::from(longest) + SKEW)
        .then(|| too_long("the time until delivery.hashes.notAfterTime", ahead))
}

/// Whether a PairingCode without codes will get them as soon as there is room for them.
#[must_use]
pub fn may_come(code: &PairingCode, network: &PeerNetwork, now: UnixTime) -> bool {
    code.spec.state == CodeState::Active
        && life(code, network, now).is_none()
        && hashes(code).is_none_or(|hashes| foreign_use(code, network, hashes, now).is_none())
}

fn secret_taken(seen: &Observed) -> Option<Obstacle> {
    let rival = seen.secret_rival.as_ref()?;
    let name = secret_name(&seen.code)?;
    Some(Obstacle {
        reason: "SecretTaken",
        message: format!(
            "the Secret {name} belongs to the older PairingCode {rival}; name another one in delivery.secret.name"
        ),
    })
}

/// A group is had once: else a PairingCode that is deleted and made again would open its used codes.
fn group_taken(
    seen: &Observed,
    network: &PeerNetwork,
    hashes: &HashesDelivery,
) -> Option<Obstacle> {
    let group = &hashes.group;
    if let Some(rival) = &seen.group_rival {
        return Some(Obstacle {
            reason: "GroupTaken",
            message: format!(
                "the group {group} belongs to the PairingCode {rival}; make new codes"
            ),
        });
    }
    if let Some(used) = foreign_use(&seen.code, network, hashes, seen.now) {
        return Some(Obstacle {
            reason: "GroupUsed",
            message: format!(
                "the group {group} was had by a PairingCode that is gone, and cannot come back before {}; make new codes",
                used.until_time.0
            ),
        });
    }
    let others = unexpired(network, seen.now)
        .filter(|used| used.group != *group)
        .count();
    (others >= names::USED_GROUPS_MAX).then(|| Obstacle {
        reason: "GroupsFull",
        message: format!(
            "the network remembers {others} groups of codes that were made elsewhere, which is the most; wait until some of them end"
        ),
    })
}

fn unexpired(network: &PeerNetwork, now: UnixTime) -> impl Iterator<Item = &UsedGroup> {
    let all = network.status.as_ref().map(|status| &status.used_groups);
    all.into_iter()
        .flatten()
        .filter(move |used| clock::unix(&used.until_time) > now)
}

/// The entry by which the group is another PairingCode's.
fn foreign_use<'a>(
    code: &PairingCode,
    network: &'a PeerNetwork,
    hashes: &HashesDelivery,
    now: UnixTime,
) -> Option<&'a UsedGroup> {
    let uid = code.uid().unwrap_or_default();
    unexpired(network, now).find(|used| used.group == hashes.group && used.pairing_code_uid != uid)
}

fn bad_key(hashes: &HashesDelivery) -> Option<Obstacle> {
    let bad = hashes.values.iter().find(|value| !is_key(value))?;
    Some(Obstacle {
        reason: "BadPublicKey",
        message: format!(
            "delivery.hashes.values: publicKey of slot {} must be an Ed25519 public key; make new codes",
            bad.slot
        ),
    })
}

fn is_key(value: &CodeHash) -> bool {
    let bytes = HEXLOWER.decode(value.public_key.as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes
        .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
        .is_some_and(|key| !key.is_weak())
}

/// What marks the group as used, where the network does not say so yet.
pub(super) fn reservation(seen: &Observed, network: &PeerNetwork) -> Option<UsedGroup> {
    let hashes = hashes(&seen.code)?;
    let used = UsedGroup {
        group: hashes.group.clone(),
        until_time: hashes.not_after_time.clone(),
        pairing_code_uid: seen.code.uid().unwrap_or_default(),
    };
    let mut known = unexpired(network, seen.now);
    (!known.any(|known| *known == used)).then_some(used)
}

/// Marks a group as used in a network's status as it stands now: whether there is something to write, or who has it.
///
/// # Errors
/// When another PairingCode has the group, or no entry is free.
pub fn mark_used(
    status: &mut PeerNetworkStatus,
    wanted: &UsedGroup,
    now: UnixTime,
) -> Result<bool, String> {
    let group = &wanted.group;
    status
        .used_groups
        .retain(|used| clock::unix(&used.until_time) > now);
    if let Some(used) = status.used_groups.iter().find(|used| used.group == *group) {
        return if used.pairing_code_uid == wanted.pairing_code_uid {
            Ok(false)
        } else {
            Err(format!(
                "another PairingCode has just got the group {group}"
            ))
        };
    }
    if status.used_groups.len() >= names::USED_GROUPS_MAX {
        return Err("the network remembers as many groups as it can".to_owned());
    }
    status.used_groups.push(wanted.clone());
    Ok(true)
}

/// The status with all codes, none of them used.
pub(super) fn issue(
    seen: &Observed,
    ready: &Ready<'_>,
    former: PairingCodeStatus,
) -> PairingCodeStatus {
    let (group, codes, life) = match hashes(&seen.code) {
        Some(hashes) => {
            let ahead = clock::unix(&hashes.not_after_time).saturating_sub(seen.now);
            let longest = ready.network.spec.pairing.max_ttl_seconds.into();
            (hashes.group.clone(), given(hashes), ahead.min(longest))
        }
        None => {
            let (group, codes) = derived(seen, ready);
            (group, codes, seen.code.spec.ttl_seconds.into())
        }
    };
    PairingCodeStatus {
        group: Some(group),
        issued_time: Some(clock::time(seen.now)),
        expiration_time: Some(clock::time(seen.now + life)),
        failed_attempts: Some(0),
        secret_ref: secret_name(&seen.code).map(|name| SecretRef { name }),
        codes,
        ..former
    }
}

fn derived(seen: &Observed, ready: &Ready<'_>) -> (String, Vec<CodeStatus>) {
    let uid = seen.code.uid().unwrap_or_default();
    let (seed, net) = (&ready.key.seed, &ready.key.id);
    let group = derive::group_of(seed, net, &uid);
    let slot = |slot: u16| {
        let secret = derive::slot_secret(seed, net, &uid, Slot(slot));
        let key = derive::code_key(net, &group, Slot(slot), &secret).verifying_key();
        available(
            slot,
            HEXLOWER.encode(&derive::code_hash(net, &group, Slot(slot), &secret)),
            HEXLOWER.encode(key.as_bytes()),
        )
    };
    let codes = (0..seen.code.spec.count).map(slot).collect();
    (group.to_string(), codes)
}

fn given(hashes: &HashesDelivery) -> Vec<CodeStatus> {
    let mut values: Vec<_> = hashes.values.iter().collect();
    values.sort_by_key(|value| value.slot);
    values
        .into_iter()
        .map(|value| available(value.slot, value.hash.clone(), value.public_key.clone()))
        .collect()
}

fn available(slot: u16, hash: String, public_key: String) -> CodeStatus {
    CodeStatus {
        slot,
        hash,
        public_key,
        state: SlotState::Available,
        used_time: None,
        peer_ref: None,
    }
}
