//! Roster streams: a member asks once for everything, or for a new record; after that it is told again whenever
//! the roster changes, revocations at once, members at most every 5 s.

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt};
use peerup_node::io::{FrameError, read_frame_within, write_frame};
use peerup_node::{PeerId, Stream};
use peerup_protocol::frame::{MAX_FRAME, MAX_LONG_FRAME, RosterAnswer, RosterAsk, pages};
use peerup_protocol::record::Signed;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use super::Inbound;
use crate::roster::Position;

/// A member may stay silent on its stream for this long; then it asks again on a new one.
const IDLE: Duration = Duration::from_secs(24 * 3600);
/// Pushes of members follow each other no faster.
const COALESCE: Duration = Duration::from_secs(5);

pub(super) async fn serve(inbound: &Inbound, peer: PeerId, stream: Stream) {
    let (read, write) = stream.split();
    let session = Session {
        inbound,
        peer,
        write,
        told: None,
    };
    if let Err(error) = session.run(read).await {
        tracing::debug!(%peer, %error, "roster stream ended");
    }
}

struct Session<'a> {
    inbound: &'a Inbound,
    peer: PeerId,
    write: WriteHalf<Stream>,
    /// What the member has been told last, once it has asked.
    told: Option<Told>,
}

/// What was told, and when.
struct Told {
    position: Position,
    lists: Option<(Signed, Signed)>,
    at: Instant,
}

/// A question, or why there is none, and the reader.
type Asked = (ReadHalf<Stream>, Result<Vec<u8>, FrameError>);

/// What happens next on a stream.
enum Step {
    Asked(Asked),
    News { lists_only: bool },
}

async fn ask(mut read: ReadHalf<Stream>) -> Asked {
    let asked = read_frame_within(&mut read, MAX_FRAME, IDLE).await;
    (read, asked)
}

impl Session<'_> {
    /// The reader's future is kept while pushes go out, so that no half-read question is lost.
    async fn run(mut self, read: ReadHalf<Stream>) -> Result<(), FrameError> {
        let mut changed = self.inbound.network.watch();
        let mut asking = Box::pin(ask(read));
        loop {
            let step = tokio::select! {
                asked = &mut asking => Step::Asked(asked),
                lists_only = self.news(&mut changed) => Step::News { lists_only },
            };
            match step {
                Step::Asked((read, Ok(body))) if self.answer(&body).await? => {
                    asking = Box::pin(ask(read));
                }
                Step::Asked((_, Ok(_) | Err(FrameError::Closed))) => {
                    return Ok(self.write.close().await?);
                }
                Step::Asked((_, Err(error))) => return Err(error),
                Step::News { lists_only } => self.push(lists_only).await?,
            }
        }
    }

    /// Waits until there is something to push; true when only the lists may be told yet.
    async fn news(&self, changed: &mut watch::Receiver<u64>) -> bool {
        loop {
            let Some(told) = &self.told else {
                return std::future::pending().await;
            };
            let (position, lists) = self.state();
            let due = told.at + COALESCE;
            if position != told.position && Instant::now() >= due {
                return false;
            }
            if lists != told.lists {
                return true;
            }
            let members_wait = position != told.position;
            tokio::select! {
                alive = changed.changed() => if alive.is_err() { return std::future::pending().await },
                () = sleep_until(due), if members_wait => {}
            }
        }
    }

    fn state(&self) -> (Position, Option<(Signed, Signed)>) {
        let roster = self.inbound.network.roster();
        (roster.position(), roster.lists())
    }

    /// Answers a question; false when it is not one.
    async fn answer(&mut self, body: &[u8]) -> Result<bool, FrameError> {
        match RosterAsk::decode(body) {
            Ok(RosterAsk::Sync { run, seq }) => {
                self.sync(Position { run, seq }).await?;
                self.tell_lists().await?;
            }
            Ok(RosterAsk::Renew) => {
                let record = self.inbound.renew(self.peer).await;
                let answer = record.map_or(RosterAnswer::Refused, RosterAnswer::Record);
                self.tell(&answer).await?;
            }
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "roster question");
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn push(&mut self, lists_only: bool) -> Result<(), FrameError> {
        if let (false, Some(told)) = (lists_only, &self.told) {
            let position = told.position;
            self.sync(position).await?;
        }
        self.tell_lists().await
    }

    /// Tells the members to one that stands at `from`.
    async fn sync(&mut self, from: Position) -> Result<(), FrameError> {
        let (page, position) = {
            let roster = self.inbound.network.roster();
            (roster.page(from), roster.position())
        };
        for page in pages(page) {
            self.tell(&RosterAnswer::Page(page)).await?;
        }
        let lists = self.told.take().and_then(|told| told.lists);
        self.told = Some(Told {
            position,
            lists,
            at: Instant::now(),
        });
        Ok(())
    }

    /// Tells revocations and network document, unless the member has been told just these.
    async fn tell_lists(&mut self) -> Result<(), FrameError> {
        let (_, lists) = self.state();
        let (Some((revocations, document)), Some(told)) = (&lists, &mut self.told) else {
            return Ok(());
        };
        if told.lists == lists {
            return Ok(());
        }
        let answers = list_frames(revocations.clone(), document.clone());
        told.lists = lists;
        for answer in answers {
            self.tell(&answer).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, answer: &RosterAnswer) -> Result<(), FrameError> {
        write_frame(&mut self.write, &answer.encode()).await
    }
}

/// One frame with both lists, or two when they do not fit one.
fn list_frames(revocations: Signed, document: Signed) -> Vec<RosterAnswer> {
    let overhead = 256;
    if revocations.bytes.len() + document.bytes.len() + overhead <= MAX_LONG_FRAME {
        return vec![RosterAnswer::Lists {
            revocations: Some(revocations),
            document: Some(document),
        }];
    }
    vec![
        RosterAnswer::Lists {
            revocations: Some(revocations),
            document: None,
        },
        RosterAnswer::Lists {
            revocations: None,
            document: Some(document),
        },
    ]
}
