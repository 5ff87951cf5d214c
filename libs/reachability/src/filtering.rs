//! Whose packets a NAT or firewall lets in (RFC 4787, 5), sans I/O.
//!
//! A socket that has sent to one port of one relay only asks who it is, over STUN. Then another relay is asked, over
//! an authenticated stream, to send a nonce there, and then the first relay from its other port. What arrives proves
//! that strangers', or known addresses', packets come in. Asked twice in vain means that they do not; what could not
//! be sent means nothing.
//!
//! The loop of the caller: [`Lane::poll_output`] until it says `Wait` or `Done`; then wait for that time, a datagram
//! or an answer, hand it over, again. Two lanes with a socket each must agree ([`combine`]).

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use peerup_protocol::PeerId;
use peerup_protocol::frame::{ProbeAnswer, ProbeAsk, ProbeFrom};
use peerup_protocol::grade::Filtering;
use peerup_protocol::stun::{Response, TransactionId, request};

use crate::prober::{Answer, Server, canonical};

/// Longest time of a lane.
pub const LIMIT: Duration = Duration::from_secs(2);

/// When the STUN question is sent.
const SENDS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(500),
];
/// Until then somebody must have said who we are.
const OPEN: Duration = Duration::from_millis(750);
/// How long after it was sent a nonce is waited for.
const ARRIVAL: Duration = Duration::from_millis(300);
/// How often each relay is asked before silence counts.
const TRIES: usize = 2;

/// What is sent from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Probe {
    relay: PeerId,
    from: ProbeFrom,
    /// Address from which the nonce is to come.
    source: SocketAddr,
}

/// Whom to ask for what, over one IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The only address that the lane's socket sends to.
    stun: SocketAddr,
    /// From an address that the socket has not sent to.
    stranger: Option<Probe>,
    /// From another port of the address that it has sent to.
    other_port: Option<Probe>,
}

impl Plan {
    /// The plan for one IP version, from the servers and who of them has answered; nothing without a relay that did.
    #[must_use]
    pub fn new(servers: &[Server], answers: &[Answer]) -> Option<Self> {
        let answered = |server: &&Server| {
            let primary = canonical(server.primary);
            server.relay.is_some() && answers.iter().any(|answer| answer.server == primary)
        };
        let mut relays = servers.iter().filter(answered);
        let first = relays.next()?;
        let stun = canonical(first.primary);
        let stranger = relays
            .find(|other| other.relay != first.relay && canonical(other.primary).ip() != stun.ip())
            .and_then(|other| {
                Some(Probe {
                    relay: other.relay?,
                    from: ProbeFrom::MainPort,
                    source: canonical(other.primary),
                })
            });
        let other_port = first
            .relay
            .zip(first.alternate)
            .map(|(relay, alternate)| Probe {
                relay,
                from: ProbeFrom::OtherPort,
                source: canonical(alternate),
            });
        Some(Self {
            stun,
            stranger,
            other_port,
        })
    }
}

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this from the lane's socket.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        datagram: Vec<u8>,
    },
    /// Ask this relay on `probe`, and give what it says to [`Lane::handle_answer`].
    Ask {
        /// Whom.
        relay: PeerId,
        /// What for.
        ask: ProbeAsk,
        /// Where the lane's socket is seen. A relay to which our connection seems to come from another address would
        /// send elsewhere: then it can't be asked.
        mapped: SocketAddr,
    },
    /// Nothing until this time, unless something comes.
    Wait(Duration),
    /// This is what comes in.
    Done(Filtering),
}

/// What became of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Arrived,
    Silent,
    Untestable,
}

/// Where a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Asking who we are; so many questions were sent.
    Opening(usize),
    /// Seen at this address; the next probe is to be asked for.
    Ready(SocketAddr),
    /// A relay has been asked and has not answered.
    Asked(SocketAddr),
    /// It has sent; the nonce may come until then.
    Sent(SocketAddr, Duration),
    Done,
}

/// One socket's run.
#[derive(Debug, Clone)]
pub struct Lane {
    plan: Plan,
    transaction: TransactionId,
    nonces: [[u8; 16]; 2],
    started: Duration,
    step: Step,
    /// Tries of the probe that is under way.
    tries: usize,
    stranger: Option<Outcome>,
    other_port: Option<Outcome>,
}

impl Lane {
    /// Starts a run. Transaction id and nonces are random; the nonces are for the two relays.
    #[must_use]
    pub fn new(
        plan: Plan,
        transaction: TransactionId,
        nonces: [[u8; 16]; 2],
        now: Duration,
    ) -> Self {
        let missing = |probe: &Option<Probe>| probe.is_none().then_some(Outcome::Untestable);
        Self {
            stranger: missing(&plan.stranger),
            other_port: missing(&plan.other_port),
            plan,
            transaction,
            nonces,
            started: now,
            step: Step::Opening(0),
            tries: 0,
        }
    }

    /// What to do now; ask again until it is `Wait` or `Done`.
    pub fn poll_output(&mut self, now: Duration) -> Output {
        let end = self.started + LIMIT;
        if now >= end {
            self.step = Step::Done;
        }
        loop {
            match self.step {
                Step::Opening(sent) => match self.open(sent, now) {
                    Some(output) => return output,
                    None => self.step = Step::Done,
                },
                Step::Ready(mapped) => match self.next_probe() {
                    Some((probe, nonce)) => {
                        self.tries += 1;
                        self.step = Step::Asked(mapped);
                        let (relay, from, port) = (probe.relay, probe.from, mapped.port());
                        let ask = ProbeAsk { nonce, port, from };
                        return Output::Ask { relay, ask, mapped };
                    }
                    None => self.step = Step::Done,
                },
                Step::Asked(_) => return Output::Wait(end),
                Step::Sent(mapped, until) if now >= until => {
                    if self.tries >= TRIES {
                        self.settle(Outcome::Silent);
                    }
                    self.step = Step::Ready(mapped);
                }
                Step::Sent(_, until) => return Output::Wait(until.min(end)),
                Step::Done => return Output::Done(self.verdict()),
            }
        }
    }

    /// Takes a datagram of the lane's socket. What is neither the STUN server's answer nor the expected nonce from
    /// the expected address is ignored.
    pub fn handle_input(&mut self, from: SocketAddr, datagram: &[u8]) {
        let from = canonical(from);
        match self.step {
            Step::Opening(_) if from == self.plan.stun => {
                if let Ok(Response {
                    transaction,
                    result: Ok(mapped),
                    ..
                }) = Response::decode(datagram)
                    && transaction == self.transaction
                {
                    self.step = Step::Ready(canonical(mapped));
                }
            }
            Step::Asked(mapped) | Step::Sent(mapped, _) => {
                let expected = self.next_probe();
                if expected.is_some_and(|(probe, nonce)| probe.source == from && nonce == *datagram)
                {
                    self.settle(Outcome::Arrived);
                    self.step = Step::Ready(mapped);
                }
            }
            Step::Opening(_) | Step::Ready(_) | Step::Done => (),
        }
    }

    /// Takes what the relay said that was asked last, `None` when it could not be asked. An answer that comes after
    /// the nonce says nothing new.
    pub fn handle_answer(&mut self, now: Duration, answer: Option<ProbeAnswer>) {
        let Step::Asked(mapped) = self.step else {
            return;
        };
        match answer {
            Some(ProbeAnswer::Sent) => self.step = Step::Sent(mapped, now + ARRIVAL),
            Some(ProbeAnswer::Untestable | ProbeAnswer::Limited) | None => {
                self.settle(Outcome::Untestable);
                self.step = Step::Ready(mapped);
            }
        }
    }

    fn open(&mut self, sent: usize, now: Duration) -> Option<Output> {
        let elapsed = now.saturating_sub(self.started);
        match SENDS.get(sent) {
            Some(at) if *at <= elapsed => {
                self.step = Step::Opening(sent + 1);
                Some(Output::Send {
                    to: self.plan.stun,
                    datagram: request(&self.transaction),
                })
            }
            Some(at) => Some(Output::Wait(self.started + *at)),
            None if elapsed < OPEN => Some(Output::Wait(self.started + OPEN)),
            None => None,
        }
    }

    /// The probe that is under way or comes next: strangers first. When theirs come in, so do all others'.
    fn next_probe(&self) -> Option<(Probe, [u8; 16])> {
        match (self.stranger, self.other_port) {
            (None, _) => self.plan.stranger.map(|probe| (probe, self.nonces[0])),
            (Some(Outcome::Arrived), _) => None,
            (Some(_), None) => self.plan.other_port.map(|probe| (probe, self.nonces[1])),
            (Some(_), Some(_)) => None,
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        self.tries = 0;
        if self.stranger.is_none() {
            self.stranger = Some(outcome);
        } else {
            self.other_port = Some(outcome);
        }
    }

    fn verdict(&self) -> Filtering {
        match (self.stranger, self.other_port) {
            (Some(Outcome::Arrived), _) => Filtering::EndpointIndependent,
            (_, Some(Outcome::Arrived)) => Filtering::AddressDependent,
            (_, Some(Outcome::Silent)) => Filtering::AddressAndPortDependent,
            (_, Some(Outcome::Untestable) | None) => Filtering::Unknown,
        }
    }
}

/// What two lanes say together, and whether they agree. When they do not, the stricter counts; one that could not
/// test says nothing against the other.
#[must_use]
pub fn combine(lanes: [Filtering; 2]) -> (Filtering, bool) {
    let [a, b] = lanes;
    let stricter = if strictness(a) >= strictness(b) { a } else { b };
    let agree = a == b || [a, b].contains(&Filtering::Unknown);
    (stricter, agree)
}

fn strictness(filtering: Filtering) -> u8 {
    match filtering {
        Filtering::Unknown => 0,
        Filtering::EndpointIndependent => 1,
        Filtering::AddressDependent => 2,
        Filtering::AddressAndPortDependent => 3,
    }
}
