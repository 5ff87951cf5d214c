//! The light tier: a real etcd, kube-apiserver and kube-controller-manager as
//! processes on loopback (`hack/apiserver`), ready in about four seconds. There are
//! no nodes: pods are stored but never run, so a test writes their status itself.
//!
//! Tests of the API tier live in `tests/tests/api/*.rs`, modules of one test binary,
//! which shares one API server; each test works in a namespace of its own:
//!
//! ```ignore
//! #[tokio::test]
//! async fn a_pod_is_stored() -> anyhow::Result<()> {
//!     let client = Light::shared()?.client().await?; // one client per test
//!     let namespace = light::namespace(&client, "smoke").await?;
//!     …
//! }
//! ```
//!
//! `make test-api` runs them; by hand it is
//! `cargo test --profile ci -p peerup-tests --features api NAME`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use kube::Client;
use kube::api::{Api, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};

/// A running API server. Dropping it stops the processes and removes their data;
/// they also end by themselves when this process is gone.
#[derive(Debug)]
pub struct Light {
    directory: PathBuf,
}

impl Light {
    /// The API server that all tests of this test binary share.
    pub fn shared() -> Result<&'static Light> {
        static SHARED: OnceLock<Result<Light, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Light::start().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }

    /// Starts an API server of one's own, for tests that break it.
    pub fn start() -> Result<Light> {
        let output = Command::new(hack("apiserver"))
            .args(["up", &std::process::id().to_string()])
            .stderr(Stdio::inherit())
            .output()
            .context("start hack/apiserver")?;
        if !output.status.success() {
            bail!("hack/apiserver up: {}", output.status);
        }
        let directory = String::from_utf8(output.stdout).context("hack/apiserver's answer")?;
        Ok(Light {
            directory: PathBuf::from(directory.trim()),
        })
    }

    /// The path of an administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    /// The directory with certificates, logs (`kube-apiserver.log`) and process ids.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A client with an administrator's rights. A client belongs to the runtime that
    /// made it, so every test makes its own.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig()).await
    }
}

impl Drop for Light {
    fn drop(&mut self) {
        let stopped = Command::new(hack("apiserver"))
            .arg("down")
            .arg(&self.directory)
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("hack/apiserver down {} failed", self.directory.display());
        }
    }
}

/// A client for the cluster and user that the kubeconfig names.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    // a second call finds the provider installed: that is no error
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = kube::Config::from_custom_kubeconfig(
        Kubeconfig::read_from(kubeconfig)?,
        &KubeConfigOptions::default(),
    )
    .await?;
    Ok(Client::try_from(config)?)
}

/// Makes a namespace whose name starts with `prefix`, and answers its name.
pub async fn namespace(client: &Client, prefix: &str) -> Result<String> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace"));
    let mut namespace = DynamicObject::new("", &kind);
    namespace.metadata.name = None;
    namespace.metadata.generate_name = Some(format!("{prefix}-"));
    Api::<DynamicObject>::all_with(client.clone(), &kind)
        .create(&PostParams::default(), &namespace)
        .await?
        .metadata
        .name
        .context("the API server gave the namespace no name")
}

/// The path of a script of the test bed.
pub fn hack(script: &str) -> PathBuf {
    repository().join("hack").join(script)
}

/// The top of the repository.
pub fn repository() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}
