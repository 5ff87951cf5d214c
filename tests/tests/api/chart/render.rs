//! What the chart renders, and which values it refuses.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use peerup_tests::light::repository;
use serde_json::{Value, json};

use super::{find, objects, template};

#[test]
fn twice_is_identical() -> Result<()> {
    for arguments in [
        &[][..],
        &["--set", "operator.replicas=3,watchNamespaces={a,b}"],
    ] {
        ensure!(
            template(arguments)? == template(arguments)?,
            "{arguments:?}: it renders something random"
        );
    }
    Ok(())
}

#[test]
fn the_ca_is_left_to_the_operator() -> Result<()> {
    let objects = objects(&[])?;
    let webhooks = &find(&objects, "MutatingWebhookConfiguration", "peerup-operator")?["webhooks"];
    ensure!(
        webhooks
            .as_array()
            .is_some_and(|webhooks| webhooks.len() == 2),
        "{webhooks}"
    );
    ensure!(
        !webhooks.to_string().contains("caBundle"),
        "it renders a CA: {webhooks}"
    );
    ensure!(
        objects.iter().all(|object| object["kind"] != "Secret"),
        "it renders a Secret"
    );
    Ok(())
}

#[test]
fn bad_values_are_refused() -> Result<()> {
    for (values, words) in [
        ("webhook.failurePolicy=Fail", "/operator/replicas"),
        ("webhook.failurePolicy=Sometimes", "/webhook/failurePolicy"),
        ("operator.replica=2", "replica"),
        ("clusterName=EU/1", "/clusterName"),
        ("operator.image.digest=sha256:12", "/operator/image/digest"),
        ("operator.replicas=0", "/operator/replicas"),
        (
            "monitoring.prometheusRule.for.PeerupGradeD=soon",
            "PeerupGradeD",
        ),
        ("watchNamespaces={A}", "/watchNamespaces/0"),
    ] {
        match template(&["--set-json=global={}", "--set", values]) {
            Ok(_) => bail!("{values} must be refused"),
            Err(error) => ensure!(error.to_string().contains(words), "{values}: {error}"),
        }
    }
    template(&["--set", "webhook.failurePolicy=Fail,operator.replicas=2"])?;
    Ok(())
}

#[test]
fn the_user_guide_lists_every_value() -> Result<()> {
    let file = |name: &str| std::fs::read_to_string(repository().join(name));
    let values: Value = serde_saphyr::from_str(&file("charts/peerup/values.yaml")?)?;
    let mut paths = BTreeSet::new();
    leaves(&values, "", &mut paths);
    let guide = file("docs/user-guide.md")?;
    let table = guide.lines().skip_while(|line| *line != "## Values");
    let listed: BTreeSet<_> = table
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
        .flat_map(|names| names.split(['`', ',', ' ']))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    ensure!(
        paths == listed,
        "only in values.yaml: {:?}, only in the guide: {:?}",
        paths.difference(&listed).collect::<Vec<_>>(),
        listed.difference(&paths).collect::<Vec<_>>()
    );
    Ok(())
}

/// Paths of all values that hold no others; what people fill themselves, and the alerts' times, count as one.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let inner = value.as_object().filter(|map| {
        let whole = path.ends_with(".for") || path.ends_with(".resources");
        !map.is_empty() && !whole
    });
    let Some(inner) = inner else {
        found.insert(path.to_owned());
        return;
    };
    for (name, value) in inner {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        leaves(value, &path, found);
    }
}

#[test]
fn digests_beat_tags() -> Result<()> {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let values = format!(
        "operator.image.digest={digest},operator.image.tag=old,sidecar.image.tag=1.2.3,relay.image.registry="
    );
    let objects = objects(&["--set", &values])?;
    let container = &find(&objects, "Deployment", "peerup-operator")?["spec"]["template"]["spec"]["containers"]
        [0];
    ensure!(
        container["image"] == format!("localhost/peerup-operator@{digest}"),
        "{}",
        container["image"]
    );
    let environment = environment(container);
    ensure!(
        environment["PEERUP_SIDECAR_IMAGE"] == "localhost/peerup-sidecar:1.2.3",
        "{environment:?}"
    );
    ensure!(
        environment["PEERUP_RELAY_IMAGE"] == "peerup-relay:0.1.0",
        "{environment:?}"
    );
    Ok(())
}

fn environment(container: &Value) -> BTreeMap<String, String> {
    let variables = container["env"].as_array().into_iter().flatten();
    variables
        .filter_map(|variable| {
            let text = |name: &str| variable[name].as_str().map(str::to_owned);
            text("name").zip(text("value"))
        })
        .collect()
}

#[test]
fn the_operator_knows_which_namespaces_the_webhook_leaves_out() -> Result<()> {
    let name = "PEERUP_EXCLUDED_NAMESPACES";
    let told = |values: &[&str]| {
        let objects = objects(values)?;
        let deployment = find(&objects, "Deployment", "peerup-operator")?;
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        Ok::<_, anyhow::Error>(environment(container).remove(name))
    };
    ensure!(told(&[])?.is_none());
    let two = told(&["--set", "webhook.excludedNamespaces={batch,ci}"])?;
    ensure!(two.as_deref() == Some("batch,ci"), "{two:?}");
    Ok(())
}

#[test]
fn several_replicas_spread_and_have_a_budget() -> Result<()> {
    let one = objects(&[])?;
    ensure!(
        one.iter()
            .all(|object| object["kind"] != "PodDisruptionBudget"),
        "one replica needs no budget"
    );
    let two = objects(&["--set", "operator.replicas=2"])?;
    find(&two, "PodDisruptionBudget", "peerup-operator")?;
    let pod = &find(&two, "Deployment", "peerup-operator")?["spec"]["template"]["spec"];
    ensure!(
        pod["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname",
        "{pod}"
    );
    Ok(())
}

#[test]
fn definitions_are_kept_and_can_be_left_out() -> Result<()> {
    let with = objects(&[])?;
    let definitions: Vec<_> = with
        .iter()
        .filter(|object| object["kind"] == "CustomResourceDefinition")
        .collect();
    ensure!(definitions.len() == 3, "{} definitions", definitions.len());
    for definition in definitions {
        let policy = &definition["metadata"]["annotations"]["helm.sh/resource-policy"];
        ensure!(
            policy == "keep",
            "{}: {policy}",
            definition["metadata"]["name"]
        );
    }
    let without = objects(&["--set", "crds.install=false"])?;
    ensure!(
        without
            .iter()
            .all(|object| object["kind"] != "CustomResourceDefinition"),
        "they are there"
    );
    Ok(())
}

/// `group/resource` → verbs, of all rules of a role.
fn verbs(role: &Value) -> BTreeMap<String, Vec<String>> {
    let words = |list: &Value| -> Vec<String> {
        let words = list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        words.map(str::to_owned).collect()
    };
    let mut verbs = BTreeMap::<_, Vec<String>>::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        let names = words(&rule["resourceNames"]).join(",");
        let only = if names.is_empty() {
            names
        } else {
            format!(" {names}")
        };
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                verbs
                    .entry(format!("{group}/{resource}{only}"))
                    .or_default()
                    .extend(words(&rule["verbs"]));
            }
        }
    }
    verbs
}

fn wanted(rows: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    rows.iter()
        .map(|(resource, verbs)| ((*resource).to_owned(), words(verbs)))
        .collect()
}

const CLUSTER: [(&str, &str); 3] = [
    ("/namespaces", "get list watch"),
    ("authentication.k8s.io/tokenreviews", "create"),
    (
        "admissionregistration.k8s.io/mutatingwebhookconfigurations peerup-operator",
        "get patch",
    ),
];

const KEEP: &str = "get list watch create patch delete";

const NAMESPACED: [(&str, &str); 18] = [
    ("peerup.dev/peernetworks", "get list watch patch"),
    ("peerup.dev/pairingcodes", "get list watch delete"),
    ("peerup.dev/peers", KEEP),
    ("peerup.dev/peernetworks/status", "update patch"),
    ("peerup.dev/pairingcodes/status", "update patch"),
    ("peerup.dev/peers/status", "update patch"),
    ("peerup.dev/peernetworks/finalizers", "update"),
    ("peerup.dev/pairingcodes/finalizers", "update"),
    ("/pods", "get list watch"),
    ("/pods/status", "patch"),
    ("events.k8s.io/events", "create patch"),
    ("/services", KEEP),
    ("/serviceaccounts", KEEP),
    ("/configmaps", KEEP),
    ("apps/statefulsets", KEEP),
    ("policy/poddisruptionbudgets", KEEP),
    ("networking.k8s.io/networkpolicies", KEEP),
    ("/secrets", "create patch delete"),
];

#[test]
fn the_operator_has_these_rights_and_no_other() -> Result<()> {
    let everywhere = objects(&[])?;
    let found = verbs(find(&everywhere, "ClusterRole", "peerup-operator")?);
    ensure!(
        found == wanted(&[&CLUSTER[..], &NAMESPACED].concat()),
        "{found:#?}"
    );
    let found = verbs(find(&everywhere, "Role", "peerup-operator")?);
    let own = [
        ("/secrets", "get list watch create update delete"),
        ("coordination.k8s.io/leases", "get create update"),
    ];
    ensure!(found == wanted(&own), "{found:#?}");

    let some = objects(&["--set", "watchNamespaces={shop}"])?;
    let found = verbs(find(&some, "ClusterRole", "peerup-operator")?);
    ensure!(found == wanted(&CLUSTER), "{found:#?}");
    let role = find(&some, "Role", "peerup-operator-networks")?;
    ensure!(role["metadata"]["namespace"] == "shop", "{role}");
    ensure!(verbs(role) == wanted(&NAMESPACED), "{role}");
    Ok(())
}

#[test]
fn people_get_no_secrets_by_it() -> Result<()> {
    let objects = objects(&[])?;
    for (role, rows) in [
        (
            "peerup-view",
            &[
                ("peerup.dev/peernetworks", "get list watch"),
                ("peerup.dev/pairingcodes", "get list watch"),
                ("peerup.dev/peers", "get list watch"),
            ][..],
        ),
        (
            "peerup-edit",
            &[
                (
                    "peerup.dev/pairingcodes",
                    "create update patch delete deletecollection",
                ),
                ("peerup.dev/peers", "update patch delete deletecollection"),
            ],
        ),
        (
            "peerup-admin",
            &[(
                "peerup.dev/peernetworks",
                "create update patch delete deletecollection",
            )],
        ),
    ] {
        let found = verbs(find(&objects, "ClusterRole", role)?);
        ensure!(found == wanted(rows), "{role}: {found:#?}");
    }
    Ok(())
}

/// The hooks of `helm test`, by kind.
fn hooks(arguments: &[&str]) -> Result<BTreeMap<String, Value>> {
    let all = objects(arguments)?.into_iter();
    let tests = all.filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "test");
    Ok(tests
        .map(|object| {
            (
                object["kind"].as_str().unwrap_or_default().to_owned(),
                object,
            )
        })
        .collect())
}

#[test]
fn helm_test_may_create_pods_in_one_namespace_and_nothing_else() -> Result<()> {
    let own = hooks(&[])?;
    ensure!(
        own.keys().eq([
            "Namespace",
            "PeerNetwork",
            "Pod",
            "Role",
            "RoleBinding",
            "ServiceAccount"
        ]),
        "{:?}",
        own.keys()
    );
    let namespace =
        |hooks: &BTreeMap<String, Value>| hooks["Role"]["metadata"]["namespace"].clone();
    ensure!(
        verbs(&own["Role"]) == wanted(&[("/pods", "create")]) && namespace(&own) == "peerup-test",
        "{}",
        own["Role"]
    );
    let some = hooks(&[
        "--set",
        "watchNamespaces={shop},test.namespace=shop,test.network=crew",
    ])?;
    ensure!(
        some.keys()
            .eq(["Pod", "Role", "RoleBinding", "ServiceAccount"])
            && namespace(&some) == "shop",
        "{some:?}"
    );
    let variables = environment(&some["Pod"]["spec"]["containers"][0]);
    ensure!(
        variables["PEERUP_CHECK_NAMESPACE"] == "shop"
            && variables["PEERUP_CHECK_NETWORK"] == "crew",
        "{variables:?}"
    );
    // the operator would not see a namespace of the test's own
    let none = hooks(&["--set", "watchNamespaces={shop}"])?;
    ensure!(none.is_empty(), "{none:?}");
    Ok(())
}

#[test]
fn the_operators_pod_is_restricted() -> Result<()> {
    let objects = objects(&[])?;
    let pod = &find(&objects, "Deployment", "peerup-operator")?["spec"]["template"]["spec"];
    let expected = json!({ "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" } });
    ensure!(
        pod["securityContext"] == expected,
        "{}",
        pod["securityContext"]
    );
    let expected = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } });
    for container in pod["containers"].as_array().into_iter().flatten() {
        ensure!(container["securityContext"] == expected, "{container}");
    }
    Ok(())
}
