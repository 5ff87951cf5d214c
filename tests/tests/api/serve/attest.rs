//! Pods join: attested by the API server, redeemed at a relay.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use peerup_crds::{Peer, PeerMethod, PeerNetwork, PeerType};
use peerup_protocol::api::{FailureRequest, LookupAnswer, RedeemAnswer, RefusalReason, path};
use peerup_protocol::derive;
use peerup_protocol::id::{NetworkId, Slot, peer_id};
use peerup_protocol::record::{MemberRecord, Method};
use peerup_tests::wait::eventually;
use serde_json::json;

use super::joiner::{lookup, record, redeem, refusal};
use super::world::{SOON, World, key};

#[tokio::test]
async fn a_pod_gets_a_code_for_its_key_and_relays_inside() -> Result<()> {
    let world = World::new("attest").await?;
    let pod = world.pod("web.v1", |_| ()).await?;
    let (answer, code) = world.attest(&pod, &key(1)).await?;
    ensure!(
        answer.name.as_str() == "web-v1" && code.slot == Slot::ATTESTED,
        "{answer:?}"
    );
    ensure!(
        answer.settings.report_period_seconds == 30,
        "{:?}",
        answer.settings
    );
    let host = format!(
        "/dns4/main-relay-0.main-relays.{}.svc.cluster.local/",
        world.namespace
    );
    let addresses: Vec<_> = code
        .responders
        .iter()
        .flat_map(|relay| &relay.addresses)
        .map(ToString::to_string)
        .collect();
    let inside = |address: &String| address.starts_with(&host) || address.starts_with("/ip4/10.");
    ensure!(
        addresses.iter().all(inside) && addresses.contains(&format!("{host}tcp/4001")),
        "{addresses:?}"
    );

    Ok(())
}

#[tokio::test]
async fn nobody_else_can_use_an_attested_code() -> Result<()> {
    let world = World::new("attest").await?;
    let pod = world.pod("web", |_| ()).await?;
    let (_, code) = world.attest(&pod, &key(1)).await?;
    let relay = world.relay().await?;
    let (mine, others) = (lookup(&code, &key(1)), lookup(&code, &key(2)));
    let salt: LookupAnswer = eventually("the relay to be known", SOON, async || {
        relay.post(path::LOOKUP, &mine).await?.ok()
    })
    .await?;
    ensure!(
        salt.attested
            && salt.salt == derive::code_hash(&code.net, &code.group, code.slot, &code.secret)
    );
    relay
        .post(path::LOOKUP, &others)
        .await?
        .refused(404, "NotFound")?;
    let stolen = relay
        .post(path::REDEEM, &redeem(&code, &key(2), "web")?)
        .await?;
    ensure!(
        refusal(&stolen)? == (RefusalReason::UnknownGroup, false),
        "{stolen:?}"
    );
    let miss = FailureRequest {
        group: code.group,
        slot: code.slot,
        peer_id: mine.peer_id,
        reason: RefusalReason::BadMac,
    };
    let _: peerup_protocol::api::Empty = relay.post(path::FAILURE, &miss).await?.ok()?;

    record(
        &relay
            .post(path::REDEEM, &redeem(&code, &key(1), "web")?)
            .await?,
    )?;
    Ok(())
}

#[tokio::test]
async fn an_attested_pod_gets_its_record_and_the_same_again() -> Result<()> {
    let world = World::new("attest").await?;
    let pod = world.pod("web.v1", |_| ()).await?;
    let (_, code) = world.attest(&pod, &key(1)).await?;
    let relay = world.relay().await?;
    let request = redeem(&code, &key(1), "web-v1")?;
    let first = eventually("the relay to be known", SOON, async || {
        record(&relay.post(path::REDEEM, &request).await?)
    })
    .await?;
    let again = record(&relay.post(path::REDEEM, &request).await?)?;
    ensure!(first == again, "another record for the same peer");
    let read = MemberRecord::decode(&first.record)?;
    ensure!(
        read.net == code.net && read.peer == request.peer_id && read.method == Method::Attested,
        "{read:?}"
    );
    ensure!(
        read.subject == format!("local/{}/default/web.v1", world.namespace),
        "{}",
        read.subject
    );
    let network = peerup_protocol::VerifyingKey::from_bytes(&first.network_public_key)?;
    ensure!(NetworkId::of(&network) == code.net, "another network's key");
    peerup_protocol::message::verify(&network, &first.record, &first.signature)?;
    ensure!(read.not_after - read.issued == 7200, "{read:?}");
    Ok(())
}

#[tokio::test]
async fn the_peer_says_who_the_pod_is() -> Result<()> {
    let world = World::new("attest").await?;
    let named = json!({"peerup.dev/name": "front"});
    let pod = world
        .pod("web-0", |pod| pod["metadata"]["annotations"] = named)
        .await?;
    world.attest(&pod, &key(1)).await?;
    let peer = world.api::<Peer>().get("main.front").await?;
    ensure!(
        peer.spec.type_ == PeerType::Pod && peer.spec.method == PeerMethod::Attested,
        "{:?}",
        peer.spec
    );
    let of = peer.spec.pod_ref.context("no podRef")?;
    ensure!(
        (of.namespace, of.name, Some(of.uid))
            == (world.namespace.clone(), "web-0".to_owned(), pod.uid())
    );
    ensure!(
        peer.spec.peer_id == peer_id(&key(1).verifying_key()).to_string()
            && peer.metadata.owner_references.is_none()
    );
    Ok(())
}

#[tokio::test]
async fn nobody_proves_anothers_key_and_nobody_joins_what_is_suspended() -> Result<()> {
    let world = World::new("attest").await?;
    let pod = world.pod("web", |_| ()).await?;
    let (_, code) = world.attest(&pod, &key(1)).await?;
    let token = world.token(&pod, &world.audience()).await?;
    let victim = peer_id(&key(2).verifying_key());
    let signature = peerup_protocol::message::sign(
        &key(1),
        &peerup_protocol::message::attest(token.as_bytes(), &victim),
    );
    let lie = peerup_protocol::api::AttestRequest {
        peer_id: victim,
        signature,
    };
    world
        .call(path::ATTEST, &token, serde_json::to_vec(&lie)?)
        .await?
        .refused(403, "BadSignature")?;

    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    world
        .api::<PeerNetwork>()
        .patch("main", &PatchParams::default(), &suspend)
        .await?;
    eventually("the network to be suspended", SOON, async || {
        world
            .try_attest(&token, &key(1))
            .await?
            .refused(409, "Suspended")
    })
    .await?;
    let relay = world.relay().await?;
    let answer: RedeemAnswer = eventually("the relay to be known", SOON, async || {
        relay
            .post(path::REDEEM, &redeem(&code, &key(1), "web")?)
            .await?
            .ok()
    })
    .await?;
    ensure!(
        matches!(&answer, RedeemAnswer::Refused(refused) if refused.refused == RefusalReason::Suspended),
        "{answer:?}"
    );
    Ok(())
}
