//! Comparison by emoji: two people look at the same short string and say yes or no. A stream that another peer opens
//! is answered at once, and waits for the person here, who takes it by asking to compare with that peer.

mod exchange;
mod marks;
mod table;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::io::BufReader;
use futures::{AsyncBufReadExt, FutureExt};
use peerup_node::{Node, PeerId, Protocol, Stream, member};
use peerup_pairing::sas::{self, Emoji, Ends, Fingerprint, Sas};
use peerup_protocol::frame::VerifyDecision;
use peerup_protocol::id::{DhtNamespace, PeerName};
use peerup_protocol::record::MemberRecord;
use peerup_protocol::secret::Secret;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

pub use exchange::ComparisonError;
pub(crate) use marks::Marks;
pub use peerup_pairing::sas::Comparison as Outcome;

use crate::handle::PeerError;
use crate::reach::{self, ReachError};
use crate::session::{Session, lock};
use crate::shared::Shared;
use crate::state::StateError;
use table::{Inbound, Table, Wanted};

/// Longest time until there is something to compare.
const READY: Duration = Duration::from_secs(45);
/// How long the other side's stream may take to come after it has refused ours.
const CROSSING: Duration = Duration::from_secs(3);

/// Why there is nothing to compare, or the outcome is not kept.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The peer is not known or not reached.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The exchange failed.
    #[error("{peer}: {source}")]
    Exchange {
        /// Its name.
        peer: PeerName,
        /// What failed.
        source: ComparisonError,
    },
    /// Somebody else here compares with the same peer.
    #[error("a comparison with {0} is under way; finish that one first")]
    Busy(PeerName),
    /// Nothing came.
    #[error("{0} does not answer; is it running, and does it not compare with somebody else?")]
    TimedOut(PeerName),
    /// The outcome can't be stored.
    #[error("the outcome is not kept: {0}")]
    State(#[from] StateError),
}

/// A string that waits for a person.
#[derive(Debug)]
struct Pending {
    stream: BufReader<Stream>,
    sas: Sas,
    record: MemberRecord,
    namespace: DhtNamespace,
}

impl Pending {
    /// False once the other side has gone without a word.
    fn is_open(&mut self) -> bool {
        let heard = self.stream.fill_buf().now_or_never();
        heard.is_none_or(|heard| heard.is_ok_and(|word| !word.is_empty()))
    }
}

/// All comparisons of this peer.
#[derive(Debug)]
pub(crate) struct Comparisons {
    table: Mutex<Table<Pending>>,
    changed: watch::Sender<()>,
}

impl Comparisons {
    pub(crate) fn new(me: PeerId) -> Self {
        Self {
            table: Mutex::new(Table::new(me)),
            changed: watch::Sender::new(()),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table<Pending>) -> T) -> T {
        let result = change(&mut lock(&self.table));
        self.changed.send_replace(());
        result
    }

    async fn until(&self, condition: impl Fn(&Table<Pending>) -> bool) {
        let mut changed = self.changed.subscribe();
        while !condition(&lock(&self.table)) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A try whose end is told, even if nobody waits for it any more.
struct Try<'a> {
    comparisons: &'a Comparisons,
    peer: PeerId,
    end: fn(&mut Table<Pending>, PeerId),
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        self.comparisons
            .change(|table| (self.end)(table, self.peer));
    }
}

/// Two people may now compare what both sides show.
#[derive(Debug)]
pub struct Comparison {
    shared: Arc<Shared>,
    node: Node,
    pending: Pending,
    until: Instant,
}

impl Comparison {
    /// The other peer's name.
    #[must_use]
    pub fn peer(&self) -> &PeerName {
        &self.pending.record.name
    }

    /// The other peer's identity.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.pending.record.peer
    }

    /// Four pictures, in order.
    #[must_use]
    pub fn emoji(&self) -> [Emoji; 4] {
        self.pending.sas.emoji()
    }

    /// Six digits, `500-305`.
    #[must_use]
    pub fn digits(&self) -> String {
        self.pending.sas.digits()
    }

    /// What is stored when both say yes, `sha256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(
            &self.pending.namespace,
            &self.node.peer_id(),
            &self.peer_id(),
        )
    }

    /// False once it is of no use: time is over, or the other side has gone without a word.
    pub(crate) fn is_open(&mut self) -> bool {
        !self.left().is_zero() && self.pending.is_open()
    }

    /// How much time the two have left to say it.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Says whether both show the same, and waits for what the other person says, five minutes after the strings were
    /// made at most. Only [`Outcome::Same`] makes the peer verified, durably when this returns; after a no of either
    /// side it is unverified and its connections are closed.
    ///
    /// # Errors
    /// When the outcome can't be stored.
    pub async fn decide(mut self, same: bool) -> Result<Outcome, VerifyError> {
        let here = if same {
            VerifyDecision::Matches
        } else {
            VerifyDecision::Differs
        };
        let outcome = exchange::decide(&mut self.pending.stream, here, self.until).await;
        let MemberRecord { peer, name, .. } = &self.pending.record;
        tracing::info!(%peer, name = name.as_str(), ?outcome, "compared");
        let marks = &self.shared.marks;
        match outcome {
            Outcome::Same => marks.set(&self.pending.namespace, *peer, name).await?,
            Outcome::RefusedHere | Outcome::RefusedThere => {
                self.node.close(*peer).await;
                marks.remove(peer).await?;
            }
            Outcome::Unanswered => (),
        }
        self.shared.marks_changed();
        Ok(outcome)
    }
}

/// Something to compare with the peer of this name: what the other side has begun, else a new one.
pub(crate) async fn verify(
    shared: &Arc<Shared>,
    name: &PeerName,
) -> Result<Comparison, VerifyError> {
    let (session, record) = shared.find(name)?;
    let (peer, end) = (record.peer, Instant::now() + READY);
    let comparisons = &shared.comparisons;
    let comparison = |pending, until| Comparison {
        shared: Arc::clone(shared),
        node: session.node.clone(),
        pending,
        until,
    };
    loop {
        match comparisons.change(|table| table.wanted(peer, Instant::now())) {
            Wanted::Take(mut pending, until) => {
                if pending.is_open() {
                    return Ok(comparison(pending, until));
                }
            }
            Wanted::Busy => return Err(VerifyError::Busy(name.clone())),
            Wanted::Wait => {
                let made = comparisons.until(|table| !table.is_answering(peer));
                let made = timeout_at(end, made).await;
                made.map_err(|_| VerifyError::TimedOut(name.clone()))?;
            }
            Wanted::Open => {
                let _own = Try {
                    comparisons,
                    peer,
                    end: Table::opened,
                };
                let opened = tokio::select! {
                    opened = timeout_at(end, open(&session, &record)) => opened,
                    () = comparisons.until(|table| !table.is_opening(peer)) => continue,
                };
                match opened.unwrap_or_else(|_| Err(VerifyError::TimedOut(name.clone()))) {
                    Ok(pending) => return Ok(comparison(pending, Instant::now() + table::PENDING)),
                    // The other side opens too, and does not give way.
                    Err(error) if sas::gives_way(&session.me(), &peer) => {
                        let comes = comparisons.until(|table| table.has_inbound(peer));
                        timeout(CROSSING, comes).await.map_err(|_| error)?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

async fn open(session: &Session, record: &MemberRecord) -> Result<Pending, VerifyError> {
    let opened = reach::open(session, record.peer, Protocol::Verify).await;
    let stream =
        opened.map_err(|source: ReachError| PeerError::reach(record.name.clone(), source))?;
    let mut stream = BufReader::new(stream);
    let namespace = session.membership().namespace().clone();
    let ends = Ends {
        namespace: namespace.clone(),
        opener: session.me(),
        answerer: record.peer,
    };
    let made = exchange::open(&mut stream, ends, Secret::new(rand::random())).await;
    let sas = made.map_err(|source| VerifyError::Exchange {
        peer: record.name.clone(),
        source,
    })?;
    Ok(Pending {
        stream,
        sas,
        record: record.clone(),
        namespace,
    })
}

/// Answers a stream that a member has opened, and keeps what comes out of it for the person here.
pub(crate) async fn serve(session: &Session, stream: Stream) {
    let peer = stream.peer();
    let Some(record) = session.other(&peer) else {
        return;
    };
    let comparisons = &session.shared.comparisons;
    let inbound = comparisons.change(|table| {
        table.retain(Pending::is_open);
        table.inbound(peer, Instant::now())
    });
    if inbound == Inbound::Refuse {
        tracing::debug!(%peer, "comparison refused");
        return;
    }
    let _theirs = Try {
        comparisons,
        peer,
        end: |table, peer| table.answered(peer, None, Instant::now()),
    };
    let namespace = session.membership().namespace().clone();
    let ends = Ends {
        namespace: namespace.clone(),
        opener: peer,
        answerer: session.me(),
    };
    let nonce = Secret::new(rand::random());
    let mut stream = BufReader::new(stream);
    let answered = exchange::answer(&mut stream, ends, &nonce);
    match timeout(member::EXCHANGE_TIMEOUT, answered).await {
        Ok(Ok(sas)) => {
            tracing::info!(%peer, name = record.name.as_str(), "wants to be compared with: peerup verify");
            let pending = Pending {
                stream,
                sas,
                record,
                namespace,
            };
            comparisons.change(|table| table.answered(peer, Some(pending), Instant::now()));
        }
        Ok(Err(error)) => tracing::warn!(%peer, %error, "no comparison"),
        Err(_) => tracing::warn!(%peer, "no comparison in time"),
    }
}
