//! The kernel's own socket for news of the network (rtnetlink(7)); any user may listen.

use std::future::poll_fn;
use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};

use super::known::Known;
use super::message::changes;

/// `RTMGRP_LINK`, `…_IPV4_IFADDR`, `…_IPV4_ROUTE`, `…_IPV6_IFADDR`, `…_IPV6_ROUTE`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// Longer messages are cut, and then read as far as they go.
const BUFFER: usize = 32 * 1024;
/// What a receive gives when news were lost because too many came at once.
const LOST: i32 = 105;

/// News of links, addresses and routes.
pub(super) struct Netlink {
    socket: TokioSocket,
    known: Known,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Listens from now on.
    ///
    /// # Errors
    /// Where the kernel, or a filter before it, does not let this process.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self {
            socket,
            known: Known::default(),
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// Waits for news that something has changed; it may be dropped and called again.
    ///
    /// # Errors
    /// When the socket is broken.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            let from = poll_fn(|cx| self.socket.poll_recv_from(cx, &mut self.buffer)).await;
            match from {
                // Other processes may send here too.
                Ok(from) if from.port_number() == 0 => {
                    let mut changed = false;
                    for change in changes(&self.buffer) {
                        changed |= self.known.take(change);
                    }
                    if changed {
                        return Ok(());
                    }
                }
                Ok(_) => (),
                Err(error) if error.raw_os_error() == Some(LOST) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
