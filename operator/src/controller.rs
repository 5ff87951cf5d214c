//! What all controllers have in common: triggers that are coalesced, one reconcile per object at a time, retries that
//! become rarer, metrics.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use kube::{
    Resource, ResourceExt,
    runtime::{
        controller::{Action, Config, applier},
        reflector::{Lookup, ObjectRef},
    },
};
use tokio::{
    sync::{broadcast, mpsc},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    context::{Change, Watched},
    errors,
    metrics::MachineryMetrics,
};

/// Objects that may wait before their triggers wait too.
const QUEUE: usize = 1024;
/// Objects of one kind that are reconciled at once.
const CONCURRENCY: u16 = 16;
/// How long one reconcile may take: the API server may have died with a request, and nothing else would end the wait
/// for its answer. The end of a term waits for it, too.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause before a failed reconcile is tried again.
const SLOWEST_RETRY: Duration = Duration::from_secs(60);

/// Why an object could not be reconciled; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A call of the API server failed.
    #[error("{step}: {}", errors::explain(source))]
    Api {
        /// What it was for.
        step: &'static str,
        /// What went wrong.
        source: kube::Error,
    },
    /// Something else stands in the way; it says what.
    #[error("{0}")]
    Other(String),
}

impl ReconcileError {
    /// For `map_err`: the call was for this.
    pub fn at(step: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { step, source }
    }

    /// It was given up after this time. Only the API server is waited for.
    #[must_use]
    pub fn unanswered(patience: Duration) -> Self {
        let seconds = patience.as_secs();
        Self::Other(format!(
            "the API server does not answer, given up after {seconds} s"
        ))
    }

    /// Somebody else wrote first: look again and decide anew.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Api {
                source: kube::Error::Api(status),
                ..
            } => status.code == 409,
            Self::Api { .. } | Self::Other(_) => false,
        }
    }
}

/// One controller.
pub trait Reconcile: Send + Sync + 'static {
    /// The kind of object it is about.
    type Object: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static;
    /// Its name in logs and metrics.
    const NAME: &'static str;

    /// Brings the world nearer to what the object asks for.
    fn reconcile(
        &self,
        object: Arc<Self::Object>,
    ) -> impl Future<Output = Result<Action, ReconcileError>> + Send;
}

/// Where a controller's triggers go.
pub type Triggers<K> = mpsc::Sender<ObjectRef<K>>;

/// Makes the queue of triggers of a controller.
#[must_use]
pub fn queue<K: Lookup>() -> (Triggers<K>, mpsc::Receiver<ObjectRef<K>>)
where
    K::DynamicType: Hash + Eq,
{
    mpsc::channel(QUEUE)
}

/// The tasks that feed one controller; they end with it.
pub struct Feeds<'a>(&'a CancellationToken);

impl<'a> Feeds<'a> {
    /// Feeds that end when told to stop.
    #[must_use]
    pub fn new(stop: &'a CancellationToken) -> Self {
        Self(stop)
    }

    /// Runs a feed.
    pub fn spawn(&self, feed: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(feed));
    }

    /// Triggers what is there already.
    pub fn start<K>(&self, triggers: &Triggers<K>, all: Vec<ObjectRef<K>>)
    where
        K: Lookup<DynamicType = ()> + 'static,
    {
        let triggers = triggers.clone();
        self.spawn(async move {
            for object in all {
                if triggers.send(object).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Runs a controller until told to stop; what it is doing then it still finishes.
pub async fn run<R: Reconcile>(
    reconciler: R,
    watched: &Watched<R::Object>,
    mut triggers: mpsc::Receiver<ObjectRef<R::Object>>,
    metrics: MachineryMetrics,
    stop: CancellationToken,
) {
    let worker = Arc::new(Worker {
        reconciler,
        metrics,
        failures: Mutex::default(),
    });
    let scopes = TaskTracker::new();
    let mut queues = Vec::new();
    for store in watched.scopes() {
        let (sender, mut queue) = mpsc::channel::<ObjectRef<R::Object>>(QUEUE);
        queues.push(sender);
        let requests = futures::stream::poll_fn(move |context| queue.poll_recv(context))
            .map(Ok::<_, std::convert::Infallible>);
        let results = applier(
            |object, worker: Arc<Worker<R>>| Box::pin(async move { worker.once(object).await }),
            |_, never: &std::convert::Infallible, _| match *never {},
            worker.clone(),
            store.clone(),
            requests,
            Config::default().concurrency(CONCURRENCY),
        );
        // Results are told by the worker; an object that is gone meanwhile is no error.
        scopes.spawn(results.for_each(|_| async {}));
    }
    scopes.close();
    while let Some(Some(object)) = stop.run_until_cancelled(triggers.recv()).await {
        let scope = watched
            .scopes()
            .iter()
            .position(|store| store.get(&object).is_some());
        if let Some(queue) = scope.and_then(|scope| queues.get(scope)) {
            drop(queue.send(object).await);
        }
    }
    drop(queues);
    scopes.wait().await;
}

struct Worker<R: Reconcile> {
    reconciler: R,
    metrics: MachineryMetrics,
    failures: Mutex<HashMap<ObjectRef<R::Object>, u32>>,
}

impl<R: Reconcile> Worker<R> {
    async fn once(&self, object: Arc<R::Object>) -> Result<Action, std::convert::Infallible> {
        let key = ObjectRef::from_obj(&*object);
        let begun = Instant::now();
        let result = timeout(PATIENCE, self.reconciler.reconcile(object))
            .await
            .unwrap_or_else(|_| Err(ReconcileError::unanswered(PATIENCE)));
        self.metrics
            .reconcile_duration
            .with_label_values(&[R::NAME])
            .observe(begun.elapsed().as_secs_f64());
        let (label, action) = match result {
            Ok(action) => {
                self.failures
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&key);
                ("ok", action)
            }
            Err(error) if error.is_conflict() => {
                ("conflict", Action::requeue(Duration::from_millis(200)))
            }
            Err(error) => ("error", self.failed(key, &error)),
        };
        self.metrics
            .reconciles
            .with_label_values(&[R::NAME, label])
            .inc();
        Ok(action)
    }

    fn failed(&self, key: ObjectRef<R::Object>, error: &ReconcileError) -> Action {
        let pause = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let count = failures.entry(key.clone()).or_insert(0);
            *count = count.saturating_add(1);
            retry_after(*count)
        };
        tracing::warn!(controller = R::NAME, object = %key, %error, retry_seconds = pause.as_secs(), "not reconciled");
        Action::requeue(pause)
    }
}

/// 1, 2, 4 … 60 seconds.
fn retry_after(failures: u32) -> Duration {
    let doubled = 1_u64
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u64::MAX);
    Duration::from_secs(doubled).min(SLOWEST_RETRY)
}

/// Feeds a queue from changes, each key at most once in `period`; a listener that lags, or a new list, means `all`.
pub async fn feed<C, K>(
    mut changes: broadcast::Receiver<C>,
    triggers: Triggers<K>,
    period: Duration,
    map: impl Fn(C) -> Trigger<K> + Send,
    all: impl Fn() -> Vec<ObjectRef<K>> + Send,
) where
    C: Clone + Send,
    K: Lookup<DynamicType = ()>,
{
    loop {
        let mut due: HashSet<ObjectRef<K>> = HashSet::new();
        let mut deadline = None;
        while deadline.is_none_or(|deadline| Instant::now() < deadline) {
            let next = match deadline {
                None => changes.recv().await,
                Some(deadline) => {
                    match tokio::time::timeout_at(Instant::into(deadline), changes.recv()).await {
                        Ok(next) => next,
                        Err(_) => break,
                    }
                }
            };
            match next.map(&map) {
                Ok(Trigger::Nothing) => continue,
                Ok(Trigger::Some(keys)) => due.extend(keys),
                Ok(Trigger::All) | Err(broadcast::error::RecvError::Lagged(_)) => due.extend(all()),
                Err(broadcast::error::RecvError::Closed) => return,
            }
            deadline.get_or_insert_with(|| Instant::now() + period);
        }
        for key in due {
            if triggers.send(key).await.is_err() {
                return;
            }
        }
    }
}

/// What a change means for a controller.
pub enum Trigger<K: Lookup>
where
    K::DynamicType: Hash + Eq,
{
    /// Nothing.
    Nothing,
    /// These have to be looked at.
    Some(Vec<ObjectRef<K>>),
    /// All have to be looked at.
    All,
}

/// Triggers the changed object itself.
pub fn itself<K>(change: Change<K>) -> Trigger<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    match change {
        Change::Applied(object) => Trigger::Some(vec![ObjectRef::from_obj(&*object)]),
        Change::Deleted(_) => Trigger::Nothing,
        Change::Relisted => Trigger::All,
    }
}

/// References to all objects of a kind.
pub fn refs<K>(watched: &Watched<K>) -> Vec<ObjectRef<K>>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    watched
        .list()
        .iter()
        .map(|object| ObjectRef::from_obj(&**object))
        .collect()
}

/// A reference by namespace and name.
#[must_use]
pub fn reference<K: Lookup<DynamicType = ()>>(namespace: &str, name: &str) -> ObjectRef<K> {
    ObjectRef::new(name).within(namespace)
}

/// `<namespace>/<name>`, for messages.
pub fn title<K: Resource>(object: &K) -> String {
    format!(
        "{}/{}",
        ResourceExt::namespace(object).unwrap_or_default(),
        object.name_any()
    )
}

#[cfg(test)]
mod tests {
    use peerup_crds::Peer;

    use super::*;

    #[test]
    fn retries_become_rarer() {
        let seconds: Vec<_> = (1..=8)
            .map(|failures| retry_after(failures).as_secs())
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(retry_after(u32::MAX), SLOWEST_RETRY);
    }

    #[tokio::test]
    async fn a_burst_of_changes_triggers_once_and_a_lag_triggers_all() {
        let (changes, listener) = broadcast::channel::<&str>(4);
        let (triggers, mut queue) = queue::<Peer>();
        let map = |name: &str| Trigger::Some(vec![reference("n", name)]);
        let all = || vec![reference("n", "everything")];
        let feeding = tokio::spawn(feed(listener, triggers, Duration::from_millis(5), map, all));
        for _ in 0..3 {
            changes.send("a").unwrap();
        }
        assert_eq!(queue.recv().await.unwrap().name, "a");
        assert!(queue.try_recv().is_err());

        for _ in 0..9 {
            changes.send("b").unwrap();
        }
        let mut both = [
            queue.recv().await.unwrap().name,
            queue.recv().await.unwrap().name,
        ];
        both.sort();
        assert_eq!(both, ["b", "everything"]);
        drop(changes);
        feeding.await.unwrap();
    }
}
