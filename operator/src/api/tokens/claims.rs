//! What a token says of itself, before anybody has confirmed it: only enough to know what to ask the API
//! server, and when a confirmation ends.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Claims of a service account token (a JWT), unconfirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// What the token is for; the first of ours.
    pub audience: Audience,
    /// When it ends, Unix seconds.
    pub expires: u64,
}

/// An audience of ours: `peerup.dev/<namespace>/<network>`, for relays with `/relay`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// As it stands in the token.
    pub text: String,
    /// Namespace of the network.
    pub namespace: String,
    /// Name of the network.
    pub network: String,
    /// For relays.
    pub relay: bool,
}

#[derive(Deserialize)]
struct Payload {
    aud: OneOrMany,
    exp: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Reads the claims of a token that has an audience of ours; `None` is every other text.
#[must_use]
pub fn read(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    if token.len() > MAX_TOKEN {
        return None;
    }
    let payload: Payload =
        serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?).ok()?;
    let audiences = match payload.aud {
        OneOrMany::One(audience) => vec![audience],
        OneOrMany::Many(audiences) => audiences,
    };
    let audience = audiences.iter().find_map(|text| Audience::parse(text))?;
    Some(Claims {
        audience,
        expires: payload.exp,
    })
}

impl Audience {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (group, namespace, network, role) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next());
        let relay = match role {
            None => false,
            Some("relay") => true,
            Some(_) => return None,
        };
        let ours = group == peerup_crds::names::GROUP && parts.next().is_none();
        ours.then(|| Self {
            text: text.to_owned(),
            namespace: namespace.to_owned(),
            network: network.to_owned(),
            relay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(payload.as_bytes()))
    }

    #[test]
    fn the_first_audience_of_ours_counts() {
        let claims = read(&token(
            r#"{"aud":["vault","peerup.dev/shop/main","peerup.dev/a/b"],"exp":7}"#,
        ))
        .unwrap();
        let audience = Audience {
            text: "peerup.dev/shop/main".into(),
            namespace: "shop".into(),
            network: "main".into(),
            relay: false,
        };
        assert_eq!(
            claims,
            Claims {
                audience,
                expires: 7
            }
        );
        assert!(
            read(&token(r#"{"aud":"peerup.dev/shop/main/relay","exp":7}"#))
                .unwrap()
                .audience
                .relay
        );
    }

    #[test]
    fn others_and_nonsense_are_nothing() {
        for payload in [
            r#"{"aud":["https://kubernetes.default.svc"],"exp":7}"#,
            r#"{"aud":"peerup.dev/shop","exp":7}"#,
            r#"{"aud":"peerup.dev/shop/main/other","exp":7}"#,
            r#"{"aud":"peerup.dev/shop/main/relay/","exp":7}"#,
            r#"{"aud":"peerup.dev.example/shop/main","exp":7}"#,
            r#"{"aud":"peerup.dev/shop/main"}"#,
            "[]",
        ] {
            assert_eq!(read(&token(payload)), None, "{payload}");
        }
        for text in [
            "",
            "..",
            "a.b.c",
            "a.b.c.d",
            &format!("e30.{}.x", "A".repeat(MAX_TOKEN)),
        ] {
            assert_eq!(read(text), None);
        }
    }
}
