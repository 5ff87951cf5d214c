//! From a PairingCode to its Secret and its end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use peerup_crds::{PairingCode, PeerNetwork, SlotState};
use peerup_protocol::code::Code;
use peerup_tests::wait::eventually;
use serde_json::{Value, json};

use super::world::{SOON, World, gone};

/// A network that can be reached from outside.
async fn reachable(world: &World) -> Result<()> {
    let advertised = json!([{"ordinal": 0, "addresses": ["/ip4/192.0.2.1/tcp/4001"]}]);
    world
        .network(
            "main",
            json!({"relay": {"managed": {"advertiseAddresses": advertised}}}),
        )
        .await?;
    Ok(())
}

fn texts(secret: &Secret) -> Result<Vec<(String, String)>> {
    let data = secret.data.clone().unwrap_or_default();
    data.into_iter()
        .map(|(key, text)| Ok((key, String::from_utf8(text.0)?)))
        .collect()
}

/// Writes a PairingCode's status as the operator API would.
async fn write(
    codes: &Api<PairingCode>,
    name: &str,
    change: impl Fn(&mut PairingCode),
) -> Result<()> {
    eventually("the status to be written", SOON, async || {
        let mut code = codes.get(name).await?;
        change(&mut code);
        codes
            .replace_status(name, &PostParams::default(), &code)
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn codes_are_delivered_used_and_scrubbed() -> Result<()> {
    let world = World::new("codes").await?;
    reachable(&world).await?;
    world
        .code("team", json!({"networkRef": {"name": "main"}, "count": 3}))
        .await?;
    let code = world.code_says("team", "Delivered", "Written").await?;
    let status = code.status.context("status")?;
    ensure!((status.remaining, status.codes.len()) == (Some(3), 3));
    let secret = world.api::<Secret>().get("team").await?;
    ensure!(secret.type_.as_deref() == Some("peerup.dev/pairing-codes"));
    let texts_before = texts(&secret)?;
    ensure!(texts_before.len() == 3);
    for (_, text) in &texts_before {
        let read = Code::parse(text)?;
        let slot = &status.codes[usize::from(read.slot.0)];
        ensure!(Some(read.group.to_string()) == status.group && slot.state == SlotState::Available);
        let whole = serde_json::to_string(&world.api::<PairingCode>().get("team").await?)?;
        ensure!(
            !whole.contains(text) && !world.operator.program.output().contains(text),
            "a code outside its Secret"
        );
    }

    let codes = world.api::<PairingCode>();
    let used = |code: &mut PairingCode| {
        if let Some(slot) = code
            .status
            .as_mut()
            .and_then(|status| status.codes.first_mut())
        {
            slot.state = SlotState::Used;
            slot.peer_ref = serde_json::from_value(json!({"name": "main.laptop", "uid": "1"})).ok();
        }
    };
    write(&codes, "team", used).await?;
    eventually("the used code to leave the Secret", SOON, async || {
        let texts = texts(&world.api::<Secret>().get("team").await?)?;
        let keys: Vec<_> = texts.iter().map(|(key, _)| key.as_str()).collect();
        ensure!(keys == ["code-1", "code-2"], "{keys:?}");
        ensure!(codes.get("team").await?.status.context("status")?.remaining == Some(2));
        Ok(())
    })
    .await?;

    let revoked = json!({"spec": {"state": "Revoked"}});
    codes
        .patch("team", &PatchParams::default(), &Patch::Merge(revoked))
        .await?;
    let code = world.code_says("team", "Ready", "Revoked").await?;
    let states: Vec<_> = code
        .status
        .context("status")?
        .codes
        .iter()
        .map(|slot| slot.state)
        .collect();
    ensure!(states == [SlotState::Used, SlotState::Revoked, SlotState::Revoked]);
    gone(&world.api::<Secret>(), "team").await
}

#[tokio::test]
async fn codes_expire_by_timer() -> Result<()> {
    let world = World::new("expiry").await?;
    reachable(&world).await?;
    world
        .code(
            "short",
            json!({"networkRef": {"name": "main"}, "ttlSeconds": 60}),
        )
        .await?;
    world.code_says("short", "Delivered", "Written").await?;
    // The rules let its end only come nearer; nobody changes the object when it comes.
    let soon = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3;
    let end = Timestamp::from_second(i64::try_from(soon)?)?;
    let codes = world.api::<PairingCode>();
    write(&codes, "short", |code| {
        if let Some(status) = &mut code.status {
            status.expiration_time =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(end));
        }
    })
    .await?;
    let code = world.code_says("short", "Ready", "Expired").await?;
    ensure!(SystemTime::now().duration_since(UNIX_EPOCH)? >= Duration::from_secs(soon));
    ensure!(code.status.context("status")?.codes[0].state == SlotState::Expired);
    gone(&world.api::<Secret>(), "short").await
}

#[tokio::test]
async fn what_cannot_be_had_is_said_clearly() -> Result<()> {
    let world = World::new("refusals").await?;
    world
        .code("early", json!({"networkRef": {"name": "main"}}))
        .await?;
    let code = world.code_says("early", "Ready", "NetworkNotFound").await?;
    let message = code.status.context("status")?.conditions[0].message.clone();
    ensure!(message.contains("PeerNetwork main"), "{message}");
    eventually("the event", SOON, async || {
        let events = world.api::<Event>().list(&ListParams::default()).await?;
        ensure!(
            events
                .iter()
                .any(|event| event.reason.as_deref() == Some("NetworkNotFound"))
        );
        Ok(())
    })
    .await?;

    let pairing = json!({"maxActiveCodes": 3, "maxTTLSeconds": 3600});
    world.network("main", json!({"pairing": pairing})).await?;
    world
        .code_says("early", "Delivered", "NoOutsideAddress")
        .await?;
    world
        .code(
            "long",
            json!({"networkRef": {"name": "main"}, "ttlSeconds": 7200}),
        )
        .await?;
    world.code_says("long", "Ready", "TTLTooLong").await?;
    world
        .code("many", json!({"networkRef": {"name": "main"}, "count": 3}))
        .await?;
    world.code_says("many", "Ready", "QuotaExceeded").await?;
    ensure!(world.api::<Secret>().get_opt("many").await?.is_none());

    // What it waits for comes: an address, and room.
    world
        .api::<PairingCode>()
        .delete("early", &DeleteParams::default())
        .await?;
    let advertised: Value =
        json!([{"ordinal": 0, "addresses": ["/dns4/relay.example.com/tcp/4001"]}]);
    let patch = json!({"spec": {"relay": {"managed": {"advertiseAddresses": advertised}}}});
    world
        .api::<PeerNetwork>()
        .patch("main", &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    world.code_says("many", "Delivered", "Written").await?;
    ensure!(texts(&world.api::<Secret>().get("many").await?)?.len() == 3);
    Ok(())
}

/// Asks for codes in a Secret that is not the PairingCode's, and ends the PairingCode.
async fn ends_without(world: &World, code: &str, secret: &str) -> Result<()> {
    let spec = json!({"networkRef": {"name": "main"}, "delivery": {"secret": {"name": secret}}});
    world.code(code, spec).await?;
    world.code_says(code, "Delivered", "SecretRefused").await?;
    end(world, code).await
}

/// Revokes a PairingCode and waits until the operator is done with its Secret.
async fn end(world: &World, code: &str) -> Result<()> {
    let revoked = Patch::Merge(json!({"spec": {"state": "Revoked"}}));
    let codes = world.api::<PairingCode>();
    codes.patch(code, &PatchParams::default(), &revoked).await?;
    eventually("the operator to be done with it", SOON, async || {
        let status = codes.get(code).await?.status.context("status")?;
        ensure!(status.remaining == Some(0) && status.secret_ref.is_none());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn somebody_elses_secret_is_left_alone() -> Result<()> {
    let world = World::new("foreign").await?;
    reachable(&world).await?;
    let foreign = json!({"metadata": {"name": "precious"}, "type": "Opaque", "stringData": {"password": "x"}});
    world
        .api::<Secret>()
        .create(&PostParams::default(), &serde_json::from_value(foreign)?)
        .await?;
    let keys = world.has::<Secret>("main-relay-keys").await?;

    ends_without(&world, "team", "precious").await?;
    let secret = world.api::<Secret>().get("precious").await?;
    ensure!(texts(&secret)? == [("password".to_owned(), "x".to_owned())]);
    ends_without(&world, "thief", "main-relay-keys").await?;
    let still = world.api::<Secret>().get("main-relay-keys").await?;
    ensure!(still.metadata.uid == keys.metadata.uid && still.data == keys.data);
    Ok(())
}

/// One that has its type, and is another's all the same.
#[tokio::test]
async fn a_secret_that_took_its_place_is_left_alone() -> Result<()> {
    let world = World::new("place").await?;
    reachable(&world).await?;
    world
        .code("team", json!({"networkRef": {"name": "main"}}))
        .await?;
    world.code_says("team", "Delivered", "Written").await?;
    // the operator does not look at Secrets: it hears nothing of this
    let secrets = world.api::<Secret>();
    secrets.delete("team", &DeleteParams::default()).await?;
    let other = json!({"metadata": {"name": "team"}, "type": "peerup.dev/pairing-codes", "stringData": {"mine": "x"}});
    secrets
        .create(&PostParams::default(), &serde_json::from_value(other)?)
        .await?;
    end(&world, "team").await?;
    ensure!(texts(&secrets.get("team").await?)? == [("mine".to_owned(), "x".to_owned())]);
    Ok(())
}
