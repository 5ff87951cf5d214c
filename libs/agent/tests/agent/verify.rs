//! Comparison by emoji between whole agents.

use std::sync::Arc;

use peerup_agent::status::{Badge, Status, Verification};
use peerup_agent::{Comparison, Handle, Outcome, Source, VerifyError};
use peerup_protocol::id::PeerName;

use super::relay::{FakeRelay, Network};
use super::{DEADLINE, Peer, Scratch, is_connected};

fn name(text: &str) -> PeerName {
    PeerName::parse(text).unwrap()
}

async fn begun(handle: &Handle, with: &str) -> Result<Comparison, VerifyError> {
    let with = name(with);
    let begun = tokio::time::timeout(DEADLINE, handle.verify(&with));
    begun.await.expect("there is an answer in time")
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

struct Pair {
    network: Arc<Network>,
    _relay: FakeRelay,
    dirs: [Scratch; 2],
    home: Peer,
    laptop: Peer,
}

async fn pair() -> Pair {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let dirs = [Scratch::new(), Scratch::new()];
    let home = Peer::join(&dirs[0].0, network.code(0), "home");
    let laptop = Peer::join(&dirs[1].0, network.code(1), "laptop");
    for peer in [&home, &laptop] {
        peer.until("joined", is_connected).await;
    }
    home.knows("laptop").await;
    laptop.knows("home").await;
    Pair {
        network,
        _relay: relay,
        dirs,
        home,
        laptop,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_compare_and_it_is_remembered() {
    let Pair {
        network,
        _relay,
        dirs,
        home,
        laptop,
    } = pair().await;
    let (at_home, at_laptop) = (home.agent.handle(), laptop.agent.handle());
    let digits = at_home.offline_digits(&name("laptop")).unwrap();
    assert_eq!(digits, at_laptop.offline_digits(&name("home")).unwrap());
    // The second takes what the first has begun.
    let first = begun(&at_laptop, "home").await.unwrap();
    let second = begun(&at_home, "laptop").await.unwrap();
    assert_eq!(
        (first.emoji(), first.digits(), first.fingerprint()),
        (second.emoji(), second.digits(), second.fingerprint())
    );
    assert_eq!((first.peer_id(), second.peer_id()), (home.id, laptop.id));
    let fingerprint = first.fingerprint().to_string();
    let one = tokio::spawn(first.decide(true));
    let status = laptop.board.status();
    let unverified = Some((Badge::Unverified, Verification::Unverified));
    assert_eq!(badge(&status, "home"), unverified, "one yes is not enough");
    assert_eq!(second.decide(true).await.unwrap(), Outcome::Same);
    assert_eq!(one.await.unwrap().unwrap(), Outcome::Same);
    let verified = Some((Badge::Verified, Verification::Sas));
    for (peer, other) in [(&home, "laptop"), (&laptop, "home")] {
        peer.until("verified", |status| badge(status, other) == verified)
            .await;
    }

    laptop.agent.shutdown().await;
    drop(at_laptop);
    let laptop = Peer::start(&dirs[1].0, Source::Stored);
    laptop
        .until("still verified", |status| badge(status, "home") == verified)
        .await;
    laptop.agent.shutdown().await;
    let path = dirs[1].0.join("verified.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(&fingerprint), "{text}");
    let mut other = fingerprint.clone();
    let last = if other.pop() == Some('0') { '1' } else { '0' };
    other.push(last);
    std::fs::write(&path, text.replace(&fingerprint, &other)).unwrap();
    let laptop = Peer::start(&dirs[1].0, Source::Stored);
    let status = laptop.knows("home").await;
    assert_eq!(badge(&status, "home"), unverified);
    drop(network);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_ask_at_once_compare_the_same() {
    let world = pair().await;
    let (home, laptop) = (world.home.agent.handle(), world.laptop.agent.handle());
    for _ in 0..3 {
        let (one, other) = tokio::join!(begun(&home, "laptop"), begun(&laptop, "home"));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_ends_it_for_both() {
    let world = pair().await;
    compare(&world.home, "laptop", &world.laptop, "home").await;
    let (home, laptop) = (world.home.agent.handle(), world.laptop.agent.handle());
    let one = begun(&home, "laptop").await.unwrap();
    let other = begun(&laptop, "home").await.unwrap();
    let (no, yes) = tokio::join!(one.decide(false), other.decide(true));
    assert_eq!(
        (no.unwrap(), yes.unwrap()),
        (Outcome::RefusedHere, Outcome::RefusedThere)
    );
    let unverified = Some((Badge::Unverified, Verification::Unverified));
    for (peer, other) in [(&world.home, "laptop"), (&world.laptop, "home")] {
        peer.until("unverified again", |status| {
            badge(status, other) == unverified
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digits_that_somebody_reads_out_verify_offline() {
    let world = pair().await;
    let home = world.home.agent.handle();
    let digits = home.offline_digits(&name("laptop")).unwrap();
    let wrong = digits.replacen(|c: char| c.is_ascii_digit(), "x", 1);
    assert!(!home.verify_offline(&name("laptop"), &wrong).await.unwrap());
    assert!(home.verify_offline(&name("laptop"), &digits).await.unwrap());
    let verified = Some((Badge::Verified, Verification::Sas));
    let shown = |status: &Status| badge(status, "laptop") == verified;
    world.home.until("verified", shown).await;
}
