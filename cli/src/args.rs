//! The command line of `peerup`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use peerup_protocol::id::{PeerName, ServiceName};
use peerup_protocol::service::{Expose, Forward};

use crate::invite;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something unexpected; the message says what
  2  wrong usage
  3  that is no code: a typo, cut off, or of another version (nothing was sent)
  4  the code has expired (nothing was sent)
  5  no relay of this network answered, or the inviter did not
  6  pairing failed
  7  the state directory can't be used
  8  no peer runs on this state directory, or it does not answer
  9  the membership has ended: revoked, or expired and not renewed
 10  join, invite: stopped by a signal before it was done
 11  a peer runs on this state directory already
 12  no other member has this name
 13  the other peer was not reached, or did not answer
 14  verify: not verified, because somebody said no, or nobody answered
 15  the service or forward can't be had, or is not there
 16  invite: this peer or its network has no guests, or too many invites are open
 17  invite: nobody came in time, three attempts failed, or it was withdrawn";

const EXAMPLES: &str = "\
Examples:
  peerup join peerup1-aeati5ip… --name laptop
  pass show peerup/code | peerup join - --name laptop
  peerup status
  peerup ping home
  peerup verify home
  peerup forward 9000=http@web && curl http://127.0.0.1:9000
  peerup stop && peerup start
  peerup leave";

const JOIN_EXAMPLES: &str = "\
Examples:
  peerup join peerup1-aeati5ip… --name laptop
  pass show peerup/code | peerup join - --name laptop
  peerup join --code-file code.txt --state-dir /var/lib/peerup --foreground
  peerup join                        join again with the stored membership";

const STATUS_EXAMPLES: &str = "\
Examples:
  peerup status
  peerup status --refresh            measure reachability anew first
  peerup status --json | jq .phase";

const NETCHECK_EXAMPLES: &str = "\
Examples:
  peerup netcheck
  peerup netcheck --json | jq .evidence";

const PING_EXAMPLES: &str = "\
Examples:
  peerup ping home
  peerup ping home -c 1 --json | jq '.answers[0].path'";

const TRACE_EXAMPLES: &str = "\
Examples:
  peerup traceroute home";

const VERIFY_EXAMPLES: &str = "\
Examples:
  peerup verify home                 both people call each other and run this
  peerup verify home --digits        for people who are not online together
  peerup verify home --same-digits '12345 67890 …'";

const EXPOSE_EXAMPLES: &str = "\
Examples:
  peerup expose http=8080
  peerup expose http=8080 ssh=192.168.1.7:22
  peerup expose --remove ssh";

const FORWARD_EXAMPLES: &str = "\
Examples:
  peerup forward 9000=http@web       the service http of the peer web
  peerup forward 9000=http@shop/web  of any peer of a service account
  peerup forward --remove 9000";

const INVITE_EXAMPLES: &str = "\
Examples:
  peerup invite                      prints a code and waits for the guest
  peerup invite --ttl 2m --detach
  peerup invite --json --detach | jq -r .code
  peerup invite --remove laptop      sends the guest away for good";

const DAEMON_EXAMPLES: &str = "\
Examples:
  peerup daemon
  peerup daemon --print-unit > ~/.config/systemd/user/peerup.service
  systemctl --user enable --now peerup";

const COMPLETION_EXAMPLES: &str = "\
Examples:
  peerup completion bash > ~/.local/share/bash-completion/completions/peerup
  peerup completion zsh > ~/.zfunc/_peerup
  peerup completion fish > ~/.config/fish/completions/peerup.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  peerup man | man -l -
  peerup man --dir ~/.local/share/man/man1";

/// A peer of a private network that is declared in Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "peerup", version, about, max_term_width = 100,
    after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Cli {
    /// Where key, membership and services are kept; one directory is one peer
    /// [default: $XDG_DATA_HOME/peerup or ~/.local/share/peerup]
    #[arg(long, global = true, env = "PEERUP_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is logged, and how.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// What to log, such as `info` or `peerup_agent=debug`: to standard error, in the background to daemon.log in the
    /// state directory [default: info for a peer without terminal, else warn]
    #[arg(long = "log", global = true, env = "PEERUP_LOG", value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// How to log
    #[arg(
        long = "log-format",
        global = true,
        env = "PEERUP_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub(crate) format: LogFormat,
}

impl LogArgs {
    /// The same for another process.
    pub(crate) fn options(&self) -> Vec<String> {
        let format = match self.format {
            LogFormat::Text => "--log-format=text",
            LogFormat::Json => "--log-format=json",
        };
        let filter = self.filter.iter().map(|filter| format!("--log={filter}"));
        filter.chain([format.to_owned()]).collect()
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Join a network with a code, or a member of it as its guest, and stay in the background
    #[command(after_help = JOIN_EXAMPLES, after_long_help = format!("{JOIN_EXAMPLES}\n\n{EXIT_CODES}"))]
    Join(JoinArgs),
    /// Show this peer: who it is, how it can be reached, whom it knows
    #[command(after_help = STATUS_EXAMPLES, after_long_help = format!("{STATUS_EXAMPLES}\n\n{EXIT_CODES}"))]
    Status(StatusArgs),
    /// Measure anew how this peer can be reached, and show what the grade rests on
    #[command(after_help = NETCHECK_EXAMPLES, after_long_help = format!("{NETCHECK_EXAMPLES}\n\n{EXIT_CODES}"))]
    Netcheck(ShowArgs),
    /// List the other members of the network
    #[command(after_long_help = EXIT_CODES)]
    Peers(ShowArgs),
    /// Measure the time to another peer and back
    #[command(after_help = PING_EXAMPLES, after_long_help = format!("{PING_EXAMPLES}\n\n{EXIT_CODES}"))]
    Ping(PingArgs),
    /// Show what lies on the way to another peer
    #[command(after_help = TRACE_EXAMPLES, after_long_help = format!("{TRACE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Traceroute(TraceArgs),
    /// Compare with the person at another peer that nobody sits in between
    #[command(after_help = VERIFY_EXAMPLES, after_long_help = format!("{VERIFY_EXAMPLES}\n\n{EXIT_CODES}"))]
    Verify(VerifyArgs),
    /// Let somebody else in as guest of this peer, whom nobody else in the network meets
    #[command(after_help = INVITE_EXAMPLES, after_long_help = format!("{INVITE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Invite(InviteArgs),
    /// Offer services of this machine to the network, also after the next start
    #[command(after_help = EXPOSE_EXAMPLES, after_long_help = format!("{EXPOSE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Expose(ExposeArgs),
    /// Reach services of other peers on local ports, also after the next start
    #[command(after_help = FORWARD_EXAMPLES, after_long_help = format!("{FORWARD_EXAMPLES}\n\n{EXIT_CODES}"))]
    Forward(ForwardArgs),
    /// List what is exposed and forwarded
    #[command(after_long_help = EXIT_CODES)]
    Services(ShowArgs),
    /// Bring the peer of the stored membership back in the background
    #[command(after_long_help = EXIT_CODES)]
    Start,
    /// End the peer; `peerup start` brings it back
    #[command(after_long_help = EXIT_CODES)]
    Stop,
    /// Leave the network for good: end the peer, remove its key, its membership and its services
    #[command(after_long_help = EXIT_CODES)]
    Leave(LeaveArgs),
    /// Run the peer of the stored membership in the foreground, for service managers
    #[command(after_help = DAEMON_EXAMPLES, after_long_help = format!("{DAEMON_EXAMPLES}\n\n{EXIT_CODES}"))]
    Daemon(DaemonArgs),
    /// Print a script with which a shell completes `peerup`
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion(CompletionArgs),
    /// Print the manual page, or write the pages of all commands
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
    /// Codes and peers of the networks in a cluster; as `kubectl peerup` where this program is called kubectl-peerup
    #[command(after_long_help = EXIT_CODES)]
    Kubectl(crate::kubectl::KubectlArgs),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// The code (`peerup1-…`), or `-` to read it from standard input. Arguments are seen by other users of this
    /// machine: PEERUP_CODE, `-` and --code-file are not. Without a code the stored membership is used
    #[arg(value_name = "CODE", conflicts_with = "code_file")]
    pub(crate) code: Vec<String>,
    /// A file that holds the code
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
    /// The name to be known by, a DNS label; the network may add -2, -3 … [default: this machine's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Stay in the foreground, as containers want it: the peer ends with this process
    #[arg(long)]
    pub(crate) foreground: bool,
}

/// What commands that only show something have in common.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Measure anew first how this peer can be reached
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PingArgs {
    /// The other peer
    #[arg(value_name = "NAME")]
    pub(crate) peer: PeerName,
    /// How often, once a second
    #[arg(short, long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) count: u32,
    /// Print JSON, at the end
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The other peer
    #[arg(value_name = "NAME")]
    pub(crate) peer: PeerName,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The other peer
    #[arg(value_name = "NAME")]
    pub(crate) peer: PeerName,
    /// Say yes without asking. Only for programs that compare themselves: who does not look is not protected
    #[arg(long, conflicts_with = "no")]
    pub(crate) yes: bool,
    /// Say no without asking
    #[arg(long)]
    pub(crate) no: bool,
    /// Print sixty digits instead, the same at both peers whether or not they are online
    #[arg(long, conflicts_with_all = ["yes", "no", "same_digits"])]
    pub(crate) digits: bool,
    /// Compare with the sixty digits that the other person has told, `-` for standard input
    #[arg(long, value_name = "DIGITS", conflicts_with_all = ["yes", "no"])]
    pub(crate) same_digits: Option<String>,
    /// Print JSON, at the end
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// How long the invite waits for its guest, 10m at most
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = invite::ttl)]
    pub(crate) ttl: u32,
    /// Do not wait until the guest is there
    #[arg(long)]
    pub(crate) detach: bool,
    /// Send this guest away for good instead
    #[arg(long, value_name = "NAME", conflicts_with_all = ["ttl", "detach", "json"])]
    pub(crate) remove: Option<PeerName>,
    /// Print JSON: the invite, and at the end how it ended
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExposeArgs {
    /// The service's name in the network, and where its program listens
    #[arg(value_name = "NAME=[HOST:]PORT", required_unless_present = "remove")]
    pub(crate) services: Vec<Expose>,
    /// Offer this service no longer, and close its connections
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) remove: Vec<ServiceName>,
    /// Print the services as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ForwardArgs {
    /// The port on 127.0.0.1, and which service of whom it leads to
    #[arg(value_name = "PORT=SERVICE@NAME", required_unless_present = "remove")]
    pub(crate) forwards: Vec<Forward>,
    /// Forward this local port no longer, and close its connections
    #[arg(long, value_name = "PORT", num_args = 1..)]
    pub(crate) remove: Vec<u16>,
    /// Print the services as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LeaveArgs {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// Print a unit of systemd for this user instead, for this program and state directory
    #[arg(long)]
    pub(crate) print_unit: bool,
    /// Leave the terminal and log into the state directory; `peerup join` and `peerup start` start it so
    #[arg(long, hide = true, conflicts_with = "print_unit")]
    pub(crate) detached: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
