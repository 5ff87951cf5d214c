//! `kubectl peerup codes`: the codes of a Secret that the operator wrote.

use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use peerup_crds::names::{conditions, secrets};
use peerup_crds::{DeliveryType, PairingCode, SlotState};
use peerup_protocol::secret::SecretText;
use serde_json::json;

use super::cluster::{Cluster, refused};
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(super) struct CodesArgs {
    /// Name of the PairingCode
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints what can be used.
pub(super) async fn show(cluster: &Cluster, args: CodesArgs) -> Result<(), Failure> {
    let code = cluster
        .api::<PairingCode>()
        .get(&args.name)
        .await
        .map_err(refused("read the PairingCode"))?;
    let name = secret_of(&code)?;
    let secret = cluster
        .api::<Secret>()
        .get(&name)
        .await
        .map_err(refused("read the Secret with the codes"))?;
    let texts = texts(&code, secret);
    if args.json {
        let one = |(slot, text): &(u16, SecretText)| json!({"slot": slot, "code": text.expose()});
        let all: serde_json::Value = texts.iter().map(one).collect();
        println!("{}", json!({"pairingCode": args.name, "codes": all}));
        return Ok(());
    }
    for (_, text) in &texts {
        println!("{}", text.expose());
    }
    Ok(())
}

/// The Secret, or why there is none.
fn secret_of(code: &PairingCode) -> Result<String, Failure> {
    let delivery = code.spec.delivery.as_ref();
    if delivery.map(|delivery| delivery.type_) == Some(DeliveryType::Hashes) {
        return Err(Failure::Unexpected(
            "these codes were made elsewhere: whoever made them has them, the cluster does not"
                .to_owned(),
        ));
    }
    let status = code.status.as_ref();
    let named = status.and_then(|status| status.secret_ref.as_ref());
    named.map(|secret| secret.name.clone()).ok_or_else(|| {
        let mut all = status.into_iter().flat_map(|status| &status.conditions);
        let ready = all.find(|one| one.type_ == conditions::READY);
        Failure::Unexpected(ready.map_or_else(
            || "the operator has not looked at this PairingCode yet".to_owned(),
            |ready| format!("no code can be used ({}): {}", ready.reason, ready.message),
        ))
    })
}

/// The codes that can be used, in the order of their slots; a used one may lie in the Secret for a moment.
fn texts(code: &PairingCode, secret: Secret) -> Vec<(u16, SecretText)> {
    let mut data = secret.data.unwrap_or_default();
    let slots = code.status.iter().flat_map(|status| &status.codes);
    slots
        .filter(|slot| slot.state == SlotState::Available)
        .filter_map(|slot| {
            let text = data.remove(&secrets::code_key(slot.slot))?;
            Some((slot.slot, String::from_utf8(text.0).ok()?.into()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(change: impl FnOnce(&mut serde_json::Value)) -> PairingCode {
        let slot = |slot: u16, state: &str| json!({"slot": slot, "state": state, "hash": "", "publicKey": ""});
        let mut code = json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "PairingCode",
            "metadata": {"name": "team"}, "spec": {"networkRef": {"name": "crew"}},
            "status": {
                "secretRef": {"name": "other"},
                "codes": [slot(0, "Used"), slot(2, "Available"), slot(10, "Available"), slot(11, "Available")],
            },
        });
        change(&mut code);
        serde_json::from_value(code).unwrap()
    }

    #[test]
    fn what_can_be_used_is_shown_in_order() {
        let data = json!({"data": {"code-0": "YQ==", "code-10": "Yw==", "code-2": "Yg=="}});
        let shown: Vec<_> = texts(&code(|_| {}), serde_json::from_value(data).unwrap())
            .into_iter()
            .map(|(slot, text)| (slot, text.expose().to_owned()))
            .collect();
        assert_eq!(shown, [(2, "b".to_owned()), (10, "c".to_owned())]);
        assert_eq!(secret_of(&code(|_| {})).unwrap(), "other");
    }

    #[test]
    fn why_there_are_none_is_said() {
        let ready = json!([{"type": "Ready", "status": "False", "reason": "QuotaExceeded",
            "message": "too many", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let refused = code(|code| code["status"] = json!({"conditions": ready}));
        let text = secret_of(&refused).unwrap_err().to_string();
        assert!(
            text.contains("QuotaExceeded") && text.contains("too many"),
            "{text}"
        );
        let elsewhere = code(|code| code["spec"]["delivery"] = json!({"type": "Hashes"}));
        let text = secret_of(&elsewhere).unwrap_err().to_string();
        assert!(text.contains("made elsewhere"), "{text}");
        assert!(secret_of(&code(|code| code["status"] = json!(null))).is_err());
    }
}
