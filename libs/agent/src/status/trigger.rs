//! Why a measurement is made.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One reason. Of several, the first in this order is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trigger {
    /// The membership began.
    Start,
    /// Somebody asked.
    Request,
    /// Links, addresses or routes of this machine changed.
    NetworkChange,
    /// A relay sees this peer at another address.
    ObservedAddress,
    /// Connections to relays came or went.
    RelayConnections,
    /// The network's settings changed.
    Settings,
    /// The period was over.
    Period,
}

impl Trigger {
    /// Whether it comes from outside, as often as it likes.
    pub(crate) const fn is_change(self) -> bool {
        match self {
            Self::NetworkChange | Self::ObservedAddress | Self::RelayConnections => true,
            Self::Start | Self::Request | Self::Settings | Self::Period => false,
        }
    }
}

/// To be read after "measured".
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "at the start",
            Self::Request => "because somebody asked",
            Self::NetworkChange => "because the network of this machine changed",
            Self::ObservedAddress => "because a relay sees this peer at another address",
            Self::RelayConnections => "because connections to relays changed",
            Self::Settings => "because the settings of the network changed",
            Self::Period => "as in every period",
        })
    }
}
