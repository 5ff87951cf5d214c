//! A peer that invites a guest, each asked by its own program.

use std::sync::Arc;

use peerup_protocol::record::Flags;
use rustix::process::Signal;
use serde_json::Value;

use crate::relay::{FakeRelay, Network};
use crate::seat::{Foreground, Seat, signal};
use crate::wait::until;

/// A member of a network that allows guests.
async fn home() -> (Arc<Network>, FakeRelay, Seat) {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let home = Seat::joined(&network, 0, "home").await;
    let refused = home.call(&["invite", "--detach"]).await;
    refused.failed(16, "spec.pairing.guests to Enabled");
    network.switch(Flags {
        guests: true,
        ..Flags::default()
    });
    (network, relay, home)
}

/// Opens an invite, as soon as the peer knows that it may.
async fn invite(home: &Seat) -> Value {
    let mut opened = Value::Null;
    until("an invite", async || {
        let said = home.call(&["invite", "--detach", "--json"]).await;
        if said.code == Some(0) {
            opened = said.json();
        }
        said.code == Some(0)
    })
    .await;
    opened
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_joins_by_an_invite_comes_back_and_is_sent_away() {
    let (_network, _relay, home) = home().await;
    let opened = invite(&home).await;
    assert_eq!(opened["state"], "Open", "{opened}");
    let code = opened["code"].as_str().unwrap();
    let guest = Seat::new();
    let story = guest
        .fed(&["join", "-", "--name", "laptop"], code)
        .await
        .ok();
    assert!(
        story
            .out
            .contains("joined my-crew as laptop, guest of home, whom it meets and nobody else"),
        "{story:?}"
    );
    assert_eq!(
        [guest.mode("membership.json"), home.mode("guests.json")],
        [0o600, 0o600]
    );
    guest.call(&["stop"]).await.ok();
    guest.call(&["start"]).await.ok();
    until("they meet", async || {
        guest.call(&["ping", "home", "-c", "1"]).await.code == Some(0)
    })
    .await;
    let status = guest.call(&["status"]).await.ok().out;
    assert!(status.contains("guest    of home\n"), "{status}");
    let peers = home.call(&["peers"]).await.ok().out;
    assert!(peers.contains("laptop [UNVERIFIED]"), "{peers}");
    assert!(peers.contains(" guest of this peer\n"), "{peers}");
    guest
        .call(&["netcheck"])
        .await
        .failed(1, "this peer is a guest");
    guest
        .call(&["invite"])
        .await
        .failed(16, "only members invite");

    home.call(&["invite", "--remove", "laptop"]).await.ok();
    home.call(&["invite", "--remove", "laptop"])
        .await
        .failed(12, "no guest of this peer is called laptop");
    guest
        .call(&["ping", "home", "-c", "1"])
        .await
        .failed(13, "");
    for seat in [&home, &guest] {
        let log = std::fs::read_to_string(seat.dir().join("daemon.log")).unwrap();
        assert!(!log.contains(&code[..40]), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inviter_waits_and_is_told_how_it_ended() {
    let (_network, _relay, home) = home().await;
    let _first = invite(&home).await;
    let over = home.call(&["invite", "--ttl", "1s"]).await;
    over.failed(17, "nobody came in time");
    home.call(&["invite", "--ttl", "11m"])
        .await
        .failed(2, "expected 1s to 10m");

    let mut waiting = home.command(&["invite", "--json"]);
    let waiting = waiting
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let process = waiting.id();
    let mut waiting = Foreground(waiting);
    let mut said = std::io::BufReader::new(waiting.0.stdout.take().unwrap());
    let opened = tokio::task::spawn_blocking(move || {
        let mut values = serde_json::Deserializer::from_reader(&mut said).into_iter::<Value>();
        values.next().unwrap().unwrap()
    });
    let opened = opened.await.unwrap();
    signal(process, Signal::INT);
    let ended = tokio::task::spawn_blocking(move || waiting.0.wait().unwrap().code());
    assert_eq!(ended.await.unwrap(), Some(10));
    let guest = Seat::new();
    let code = opened["code"].as_str().unwrap();
    let late = guest.fed(&["join", "-", "--name", "laptop"], code).await;
    // Another invite is open, so strangers come through, and learn nothing.
    late.failed(6, "pairing failed");
}
