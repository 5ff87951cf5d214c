//! STUN on two UDP ports. What is answered, and to whom how often, is decided by `peerup_protocol::stun::server`;
//! here are the sockets. An answer leaves from the very address that was asked, also on a machine with several. From
//! the same ports probes leave, and questions to other relays about how they see them.

mod questions;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use peerup_protocol::frame::ProbeFrom;
use peerup_protocol::stun::server::{Handled, Local, Server};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::config::StunPorts;
use crate::egress::Leave;
use crate::metrics::{Metrics, StunResult};
use questions::Questions;

/// Datagrams taken from the system at once.
const BATCH: usize = 4;
/// Room for one datagram, or for several that the system has put together.
const ROOM: usize = 65_535;

/// The two sockets, and one limiter for both.
#[derive(Debug)]
pub(crate) struct Stun {
    sockets: [Port; 2],
    questions: Questions,
    server: Mutex<Server>,
    started: Instant,
    metrics: Metrics,
}

#[derive(Debug)]
struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    number: u16,
}

impl Stun {
    /// Binds both ports on all addresses.
    pub(crate) fn bind(ports: StunPorts, metrics: Metrics) -> io::Result<Self> {
        Ok(Self {
            sockets: [Port::bind(ports.primary)?, Port::bind(ports.alternate)?],
            questions: Questions::default(),
            server: Mutex::new(Server::new()),
            started: Instant::now(),
            metrics,
        })
    }

    /// The ports as bound, primary first.
    pub(crate) const fn ports(&self) -> [u16; 2] {
        let [primary, alternate] = &self.sockets;
        [primary.number, alternate.number]
    }

    /// Answers at both ports until `stop`.
    pub(crate) async fn serve(&self, stop: CancellationToken) {
        let [primary, alternate] = &self.sockets;
        tokio::select! {
            () = self.serve_port(primary, alternate.number) => {}
            () = self.serve_port(alternate, primary.number) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Sends a probe's nonce, as it is, from one of the ports; whether the system took it.
    pub(crate) fn probe(
        &self,
        from: ProbeFrom,
        to: SocketAddr,
        leave: Leave,
        nonce: &[u8],
    ) -> bool {
        let [primary, alternate] = &self.sockets;
        let port = match from {
            ProbeFrom::MainPort => primary,
            ProbeFrom::OtherPort => alternate,
        };
        port.send_to(to, leave, nonce)
    }

    async fn serve_port(&self, port: &Port, other: u16) {
        let mut room = vec![0; ROOM * BATCH];
        loop {
            let received = port
                .socket
                .async_io(Interest::READABLE, || self.receive(port, other, &mut room))
                .await;
            if let Err(error) = received {
                tracing::debug!(%error, port = port.number, "stun receive");
            }
        }
    }

    /// Takes what has come and answers it.
    fn receive(&self, port: &Port, other: u16, room: &mut [u8]) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); BATCH];
        let count = {
            let mut slices: Vec<IoSliceMut<'_>> =
                room.chunks_exact_mut(ROOM).map(IoSliceMut::new).collect();
            port.state
                .recv(UdpSockRef::from(&port.socket), &mut slices, &mut metas)?
        };
        for (meta, bytes) in metas.iter().zip(room.chunks_exact(ROOM)).take(count) {
            for datagram in bytes[..meta.len].chunks(meta.stride.max(1)) {
                self.answer(port, other, meta, datagram);
            }
        }
        Ok(())
    }

    fn answer(&self, port: &Port, other: u16, meta: &RecvMeta, datagram: &[u8]) {
        if self.questions.answered(meta.addr, datagram) {
            return;
        }
        let ip = meta
            .dst_ip
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ip| ip.to_canonical());
        let local = Local {
            origin: SocketAddr::new(ip, port.number),
            other: SocketAddr::new(ip, other),
        };
        let handled = self
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .handle(self.started.elapsed(), datagram, meta.addr, &local);
        self.metrics.stun(match handled {
            Handled::Answer(contents) => {
                port.send(meta, &contents);
                StunResult::Answered
            }
            Handled::Limited => StunResult::Limited,
            Handled::Ignored => StunResult::Ignored,
        });
    }
}

impl Port {
    /// IPv6 with IPv4 inside where the machine has it, else IPv4 alone.
    fn bind(number: u16) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, number))
            .or_else(|_| std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, number)))?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self {
            number: socket.local_addr()?.port(),
            socket,
            state,
        })
    }

    /// Sends to somebody who has not asked here.
    fn send_to(&self, to: SocketAddr, leave: Leave, contents: &[u8]) -> bool {
        let is_v6 = self.socket.local_addr().is_ok_and(|local| local.is_ipv6());
        let as_socket = |ip| match ip {
            IpAddr::V4(ip) if is_v6 => ip.to_ipv6_mapped().into(),
            IpAddr::V4(_) | IpAddr::V6(_) => ip,
        };
        let transmit = Transmit {
            destination: SocketAddr::new(as_socket(to.ip()), to.port()),
            ecn: None,
            contents,
            segment_size: None,
            src_ip: match leave {
                Leave::Any => None,
                Leave::From(ip) => Some(as_socket(ip)),
            },
        };
        let sent = self
            .state
            .try_send(UdpSockRef::from(&self.socket), &transmit);
        sent.inspect_err(|error| tracing::debug!(%error, "probe"))
            .is_ok()
    }

    /// A datagram that does not fit the queue is lost, as datagrams may be.
    fn send(&self, meta: &RecvMeta, contents: &[u8]) {
        let transmit = Transmit {
            destination: meta.addr,
            ecn: None,
            contents,
            segment_size: None,
            src_ip: meta.dst_ip,
        };
        let sent = self
            .state
            .try_send(UdpSockRef::from(&self.socket), &transmit);
        if let Err(error) = sent {
            tracing::debug!(%error, "stun send");
        }
    }
}
