//! Reports of peers outside the cluster, handed on to the operator, which checks them. The stream is closed when
//! the operator has the report, and reset when not.

use futures::AsyncWriteExt;
use peerup_node::io::read_frame;
use peerup_node::{PeerId, Stream};
use peerup_protocol::api::{OutsideReport, ReportRequest};
use peerup_protocol::frame::{MAX_FRAME, ReportFrame};
use tokio::time::{Duration, Instant};

use super::Inbound;

/// Longest time for the operator's answer.
const CALL: Duration = Duration::from_secs(7);

pub(super) async fn serve(inbound: &Inbound, peer: PeerId, mut stream: Stream) {
    let Ok(_permit) = inbound.reports.try_acquire() else {
        return;
    };
    let Some(request) = read(peer, &mut stream).await else {
        return;
    };
    match inbound
        .operator
        .report(&request, Instant::now() + CALL)
        .await
    {
        Ok(_) => {
            let _ = stream.close().await;
        }
        Err(error) => tracing::debug!(%peer, %error, "report not handed on"),
    }
}

async fn read(peer: PeerId, stream: &mut Stream) -> Option<ReportRequest> {
    let body = read_frame(stream, MAX_FRAME).await.ok()?;
    let ReportFrame {
        time,
        json,
        signature,
    } = ReportFrame::decode(&body).ok()?;
    Some(ReportRequest::Outside(OutsideReport {
        peer_id: peer,
        time,
        report: String::from_utf8(json).ok()?,
        signature,
    }))
}
