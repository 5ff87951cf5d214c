//! Requests and limits of a sidecar. The API server refuses a pod for one that is wrong, so nothing is passed on that
//! it might not take.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use peerup_crds::Resources;
use serde_json::Value;

use super::{options::clip, quantity};

/// What a container may be given here; more than that the definition of PeerNetworks does not take.
const KNOWN: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

type Amounts = BTreeMap<String, Quantity>;

/// `network`, with what the pod asks for itself put over it, and no request above its limit. A network that was stored
/// before its definition had today's rules may hold anything: what cannot be read is left out with a warning.
pub(super) fn of(network: &Resources, pod: &Resources, warnings: &mut Vec<String>) -> Resources {
    let mut all = Resources {
        limits: readable("limits", &network.limits, warnings),
        requests: readable("requests", &network.requests, warnings),
    };
    all.limits.extend(pod.limits.clone());
    all.requests.extend(pod.requests.clone());
    for (name, request) in &mut all.requests {
        lower(request, all.limits.get(name));
    }
    all
}

fn readable(list: &str, amounts: &Amounts, warnings: &mut Vec<String>) -> Amounts {
    let mut good = Amounts::new();
    for (name, amount) in amounts {
        if KNOWN.contains(&name.as_str()) && quantity::milli(&amount.0).is_some() {
            good.insert(name.clone(), amount.clone());
        } else {
            warnings.push(format!(
                "injection.resources.{list} {}={} of the PeerNetwork is left out: must be cpu, memory or ephemeral-storage, and a quantity such as 50m or 64Mi",
                clip(name),
                clip(&amount.0)
            ));
        }
    }
    good
}

/// The same in a pod whose resources are given for the pod as a whole. Its requests are what its own containers asked
/// for, since the API server fills them in before it asks about the pod: ours must add nothing, nor may a limit of ours
/// be above the pod's. A limit without a request would become one, so nothing is asked for in so many words.
pub(super) fn within(pod_level: &Value, ours: &Resources) -> Resources {
    let mut limits = ours.limits.clone();
    for (name, limit) in &mut limits {
        let whole = pod_level["limits"][name].as_str();
        lower(limit, whole.map(|text| Quantity(text.to_owned())).as_ref());
    }
    let names = ours.requests.keys().chain(ours.limits.keys());
    Resources {
        requests: names
            .map(|name| (name.clone(), Quantity("0".to_owned())))
            .collect(),
        limits,
    }
}

/// Lowers an amount to a limit that it is above; one that can't be read is above nothing.
fn lower(amount: &mut Quantity, limit: Option<&Quantity>) {
    let value = |quantity: &Quantity| quantity::milli(&quantity.0);
    if let Some(limit) = limit
        && let (Some(high), Some(low)) = (value(amount), value(limit))
        && high > low
    {
        amount.clone_from(limit);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resources(value: Value) -> Resources {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_the_api_server_would_refuse_is_left_out_and_told() {
        let network = resources(json!({
            "limits": {"memory": "64 megs", "cpu": -1, "ephemeral-storage": "1Gi"},
            "requests": {"mem": "32Mi", "memory": "2Gi", "cpu": "10m"},
        }));
        let pod = resources(json!({"limits": {"memory": "1Gi"}}));
        let mut warnings = Vec::new();
        let expected = resources(json!({
            "limits": {"memory": "1Gi", "ephemeral-storage": "1Gi"},
            "requests": {"memory": "1Gi", "cpu": "10m"},
        }));
        assert_eq!(of(&network, &pod, &mut warnings), expected);
        let told: Vec<_> = warnings
            .iter()
            .filter_map(|warning| {
                warning
                    .split_once(" of the PeerNetwork")
                    .map(|(said, _)| said)
            })
            .collect();
        assert_eq!(
            told,
            [
                "injection.resources.limits cpu=-1",
                "injection.resources.limits memory=64 megs",
                "injection.resources.requests mem=32Mi"
            ]
        );
    }

    #[test]
    fn in_a_pod_with_resources_of_its_own_nothing_is_asked_for() {
        let ours = resources(json!({
            "limits": {"memory": "128Mi", "cpu": "1"}, "requests": {"cpu": "10m", "memory": "32Mi"},
        }));
        let nothing = json!({"cpu": "0", "memory": "0"});
        for (pod_level, limits) in [
            (
                json!({"requests": {"memory": "64Mi"}}),
                json!({"memory": "128Mi", "cpu": "1"}),
            ),
            (
                json!({"limits": {"memory": "64Mi"}}),
                json!({"memory": "64Mi", "cpu": "1"}),
            ),
            (
                json!({"limits": {"memory": "1Gi", "cpu": "500m"}}),
                json!({"memory": "128Mi", "cpu": "500m"}),
            ),
            (
                json!({"limits": {"memory": "1Pi"}}),
                json!({"memory": "128Mi", "cpu": "1"}),
            ),
        ] {
            let expected = resources(json!({"limits": limits, "requests": nothing}));
            assert_eq!(within(&pod_level, &ours), expected, "{pod_level}");
        }
    }
}
