//! Looks before the start whether the operator may do what it has to do, so that a missing permission is one clear
//! message instead of a thousand refusals.

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use peerup_crds::{PeerNetwork, names::GROUP};

use crate::{config::Config, errors, watches::Guarded};

/// Reviews that are asked for at once.
const AT_ONCE: usize = 8;

/// Why the operator does not start.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The API server cannot be asked.
    #[error("the API server cannot be asked: {}", errors::explain(.0))]
    Unreachable(#[source] kube::Error),
    /// Our kinds are not there.
    #[error(
        "the custom resources of {GROUP} are not installed; install the chart, or apply crds/yaml"
    )]
    NoKinds,
    /// Permissions are missing; each is named.
    #[error("the operator's account lacks permissions; install the RBAC objects of the chart. Missing:\n  {}", .0.join("\n  "))]
    Forbidden(Vec<String>),
}

/// Where a permission is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In every namespace that is served.
    Served,
    /// In the operator's namespace.
    Home,
    /// On objects without namespace.
    Cluster,
}

/// Verbs on a resource (`/`: subresource) of a group.
type Need = (Place, &'static str, &'static str, &'static [&'static str]);

const READ: &[&str] = &["list", "watch"];
const KEEP: &[&str] = &["list", "watch", "create", "patch", "delete"];

/// All that the controllers, the webhook and the API do.
const NEEDS: &[Need] = &[
    (
        Place::Served,
        GROUP,
        "peernetworks",
        &["list", "watch", "patch"],
    ),
    (Place::Served, GROUP, "peernetworks/status", &["update"]),
    (
        Place::Served,
        GROUP,
        "pairingcodes",
        &["list", "watch", "delete"],
    ),
    (Place::Served, GROUP, "pairingcodes/status", &["update"]),
    (
        Place::Served,
        GROUP,
        "peers",
        &["list", "watch", "create", "patch", "delete"],
    ),
    (Place::Served, GROUP, "peers/status", &["patch"]),
    (Place::Served, "", "pods", &["get", "list", "watch"]),
    (Place::Served, "", "pods/status", &["patch"]),
    (Place::Served, "apps", "statefulsets", KEEP),
    (Place::Served, "", "services", KEEP),
    (Place::Served, "", "serviceaccounts", KEEP),
    (Place::Served, "policy", "poddisruptionbudgets", KEEP),
    (Place::Served, "networking.k8s.io", "networkpolicies", KEEP),
    (Place::Served, "", "configmaps", KEEP),
    (Place::Served, "", "secrets", &["create", "patch", "delete"]),
    (
        Place::Served,
        "events.k8s.io",
        "events",
        &["create", "patch"],
    ),
    (
        Place::Home,
        "coordination.k8s.io",
        "leases",
        &["get", "create", "update"],
    ),
    (
        Place::Home,
        "",
        "secrets",
        &["get", "list", "watch", "create", "delete"],
    ),
    (Place::Cluster, "", "namespaces", READ),
    (
        Place::Cluster,
        "authentication.k8s.io",
        "tokenreviews",
        &["create"],
    ),
];

/// Checks permissions and kinds.
///
/// # Errors
/// When the API server cannot be asked, when kinds are missing, and when permissions are: all of them are named.
pub async fn check(client: &Client, config: &Config) -> Result<(), PreflightError> {
    let wanted: Vec<_> = NEEDS
        .iter()
        .flat_map(|need| attributes(need, config))
        .collect();
    let missing: Vec<Option<String>> = futures::stream::iter(wanted)
        .map(|wanted| ask(client, wanted))
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .map_err(PreflightError::Unreachable)?;
    let missing: Vec<_> = missing.into_iter().flatten().collect();
    if !missing.is_empty() {
        return Err(PreflightError::Forbidden(missing));
    }
    // whether the kind is there, not whether one can be read
    let networks: Api<Guarded<PeerNetwork>> = match config.watch_namespaces.first() {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    };
    match networks.list(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(PreflightError::NoKinds),
        Err(error) => Err(PreflightError::Unreachable(error)),
    }
}

fn attributes(need: &Need, config: &Config) -> Vec<ResourceAttributes> {
    let (place, group, resource, verbs) = need;
    let namespaces: Vec<Option<String>> = match place {
        Place::Served if config.watch_namespaces.is_empty() => vec![None],
        Place::Served => config.watch_namespaces.iter().cloned().map(Some).collect(),
        Place::Home => vec![Some(config.operator_namespace.clone())],
        Place::Cluster => vec![None],
    };
    let (resource, subresource) = resource
        .split_once('/')
        .map_or((*resource, None), |(a, b)| (a, Some(b.to_owned())));
    let one = |namespace: &Option<String>, verb: &str| ResourceAttributes {
        group: Some((*group).to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.clone(),
        namespace: namespace.clone(),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    namespaces
        .iter()
        .flat_map(|namespace| verbs.iter().map(|verb| one(namespace, verb)))
        .collect()
}

/// What is missing, or nothing.
async fn ask(client: &Client, wanted: ResourceAttributes) -> Result<Option<String>, kube::Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(wanted.clone()),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::<SelfSubjectAccessReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    let allowed = answer.status.is_some_and(|status| status.allowed);
    Ok((!allowed).then(|| describe(&wanted)))
}

/// `patch pods/status in the whole cluster`.
fn describe(wanted: &ResourceAttributes) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let subresource = wanted
        .subresource
        .as_ref()
        .map(|sub| format!("/{sub}"))
        .unwrap_or_default();
    let group = wanted
        .group
        .as_ref()
        .filter(|group| !group.is_empty())
        .map(|group| format!(".{group}"))
        .unwrap_or_default();
    let place = wanted
        .namespace
        .as_ref()
        .map_or("in the whole cluster".to_owned(), |namespace| {
            format!("in namespace {namespace}")
        });
    format!(
        "{} {}{subresource}{group} {place}",
        text(&wanted.verb),
        text(&wanted.resource)
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::config::Cli;

    #[test]
    fn a_missing_permission_is_told_with_verb_resource_and_place() {
        let config = |arguments: &[&str]| {
            Cli::try_parse_from([&["peerup-operator"], arguments].concat())
                .unwrap()
                .config
        };
        let need: Need = (Place::Served, GROUP, "peers/status", &["patch"]);
        let told = |config: &Config| -> Vec<_> {
            attributes(&need, config).iter().map(describe).collect()
        };
        assert_eq!(
            told(&config(&[])),
            ["patch peers/status.peerup.dev in the whole cluster"]
        );
        let two = config(&["--watch-namespaces", "a,b"]);
        assert_eq!(
            told(&two),
            [
                "patch peers/status.peerup.dev in namespace a",
                "patch peers/status.peerup.dev in namespace b"
            ]
        );
        let home: Need = (Place::Home, "", "secrets", &["get"]);
        assert_eq!(
            describe(&attributes(&home, &two)[0]),
            "get secrets in namespace peerup-system"
        );
    }
}
