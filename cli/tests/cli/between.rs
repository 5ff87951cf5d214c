//! Two peers in the background, each asked by its own program.

use peerup_agent::local::{Client, Outcome};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::relay::{FakeRelay, Network};
use crate::seat::{Said, Seat};
use crate::wait::until;

/// Two peers that know each other.
struct Pair {
    laptop: Seat,
    home: Seat,
    _relay: FakeRelay,
}

impl Pair {
    async fn new() -> Self {
        let network = Network::new(3600);
        let relay = FakeRelay::start(&network).await;
        let laptop = Seat::joined(&network, 0, "laptop").await;
        let home = Seat::joined(&network, 1, "home").await;
        let pair = Self {
            laptop,
            home,
            _relay: relay,
        };
        pair.met().await;
        pair
    }

    async fn met(&self) {
        for (seat, other) in [(&self.laptop, "home"), (&self.home, "laptop")] {
            until("they reach each other", async || {
                seat.call(&["ping", other, "-c", "1"]).await.code == Some(0)
            })
            .await;
        }
    }

    /// Both people verify, each with these arguments.
    async fn verify(&self, laptop: &[&str], home: &[&str]) -> (Said, Said) {
        let laptop = [&["verify", "home"], laptop].concat();
        let home = [&["verify", "laptop"], home].concat();
        tokio::join!(self.laptop.call(&laptop), self.home.call(&home))
    }

    async fn badges(&self) -> [Value; 2] {
        let mut badges = [Value::Null, Value::Null];
        for (seat, badge) in [&self.laptop, &self.home].into_iter().zip(&mut badges) {
            let peers = seat.call(&["peers", "--json"]).await.ok().json();
            *badge = peers[0]["badge"].clone();
        }
        badges
    }

    async fn until_badges(&self, badge: &str) {
        until(badge, async || self.badges().await == [badge, badge]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_pinged_and_the_way_to_it_shown() {
    let pair = Pair::new().await;
    let said = pair.laptop.call(&["ping", "home", "-c", "2"]).await.ok();
    assert_eq!(
        said.out.matches("home [UNVERIFIED]: ").count(),
        2,
        "{said:?}"
    );
    assert!(said.out.contains("2 sent, 2 answered"), "{said:?}");
    let pings = pair
        .laptop
        .call(&["ping", "home", "-c", "1", "--json"])
        .await
        .ok()
        .json();
    let way = pings["answers"][0]["path"].as_str().unwrap().to_owned();
    assert!(["Direct", "Relayed"].contains(&way.as_str()), "{pings}");

    let said = pair.laptop.call(&["traceroute", "home"]).await.ok();
    assert!(said.out.contains("home [UNVERIFIED]  12D3"), "{said:?}");
    let hops = pair
        .laptop
        .call(&["traceroute", "home", "--json"])
        .await
        .ok()
        .json();
    let last = hops.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["name"], &last["relay"]),
        (&"home".into(), &false.into())
    );
    assert!(last["milliseconds"].as_f64().unwrap() > 0.0, "{hops}");

    let command = ["ping", "traceroute", "verify"];
    for command in command {
        for (name, words) in [
            ("nobody", "no member is called nobody"),
            ("laptop", "is this peer"),
        ] {
            let yes = if command == "verify" {
                &["--yes"][..]
            } else {
                &[]
            };
            let said = pair.laptop.call(&[&[command, name], yes].concat()).await;
            said.failed(12, words);
        }
        let said = pair.laptop.call(&[command, "No Name"]).await;
        said.failed(2, "No Name");
    }
    pair.home.call(&["stop"]).await.ok();
    until("home is gone", async || {
        pair.laptop.call(&["ping", "home", "-c", "1"]).await.code == Some(13)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_verify_each_other_and_stay_verified() {
    let pair = Pair::new().await;
    let nobody = pair.laptop.call(&["verify", "home"]).await;
    nobody.failed(2, "expected --yes or --no, since nobody can be asked");
    pair.until_badges("UNVERIFIED").await;

    let (laptop, home) = pair
        .verify(&["--yes", "--json"], &["--yes", "--json"])
        .await;
    let (shown, mirrored) = (laptop.ok(), home.ok().json());
    assert!(
        shown.err.contains("where `peerup verify laptop` shows it"),
        "{shown:?}"
    );
    let shown = shown.json();
    assert_eq!(shown["verified"], true);
    assert_eq!(shown["emoji"].as_array().unwrap().len(), 4);
    for same in ["emoji", "digits", "fingerprint"] {
        assert_eq!(shown[same], mirrored[same], "{same}");
        assert!(!shown[same].is_null(), "{same} in {shown}");
    }
    pair.until_badges("VERIFIED").await;
    let said = pair.laptop.call(&["ping", "home", "-c", "1"]).await.ok();
    assert!(said.out.contains("home [VERIFIED]: "), "{said:?}");
    for seat in [&pair.laptop, &pair.home] {
        seat.call(&["stop"]).await.ok();
        seat.call(&["start"]).await.ok();
    }
    pair.met().await;
    pair.until_badges("VERIFIED").await;

    // Either no undoes it on both sides.
    let (laptop, home) = pair.verify(&["--no"], &["--yes"]).await;
    laptop.failed(14, "you said that it is not the same");
    home.failed(14, "the other person said that it is not the same");
    pair.until_badges("UNVERIFIED").await;
}

/// One person ends the command before anything is said, and gives it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_again_sees_what_is_seen_there() {
    let pair = Pair::new().await;
    let [laptop, home] = [&pair.laptop, &pair.home].map(|seat| Client::new(seat.dir()));
    let (at_laptop, at_home) = ("laptop".parse().unwrap(), "home".parse().unwrap());
    let first = laptop.compare(&at_home).await.unwrap();
    let there = home.compare(&at_laptop).await.unwrap();
    let again = laptop.compare(&at_home).await.unwrap();
    assert_eq!(first.digits, there.digits);
    assert_eq!((&again.digits, &again.id), (&there.digits, &first.id));
    let (here, there) = tokio::join!(laptop.decide(&again, true), home.decide(&there, true));
    assert_eq!(
        (here.unwrap(), there.unwrap()),
        (Outcome::Same, Outcome::Same)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_who_are_not_online_together_compare_sixty_digits() {
    let pair = Pair::new().await;
    let digits = pair
        .laptop
        .call(&["verify", "home", "--digits"])
        .await
        .ok()
        .out;
    assert_eq!(
        digits.bytes().filter(u8::is_ascii_digit).count(),
        60,
        "{digits}"
    );
    let there = pair
        .home
        .call(&["verify", "laptop", "--digits"])
        .await
        .ok()
        .out;
    assert_eq!(digits, there);
    let digits = digits.trim_end();
    let first = digits.chars().find(char::is_ascii_digit).unwrap();
    let other = digits.replace(first, if first == '0' { "1" } else { "0" });
    for wrong in [&digits[..digits.len() - 1], "", &other] {
        let said = pair
            .laptop
            .call(&["verify", "home", "--same-digits", wrong])
            .await;
        said.failed(14, "not the digits of this pair");
    }
    let said = pair
        .laptop
        .fed(&["verify", "home", "--same-digits", "-"], digits)
        .await;
    assert_eq!(said.ok().out, "home is verified\n");
    let expected = ["VERIFIED", "UNVERIFIED"];
    until("only the laptop knows", async || {
        pair.badges().await == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_reached_also_after_both_were_started_again() {
    let pair = Pair::new().await;
    let program = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exposed = format!("echo={}", program.local_addr().unwrap().port());
    tokio::spawn(echo(program));
    let port = free_port().await;
    let forwarded = format!("{port}=echo@home");
    let said = pair.home.call(&["expose", &exposed]).await.ok();
    assert!(
        said.out.contains("`peerup forward PORT=echo@home`"),
        "{said:?}"
    );
    let said = pair.laptop.call(&["forward", &forwarded]).await.ok();
    assert!(
        said.out
            .contains(&format!("127.0.0.1:{port} leads to echo of home")),
        "{said:?}"
    );
    until("the echo comes", async || is_echoed(port).await).await;
    let said = pair.laptop.call(&["services"]).await.ok();
    assert!(
        said.out.contains(&format!("forward  {forwarded}")),
        "{said:?}"
    );
    for seat in [&pair.laptop, &pair.home] {
        seat.call(&["stop"]).await.ok();
        seat.call(&["start"]).await.ok();
    }
    until("the echo comes again", async || is_echoed(port).await).await;

    let port = port.to_string();
    let list = pair
        .laptop
        .call(&["forward", "--remove", &port, "--json"])
        .await
        .ok()
        .json();
    assert_eq!(list["forwards"], Value::Array(Vec::new()));
    let list = pair
        .home
        .call(&["expose", "--remove", "echo", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(list["exposed"], Value::Array(Vec::new()));
    pair.laptop
        .call(&["forward", "--remove", &port])
        .await
        .failed(15, "is not forwarded here");
    pair.home
        .call(&["expose", "--remove", "echo"])
        .await
        .failed(15, "no service echo is exposed");
    pair.home
        .call(&["expose", "echo"])
        .await
        .failed(2, "expected service=port");
    pair.home.call(&["expose"]).await.failed(2, "required");
}

async fn echo(program: TcpListener) {
    while let Ok((mut stream, _)) = program.accept().await {
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
    }
}

async fn is_echoed(port: u16) -> bool {
    let call = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"hello").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    matches!(call.await, Ok(answer) if &answer == b"hello")
}

/// A port that nobody has, and that the system gives to nobody by itself: it is bound, left and bound again.
async fn free_port() -> u16 {
    for port in 19_200..19_300 {
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
