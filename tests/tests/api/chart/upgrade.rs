//! Upgrades by helm in a real API server, while the operator runs: what it and people have made stays as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use peerup_crds::{PairingCode, PeerNetwork};
use peerup_tests::light::{Light, repository};
use peerup_tests::wait::eventually;
use serde_json::json;

use super::installed::Installed;
use super::{CHART, NAMESPACE, helm_in};

const LIMIT: Duration = Duration::from_secs(60);
/// Version of the chart that is there before.
const FORMER: &str = "0.0.9";

#[tokio::test]
async fn upgrades_keep_authority_definitions_and_networks() -> Result<()> {
    let light = Light::start()?;
    let client = light.client().await?;
    let former = former_chart(&light)?;
    let former = former.to_str().context("a path that is no text")?;
    helm_in(&light, &["install", "peerup", former, "--create-namespace"])?;
    let _operator = Installed::start(&light).await?;
    network(&client).await?;
    let before = Kept::look(&client).await?;
    ensure!(
        deployed(&client).await?.image == format!("localhost/peerup-operator:{FORMER}"),
        "the former chart was not installed"
    );

    helm_in(&light, &["upgrade", "peerup", CHART])?;
    let expected = Deployed {
        chart: "peerup-0.1.0".to_owned(),
        image: "localhost/peerup-operator:0.1.0".to_owned(),
        replicas: 1,
        log: "info".to_owned(),
    };
    same(&expected, &deployed(&client).await?)?;
    same(&before, &Kept::look(&client).await?)?;

    // Who leaves out the definitions from now on keeps those that are there, and all that is of their kinds.
    let values = "operator.replicas=2,log.level=debug,operator.image.tag=edge,crds.install=false";
    helm_in(&light, &["upgrade", "peerup", CHART, "--set", values])?;
    let changed = Deployed {
        image: "localhost/peerup-operator:edge".to_owned(),
        replicas: 2,
        log: "debug".to_owned(),
        ..expected
    };
    same(&changed, &deployed(&client).await?)?;
    same(&before, &Kept::look(&client).await?)
}

fn same<T: PartialEq + std::fmt::Debug>(expected: &T, found: &T) -> Result<()> {
    ensure!(
        expected == found,
        "expected {expected:#?}, found {found:#?}"
    );
    Ok(())
}

/// A copy of the chart that says to be of a former version.
fn former_chart(light: &Light) -> Result<PathBuf> {
    let copy = light.directory().join("former");
    copy_all(&repository().join(CHART), &copy)?;
    let file = copy.join("Chart.yaml");
    let text = std::fs::read_to_string(&file)?;
    let lines = text.lines().map(|line| match line.split_once(' ') {
        Some((key @ ("version:" | "appVersion:"), _)) => format!("{key} {FORMER}\n"),
        Some(_) | None => format!("{line}\n"),
    });
    std::fs::write(&file, lines.collect::<String>())?;
    Ok(copy)
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A network with codes, and what the operator makes for it.
async fn network(client: &Client) -> Result<()> {
    let (post, namespace) = (PostParams::default(), "shop");
    let metadata = json!({ "metadata": { "name": namespace } });
    Api::<Namespace>::all(client.clone())
        .create(&post, &serde_json::from_value(metadata)?)
        .await?;
    let networks = Api::<PeerNetwork>::namespaced(client.clone(), namespace);
    let network = serde_json::from_value(json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork", "metadata": { "name": "crew" },
        "spec": { "relay": { "managed": { "advertiseAddresses": [
            { "ordinal": 0, "addresses": ["/ip4/192.0.2.1/tcp/4001"] },
        ] } } },
    }))?;
    networks.create(&post, &network).await?;
    let code = serde_json::from_value(json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PairingCode", "metadata": { "name": "colleagues" },
        "spec": { "networkRef": { "name": "crew" }, "count": 2 },
    }))?;
    Api::<PairingCode>::namespaced(client.clone(), namespace)
        .create(&post, &code)
        .await?;
    eventually("relay and codes", LIMIT, async || {
        Api::<StatefulSet>::namespaced(client.clone(), namespace)
            .get("crew-relay")
            .await?;
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
        secrets.get("colleagues").await?;
        let status = networks.get("crew").await?.status.context("no status")?;
        status.network_id.context("no network ID").map(drop)
    })
    .await
}

/// What an upgrade must not touch: who each object is, how often its spec was changed, and what Secrets hold.
#[derive(Debug, PartialEq)]
struct Kept {
    bundles: Vec<Option<ByteString>>,
    objects: BTreeMap<String, (Option<String>, Option<i64>)>,
    secrets: BTreeMap<String, Option<BTreeMap<String, ByteString>>>,
}

impl Kept {
    async fn look(client: &Client) -> Result<Self> {
        let all = ListParams::default();
        let webhook = Api::<MutatingWebhookConfiguration>::all(client.clone())
            .get("peerup-operator")
            .await?;
        let mut objects = BTreeMap::new();
        let mut see = |kind: &str, metadata: &ObjectMeta| {
            let name = metadata.name.as_deref().unwrap_or_default();
            let seen = (metadata.uid.clone(), metadata.generation);
            objects.insert(format!("{kind} {name}"), seen);
        };
        see("webhook", &webhook.metadata);
        for definition in Api::<CustomResourceDefinition>::all(client.clone())
            .list(&all)
            .await?
        {
            // its labels may change, and nothing else does
            see("definition", &definition.metadata);
        }
        for network in Api::<PeerNetwork>::all(client.clone()).list(&all).await? {
            see("network", &network.metadata);
        }
        for code in Api::<PairingCode>::all(client.clone()).list(&all).await? {
            see("code", &code.metadata);
        }
        for relay in Api::<StatefulSet>::all(client.clone()).list(&all).await? {
            see("relay", &relay.metadata);
        }
        let secrets = Api::<Secret>::all(client.clone()).list(&all).await?;
        let ours = secrets.into_iter().filter(|secret| {
            let kind = secret.type_.as_deref().unwrap_or_default();
            kind.starts_with("peerup.dev/")
        });
        let bundles = webhook.webhooks.into_iter().flatten();
        let kept = Self {
            bundles: bundles
                .map(|webhook| webhook.client_config.ca_bundle)
                .collect(),
            objects,
            secrets: ours
                .map(|secret| (secret.name_any(), secret.data))
                .collect(),
        };
        let complete = kept.bundles.len() == 2
            && kept.bundles.iter().all(Option::is_some)
            && kept.objects.len() == 7
            && kept.secrets.len() == 4;
        ensure!(complete, "something is missing: {:?}", kept.objects);
        Ok(kept)
    }
}

/// What the upgrade was told to change.
#[derive(Debug, PartialEq)]
struct Deployed {
    chart: String,
    image: String,
    replicas: i32,
    log: String,
}

async fn deployed(client: &Client) -> Result<Deployed> {
    let deployment = Api::<Deployment>::namespaced(client.clone(), NAMESPACE)
        .get("peerup-operator")
        .await?;
    let label = deployment.labels().get("helm.sh/chart").cloned();
    let spec = deployment.spec.context("no spec")?;
    let pod = spec.template.spec.context("no pod")?;
    let container = &pod.containers[0];
    let mut variables = container.env.iter().flatten();
    let log = variables.find(|variable| variable.name == "PEERUP_LOG");
    Ok(Deployed {
        chart: label.context("no label of the chart")?,
        image: container.image.clone().unwrap_or_default(),
        replicas: spec.replicas.unwrap_or_default(),
        log: log
            .and_then(|variable| variable.value.clone())
            .unwrap_or_default(),
    })
}
