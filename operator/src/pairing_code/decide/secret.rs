//! The Secret of a PairingCode: the texts of the codes that can be used, and nothing else.

use std::collections::BTreeMap;

use kube::{Resource as _, ResourceExt as _};
use peerup_crds::{
    CodeStatus, DeliveryType, PairingCode, PairingCodeStatus,
    names::{self, labels},
};
use peerup_protocol::{
    code::{Code, CodeKind},
    derive,
    id::Slot,
    secret::SecretText,
};
use serde_json::{Value, json};

use super::{Delivery, Observed, Ready, SecretStep, available};
use crate::clock;

/// Name of the Secret that the codes are put into; none where they were made elsewhere.
#[must_use]
pub fn secret_name(code: &PairingCode) -> Option<String> {
    let delivery = code.spec.delivery.as_ref();
    match delivery.map_or(DeliveryType::Secret, |delivery| delivery.type_) {
        DeliveryType::Hashes => None,
        DeliveryType::Secret => {
            let named = delivery.and_then(|delivery| delivery.secret.as_ref());
            Some(named.map_or_else(|| code.name_any(), |secret| secret.name.clone()))
        }
    }
}

/// What to do about it; a status without Secret needs nothing.
pub(super) fn step(
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
