//! `report`: what a peer says of its reachability. A pod's token says whose report it is; a peer outside the
//! cluster signs its own, and a relay passes it on.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::ResourceExt;
use peerup_crds::{Peer, PeerNetwork, PeerState};
use peerup_protocol::{
    PeerId, UnixTime,
    api::{OutsideReport, PodReport, ReportAnswer},
    id::verifying_key,
    message,
    report::Report,
};

use super::{
    Api,
    callers::{PodCaller, RelayCaller},
    members,
    problem::Refusal,
    settings,
};
use crate::{clock, context::PeerKey};

/// How far a peer's clock may be away, in seconds.
const SKEW: UnixTime = 60;
/// Peers whose last time is remembered.
const MOST_PEERS: usize = 32_768;

/// When outside peers made their last reports: a report counts once.
#[derive(Default)]
pub(super) struct LastTimes(Mutex<HashMap<PeerId, UnixTime>>);

impl LastTimes {
    /// Whether a report of this time is a new one.
    fn advance(&self, peer: PeerId, time: UnixTime, now: UnixTime) -> bool {
        if time.abs_diff(now) > SKEW {
            return false;
        }
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() >= MOST_PEERS {
            // What is older than the skew is refused without being remembered.
            times.retain(|_, last| *last + SKEW >= now);
        }
        let newer = times.get(&peer).is_none_or(|last| time > *last);
        if newer && (times.len() < MOST_PEERS || times.contains_key(&peer)) {
            times.insert(peer, time);
            return true;
        }
        false
    }
}

impl Api {
    pub(super) fn report_of_pod(
        &self,
        caller: &PodCaller,
        request: PodReport,
    ) -> Result<ReportAnswer, Refusal> {
        let uid = caller.pod.uid().unwrap_or_default();
        let mut peers = members::of_pod(&self.context, &caller.network, &uid);
        peers.retain(|peer| peer.spec.state == PeerState::Active);
        let newest = peers.iter().max_by_key(|peer| peer.creation_timestamp());
        let peer = newest.ok_or_else(|| {
            Refusal::conflict("NotAttested", "this pod is no member; it must attest first")
        })?;
        self.record(&caller.network, peer, request.report);
        Ok(ReportAnswer {
            settings: settings::of_pod(&caller.network),
        })
    }

    pub(super) fn report_of_outside(
        &self,
        relay: &RelayCaller,
        request: &OutsideReport,
    ) -> Result<ReportAnswer, Refusal> {
        let signed = message::report(
            &relay.key.id,
            &request.peer_id,
            request.time,
            request.report.as_bytes(),
        );
        let proved = verifying_key(&request.peer_id)
            .is_ok_and(|key| message::verify(&key, &signed, &request.signature).is_ok());
        if !proved {
            return Err(Refusal::forbidden(
                "BadSignature",
                "a report must be signed by the peer that it is about",
            ));
        }
        let peer = members::find(&self.context, &relay.network, &request.peer_id)
            .filter(|peer| peer.spec.state == PeerState::Active);
        let peer = peer.ok_or_else(|| {
            Refusal::NotFound("this identity is no member of the network".to_owned())
        })?;
        let report = Report::from_json(request.report.as_bytes())
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        if !self
            .outside
            .advance(request.peer_id, request.time, clock::now())
        {
            return Err(Refusal::conflict(
                "StaleReport",
                "a report's time must grow and be within 60 seconds of now",
            ));
        }
        self.record(&relay.network, &peer, report);
        Ok(ReportAnswer {
            settings: settings::of_outside(&relay.network),
        })
    }

    fn record(&self, network: &PeerNetwork, peer: &Peer, report: Report) {
        let offline = network.spec.reachability.offline_after_seconds.into();
        let key = PeerKey {
            namespace: peer.namespace().unwrap_or_default(),
            name: peer.name_any(),
        };
        self.context.reports.record(
            key,
            &peer.uid().unwrap_or_default(),
            report,
            clock::now(),
            offline,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_once_and_only_when_it_is_made() {
        let times = LastTimes::default();
        let peer = peerup_protocol::id::peer_id(
            &peerup_protocol::SigningKey::from_bytes(&[1; 32]).verifying_key(),
        );
        assert!(!times.advance(peer, 39, 100) && !times.advance(peer, 161, 100));
        assert!(times.advance(peer, 100, 100));
        assert!(!times.advance(peer, 100, 100) && !times.advance(peer, 99, 100));
        assert!(times.advance(peer, 101, 100));
    }
}
