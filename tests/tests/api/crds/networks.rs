//! PeerNetwork: what is refused.

use anyhow::Result;
use serde_json::{Value, json};

use super::{kinds, refused, with, without};

#[tokio::test]
async fn bad_networks_are_refused() -> Result<()> {
    let (networks, _, _) = kinds().await?;
    let long = "a".repeat(41);
    for name in ["1crew", "crew.a", long.as_str()] {
        refused(
            name,
            networks.create(name, json!({})).await,
            "must be a DNS label of at most 40 characters",
        )?;
    }
    for (spec, words) in [
        (
            json!({ "dhtNamespace": "Crew" }),
            "spec.dhtNamespace in body should match",
        ),
        (
            json!({ "allowedNamespaces": { "from": "Selector" } }),
            "selector must be given with from: Selector",
        ),
        (
            json!({ "allowedNamespaces": { "selector": {} } }),
            "selector must be given with from: Selector",
        ),
        (
            json!({ "relay": { "managed": { "replicas": 10 } } }),
            "should be less than or equal to 9",
        ),
        (
            json!({ "relay": { "managed": { "replicas": 0 } } }),
            "should be greater than or equal to 1",
        ),
        (
            json!({ "relay": { "managed": { "service": { "port": 3478 } } } }),
            "must not be 3478 or 3479",
        ),
        (
            json!({ "relay": { "managed": { "service": { "port": 3479 } } } }),
            "must not be 3478 or 3479",
        ),
        (
            json!({ "relay": { "managed": { "podTemplate": { "affinity": { "nodeAffinity": "x" } } } } }),
            "must be of type object",
        ),
        (
            json!({ "pairing": { "maxFailedAttempts": 0 } }),
            "should be greater than or equal to 1",
        ),
    ] {
        refused(&spec.to_string(), networks.create("bad", spec).await, words)?;
    }
    Ok(())
}

#[tokio::test]
async fn bad_reachability_is_refused() -> Result<()> {
    let (networks, _, _) = kinds().await?;
    for (spec, words) in [
        (
            json!({ "reachability": { "offlineAfterSeconds": 10 } }),
            "must be greater than reportPeriodSeconds",
        ),
        (
            json!({ "reachability": { "offlineAfterSeconds": 9, "reportPeriodSeconds": 5 } }),
            "should be greater than or equal to 10",
        ),
        (
            json!({ "reachability": { "internalCIDRs": ["10.0.0.0/33"] } }),
            "must be an address range",
        ),
        (
            json!({ "reachability": { "stunServers": ["stun.example.com"] } }),
            "must be a host and a port",
        ),
        (
            json!({ "reachability": { "stunServers": ["2001:db8::1:3478"] } }),
            "must be a host and a port",
        ),
        (
            json!({ "reachability": { "minimumGrade": "F" } }),
            "Unsupported value: \"F\"",
        ),
    ] {
        refused(&spec.to_string(), networks.create("bad", spec).await, words)?;
    }
    Ok(())
}

#[tokio::test]
async fn bad_resources_are_refused() -> Result<()> {
    let (networks, _, _) = kinds().await?;
    let quantity = "must be a quantity such as 100m or 64Mi that is not negative";
    let names = "must name nothing but cpu, memory and ephemeral-storage";
    let relay = |resources: Value| json!({ "relay": { "managed": { "resources": resources } } });
    let sidecar = |resources: Value| json!({ "injection": { "resources": resources } });
    for (resources, words) in [
        (json!({ "limits": { "memory": "64 megs" } }), quantity),
        (json!({ "limits": { "memory": "" } }), quantity),
        (json!({ "requests": { "cpu": "-1" } }), quantity),
        (json!({ "requests": { "cpu": -1 } }), quantity),
        (json!({ "requests": { "mem": "64Mi" } }), names),
        (
            json!({ "limits": { "cpu": "1".repeat(33) } }),
            "may not be more than 32",
        ),
    ] {
        for spec in [relay(resources.clone()), sidecar(resources)] {
            refused(&spec.to_string(), networks.create("bad", spec).await, words)?;
        }
    }
    let root = json!({ "injection": { "runAsUser": 2_147_483_648_i64 } });
    let words = "should be less than or equal to 2147483647";
    refused("runAsUser", networks.create("bad", root).await, words)?;
    let all = json!({
        "limits": { "cpu": 2, "memory": "1.5Gi", "ephemeral-storage": "1e9" },
        "requests": { "cpu": "0", "memory": "64Mi" },
    });
    let good = json!({
        "relay": { "managed": { "resources": all.clone() } },
        "injection": { "resources": all, "runAsUser": 2_147_483_647_i64 },
    });
    networks.create("good", good).await?;
    Ok(())
}

#[tokio::test]
async fn rules_for_members_are_words() -> Result<()> {
    let (networks, _, _) = kinds().await?;
    for (spec, words) in [
        (
            json!({ "pairing": { "guests": "Some" } }),
            "Unsupported value: \"Some\"",
        ),
        (
            json!({ "peers": { "verification": "Maybe" } }),
            "Unsupported value: \"Maybe\"",
        ),
    ] {
        refused(&spec.to_string(), networks.create("bad", spec).await, words)?;
    }
    let spec =
        json!({ "pairing": { "guests": "Enabled" }, "peers": { "verification": "Required" } });
    networks.create("good", spec).await?;
    Ok(())
}

#[tokio::test]
async fn a_network_keeps_its_name_on_the_wire_and_its_epoch() -> Result<()> {
    let (networks, _, _) = kinds().await?;
    networks
        .create("named", json!({ "dhtNamespace": "shop" }))
        .await?;
    networks.create("unnamed", json!({})).await?;
    refused(
        "change",
        networks
            .merge("named", json!({ "spec": { "dhtNamespace": "other" } }))
            .await,
        "dhtNamespace must not change",
    )?;
    refused(
        "remove",
        networks
            .merge("named", json!({ "spec": { "dhtNamespace": null } }))
            .await,
        "must not be added or removed",
    )?;
    refused(
        "add",
        networks
            .merge("unnamed", json!({ "spec": { "dhtNamespace": "shop" } }))
            .await,
        "must not be added or removed",
    )?;

    let status = json!({ "networkID": "0".repeat(32), "dhtNamespace": "shop", "epoch": 2 });
    networks.status("named", status.clone()).await?;
    for (changed, words) in [
        (
            with(status.clone(), "epoch", json!(1)),
            "epoch must not become smaller",
        ),
        (
            without(status.clone(), "epoch"),
            "epoch must not become smaller",
        ),
        (
            with(status.clone(), "networkID", json!("1".repeat(32))),
            "networkID must not change",
        ),
        (
            with(status.clone(), "dhtNamespace", json!("other")),
            "dhtNamespace must not change",
        ),
        (Value::Null, "status must not be removed"),
    ] {
        refused(
            &changed.to_string(),
            networks.status("named", changed).await,
            words,
        )?;
    }
    networks
        .status("named", with(status, "epoch", json!(3)))
        .await?;
    Ok(())
}
