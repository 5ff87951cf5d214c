//! The relay as a process of its own, whose memory and files are looked through: it has served a joiner and never
//! held the joiner's code, and it has carried a stream and never held what was said.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../src/clock.rs"]
mod clock;
#[allow(dead_code, reason = "only a part of the stand-in is needed here")]
#[path = "../src/tests/operator.rs"]
mod operator;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use futures::{AsyncReadExt, AsyncWriteExt};
use peerup_node::member::{self, Membership, Presented, Standing};
use peerup_node::{Event, Multiaddr, Node, PeerId, Protocol, Role, Stream, pair};
use peerup_pairing::membership::Refusal;
use peerup_protocol::SigningKey;
use peerup_protocol::code::{Code, CodeKind, Responder};
use peerup_protocol::id::{GroupId, PeerName, Slot, peer_id, verifying_key};
use peerup_protocol::names::ProtocolNames;
use peerup_protocol::record::Signed;
use peerup_protocol::secret::Secret;
use tokio::sync::mpsc;
use tokio::time::timeout;

use clock::now;
use operator::{Operator, TOKEN};

/// Seed of the relay's key.
const RELAY: [u8; 32] = *b"the seed of this relay's own key";
/// What makes the joiner's code.
const SECRET: [u8; 16] = *b"sixteen of chaos";
/// What one member says to another.
const SAID: &[u8; 32] = b"what nobody between is to read..";
/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that cannot be waited for.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes that are read of a process at once, and more so that nothing is cut where two such parts meet.
const PART: usize = 1 << 20;
const OVERLAP: usize = 1 << 10;

/// The program, its directory, and where it is reached over QUIC.
struct Relay {
    process: Child,
    directory: PathBuf,
    address: Multiaddr,
}

impl Relay {
    fn start(operator: &Operator) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("peerup-relay-memory-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(directory.join("state")).unwrap();
        for (file, content) in [
            ("token", TOKEN.as_bytes()),
            ("ca.crt", operator.ca.as_bytes()),
            ("seed", &RELAY),
        ] {
            fs::write(directory.join(file), content).unwrap();
        }
        let key = HEXLOWER.encode(operator.key.verifying_key().as_bytes());
        let files = [
            ("operator-ca-file", "ca.crt"),
            ("token-file", "token"),
            ("key-file", "seed"),
            ("state-dir", "state"),
        ];
        let mut process = Command::new(env!("CARGO_BIN_EXE_peerup-relay"))
            .env_clear()
            .args(["--network=shop/crew", "--inside-host=127.0.0.1"])
            .args(["--listen-port=0", "--stun-ports=0,0"])
            .arg("--http-listen=127.0.0.1:0")
            .arg(format!("--dht-namespace={}", Operator::namespace()))
            .arg(format!("--network-public-key={key}"))
            .arg(format!("--operator-url={}", operator.url))
            .args(files.map(|(flag, file)| format!("--{flag}={}", directory.join(file).display())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        Self {
            process,
            directory,
            address: quic(log).expect("the relay tells its addresses"),
        }
    }

    /// Gives each part of the memory that the process may write to.
    fn memory(&self, mut each: impl FnMut(&[u8])) {
        let process = PathBuf::from(format!("/proc/{}", self.process.id()));
        let memory = File::open(process.join("mem")).unwrap();
        let maps = fs::read_to_string(process.join("maps")).unwrap();
        for (start, end) in maps.lines().filter_map(writable) {
            for at in (start..end).step_by(PART) {
                let length = usize::try_from(end - at).unwrap().min(PART + OVERLAP);
                let mut part = vec![0; length];
                // What was there a moment ago may be gone.
                if let Ok(read) = memory.read_at(&mut part, at) {
                    each(&part[..read]);
                }
            }
        }
    }

    /// Looks for what the relay has to know, which must be found, and for what it must not hold.
    fn knows_and_holds_none_of(&self, peer: &PeerId, forms: &[Vec<u8>]) {
        let known = verifying_key(peer).unwrap();
        let (mut bytes, mut seen) = (0, false);
        self.memory(|part| {
            bytes += part.len();
            seen |= has(part, known.as_bytes());
            let found = forms.iter().position(|form| has(part, form));
            assert_eq!(found, None, "it is in the relay's memory");
        });
        assert!(bytes > PART, "only {bytes} bytes were read");
        assert!(seen, "not even the peer's public key is found");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The address over QUIC that the log tells. What comes later is read and dropped, so that the program can write on.
fn quic(log: BufReader<ChildStderr>) -> Option<Multiaddr> {
    let mut lines = log.lines();
    let address = lines.by_ref().find_map(|line| {
        let line = line.unwrap();
        let (_, address) = line.split_once("address address=")?;
        address
            .ends_with("quic-v1")
            .then(|| address.parse().unwrap())
    });
    std::thread::spawn(move || lines.for_each(drop));
    address
}

/// Start and end of a mapping that the process may write to, from a line of `maps`.
fn writable(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let (start, end) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).unwrap();
    let is_so = rights.starts_with("rw");
    is_so.then(|| (number(start), number(end)))
}

/// A peer, and the streams for pings that others open to it.
fn start(operator: &Operator, seed: u8) -> (Node, mpsc::Receiver<Stream>) {
    let (node, mut events) = peerup_node::start(peerup_node::Config {
        seed: Secret::new([seed; 32]),
        names: ProtocolNames::new(&operator.net(), &Operator::namespace()),
        role: Role::Peer,
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()],
    })
    .unwrap();
    let (sender, streams) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::Inbound { stream, .. } = event {
                let _ = sender.send(stream).await;
            }
        }
    });
    (node, streams)
}

/// What a member shows to the relay; it believes whoever answers there.
struct Card(Signed);

impl Membership for Card {
    fn presented(&self) -> Presented {
        Presented {
            credential: self.0.clone(),
            revocations: None,
        }
    }

    fn check(&self, _: &PeerId, _: &Signed) -> Result<Standing, Refusal> {
        Ok(Standing::Admitted)
    }

    fn learn(&self, _: Signed) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A peer that is a member and can be reached through the relay.
async fn member(relay: &Relay, operator: &Operator, seed: u8) -> (Node, mpsc::Receiver<Stream>) {
    let (node, streams) = start(operator, seed);
    let record = operator.record(node.peer_id(), seed.into(), 3600);
    operator.change(|book| book.members.push(record.clone()));
    let card = Card(operator.sign(&record));
    let address = || relay.address.clone();
    let reserved = async {
        // The relay may still have no lists to know members by.
        while member::connect(&node, &card, relay_id(), vec![address()])
            .await
            .is_err()
        {
            tokio::time::sleep(LOOK).await;
        }
        node.reserve(relay_id(), address()).await.unwrap();
    };
    timeout(PATIENCE, reserved).await.unwrap();
    (node, streams)
}

fn relay_id() -> PeerId {
    peer_id(&SigningKey::from_bytes(&RELAY).verifying_key())
}

/// Every way in which a code may be written down.
fn forms(code: &Code) -> Vec<Vec<u8>> {
    let secret = code.secret.expose();
    let text = code.to_text();
    let texts = [
        text.expose().to_owned(),
        text.expose().to_ascii_uppercase(),
        HEXLOWER.encode(secret),
        HEXUPPER.encode(secret),
        BASE64_NOPAD.encode(secret),
        BASE64URL_NOPAD.encode(secret),
    ];
    let texts = texts.into_iter().map(String::into_bytes);
    texts.chain([secret.to_vec()]).collect()
}

fn has(haystack: &[u8], needle: &[u8]) -> bool {
    let mut windows = haystack.windows(needle.len());
    windows.any(|window| window[0] == needle[0] && window == needle)
}

/// What all files of a directory hold.
fn files(directory: &Path) -> Vec<u8> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .flat_map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relays_memory_and_files_hold_no_code() {
    let operator = Operator::start(SigningKey::from_bytes(&RELAY)).await;
    let relay = Relay::start(&operator);
    let code = Code {
        kind: CodeKind::Group,
        net: operator.net(),
        group: GroupId([6; 8]),
        slot: Slot(0),
        secret: Secret::new(SECRET),
        namespace: Operator::namespace(),
        not_after: u32::MAX,
        responders: vec![Responder {
            peer: relay_id(),
            addresses: vec![relay.address.clone()],
        }],
    };
    operator.book().code = Some(code.clone());
    let (node, _streams) = start(&operator, 1);
    let key = SigningKey::from_bytes(&[1; 32]);
    let name = PeerName::parse("laptop").unwrap();
    pair::pair(&node, &code, &key, &name, now).await.unwrap();
    assert_eq!(operator.book().used_by, Some(node.peer_id()));

    let forms = forms(&code);
    relay.knows_and_holds_none_of(&node.peer_id(), &forms);
    let kept = files(&relay.directory.join("state"));
    assert!(!forms.iter().any(|form| has(&kept, form)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_holds_nothing_of_what_it_carries() {
    let operator = Operator::start(SigningKey::from_bytes(&RELAY)).await;
    let relay = Relay::start(&operator);
    let (one, _streams) = member(&relay, &operator, 11).await;
    let (two, mut streams) = member(&relay, &operator, 12).await;
    one.admit(two.peer_id()).await;
    two.admit(one.peer_id()).await;
    let (address, through, to) = (&relay.address, relay_id(), two.peer_id());
    let circuit = format!("{address}/p2p/{through}/p2p-circuit/p2p/{to}");
    let connection = one.dial(to, vec![circuit.parse().unwrap()]).await.unwrap();
    let carried = async {
        let mut near = one.open_on(connection, Protocol::Ping).await.unwrap();
        let mut far = streams.recv().await.unwrap();
        for _ in 0..100 {
            near.write_all(SAID).await.unwrap();
            near.flush().await.unwrap();
            let mut heard = [0; SAID.len()];
            far.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, *SAID);
        }
        (near, far)
    };
    let _open = timeout(PATIENCE, carried).await.unwrap();
    relay.knows_and_holds_none_of(&to, &[SAID.to_vec()]);
}
