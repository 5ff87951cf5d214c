//! Every byte of `vectors/vectors.json` that this crate can make.

use serde_json::Value;

use crate::code::{Code, CodeKind, Responder};
use crate::derive;
use crate::frame::{GuestRequest, GuestResponse, JoinRequest, JoinResponse};
use crate::id::{DhtNamespace, GroupId, NetworkId, PeerName, Serial, Slot, peer_id, verifying_key};
use crate::message;
use crate::record::{
    Flags, GuestGrant, MemberRecord, Method, NetworkDocument, Relay, Revocations, Signed,
};
use crate::secret::{CodeSecret, NetworkSeed};
use crate::{Multiaddr, PeerId, SigningKey};

const ISSUED: u64 = 1_790_000_000;

pub(crate) struct Vectors(Value);

impl Vectors {
    pub(crate) fn load() -> Self {
        Self(serde_json::from_str(include_str!("../vectors/vectors.json")).unwrap())
    }

    fn text(&self, path: &str) -> &str {
        self.0
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no vector {path}"))
    }

    fn number(&self, path: &str) -> u64 {
        self.0
            .pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("no vector {path}"))
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        hex(self.text(path))
    }

    fn array<const N: usize>(&self, path: &str) -> [u8; N] {
        self.bytes(path).try_into().unwrap()
    }
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn seed() -> NetworkSeed {
    NetworkSeed::new([1; 32])
}

fn peer(byte: u8) -> PeerId {
    peer_id(&key(byte).verifying_key())
}

fn net() -> NetworkId {
    NetworkId::of(&key(1).verifying_key())
}

fn name(text: &str) -> PeerName {
    PeerName::parse(text).unwrap()
}

fn code(v: &Vectors, kind: CodeKind) -> Code {
    let (list, slot) = match kind {
        CodeKind::Group => ("/code/responders_group", v.number("/code/slot") as u16),
        CodeKind::Invite => ("/code/responders_invite", 0),
    };
    let responders =
        v.0.pointer(list)
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| Responder {
                peer: PeerId::from_bytes(&hex(pair[0].as_str().unwrap())).unwrap(),
                addresses: {
                    let addresses = pair[1].as_array().unwrap().iter();
                    addresses
                        .map(|bytes| Multiaddr::try_from(hex(bytes.as_str().unwrap())).unwrap())
                        .collect()
                },
            });
    Code {
        kind,
        net: net(),
        group: GroupId(v.array("/code/group")),
        slot: Slot(slot),
        secret: CodeSecret::new(v.array("/code/secret")),
        namespace: DhtNamespace::parse(v.text("/identities/namespace")).unwrap(),
        not_after: v.number("/code/not_after") as u32,
        responders: responders.collect(),
    }
}

#[test]
fn identities() {
    let v = Vectors::load();
    assert_eq!(
        key(1).verifying_key().as_bytes(),
        &v.array("/identities/network_public_key")
    );
    assert_eq!(net().to_string(), v.text("/identities/network_id"));
    assert_eq!(net().tag(), v.text("/identities/tag"));
    for (byte, path) in [(2, "relay"), (3, "joiner"), (4, "home")] {
        assert_eq!(
            peer(byte).to_bytes(),
            v.bytes(&format!("/identities/{path}_peer_id"))
        );
        assert_eq!(
            verifying_key(&peer(byte)).unwrap(),
            key(byte).verifying_key()
        );
    }
}

#[test]
fn codes() {
    let v = Vectors::load();
    for (kind, path) in [
        (CodeKind::Group, "/code/text_group"),
        (CodeKind::Invite, "/code/text_invite"),
    ] {
        let code = code(&v, kind);
        assert_eq!(code.to_text().expose(), v.text(path));
        assert_eq!(Code::parse(v.text(path)), Ok(code));
    }
    let c = code(&v, CodeKind::Group);
    assert_eq!(
        derive::code_hash(&c.net, &c.group, c.slot, &c.secret),
        v.array("/code/hash")
    );
    let public = derive::code_key(&c.net, &c.group, c.slot, &c.secret).verifying_key();
    assert_eq!(public.as_bytes(), &v.array("/code/code_public_key"));
}

#[test]
fn derived() {
    let v = Vectors::load();
    let now = v.number("/attest/now");
    let window = derive::attest_window(now);
    assert_eq!(window, v.number("/attest/window"));
    let (group, secret) = derive::attested(&seed(), &net(), &peer(3), window);
    assert_eq!(
        *derive::attest_key(&seed(), &net()),
        v.array("/attest/attest_key")
    );
    assert_eq!(group.0, v.array("/attest/group"));
    assert_eq!(*secret.expose(), v.array("/attest/secret"));
    let uid = v.text("/derived_code/uid");
    let slot = Slot(v.number("/derived_code/slot") as u16);
    assert_eq!(
        derive::group_of(&seed(), &net(), uid).0,
        v.array("/derived_code/group")
    );
    assert_eq!(
        *derive::slot_secret(&seed(), &net(), uid, slot).expose(),
        v.array("/derived_code/secret")
    );
    let ordinal = v.number("/relay_identity/ordinal") as u8;
    assert_eq!(
        *derive::relay_seed(&seed(), &net(), ordinal).expose(),
        v.array("/relay_identity/seed")
    );
}

#[test]
fn join_messages() {
    let v = Vectors::load();
    let c = code(&v, CodeKind::Group);
    let code_key = derive::code_key(&c.net, &c.group, c.slot, &c.secret);
    let join = message::join(&c.net, &c.group, c.slot, &peer(3), &name("laptop"));
    assert_eq!(join, v.bytes("/signed/join_message"));
    let proof = message::sign(&code_key, &join);
    assert_eq!(proof, v.array("/signed/code_signature"));
    let both = message::join_identity(&join, &code_key.verifying_key());
    let identity = message::sign(&key(3), &both);
    assert_eq!(identity, v.array("/signed/identity_signature"));
    let request = JoinRequest {
        name: name("laptop"),
        proof,
        identity,
    };
    assert_eq!(request.encode(), v.bytes("/handshake_group/request"));
    assert_eq!(JoinRequest::decode(&request.encode()), Ok(request));
    // The identity's signature over a voucher is of the same form.
    let voucher = message::join_identity(&v.bytes("/signed/voucher"), &code_key.verifying_key());
    assert_eq!(
        message::sign(&key(3), &voucher),
        v.array("/signed/voucher_identity_signature")
    );
}

#[test]
fn member_record() {
    let v = Vectors::load();
    let record = MemberRecord {
        net: net(),
        serial: Serial(41),
        peer: peer(3),
        name: name("laptop"),
        subject: String::new(),
        method: Method::Code,
        issued: ISSUED,
        not_after: ISSUED + 86_400,
    };
    let signed = Signed::sign(&key(1), record.encode());
    assert_eq!(signed.bytes, v.bytes("/signed/member_record"));
    assert_eq!(signed.signature, v.array("/signed/member_signature"));
    assert_eq!(MemberRecord::decode(&signed.bytes), Ok(record));
    let response = JoinResponse {
        record: signed,
        network_key: key(1).verifying_key().to_bytes(),
    };
    assert_eq!(response.encode(), v.bytes("/handshake_group/response"));
}

#[test]
fn guest_grant() {
    let v = Vectors::load();
    let grant = GuestGrant {
        net: net(),
        serial: Serial(77),
        sponsor: peer(4),
        guest: peer(3),
        name: name("laptop"),
        issued: ISSUED,
        not_after: ISSUED + 86_400,
    };
    let signed = Signed::sign(&key(4), grant.encode());
    assert_eq!(signed.bytes, v.bytes("/signed/guest_grant"));
    assert_eq!(signed.signature, v.array("/signed/guest_signature"));
    assert_eq!(GuestGrant::decode(&signed.bytes), Ok(grant));
    let request = GuestRequest {
        name: name("laptop"),
    };
    assert_eq!(request.encode(), v.bytes("/handshake_invite/request"));
    let response = GuestResponse {
        inviter: name("home"),
        grant: signed,
    };
    assert_eq!(response.encode(), v.bytes("/handshake_invite/response"));
    assert_eq!(GuestResponse::decode(&response.encode()), Ok(response));
}

#[test]
fn revocations() {
    let v = Vectors::load();
    let serials = [Serial(9), Serial(5)].into();
    let list = Revocations {
        net: net(),
        epoch: 7,
        issued: ISSUED,
        serials,
    };
    let signed = Signed::sign(&key(1), list.encode());
    assert_eq!(signed.bytes, v.bytes("/signed/revocations"));
    assert_eq!(signed.signature, v.array("/signed/revocations_signature"));
    assert_eq!(Revocations::decode(&signed.bytes), Ok(list));
}

#[test]
fn network_document() {
    let v = Vectors::load();
    let c = code(&v, CodeKind::Group);
    let relay = Relay {
        peer: peer(2),
        addresses: c.responders[0].addresses.clone(),
    };
    let document = NetworkDocument {
        net: net(),
        epoch: 7,
        issued: ISSUED,
        namespace: c.namespace,
        cluster: "home".to_owned(),
        flags: Flags {
            guests: true,
            ..Flags::default()
        },
        relays: vec![relay],
        access: vec!["http=laptop".to_owned()],
    };
    let signed = Signed::sign(&key(1), document.encode());
    assert_eq!(signed.bytes, v.bytes("/signed/network_document"));
    assert_eq!(
        signed.signature,
        v.array("/signed/network_document_signature")
    );
    assert_eq!(NetworkDocument::decode(&signed.bytes), Ok(document));
}

#[test]
fn messages_of_peers_and_relays() {
    let v = Vectors::load();
    for (bytes, by, path) in [
        (
            message::report(&net(), &peer(3), ISSUED, br#"{"grade":"B"}"#),
            3,
            "report",
        ),
        (message::attest(b"token", &peer(3)), 3, "attest"),
        (
            message::relay_call("POST", "/v1/relay/lookup", ISSUED, b"token", b"{}"),
            2,
            "relay_call",
        ),
    ] {
        assert_eq!(bytes, v.bytes(&format!("/signed/{path}_message")), "{path}");
        let signature = message::sign(&key(by), &bytes);
        assert_eq!(
            signature,
            v.array(&format!("/signed/{path}_signature")),
            "{path}"
        );
        assert_eq!(
            message::verify(&key(by).verifying_key(), &bytes, &signature),
            Ok(())
        );
    }
}
