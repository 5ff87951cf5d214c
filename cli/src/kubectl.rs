//! `kubectl peerup …`: what a person who may use the cluster does with codes and peers. The only module of this
//! program that knows Kubernetes.

use std::{ffi::OsStr, path::Path};

use clap::{Args, Parser, Subcommand};

use crate::args::{PingArgs, ShowArgs, TraceArgs, VerifyArgs};
use crate::failure::Failure;

mod cluster;
mod codes;
mod pair;
mod peers;
mod pod;

use cluster::Target;

/// The name under which kubectl finds this program.
const PROGRAM: &str = "kubectl-peerup";

const EXAMPLES: &str = "\
Examples:
  kubectl peerup pair create laptops --network crew --count 3 --ttl 1h -n shop
  kubectl peerup pair create phone -n shop --json | jq -r '.codes[0].code'
  kubectl peerup codes colleagues -n shop
  kubectl peerup peers -A
  kubectl peerup netcheck web-0 -n shop
  kubectl peerup verify web-0 laptop -n shop";

/// Codes and peers of the networks in a cluster.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, bin_name = "kubectl peerup", version, about, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Plugin {
    #[command(flatten)]
    pub(crate) args: KubectlArgs,
}

/// Which cluster, and what to do there.
#[derive(Debug, Args)]
pub(crate) struct KubectlArgs {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Codes that are made on this machine
    #[command(subcommand)]
    Pair(Pair),
    /// Print the codes of a PairingCode that the operator made, as far as they can be used
    Codes(codes::CodesArgs),
    /// List the members of networks
    Peers(peers::PeersArgs),
    /// Show what the peer in a pod knows of itself and others
    Status(pod::PodArgs<ShowArgs>),
    /// Have the peer in a pod measure how it can be reached, and show what the grade rests on
    Netcheck(pod::PodArgs<ShowArgs>),
    /// Ping another member from a pod
    Ping(pod::PodArgs<PingArgs>),
    /// Show what lies on the way from a pod to another member
    Traceroute(pod::PodArgs<TraceArgs>),
    /// Compare with the person at another member, for the peer in a pod
    Verify(pod::PodArgs<VerifyArgs>),
}

#[derive(Debug, Subcommand)]
enum Pair {
    /// Make codes on this machine and print each of them once; the cluster learns only their hashes
    Create(pair::CreateArgs),
}

/// Whether the program was called by kubectl, or under the name by which kubectl calls it.
pub(crate) fn is_called(program: Option<&OsStr>) -> bool {
    let name = program.map(Path::new).and_then(Path::file_name);
    name == Some(OsStr::new(PROGRAM))
}

/// Does what was asked for, in a runtime of its own.
pub(crate) fn run(args: KubectlArgs) -> Result<(), Failure> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| Failure::Unexpected("another TLS provider is installed".to_owned()))?;
    tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Unexpected(format!("threads: {error}")))?
        .block_on(command(args))
}

async fn command(args: KubectlArgs) -> Result<(), Failure> {
    let cluster = args.target.connect().await?;
    match args.command {
        Command::Pair(Pair::Create(create)) => pair::create(&cluster, create).await,
        Command::Codes(codes) => codes::show(&cluster, codes).await,
        Command::Peers(peers) => peers::show(&cluster, peers).await,
        Command::Status(args) => pod::status(&cluster, args).await,
        Command::Netcheck(args) => pod::netcheck(&cluster, args).await,
        Command::Ping(args) => pod::ping(&cluster, args).await,
        Command::Traceroute(args) => pod::traceroute(&cluster, args).await,
        Command::Verify(args) => pod::verify(&cluster, args).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn is_consistent() {
        Plugin::command().debug_assert();
    }

    #[test]
    fn kubectl_finds_it_by_its_name_only() {
        for (program, expected) in [
            (Some("kubectl-peerup"), true),
            (Some("/usr/local/bin/kubectl-peerup"), true),
            (Some("/usr/bin/peerup"), false),
            (Some("kubectl-peerup-old"), false),
            (None, false),
        ] {
            assert_eq!(is_called(program.map(OsStr::new)), expected, "{program:?}");
        }
    }

    #[test]
    fn the_target_may_stand_anywhere() {
        for words in [
            "kubectl-peerup -n shop pair create laptops --network crew --count 3 --ttl 90m",
            "kubectl-peerup pair create laptops --network crew --count 3 --ttl 90m -n shop",
        ] {
            let plugin = Plugin::try_parse_from(words.split(' ')).unwrap();
            let Command::Pair(Pair::Create(create)) = plugin.args.command else {
                panic!("{words}")
            };
            assert_eq!(plugin.args.target.namespace.as_deref(), Some("shop"));
            assert_eq!((create.count, create.ttl), (3, 5400));
        }
    }

    #[test]
    fn a_code_may_be_good_for_a_minute_or_a_week() {
        for (time, seconds) in [("1m", 60), ("168h", 604_800)] {
            let all = format!("kubectl-peerup pair create laptops --ttl {time}");
            let plugin = Plugin::try_parse_from(all.split(' ')).unwrap();
            let Command::Pair(Pair::Create(create)) = plugin.args.command else {
                panic!("{all}")
            };
            assert_eq!(create.ttl, seconds);
        }
    }

    #[test]
    fn what_no_pairing_code_can_have_is_refused_at_once() {
        for words in [
            "--count 0",
            "--count 101",
            "--ttl 59s",
            "--ttl 168h1s",
            "--ttl soon",
            "--ttl -1h",
            "--max-failed-attempts 0",
            "--max-failed-attempts 11",
        ] {
            let all = format!("kubectl-peerup pair create laptops {words}");
            let parsed = Plugin::try_parse_from(all.split(' '));
            assert!(parsed.is_err(), "{words}");
        }
    }
}
