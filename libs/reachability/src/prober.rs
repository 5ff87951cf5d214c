//! Asks STUN servers which address they see, sans I/O. Two rounds over one
//! socket per IP version; each question is repeated as RFC 8489 (6.2.1) says, cut
//! so that the whole run ends within four seconds.
//!
//! The loop of the caller: [`Prober::poll_output`] until it says `Wait` or `Done`;
//! then wait for that time or a datagram, [`Prober::handle_input`] it, again.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use peerup_protocol::PeerId;
use peerup_protocol::grade::{Filtering, IpVersion};
use peerup_protocol::stun::{Response, TransactionId, request};

use crate::address::World;

/// Most servers of one IP version that are asked.
pub const MAX_SERVERS: usize = 4;
/// How long one round lasts at most; there are two.
pub const ROUND: Duration = Duration::from_millis(1900);

/// When a question is sent within a round: RTO of 500 ms, doubled.
const SENDS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_millis(1500),
];
const ROUNDS: usize = 2;

/// A relay's STUN service, or another STUN server without an alternate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// The relay, which can be asked for probes; nothing for other people's servers.
    pub relay: Option<PeerId>,
    /// The first address.
    pub primary: SocketAddr,
    /// Another port of it, or another address.
    pub alternate: Option<SocketAddr>,
    /// Whether these are its own addresses, so that it must say the same of them (RESPONSE-ORIGIN).
    pub own: bool,
}

/// Ports of the two sockets that the caller sends from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalPorts {
    /// Of the IPv4 socket, if there is one; without it IPv4 is not asked about.
    pub v4: Option<u16>,
    /// Of the IPv6 socket, likewise.
    pub v6: Option<u16>,
}

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this from the socket of the address's IP version.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        datagram: Vec<u8>,
    },
    /// Send this from any other socket: whether the NAT brings it back to the one that is measured.
    Hairpin {
        /// The mapped address.
        to: SocketAddr,
        /// What.
        datagram: Vec<u8>,
    },
    /// Nothing until this time, unless a datagram comes.
    Wait(Duration),
    /// The measurement is complete.
    Done(Measurement),
}

/// What servers saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measurement {
    /// Over IPv4.
    pub v4: Seen,
    /// Over IPv6.
    pub v6: Seen,
}

/// What servers saw over one IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Port of the socket; nothing if none was asked.
    pub local_port: Option<u16>,
    /// Answers of each round.
    pub rounds: [Vec<Answer>; ROUNDS],
    /// Which packets come in. STUN alone cannot tell: the prober says Unknown, [`crate::filtering`] knows more.
    pub filtering: Filtering,
    /// Whether two runs of that did not agree.
    pub filtering_differs: bool,
    /// Whether a server says that it was asked at another address: something in the way rewrites addresses.
    pub rewritten: bool,
    /// Whether a datagram to the mapped address came back from the outside.
    pub hairpin: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            local_port: None,
            rounds: Default::default(),
            filtering: Filtering::Unknown,
            filtering_differs: false,
            rewritten: false,
            hairpin: false,
        }
    }
}

/// One server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Who answered.
    pub server: SocketAddr,
    /// Our address as it saw it.
    pub mapped: SocketAddr,
}

impl Measurement {
    /// The half of one IP version.
    #[must_use]
    pub fn of(&self, version: IpVersion) -> &Seen {
        match version {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        }
    }
}

impl Seen {
    /// Whether anybody answered.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.rounds.iter().any(|round| !round.is_empty())
    }
}

/// One question of one round.
#[derive(Debug, Clone)]
struct Question {
    to: SocketAddr,
    own: bool,
    transaction: TransactionId,
    sent: usize,
    mapped: Option<SocketAddr>,
    /// By the server, or by this machine, which knows no way to it.
    refused: bool,
    rewritten: bool,
}

impl Question {
    fn is_open(&self) -> bool {
        self.mapped.is_none() && !self.refused
    }

    fn answer(&self) -> Option<Answer> {
        Some(Answer {
            server: self.to,
            mapped: self.mapped?,
        })
    }
}

/// A datagram from another socket to the mapped address.
#[derive(Debug, Clone, Default)]
struct Hairpin {
    nonce: [u8; 16],
    sent: bool,
    arrived: bool,
}

/// One run of questions.
#[derive(Debug, Clone)]
pub struct Prober {
    ports: LocalPorts,
    hairpins: [Hairpin; 2],
    rounds: [Vec<Question>; ROUNDS],
    round: usize,
    started: Duration,
}

impl Prober {
    /// Starts a run. Servers outside the world are not asked: what they see says
    /// nothing about it. `draw` gives 96 random bits a call.
    #[must_use]
    pub fn new(
        world: &World,
        servers: &[Server],
        ports: LocalPorts,
        mut draw: impl FnMut() -> TransactionId,
        now: Duration,
    ) -> Self {
        let targets = targets(world, servers, ports);
        let mut round = || -> Vec<Question> {
            let ask = |(to, own): &(SocketAddr, bool)| Question {
                to: *to,
                own: *own,
                transaction: draw(),
                sent: 0,
                mapped: None,
                refused: false,
                rewritten: false,
            };
            targets.iter().map(ask).collect()
        };
        let rounds = [round(), round()];
        let hairpins = [(); 2].map(|()| {
            let mut nonce = [0; 16];
            nonce[..12].copy_from_slice(&draw());
            Hairpin {
                nonce,
                ..Hairpin::default()
            }
        });
        Self {
            ports,
            hairpins,
            rounds,
            round: 0,
            started: now,
        }
    }

    /// What to do now; ask again until it is `Wait` or `Done`.
    pub fn poll_output(&mut self, now: Duration) -> Output {
        loop {
            let [first, _] = &self.rounds;
            if self.round == 1
                && let Some(output) = hairpin(first, &mut self.hairpins)
            {
                return output;
            }
            let Some(questions) = self.rounds.get_mut(self.round) else {
                return Output::Done(self.measurement());
            };
            let elapsed = now.saturating_sub(self.started);
            if elapsed >= ROUND || !questions.iter().any(Question::is_open) {
                self.round += 1;
                self.started = now;
                continue;
            }
            let mut open = questions.iter_mut().filter(|question| question.is_open());
            let due =
                open.find(|question| SENDS.get(question.sent).is_some_and(|at| *at <= elapsed));
            if let Some(question) = due {
                question.sent += 1;
                return Output::Send {
                    to: question.to,
                    datagram: request(&question.transaction),
                };
            }
            return Output::Wait(self.started + next_time(questions));
        }
    }

    /// Who has answered at its own address or one that may be another's, of both IP versions, once the first round is
    /// over.
    #[must_use]
    pub fn first_answers(&self) -> Option<Vec<Answer>> {
        let [first, _] = &self.rounds;
        let straight = first.iter().filter(|question| !question.rewritten);
        (self.round > 0).then(|| straight.filter_map(Question::answer).collect())
    }

    /// There is no way to this address from here: nobody waits for its answer in this round.
    pub fn handle_no_route(&mut self, to: SocketAddr) {
        let questions = self.rounds.get_mut(self.round).into_iter().flatten();
        for question in questions.filter(|question| question.to == to) {
            question.refused = true;
        }
    }

    /// Takes a datagram. What is not an answer to an open question, from the
    /// address that was asked, nor one that came back from the NAT, is ignored.
    pub fn handle_input(&mut self, from: SocketAddr, datagram: &[u8]) {
        if let Some(hairpin) = self
            .hairpins
            .iter_mut()
            .find(|hairpin| hairpin.sent && hairpin.nonce == *datagram)
        {
            hairpin.arrived = true;
        }
        let Ok(response) = Response::decode(datagram) else {
            return;
        };
        let questions = self.rounds.get_mut(self.round).into_iter().flatten();
        let asked = |question: &&mut Question| {
            question.is_open()
                && question.to == canonical(from)
                && question.transaction == response.transaction
        };
        if let Some(question) = questions.into_iter().find(asked) {
            match response.result {
                Ok(mapped) => {
                    question.mapped = Some(canonical(mapped));
                    let elsewhere =
                        |origin: SocketAddr| question.own && canonical(origin) != question.to;
                    question.rewritten = response.origin.is_some_and(elsewhere);
                }
                Err(_) => question.refused = true,
            }
        }
    }

    fn measurement(&self) -> Measurement {
        let seen = |port: Option<u16>, is_v4: bool| {
            let asked = self
                .rounds
                .iter()
                .flatten()
                .any(|question| question.to.is_ipv4() == is_v4);
            let answers = |round: &Vec<Question>| -> Vec<Answer> {
                let of_version = round
                    .iter()
                    .filter(|question| question.to.is_ipv4() == is_v4);
                of_version.filter_map(Question::answer).collect()
            };
            Seen {
                local_port: port.filter(|_| asked),
                rounds: self.rounds.each_ref().map(answers),
                filtering: Filtering::Unknown,
                filtering_differs: false,
                rewritten: self
                    .rounds
                    .iter()
                    .flatten()
                    .any(|question| question.to.is_ipv4() == is_v4 && question.rewritten),
                hairpin: self.hairpins[usize::from(!is_v4)].arrived,
            }
        };
        Measurement {
            v4: seen(self.ports.v4, true),
            v6: seen(self.ports.v6, false),
        }
    }
}

/// When something is due next within the round.
fn next_time(questions: &[Question]) -> Duration {
    let open = questions.iter().filter(|question| question.is_open());
    let sends = open.filter_map(|question| SENDS.get(question.sent).copied());
    sends.min().unwrap_or(ROUND)
}

/// A datagram to each version's mapped address, once.
fn hairpin(first: &[Question], hairpins: &mut [Hairpin; 2]) -> Option<Output> {
    for (hairpin, is_v4) in hairpins.iter_mut().zip([true, false]) {
        let mut mapped = first.iter().filter_map(|question| question.mapped);
        let to = mapped.find(|mapped| mapped.is_ipv4() == is_v4);
        if let Some(to) = to.filter(|_| !hairpin.sent) {
            hairpin.sent = true;
            return Some(Output::Hairpin {
                to,
                datagram: hairpin.nonce.to_vec(),
            });
        }
    }
    None
}

/// Whom to ask, and whether it is at its own address: primaries and alternates of the first servers of each version.
fn targets(world: &World, servers: &[Server], ports: LocalPorts) -> Vec<(SocketAddr, bool)> {
    let mut targets: Vec<(SocketAddr, bool)> = Vec::new();
    let mut counts = [0; 2];
    for server in servers {
        let primary = canonical(server.primary);
        let (count, port) = match primary {
            SocketAddr::V4(_) => (&mut counts[0], ports.v4),
            SocketAddr::V6(_) => (&mut counts[1], ports.v6),
        };
        if *count >= MAX_SERVERS || port.is_none() || !world.contains(primary.ip()) {
            continue;
        }
        *count += 1;
        let alternate = server.alternate.map(canonical);
        let alternate = alternate.filter(|alternate| {
            alternate.is_ipv4() == primary.is_ipv4() && world.contains(alternate.ip())
        });
        for target in std::iter::once(primary).chain(alternate) {
            if targets.iter().all(|(known, _)| *known != target) {
                targets.push((target, server.own));
            }
        }
    }
    targets
}

/// An IPv4 address in an IPv6 one is that IPv4 address.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
