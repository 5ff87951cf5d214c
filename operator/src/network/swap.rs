//! Changes of a network's status by compare-and-swap, for those who are not its controller.

use kube::{Api, Client, api::PostParams};
use peerup_crds::{PeerNetwork, PeerNetworkStatus, names::managers};

use crate::controller::ReconcileError;

/// Tries before the reconcile is begun anew.
const SWAPS: usize = 8;

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swapped {
    /// It is written.
    Written,
    /// There was nothing to write.
    Same,
    /// There is no such network.
    Gone,
}

/// Changes the status as it stands in the API server; `change` answers whether there is something to write, and is
/// asked again whenever somebody else was faster.
pub(crate) async fn status(
    client: &Client,
    namespace: &str,
    name: &str,
    change: impl Fn(&mut PeerNetworkStatus) -> Result<bool, ReconcileError>,
) -> Result<Swapped, ReconcileError> {
    let networks = Api::<PeerNetwork>::namespaced(client.clone(), namespace);
    let how = PostParams {
        field_manager: Some(managers::OPERATOR.to_owned()),
        ..PostParams::default()
    };
    for _ in 0..SWAPS {
        let found = networks
            .get_opt(name)
            .await
            .map_err(ReconcileError::at("read the PeerNetwork"))?;
        let Some(mut network) = found else {
            return Ok(Swapped::Gone);
        };
        if !change(network.status.get_or_insert_default())? {
            return Ok(Swapped::Same);
        }
        match networks.replace_status(name, &how, &network).await {
            Ok(_) => return Ok(Swapped::Written),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(source) => {
                return Err(ReconcileError::Api {
                    step: "write the PeerNetwork's status",
                    source,
                });
            }
        }
    }
    Err(ReconcileError::Other(
        "the PeerNetwork's status changes too often to be written".to_owned(),
    ))
}
