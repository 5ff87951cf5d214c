//! Whose token it is: asked of the API server (TokenReview), remembered for a while, and not asked too
//! often for one source. Whether the pod still lives is not remembered: see `callers`.

mod cache;
pub mod claims;
mod limiter;

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use self::{cache::Cache, claims::Claims, limiter::Limiter};
use super::problem::Refusal;

/// Tokens that are remembered.
const MOST_TOKENS: usize = 32_768;
/// Sources that are remembered.
const MOST_SOURCES: usize = 4096;
/// Reviews at a time: a leader that is new asks for all tokens anew, and must not keep the API server from its Lease.
const MOST_REVIEWS: usize = 16;
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// The pod for which the API server issued a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Namespace of pod and service account.
    pub namespace: String,
    /// The account's name.
    pub service_account: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
}

/// Checks tokens.
pub(super) struct Tokens {
    client: Client,
    cache: Mutex<Cache>,
    limiter: Mutex<Limiter>,
    reviews: Semaphore,
}

impl Tokens {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            cache: Mutex::new(Cache::new(MOST_TOKENS)),
            limiter: Mutex::new(Limiter::new(MOST_SOURCES)),
            reviews: Semaphore::new(MOST_REVIEWS),
        }
    }

    /// Whose token it is. `source` is limited; `None` is another replica, which has limited it.
    pub(super) async fn verify(
        &self,
        token: &str,
        claims: &Claims,
        source: Option<IpAddr>,
        unix: u64,
    ) -> Result<Identity, Refusal> {
        let key: cache::Key = Sha256::digest(token.as_bytes()).into();
        let known = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key, Instant::now());
        let verdict = match known {
            Some(verdict) => verdict,
            None => {
                if source.is_some_and(|source| !self.may_ask(source)) {
                    return Err(Refusal::TooMany);
                }
                let verdict = self.review(token, &claims.audience.text).await?;
                let left = Duration::from_secs(claims.expires.saturating_sub(unix));
                self.cache
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .put(key, verdict.clone(), left, Instant::now());
                verdict
            }
        };
        verdict.ok_or(Refusal::Unauthenticated(
            "the API server does not confirm the token for this audience and a pod",
        ))
    }

    fn may_ask(&self, source: IpAddr) -> bool {
        self.limiter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .allow(source, Instant::now())
    }

    async fn review(&self, token: &str, audience: &str) -> Result<Option<Identity>, Refusal> {
        let Ok(_permit) = self.reviews.acquire().await else {
            return Err(Refusal::Unavailable("this replica is ending".to_owned()));
        };
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![audience.to_owned()]),
            },
            ..TokenReview::default()
        };
        let reviewed = Api::<TokenReview>::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await?;
        Ok(reviewed
            .status
            .and_then(|status| identity(&status, audience)))
    }
}

/// The pod behind a review: authenticated, for our audience and never without one, and bound to a pod.
#[must_use]
pub fn identity(status: &TokenReviewStatus, audience: &str) -> Option<Identity> {
    let for_us = status
        .audiences
        .as_ref()
        .is_some_and(|audiences| audiences.iter().any(|other| other == audience));
    if status.authenticated != Some(true) || !for_us {
        return None;
    }
    let user = status.user.as_ref()?;
    let account = user
        .username
        .as_ref()?
        .strip_prefix("system:serviceaccount:")?;
    let (namespace, service_account) = account.split_once(':')?;
    let extra = |key: &str| match user.extra.as_ref()?.get(key)?.as_slice() {
        [one] if !one.is_empty() => Some(one.clone()),
        _ => None,
    };
    Some(Identity {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        pod: extra(POD_NAME)?,
        uid: extra(POD_UID)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(change: impl FnOnce(&mut Value)) -> Option<Identity> {
        let mut status = json!({
            "authenticated": true,
            "audiences": ["peerup.dev/shop/main"],
            "user": {
                "username": "system:serviceaccount:shop:web",
                "extra": {POD_NAME: ["web-0"], POD_UID: ["u"]},
            },
        });
        change(&mut status);
        identity(
            &serde_json::from_value(status).unwrap(),
            "peerup.dev/shop/main",
        )
    }

    #[test]
    fn all_of_it_must_be_there() {
        let expected = Identity {
            namespace: "shop".into(),
            service_account: "web".into(),
            pod: "web-0".into(),
            uid: "u".into(),
        };
        assert_eq!(of(|_| ()), Some(expected));
        assert_eq!(of(|status| status["authenticated"] = json!(false)), None);
        assert_eq!(
            of(|status| status["audiences"] = json!(null)),
            None,
            "never without audience"
        );
        assert_eq!(
            of(|status| status["audiences"] = json!(["https://kubernetes.default.svc"])),
            None
        );
        assert_eq!(
            of(|status| status["user"]["username"] = json!("admin")),
            None
        );
        assert_eq!(
            of(|status| status["user"]["extra"][POD_UID] = json!([])),
            None
        );
        assert_eq!(
            of(|status| status["user"]["extra"][POD_NAME] = json!(["a", "b"])),
            None
        );
    }
}
