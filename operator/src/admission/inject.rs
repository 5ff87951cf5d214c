//! What is to be done with a pod. Pure: the raw JSON of a pod, what is known of its namespace and of
//! the networks, and the operator's settings give an RFC 6902 patch or the reason for none.
//!
//! The pod is never read into a typed Pod and written back: that would lose fields that this program
//! does not know. Deciding again about a patched pod changes nothing, because the API server asks
//! again when another webhook has changed the pod.

use std::collections::BTreeMap;

use json_patch::{AddOperation, PatchOperation, ReplaceOperation, jsonptr::PointerBuf};
use kube::ResourceExt;
use peerup_crds::{
    ContainerMode, Hold, ImagePullPolicy, PeerNetwork, Switch,
    names::{annotations, labels, sidecar as names},
};
use serde_json::{Value, json};

use super::{
    merge,
    options::{self, Options},
    resources,
    select::{self, Home, Places, Reason, Subject},
    sidecar::{self, Sidecar},
};

/// What the operator's own configuration says about sidecars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Version of this program.
    pub version: String,
    /// Where pods may have one.
    pub places: Places,
    /// Address of the operator's API.
    pub operator_url: String,
    /// Image of the sidecar.
    pub image: String,
    /// `imagePullPolicy` of the sidecar, where the network says none.
    pub image_pull_policy: &'static str,
    /// Globs of the images that networks and pods may ask for.
    pub allowed_images: Vec<String>,
    /// Whether pods are told by annotations where to scrape the sidecar.
    pub scrape_annotations: bool,
}

/// What is to be done with the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Change it.
    Patch(Vec<PatchOperation>),
    /// Leave it as it is.
    Skip(Reason),
}

/// A decision, and what the pod's author should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is to be done.
    pub decision: Decision,
    /// Sentences for the author.
    pub warnings: Vec<String>,
}

/// Decides about one pod.
pub fn decide<N: AsRef<PeerNetwork>>(
    pod: &Value,
    home: &Home,
    networks: &[N],
    settings: &Settings,
    operator_ca: &str,
) -> Verdict {
    let subject = subject(pod);
    let network = match select::select(&subject, home, networks, &settings.places) {
        Ok(network) => network,
        Err(reason) => return skip(reason, Vec::new()),
    };
    let (options, mut warnings) = options::read(&subject.annotations, &settings.allowed_images);
    let declared = declared(pod);
    let mut sidecar = sidecar(
        network,
        &options,
        declared.as_ref(),
        settings,
        operator_ca,
        &mut warnings,
    );
    if let Some(pod_level) = pod_level(pod) {
        sidecar.resources = resources::within(pod_level, &sidecar.resources);
    }
    if sidecar.mode == ContainerMode::Container && is_of_a_job(pod) {
        warnings.push(
            "a plain container keeps its Job from ending; use container-mode native".to_owned(),
        );
    }
    match patch(pod, network, &sidecar, declared.as_ref(), settings) {
        None => skip(Reason::MalformedPod, warnings),
        Some(operations) if operations.is_empty() => skip(Reason::AlreadyInjected, warnings),
        Some(operations) => Verdict {
            decision: Decision::Patch(operations),
            warnings,
        },
    }
}

fn skip(reason: Reason, mut warnings: Vec<String>) -> Verdict {
    warnings.extend(
        reason
            .advice()
            .map(|advice| format!("no sidecar ({}): {advice}", reason.as_str())),
    );
    Verdict {
        decision: Decision::Skip(reason),
        warnings,
    }
}

fn is_of_a_job(pod: &Value) -> bool {
    pod["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|owner| owner["kind"] == "Job")
}

/// The resources that are given for the pod as a whole.
fn pod_level(pod: &Value) -> Option<&Value> {
    let resources = pod["spec"].get("resources")?;
    resources
        .as_object()
        .is_some_and(|fields| !fields.is_empty())
        .then_some(resources)
}

/// Hash by which a running pod is told from one that would be made now.
pub fn template_hash(network: &PeerNetwork, settings: &Settings) -> String {
    sidecar(
        network,
        &Options::default(),
        None,
        settings,
        "",
        &mut Vec::new(),
    )
    .template_hash()
}

/// What counts about a raw pod.
pub fn subject(pod: &Value) -> Subject {
    let texts = |map: &Value| -> BTreeMap<String, String> {
        let pairs = map.as_object().into_iter().flatten();
        pairs
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    };
    Subject {
        labels: texts(&pod["metadata"]["labels"]),
        annotations: texts(&pod["metadata"]["annotations"]),
        host_network: pod["spec"]["hostNetwork"] == true,
        windows: pod["spec"]["os"]["name"] == "windows",
    }
}

/// A container of our name that is in the pod already.
struct Declared {
    mode: ContainerMode,
    index: usize,
    container: Value,
}

impl Declared {
    fn list(mode: ContainerMode) -> &'static str {
        match mode {
            ContainerMode::Native => "initContainers",
            ContainerMode::Container => "containers",
        }
    }
}

fn declared(pod: &Value) -> Option<Declared> {
    [ContainerMode::Native, ContainerMode::Container]
        .into_iter()
        .find_map(|mode| {
            let list = pod["spec"][Declared::list(mode)].as_array()?;
            let index = list
                .iter()
                .position(|container| container["name"] == names::CONTAINER)?;
            Some(Declared {
                mode,
                index,
                container: list[index].clone(),
            })
        })
}

/// The sidecar of this pod: what the network says, with the pod's own wishes over it. A container
/// that is declared already stays where it is.
fn sidecar(
    network: &PeerNetwork,
    options: &Options,
    declared: Option<&Declared>,
    settings: &Settings,
    operator_ca: &str,
    warnings: &mut Vec<String>,
) -> Sidecar {
    let injection = &network.spec.injection;
    let mode = declared
        .map(|declared| declared.mode)
        .or(options.mode)
        .unwrap_or(injection.container_mode);
    let hold = options.hold.unwrap_or(injection.hold);
    if mode == ContainerMode::Container && options.hold.is_some_and(|hold| hold != Hold::None) {
        warnings.push(format!(
            "annotation {}: a plain container holds nothing; it needs container-mode native",
            annotations::HOLD
        ));
    }
    Sidecar {
        network_namespace: network.namespace().unwrap_or_default(),
        network: network.name_any(),
        network_uid: network.uid().unwrap_or_default(),
        operator_url: settings.operator_url.clone(),
        operator_ca: operator_ca.to_owned(),
        image: image(network, options, settings, warnings),
        image_pull_policy: injection
            .image_pull_policy
            .map_or(settings.image_pull_policy, pull_policy),
        log_level: options.log_level.unwrap_or(injection.log_level),
        mode,
        hold: match mode {
            ContainerMode::Native => hold,
            ContainerMode::Container => Hold::None,
        },
        readiness_gate: injection.readiness_gate == Switch::Enabled,
        run_as_user: run_as_user(injection.run_as_user, warnings),
        expose: options.expose.clone(),
        forward: options.forward.clone(),
        resources: resources::of(&injection.resources, &options.resources, warnings),
    }
}

/// A network that was stored before its definition had today's rules may name one that no pod can have.
fn run_as_user(wanted: Option<i64>, warnings: &mut Vec<String>) -> Option<i64> {
    let good = wanted.filter(|user| (1..=sidecar::USER_MAX).contains(user));
    if let (Some(bad), None) = (wanted, good) {
        warnings.push(format!(
            "injection.runAsUser {bad} of the PeerNetwork is left out: must be 1 to {}",
            sidecar::USER_MAX
        ));
    }
    good
}

fn pull_policy(policy: ImagePullPolicy) -> &'static str {
    match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    }
}

fn image(
    network: &PeerNetwork,
    options: &Options,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> String {
    let wanted = network.spec.injection.image.as_ref();
    if let Some(refused) =
        wanted.filter(|image| !options::is_allowed(image, &settings.allowed_images))
    {
        warnings.push(format!(
            "injection.image {} of the PeerNetwork is not among the operator's --allowed-images",
            options::clip(refused)
        ));
    }
    let allowed = wanted.filter(|image| options::is_allowed(image, &settings.allowed_images));
    options
        .image
        .as_ref()
        .or(allowed)
        .unwrap_or(&settings.image)
        .clone()
}

/// The operations, none where nothing has to change; `None` for a pod of impossible shape.
fn patch(
    pod: &Value,
    network: &PeerNetwork,
    sidecar: &Sidecar,
    declared: Option<&Declared>,
    settings: &Settings,
) -> Option<Vec<PatchOperation>> {
    if !(pod["metadata"].is_object() && pod["spec"].is_object()) {
        return None;
    }
    let mut operations = Vec::new();
    let status = json!({"version": settings.version, "template": template_hash(network, settings)})
        .to_string();
    let given = [
        (labels::INJECTED, "true"),
        (labels::NETWORK_UID, &sidecar.network_uid),
    ];
    set_texts(pod, "labels", &given, &mut operations)?;
    let mut given = vec![(annotations::STATUS, status.as_str())];
    if settings.scrape_annotations && !says_how_to_scrape(pod) {
        given.extend(SCRAPE);
    }
    set_texts(pod, "annotations", &given, &mut operations)?;
    let mut volumes = pod["spec"]["volumes"].clone();
    for volume in sidecar.volumes() {
        insert(&mut volumes, "volumes", true, volume, &mut operations)?;
    }
    let ours = sidecar.container();
    match declared {
        None => {
            let list = Declared::list(sidecar.mode);
            let at_end = sidecar.mode == ContainerMode::Container;
            insert(
                &mut pod["spec"][list].clone(),
                list,
                at_end,
                ours,
                &mut operations,
            )?;
        }
        Some(declared) => {
            let merged = merge::container(&declared.container, &ours);
            if merged != declared.container {
                let path = PointerBuf::from_tokens([
                    "spec",
                    Declared::list(declared.mode),
                    &declared.index.to_string(),
                ]);
                operations.push(PatchOperation::Replace(ReplaceOperation {
                    path,
                    value: merged,
                }));
            }
        }
    }
    Some(operations)
}

/// Where Prometheus servers that go by annotations find the sidecar's metrics.
const SCRAPE: [(&str, &str); 3] = [
    ("prometheus.io/scrape", "true"),
    ("prometheus.io/port", "9465"),
    ("prometheus.io/path", "/metrics"),
];

/// Whether the pod has an annotation of that kind already: it means its application, even by a part of them.
fn says_how_to_scrape(pod: &Value) -> bool {
    let there = &pod["metadata"]["annotations"];
    SCRAPE.iter().any(|(key, _)| there.get(*key).is_some())
}

/// Sets labels or annotations.
fn set_texts(
    pod: &Value,
    field: &str,
    pairs: &[(&str, &str)],
    operations: &mut Vec<PatchOperation>,
) -> Option<()> {
    match &pod["metadata"][field] {
        Value::Null => {
            let all = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), json!(value)))
                .collect();
            operations.push(add(&["metadata", field], Value::Object(all)));
        }
        Value::Object(there) => {
            for (key, value) in pairs
                .iter()
                .filter(|(key, value)| there.get(*key).is_none_or(|old| old != value))
            {
                operations.push(add(&["metadata", field, key], json!(value)));
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return None,
    }
    Some(())
}

/// Puts a named element into a list of the pod's spec, where no element has its name; `list` follows.
fn insert(
    list: &mut Value,
    field: &str,
    at_end: bool,
    element: Value,
    operations: &mut Vec<PatchOperation>,
) -> Option<()> {
    match list {
        Value::Null => {
            *list = json!([element]);
            operations.push(add(&["spec", field], list.clone()));
        }
        Value::Array(there) if there.iter().any(|other| other["name"] == element["name"]) => {}
        Value::Array(there) => {
            let (index, token) = if at_end { (there.len(), "-") } else { (0, "0") };
            there.insert(index, element.clone());
            operations.push(add(&["spec", field, token], element));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => return None,
    }
    Some(())
}

fn add(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation {
        path: PointerBuf::from_tokens(path.iter().copied()),
        value,
    })
}
