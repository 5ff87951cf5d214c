//! Mistakes of people: each is told clearly, and nothing else suffers.

pub(crate) mod objects;
pub(crate) mod pods;

use anyhow::Result;

use crate::world::World;

/// A namespace whose pods want a sidecar and that has no network.
pub(crate) const STRAYS: &str = "strays";

const NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: strays, labels: {peerup.dev/inject: enabled}}
";

fn strays(world: &World) -> Result<()> {
    world.cluster.apply(NAMESPACE)?.ok()?;
    // Without its account a pod is refused; it is made a moment after the namespace.
    let account = format!("wait --for=create serviceaccount/default -n {STRAYS} --timeout=60s");
    world.cluster.kubectl(&account)?.ok().map(drop)
}
