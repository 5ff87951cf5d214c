//! `peerup-operator`: see the library of the same name.

use clap::Parser as _;
use peerup_operator::config::Cli;

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    println!("{:?}", cli.config);
    Ok(())
}
