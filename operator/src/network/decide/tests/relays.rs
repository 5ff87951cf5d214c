//! What relays are given, and what members are told of them.

use super::*;

#[test]
fn the_document_names_every_relay_with_both_sides() {
    let mut seen = observed(network(|network| {
        network["spec"]["relay"]["managed"]["service"] = json!({"type": "NodePort"})
    }));
    let ports = [
        ("tcp", 30001),
        ("quic", 30002),
        ("stun", 30003),
        ("stun-alternate", 30004),
    ];
    let ports = ports.map(|(name, node)| json!({"name": name, "port": 1, "nodePort": node}));
    let service: Service = serde_json::from_value(json!({"spec": {"ports": ports}})).unwrap();
    seen.services = BTreeMap::from([(0, Arc::new(service))]);
    seen.pods = BTreeMap::from([(0, relay_pod())]);
    let keep = kept(&seen);
    let document = NetworkDocument::decode(&keep.publish.as_ref().unwrap().document.bytes).unwrap();
    assert_eq!(
        (document.namespace.as_str(), document.cluster.as_str()),
        ("main-0a1b2c3d", "local")
    );
    assert_eq!(
        document
            .relays
            .iter()
            .map(|relay| relay.addresses.len())
            .collect::<Vec<_>>(),
        [8, 4]
    );
    assert_eq!(document.relays[0].peer, relay_peer(&key(), 0));
    assert_eq!(
        condition(&keep, "RelayAvailable").message,
        "1 of 2 relays are ready"
    );
    let status = keep.status.unwrap();
    assert_eq!(
        status.relays[0].addresses[4],
        "/ip4/10.0.0.5/udp/30002/quic-v1"
    );
    assert_eq!(status.relays[1].state, peerup_crds::RelayState::NotReady);
}

#[test]
fn relays_run_restricted_and_only_with_their_own_key() {
    let keep = kept(&observed(network(|network| {
        network["spec"]["relay"]["managed"]["podTemplate"] = json!({"labels": {"team": "net", "app.kubernetes.io/name": "mine"}, "nodeSelector": {"zone": "a"}});
    })));
    let set = keep
        .apply
        .iter()
        .find(|object| object.key.kind == Kind::StatefulSet)
        .unwrap();
    let template = &set.body["spec"]["template"];
    assert_eq!(
        template["metadata"]["labels"]["app.kubernetes.io/name"], "peerup-relay",
        "ours win"
    );
    assert_eq!(template["metadata"]["labels"]["team"], "net");
    assert_eq!(
        template["metadata"]["labels"]["peerup.dev/inject"],
        "disabled"
    );
    let spec = &template["spec"];
    assert_eq!(spec["nodeSelector"], json!({"zone": "a"}));
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    let container = &spec["containers"][0];
    assert_eq!(
        container["securityContext"]["capabilities"],
        json!({"drop": ["ALL"]})
    );
    let mounts = container["volumeMounts"].as_array().unwrap();
    let key = mounts.iter().find(|mount| mount["name"] == "key").unwrap();
    assert_eq!(
        (&key["subPathExpr"], &key["mountPath"]),
        (&json!("$(POD_NAME)"), &json!("/var/run/peerup/key/seed"))
    );
    let token = &spec["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|volume| volume["name"] == "token")
        .unwrap()["projected"]["sources"][0];
    assert_eq!(
        token["serviceAccountToken"]["audience"],
        "peerup.dev/shop/main/relay"
    );
    let env = container["env"].as_array().unwrap();
    let of = |name: &str| {
        env.iter().find(|one| one["name"] == name).unwrap()["value"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        of("PEERUP_INSIDE_HOST"),
        "$(POD_NAME).main-relays.shop.svc.cluster.local"
    );
    assert_eq!(of("PEERUP_NETWORK_PUBLIC_KEY").len(), 64);
    assert_eq!(of("PEERUP_MAX_PROBATIONARY_PEERS"), "10");
}
