//! `peerup-operator cleanup`, run when the chart is uninstalled: removes what running operators made for themselves.
//! Networks, their relays and keys are nobody's but their owners'.

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
    core::PartialObjectMeta,
};
use peerup_crds::{
    PeerNetwork,
    names::{self, labels},
};

use crate::{config::Config, controller::title, errors, network::unless_gone, watches::Guarded};

/// What could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {}", errors::explain(source))]
pub struct CleanupError {
    step: &'static str,
    source: kube::Error,
}

fn at(step: &'static str) -> impl FnOnce(kube::Error) -> CleanupError {
    move |source| CleanupError { step, source }
}

/// Removes them, and answers the networks that are left.
///
/// # Errors
/// When the API server refuses or cannot be reached; then it can be run again.
pub async fn run(client: Client, config: &Config) -> Result<Vec<String>, CleanupError> {
    let home = &config.operator_namespace;
    let secrets = Api::<Secret>::namespaced(client.clone(), home);
    let deleted = secrets
        .delete(&config.ca_secret, &DeleteParams::default())
        .await;
    deleted
        .map(drop)
        .or_else(unless_gone)
        .map_err(at("delete the Secret of the certificate authority"))?;
    let leases = Api::<Lease>::namespaced(client.clone(), home);
    let deleted = leases.delete(&config.lease, &DeleteParams::default()).await;
    deleted
        .map(drop)
        .or_else(unless_gone)
        .map_err(at("delete the lease"))?;
    for namespace in scopes(config) {
        delete_config_maps(&client, namespace).await?;
    }
    let mut left = Vec::new();
    for namespace in scopes(config) {
        let networks: Api<Guarded<PeerNetwork>> = api(&client, namespace);
        match networks.list(&ListParams::default()).await {
            Ok(networks) => left.extend(networks.iter().map(title)),
            Err(error) => unless_gone(error).map_err(at("list PeerNetworks"))?,
        }
    }
    Ok(left)
}

fn scopes(config: &Config) -> Vec<Option<&str>> {
    if config.watch_namespaces.is_empty() {
        return vec![None];
    }
    config
        .watch_namespaces
        .iter()
        .map(|namespace| Some(namespace.as_str()))
        .collect()
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    }
}

/// CA bundles of networks.
async fn delete_config_maps(client: &Client, namespace: Option<&str>) -> Result<(), CleanupError> {
    let ours = format!(
        "{}={},{}",
        labels::MANAGED_BY,
        labels::OPERATOR,
        labels::NETWORK_UID
    );
    let found = api::<Guarded<PartialObjectMeta<ConfigMap>>>(client, namespace)
        .list(&ListParams::default().labels(&ours))
        .await;
    for config_map in found.map_err(at("list ConfigMaps"))? {
        // Anybody can give labels; what has another name is not ours, and the admission policies say so too.
        let made_as = config_map
            .labels()
            .get(labels::NETWORK_UID)
            .map(|uid| names::ca_config_map(uid));
        if made_as.is_none_or(|name| name != config_map.name_any()) {
            continue;
        }
        let config_maps = Api::<ConfigMap>::namespaced(
            client.clone(),
            &config_map.namespace().unwrap_or_default(),
        );
        let deleted = config_maps
            .delete(&config_map.name_any(), &DeleteParams::default())
            .await;
        deleted
            .map(drop)
            .or_else(unless_gone)
            .map_err(at("delete a ConfigMap"))?;
    }
    Ok(())
}
