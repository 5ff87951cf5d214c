//! Whom the state directory and the socket are for.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::relay::{FakeRelay, Network};
use crate::seat::{Seat, run};

/// A user that owns nothing.
const NOBODY: u32 = 65534;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_not_its_owners_alone_is_refused() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let seat = Seat::joined(&network, 0, "laptop").await;
    seat.call(&["stop"]).await.ok();
    for (name, right, wrong) in [
        ("identity.key", 0o600, 0o640),
        ("membership.json", 0o600, 0o666),
        ("", 0o700, 0o770),
    ] {
        seat.chmod(name, wrong);
        for command in ["start", "daemon", "join"] {
            let said = seat.call(&[command]).await;
            said.failed(7, &format!("has mode {wrong:04o}"));
            assert!(said.err.contains("chmod"), "{said:?}");
        }
        seat.chmod(name, right);
    }
    seat.call(&["start"]).await.ok();
}

/// Needs root, to give the directory away.
#[tokio::test]
async fn another_users_directory_is_refused() {
    if !root("another_users_directory_is_refused") {
        return;
    }
    let seat = Seat::made();
    std::os::unix::fs::chown(seat.dir(), Some(NOBODY), None).unwrap();
    for command in ["start", "daemon", "join"] {
        seat.call(&[command])
            .await
            .failed(7, "belongs to user 65534");
    }
    assert_eq!(seat.files(), [""; 0]);
}

/// Needs root, to become somebody else: only the check of uids, in the agent, is tested without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_users_call_is_refused_even_if_the_socket_is_open_to_all() {
    if !root("another_users_call_is_refused_even_if_the_socket_is_open_to_all") {
        return;
    }
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let seat = Seat::joined(&network, 0, "laptop").await;
    let attacker = Attacker::new();
    // Closed as it is made.
    let said = attacker.call(&seat, "stop").await;
    said.failed(7, "ermission denied");
    // Open, as somebody may have made it by mistake.
    for (name, mode) in [("", 0o755), ("run", 0o755), ("run/api.sock", 0o777)] {
        seat.chmod(name, mode);
    }
    for command in ["status", "stop"] {
        let said = attacker.call(&seat, command).await;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(!said.out.contains("laptop"), "{said:?}");
    }
    assert_eq!(
        seat.call(&["status", "--json"]).await.ok().json()["phase"],
        "Joined"
    );
    let log = fs::read_to_string(seat.dir().join("daemon.log")).unwrap();
    assert!(
        log.contains("another user's call is refused") && log.contains("65534"),
        "{log}"
    );
}

/// Whether this is root. If not it is said, past what the harness keeps to itself, so that the test counts as skipped.
fn root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        let line = format!("skipped permissions::{test}, it needs root\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
    is_root
}

/// The program where everybody may run it.
struct Attacker(PathBuf);

impl Attacker {
    fn new() -> Self {
        let program = std::env::temp_dir().join(format!("peerup-{:016x}", rand::random::<u64>()));
        // By another process: a copy that is still open for writing here, in what another thread starts, can't be run.
        let copied = std::process::Command::new("cp")
            .args([env!("CARGO_BIN_EXE_peerup").as_ref(), program.as_os_str()])
            .status();
        assert!(copied.unwrap().success());
        Self(program)
    }

    async fn call(&self, seat: &Seat, command: &str) -> crate::seat::Said {
        let mut call = Command::new(&self.0);
        call.env_clear()
            .env("PEERUP_STATE_DIR", seat.dir())
            .arg(command)
            .uid(NOBODY)
            .gid(NOBODY);
        run(call, "").await
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
