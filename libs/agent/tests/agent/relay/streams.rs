//! What the relay says on the streams of members.

use std::time::Duration;

use futures::AsyncWriteExt;
use peerup_node::io::{read_frame, read_frame_within, write_frame};
use peerup_node::{PeerId, Stream};
use peerup_protocol::frame::{
    MAX_FRAME, MAX_LONG_FRAME, ReportFrame, ReportPeriods, RosterAnswer, RosterAsk,
};
use peerup_protocol::id::verifying_key;
use peerup_protocol::message;
use peerup_protocol::record::Signed;
use peerup_protocol::report::Report;

use super::Network;

pub(super) fn renewed(network: &Network, peer: &PeerId) -> Option<Signed> {
    if network.book.lock().unwrap().refuse_renewal {
        return None;
    }
    let record = network.record_of(peer)?;
    Some(network.issue(*peer, &record.name))
}

pub(super) async fn roster(network: &Network, peer: PeerId, mut stream: Stream) {
    let ask = read_frame(&mut stream, MAX_FRAME).await.unwrap();
    let ask = RosterAsk::decode(&ask).unwrap();
    if ask == RosterAsk::Renew {
        let answer = renewed(network, &peer).map_or(RosterAnswer::Refused, RosterAnswer::Record);
        let _ = write_frame(&mut stream, &answer.encode()).await;
        return;
    }
    network.book.lock().unwrap().asked.push(ask);
    let nonsense = network.nonsense.lock().unwrap().pop();
    if let Some(nonsense) = nonsense {
        let _ = stream.write_all(&nonsense).await;
        let _ = stream.close().await;
        return;
    }
    let mut version = network.version.subscribe();
    loop {
        let seq = *version.borrow_and_update();
        let (revocations, document) =
            (Some(network.revocations().signed), Some(network.document()));
        let answers = [
            RosterAnswer::Lists {
                revocations,
                document,
            },
            RosterAnswer::Page(network.page(seq)),
        ];
        for answer in answers {
            if write_frame(&mut stream, &answer.encode()).await.is_err() {
                return;
            }
        }
        let closed = read_frame_within(&mut stream, MAX_LONG_FRAME, Duration::from_secs(600));
        let news = async {
            while version.changed().await.is_ok() && *network.deaf.lock().unwrap() == Some(peer) {}
        };
        tokio::select! {
            () = news => (),
            _ = closed => return,
        }
    }
}

pub(super) async fn report(network: &Network, peer: PeerId, mut stream: Stream) {
    let frame = ReportFrame::decode(&read_frame(&mut stream, MAX_FRAME).await.unwrap()).unwrap();
    let signed = message::report(&network.net(), &peer, frame.time, &frame.json);
    message::verify(&verifying_key(&peer).unwrap(), &signed, &frame.signature).unwrap();
    let report = Report::from_json(&frame.json).unwrap();
    network.book.lock().unwrap().reports.insert(peer, report);
    let periods = ReportPeriods {
        probe: 60,
        report: 30,
        offline_after: 90,
        stabilization: 60,
    };
    write_frame(&mut stream, &periods.encode()).await.unwrap();
    stream.close().await.unwrap();
}
