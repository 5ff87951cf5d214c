//! Comparison by emoji between whole agents.

use peerup_agent::status::{Badge, Status, Verification};
use peerup_agent::{Comparison, Handle, Outcome, Source, VerifyError};
use peerup_protocol::id::PeerName;
use peerup_protocol::service::{Expose, Forward};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Peer;
use super::pair::Pair;
use super::programs;
use super::wait::{found, in_time};

fn name(text: &str) -> PeerName {
    PeerName::parse(text).unwrap()
}

async fn begun(handle: &Handle, with: &str) -> Result<Comparison, VerifyError> {
    let with = name(with);
    in_time("a comparison", handle.verify(&with)).await
}

fn badge(status: &Status, of: &str) -> Option<(Badge, Verification)> {
    let peer = status.peers.iter().find(|peer| peer.name == of);
    peer.map(|peer| (peer.badge, peer.verification))
}

/// Two people compare and say yes.
pub(crate) async fn compare(one: &Peer, other_name: &str, other: &Peer, one_name: &str) {
    let (here, there) = (one.agent.handle(), other.agent.handle());
    let here = begun(&here, other_name).await.unwrap();
    let there = begun(&there, one_name).await.unwrap();
    assert_eq!(here.emoji(), there.emoji());
    let outcomes = tokio::join!(here.decide(true), there.decide(true));
    assert_eq!(
        (outcomes.0.unwrap(), outcomes.1.unwrap()),
        (Outcome::Same, Outcome::Same)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_compare_and_it_is_remembered() {
    let Pair {
        network,
        _relay,
        dirs,
        server,
        laptop,
    } = Pair::start().await;
    let (at_server, at_laptop) = (server.agent.handle(), laptop.agent.handle());
    let digits = at_server.offline_digits(&name("laptop")).unwrap();
    assert_eq!(digits, at_laptop.offline_digits(&name("server")).unwrap());
    // The second takes what the first has begun.
    let first = begun(&at_laptop, "server").await.unwrap();
    let second = begun(&at_server, "laptop").await.unwrap();
    assert_eq!(
        (first.emoji(), first.digits(), first.fingerprint()),
        (second.emoji(), second.digits(), second.fingerprint())
    );
    assert_eq!((first.peer_id(), second.peer_id()), (server.id, laptop.id));
    let fingerprint = first.fingerprint().to_string();
    let one = tokio::spawn(first.decide(true));
    let status = laptop.board.status();
    let unverified = Some((Badge::Unverified, Verification::Unverified));
    assert_eq!(
        badge(&status, "server"),
        unverified,
        "one yes is not enough"
    );
    assert_eq!(second.decide(true).await.unwrap(), Outcome::Same);
    assert_eq!(one.await.unwrap().unwrap(), Outcome::Same);
    let verified = Some((Badge::Verified, Verification::Sas));
    for (peer, other) in [(&server, "laptop"), (&laptop, "server")] {
        peer.until("verified", |status| badge(status, other) == verified)
            .await;
    }

    laptop.agent.shutdown().await;
    drop(at_laptop);
    let laptop = Peer::start(&dirs[0].0, Source::Stored);
    laptop
        .until("still verified", |status| {
            badge(status, "server") == verified
        })
        .await;
    laptop.agent.shutdown().await;
    let path = dirs[0].0.join("verified.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(&fingerprint), "{text}");
    let mut other = fingerprint.clone();
    let last = if other.pop() == Some('0') { '1' } else { '0' };
    other.push(last);
    std::fs::write(&path, text.replace(&fingerprint, &other)).unwrap();
    let laptop = Peer::start(&dirs[0].0, Source::Stored);
    let status = laptop.knows("server").await;
    assert_eq!(badge(&status, "server"), unverified);
    drop(network);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_ask_at_once_compare_the_same() {
    let world = Pair::start().await;
    let (server, laptop) = (world.server.agent.handle(), world.laptop.agent.handle());
    for _ in 0..3 {
        let (one, other) = tokio::join!(begun(&server, "laptop"), begun(&laptop, "server"));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((one.emoji(), one.digits()), (other.emoji(), other.digits()));
        let outcomes = tokio::join!(one.decide(true), other.decide(true));
        assert_eq!(
            (outcomes.0.unwrap(), outcomes.1.unwrap()),
            (Outcome::Same, Outcome::Same)
        );
    }
    drop(world.network);
}

/// Whoever began it closed the window: there is nobody who sees the same pictures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_that_was_given_up_is_begun_anew() {
    let world = Pair::start().await;
    let (server, laptop) = (world.server.agent.handle(), world.laptop.agent.handle());
    drop(begun(&laptop, "server").await.unwrap());
    // The server hears of the end a little later.
    let at_server = found("both see the same", async || {
        let at_server = begun(&server, "laptop").await.unwrap();
        let at_laptop = begun(&laptop, "server").await.unwrap();
        (at_server.emoji() == at_laptop.emoji()).then_some(at_server)
    });
    at_server.await;
    drop(world.network);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_ends_it_for_both() {
    let world = Pair::start().await;
    compare(&world.server, "laptop", &world.laptop, "server").await;
    let (server, laptop) = (world.server.agent.handle(), world.laptop.agent.handle());
    let expose: Expose = format!("echo={}", programs::echo().await).parse().unwrap();
    server.expose(expose).await.unwrap();
    let mut forward: Forward = "1=echo@server".parse().unwrap();
    forward.port = 0;
    let mut open = programs::connect(laptop.forward(forward).await.unwrap()).await;
    open.write_all(b"x").await.unwrap();
    open.read_exact(&mut [0]).await.unwrap();
    let one = begun(&server, "laptop").await.unwrap();
    let other = begun(&laptop, "server").await.unwrap();
    let (no, yes) = tokio::join!(one.decide(false), other.decide(true));
    assert_eq!(
        (no.unwrap(), yes.unwrap()),
        (Outcome::RefusedHere, Outcome::RefusedThere)
    );
    programs::broken(&mut open).await;
    let unverified = Some((Badge::Unverified, Verification::Unverified));
    for (peer, other) in [(&world.server, "laptop"), (&world.laptop, "server")] {
        peer.until("unverified again", |status| {
            badge(status, other) == unverified
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digits_that_somebody_reads_out_verify_offline() {
    let world = Pair::start().await;
    let server = world.server.agent.handle();
    let digits = server.offline_digits(&name("laptop")).unwrap();
    let wrong = digits.replacen(|c: char| c.is_ascii_digit(), "x", 1);
    assert!(
        !server
            .verify_offline(&name("laptop"), &wrong)
            .await
            .unwrap()
    );
    assert!(
        server
            .verify_offline(&name("laptop"), &digits)
            .await
            .unwrap()
    );
    let verified = Some((Badge::Verified, Verification::Sas));
    let shown = |status: &Status| badge(status, "laptop") == verified;
    world.server.until("verified", shown).await;
}
