//! Roster streams: a member asks once for all that came after what it knows, or for a new record; after that it is
//! told whatever changes, revocations at once, members at most every 5 s. Renewed records wait for the next page,
//! at latest the one that goes with lists that were signed anew.

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt};
use peerup_node::io::{FrameError, read_frame_within, write_frame};
use peerup_node::{PeerId, Stream};
use peerup_protocol::frame::{
    MAX_FRAME, MAX_LONG_FRAME, RosterAnswer, RosterAsk, RosterPage, pages,
};
use peerup_protocol::record::Signed;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use super::Inbound;
use crate::roster::{Position, Roster};

/// Whoever opens a stream asks at once.
const FIRST: Duration = Duration::from_secs(60);
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

/// What was told, and when its members were.
struct Told {
    state: State,
    at: Instant,
}

/// What there is to tell.
#[derive(PartialEq, Eq)]
struct State {
    generation: u64,
    version: u64,
    position: Position,
    lists: Option<(Signed, Signed)>,
}

impl State {
    fn of(roster: &Roster) -> Self {
        Self {
            generation: roster.generation(),
            version: roster.version(),
            position: roster.position(),
            lists: roster.lists(),
        }
    }
}

/// A question, or why there is none, and the reader.
type Asked = (ReadHalf<Stream>, Result<Vec<u8>, FrameError>);

/// What happens next on a stream.
enum Step {
    Asked(Asked),
    News,
}

/// How long the next question may take. A member that has asked may stay silent for as long as it listens: the stream is
/// what holds its link, and a connection that is dead is noticed elsewhere.
const fn patience(has_asked: bool) -> Duration {
    if has_asked { Duration::MAX } else { FIRST }
}

async fn ask(mut read: ReadHalf<Stream>, has_asked: bool) -> Asked {
    let asked = read_frame_within(&mut read, MAX_FRAME, patience(has_asked)).await;
    (read, asked)
}

impl Session<'_> {
    /// The reader's future is kept while pushes go out, so that no half-read question is lost.
    async fn run(mut self, read: ReadHalf<Stream>) -> Result<(), FrameError> {
        let mut changed = self.inbound.network.watch();
        let mut asking = Box::pin(ask(read, false));
        loop {
            let step = tokio::select! {
                asked = &mut asking => Step::Asked(asked),
                () = self.news(&mut changed) => Step::News,
            };
            match step {
                Step::Asked((read, Ok(body))) if self.answer(&body).await? => {
                    asking = Box::pin(ask(read, true));
                }
                Step::Asked((_, Ok(_) | Err(FrameError::Closed))) => {
                    return Ok(self.write.close().await?);
                }
                Step::Asked((_, Err(error))) => return Err(error),
                Step::News => self.push().await?,
            }
        }
    }

    /// Waits until there is something to push: the lists at once, members not too often.
    async fn news(&self, changed: &mut watch::Receiver<u64>) {
        loop {
            let Some(told) = &self.told else {
                return std::future::pending().await;
            };
            let state = self.state();
            let due = told.at + COALESCE;
            let members_wait = state.generation != told.state.generation;
            if state.lists != told.state.lists || (members_wait && Instant::now() >= due) {
                return;
            }
            tokio::select! {
                alive = changed.changed() => if alive.is_err() { return std::future::pending().await },
                () = sleep_until(due), if members_wait => {}
            }
        }
    }

    fn state(&self) -> State {
        State::of(&self.inbound.network.roster())
    }

    /// What there is to tell, and the page for somebody who stands at `from`: the changes since, or everything.
    fn look(&self, from: Position, version: Option<u64>) -> (State, RosterPage) {
        let roster = self.inbound.network.roster();
        let state = State::of(&roster);
        let version = version.filter(|_| from.run == state.position.run);
        let changes = version.and_then(|version| roster.page_after(version));
        (state, changes.unwrap_or_else(|| roster.page()))
    }

    /// Answers a question; false when it is not one, or nobody knows the answer now.
    async fn answer(&mut self, body: &[u8]) -> Result<bool, FrameError> {
        match RosterAsk::decode(body) {
            Ok(RosterAsk::Sync { run, seq }) => self.sync(Position { run, seq }).await?,
            Ok(RosterAsk::Renew) => {
                let Some(renewal) = self.inbound.renew(self.peer).await else {
                    return Ok(false);
                };
                let answer = renewal.map_or(RosterAnswer::Refused, RosterAnswer::Record);
                self.tell(&answer).await?;
            }
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "roster question");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells one that stands at `from` all that came later.
    async fn sync(&mut self, from: Position) -> Result<(), FrameError> {
        let version = self.inbound.network.roster().version_at(from);
        let (state, page) = self.look(from, version);
        self.tell_page(page).await?;
        self.tell_lists(state.lists.as_ref()).await?;
        self.told = Some(Told {
            state,
            at: Instant::now(),
        });
        Ok(())
    }

    /// Tells what differs from what was told. Members that changed a moment ago wait for the next push.
    async fn push(&mut self) -> Result<(), FrameError> {
        let Some(Told {
            state: told,
            mut at,
        }) = self.told.take()
        else {
            return Ok(());
        };
        let (mut state, page) = self.look(told.position, Some(told.version));
        let has_lists = state.lists != told.lists;
        let has_members = state.generation != told.generation;
        let is_due = if has_members {
            Instant::now() >= at + COALESCE
        } else {
            state.position != told.position
        };
        if is_due {
            self.tell_page(page).await?;
            if has_members {
                at = Instant::now();
            }
        } else {
            // What is not told now is told later.
            let lists = state.lists;
            state = State { lists, ..told };
        }
        if has_lists {
            self.tell_lists(state.lists.as_ref()).await?;
        }
        self.told = Some(Told { state, at });
        Ok(())
    }

    async fn tell_page(&mut self, page: RosterPage) -> Result<(), FrameError> {
        for page in pages(page) {
            self.tell(&RosterAnswer::Page(page)).await?;
        }
        Ok(())
    }

    async fn tell_lists(&mut self, lists: Option<&(Signed, Signed)>) -> Result<(), FrameError> {
        let Some((revocations, document)) = lists else {
            return Ok(());
        };
        for answer in list_frames(revocations.clone(), document.clone()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_question_has_a_time() {
        let year = Duration::from_secs(365 * 86_400);
        assert!(patience(false) < Duration::from_secs(3600));
        assert!(patience(true) > year);
    }
}
