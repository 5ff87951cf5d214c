//! PairingCode: what is refused, and that its status never goes back.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Kind, kinds, refused, with, without};

fn code_status(slots: &[(u16, &str)]) -> Value {
    let codes: Vec<_> = slots
        .iter()
        .map(|(slot, state)| {
            let mut code = json!({
                "slot": slot, "state": state,
                "hash": format!("{slot:064x}"), "publicKey": format!("{slot:064x}"),
            });
            if *state == "Used" {
                code["peerRef"] = json!({ "name": "crew.laptop", "uid": "1" });
            }
            code
        })
        .collect();
    json!({
        "group": "0123456789abcdef", "issuedTime": "2026-01-01T00:00:00Z",
        "expirationTime": "2026-01-01T01:00:00Z", "failedAttempts": 1, "codes": codes,
    })
}

#[tokio::test]
async fn bad_pairing_codes_are_refused() -> Result<()> {
    let (_, codes, _) = kinds().await?;
    for (field, value, words) in [
        (
            "ttlSeconds",
            json!(5),
            "spec.ttlSeconds in body should be greater than or equal to 60",
        ),
        (
            "ttlSeconds",
            json!(604_801),
            "should be less than or equal to 604800",
        ),
        (
            "count",
            json!(0),
            "spec.count in body should be greater than or equal to 1",
        ),
        ("count", json!(101), "should be less than or equal to 100"),
        (
            "maxFailedAttempts",
            json!(11),
            "should be less than or equal to 10",
        ),
        (
            "networkRef",
            json!({}),
            "spec.networkRef.name: Required value",
        ),
        ("state", json!("Paused"), "Unsupported value: \"Paused\""),
    ] {
        let spec = with(json!({ "networkRef": { "name": "crew" } }), field, value);
        refused(&spec.to_string(), codes.create("bad", spec).await, words)?;
    }
    refused(
        "no spec",
        codes.create("bad", Value::Null).await,
        "spec: Required value",
    )
}

#[tokio::test]
async fn a_pairing_code_changes_only_its_state_and_only_once() -> Result<()> {
    let (_, codes, _) = kinds().await?;
    let spec = json!({
        "networkRef": { "name": "crew" }, "count": 3, "maxFailedAttempts": 3,
        "delivery": { "secret": { "name": "codes" } }, "peer": { "credentialTTLSeconds": 3600 },
    });
    codes.create("three", spec).await?;
    for (field, value, words) in [
        (
            "networkRef",
            json!({ "name": "other" }),
            "networkRef must not change",
        ),
        ("count", json!(4), "count must not change"),
        ("ttlSeconds", json!(7200), "ttlSeconds must not change"),
        (
            "maxFailedAttempts",
            json!(10),
            "maxFailedAttempts must not change",
        ),
        (
            "maxFailedAttempts",
            Value::Null,
            "maxFailedAttempts must not be added or removed",
        ),
        (
            "delivery",
            json!({ "secret": { "name": "other" } }),
            "delivery must not change",
        ),
        (
            "delivery",
            Value::Null,
            "delivery must not be added or removed",
        ),
        (
            "peer",
            json!({ "credentialTTLSeconds": 60 }),
            "peer must not change",
        ),
        ("peer", Value::Null, "peer must not be added or removed"),
    ] {
        let patch = json!({ "spec": { field: value } });
        refused(&patch.to_string(), codes.merge("three", patch).await, words)?;
    }
    codes
        .merge("three", json!({ "spec": { "state": "Revoked" } }))
        .await?;
    let patch = json!({ "spec": { "state": "Active" } });
    refused(
        "revive",
        codes.merge("three", patch).await,
        "state must stay Revoked",
    )
}

/// Slots with a hash and a public key each.
fn values(slots: &[u16]) -> Value {
    let value = |slot: &u16| json!({ "slot": slot, "hash": format!("{slot:064x}"), "publicKey": format!("{slot:064x}") });
    slots.iter().map(value).collect()
}

fn hashes(values: Value) -> Value {
    json!({ "type": "Hashes", "hashes": {
        "group": "0123456789abcdef", "notAfterTime": "2026-01-01T00:00:00Z", "values": values,
    } })
}

#[tokio::test]
async fn bad_hashes_are_refused() -> Result<()> {
    let (_, codes, _) = kinds().await?;
    let good = || hashes(values(&[0, 1]));
    let only = "hashes must be given with type: Hashes, and only then";
    let with_hash = |field: &str, value: Value| {
        let mut delivery = good();
        delivery["hashes"][field] = value;
        delivery
    };
    let mut bad_key = good();
    bad_key["hashes"]["values"][1]["publicKey"] = json!("F".repeat(64));
    for (delivery, words) in [
        (json!({ "type": "Hashes" }), only),
        (with(good(), "type", json!("Secret")), only),
        (without(good(), "type"), only),
        (
            with(good(), "secret", json!({ "name": "codes" })),
            "secret must be given with type: Secret only",
        ),
        (
            hashes(values(&[0])),
            "count must be the number of delivery.hashes.values",
        ),
        (
            hashes(values(&[0, 1, 2])),
            "count must be the number of delivery.hashes.values",
        ),
        (
            hashes(values(&[0, 2])),
            "values must have the slots 0 to count - 1",
        ),
        (hashes(values(&[1, 1])), "Duplicate value"),
        (hashes(json!([])), "should have at least 1 items"),
        (
            with_hash("group", json!("0123456789ABCDEF")),
            "should match '^[0-9a-f]{16}$'",
        ),
        (
            with_hash("notAfterTime", json!("tomorrow")),
            "notAfterTime in body must be of type date-time",
        ),
        (with_hash("notAfterTime", Value::Null), "Required value"),
        (bad_key, "should match '^[0-9a-f]{64}$'"),
    ] {
        let spec = json!({ "networkRef": { "name": "crew" }, "count": 2, "delivery": delivery });
        refused(&spec.to_string(), codes.create("bad", spec).await, words)?;
    }
    let spec = json!({ "networkRef": { "name": "crew" }, "count": 2, "delivery": good() });
    codes.create("good", spec).await?;
    let other = json!({ "group": "fedcba9876543210" });
    let patch = json!({ "spec": { "delivery": { "hashes": other } } });
    let words = "delivery must not change";
    refused("another group", codes.merge("good", patch).await, words)
}

/// The format `date-time` lets times through that no program of ours can read.
#[tokio::test]
async fn codes_end_at_a_time_that_everybody_can_read() -> Result<()> {
    let (_, codes, _) = kinds().await?;
    let ending = |time: &str| {
        let mut delivery = hashes(values(&[0]));
        delivery["hashes"]["notAfterTime"] = json!(time);
        json!({ "networkRef": { "name": "crew" }, "delivery": delivery })
    };
    let late = "notAfterTime must be before 2106-02-07T06:28:16Z";
    for (time, words) in [
        ("9999-12-31T23:59:59Z", late),
        ("2106-02-07T06:28:16Z", late),
        ("2026-01-01T00:00:00+99:99", "notAfterTime"),
        (
            "2026-01-01T00:00:00.1234567890Z",
            "notAfterTime in body should match",
        ),
    ] {
        refused(time, codes.create("bad", ending(time)).await, words)?;
    }
    for (name, time) in [
        ("last", "2106-02-07T06:28:15Z"),
        ("west", "2026-01-01T00:00:00.123456789-23:59"),
        ("first", "0000-01-01T00:00:00+23:59"),
    ] {
        let code = codes.create(name, ending(time)).await?;
        serde_json::from_value::<peerup_crds::PairingCodeSpec>(code.data["spec"].clone())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hundred_hashes_are_within_the_budget_of_the_rules() -> Result<()> {
    let (_, codes, _) = kinds().await?;
    let all: Vec<_> = (0..100).collect();
    let spec =
        json!({ "networkRef": { "name": "crew" }, "count": 100, "delivery": hashes(values(&all)) });
    codes.create("many", spec).await?;
    Ok(())
}

#[tokio::test]
async fn a_slot_never_goes_back() -> Result<()> {
    let codes = issued().await?;
    let hash = with_slot("hash", json!("f".repeat(64)));
    let key = with_slot("publicKey", json!("f".repeat(64)));
    let no_peer = with_slot("state", json!("Used"));
    for (changed, words) in [
        (
            without(issued_status(), "codes"),
            "codes must keep every slot",
        ),
        (
            with(issued_status(), "codes", json!([])),
            "codes must keep every slot",
        ),
        (
            code_status(&[(0, "Used"), (1, "Available")]),
            "codes must keep every slot",
        ),
        (
            code_status(&[(0, "Available"), (1, "Available"), (2, "Expired")]),
            "codes must keep the state of every slot",
        ),
        (
            code_status(&[(0, "Used"), (1, "Available"), (2, "Burned")]),
            "state must not change any more",
        ),
        (hash, "codes must keep hash and publicKey"),
        (key, "hash and publicKey must not change"),
        (no_peer, "peerRef must be set when the state is Used"),
    ] {
        refused(
            &changed.to_string(),
            codes.status("three", changed).await,
            words,
        )?;
    }
    let forward = code_status(&[(0, "Used"), (1, "Burned"), (2, "Expired")]);
    codes.status("three", forward).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_counted_never_goes_back() -> Result<()> {
    let codes = issued().await?;
    let status = issued_status;
    for (changed, words) in [
        (Value::Null, "status must not be removed"),
        (json!({}), "group must not change"),
        (
            with(status(), "failedAttempts", json!(0)),
            "failedAttempts must not become smaller",
        ),
        (
            without(status(), "failedAttempts"),
            "failedAttempts must not become smaller",
        ),
        (
            with(status(), "expirationTime", json!("2026-01-01T01:00:01Z")),
            "expirationTime must not become later",
        ),
        (
            with(status(), "issuedTime", json!("2025-01-01T01:00:01Z")),
            "issuedTime must not change",
        ),
    ] {
        refused(
            &changed.to_string(),
            codes.status("three", changed).await,
            words,
        )?;
    }
    let forward = with(status(), "failedAttempts", json!(3));
    let forward = with(forward, "expirationTime", json!("2026-01-01T00:30:00Z"));
    codes.status("three", forward).await?;
    Ok(())
}

fn issued_status() -> Value {
    code_status(&[(0, "Used"), (1, "Available"), (2, "Expired")])
}

/// The same with another value in the slot that is still available.
fn with_slot(field: &str, value: Value) -> Value {
    let mut status = issued_status();
    status["codes"][1][field] = value;
    status
}

/// A PairingCode with that status.
async fn issued() -> Result<Kind> {
    let (_, codes, _) = kinds().await?;
    let spec = json!({ "networkRef": { "name": "crew" }, "count": 3 });
    codes.create("three", spec).await?;
    codes.status("three", issued_status()).await?;
    Ok(codes)
}

#[tokio::test]
async fn a_hundred_codes_are_within_the_budget_of_the_rules() -> Result<()> {
    let (_, codes, _) = kinds().await?;
    codes
        .create(
            "many",
            json!({ "networkRef": { "name": "crew" }, "count": 100 }),
        )
        .await?;
    let all = |state: &'static str| (0..100).map(|slot| (slot, state)).collect::<Vec<_>>();
    codes.status("many", code_status(&all("Available"))).await?;
    codes.status("many", code_status(&all("Used"))).await?;
    Ok(())
}
