//! A network's objects: each is tried, whatever becomes of the others.

use std::{
    collections::HashMap,
    future::Future,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use peerup_crds::{
    PeerNetwork,
    names::{self, managers},
};

use super::{
    super::{
        decide::{Decision, RESIGN_SECONDS, Refused, RelayKeys},
        objects::{Desired, api_of},
    },
    unless_gone,
};
use crate::{
    context::{ChildKey, Context, Kind, Written},
    controller::ReconcileError,
    errors,
};

/// What was refused is asked for again after this, or when something else is wanted.
const PAUSE: Duration = Duration::from_secs(10);
/// So many refusals may be held without a look whose time is over.
const MANY: usize = 1024;
/// Most characters of the API server's words about one object.
const WORDS: usize = 500;

/// What this leader has applied, so that nothing is applied twice without need.
#[derive(Default)]
pub(in super::super) struct Applied {
    objects: Mutex<HashMap<ChildKey, (u64, String)>>,
    relay_keys: Mutex<HashMap<String, Instant>>,
    refused: Mutex<HashMap<String, Held>>,
    /// Networks with the statuses that were written last.
    pub(in super::super) written: Written<PeerNetwork>,
}

/// A refusal, what was wanted, and when.
struct Held {
    refused: Refused,
    wanted: u64,
    since: Instant,
}

impl Applied {
    /// The refusal of a step that was tried a moment ago.
    fn held(&self, step: &str, wanted: u64, now: Instant) -> Option<Refused> {
        let all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.get(step)?;
        let same = held.wanted == wanted && now.duration_since(held.since) < PAUSE;
        same.then(|| held.refused.clone())
    }

    fn hold(&self, refused: Refused, wanted: u64, now: Instant) {
        let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MANY {
            all.retain(|_, held| now.duration_since(held.since) < PAUSE);
        }
        let held = Held {
            refused,
            wanted,
            since: now,
        };
        all.insert(held.refused.step.clone(), held);
    }
}

/// How a network's objects fared.
#[derive(Debug, Default)]
pub(in super::super) struct Outcome {
    /// What the API server refused; the network's next turn is early enough to ask again.
    pub(in super::super) refused: Vec<Refused>,
    /// What it could not be asked, or could not answer.
    failed: Vec<String>,
}

impl Outcome {
    /// An error when something went wrong that may go well the next time.
    pub(in super::super) fn finished(self) -> Result<(), ReconcileError> {
        if self.failed.is_empty() {
            return Ok(());
        }
        Err(ReconcileError::Other(self.failed.join("; ")))
    }

    /// Does a step, unless it was refused a moment ago.
    async fn attempt(
        &mut self,
        applied: &Applied,
        step: Step,
        work: impl Future<Output = Result<(), kube::Error>>,
    ) {
        if let Some(refused) = applied.held(&step.text, step.wanted, Instant::now()) {
            self.refused.push(refused);
            return;
        }
        let Err(error) = work.await else {
            return;
        };
        let words = step.words(&error);
        if !errors::is_refusal(&error) {
            self.failed.push(format!("{}: {words}", step.text));
            return;
        }
        tracing::warn!(step = step.text, error = words, "the API server refuses");
        let refused = Refused {
            step: step.text,
            elsewhere: step.elsewhere,
            words,
        };
        applied.hold(refused.clone(), step.wanted, Instant::now());
        self.refused.push(refused);
    }
}

/// Something to be done with one object.
struct Step {
    /// `apply Service shop/crew-relay-0`.
    text: String,
    /// Hash of what is wanted of it.
    wanted: u64,
    /// The object is not in the network's namespace.
    elsewhere: bool,
    /// It is a Secret.
    secret: bool,
}

impl Step {
    fn of(verb: &str, key: &ChildKey, home: &str, wanted: u64) -> Self {
        let kind = api_of(key.kind).1;
        Self {
            text: format!("{verb} {kind} {}/{}", key.namespace, key.name),
            wanted,
            elsewhere: key.namespace != home,
            secret: false,
        }
    }

    /// The API server's words; whoever denies a Secret may repeat what is in it.
    fn words(&self, error: &kube::Error) -> String {
        let text = if let (true, kube::Error::Api(status)) = (self.secret, error) {
            format!("the API server says {} {}", status.code, status.reason)
        } else {
            errors::explain(error)
        };
        text.chars().take(WORDS).collect()
    }
}

/// Makes a living network's objects as they should be, and removes those that are too many.
pub(in super::super) async fn objects(
    context: &Context,
    applied: &Applied,
    network: &PeerNetwork,
    decision: &Decision,
) -> Outcome {
    let mut outcome = Outcome::default();
    let keep = match decision {
        Decision::Keep(keep) => keep,
        Decision::Remove(_) => return outcome,
    };
    let (client, home) = (&context.client, network.namespace().unwrap_or_default());
    if let Some(keys) = &keep.relay_keys {
        let name = names::relay_keys(&network.name_any());
        let step = Step {
            text: format!("apply Secret {home}/{name}"),
            wanted: 0,
            elsewhere: false,
            secret: true,
        };
        let work = apply_relay_keys(client, applied, network, keys);
        outcome.attempt(applied, step, work).await;
    }
    for object in &keep.apply {
        let wanted = hash(&object.body);
        let step = Step::of("apply", &object.key, &home, wanted);
        let work = apply(context, applied, object, wanted);
        outcome.attempt(applied, step, work).await;
    }
    for child in &keep.delete {
        let step = Step::of("delete", child, &home, 0);
        outcome.attempt(applied, step, delete(client, child)).await;
    }
    outcome
}

/// Removes objects of a network that goes. What the API server does not let go stays, and does not hold up the network.
pub(super) async fn remove(context: &Context, children: &[ChildKey]) -> Result<(), ReconcileError> {
    for child in children {
        let step = Step::of("delete", child, &child.namespace, 0);
        match delete(&context.client, child).await {
            Ok(()) => {}
            Err(error) if errors::is_refusal(&error) => {
                let error = step.words(&error);
                tracing::warn!(step = step.text, error, "an object is left");
            }
            Err(error) => {
                let words = step.words(&error);
                return Err(ReconcileError::Other(format!("{}: {words}", step.text)));
            }
        }
    }
    Ok(())
}

/// The operator may not read Secrets there, so this one is written from time to time.
async fn apply_relay_keys(
    client: &Client,
    applied: &Applied,
    network: &PeerNetwork,
    keys: &RelayKeys,
) -> Result<(), kube::Error> {
    let uid = network.uid().unwrap_or_default();
    let last = applied
        .relay_keys
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&uid)
        .copied();
    if last.is_some_and(|last| last.elapsed() < Duration::from_secs(RESIGN_SECONDS)) {
        return Ok(());
    }
    let mut body = keys.secret.clone();
    for (name, seed) in &keys.seeds {
        body["data"][name] = serde_json::to_value(ByteString(seed.expose().to_vec()))
            .map_err(kube::Error::SerdeError)?;
    }
    let name = names::relay_keys(&network.name_any());
    let secrets =
        Api::<Secret>::namespaced(client.clone(), &network.namespace().unwrap_or_default());
    secrets
        .patch(
            &name,
            &PatchParams::apply(managers::OPERATOR).force(),
            &Patch::Apply(&body),
        )
        .await?;
    applied
        .relay_keys
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(uid, Instant::now());
    Ok(())
}

fn hash(body: &serde_json::Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.to_string().hash(&mut hasher);
    hasher.finish()
}

async fn apply(
    context: &Context,
    applied: &Applied,
    object: &Desired,
    wanted: u64,
) -> Result<(), kube::Error> {
    let current = context.stores.children.version(&object.key);
    let known = applied
        .objects
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&object.key)
        .cloned();
    if let (Some((hash, version)), Some(current)) = (&known, &current)
        && *hash == wanted
        && version == current
    {
        return Ok(());
    }
    let ChildKey {
        kind,
        namespace,
        name,
    } = &object.key;
    let patched = api(&context.client, *kind, namespace)
        .patch(
            name,
            &PatchParams::apply(managers::OPERATOR).force(),
            &Patch::Apply(&object.body),
        )
        .await?;
    let version = patched.resource_version().unwrap_or_default();
    applied
        .objects
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(object.key.clone(), (wanted, version));
    Ok(())
}

async fn delete(client: &Client, child: &ChildKey) -> Result<(), kube::Error> {
    let deleted = api(client, child.kind, &child.namespace)
        .delete(&child.name, &DeleteParams::default())
        .await;
    deleted.map(drop).or_else(unless_gone)
}

fn api(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let (api_version, kind) = api_of(kind);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn error(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status {
            code,
            message: message.to_owned(),
            reason: "Invalid".to_owned(),
            ..Status::default()
        }))
    }

    fn step(wanted: u64, secret: bool) -> Step {
        Step {
            text: "apply Service shop/crew-relay-0".to_owned(),
            wanted,
            elsewhere: false,
            secret,
        }
    }

    #[tokio::test]
    async fn what_was_refused_is_asked_for_again_only_when_something_else_is_wanted() {
        let applied = Applied::default();
        let mut outcome = Outcome::default();
        let no = async || Err(error(422, "spec.ports: Duplicate value"));
        outcome.attempt(&applied, step(1, false), no()).await;
        let never = async { panic!("it was refused a moment ago") };
        outcome.attempt(&applied, step(1, false), never).await;
        assert_eq!(outcome.refused[0], outcome.refused[1]);
        outcome
            .attempt(&applied, step(2, false), async { Ok(()) })
            .await;
        assert_eq!(outcome.refused.len(), 2);
        let said = outcome.refused[0].to_string();
        let words = "the API server says 422: spec.ports: Duplicate value";
        assert_eq!(said, format!("apply Service shop/crew-relay-0: {words}"));
        assert!(outcome.finished().is_ok(), "it is no failure");

        let held = |after| applied.held("apply Service shop/crew-relay-0", 1, after);
        let now = Instant::now();
        assert!(held(now).is_some() && held(now + PAUSE).is_none());
    }

    #[tokio::test]
    async fn what_could_not_be_answered_is_no_refusal_and_is_left_to_do() {
        let applied = Applied::default();
        let mut outcome = Outcome::default();
        let busy = async { Err(error(429, "too many requests")) };
        outcome.attempt(&applied, step(1, false), busy).await;
        assert!(outcome.refused.is_empty());
        assert!(outcome.finished().is_err());
    }

    #[tokio::test]
    async fn words_are_bounded_and_those_about_a_secret_are_not_repeated() {
        let applied = Applied::default();
        let mut outcome = Outcome::default();
        let denied = |text: String| async move { Err(error(403, &text)) };
        outcome
            .attempt(&applied, step(1, false), denied("x".repeat(9999)))
            .await;
        assert_eq!(outcome.refused[0].words.chars().count(), WORDS);
        outcome
            .attempt(
                &applied,
                step(2, true),
                denied("data.seed: c2VlZA==".to_owned()),
            )
            .await;
        assert_eq!(outcome.refused[1].words, "the API server says 403 Invalid");
    }
}
