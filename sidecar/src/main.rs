//! `peerup-sidecar`: the peer in a pod.

use std::process::ExitCode;

fn main() -> ExitCode {
    peerup_sidecar::main()
}
