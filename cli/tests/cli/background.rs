//! A peer in the background, from joining to leaving.

use std::fs;

use peerup_protocol::code::Code;
use peerup_protocol::id::NetworkId;
use rustix::process::Signal;

use crate::relay::{FakeRelay, Network};
use crate::seat::{Seat, is_alive, run, signal};
use crate::wait::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn join_tells_the_story_and_leaves_a_peer_running() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let seat = Seat::new();
    let code = network.code(0).to_text();
    let mut join = seat.command(&["join", "--name", "laptop"]);
    join.env("PEERUP_CODE", code.expose());
    let story = run(join, "").await.ok().out;
    assert!(story.contains("joined my-crew as laptop\n"), "{story}");
    let status = seat.call(&["status", "--json"]).await.ok().json();
    assert_eq!(status["phase"], "Joined", "{status}");
    assert_eq!(status["running"], true);
    let process = seat.process().await;
    assert!(story.contains(&format!("as process {process},")), "{story}");
    assert!(
        seat.call(&["peers"])
            .await
            .ok()
            .out
            .contains("no other members")
    );

    // Nothing ties it to this process, and the code is nowhere.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, process.to_string(), "{stat}");
    let secret = &code.expose()[..40];
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{process}/{file}")).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(
            !text.contains(secret) && !text.contains("PEERUP_CODE"),
            "{file}: {text}"
        );
    }
    for file in ["membership.json", "status.json", "daemon.log"] {
        let text = fs::read_to_string(seat.dir().join(file)).unwrap();
        assert!(!text.contains(secret), "{file}: {text}");
    }
    let modes = [
        "",
        "run",
        "daemon.log",
        "identity.key",
        "membership.json",
        "run/api.sock",
    ];
    let modes = modes.map(|name| seat.mode(name));
    assert_eq!(modes, [0o700, 0o700, 0o600, 0o600, 0o600, 0o600]);

    seat.call(&["stop"]).await.ok();
    // It has given up its directory, and is about to end.
    until("its end", async || !is_alive(process)).await;
    let gone = seat.call(&["status"]).await;
    gone.failed(8, "no peer runs on");
    assert!(
        gone.out.contains("not running") && gone.out.contains("laptop"),
        "{gone:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_peer_on_the_same_directory_is_refused() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let seat = Seat::joined(&network, 0, "laptop").await;
    let process = seat.process().await;
    let code = network.code(1).to_text();
    for arguments in [
        &["start"][..],
        &["daemon"],
        &["join"],
        &["join", "--foreground"],
    ] {
        seat.call(arguments).await.failed(11, "a peer runs on");
    }
    seat.call(&["join", code.expose()])
        .await
        .failed(11, "a peer runs on");
    assert_eq!(seat.process().await, process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_peer_comes_back_as_the_same_and_leaves_nothing_when_it_leaves() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let seat = Seat::joined(&network, 0, "laptop").await;
    let first = seat.call(&["status", "--json"]).await.ok().json();
    seat.call(&["stop"]).await.ok();
    // A log that is full is turned, whatever is written into it.
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    fs::write(seat.dir().join("daemon.log"), line.repeat(1024)).unwrap();
    let story = seat.call(&["start"]).await.ok();
    let size = |name| fs::metadata(seat.dir().join(name)).unwrap().len();
    assert_eq!(size("daemon.log.1"), 1024 * 1024);
    assert!(size("daemon.log") < 64 * 1024);
    assert!(
        story.err.contains("joining my-crew again as laptop"),
        "{story:?}"
    );
    assert!(story.out.contains("joined my-crew as laptop"), "{story:?}");
    let second = seat.call(&["status", "--json"]).await.ok().json();
    assert_eq!(first["peerID"], second["peerID"]);
    assert_ne!(first["processId"], second["processId"]);

    seat.call(&["leave"]).await.failed(2, "expected --yes");
    let process = seat.process().await;
    let left = seat.call(&["leave", "--yes"]).await.ok().out;
    assert!(left.contains("left my-crew as laptop"), "{left}");
    // It has given up its directory, and is about to end.
    until("its end", async || !is_alive(process)).await;
    assert_eq!(seat.files(), ["lock"]);
    seat.call(&["start"]).await.failed(2, "holds no membership");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_it_starts_again() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let seat = Seat::joined(&network, 0, "laptop").await;
    let process = seat.process().await;
    signal(process, Signal::KILL);
    let gone = async || seat.call(&["status"]).await.code == Some(8);
    until("the process is gone", gone).await;
    assert!(seat.dir().join("run/api.sock").exists());
    let gone = seat.call(&["status"]).await;
    gone.failed(8, "`peerup start` brings a stored one back");
    assert!(
        gone.out.contains(&format!("process {process} is gone")),
        "{gone:?}"
    );
    seat.call(&["start"]).await.ok();
    assert_ne!(seat.process().await, process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_is_refused_leaves_no_peer_running() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let _first = Seat::joined(&network, 0, "laptop").await;
    let thief = Seat::new();
    let code = network.code(0).to_text();
    thief
        .call(&["join", code.expose(), "--name", "thief"])
        .await
        .failed(6, "pairing failed");
    thief.call(&["status"]).await.failed(8, "no peer runs on");
    assert!(!thief.dir().join("membership.json").exists());
}

/// The relay is there, and speaks for another network.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_another_network_finds_no_relay() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let code = Code {
        net: NetworkId([9; 16]),
        ..network.code(0)
    };
    Seat::new()
        .call(&["join", code.to_text().expose(), "--name", "laptop"])
        .await
        .failed(5, "no relay of this network answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_ends_at_once_says_why() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let seat = Seat::joined(&network, 0, "laptop").await;
    seat.call(&["stop"]).await.ok();
    // In the way of the socket's directory, which only the peer in the background makes.
    fs::remove_dir(seat.dir().join("run")).unwrap();
    fs::create_dir(seat.dir().join("run")).unwrap();
    seat.chmod("run", 0o755);
    let said = seat.call(&["start"]).await;
    said.failed(7, "has mode 0755");
    assert!(
        said.err.contains("the peer in the background ended"),
        "{said:?}"
    );
}
