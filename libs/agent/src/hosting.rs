//! This peer as a sponsor: the invites that it has open, in memory, and the guests that it has let in, on disk.
//!
//! ```text
//! Handle::invite ──▶ open ──▶ relays (invite registration, again on each new link) ──▶ code for a person
//! stranger ── circuit, stream invite ──▶ serve ──▶ redeem ── stored ──▶ answered
//! guest ── circuit, stream member, grant ──▶ check ──▶ admitted by this peer, and by nobody else
//! ```
//! What is not in the list of guests is not accepted, so a guest is sent away by taking its grant out.

mod door;
mod open;
mod relays;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use peerup_pairing::invite::{Ask, Decision, Invites, Lookup, OpenError, SLOT, Sponsor};
use peerup_pairing::membership::{GuestRefusal, Guests};
use peerup_protocol::api::RefusalReason;
use peerup_protocol::frame::GuestRequest;
use peerup_protocol::id::{GroupId, NetworkId, PeerName, Serial, Slot};
use peerup_protocol::record::{GuestGrant, MAX_GUEST_SECONDS, Revocations, Signed};
use peerup_protocol::secret::CodeSecret;
use peerup_protocol::{PeerId, SigningKey, UnixTime};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::now;
use crate::session::lock;
use crate::state::{StateError, Store};

pub(crate) use door::serve;
pub use open::{Invitation, InviteError};
pub(crate) use open::{invite, revoke, withdraw};
pub(crate) use relays::keep_registered;

const VERSION: u8 = 1;
/// Ends of invites that are remembered for those who ask.
const MAX_ENDED: usize = 32;

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u8,
    guests: Vec<Signed>,
}

/// How it stands with an invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InviteState {
    /// It waits for its guest.
    Open,
    /// It has let in the guest of this name.
    Used(PeerName),
    /// Three attempts with a wrong code have closed it.
    Failed,
    /// It was withdrawn.
    Withdrawn,
    /// Its time is over, or there never was one.
    Over,
}

/// Invites and guests of one membership.
#[derive(Debug)]
pub(crate) struct Hosting {
    net: NetworkId,
    key: SigningKey,
    store: Arc<Store>,
    book: Mutex<Book>,
    /// One change of the guests at a time, each durable before the next.
    changing: tokio::sync::Mutex<()>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Book {
    invites: Invites,
    guests: Guests,
    /// Whom invites have let in, the newest last.
    used: Vec<(GroupId, PeerName)>,
}

/// Who asks to be let in.
struct Stranger {
    group: GroupId,
    slot: Slot,
    peer: PeerId,
    request: GuestRequest,
}

impl Hosting {
    /// The guests that are stored. A file that is damaged, or of another network, counts as none.
    pub(crate) fn load(net: NetworkId, me: PeerId, key: SigningKey, store: Arc<Store>) -> Self {
        let none = Guests::new(net, me);
        let guests = match store.guests::<Stored>() {
            Ok(Some(Stored {
                version: VERSION,
                guests,
            })) => Guests::load(net, me, guests, now()).unwrap_or_else(|error| {
                tracing::warn!(%error, "the stored guests do not hold, there are none");
                none
            }),
            Ok(Some(Stored { version, .. })) => {
                tracing::warn!(version, "stored guests of another version, there are none");
                none
            }
            Ok(None) => none,
            Err(error) => {
                tracing::warn!(%error, "there are no guests");
                none
            }
        };
        Self {
            net,
            key,
            store,
            book: Mutex::new(Book {
                invites: Invites::new(),
                guests,
                used: Vec::new(),
            }),
            changing: tokio::sync::Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// The guests whose time is not over.
    pub(crate) fn guests(&self) -> Vec<GuestGrant> {
        lock(&self.book).guests.live(now()).cloned().collect()
    }

    /// Told whenever invites or guests change.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What `peer` is by the grant that it shows.
    pub(crate) fn check(
        &self,
        signed: &Signed,
        peer: &PeerId,
        revocations: Option<&Revocations>,
    ) -> Result<GuestGrant, GuestRefusal> {
        let book = lock(&self.book);
        book.guests.check(signed, peer, revocations, now())
    }

    /// Whether the grant is in the list.
    pub(crate) fn holds(&self, grant: &GuestGrant) -> bool {
        lock(&self.book).guests.signed(grant.serial).is_some()
    }

    /// How it stands with the invite of a group.
    pub(crate) fn state(&self, group: &GroupId) -> InviteState {
        let book = lock(&self.book);
        if let Some((_, guest)) = book.used.iter().find(|(used, _)| used == group) {
            return InviteState::Used(guest.clone());
        }
        match book.invites.lookup(group, SLOT, now()) {
            Lookup::Known(_) => InviteState::Open,
            Lookup::Unknown(RefusalReason::Burned) => InviteState::Failed,
            Lookup::Unknown(RefusalReason::Revoked) => InviteState::Withdrawn,
            Lookup::Unknown(_) => InviteState::Over,
        }
    }

    /// The invites that wait for a guest, and when they end.
    pub(crate) fn waiting(&self) -> BTreeMap<GroupId, UnixTime> {
        let book = lock(&self.book);
        let waiting = book.invites.waiting(now());
        waiting.map(|(group, until)| (*group, until)).collect()
    }

    fn open(&self, group: GroupId, secret: CodeSecret, ttl: u64) -> Result<UnixTime, OpenError> {
        lock(&self.book).invites.open(group, secret, ttl, now())
    }

    /// Nobody has got its code.
    fn cancel(&self, group: &GroupId) {
        lock(&self.book).invites.cancel(group);
    }

    /// False if there was nothing to close.
    fn close(&self, group: &GroupId) -> bool {
        lock(&self.book).invites.close(group)
    }

    fn lookup(&self, group: &GroupId, slot: Slot) -> Lookup {
        lock(&self.book).invites.lookup(group, slot, now())
    }

    fn failed(&self, group: &GroupId, reason: RefusalReason) {
        lock(&self.book).invites.failed(group, reason, now());
    }

    /// Lets a stranger in whose MAC was right; durable when it returns. `taken` are names that no guest gets. A grant
    /// that can't be stored is not given, and its invite is spent all the same.
    async fn redeem(
        &self,
        stranger: Stranger,
        taken: &BTreeSet<PeerName>,
    ) -> Result<Signed, RefusalReason> {
        let _one = self.changing.lock().await;
        let ask = Ask {
            group: stranger.group,
            slot: stranger.slot,
            guest: stranger.peer,
            request: &stranger.request,
        };
        let sponsor = Sponsor {
            net: self.net,
            key: &self.key,
            serial: Serial(rand::random::<u64>() >> 1),
            lifetime: MAX_GUEST_SECONDS,
            taken,
        };
        let (former, signed) = {
            let mut book = lock(&self.book);
            let former = book.guests.clone();
            let Book {
                invites, guests, ..
            } = &mut *book;
            match invites.redeem(guests, ask, sponsor, now()) {
                Decision::Grant(signed) => (former, signed),
                Decision::Refuse(refused) => return Err(refused.refused),
            }
        };
        if let Err(error) = self.save().await {
            tracing::error!(%error, "a guest can't be stored and is not let in");
            lock(&self.book).guests = former;
            return Err(RefusalReason::Unavailable);
        }
        if let Ok(grant) = GuestGrant::decode(&signed.bytes) {
            let mut book = lock(&self.book);
            book.used.retain(|(used, _)| *used != stranger.group);
            book.used.push((stranger.group, grant.name));
            let over = book.used.len().saturating_sub(MAX_ENDED);
            book.used.drain(..over);
        }
        Ok(signed)
    }

    /// Takes back the grant of the guest of this name, durably; false if there is none.
    async fn revoke(&self, name: &PeerName) -> Result<bool, StateError> {
        let _one = self.changing.lock().await;
        let former = lock(&self.book).guests.clone();
        let named = former.live(now()).find(|grant| grant.name == *name);
        let Some(serial) = named.map(|grant| grant.serial) else {
            return Ok(false);
        };
        lock(&self.book).guests.revoke(serial);
        // In memory it stays revoked, whatever happens to the file.
        self.save().await?;
        Ok(true)
    }

    async fn save(&self) -> Result<(), StateError> {
        let stored = Stored {
            version: VERSION,
            guests: lock(&self.book).guests.stored().cloned().collect(),
        };
        let store = Arc::clone(&self.store);
        let saved = tokio::task::spawn_blocking(move || store.save_guests(&stored)).await;
        saved.unwrap_or_else(|error| {
            let source = std::io::Error::other(error.to_string());
            let path = self.store.dir().to_owned();
            let action = "write guests in";
            Err(StateError::Io {
                action,
                path,
                source,
            })
        })
    }

    fn tell_changed(&self) {
        self.changed.send_replace(());
    }
}
