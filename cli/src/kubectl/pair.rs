//! `kubectl peerup pair create`: codes made here, of which the cluster learns hashes and public keys.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use peerup_crds::names::conditions;
use peerup_crds::{PairingCode, PeerNetwork};
use peerup_protocol::id::GroupId;
use peerup_protocol::secret::Secret;
use rand::{TryRng as _, rngs::SysRng};
use zeroize::Zeroizing;

use super::cluster::{Cluster, refused};
use crate::failure::Failure;
use crate::span::Span;

mod make;

use make::{Made, Wish};

/// How long the operator may take to say that the codes can be used.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// How long codes may be good, as the cluster takes it.
const TTL: Span = Span {
    range: 60..=604_800,
    range_words: "1m to 168h",
    such_as: "90s, 30m or 1h",
};

fn ttl(text: &str) -> Result<u32, String> {
    TTL.read(text)
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Name of the PairingCode
    name: String,
    /// The PeerNetwork [default: the only one of the namespace]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// How many codes; each admits one peer
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) count: u16,
    /// How long they can be used, such as 90s, 30m, 1h or 36h
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = ttl)]
    pub(super) ttl: u32,
    /// Failed attempts that close all unused codes [default: the network's number]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10))]
    max_failed_attempts: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Makes codes, has them taken, and only then prints them.
pub(super) async fn create(cluster: &Cluster, args: CreateArgs) -> Result<(), Failure> {
    let network = network(cluster, args.network.as_deref()).await?;
    let wish = Wish {
        name: args.name,
        count: args.count,
        ttl_seconds: args.ttl,
        max_failed_attempts: args.max_failed_attempts,
    };
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
    let made = make::codes(&wish, &network, now, group()?, secret)?;
    let object = cluster
        .api::<PairingCode>()
        .create(&PostParams::default(), &made.object)
        .await
        .map_err(refused("create the PairingCode"))?;
    if let Err(failure) = taken(cluster, &object).await {
        return Err(Failure::Unexpected(format!(
            "{failure}; {}",
            removed(cluster, &object).await
        )));
    }
    print(&made, cluster, args.json)
}

fn group() -> Result<GroupId, Failure> {
    secret::<8>().map(|bytes| GroupId(*bytes.expose()))
}

/// Bytes of the operating system's randomness.
fn secret<const N: usize>() -> Result<Secret<N>, Failure> {
    let mut bytes = Zeroizing::new([0; N]);
    SysRng
        .try_fill_bytes(bytes.as_mut())
        .map_err(|error| Failure::Unexpected(format!("no randomness: {error}")))?;
    Ok(Secret::new(*bytes))
}

/// The network that is named, else the only one.
async fn network(cluster: &Cluster, name: Option<&str>) -> Result<PeerNetwork, Failure> {
    let networks = cluster.api::<PeerNetwork>();
    if let Some(name) = name {
        return networks
            .get(name)
            .await
            .map_err(refused("read the PeerNetwork"));
    }
    let mut all = networks
        .list(&ListParams::default())
        .await
        .map_err(refused("list the PeerNetworks"))?
        .items;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Failure::Usage(format!(
            "namespace {} has no PeerNetwork; name another one with -n",
            cluster.namespace
        ))),
        (Some(_), false) => Err(Failure::Usage(format!(
            "namespace {} has several PeerNetworks; name one with --network",
            cluster.namespace
        ))),
    }
}

/// Waits until the operator has taken the codes.
async fn taken(cluster: &Cluster, object: &PairingCode) -> Result<(), Failure> {
    let codes = cluster.api::<PairingCode>();
    let name = object.name_any();
    let waiting = async {
        loop {
            let code = codes
                .get(&name)
                .await
                .map_err(refused("read the PairingCode"))?;
            if let Some(said) = said(&code) {
                return said;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let silent = |_| {
        let seconds = PATIENCE.as_secs();
        Failure::Unexpected(format!(
            "the operator has said nothing about PairingCode {name} in {seconds} s; see whether it runs"
        ))
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .map_err(silent)?
}

/// What the operator has said about the codes, if anything.
fn said(code: &PairingCode) -> Option<Result<(), Failure>> {
    let all = code.status.as_ref()?.conditions.iter();
    let ready = all.into_iter().find(|one| one.type_ == conditions::READY)?;
    Some(if ready.status == "True" {
        Ok(())
    } else {
        Err(Failure::Unexpected(format!(
            "the codes were refused ({}): {}",
            ready.reason, ready.message
        )))
    })
}

/// Takes back what nobody will use; answers what became of it.
async fn removed(cluster: &Cluster, object: &PairingCode) -> String {
    let exactly = DeleteParams::default().preconditions(Preconditions {
        uid: object.uid(),
        resource_version: None,
    });
    let name = object.name_any();
    let deleted = cluster.api::<PairingCode>().delete(&name, &exactly).await;
    match deleted {
        Ok(_) => format!("PairingCode {name} was deleted again"),
        Err(_) => format!("PairingCode {name} is of no use: delete it"),
    }
}

fn print(made: &Made, cluster: &Cluster, json: bool) -> Result<(), Failure> {
    if json {
        println!("{}", made.json(&cluster.namespace)?);
        return Ok(());
    }
    eprintln!("{}", made.heading());
    for (_, text) in &made.texts {
        println!("{}", text.expose());
    }
    Ok(())
}
