//! Writes what is generated from the custom resources. Run it at the top of the repository.

use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let top = PathBuf::from(env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    for file in peerup_crds::files()? {
        fs::write(top.join(&file.path), file.text)?;
        println!("{}", file.path);
    }
    Ok(())
}
