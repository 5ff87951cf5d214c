//! What the command line understands and explains.

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
    assert!(!args.foreground);
}

#[test]
fn every_long_help_of_a_command_that_may_fail_has_the_exit_codes() {
    let mut cli = Cli::command();
    let plain = ["completion", "man", "version", "help"];
    for command in cli.get_subcommands_mut() {
        let help = command.clone().render_long_help().to_string();
        let name = command.get_name();
        assert_eq!(
            help.contains("11  a peer runs on this state directory already"),
            !plain.contains(&name),
            "{name}: {help}"
        );
    }
    let help = cli.render_long_help().to_string();
    assert!(
        help.contains("peerup join peerup1-") && help.contains("6  pairing failed"),
        "{help}"
    );
}

#[test]
fn words_that_contradict_each_other_are_refused() {
    for words in [
        &["verify", "home", "--yes", "--no"][..],
        &["verify", "home", "--digits", "--yes"],
        &["verify", "home", "--same-digits", "1", "--yes"],
        &["expose"],
        &["forward"],
        &["forward", "0=http@web"],
        &["expose", "Http=80"],
        &["ping", "home", "-c", "0"],
        &["ping", ""],
        &["daemon", "--print-unit", "--detached"],
        &["join", "code", "--code-file", "file"],
    ] {
        let all = ["peerup"].iter().chain(words);
        assert!(Cli::try_parse_from(all).is_err(), "{words:?}");
    }
}

#[test]
fn a_peer_in_the_background_logs_as_it_was_asked_to() {
    let given = ["peerup", "start", "--log", "debug", "--log-format", "json"];
    let cli = Cli::try_parse_from(given).unwrap();
    assert_eq!(cli.log.options(), ["--log=debug", "--log-format=json"]);
    let cli = Cli::try_parse_from(["peerup", "start"]).unwrap();
    assert_eq!(cli.log.options(), ["--log-format=text"]);
}
