//! The container and the volumes that a pod is given, as JSON.

use peerup_crds::{ContainerMode, Hold, LogLevel, Resources, names};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Where Kubernetes puts the application's token; covered in our container.
pub(super) const SERVICE_ACCOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const RUN_AS_USER: i64 = 65532;
/// The highest user id that Kubernetes takes.
pub(super) const USER_MAX: i64 = i32::MAX as i64;

/// Everything that one pod's sidecar depends on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sidecar {
    /// Namespace of the network.
    pub(super) network_namespace: String,
    /// Name of the network.
    pub(super) network: String,
    /// UID of the network's PeerNetwork.
    pub(super) network_uid: String,
    /// Address of the operator's API.
    pub(super) operator_url: String,
    /// Certificates that the operator's may be signed by, PEM.
    pub(super) operator_ca: String,
    /// Image of the sidecar.
    pub(super) image: String,
    /// `imagePullPolicy`.
    pub(super) image_pull_policy: &'static str,
    /// How much it logs.
    pub(super) log_level: LogLevel,
    /// Where it stands.
    pub(super) mode: ContainerMode,
    /// What waits for it.
    pub(super) hold: Hold,
    /// Whether the pod is ready only while it is a member.
    pub(super) readiness_gate: bool,
    /// User it runs as; `None` is the images' own.
    pub(super) run_as_user: Option<i64>,
    /// Services that the pod offers, as its annotation lists them.
    pub(super) expose: Option<String>,
    /// Local ports that lead to services of others, as its annotation lists them.
    pub(super) forward: Option<String>,
    /// Requests and limits.
    pub(super) resources: Resources,
}

impl Sidecar {
    /// The whole container.
    pub(super) fn container(&self) -> Value {
        let mut container = json!({
            "name": names::sidecar::CONTAINER,
            "image": self.image,
            "imagePullPolicy": self.image_pull_policy,
            "env": self.env(),
            "ports": [{"name": names::sidecar::METRICS_PORT, "containerPort": names::ports::HTTP, "protocol": "TCP"}],
            "resources": self.resources,
            "securityContext": self.security_context(),
            "livenessProbe": probe("/livez", 10, 3),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": volume_mounts(),
        });
        match self.mode {
            ContainerMode::Native => container["restartPolicy"] = json!("Always"),
            ContainerMode::Container => {}
        }
        match self.hold {
            Hold::None => {}
            Hold::Started => container["startupProbe"] = probe("/startupz", 1, 120),
            Hold::Joined => container["startupProbe"] = probe("/startupz", 1, 600),
        }
        if self.readiness_gate {
            container["readinessProbe"] = probe("/readyz", 5, 1);
        }
        container
    }

    /// The volumes of [`Sidecar::container`].
    pub(super) fn volumes(&self) -> Vec<Value> {
        let token = json!({
            "audience": names::audience(&self.network_namespace, &self.network),
            "expirationSeconds": 3600,
            "path": "token",
        });
        vec![
            json!({"name": names::sidecar::STATE_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}),
            json!({"name": names::sidecar::TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}),
            json!({"name": names::sidecar::CA_VOLUME, "configMap": {
                "name": names::ca_config_map(&self.network_uid),
                "optional": true,
                "items": [{"key": names::secrets::CA_BUNDLE_KEY, "path": "ca.crt"}],
            }}),
            json!({"name": names::sidecar::NO_TOKEN_VOLUME, "emptyDir": {}}),
        ]
    }

    /// 16 hex digits that change when a pod made now would look different; the certificates do
    /// not count, since a running sidecar follows them by itself.
    pub(super) fn template_hash(&self) -> String {
        let unsigned = Self {
            operator_ca: String::new(),
            ..self.clone()
        };
        let text =
            json!({"container": unsigned.container(), "volumes": unsigned.volumes()}).to_string();
        Sha256::digest(text.as_bytes())[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn env(&self) -> Value {
        let network = format!("{}/{}", self.network_namespace, self.network);
        let pairs = [
            ("PEERUP_NETWORK", network.as_str()),
            ("PEERUP_OPERATOR_URL", &self.operator_url),
            ("PEERUP_OPERATOR_CA", &self.operator_ca),
            ("PEERUP_OPERATOR_CA_FILE", "/var/run/peerup/ca/ca.crt"),
            ("PEERUP_TOKEN_FILE", "/var/run/peerup/token/token"),
            ("PEERUP_STATE_DIR", "/var/run/peerup/state"),
            ("PEERUP_LISTEN_PORT", "4001"),
            ("PEERUP_HTTP_LISTEN", "0.0.0.0:9465"),
            ("PEERUP_LOG", log_filter(self.log_level)),
            ("PEERUP_HOLD", startup(self.hold)),
        ];
        let wishes = [
            ("PEERUP_EXPOSE", self.expose.as_deref()),
            ("PEERUP_FORWARD", self.forward.as_deref()),
        ];
        let wishes = wishes
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        pairs
            .into_iter()
            .chain(wishes)
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect()
    }

    /// What Pod Security `restricted` asks for, whatever the pod itself says.
    fn security_context(&self) -> Value {
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": self.run_as_user.unwrap_or(RUN_AS_USER),
            "seccompProfile": {"type": "RuntimeDefault"},
        })
    }
}

/// What the sidecar's `/startupz` waits for; it is asked only where something is held.
fn startup(hold: Hold) -> &'static str {
    match hold {
        Hold::None | Hold::Started => "started",
        Hold::Joined => "joined",
    }
}

fn log_filter(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

fn volume_mounts() -> Value {
    json!([
        {"name": names::sidecar::STATE_VOLUME, "mountPath": "/var/run/peerup/state"},
        {"name": names::sidecar::TOKEN_VOLUME, "mountPath": "/var/run/peerup/token", "readOnly": true},
        {"name": names::sidecar::CA_VOLUME, "mountPath": "/var/run/peerup/ca", "readOnly": true},
        {"name": names::sidecar::NO_TOKEN_VOLUME, "mountPath": SERVICE_ACCOUNT_PATH, "readOnly": true},
    ])
}

fn probe(path: &str, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": path, "port": names::ports::HTTP},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    })
}
