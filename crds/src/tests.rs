//! What holds of all definitions.

use std::{fs, path::Path};

use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use crate::{PairingCode, Peer, PeerNetwork, PeerNetworkSpec, definitions, files, names};

#[test]
fn generated_files_are_up_to_date() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in files().unwrap() {
        let found = fs::read_to_string(top.join(&file.path)).unwrap_or_default();
        assert!(
            found == file.text,
            "{} is not what the types say: run `cargo run -p peerup-crds`",
            file.path
        );
    }
}

/// Calls `check` for a schema and all beneath it.
fn walk(path: &str, schema: &Value, check: &mut impl FnMut(&str, &Value)) {
    check(path, schema);
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            walk(&format!("{path}[]"), &schema[part], check);
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, check);
    }
}

#[test]
fn every_list_map_and_text_is_bounded() {
    let mut seen = 0;
    for definition in definitions() {
        let schema = json!(
            definition.spec.versions[0]
                .schema
                .as_ref()
                .unwrap()
                .open_api_v3_schema
        );
        walk(&definition.spec.names.kind, &schema, &mut |path, schema| {
            seen += 1;
            match schema["type"].as_str() {
                Some("array") => {
                    assert!(schema["maxItems"].is_number(), "{path} has no maxItems");
                    assert!(
                        schema["x-kubernetes-list-type"].is_string(),
                        "{path} has no list type"
                    );
                }
                Some("string") => {
                    assert!(
                        schema["maxLength"].is_number() || schema["enum"].is_array(),
                        "{path} has no maxLength"
                    );
                }
                _ => {}
            }
            let mapped = schema["additionalProperties"].is_object();
            assert!(
                !mapped || schema["maxProperties"].is_number(),
                "{path} has no maxProperties"
            );
            assert!(schema.get("nullable").is_none(), "{path} may be null");
            let described = !schema["description"]
                .as_str()
                .unwrap_or_default()
                .is_empty();
            let foreign = path.contains("[]") || path.contains(".affinity.");
            assert!(described || foreign, "{path} is not described");
        });
    }
    assert!(seen > 200, "{seen} schemas are too few: the walk is wrong");
}

#[test]
fn every_rule_says_what_must_be() {
    for definition in definitions() {
        let schema = json!(
            definition.spec.versions[0]
                .schema
                .as_ref()
                .unwrap()
                .open_api_v3_schema
        );
        walk(&definition.spec.names.kind, &schema, &mut |path, schema| {
            for rule in schema["x-kubernetes-validations"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let message = rule["message"].as_str().unwrap_or_default();
                assert!(message.contains("must "), "{path}: {message:?}");
            }
        });
    }
}

#[test]
fn an_empty_spec_is_the_default() {
    assert_eq!(
        serde_json::from_value::<PeerNetworkSpec>(json!({})).unwrap(),
        PeerNetworkSpec::default()
    );
}

#[test]
fn group_and_version_are_said_once() {
    for resource in [
        PeerNetwork::api_resource(),
        PairingCode::api_resource(),
        Peer::api_resource(),
    ] {
        assert_eq!(
            (resource.group.as_str(), resource.version.as_str()),
            (names::GROUP, names::VERSION)
        );
    }
}

#[test]
fn derived_names_stay_dns_labels() {
    let network = "n".repeat(names::NETWORK_NAME_MAX);
    let longest = names::relay_replica(&network, names::RELAYS_MAX - 1);
    assert!(
        longest.len() <= 52,
        "{longest}: a StatefulSet adds a hash of 11 characters to labels"
    );
    let peer = names::peer(&network, &"p".repeat(63));
    assert_eq!(peer.len(), 104);
    assert_eq!(
        names::ca_config_map("01234567-89ab-cdef-0123-456789abcdef"),
        "peerup-01234567"
    );
    assert_eq!(names::audience("shop", "crew"), "peerup.dev/shop/crew");
    assert_eq!(
        names::relay_audience("shop", "crew"),
        "peerup.dev/shop/crew/relay"
    );
}

#[test]
fn a_slot_is_of_the_peer_that_used_it_and_of_no_other_under_its_name() {
    let peer = |uid: &str| -> Peer {
        serde_json::from_value(json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "Peer",
            "metadata": {"name": "crew.laptop", "uid": uid},
            "spec": {
                "networkRef": {"name": "crew"}, "peerID": "", "serial": "", "type": "External",
                "method": "Code", "displayName": "laptop",
            },
        }))
        .unwrap()
    };
    let mut code: PairingCode = serde_json::from_value(json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PairingCode",
        "metadata": {"name": "laptops"},
        "spec": {"networkRef": {"name": "crew"}},
        "status": {"codes": [
            {"slot": 0, "hash": "", "publicKey": "", "state": "Available"},
            {"slot": 1, "hash": "", "publicKey": "", "state": "Used",
             "peerRef": {"name": "crew.laptop", "uid": "first"}},
        ]},
    }))
    .unwrap();
    let slot = |code: &PairingCode, uid| code.slot_of(&peer(uid)).map(|used| used.slot);
    assert_eq!(slot(&code, "first"), Some(1));
    assert_eq!(slot(&code, "second"), None);
    code.status = None;
    assert_eq!(slot(&code, "first"), None);
}
