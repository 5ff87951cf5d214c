//! A peer in the foreground, as containers and service managers run it.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Stdio};

use rustix::process::Signal;

use crate::relay::{FakeRelay, Network};
use crate::seat::{Foreground, Seat, is_alive, signal};
use crate::wait::{in_time, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn join_stays_in_the_foreground_until_it_is_told_to_stop() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let seat = Seat::new();
    let code = network.code(0).to_text();
    let mut command = seat.command(&["join", "--foreground", "--name", "laptop"]);
    command
        .env("PEERUP_CODE", code.expose())
        .stdout(Stdio::piped());
    let mut process = Foreground(command.spawn().unwrap());
    let story = BufReader::new(process.0.stdout.take().unwrap());
    let story = told_until(story, "Ctrl-C leaves the network").await;
    assert!(story.contains("joined my-crew as laptop"), "{story}");
    assert_eq!(seat.process().await, process.0.id());
    seat.call(&["stop"]).await.ok();
    let status = process.0.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(!seat.dir().join("run/api.sock").exists());
}

/// What is printed up to the words.
async fn told_until(mut story: BufReader<ChildStdout>, words: &'static str) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut told = String::new();
        while !told.contains(words) {
            let length = story.read_line(&mut told).unwrap();
            assert!(length > 0, "no {words:?} in {told:?}");
        }
        told
    });
    in_time(words, read).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_ends_in_good_order_by_a_signal() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let seat = Seat::joined(&network, 0, "laptop").await;
    seat.call(&["stop"]).await.ok();
    let mut process = Foreground(seat.command(&["daemon"]).spawn().unwrap());
    until("joined", async || {
        let said = seat.call(&["status", "--json"]).await;
        said.code == Some(0) && said.json()["phase"] == "Joined"
    })
    .await;
    signal(process.0.id(), Signal::TERM);
    let status = process.0.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(!seat.dir().join("run/api.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_before_it_has_joined_is_told_apart() {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let code = network.code(0).to_text();
    relay.node.shutdown().await;
    let seat = Seat::new();
    let mut command = seat.command(&["join", code.expose(), "--name", "laptop"]);
    let mut process = Foreground(command.spawn().unwrap());
    until("it answers", async || {
        seat.call(&["status"]).await.code == Some(0)
    })
    .await;
    signal(process.0.id(), Signal::TERM);
    assert_eq!(process.0.wait().unwrap().code(), Some(10));
    seat.call(&["status"]).await.failed(8, "no peer runs on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_while_the_background_peer_is_waited_for_leaves_it_alone() {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let seat = Seat::joined(&network, 0, "laptop").await;
    seat.call(&["stop"]).await.ok();
    relay.node.shutdown().await;
    let mut start = Foreground(seat.command(&["start"]).spawn().unwrap());
    until("it answers", async || {
        seat.call(&["status"]).await.code == Some(0)
    })
    .await;
    let process = seat.process().await;
    assert_ne!(process, start.0.id());
    signal(start.0.id(), Signal::INT);
    assert_eq!(start.0.wait().unwrap().code(), Some(10));
    assert_eq!(seat.process().await, process);
    assert!(is_alive(process));
}
