//! Does what was decided about a PairingCode, in order: its group is marked as used, then the status, then the Secret,
//! all in one reconcile.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Resource as _, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::controller::Action,
};
use peerup_crds::{
    PairingCode, UsedGroup,
    names::{self, labels, managers},
};
use serde_json::json;

use super::decide::{Decision, Delivery, SecretStep, mark_used};
use crate::{clock, context::Context, controller::ReconcileError, errors, network::swap};

/// When a refused Secret is tried again.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);

/// What this leader has done about Secrets, by UID of the PairingCode.
#[derive(Default)]
pub(super) struct Deliveries(Mutex<HashMap<String, Delivery>>);

impl Deliveries {
    pub(super) fn of(&self, uid: &str) -> Delivery {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(uid)
            .cloned()
            .unwrap_or_default()
    }

    fn set(&self, uid: &str, delivery: Delivery) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid.to_owned(), delivery);
    }

    /// Forgets PairingCodes that are gone.
    pub(super) fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|uid, _| exists(uid));
    }
}

/// Acts.
pub(super) async fn act(
    context: &Context,
    deliveries: &Deliveries,
    code: &PairingCode,
    decision: Decision,
) -> Result<Action, ReconcileError> {
    if let Some(group) = decision.reserve {
        reserve(context, code, &group).await?;
    }
    if let Some(status) = decision.status {
        let object = PairingCode {
            status: Some(status),
            ..code.clone()
        };
        let codes = Api::<PairingCode>::namespaced(
            context.client.clone(),
            &code.namespace().unwrap_or_default(),
        );
        let how = PostParams {
            field_manager: Some(managers::OPERATOR.to_owned()),
            ..PostParams::default()
        };
        let replaced = codes.replace_status(&code.name_any(), &how, &object).await;
        replaced.map_err(ReconcileError::at("write the PairingCode's status"))?;
    }
    if decision.burned {
        context.metrics.pairing.groups_burned.inc();
    }
    if let Some(event) = decision.event {
        let about = code.object_ref(&());
        if event.warning {
            context
                .events
                .warning(&about, "Issue", &event.reason, &event.note)
                .await;
        } else {
            context
                .events
                .normal(&about, "Issue", &event.reason, &event.note)
                .await;
        }
    }
    if let Some(again) = secret(context, deliveries, code, decision.secret).await? {
        return Ok(Action::requeue(again));
    }
    Ok(decision
        .again_seconds
        .map_or_else(Action::await_change, |seconds| {
            Action::requeue(Duration::from_secs(seconds))
        }))
}

/// Marks the group as used, unless somebody else was faster: then it is decided anew.
async fn reserve(
    context: &Context,
    code: &PairingCode,
    group: &UsedGroup,
) -> Result<(), ReconcileError> {
    let now = clock::now();
    let marked = swap::status(
        &context.client,
        &code.namespace().unwrap_or_default(),
        &code.spec.network_ref.name,
        |status| mark_used(status, group, now).map_err(ReconcileError::Other),
    )
    .await?;
    match marked {
        swap::Swapped::Written | swap::Swapped::Same => Ok(()),
        swap::Swapped::Gone => Err(ReconcileError::Other(
            "the PairingCode's network is gone".to_owned(),
        )),
    }
}

/// Brings the Secret in order; answers when to look at what that changed.
async fn secret(
    context: &Context,
    deliveries: &Deliveries,
    code: &PairingCode,
    step: SecretStep,
) -> Result<Option<Duration>, ReconcileError> {
    let uid = code.uid().unwrap_or_default();
    let secrets = Api::<Secret>::namespaced(
        context.client.clone(),
        &code.namespace().unwrap_or_default(),
    );
    match step {
        SecretStep::Leave => Ok(None),
        SecretStep::Remove { name } => {
            remove(&secrets, &name, &uid).await?;
            deliveries.set(&uid, Delivery::Removed);
            Ok(Some(Duration::ZERO))
        }
        SecretStep::Write { mut body, codes } => {
            for (key, text) in &codes {
                body["data"][key] =
                    serde_json::to_value(ByteString(text.expose().as_bytes().to_vec()))
                        .map_err(|error| ReconcileError::Other(error.to_string()))?;
            }
            let name = body["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let how = PatchParams::apply(managers::OPERATOR).force();
            match secrets.patch(&name, &how, &Patch::Apply(&body)).await {
                Ok(_) => {
                    deliveries.set(&uid, Delivery::Written(codes));
                    Ok(Some(Duration::ZERO))
                }
                // For example a Secret of that name and of another type: somebody has to choose another name.
                Err(error) if errors::is_refusal(&error) => {
                    let refused = Delivery::Refused(errors::explain(&error));
                    let again = if deliveries.of(&uid) == refused {
                        AFTER_REFUSAL
                    } else {
                        Duration::ZERO
                    };
                    deliveries.set(&uid, refused);
                    Ok(Some(again))
                }
                Err(source) => Err(ReconcileError::Api {
                    step: "write the Secret with codes",
                    source,
                }),
            }
        }
    }
}

/// Removes the Secret of that name, if it is the PairingCode's with this UID.
async fn remove(secrets: &Api<Secret>, name: &str, code_uid: &str) -> Result<(), ReconcileError> {
    let Some(ours) = prove(secrets, name, code_uid).await? else {
        return Ok(());
    };
    // another object may have the name by now
    let only = DeleteParams::default().preconditions(Preconditions {
        uid: Some(ours),
        resource_version: None,
    });
    match secrets.delete(name, &only).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
        Err(source) => Err(ReconcileError::Api {
            step: "remove the Secret with codes",
            source,
        }),
    }
}

/// The UID of the Secret of that name, if it is the PairingCode's with this UID. Nobody here may read Secrets; but a
/// change that changes nothing of ours, and that the API server refuses for a Secret of another type, answers whose it is.
async fn prove(
    secrets: &Api<Secret>,
    name: &str,
    code_uid: &str,
) -> Result<Option<String>, ReconcileError> {
    let nothing = Patch::Merge(json!({"type": names::secrets::CODES_TYPE}));
    let how = PatchParams {
        field_manager: Some(managers::OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    match secrets.patch_metadata(name, &how, &nothing).await {
        Ok(secret) => Ok(secret
            .metadata
            .uid
            .clone()
            .filter(|_| is_of(&secret, code_uid))),
        Err(kube::Error::Api(status)) if [404, 422].contains(&status.code) => Ok(None),
        Err(source) => Err(ReconcileError::Api {
            step: "see whose the Secret with codes is",
            source,
        }),
    }
}

/// Whether an object is one that the operator made for the PairingCode with this UID.
fn is_of(object: &impl ResourceExt, code_uid: &str) -> bool {
    let made = object.labels().get(labels::MANAGED_BY).map(String::as_str);
    let mut owners = object.owner_references().iter();
    let owned = owners.any(|owner| owner.controller == Some(true) && owner.uid == code_uid);
    made == Some(labels::OPERATOR) && owned
}
