//! The destination's side: a stream of another peer, decided, led to the local program, answered with one byte.

use std::sync::Arc;

use futures::{AsyncWriteExt, io};
use peerup_node::Stream;
use peerup_node::io::FRAME_TIMEOUT;
use peerup_protocol::service::{Expose, Host, ServiceAnswer, ServiceName};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::admit::{self, Asker, View};
use super::{Services, pipe};
use crate::clock::now;
use crate::session::{Bond, Session};
use crate::status::Badge;

/// Serves one stream to its end.
pub(crate) async fn serve(session: Arc<Session>, service: ServiceName, mut stream: Stream) {
    let services = &session.shared.services;
    let peer = stream.peer();
    let record = session.other(&peer);
    let bond = session.bond(&peer);
    let place = services.load.take(peer);
    let asker = Asker {
        record: record.as_ref(),
        verified: session.badge(&peer) == Badge::Verified,
    };
    let decided = {
        let membership = session.membership();
        let (network, room) = (View::of(&membership, now()), place.is_some());
        match bond {
            None => admit::decide(&service, asker, network, room),
            Some(Bond::Guest) => admit::decide_guest(&service, asker.verified, network, room),
            Some(Bond::Sponsor) => admit::decide_sponsor(room),
        }
    };
    let offer = services.offer(&service);
    let (answer, local) = match (decided, &offer) {
        (ServiceAnswer::Accepted, Some(offer)) => match connect(services, &offer.expose).await {
            Ok(local) => (ServiceAnswer::Accepted, Some(local)),
            Err(error) => {
                tracing::warn!(service = service.as_str(), target = %offer.expose, %error, "service is not reached");
                (ServiceAnswer::Unavailable, None)
            }
        },
        // It was withdrawn while the stream was on its way.
        (ServiceAnswer::Accepted, None) => (ServiceAnswer::NoSuchService, None),
        (refusal, _) => (refusal, None),
    };
    services.count(&service, answer.as_str());
    let name = record.as_ref().map(|record| record.name.as_str());
    if answer == ServiceAnswer::Accepted {
        tracing::debug!(service = service.as_str(), %peer, name, "service connection");
    } else {
        tracing::info!(service = service.as_str(), %peer, name, result = answer.as_str(), "service refused");
    }
    let told = timeout(FRAME_TIMEOUT, tell(&mut stream, answer)).await;
    let (Ok(Ok(())), Some(local), Some(offer)) = (told, local, offer) else {
        return;
    };
    let bytes = services.bytes(&service);
    let idle = services.limits.idle;
    let ended = pipe::carry(local, stream, bytes, idle, &offer.stop).await;
    if let Err(error) = ended {
        tracing::debug!(service = service.as_str(), %peer, %error, "service connection broke");
    }
}

/// The answer, and after a refusal the end.
async fn tell(stream: &mut Stream, answer: ServiceAnswer) -> io::Result<()> {
    stream.write_all(&[answer.as_u8()]).await?;
    match answer {
        ServiceAnswer::Accepted => stream.flush().await,
        ServiceAnswer::NotAllowed
        | ServiceAnswer::NoSuchService
        | ServiceAnswer::Unavailable
        | ServiceAnswer::Busy
        | ServiceAnswer::VerificationRequired
        | ServiceAnswer::StaleRevocations => stream.close().await,
    }
}

async fn connect(services: &Services, expose: &Expose) -> io::Result<TcpStream> {
    let connected = async {
        match &expose.host {
            Host::Ip(address) => TcpStream::connect((*address, expose.port)).await,
            Host::Name(name) => TcpStream::connect((name.as_str(), expose.port)).await,
        }
    };
    let local = timeout(services.limits.connect, connected).await??;
    local.set_nodelay(true)?;
    Ok(local)
}
