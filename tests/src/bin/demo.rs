//! `make demo`: tells the story of the README on the cluster that KUBECONFIG names, and
//! leaves it running. Called by `hack/demo`, again and again if one likes: codes and
//! laptop are made anew, everything else is brought up to date.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use peerup_crds::Peer;
use peerup_tests::programs;
use peerup_tests::story::cluster::Cluster;
use peerup_tests::story::laptop::Laptop;
use peerup_tests::story::shell::{Show, quietly};
use peerup_tests::story::{CODES, HOME, NETWORK, OPERATOR, SHOP, WEB, facts};
use peerup_tests::wait::patiently;

const TABLES: &str = "kubectl get pnet,pcode,peers -A";

fn main() -> ExitCode {
    let told = tokio::runtime::Runtime::new()
        .context("start tokio")
        .and_then(|runtime| runtime.block_on(tell()));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            eprintln!(
                "demo: the cluster is still there for a look: {TABLES}; kubectl get events -A"
            );
            ExitCode::FAILURE
        }
    }
}

async fn tell() -> Result<()> {
    let directory = std::env::var_os("PEERUP_DEMO_DIRECTORY")
        .map(PathBuf::from)
        .context("PEERUP_DEMO_DIRECTORY is not set: run hack/demo")?;
    let cluster = Cluster::connect(Show::All).await?;
    chapter("The operator comes with the chart");
    cluster.install("upgrade --install", "")?;
    forget_laptop(&directory)?;
    chapter("A namespace, a network, codes for three people, three pods");
    cluster.apply_examples().await?;
    restart(&cluster)?;
    cluster
        .network_ready(NETWORK, Duration::from_secs(120))
        .await?;
    graded(&cluster).await?;
    pods(&cluster).await?;
    laptop(&cluster, &directory).await?;
    chapter("All of it");
    cluster.shell.run(TABLES)?.ok()?;
    next(&directory)
}

fn chapter(title: &str) {
    println!("\n=== {title}");
}

/// A laptop of a run before: its process, its Peer, the codes, its state.
fn forget_laptop(directory: &Path) -> Result<()> {
    let state = directory.join("laptop");
    if !state.exists() {
        return Ok(());
    }
    chapter("What was here before: laptop and codes are made anew");
    quietly(&format!("hack/cluster laptop-off {}", directory.display()))?.ok()?;
    quietly(&format!(
        "kubectl delete peer {NETWORK}.laptop -n {SHOP} --ignore-not-found"
    ))?
    .ok()?;
    quietly(&format!(
        "kubectl delete pcode {CODES} -n {SHOP} --ignore-not-found"
    ))?
    .ok()?;
    fs::remove_dir_all(state)?;
    Ok(())
}

/// Programs that were built anew under the same name come with a restart.
fn restart(cluster: &Cluster) -> Result<()> {
    if std::env::var_os("PEERUP_DEMO_RESTART").is_none() {
        return Ok(());
    }
    cluster
        .kubectl(&format!("rollout restart deployment/{OPERATOR} -n {HOME}"))?
        .ok()?;
    cluster
        .kubectl(&format!(
            "rollout status deployment/{OPERATOR} -n {HOME} --timeout=120s"
        ))?
        .ok()?;
    cluster
        .kubectl(&format!(
            "rollout restart statefulset/{NETWORK}-relay deployment/{WEB} -n {SHOP}"
        ))?
        .ok()?;
    cluster
        .kubectl(&format!(
            "rollout status deployment/{WEB} -n {SHOP} --timeout=180s"
        ))?
        .ok()?;
    Ok(())
}

async fn graded(cluster: &Cluster) -> Result<()> {
    let limit = Duration::from_secs(180);
    patiently("three pods to join and to be graded", limit, async || {
        let pods = cluster.web_pods().await?;
        let peers = cluster.list::<Peer>(SHOP).await?;
        facts::all_joined(&pods, &peers, 3)?;
        for pod in &pods {
            facts::pod_condition(pod, "peerup.dev/Reachable")?;
            ensure!(
                facts::peer_of(pod, &peers)?
                    .status
                    .as_ref()
                    .is_some_and(|status| status.grade.is_some())
            );
        }
        Ok(())
    })
    .await
}

async fn pods(cluster: &Cluster) -> Result<()> {
    chapter("Three pods on two nodes have joined, each vouched for by the API server, and graded");
    let column = |name: &str, part: &str| {
        format!(
            "{}-{}:.status.conditions[?(@.type==\"peerup.dev/{name}\")].{part}",
            name.to_uppercase(),
            part.to_uppercase()
        )
    };
    let columns = [
        "NAME:.metadata.name".to_owned(),
        "NODE:.spec.nodeName".to_owned(),
        column("Joined", "status"),
        column("Verified", "status"),
        column("Verified", "reason"),
        column("Reachable", "status"),
        column("Reachable", "reason"),
    ];
    cluster
        .kubectl(&format!(
            "get pods -n {SHOP} -l app={WEB} -o custom-columns='{}'",
            columns.join(",")
        ))?
        .ok()?;
    cluster.kubectl(&format!(
        "get peers -n {SHOP} -o custom-columns='NAME:.metadata.name,GRADE:.status.grade,REASON:.status.gradeReason,EVIDENCE:.status.evidence'"
    ))?.ok()?;
    let pods = cluster.web_pods().await?;
    let pod = pods.first().context("no pod")?.name_any();
    cluster.kubectl(&format!(
        "get --raw /api/v1/namespaces/{SHOP}/pods/{pod}:9465/proxy/metrics | grep peerup_reachability_grade"
    ))?.ok()?;
    Ok(())
}

async fn laptop(cluster: &Cluster, directory: &Path) -> Result<()> {
    chapter("A laptop outside of the cluster joins with the first of three codes");
    let codes = cluster.codes(SHOP, CODES, Duration::from_secs(60)).await?;
    let code = codes.get("code-0").context("there is no code-0")?;
    keys(cluster)?;
    let mut laptop = Laptop::join(&directory.join("laptop"), code, "laptop")?;
    println!("{}", laptop.joined(Duration::from_secs(90)).await?);
    patiently("the used code to go", Duration::from_secs(60), async || {
        let left = cluster.secret(SHOP, CODES).await?;
        ensure!(!left.contains_key("code-0"), "it is there");
        Ok(())
    })
    .await?;
    patiently("the laptop's grade", Duration::from_secs(60), async || {
        let peer = cluster
            .get::<Peer>(SHOP, &format!("{NETWORK}.laptop"))
            .await?;
        facts::peer_condition(&peer, "Reachable", "True").map(drop)
    })
    .await?;
    chapter("Its code is gone from the Secret");
    keys(cluster)?;
    cluster
        .kubectl(&format!(
            "get pcode {CODES} -n {SHOP} -o jsonpath='remaining: {{.status.remaining}}{{\"\\n\"}}'"
        ))?
        .ok()?;
    chapter("The same code from another machine");
    let mut thief = Laptop::join(&directory.join("thief"), code, "laptop")?;
    let (exit, said) = thief.ended(Duration::from_secs(60)).await?;
    println!("{said}exit code {exit}");
    ensure!(exit == 6, "the code should have been refused");
    fs::remove_dir_all(directory.join("thief"))?;
    fs::write(directory.join("laptop.pid"), laptop.leave().to_string())?;
    Ok(())
}

fn keys(cluster: &Cluster) -> Result<()> {
    let template = "{{range $k, $v := .data}}{{$k}} {{end}}{{\"\\n\"}}";
    cluster
        .kubectl(&format!(
            "get secret {CODES} -n {SHOP} -o go-template='{template}'"
        ))?
        .ok()
        .map(drop)
}

fn next(directory: &Path) -> Result<()> {
    let peerup = programs::path("peerup")?.display();
    let state = directory.join("laptop");
    let state = state.display();
    chapter("Next");
    println!(
        r#"  eval "$(hack/cluster env peerup-demo)"            # kubectl, helm and this cluster
  kubectl get pnet,pcode,peers -A -w
  kubectl scale deployment/{WEB} -n {SHOP} --replicas=5
  kubectl delete peer {NETWORK}.laptop -n {SHOP}           # expels the laptop
  {peerup} status --state-dir {state}
  kubectl get secret {CODES} -n {SHOP} -o go-template='{{{{range $k, $v := .data}}}}{{{{$k}}}}: {{{{$v | base64decode}}}}{{{{"\n"}}}}{{{{end}}}}'
  {peerup} join - --name desktop --state-dir /tmp/desktop    # paste one of the codes, Enter, Ctrl-D
  make demo                                         # once more; make clean removes it"#
    );
    Ok(())
}
