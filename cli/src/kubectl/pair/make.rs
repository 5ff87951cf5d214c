//! What is made of a network's status and randomness: codes for people, and a PairingCode that holds none of them.
//! Pure but for the randomness, which is an argument.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use peerup_crds::relays::{Side, responders};
use peerup_crds::{
    CodeHash, CodeState, Delivery, DeliveryType, HashesDelivery, NetworkRef, PairingCode,
    PairingCodeSpec, PeerNetwork,
};
use peerup_protocol::code::{Code, CodeKind};
use peerup_protocol::id::{DhtNamespace, GroupId, NetworkId, Slot};
use peerup_protocol::secret::{CodeSecret, SecretText};
use peerup_protocol::{UnixTime, derive};
use serde_json::json;

use crate::failure::Failure;

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) count: u16,
    pub(super) ttl_seconds: u32,
    pub(super) max_failed_attempts: Option<u32>,
}

/// Codes, and what the cluster is told of them.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) object: PairingCode,
    pub(super) texts: Vec<(Slot, SecretText)>,
    network: String,
    end: Timestamp,
}

/// Makes them.
pub(super) fn codes(
    wish: &Wish,
    network: &PeerNetwork,
    now: UnixTime,
    group: GroupId,
    draw: impl Fn() -> Result<CodeSecret, Failure>,
) -> Result<Made, Failure> {
    let template = template(wish, network, now, group)?;
    let (mut values, mut texts) = (Vec::new(), Vec::new());
    for slot in 0..wish.count {
        let code = Code {
            slot: Slot(slot),
            secret: draw()?,
            ..template.clone()
        };
        values.push(known(&code));
        texts.push((code.slot, code.to_text()));
    }
    let end = Timestamp::from_second(template.not_after.into())
        .map_err(|error| Failure::Usage(format!("--ttl: {error}")))?;
    let hashes = HashesDelivery {
        group: group.to_string(),
        not_after_time: Time(end),
        values,
    };
    Ok(Made {
        object: object(wish, network, hashes),
        texts,
        network: network.name_any(),
        end,
    })
}

/// What all codes have in common.
fn template(
    wish: &Wish,
    network: &PeerNetwork,
    now: UnixTime,
    group: GroupId,
) -> Result<Code, Failure> {
    let name = network.name_any();
    let not_ready = || {
        Failure::Unexpected(format!(
            "PeerNetwork {name} is not set up yet; see kubectl describe pnet {name}"
        ))
    };
    let status = network.status.as_ref().ok_or_else(not_ready)?;
    let net: Option<NetworkId> = status.network_id.as_deref().and_then(|id| id.parse().ok());
    let namespace = status.dht_namespace.as_deref();
    let responders = responders(network, Side::Outside);
    if net.is_some() && responders.is_empty() {
        return Err(Failure::Unexpected(format!(
            "no relay of PeerNetwork {name} has an address outside the cluster; set relay.managed.service.type to NodePort or LoadBalancer, or relay.managed.advertiseAddresses"
        )));
    }
    let not_after = now + UnixTime::from(wish.ttl_seconds);
    Ok(Code {
        kind: CodeKind::Group,
        net: net.ok_or_else(not_ready)?,
        group,
        slot: Slot(0),
        secret: CodeSecret::new([0; 16]),
        namespace: namespace
            .and_then(|text| DhtNamespace::parse(text).ok())
            .ok_or_else(not_ready)?,
        not_after: u32::try_from(not_after)
            .map_err(|_| Failure::Unexpected("this machine's clock is wrong".to_owned()))?,
        responders,
    })
}

/// All that the cluster is told of a code.
fn known(code: &Code) -> CodeHash {
    let Code {
        net,
        group,
        slot,
        secret,
        ..
    } = code;
    let key = derive::code_key(net, group, *slot, secret).verifying_key();
    CodeHash {
        slot: slot.0,
        hash: HEXLOWER.encode(&derive::code_hash(net, group, *slot, secret)),
        public_key: HEXLOWER.encode(key.as_bytes()),
    }
}

fn object(wish: &Wish, network: &PeerNetwork, hashes: HashesDelivery) -> PairingCode {
    let spec = PairingCodeSpec {
        network_ref: NetworkRef {
            name: network.name_any(),
        },
        count: wish.count,
        ttl_seconds: wish.ttl_seconds,
        max_failed_attempts: wish.max_failed_attempts,
        delivery: Some(Delivery {
            type_: DeliveryType::Hashes,
            secret: None,
            hashes: Some(hashes),
        }),
        peer: None,
        state: CodeState::Active,
    };
    PairingCode::new(&wish.name, spec)
}

impl Made {
    /// What a person should know before the codes.
    pub(super) fn heading(&self) -> String {
        format!(
            "{} of PeerNetwork {}, until {}; nobody can show them again:",
            match self.texts.len() {
                1 => "1 code".to_owned(),
                more => format!("{more} codes"),
            },
            self.network,
            self.end
        )
    }

    /// The codes for a program.
    pub(super) fn json(&self, namespace: &str) -> Result<String, Failure> {
        let code = |(slot, text): &(Slot, SecretText)| json!({"slot": slot, "code": text.expose()});
        let all = json!({
            "pairingCode": self.object.name_any(),
            "namespace": namespace,
            "network": self.network,
            "expirationTime": self.end.to_string(),
            "codes": self.texts.iter().map(code).collect::<Vec<_>>(),
        });
        serde_json::to_string_pretty(&all).map_err(|error| Failure::Unexpected(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const NOW: UnixTime = 1_800_000_000;

    fn network() -> PeerNetwork {
        let relay = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        let inside = "/dns4/crew-relay-0.crew-relays.shop.svc.cluster.local/tcp/4001";
        serde_json::from_value(json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
            "metadata": {"name": "crew", "namespace": "shop"}, "spec": {},
            "status": {
                "networkID": "ab".repeat(16), "dhtNamespace": "crew-1",
                "relays": [{
                    "name": "crew-relay-0", "peerID": relay, "state": "Ready",
                    "addresses": [inside, "/ip4/192.0.2.1/tcp/30001", "/ip4/192.0.2.1/udp/30003"],
                }],
            },
        }))
        .unwrap()
    }

    fn wish() -> Wish {
        Wish {
            name: "laptops".to_owned(),
            count: 2,
            ttl_seconds: 600,
            max_failed_attempts: Some(5),
        }
    }

    fn made(network: &PeerNetwork) -> Result<Made, Failure> {
        let next = Cell::new(0u8);
        let draw = || {
            next.set(next.get() + 1);
            Ok(CodeSecret::new([next.get(); 16]))
        };
        codes(&wish(), network, NOW, GroupId([0xA1; 8]), draw)
    }

    #[test]
    fn codes_say_all_that_a_joiner_needs() {
        let made = made(&network()).unwrap();
        let read: Vec<_> = made
            .texts
            .iter()
            .map(|(_, text)| Code::parse(text.expose()).unwrap())
            .collect();
        let code = |slot: u16| Code {
            kind: CodeKind::Group,
            net: NetworkId([0xAB; 16]),
            group: GroupId([0xA1; 8]),
            slot: Slot(slot),
            secret: CodeSecret::new([slot.to_be_bytes()[1] + 1; 16]),
            namespace: DhtNamespace::parse("crew-1").unwrap(),
            not_after: 1_800_000_600,
            responders: vec![peerup_protocol::code::Responder {
                peer: network().status.unwrap().relays[0].peer_id.parse().unwrap(),
                addresses: vec!["/ip4/192.0.2.1/tcp/30001".parse().unwrap()],
            }],
        };
        assert_eq!(read, [code(0), code(1)]);
    }

    #[test]
    fn the_cluster_learns_hashes_and_public_keys() {
        let made = made(&network()).unwrap();
        let code = Code::parse(made.texts[1].1.expose()).unwrap();
        let told = serde_json::to_value(&made.object).unwrap();
        let hashes = &told["spec"]["delivery"]["hashes"];
        assert_eq!(hashes["group"], "a1a1a1a1a1a1a1a1");
        assert_eq!(hashes["notAfterTime"], "2027-01-15T08:10:00Z");
        let hash = derive::code_hash(&code.net, &code.group, code.slot, &code.secret);
        assert_eq!(hashes["values"][1]["hash"], HEXLOWER.encode(&hash));
        assert_eq!(
            (&told["spec"]["count"], &told["spec"]["maxFailedAttempts"]),
            (&json!(2), &json!(5))
        );
        let told = told.to_string();
        let secret = HEXLOWER.encode(code.secret.expose());
        assert!(
            !told.contains(&secret) && !told.contains("peerup1"),
            "{told}"
        );
        assert!(!format!("{made:?}").contains(made.texts[0].1.expose()));
    }

    #[test]
    fn a_network_without_outside_address_gives_no_codes() {
        let mut inside = network();
        let status = inside.status.as_mut().unwrap();
        status.relays[0].addresses.truncate(1);
        let failure = made(&inside).unwrap_err().to_string();
        assert!(failure.contains("outside the cluster"), "{failure}");
        let mut new = network();
        new.status = None;
        let failure = made(&new).unwrap_err().to_string();
        assert!(failure.contains("not set up yet"), "{failure}");
    }

    #[test]
    fn randomness_that_fails_gives_no_codes() {
        let none = || Err(Failure::Unexpected("no randomness".to_owned()));
        assert!(codes(&wish(), &network(), NOW, GroupId([1; 8]), none).is_err());
    }

    #[test]
    fn programs_get_json() {
        let made = made(&network()).unwrap();
        let text: serde_json::Value = serde_json::from_str(&made.json("shop").unwrap()).unwrap();
        assert_eq!(
            (&text["pairingCode"], &text["namespace"], &text["network"]),
            (&json!("laptops"), &json!("shop"), &json!("crew"))
        );
        assert_eq!(text["codes"][1]["slot"], 1);
        assert_eq!(text["codes"][1]["code"], made.texts[1].1.expose());
        assert_eq!(text["expirationTime"], "2027-01-15T08:10:00Z");
    }
}
