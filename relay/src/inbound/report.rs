//! Reports of peers outside the cluster, handed on to the operator, which checks them. The answer is the network's
//! periods when the operator has the report; when not the stream is reset.

use futures::AsyncWriteExt;
use peerup_node::io::{read_frame, write_frame};
use peerup_node::{PeerId, Stream};
use peerup_protocol::api::{OutsideReport, ReportAnswer, ReportRequest};
use peerup_protocol::frame::{MAX_FRAME, ReportFrame, ReportPeriods};
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
        Ok(ReportAnswer { settings }) => {
            let periods = ReportPeriods {
                probe: settings.probe_period_seconds,
                report: settings.report_period_seconds,
                offline_after: settings.offline_after_seconds,
                stabilization: settings.stabilization_seconds,
            };
            // Who does not wait for it has been heard all the same.
            let _ = write_frame(&mut stream, &periods.encode()).await;
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
