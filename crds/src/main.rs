//! Writes what is generated from the custom resources: `peerup-crds [ROOT]`, run by the Makefile.

use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    for definition in peerup_crds::definitions() {
        let path = root.join(format!("crds/yaml/{}.yaml", definition.spec.names.plural));
        fs::write(path, peerup_crds::yaml(&definition)?)?;
    }
    Ok(())
}
