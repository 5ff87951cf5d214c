//! How pods get their sidecar, as a network's spec asks for it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Resources;

/// How pods get their sidecar.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Injection {
    /// `Disabled` refuses new sidecars, with reason InjectionDisabled.
    pub policy: Switch,
    /// Narrows what labels have opted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// `Native` sidecar (an init container that stays), or a plain `Container`.
    pub container_mode: ContainerMode,
    /// What the app's start waits for.
    pub hold: Hold,
    /// Whether the pod is ready only once it has joined.
    pub readiness_gate: Switch,
    /// Another image of the sidecar, as far as the operator allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the sidecar's image is pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// How much the sidecar logs.
    pub log_level: LogLevel,
    /// Resources of the sidecar.
    pub resources: Resources,
    /// User id of the sidecar, where the image's own is not allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647_i64))]
    pub run_as_user: Option<i64>,
}

impl Default for Injection {
    fn default() -> Self {
        Self {
            policy: Switch::Enabled,
            pod_selector: None,
            container_mode: ContainerMode::default(),
            hold: Hold::default(),
            readiness_gate: Switch::Disabled,
            image: None,
            image_pull_policy: None,
            log_level: LogLevel::default(),
            resources: Resources::modest("10m", "32Mi", "128Mi"),
            run_as_user: None,
        }
    }
}

/// On or off.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Switch {
    /// On.
    Enabled,
    /// Off.
    Disabled,
}

/// How the sidecar stands in the pod.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ContainerMode {
    /// An init container that stays: it starts before the app and ends after it.
    #[default]
    Native,
    /// A container beside the app's.
    Container,
}

/// What the app's start waits for.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Hold {
    /// Nothing.
    #[default]
    None,
    /// The sidecar's process.
    Started,
    /// The sidecar's membership.
    Joined,
}

/// When an image is pulled.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

/// How much a program logs.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Failures and what may become one.
    Warn,
    /// What an operator cares about.
    #[default]
    Info,
    /// What a developer cares about, addresses too.
    Debug,
    /// Everything.
    Trace,
}
