//! A namespace with a network, its operator, and callers of the API as sidecars and relays are.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::BoundObjectReference;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Client;
use kube::api::Api;
use peerup_crds::{Peer, PeerNetwork, names};
use peerup_protocol::api::{
    AttestAnswer, AttestRequest, Problem, RELAY_SIGNATURE_HEADER, RelaySignature, path,
};
use peerup_protocol::code::Code;
use peerup_protocol::{SigningKey, id, message};
use peerup_tests::light::Light;
use peerup_tests::network::Network;
pub(super) use peerup_tests::network::SOON;
use peerup_tests::operator::{Home, Operator, create_pod, opted_in};
use peerup_tests::wait::eventually;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Where relays run.
const RELAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

/// A network `main` in a namespace of its own.
pub(super) struct World {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) home: Home,
    pub(super) operator: Operator,
    pub(super) http: reqwest::Client,
}

/// What the API answers: a status, and a body or a problem.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// Whether no replica led. Other calls that are not answered may have been obeyed.
    fn has_no_leader(&self) -> bool {
        self.status == 503 && String::from_utf8_lossy(&self.body).contains("leads")
    }

    /// The body of a call that was to succeed.
    pub(super) fn ok<T: DeserializeOwned>(&self) -> Result<T> {
        let text = String::from_utf8_lossy(&self.body);
        ensure!(self.status == 200, "{}: {text}", self.status);
        serde_json::from_slice(&self.body).with_context(|| text.into_owned())
    }

    /// The body of a call that was to succeed, as it came.
    pub(super) fn text(&self) -> Result<&str> {
        let text = std::str::from_utf8(&self.body)?;
        ensure!(self.status == 200, "{}: {text}", self.status);
        Ok(text)
    }

    /// Holds that the call was refused so.
    pub(super) fn refused(&self, status: u16, title: &str) -> Result<()> {
        let text = String::from_utf8_lossy(&self.body);
        ensure!(
            self.status == status,
            "expected {status} {title}, got {}: {text}",
            self.status
        );
        let problem: Problem =
            serde_json::from_slice(&self.body).with_context(|| text.into_owned())?;
        ensure!(
            problem.title == title && problem.status == status,
            "expected {title}, got {problem:?}"
        );
        ensure!(problem.detail.is_some(), "it says nothing: {problem:?}");
        Ok(())
    }
}

impl World {
    /// Starts all of it and waits until the network is set up.
    pub(super) async fn new(prefix: &str) -> Result<Self> {
        let light = Light::shared()?;
        let client = light.client().await?;
        let namespace = opted_in(&client, prefix).await?;
        let home = Home::new(light, &client, &[&namespace]).await?;
        let operator = home.start().await?;
        let http = http(&home).await?;
        let world = Self {
            client,
            namespace,
            home,
            operator,
            http,
        };
        world.network("main", json!({})).await?;
        Ok(world)
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a network with a relay that has an outside address, and waits until it is set up. There
    /// is no kubelet: what one would say of the relay's pod is said here.
    pub(super) async fn network(&self, name: &str, spec: Value) -> Result<PeerNetwork> {
        let mut spec = spec;
        spec["relay"] = json!({ "managed": { "advertiseAddresses": [
            { "ordinal": 0, "addresses": ["/ip4/192.0.2.1/tcp/4001"] },
        ] } });
        let network = self.named(name);
        network.create(spec).await?;
        network.relay_runs(0, RELAY).await?;
        network.set_up().await
    }

    /// Says of the pod of `main`'s relay, whichever it is by now, that it runs.
    pub(super) async fn relay_runs(&self) -> Result<()> {
        self.named("main").relay_runs(0, RELAY).await.map(drop)
    }

    fn named(&self, network: &str) -> Network {
        Network::new(&self.client, &self.namespace, network)
    }

    /// Creates a pod through the webhook.
    pub(super) async fn pod(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<Pod> {
        let accounts = self.api::<ServiceAccount>();
        eventually("the default service account", SOON, async || {
            Ok(accounts.get("default").await?)
        })
        .await?;
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name },
            "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
        });
        change(&mut pod);
        create_pod(&self.api(), &serde_json::from_value(pod)?).await
    }

    /// A token for these audiences, bound to a pod, as the kubelet gets it.
    pub(super) async fn token(&self, pod: &Pod, audience: &str) -> Result<String> {
        self.named("main").pod_token(pod, audience).await
    }

    pub(super) async fn token_of(
        &self,
        account: &str,
        bound: Option<BoundObjectReference>,
        audience: &str,
    ) -> Result<String> {
        self.named("main").token(account, bound, audience).await
    }

    pub(super) fn audience(&self) -> String {
        names::audience(&self.namespace, "main")
    }

    /// Any call.
    pub(super) async fn call(
        &self,
        path: &str,
        token: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer> {
        let body: reqwest::Body = body.into();
        let body = body.as_bytes().context("a body in one piece")?.to_vec();
        let url = format!("{}{path}", self.operator.url);
        led(async || {
            let request = self.http.post(&url).bearer_auth(token);
            answer(request.body(body.clone())).await
        })
        .await
    }

    /// Attests a key with a token.
    pub(super) async fn try_attest(&self, token: &str, key: &SigningKey) -> Result<Answer> {
        let peer_id = id::peer_id(&key.verifying_key());
        let signature = message::sign(key, &message::attest(token.as_bytes(), &peer_id));
        self.call(
            path::ATTEST,
            token,
            serde_json::to_vec(&AttestRequest { peer_id, signature })?,
        )
        .await
    }

    /// Attests a pod, waiting until the operator has seen it.
    pub(super) async fn attest(&self, pod: &Pod, key: &SigningKey) -> Result<(AttestAnswer, Code)> {
        let token = self.token(pod, &self.audience()).await?;
        let answer: AttestAnswer = eventually("the pod to be attested", SOON, async || {
            self.try_attest(&token, key).await?.ok()
        })
        .await?;
        let code = Code::parse(answer.code.expose())?;
        Ok((answer, code))
    }

    /// The relay of the network, with its own pod's token and its own key.
    pub(super) async fn relay(&self) -> Result<Relay<'_>> {
        let pod = eventually("the relay's pod", SOON, async || {
            Ok(self.api::<Pod>().get("main-relay-0").await?)
        })
        .await?;
        let network = self.named("main");
        let token = network.relay_token(&pod).await?;
        let seed: [u8; 32] = network
            .relay_seed(0)
            .await?
            .try_into()
            .map_err(|_| anyhow::anyhow!("no 32 bytes"))?;
        Ok(Relay {
            world: self,
            token,
            key: SigningKey::from_bytes(&seed),
        })
    }

    /// Creates a PairingCode and waits for the texts of its codes.
    pub(super) async fn codes(&self, name: &str, spec: Value) -> Result<Vec<Code>> {
        let texts = self.named("main").codes(name, spec).await?;
        texts.iter().map(|text| Ok(Code::parse(text)?)).collect()
    }

    /// Names of the Peers of the network.
    pub(super) async fn peers(&self) -> Result<Vec<Peer>> {
        Ok(self.api::<Peer>().list(&Default::default()).await?.items)
    }
}

/// A caller with a relay's token and key.
pub(super) struct Relay<'a> {
    pub(super) world: &'a World,
    pub(super) token: String,
    pub(super) key: SigningKey,
}

impl Relay<'_> {
    pub(super) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer> {
        let body = serde_json::to_vec(body)?;
        let url = format!("{}{path}", self.world.operator.url);
        led(async || {
            let request = self.world.http.post(&url).body(body.clone());
            self.signed(request, "POST", path, &body).await
        })
        .await
    }

    pub(super) async fn get(&self, path_and_query: &str) -> Result<Answer> {
        let url = format!("{}{path_and_query}", self.world.operator.url);
        led(async || {
            let request = self.world.http.get(&url);
            self.signed(request, "GET", path_and_query, b"").await
        })
        .await
    }

    async fn signed(
        &self,
        request: reqwest::RequestBuilder,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Answer> {
        let time = now()?;
        let signed = message::relay_call(method, path, time, self.token.as_bytes(), body);
        let signature = RelaySignature {
            time,
            signature: message::sign(&self.key, &signed),
        };
        answer(
            request
                .bearer_auth(&self.token)
                .header(RELAY_SIGNATURE_HEADER, signature.to_string()),
        )
        .await
    }
}

/// A client that believes the operator's certificate authority and nobody else.
pub(super) async fn http(home: &Home) -> Result<reqwest::Client> {
    let ca = reqwest::Certificate::from_pem(home.ca().await?.as_bytes())?;
    Ok(reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([ca])
        .timeout(Duration::from_secs(60))
        // The operator closes what rests for ten.
        .pool_idle_timeout(Duration::from_secs(5))
        .build()?)
}

/// Asks again while no replica leads: so it is for a moment when the machine stood still for as long as a term.
async fn led(ask: impl AsyncFn() -> Result<Answer>) -> Result<Answer> {
    let answer = eventually("a replica that leads", SOON, async || {
        let answer = ask().await;
        match &answer {
            Ok(told) if told.has_no_leader() => bail!("{}", String::from_utf8_lossy(&told.body)),
            Ok(_) | Err(_) => Ok(answer),
        }
    });
    answer.await?
}

pub(super) async fn answer(request: reqwest::RequestBuilder) -> Result<Answer> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    Ok(Answer {
        status,
        body: answer.bytes().await?.to_vec(),
    })
}

pub(super) fn now() -> Result<u64> {
    Ok(std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs())
}

/// A key that no other test has.
pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// Holds that a result is there, saying what was expected where it is not.
pub(super) fn some<T>(what: &str, value: Option<T>) -> Result<T> {
    match value {
        Some(value) => Ok(value),
        None => bail!("expected {what}"),
    }
}
