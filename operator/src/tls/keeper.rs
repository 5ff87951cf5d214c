//! Keeps certificates in order, for ever: the leader makes and rotates the authority and writes it to the
//! webhook configuration; every replica mints its leaf and finds out whether the API server believes it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use kube::Api;

use super::{
    authority::Authority,
    material::{Material, MaterialError},
    rotation::{self, Authorities, Step},
    secret, webhook,
};
use crate::{clock, context::Context, errors};

/// Between two looks while all is well.
const CALM: Duration = Duration::from_secs(10);
/// Between two looks while this replica is not ready.
const EAGER: Duration = Duration::from_secs(1);
/// How long one look may take.
const CALL: Duration = Duration::from_secs(10);

/// The certificates of this replica; a clone is the same.
#[derive(Clone, Default)]
pub struct Certificates {
    material: Arc<ArcSwapOption<Material>>,
    believed: Arc<AtomicBool>,
}

/// Why certificates could not be looked after.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("the certificate authority's Secret: {}", errors::explain(.0))]
    Secret(#[source] kube::Error),
    #[error("the webhook configuration: {}", errors::explain(.0))]
    Webhook(#[source] kube::Error),
    #[error(transparent)]
    Material(#[from] MaterialError),
}

impl Certificates {
    /// What is served now; `None` until there is an authority.
    pub fn current(&self) -> Option<Arc<Material>> {
        self.material.load_full()
    }

    /// Whether the API server believes our leaf, so that the webhook can be called here.
    pub fn is_ready(&self) -> bool {
        self.believed.load(Ordering::Relaxed)
    }

    /// Looks after the certificates for ever.
    pub async fn keep(self, context: Context) {
        let mut failing = false;
        loop {
            let looked = tokio::time::timeout(CALL, self.look(&context)).await;
            let error = match looked {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("the API server does not answer".to_owned()),
            };
            if let Some(error) = &error
                && !failing
            {
                tracing::warn!(error, "certificates cannot be looked after");
            }
            failing = error.is_some();
            tokio::time::sleep(if self.is_ready() { CALM } else { EAGER }).await;
        }
    }

    async fn look(&self, context: &Context) -> Result<(), KeepError> {
        let now = clock::now();
        if let Some(authorities) = authorities(context, now).await? {
            self.renew(context, &authorities, now)?;
        }
        let Some(material) = self.current() else {
            return Ok(());
        };
        context.ca.set(material.bundle.clone());
        let believed = publish(context, &material).await?;
        context.health.set("certificates", believed);
        if believed != self.believed.swap(believed, Ordering::Relaxed) {
            tracing::info!(
                believed,
                "whether the API server believes our certificate has changed"
            );
        }
        Ok(())
    }

    fn renew(
        &self,
        context: &Context,
        authorities: &Authorities,
        now: u64,
    ) -> Result<(), MaterialError> {
        if self
            .current()
            .is_some_and(|material| material.is_current(authorities, now))
        {
            return Ok(());
        }
        let material = Material::mint(authorities, &context.config.service_names, now)?;
        tracing::info!(not_after = material.leaf_not_after, "certificate minted");
        let ends = &context.metrics.machinery.cert_not_after;
        ends.with_label_values(&["leaf"])
            .set(material.leaf_not_after as f64);
        ends.with_label_values(&["ca"])
            .set(material.authority_not_after as f64);
        self.material.store(Some(Arc::new(material)));
        Ok(())
    }
}

/// The authorities in force: the leader first does what is due; the others wait for it.
async fn authorities(context: &Context, now: u64) -> Result<Option<Authorities>, KeepError> {
    let api: Api<Secret> =
        Api::namespaced(context.client.clone(), &context.config.operator_namespace);
    let name = &context.config.ca_secret;
    let found = secret::read(&api, name).await.map_err(KeepError::Secret)?;
    if !context.leadership.is_leader() {
        return Ok(found.authorities);
    }
    let step = rotation::plan(found.authorities.as_ref(), now);
    let Some(due) = advance(found.authorities.clone(), step, now)? else {
        return Ok(found.authorities);
    };
    let written = secret::write(&api, name, &found, &due)
        .await
        .map_err(KeepError::Secret)?;
    if !written {
        return Ok(secret::read(&api, name)
            .await
            .map_err(KeepError::Secret)?
            .authorities);
    }
    tracing::info!(?step, "certificate authority changed");
    Ok(Some(due))
}

fn advance(
    found: Option<Authorities>,
    step: Step,
    now: u64,
) -> Result<Option<Authorities>, MaterialError> {
    Ok(match (step, found) {
        (Step::Create, _) | (_, None) => Some(Authorities::first(Authority::make(now)?)),
        (Step::Keep, Some(_)) => None,
        (Step::Announce, Some(found)) => Some(found.announce(Authority::make(now)?)),
        (Step::Promote, Some(found)) => Some(found.promote()),
        (Step::Forget, Some(found)) => Some(found.forget()),
    })
}

/// The leader repairs the webhook configuration; whether the leaf is believed is for everybody to see.
async fn publish(context: &Context, material: &Material) -> Result<bool, KeepError> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(context.client.clone());
    let name = &context.config.webhook_config;
    let Some(found) = api.get_opt(name).await.map_err(KeepError::Webhook)? else {
        return Ok(false);
    };
    if context.leadership.is_leader()
        && let Some(change) = webhook::repair(&found, &material.bundle)
    {
        webhook::apply(&api, name, &change)
            .await
            .map_err(KeepError::Webhook)?;
        tracing::info!(configuration = name, "caBundle written");
        return Ok(true);
    }
    Ok(webhook::believes(&found, &material.authority))
}
