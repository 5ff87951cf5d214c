//! Drives one target of `peerup-fuzz-targets` with libFuzzer. Which one is in the
//! environment, because libFuzzer takes the arguments. `hack/fuzz` builds and runs it.
#![no_main]

use std::sync::OnceLock;

use peerup_fuzz_targets::{TARGETS, Target, target};

static CHOSEN: OnceLock<Target> = OnceLock::new();

/// The target that `PEERUP_FUZZ_TARGET` names.
fn chosen() -> Target {
    let name = std::env::var("PEERUP_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("PEERUP_FUZZ_TARGET must be one of: {}", names.join(" "));
        std::process::exit(2)
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    CHOSEN.get_or_init(chosen)(data);
});
