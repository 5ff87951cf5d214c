//! Texts: codes, ids, the header of relay calls.

use data_encoding::BASE32_NOPAD;
use peerup_fuzz_targets::vectors::vectors;
use peerup_protocol::api::RelaySignature;
use peerup_protocol::code::Code;

use super::Seeds;

pub(crate) fn codes() -> Seeds {
    let text = |path: &str| vectors().file.text(path).as_bytes().to_vec();
    let group = vectors().file.text("/code/text_group");
    let spoken = group.to_uppercase().replace("AE", "-a e\n");
    vec![
        ("group", text("/code/text_group")),
        ("invite", text("/code/text_invite")),
        ("spoken", spoken.into_bytes()),
    ]
}

pub(crate) fn code_payloads() -> Seeds {
    let file = &vectors().file;
    let mut longest = Code::parse(file.text("/code/text_group")).unwrap();
    let address = longest.responders[0].addresses[1].clone();
    longest.responders[0].addresses = vec![address; 8];
    longest.responders = vec![longest.responders[0].clone(); 9];
    vec![
        ("group", payload(file.text("/code/text_group"))),
        ("invite", payload(file.text("/code/text_invite"))),
        ("longest", payload(longest.to_text().expose())),
    ]
}

/// What stands in a code before its checksum.
fn payload(text: &str) -> Vec<u8> {
    let body = text.strip_prefix("peerup1-").unwrap().to_uppercase();
    let mut bytes = BASE32_NOPAD.decode(body.as_bytes()).unwrap();
    bytes.truncate(bytes.len() - 4);
    bytes
}

pub(crate) fn ids() -> Seeds {
    let v = vectors();
    vec![
        ("network", v.net.to_string().into_bytes()),
        ("group", v.group.to_string().into_bytes()),
        ("namespace", v.namespace.to_string().into_bytes()),
        (
            "fingerprint",
            v.file.text("/verify/fingerprint").as_bytes().to_vec(),
        ),
        ("range-v4", b"10.0.0.0/8".to_vec()),
        ("range-v6", b"2001:db8::/32".to_vec()),
    ]
}

pub(crate) fn exposed() -> Seeds {
    let list = b"http=8080, ssh=127.0.0.1:22,db=[2001:db8::1]:5432 ,web=web.example.org:80";
    vec![("list", list.to_vec()), ("empty", b" ".to_vec())]
}

pub(crate) fn forwarded() -> Seeds {
    let list = b"9000=http@web,9001=http@shop/web.v2";
    vec![("list", list.to_vec()), ("empty", Vec::new())]
}

pub(crate) fn relay_signatures() -> Seeds {
    let signature = RelaySignature {
        time: vectors().issued,
        signature: vectors().file.array("/signed/relay_call_signature"),
    };
    vec![("vector", signature.to_string().into_bytes())]
}
