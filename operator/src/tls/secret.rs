//! The Secret in which the authorities are kept. Writes are creates and compare-and-swaps, so that two
//! leaders that overlap cannot undo each other's.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, api::PostParams};
use peerup_crds::names::{labels, secrets};
use peerup_protocol::secret::SecretText;

use super::{authority::Authority, rotation::Authorities};

const SIGNING: &str = "signing";
const NEXT: &str = "next";
const PREVIOUS: &str = "previous.crt";

/// What was found: authorities, if they can be read, and the version to swap.
pub(super) struct Found {
    /// The authorities.
    pub(super) authorities: Option<Authorities>,
    version: Option<String>,
}

/// Reads the Secret.
pub(super) async fn read(api: &Api<Secret>, name: &str) -> kube::Result<Found> {
    let secret = api.get_opt(name).await?;
    let authorities = secret
        .as_ref()
        .and_then(|secret| decode(secret.data.as_ref()?));
    let version = secret.and_then(|secret| secret.metadata.resource_version);
    Ok(Found {
        authorities,
        version,
    })
}

/// Puts authorities in the place of what was found; `false` when somebody else was faster.
pub(super) async fn write(
    api: &Api<Secret>,
    name: &str,
    found: &Found,
    authorities: &Authorities,
) -> kube::Result<bool> {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([(
                labels::MANAGED_BY.to_owned(),
                labels::OPERATOR.to_owned(),
            )])),
            resource_version: found.version.clone(),
            ..ObjectMeta::default()
        },
        data: Some(encode(authorities)),
        type_: Some(secrets::CA_TYPE.to_owned()),
        ..Secret::default()
    };
    let written = match found.version {
        None => api.create(&PostParams::default(), &secret).await,
        Some(_) => api.replace(name, &PostParams::default(), &secret).await,
    };
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

type Data = BTreeMap<String, ByteString>;

fn encode(authorities: &Authorities) -> Data {
    let mut data = Data::new();
    let mut put =
        |name: &str, text: &str| data.insert(name.to_owned(), ByteString(text.as_bytes().to_vec()));
    for (role, authority) in [
        (SIGNING, Some(&authorities.signing)),
        (NEXT, authorities.next.as_ref()),
    ] {
        if let Some(authority) = authority {
            put(&format!("{role}.crt"), &authority.certificate);
            put(&format!("{role}.key"), authority.key.expose());
            put(&format!("{role}.created"), &authority.created.to_string());
        }
    }
    if let Some(certificate) = &authorities.previous {
        put(PREVIOUS, certificate);
    }
    data
}

fn decode(data: &Data) -> Option<Authorities> {
    let text = |name: &str| String::from_utf8(data.get(name)?.0.clone()).ok();
    let authority = |role: &str| {
        let created = text(&format!("{role}.created"))?.parse().ok()?;
        let key = SecretText::new(text(&format!("{role}.key"))?);
        Some(Authority {
            created,
            certificate: text(&format!("{role}.crt"))?,
            key,
        })
    };
    let authorities = Authorities {
        signing: authority(SIGNING)?,
        next: authority(NEXT),
        previous: text(PREVIOUS),
    };
    authorities.signing.is_sound().then_some(authorities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let first = Authorities::first(Authority::make(1_700_000_000).unwrap());
        assert_eq!(decode(&encode(&first)), Some(first.clone()));
        let both = first.announce(Authority::make(1_720_000_000).unwrap());
        assert_eq!(decode(&encode(&both)), Some(both.clone()));
        let promoted = both.promote();
        assert_eq!(decode(&encode(&promoted)), Some(promoted));
    }

    #[test]
    fn what_cannot_sign_is_nothing() {
        let good = encode(&Authorities::first(Authority::make(1_700_000_000).unwrap()));
        for (field, value) in [
            ("signing.key", "no key"),
            ("signing.created", "soon"),
            ("signing.created", "1700000001"),
            ("signing.crt", ""),
        ] {
            let mut bad = good.clone();
            bad.insert(field.to_owned(), ByteString(value.as_bytes().to_vec()));
            assert_eq!(decode(&bad), None, "{field}={value}");
        }
        assert_eq!(decode(&Data::new()), None);
    }
}
