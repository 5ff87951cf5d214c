//! Members ask for datagrams from strangers here, to see whether these arrive.

use futures::AsyncWriteExt;
use peerup_node::Stream;
use peerup_node::io::{FrameError, read_frame, write_frame};
use peerup_protocol::frame::{MAX_FRAME, ProbeAsk};

use super::{Caller, Inbound};
use crate::clock;
use crate::probing::Asker;

/// Over a circuit there is no address to send to: the stream ends without an answer.
pub(super) async fn serve(inbound: &Inbound, from: Caller, mut stream: Stream) {
    let peer = from.peer;
    if let Err(error) = answer(inbound, from, &mut stream).await {
        tracing::debug!(%peer, %error, "not probed");
    }
}

async fn answer(inbound: &Inbound, from: Caller, stream: &mut Stream) -> Result<(), FrameError> {
    let body = read_frame(stream, MAX_FRAME).await?;
    let (Some(source), Ok(ask)) = (from.source, ProbeAsk::decode(&body)) else {
        return Ok(());
    };
    let asker = Asker {
        peer: from.peer,
        source,
        is_pod_here: inbound
            .network
            .roster()
            .is_attested_here(&from.peer, clock::now()),
    };
    let answer = inbound.probing.send(&asker, &ask);
    write_frame(stream, &answer.encode()).await?;
    Ok(stream.close().await?)
}
