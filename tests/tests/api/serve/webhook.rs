//! Pods on their way through the API server and the webhook.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use peerup_tests::light::repository;
use peerup_tests::wait::eventually;
use serde_json::{Value, json};

use super::world::{SOON, World};

fn sidecar(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_ref());
    init.is_some_and(|list| {
        let ours: Vec<_> = list
            .iter()
            .filter(|container| container.name == "peerup")
            .collect();
        ours.len() == 1 && ours[0].restart_policy.as_deref() == Some("Always")
    })
}

#[tokio::test]
async fn a_pod_that_opted_in_gets_its_sidecar_once() -> Result<()> {
    let world = World::new("webhook").await?;
    let pod = world.pod("web", |_| ()).await?;
    ensure!(sidecar(&pod), "{pod:#?}");
    ensure!(pod.labels().get("peerup.dev/injected").map(String::as_str) == Some("true"));
    // What a person does who copies a pod from the cluster and creates it again.
    let mut copy = pod.clone();
    copy.metadata.resource_version = None;
    copy.metadata.uid = None;
    copy.metadata.name = Some("copy".to_owned());
    copy.status = None;
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let again = world.api::<Pod>().create(&dry, &copy).await?;
    ensure!(sidecar(&again), "{again:#?}");
    ensure!(again.spec == pod.spec, "the second time changed something");
    Ok(())
}

#[tokio::test]
async fn pods_that_cannot_have_one_are_created_all_the_same() -> Result<()> {
    let world = World::new("webhook").await?;
    let out = world
        .pod("out", |pod| {
            pod["metadata"]["labels"] = json!({"peerup.dev/inject": "disabled"})
        })
        .await?;
    let host = world
        .pod("host", |pod| pod["spec"]["hostNetwork"] = json!(true))
        .await?;
    let typo = world
        .pod("typo", |pod| {
            pod["metadata"]["annotations"] = json!({"peerup.dev/network": "mian"})
        })
        .await?;
    for pod in [out, host, typo] {
        ensure!(!sidecar(&pod), "{} has a sidecar", pod.name_any());
    }
    let wishes = json!({"peerup.dev/cpu-request": "lots", "peerup.dev/memory-limit": "16Mi", "peerup.dev/hold": "?"});
    let odd = world
        .pod("odd", |pod| pod["metadata"]["annotations"] = wishes)
        .await?;
    ensure!(sidecar(&odd), "bad wishes cost the pod its sidecar");
    Ok(())
}

#[tokio::test]
async fn services_reach_the_sidecar_and_bad_lists_are_told() -> Result<()> {
    let world = World::new("webhook").await?;
    let good = json!({
        "peerup.dev/expose": "http=8080,ssh=127.0.0.1:22", "peerup.dev/forward": "9000=http@shop/web",
    });
    let pod = world
        .pod("good", |pod| pod["metadata"]["annotations"] = good)
        .await?;
    let given = |pod: &Pod| {
        let spec = pod.spec.clone().unwrap_or_default();
        let mut all = spec.init_containers.into_iter().flatten();
        let ours = all.find(|container| container.name == "peerup");
        let env = ours.and_then(|container| container.env).unwrap_or_default();
        let wanted = ["PEERUP_EXPOSE", "PEERUP_FORWARD"];
        let lists = env
            .into_iter()
            .filter(|variable| wanted.contains(&variable.name.as_str()));
        lists
            .map(|variable| variable.value.unwrap_or_default())
            .collect::<Vec<_>>()
    };
    let lists = given(&pod);
    ensure!(
        lists == ["http=8080,ssh=127.0.0.1:22", "9000=http@shop/web"],
        "{lists:?}"
    );

    let bad = json!({"peerup.dev/expose": "http=0", "peerup.dev/forward": "9000=http@web"});
    let pod = world
        .pod("bad", |pod| pod["metadata"]["annotations"] = bad)
        .await?;
    ensure!(
        sidecar(&pod) && given(&pod) == ["9000=http@web"],
        "{:?}",
        given(&pod)
    );
    eventually("an event on the pod", SOON, async || {
        let events = world.api::<Event>().list(&Default::default()).await?;
        let told: Vec<_> = events
            .iter()
            .filter(|event| event.reason.as_deref() == Some("Degraded"))
            .map(|event| event.note.clone().unwrap_or_default())
            .collect();
        ensure!(
            told.len() == 1 && told[0].contains("annotation peerup.dev/expose=http=0"),
            "{told:?}"
        );
        Ok(())
    })
    .await?;
    let url = format!("{}/metrics", world.operator.http);
    let text = world.http.get(url).send().await?.text().await?;
    let counted = r#"peerup_injection_total{reason="Degraded",result="injected"} 1"#;
    ensure!(text.contains(counted), "{text}");
    Ok(())
}

/// The API server has set the requests of the pod as a whole before it asks the webhook.
#[tokio::test]
async fn a_pod_with_resources_of_its_own_gets_one_within_them() -> Result<()> {
    let world = World::new("webhook").await?;
    let app = json!({"requests": {"cpu": "100m", "memory": "64Mi"}});
    for (name, pod_level) in [
        (
            "limits",
            json!({"limits": {"cpu": "500m", "memory": "96Mi"}}),
        ),
        (
            "requests",
            json!({"requests": {"cpu": "100m", "memory": "64Mi"}}),
        ),
        (
            "cpu",
            json!({"requests": {"cpu": "200m"}, "limits": {"cpu": "200m"}}),
        ),
    ] {
        let pod = world
            .pod(name, |pod| {
                pod["spec"]["resources"] = pod_level;
                pod["spec"]["containers"][0]["resources"] = app.clone();
            })
            .await?;
        ensure!(sidecar(&pod), "{pod:#?}");
        let spec = pod.spec.context("no spec")?;
        ensure!(
            spec.resources.is_some(),
            "this API server knows no resources of pods"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_runbook_finds_what_is_told_of_pods_without_sidecar() -> Result<()> {
    let runbook = repository().join("docs/runbooks/PeerupNotInjected.md");
    let runbook = std::fs::read_to_string(runbook)?;
    let mut lines = runbook.lines();
    let selector =
        lines.find_map(|line| line.split_once("kubectl get events -A --field-selector "));
    let (_, selector) = selector.context("the runbook looks for no events")?;
    let world = World::new("webhook").await?;
    world
        .pod("typo", |pod| {
            pod["metadata"]["annotations"] = json!({"peerup.dev/network": "mian"})
        })
        .await?;
    // kubectl asks for core/v1
    let events = world.api::<k8s_openapi::api::core::v1::Event>();
    eventually("the event", SOON, async || {
        let found = events.list(&ListParams::default().fields(selector)).await?;
        let reasons: Vec<_> = found.iter().map(|event| event.reason.clone()).collect();
        ensure!(
            reasons.contains(&Some("NetworkNotFound".to_owned())),
            "{selector} finds {reasons:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_restricted_namespace_admits_the_sidecar() -> Result<()> {
    let world = World::new("webhook").await?;
    let labels =
        json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces = Api::<Namespace>::all(world.client.clone());
    namespaces
        .patch(
            &world.namespace,
            &PatchParams::default(),
            &Patch::Merge(labels),
        )
        .await?;
    // The API server knows a namespace's labels a moment later.
    let plain = |pod: &mut Value| pod["metadata"] = json!({"generateName": "root-"});
    eventually(
        "the namespace to be restricted",
        SOON,
        async || match world.pod("root", plain).await {
            Err(error) if format!("{error:#}").contains("violates PodSecurity") => Ok(()),
            made => bail!("a pod that may be root: {made:?}"),
        },
    )
    .await?;
    let context = json!({
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
    });
    let pod = world
        .pod("web", |pod| {
            pod["spec"]["containers"][0]["securityContext"] = context
        })
        .await?;
    ensure!(sidecar(&pod), "{pod:#?}");
    Ok(())
}

#[tokio::test]
async fn what_breaks_the_certificates_is_repaired() -> Result<()> {
    let world = World::new("webhook").await?;
    let configurations = Api::<MutatingWebhookConfiguration>::all(world.client.clone());
    let bundle = async || {
        let configuration = configurations.get(&world.home.namespace).await?;
        let webhook = configuration
            .webhooks
            .and_then(|list| list.into_iter().next());
        Ok::<_, anyhow::Error>(webhook.and_then(|webhook| webhook.client_config.ca_bundle))
    };
    let good = bundle().await?;
    ensure!(good.as_ref().is_some_and(|bundle| !bundle.0.is_empty()));

    let wiped = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]);
    let wiped = Patch::Json::<()>(serde_json::from_value(wiped)?);
    configurations
        .patch(&world.home.namespace, &PatchParams::default(), &wiped)
        .await?;
    eventually("caBundle to come back", SOON, async || {
        ensure!(bundle().await? == good);
        Ok(())
    })
    .await?;

    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.home.namespace);
    secrets
        .delete("peerup-operator-ca", &DeleteParams::default())
        .await?;
    eventually("another authority", SOON, async || {
        let now = bundle().await?.context("no bundle")?;
        ensure!(Some(&now) != good.as_ref(), "still the former");
        ensure!(
            now.0 == world.home.ca().await?.as_bytes(),
            "not the Secret's"
        );
        Ok(())
    })
    .await?;
    eventually("a pod to be injected", SOON, async || {
        let pod = world.pod("web", |_| ()).await?;
        ensure!(sidecar(&pod));
        Ok(())
    })
    .await
}
