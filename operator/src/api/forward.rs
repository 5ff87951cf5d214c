//! Passing a call on to the replica that leads: unchanged, one hop.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Response, header, request::Parts},
};
use peerup_protocol::api::{HOP_HEADER, RELAY_SIGNATURE_HEADER};

use super::{callers, problem::Refusal};
use crate::{config::Config, errors, leader::Holder, tls::Certificates};

const CONNECT: Duration = Duration::from_secs(3);

/// The way to the leader: one client, as long as leader and certificates stay the same.
pub(super) struct Forwarder {
    certificates: Certificates,
    /// Name in the leader's certificate.
    service: String,
    port: u16,
    client: Mutex<Option<(Target, reqwest::Client)>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Target {
    holder: Holder,
    leaf_not_after: u64,
    bundle: String,
}

impl Forwarder {
    pub(super) fn new(config: &Config, certificates: Certificates) -> Self {
        let service = config.service_names.first().cloned().unwrap_or_default();
        Self {
            certificates,
            service,
            port: config.api_listen.port(),
            client: Mutex::new(None),
        }
    }

    /// The leader's answer.
    pub(super) async fn pass_on(
        &self,
        holder: Holder,
        parts: &Parts,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Response<Body>, Refusal> {
        let client = self.client(holder)?;
        let url = format!(
            "https://{}:{}{}",
            self.service,
            self.port,
            callers::path_and_query(parts)
        );
        let mut request = client
            .request(parts.method.clone(), url)
            .timeout(deadline)
            .header(HOP_HEADER, "1")
            .body(body);
        for name in [
            header::AUTHORIZATION.as_str(),
            header::CONTENT_TYPE.as_str(),
            RELAY_SIGNATURE_HEADER,
        ] {
            if let Some(value) = parts.headers.get(name) {
                request = request.header(name, value);
            }
        }
        let unreachable = |error: reqwest::Error| {
            Refusal::Unavailable(format!(
                "the leading replica does not answer: {}",
                errors::chain(&error)
            ))
        };
        let answer = request.send().await.map_err(unreachable)?;
        let mut response = Response::builder().status(answer.status());
        for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
            if let Some(value) = answer.headers().get(&name) {
                response = response.header(name, HeaderValue::from(value));
            }
        }
        let body = answer.bytes().await.map_err(unreachable)?;
        response
            .body(Body::from(body))
            .map_err(|error| Refusal::Unavailable(error.to_string()))
    }

    fn client(&self, holder: Holder) -> Result<reqwest::Client, Refusal> {
        let material = self.certificates.current().ok_or_else(|| {
            Refusal::Unavailable("this replica has no certificate yet".to_owned())
        })?;
        let target = Target {
            holder,
            leaf_not_after: material.leaf_not_after,
            bundle: material.bundle.clone(),
        };
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = kept.as_ref().filter(|(known, _)| *known == target) {
            return Ok(client.clone());
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*material.client).clone())
            .resolve(&self.service, SocketAddr::new(target.holder.ip, self.port))
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Refusal::Unavailable(errors::chain(&error)))?;
        *kept = Some((target, client.clone()));
        Ok(client)
    }
}
