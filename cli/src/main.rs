//! `peerup`: the peer on a laptop.

use std::process::ExitCode;

fn main() -> ExitCode {
    peerup_cli::main()
}
