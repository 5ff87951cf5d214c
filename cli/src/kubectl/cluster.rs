//! The cluster that is meant, and its answers in words.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource};

use crate::failure::Failure;

/// Which cluster and namespace; kubectl's own configuration if not given.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The namespace [default: that of the kubeconfig's context]
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// A cluster that can be asked.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// What kubectl has to be told to mean the same.
    pub(super) flags: Vec<String>,
}

impl Target {
    /// A client, which has not asked anything yet.
    pub(super) async fn connect(self) -> Result<Cluster, Failure> {
        let mut flags = Vec::new();
        if let Some(context) = &self.context {
            flags.extend(["--context".to_owned(), context.clone()]);
        }
        if let Some(file) = &self.kubeconfig {
            flags.extend(["--kubeconfig".to_owned(), file.display().to_string()]);
        }
        let options = KubeConfigOptions {
            context: self.context,
            ..KubeConfigOptions::default()
        };
        let unusable = |error: &dyn Error| {
            Failure::Usage(format!(
                "expected a kubeconfig that names a cluster: {}",
                chain(error)
            ))
        };
        let config = match (self.kubeconfig, options.context.is_some()) {
            (Some(path), _) => {
                let read = Kubeconfig::read_from(path).map_err(|error| unusable(&error))?;
                Config::from_custom_kubeconfig(read, &options)
                    .await
                    .map_err(|error| unusable(&error))?
            }
            (None, true) => Config::from_kubeconfig(&options)
                .await
                .map_err(|error| unusable(&error))?,
            (None, false) => Config::infer().await.map_err(|error| unusable(&error))?,
        };
        let namespace = self
            .namespace
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| unusable(&error))?;
        flags.extend(["--namespace".to_owned(), namespace.clone()]);
        Ok(Cluster {
            client,
            namespace,
            flags,
        })
    }
}

impl Cluster {
    /// Objects of the namespace.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// For `map_err`: what could not be done, and what the API server said.
pub(super) fn refused(step: &str) -> impl FnOnce(kube::Error) -> Failure + '_ {
    move |error| Failure::Unexpected(format!("{step}: {}", explain(&error)))
}

fn explain(error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else {
        return chain(error);
    };
    let unknown = status.code == 404
        && status
            .message
            .contains("could not find the requested resource");
    if unknown {
        return "the cluster does not know this kind; install Peerup's chart".to_owned();
    }
    status.message.clone()
}

/// An error and its causes, separated by colons.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}
