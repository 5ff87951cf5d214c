//! What the peer in a pod can be asked: the sidecar's own local API, over `kubectl exec`.

use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use peerup_agent::local::Client;
use peerup_crds::names::sidecar::CONTAINER;

use super::cluster::{Cluster, refused};
use crate::args::{PingArgs, ShowArgs, TraceArgs, VerifyArgs};
use crate::failure::Failure;
use crate::{ping, status, verify};

/// The sidecar's command that carries one call.
const LOCAL: [&str; 2] = ["/peerup-sidecar", "local"];

/// A pod with a sidecar.
#[derive(Debug, Args)]
pub(super) struct PodArgs<T: Args> {
    /// The pod
    #[arg(value_name = "POD")]
    pod: String,
    #[command(flatten)]
    args: T,
}

/// Runs a full measurement in the pod and prints its evidence.
pub(super) async fn netcheck(cluster: &Cluster, args: PodArgs<ShowArgs>) -> Result<(), Failure> {
    status::netcheck(&client(cluster, &args.pod).await?, args.args.json).await
}

/// Prints the status that the pod's peer has of itself.
pub(super) async fn status(cluster: &Cluster, args: PodArgs<ShowArgs>) -> Result<(), Failure> {
    status::show_at(&client(cluster, &args.pod).await?, args.args.json).await
}

/// Pings another member from the pod.
pub(super) async fn ping(cluster: &Cluster, args: PodArgs<PingArgs>) -> Result<(), Failure> {
    ping::ping(&client(cluster, &args.pod).await?, &args.args).await
}

/// Shows the way from the pod to another member.
pub(super) async fn traceroute(cluster: &Cluster, args: PodArgs<TraceArgs>) -> Result<(), Failure> {
    ping::traceroute(&client(cluster, &args.pod).await?, &args.args).await
}

/// Compares with the person at another member, for the pod.
pub(super) async fn verify(cluster: &Cluster, args: PodArgs<VerifyArgs>) -> Result<(), Failure> {
    let PodArgs { pod, args } = args;
    let namespace = &cluster.namespace;
    let again = format!("kubectl peerup verify {pod} {} -n {namespace}", args.peer);
    verify::verify_at(&client(cluster, &pod).await?, &again, &args).await
}

/// A client whose calls kubectl carries, which has the person's configuration and rights.
async fn client(cluster: &Cluster, name: &str) -> Result<Client, Failure> {
    let step = format!("read the pod {name}");
    let pod = cluster
        .api::<Pod>()
        .get(name)
        .await
        .map_err(refused(&step))?;
    if !has_sidecar(&pod) {
        return Err(Failure::Usage(format!(
            "expected a pod with a container {CONTAINER}, {name} has none; was it made before its network or \
             label? `kubectl describe` of its owner says why"
        )));
    }
    Ok(Client::through(command(&cluster.flags, name)))
}

fn has_sidecar(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let all = spec.init_containers.iter().flatten();
    all.chain(&spec.containers)
        .any(|container| container.name == CONTAINER)
}

fn command(flags: &[String], pod: &str) -> Vec<String> {
    let exec = ["exec", "--stdin", pod, "--container", CONTAINER, "--"];
    let words = exec.into_iter().chain(LOCAL).map(str::to_owned);
    std::iter::once("kubectl".to_owned())
        .chain(flags.iter().cloned())
        .chain(words)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kubectl_gets_the_persons_flags_and_nothing_of_a_shell() {
        let flags = ["--namespace", "shop"].map(str::to_owned);
        assert_eq!(
            command(&flags, "web-0").join(" "),
            "kubectl --namespace shop exec --stdin web-0 --container peerup -- /peerup-sidecar local"
        );
    }

    #[test]
    fn sidecars_of_both_kinds_are_found() {
        let pod = |place: &str, name: &str| -> Pod {
            let mut spec = json!({ "containers": [{ "name": "app" }] });
            spec[place] = json!([{ "name": name }]);
            serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap()
        };
        assert!(has_sidecar(&pod("initContainers", "peerup")));
        assert!(has_sidecar(&pod("containers", "peerup")));
        assert!(!has_sidecar(&pod("containers", "app")));
        assert!(!has_sidecar(&Pod::default()));
    }
}
