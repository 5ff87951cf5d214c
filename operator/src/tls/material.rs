//! What a replica serves and calls others with: its own leaf under the current authorities.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, pem::PemObject},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};

use super::{
    authority::{Authority, LEAF_LIFE, Leaf},
    listener::HTTP2,
    rotation::Authorities,
};

/// What HTTP/1.1 is called in TLS (RFC 7301, 6).
const HTTP1: &[u8] = b"http/1.1";

/// Why no certificates could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MaterialError {
    /// Making or signing a certificate.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The bundle.
    #[error("the CA bundle could not be read: {0}")]
    Bundle(#[from] rustls::pki_types::pem::Error),
    /// The TLS configuration.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// Checking of other replicas' certificates.
    #[error("TLS could not be set up: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Certificates and configurations of one replica, all from the same authorities.
pub struct Material {
    /// Certificate of the authority that signed the leaf, PEM.
    pub authority: String,
    /// Every certificate that is to be believed, PEM.
    pub bundle: String,
    /// When the leaf ends, Unix seconds.
    pub leaf_not_after: u64,
    /// When the authority ends, Unix seconds.
    pub authority_not_after: u64,
    /// For the webhook.
    pub webhook: Arc<ServerConfig>,
    /// For the operator API: TLS 1.3, and other replicas may show their leaf.
    pub api: Arc<ServerConfig>,
    /// For calls to other replicas.
    pub client: Arc<ClientConfig>,
}

impl Material {
    /// Mints a leaf for these DNS names and IP addresses.
    pub(super) fn mint(
        authorities: &Authorities,
        names: &[String],
        now: u64,
    ) -> Result<Self, MaterialError> {
        let bundle = authorities.bundle();
        let roots = Arc::new(roots(&bundle)?);
        let leaf = authorities.signing.sign(names, now)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        Ok(Self {
            authority: authorities.signing.certificate.clone(),
            bundle,
            leaf_not_after: leaf.not_after,
            authority_not_after: authorities.signing.not_after(),
            webhook: Arc::new(webhook(&provider, &leaf)?),
            api: Arc::new(api(&provider, &leaf, roots.clone())?),
            client: Arc::new(client(&provider, &leaf, roots)?),
        })
    }

    /// Whether it still stands for these authorities, and its leaf is not yet to be renewed.
    pub(super) fn is_current(&self, authorities: &Authorities, now: u64) -> bool {
        self.bundle == authorities.bundle()
            && self.authority == authorities.signing.certificate
            && now < self.leaf_not_after.saturating_sub(LEAF_LIFE / 3)
    }
}

impl Authority {
    /// Whether the parts belong together: what it signs now is believed under its own certificate.
    pub(super) fn is_sound(&self) -> bool {
        let Ok(leaf) = self.sign(&["sound".to_owned()], self.created) else {
            return false;
        };
        let Ok(roots) = roots(&self.certificate) else {
            return false;
        };
        let provider = aws_lc_rs::default_provider();
        let Ok(certificate) = rustls::server::ParsedCertificate::try_from(&leaf.certificate) else {
            return false;
        };
        let at = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            self.created,
        ));
        let algorithms = provider.signature_verification_algorithms.all;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &roots,
            &[],
            at,
            algorithms,
        )
        .is_ok()
    }
}

fn roots(bundle: &str) -> Result<RootCertStore, MaterialError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

fn webhook(provider: &Arc<CryptoProvider>, leaf: &Leaf) -> Result<ServerConfig, MaterialError> {
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.certificate.clone()], leaf.key.clone_key())?;
    // the API server calls webhooks over HTTP/1.1, and HTTP/2 would let others stay without a word
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(config)
}

fn api(
    provider: &Arc<CryptoProvider>,
    leaf: &Leaf,
    roots: Arc<RootCertStore>,
) -> Result<ServerConfig, MaterialError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![leaf.certificate.clone()], leaf.key.clone_key())?;
    config.alpn_protocols = protocols();
    Ok(config)
}

fn client(
    provider: &Arc<CryptoProvider>,
    leaf: &Leaf,
    roots: Arc<RootCertStore>,
) -> Result<ClientConfig, MaterialError> {
    Ok(ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![leaf.certificate.clone()], leaf.key.clone_key())?)
}

fn protocols() -> Vec<Vec<u8>> {
    vec![HTTP2.to_vec(), HTTP1.to_vec()]
}
