//! The PairingCode controller: codes into a Secret, hashes and public keys into the status, an end to each.

use std::{sync::Arc, time::Duration};

use kube::{
    ResourceExt as _,
    runtime::{controller::Action, reflector::ObjectRef},
};
use peerup_crds::{PairingCode, PeerNetwork, SlotState};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Change, Context, Watched},
    controller::{self, Feeds, Reconcile, ReconcileError, Trigger, feed, itself, refs},
};

mod act;
pub mod decide;
mod observe;

/// Pause in which changes are gathered: a used code should leave its Secret at once.
const PAUSE: Duration = Duration::from_millis(20);

/// The controller, for one term of leading.
struct PairingCodes {
    context: Context,
    deliveries: act::Deliveries,
}

impl Reconcile for PairingCodes {
    type Object = PairingCode;
    const NAME: &'static str = "pairing_code";

    async fn reconcile(&self, code: Arc<PairingCode>) -> Result<Action, ReconcileError> {
        let delivery = self.deliveries.of(&code.uid().unwrap_or_default());
        let seen = observe::observe(&self.context, code.clone(), delivery);
        let done = act::act(
            &self.context,
            &self.deliveries,
            &code,
            decide::decide(&seen),
        )
        .await;
        self.show();
        done
    }
}

impl PairingCodes {
    /// Counts all codes, and forgets what is gone.
    fn show(&self) {
        let codes = self.context.stores.codes.list();
        self.deliveries
            .retain(|uid| codes.iter().any(|code| code.uid().as_deref() == Some(uid)));
        let slots = || {
            codes
                .iter()
                .filter_map(|code| code.status.as_ref())
                .flat_map(|status| &status.codes)
        };
        for (state, name) in STATES {
            let count = slots().filter(|slot| slot.state == state).count();
            self.context
                .metrics
                .pairing
                .codes
                .with_label_values(&[name])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

const STATES: [(SlotState, &str); 5] = [
    (SlotState::Available, "Available"),
    (SlotState::Used, "Used"),
    (SlotState::Expired, "Expired"),
    (SlotState::Burned, "Burned"),
    (SlotState::Revoked, "Revoked"),
];

/// Runs the controller and its feeds until told to stop.
pub async fn run(context: Context, stop: CancellationToken) {
    let (triggers, queue) = controller::queue();
    let feeds = Feeds::new(&stop);
    let codes = context.stores.codes.clone();
    let all = {
        let codes = codes.clone();
        move || refs(&codes)
    };
    feeds.start(&triggers, all());
    let waiting = with_waiting(codes.clone());
    feeds.spawn(feed(
        codes.changes(),
        triggers.clone(),
        PAUSE,
        waiting,
        all.clone(),
    ));
    let of_network = of_network(codes.clone());
    feeds.spawn(feed(
        context.stores.networks.changes(),
        triggers.clone(),
        PAUSE,
        of_network,
        all.clone(),
    ));
    feeds.spawn(feed(
        context.keys.changes(),
        triggers,
        PAUSE,
        |()| Trigger::All,
        all,
    ));
    let metrics = context.metrics.machinery.clone();
    let controller = PairingCodes {
        context,
        deliveries: act::Deliveries::default(),
    };
    controller::run(controller, &codes, queue, metrics, stop.clone()).await;
}

/// A PairingCode, and those of its network that wait for what it gives free.
fn with_waiting(
    codes: Watched<PairingCode>,
) -> impl Fn(Change<PairingCode>) -> Trigger<PairingCode> + Send {
    move |change| {
        let (Change::Applied(changed) | Change::Deleted(changed)) = &change else {
            return Trigger::All;
        };
        let mut due = codes.list_in(&changed.namespace().unwrap_or_default());
        due.retain(|code| {
            code.status
                .as_ref()
                .is_none_or(|status| status.group.is_none())
        });
        let mut keys: Vec<_> = due
            .iter()
            .map(|code| ObjectRef::from_obj(&**code))
            .collect();
        if let Trigger::Some(own) = itself(change) {
            keys.extend(own);
        }
        Trigger::Some(keys)
    }
}

/// The PairingCodes of a network that changed.
fn of_network(
    codes: Watched<PairingCode>,
) -> impl Fn(Change<PeerNetwork>) -> Trigger<PairingCode> + Send {
    move |change| {
        let (Change::Applied(network) | Change::Deleted(network)) = change else {
            return Trigger::All;
        };
        let mut due = codes.list_in(&network.namespace().unwrap_or_default());
        due.retain(|code| code.spec.network_ref.name == network.name_any());
        Trigger::Some(
            due.iter()
                .map(|code| ObjectRef::from_obj(&**code))
                .collect(),
        )
    }
}
