//! What outlives a membership: the agent's handle, services and comparisons find the present one here.

use std::fmt;
use std::sync::Arc;

use peerup_protocol::id::PeerName;
use peerup_protocol::record::MemberRecord;
use peerup_protocol::{PeerId, SigningKey, id};
use tokio::sync::watch;

use crate::handle::PeerError;
use crate::metrics::Metrics;
use crate::services::{ServiceLimits, Services};
use crate::session::Session;
use crate::state::Store;
use crate::status::Board;
use crate::verify::{Comparisons, Marks};

/// One agent's.
pub(crate) struct Shared {
    pub(crate) key: SigningKey,
    pub(crate) board: Board,
    pub(crate) metrics: Metrics,
    pub(crate) store: Arc<Store>,
    pub(crate) services: Services,
    pub(crate) marks: Marks,
    pub(crate) comparisons: Comparisons,
    session: watch::Sender<Option<Arc<Session>>>,
}

// The session knows its shared part: printing all of it would never end.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// While it lives, its session is the present one.
pub(crate) struct Present<'a>(&'a Shared);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.session.send_replace(None);
    }
}

impl Shared {
    pub(crate) fn new(
        key: SigningKey,
        board: Board,
        metrics: Metrics,
        store: Arc<Store>,
        limits: ServiceLimits,
    ) -> Self {
        let me: PeerId = id::peer_id(&key.verifying_key());
        Self {
            services: Services::new(limits, board.clone(), metrics.clone()),
            marks: Marks::load(Arc::clone(&store), me),
            comparisons: Comparisons::new(me),
            session: watch::Sender::new(None),
            key,
            board,
            metrics,
            store,
        }
    }

    pub(crate) fn enter(&self, session: &Arc<Session>) -> Present<'_> {
        self.session.send_replace(Some(Arc::clone(session)));
        Present(self)
    }

    /// The present membership's.
    pub(crate) fn session(&self) -> Result<Arc<Session>, PeerError> {
        self.session.borrow().clone().ok_or(PeerError::NotJoined)
    }

    /// The other peer of this name: a member, a guest of this peer, or its sponsor.
    pub(crate) fn find(&self, name: &PeerName) -> Result<(Arc<Session>, MemberRecord), PeerError> {
        let session = self.session()?;
        if session.membership().record().name == *name {
            return Err(PeerError::Own(name.clone()));
        }
        let found = session
            .others()
            .into_iter()
            .find(|record| record.name == *name);
        let record = found.ok_or_else(|| PeerError::Unknown(name.clone()))?;
        Ok((session, record))
    }

    /// Somebody was verified, or is no longer.
    pub(crate) fn marks_changed(&self) {
        if let Ok(session) = self.session() {
            session.surroundings_changed();
        }
    }
}
