//! `renew`: a new record for a member, after a look at whether it still is one. That it will never be one again is told
//! by 404 and 410 only; whoever hears anything else asks again.

use kube::ResourceExt;
use peerup_crds::{PairingCode, PeerState};
use peerup_protocol::api::{RenewAnswer, RenewRequest};

use super::{Api, callers::RelayCaller, members, problem::Refusal, records};
use crate::clock;

impl Api {
    pub(super) fn renew(
        &self,
        relay: &RelayCaller,
        request: &RenewRequest,
    ) -> Result<RenewAnswer, Refusal> {
        let network = &relay.network;
        let peer = members::find(&self.context, network, &request.peer_id).ok_or_else(|| {
            Refusal::NotFound("this identity is no member of the network".to_owned())
        })?;
        if peer.spec.state == PeerState::Revoked {
            return Err(Refusal::gone("Revoked", "this member was revoked"));
        }
        if network.spec.suspend {
            return Err(Refusal::conflict(
                "Suspended",
                "the PeerNetwork is suspended: records are not renewed",
            ));
        }
        if members::pod_is_gone(&self.context, &peer) {
            return Err(Refusal::gone("PodGone", "the pod of this member is gone"));
        }
        if !members::is_member(&self.context, &peer) {
            return Err(Refusal::gone(
                "NotJoined",
                "this peer has not redeemed its code",
            ));
        }
        let code = peer
            .spec
            .pairing_code_ref
            .as_ref()
            .and_then(|code| self.code(network.namespace(), &code.name));
        let life = records::life(network, &peer, code.as_deref());
        let signed = records::sign(&relay.key, &peer, clock::now(), life)
            .map_err(|error| Refusal::Unavailable(error.to_string()))?;
        Ok(RenewAnswer {
            record: signed.bytes,
            signature: signed.signature,
        })
    }

    fn code(&self, namespace: Option<String>, name: &str) -> Option<std::sync::Arc<PairingCode>> {
        self.context
            .stores
            .codes
            .get(&namespace.unwrap_or_default(), name)
    }
}
