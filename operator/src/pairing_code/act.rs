//! Does what was decided about a PairingCode, in order: its group is marked as used, then the status, then the Secret,
//! all in one reconcile.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::controller::Action,
};
use peerup_crds::{PairingCode, UsedGroup, names::managers};

use super::decide::{Decision, Delivery, SecretStep, mark_used};
use crate::{
    clock,
    context::Context,
    controller::ReconcileError,
    errors,
    network::{swap, unless_gone},
};

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
            let deleted = secrets.delete(&name, &DeleteParams::default()).await;
            deleted
                .map(drop)
                .or_else(unless_gone)
                .map_err(ReconcileError::at("remove the Secret with codes"))?;
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
                Err(error @ kube::Error::Api(_)) if is_refusal(&error) => {
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

fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if [403, 409, 422].contains(&status.code))
}
