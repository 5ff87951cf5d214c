//! The command line of `peerup`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes:
  0  done (join: ended by a signal after it had joined)
  1  something unexpected; the message says what
  2  wrong usage
  3  that is no code: a typo, cut off, or of another version (nothing was sent)
  4  the code has expired (nothing was sent)
  5  no relay of this network answered
  6  pairing failed
  7  the state directory can't be used
  8  status: no peer runs on this state directory
  9  the membership has ended: revoked, or expired and not renewed
 10  join: stopped by a signal before it had joined";

const EXAMPLES: &str = "\
Examples:
  peerup join peerup1-aeati5ip… --name laptop
  pass show peerup/code | peerup join - --name laptop
  peerup join --code-file code.txt --state-dir /var/lib/peerup
  peerup join                        join again with the stored membership
  peerup status
  peerup status --json | jq .phase";

/// A peer of a private network that is declared in Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "peerup", version, about, max_term_width = 100,
    after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Cli {
    /// Where key, membership and status are kept; one directory is one peer
    /// [default: $XDG_DATA_HOME/peerup or ~/.local/share/peerup]
    #[arg(long, global = true, env = "PEERUP_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// What to log to standard error, such as `info` or `peerup_agent=debug`
    #[arg(
        long,
        global = true,
        env = "PEERUP_LOG",
        default_value = "warn",
        value_name = "FILTER"
    )]
    pub(crate) log: String,
    /// How to log
    #[arg(long, global = true, env = "PEERUP_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
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
    /// Join a network with a code and stay a member of it in the foreground
    #[command(after_help = EXIT_CODES)]
    Join(JoinArgs),
    /// Show the peer that `peerup join` runs
    #[command(after_help = EXIT_CODES)]
    Status(StatusArgs),
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
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print the status as JSON, as the sidecar's /status does
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_code_pasted_with_spaces_is_taken_whole() {
        let cli = Cli::try_parse_from(["peerup", "join", "peerup1-aa", "bb", "--name", "laptop"]);
        let Ok(Cli {
            command: Command::Join(args),
            ..
        }) = cli
        else {
            panic!("{cli:?}")
        };
        assert_eq!(args.code, ["peerup1-aa", "bb"]);
        assert_eq!(args.name.as_deref(), Some("laptop"));
    }

    #[test]
    fn every_help_has_the_exit_codes() {
        for command in ["join", "status"] {
            let mut cli = Cli::command();
            let help = cli
                .find_subcommand_mut(command)
                .unwrap()
                .render_help()
                .to_string();
            assert!(help.contains("6  pairing failed"), "{help}");
        }
        let help = Cli::command().render_long_help().to_string();
        assert!(
            help.contains("peerup join peerup1-") && help.contains("6  pairing failed"),
            "{help}"
        );
    }
}
