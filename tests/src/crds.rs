//! The custom resources in a real API server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use kube::{Client, ResourceExt};

use crate::wait::eventually;

/// Applies the CustomResourceDefinitions and waits until they are served. May be called by every test.
pub async fn install(client: &Client) -> Result<()> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let parameters = PatchParams::apply("peerup-tests").force();
    for definition in peerup_crds::definitions() {
        let name = definition.name_any();
        api.patch(&name, &parameters, &Patch::Apply(&definition))
            .await
            .with_context(|| format!("apply {name}"))?;
        established(client, &name).await?;
    }
    Ok(())
}

/// Waits until a CustomResourceDefinition is served.
pub async fn established(client: &Client, name: &str) -> Result<()> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    eventually(name, Duration::from_secs(60), async || {
        let definition = api.get(name).await?;
        let conditions = definition.status.and_then(|status| status.conditions);
        let established = conditions
            .unwrap_or_default()
            .into_iter()
            .any(|condition| condition.type_ == "Established" && condition.status == "True");
        ensure!(established, "not established");
        // That is said before it is so.
        let spec = definition.spec;
        let version = spec.versions.first().context("no version")?;
        let kind = GroupVersionKind::gvk(&spec.group, &version.name, &spec.names.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &spec.names.plural);
        let all = Api::<DynamicObject>::all_with(client.clone(), &resource);
        all.list(&ListParams::default().limit(1)).await?;
        Ok(())
    })
    .await
}
