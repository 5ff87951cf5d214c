//! Connections of peers that are not members yet: who may wait, how many, how
//! long (protocol.md, "Probation"). Pure; [`behaviour`] obeys it.
//!
//! ```text
//! arriving ──M1──────────────▶ probationary        3 s, 256 in all, 8 a source │ 15 s, 10, 2 a source
//!    │  ├──M1 of an attested──▶ asking ──lookup──▶ attested                    │ 15 s, 64
//!    │  └──circuit to an inviter▶ guest            counts as probationary      │ 15 s, one circuit
//!    └──expired record────────▶ renewing                                       │ 15 s, not counted
//! ```
//! Times run from the opening of the connection. Whoever does not fit and
//! whoever is late is closed.

pub(crate) mod behaviour;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Limits of the pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbationLimits {
    /// Connections that have said nothing yet.
    pub max_arriving: usize,
    /// Of these, from one source.
    pub max_arriving_per_source: usize,
    /// How long such a connection may say nothing.
    pub arriving_timeout: Duration,
    /// Connections that try to pair with a code.
    pub max_probationary: usize,
    /// Of these, from one source.
    pub max_probationary_per_source: usize,
    /// Connections that pair with an attested code.
    pub max_attested: usize,
    /// Life of a connection that is not a member's.
    pub timeout: Duration,
}

impl Default for ProbationLimits {
    fn default() -> Self {
        Self {
            max_arriving: 256,
            max_arriving_per_source: 8,
            arriving_timeout: Duration::from_secs(3),
            max_probationary: 10,
            max_probationary_per_source: 2,
            max_attested: 64,
            timeout: Duration::from_secs(15),
        }
    }
}

/// What a connection of a peer that is not a member is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pool {
    /// Nothing said yet.
    Arriving,
    /// M1 claimed an attested code that is being looked up; counts as arriving.
    Asking,
    /// Pairing with a code.
    Probationary,
    /// Pairing with an attested code.
    Attested,
    /// Has had its one circuit to a member with an open invite; counts as pairing with a code.
    Guest,
    /// Let in to renew an expired record; not counted.
    Renewing,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The pool is full.
    #[error("the pool is full")]
    Full,
    /// The source has its share already.
    #[error("the source has its share already")]
    Source,
    /// The connection is not on probation (any more).
    #[error("the connection is not on probation")]
    Unknown,
    /// The connection is there for something already, and a circuit is for those who have done nothing else.
    #[error("the connection is there for something else already")]
    Engaged,
}

/// Connections on probation in each pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Arriving or asking.
    pub arriving: usize,
    /// Pairing with a code, or with a circuit to an inviter.
    pub probationary: usize,
    /// Pairing with an attested code.
    pub attested: usize,
    /// Renewing.
    pub renewing: usize,
}

/// An IPv4 address or an IPv6 prefix of 64 bits; `None` where a relay hides it.
type Source = Option<IpAddr>;

/// The pools, keyed by connection.
#[derive(Debug)]
pub(crate) struct Pools<K> {
    limits: ProbationLimits,
    waiting: BTreeMap<K, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    pool: Pool,
    source: Source,
    opened: Instant,
}

impl<K: Ord + Copy> Pools<K> {
    pub(crate) fn new(limits: ProbationLimits) -> Self {
        Self {
            limits,
            waiting: BTreeMap::new(),
        }
    }

    /// Replaces the limits; who is there stays, and is closed by the new times.
    pub(crate) fn limit(&mut self, limits: ProbationLimits) {
        self.limits = limits;
    }

    /// A connection of a stranger from `ip` opens.
    pub(crate) fn arrive(
        &mut self,
        key: K,
        ip: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Refused> {
        let source = ip.map(prefix);
        self.room(Pool::Arriving, source, None)?;
        self.waiting.insert(
            key,
            Waiting {
                pool: Pool::Arriving,
                source,
                opened: now,
            },
        );
        Ok(())
    }

    /// The connection shows what it is there for. On refusal it stays where it is and should be closed.
    pub(crate) fn enter(&mut self, key: K, pool: Pool) -> Result<(), Refused> {
        let Waiting {
            source, pool: from, ..
        } = *self.waiting.get(&key).ok_or(Refused::Unknown)?;
        if pool == Pool::Guest && from != Pool::Arriving {
            return Err(Refused::Engaged);
        }
        self.room(pool, source, Some(key))?;
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.pool = pool;
        }
        Ok(())
    }

    /// The connection is gone; whether it was here.
    pub(crate) fn leave(&mut self, key: K) -> bool {
        self.waiting.remove(&key).is_some()
    }

    /// Takes out the connections whose time is over at `now`.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<K> {
        let limits = &self.limits;
        self.waiting
            .extract_if(.., |_, waiting| waiting.deadline(limits) <= now)
            .map(|(key, _)| key)
            .collect()
    }

    /// When the next connection's time is over.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.waiting
            .values()
            .map(|waiting| waiting.deadline(&self.limits))
            .min()
    }

    pub(crate) fn counts(&self) -> Counts {
        let count = |pool| self.waiting.values().filter(|w| w.pool == pool).count();
        Counts {
            arriving: count(Pool::Arriving) + count(Pool::Asking),
            probationary: count(Pool::Probationary) + count(Pool::Guest),
            attested: count(Pool::Attested),
            renewing: count(Pool::Renewing),
        }
    }

    /// Whether `pool` has room for one more from `source`, not counting the one that moves.
    fn room(&self, pool: Pool, source: Source, moving: Option<K>) -> Result<(), Refused> {
        let limits = &self.limits;
        let (max, per_source) = match pool {
            Pool::Arriving | Pool::Asking => (limits.max_arriving, limits.max_arriving_per_source),
            Pool::Probationary | Pool::Guest => {
                (limits.max_probationary, limits.max_probationary_per_source)
            }
            Pool::Attested => (limits.max_attested, usize::MAX),
            Pool::Renewing => return Ok(()),
        };
        let others = || {
            self.waiting
                .iter()
                .filter(|(key, other)| Some(**key) != moving && other.pool.shares_with(pool))
        };
        if others().count() >= max {
            return Err(Refused::Full);
        }
        if source.is_some() && others().filter(|(_, w)| w.source == source).count() >= per_source {
            return Err(Refused::Source);
        }
        Ok(())
    }
}

impl Pool {
    /// Whether connections in the two count together.
    fn shares_with(self, other: Self) -> bool {
        let first = |pool| match pool {
            Self::Asking => Self::Arriving,
            Self::Guest => Self::Probationary,
            Self::Arriving | Self::Probationary | Self::Attested | Self::Renewing => pool,
        };
        first(self) == first(other)
    }
}

impl Waiting {
    fn deadline(&self, limits: &ProbationLimits) -> Instant {
        self.opened
            + match self.pool {
                Pool::Arriving => limits.arriving_timeout,
                Pool::Asking
                | Pool::Probationary
                | Pool::Attested
                | Pool::Guest
                | Pool::Renewing => limits.timeout,
            }
    }
}

/// IPv4 addresses whole, IPv6 by their first 64 bits, which one subscriber owns.
fn prefix(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(bits.into())
        }
    }
}

#[cfg(test)]
mod tests;
