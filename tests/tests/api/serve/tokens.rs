//! Tokens: whose are believed, and whose are not.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::DeleteParams;
use peerup_crds::names;
use peerup_protocol::api::{LookupRequest, PresenceAnswer, PresenceRequest, path};
use peerup_protocol::code::HandshakeKind;
use peerup_protocol::id::{GroupId, Slot, peer_id};
use peerup_tests::wait::eventually;
use serde_json::json;

use super::world::{Relay, SOON, World, answer, key};

#[tokio::test]
async fn a_token_without_our_audience_is_nobodys() -> Result<()> {
    let world = World::new("tokens").await?;
    let pod = world.pod("web", |_| ()).await?;
    world.attest(&pod, &key(1)).await?;

    let stolen = world
        .token(&pod, "https://kubernetes.default.svc.cluster.local")
        .await?;
    world
        .try_attest(&stolen, &key(1))
        .await?
        .refused(401, "Unauthenticated")?;
    world
        .try_attest("no.jwt.really", &key(1))
        .await?
        .refused(401, "Unauthenticated")?;
    let good = world.token(&pod, &world.audience()).await?;
    let forged = format!("{}A", &good[..good.len() - 2]);
    world
        .try_attest(&forged, &key(1))
        .await?
        .refused(401, "Unauthenticated")?;
    let unbound = world.token_of("default", None, &world.audience()).await?;
    world
        .try_attest(&unbound, &key(1))
        .await?
        .refused(401, "Unauthenticated")?;
    let none = world
        .http
        .post(format!("{}{}", world.operator.url, path::ATTEST))
        .body("{}");
    answer(none).await?.refused(401, "Unauthenticated")
}

#[tokio::test]
async fn a_token_for_another_network_is_worth_nothing_here() -> Result<()> {
    let world = World::new("tokens").await?;
    world.network("other", json!({})).await?;
    let main = json!({"peerup.dev/network": "main"});
    let pod = world
        .pod("web", |pod| pod["metadata"]["annotations"] = main)
        .await?;
    world.attest(&pod, &key(1)).await?;
    let other = world
        .token(&pod, &names::audience(&world.namespace, "other"))
        .await?;
    world
        .try_attest(&other, &key(1))
        .await?
        .refused(403, "NotInjected")?;
    let missing = world
        .token(&pod, &names::audience(&world.namespace, "missing"))
        .await?;
    world
        .try_attest(&missing, &key(1))
        .await?
        .refused(403, "NoSuchNetwork")?;

    let plain = world
        .pod("plain", |pod| {
            pod["metadata"]["labels"] = json!({"peerup.dev/inject": "disabled"})
        })
        .await?;
    let token = world.token(&plain, &world.audience()).await?;
    eventually("the pod to be seen", SOON, async || {
        world
            .try_attest(&token, &key(2))
            .await?
            .refused(403, "NotInjected")
    })
    .await
}

#[tokio::test]
async fn a_token_ends_with_its_pod() -> Result<()> {
    let world = World::new("tokens").await?;
    let pod = world.pod("web", |_| ()).await?;
    world.attest(&pod, &key(1)).await?;
    let token = world.token(&pod, &world.audience()).await?;
    let _: peerup_protocol::api::AttestAnswer = world.try_attest(&token, &key(1)).await?.ok()?;
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    world.api::<Pod>().delete("web", &now).await?;
    // The API server still confirms such a token for some seconds, and the operator remembers that it did.
    eventually("the token to be refused", SOON, async || {
        world
            .try_attest(&token, &key(1))
            .await?
            .refused(403, "PodGone")
    })
    .await?;
    world.pod("web", |_| ()).await?;
    let steady = async || {
        world
            .try_attest(&token, &key(1))
            .await?
            .refused(403, "PodGone")
    };
    peerup_tests::wait::steadily(
        "a pod of the same name is another one",
        std::time::Duration::from_secs(2),
        steady,
    )
    .await
}

#[tokio::test]
async fn a_relays_audience_makes_nobody_a_relay() -> Result<()> {
    let world = World::new("tokens").await?;
    let relay = world.relay().await?;
    let ask = LookupRequest {
        kind: HandshakeKind::Group,
        group: GroupId([1; 8]),
        slot: Slot(0),
        peer_id: peer_id(&key(1).verifying_key()),
    };
    eventually("the relay to be known", SOON, async || {
        relay
            .post(path::LOOKUP, &ask)
            .await?
            .refused(404, "NotFound")
    })
    .await?;

    let audience = names::relay_audience(&world.namespace, "main");
    let pod = world.pod("web", |_| ()).await?;
    world.attest(&pod, &key(1)).await?;
    let as_relay = |token: String| Relay {
        world: &world,
        token,
        key: relay.key.clone(),
    };
    as_relay(world.token(&pod, &audience).await?)
        .post(path::LOOKUP, &ask)
        .await?
        .refused(403, "NotARelay")?;

    // Even the relays' own account does not make another pod one, nor a pod that has a replica's name elsewhere.
    let account = names::relay("main");
    let borrowed = world
        .pod("borrowed", |pod| {
            pod["spec"]["serviceAccountName"] = json!(account)
        })
        .await?;
    let token = world.token(&borrowed, &audience).await?;
    eventually("the pod to be seen", SOON, async || {
        as_relay(token.clone())
            .post(path::LOOKUP, &ask)
            .await?
            .refused(403, "NotARelay")
    })
    .await?;
    ensure!(
        world
            .api::<ServiceAccount>()
            .get(&account)
            .await?
            .metadata
            .name
            == Some(account)
    );
    Ok(())
}

#[tokio::test]
async fn a_relay_signs_every_call_itself() -> Result<()> {
    let world = World::new("tokens").await?;
    let relay = world.relay().await?;
    let body = PresenceRequest {
        online: Vec::new(),
        reservations: 0,
    };
    let told = eventually("the relay to be known", SOON, async || {
        let told: PresenceAnswer = relay.post(path::PRESENCE, &body).await?.ok()?;
        let addresses: Vec<_> = told.addresses.iter().map(ToString::to_string).collect();
        ensure!(addresses == ["/ip4/192.0.2.1/tcp/4001"], "{addresses:?}");
        Ok(told)
    })
    .await?;
    ensure!(
        told.limits.max_reservations == 1024 && told.limits.max_probationary_peers == 10,
        "{:?}",
        told.limits
    );

    let unsigned = world
        .call(path::PRESENCE, &relay.token, serde_json::to_vec(&body)?)
        .await?;
    unsigned.refused(403, "NotARelay")?;
    let other = Relay {
        key: key(9),
        token: relay.token.clone(),
        world: &world,
    };
    other
        .post(path::PRESENCE, &body)
        .await?
        .refused(403, "NotARelay")?;
    let as_sidecar = world.try_attest(&relay.token, &key(1)).await?;
    as_sidecar.refused(403, "NotARelay")
}

#[tokio::test]
async fn what_is_no_call_is_told_so() -> Result<()> {
    let world = World::new("tokens").await?;
    let pod = world.pod("web", |_| ()).await?;
    world.attest(&pod, &key(1)).await?;
    let token = world.token(&pod, &world.audience()).await?;
    world
        .call("/v1/nothing", &token, "{}")
        .await?
        .refused(404, "NoSuchCall")?;
    let get = world
        .http
        .get(format!("{}{}", world.operator.url, path::ATTEST))
        .bearer_auth(&token);
    answer(get).await?.refused(404, "NoSuchCall")?;
    for body in [
        "",
        "null",
        "{\"peerID\": 7}",
        &"[".repeat(60_000),
        "{\"peerID\":\"\\u0000\",\"signature\":\"\"}",
    ] {
        world
            .call(path::ATTEST, &token, body.to_owned())
            .await?
            .refused(400, "Malformed")?;
    }
    world
        .call(path::ATTEST, &token, vec![b' '; 65 * 1024])
        .await?
        .refused(413, "TooLarge")?;
    world
        .call(path::LOOKUP, &token, "{}")
        .await?
        .refused(403, "NotARelay")?;
    Ok(())
}
