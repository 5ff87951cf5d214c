//! The operator's own certificate authority, and the certificates it signs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peerup_protocol::secret::SecretText;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Seconds that an authority lives.
pub(super) const AUTHORITY_LIFE: u64 = 365 * 86_400;
/// Seconds that a leaf lives.
pub(super) const LEAF_LIFE: u64 = 7 * 86_400;
/// Certificates begin this much earlier, for clocks that are behind.
const SKEW: u64 = 3600;

/// An authority: what its Secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// When it was made, Unix seconds; its name and times follow from it.
    pub(super) created: u64,
    /// Its certificate, PEM.
    pub(super) certificate: String,
    /// Its key, PEM (PKCS #8).
    pub(super) key: SecretText,
}

/// A server's certificate.
pub(super) struct Leaf {
    /// The certificate.
    pub(super) certificate: CertificateDer<'static>,
    /// Its key.
    pub(super) key: PrivateKeyDer<'static>,
    /// When it ends, Unix seconds.
    pub(super) not_after: u64,
}

impl Authority {
    /// A new authority.
    pub(super) fn make(created: u64) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let certificate = authority_params(created).self_signed(&key)?.pem();
        Ok(Self {
            created,
            certificate,
            key: SecretText::new(key.serialize_pem()),
        })
    }

    /// When it ends, Unix seconds.
    pub(super) fn not_after(&self) -> u64 {
        self.created.saturating_add(AUTHORITY_LIFE)
    }

    /// A leaf for servers with these DNS names and IP addresses, which also proves a replica to another.
    pub(super) fn sign(&self, names: &[String], now: u64) -> Result<Leaf, rcgen::Error> {
        let issuer = Issuer::new(
            authority_params(self.created),
            KeyPair::from_pem(self.key.expose())?,
        );
        let key = KeyPair::generate()?;
        let not_after = now.saturating_add(LEAF_LIFE).min(self.not_after());
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = named("peerup-operator");
        (params.not_before, params.not_after) = (
            time(now.saturating_sub(SKEW)).into(),
            time(not_after).into(),
        );
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?.der().clone();
        Ok(Leaf {
            certificate,
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            not_after,
        })
    }
}

fn authority_params(created: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("peerup-ca-{created}"));
    params.not_before = time(created.saturating_sub(SKEW)).into();
    params.not_after = time(created.saturating_add(AUTHORITY_LIFE)).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::CommonName, name);
    all
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}
