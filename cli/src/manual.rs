//! Shell completion and manual pages, made from the definition of the command line.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::failure::Failure;
use crate::out;

/// The script that a shell reads to complete `peerup`.
pub(crate) fn completion(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "peerup", &mut script);
    print(script)
}

/// Prints the page of `peerup`, or writes the pages of all commands into a directory.
pub(crate) fn pages(dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(|error| Failure::Unexpected(error.to_string()))?;
        return print(page);
    };
    fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .map_err(|error| Failure::Usage(format!("--dir {}: {error}", dir.display())))?;
    Ok(())
}

fn print(bytes: Vec<u8>) -> Result<(), Failure> {
    let text = String::from_utf8(bytes).map_err(|error| Failure::Unexpected(error.to_string()))?;
    out::text(&text)
}
