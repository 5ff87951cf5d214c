//! Changes of this machine's network: links, addresses and routes, as the kernel tells them; where it does not, looked
//! for every [`LOOK`]. Those in quick succession are told as one.

#[cfg(test)]
mod tests;

mod known;
mod message;
mod netlink;

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::facts;
use crate::session::Session;
use netlink::Netlink;

/// A change is told when nothing more has changed for so long …
const QUIET: Duration = Duration::from_millis(250);
/// … but at latest so long after the first of them.
const LONGEST: Duration = Duration::from_secs(1);
/// Pause between two looks where the kernel tells nothing.
const LOOK: Duration = Duration::from_secs(30);

/// Tells the session of changes for as long as it lasts.
pub(super) async fn run(session: &Session) -> Infallible {
    let mut watcher = Watcher::open();
    loop {
        watcher.settled().await;
        tracing::debug!("the network of this machine changed");
        session.signals.network_changed();
    }
}

/// Where changes are seen.
enum Watcher {
    Told(Netlink),
    Looks(Seen),
}

impl Watcher {
    fn open() -> Self {
        match Netlink::open() {
            Ok(netlink) => Self::Told(netlink),
            Err(error) => {
                let pause = LOOK.as_secs();
                tracing::info!(%error, pause, "the kernel tells no changes of the network; they are looked for");
                Self::Looks(Seen::now())
            }
        }
    }

    /// Waits until something has changed and is quiet again.
    async fn settled(&mut self) {
        self.changed().await;
        let mut burst = Burst::new(Instant::now());
        loop {
            tokio::select! {
                () = sleep_until(burst.settled()) => return,
                () = self.changed() => burst.goes_on(Instant::now()),
            }
        }
    }

    /// Waits for a change; it may be dropped and called again.
    async fn changed(&mut self) {
        loop {
            match self {
                Self::Told(netlink) => match netlink.changed().await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(%error, "the kernel tells no more changes of the network; they are looked for");
                        *self = Self::Looks(Seen::now());
                        // Something may have been missed.
                        return;
                    }
                },
                Self::Looks(seen) => {
                    sleep(LOOK).await;
                    let now = Seen::now();
                    if *seen != now {
                        *seen = now;
                        return;
                    }
                }
            }
        }
    }
}

/// What a look sees.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    interfaces: Vec<IpAddr>,
    route: Option<IpAddr>,
}

impl Seen {
    fn now() -> Self {
        let mut interfaces = facts::interfaces();
        interfaces.sort_unstable();
        Self {
            interfaces,
            route: facts::route(),
        }
    }
}

/// Changes in quick succession (pure).
#[derive(Debug)]
struct Burst {
    first: Instant,
    last: Instant,
}

impl Burst {
    fn new(now: Instant) -> Self {
        Self {
            first: now,
            last: now,
        }
    }

    fn goes_on(&mut self, now: Instant) {
        self.last = now;
    }

    /// When it is over, if nothing more comes.
    fn settled(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST)
    }
}
