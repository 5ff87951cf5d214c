//! TCP and QUIC, with what circuits carry counted.

use std::error::Error;

use libp2p::{
    PeerId, Transport,
    core::{
        muxing::{StreamMuxer, StreamMuxerBox},
        transport::Boxed,
        upgrade::Version,
    },
    identity::Keypair,
    noise, quic, tcp, yamux,
};

use crate::carried::{Carried, Counting};

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

pub(crate) fn tcp(
    key: &Keypair,
    carried: Carried,
) -> Result<Connections, Box<dyn Error + Send + Sync>> {
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(yamux::Config::default())
        .map(move |(peer, connection), _| (peer, counting(connection, &carried)));
    Ok(transport.boxed())
}

pub(crate) fn quic(key: &Keypair, carried: Carried) -> Connections {
    quic::tokio::Transport::new(quic::Config::new(key))
        .map(move |(peer, connection), _| (peer, counting(connection, &carried)))
        .boxed()
}

fn counting<M>(connection: M, carried: &Carried) -> StreamMuxerBox
where
    M: StreamMuxer<Error: Send + Sync> + Unpin + Send + 'static,
    M::Substream: Unpin + Send,
{
    StreamMuxerBox::new(Counting::new(connection, carried.clone()))
}
