//! Every entry reads as it is shown; what is wrong says so.

use proptest::collection::vec;
use proptest::prelude::*;

use std::str::FromStr;

use super::*;
use crate::id::PeerName;

fn service(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

fn workload(namespace: &str, account: &str) -> Target {
    Target::Workload {
        namespace: KubeNamespace::parse(namespace).unwrap(),
        service_account: AccountName::parse(account).unwrap(),
    }
}

fn expose(name: &str, host: Host, port: u16) -> Expose {
    Expose {
        service: service(name),
        host,
        port,
    }
}

fn any_label() -> impl Strategy<Value = String> {
    "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
}

fn any_target() -> impl Strategy<Value = Target> {
    let peer = any_label().prop_map(|name| Target::Peer(PeerName::parse(&name).unwrap()));
    let account = "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?){0,3}";
    let pods = (any_label(), account).prop_map(|(space, account)| workload(&space, &account));
    prop_oneof![peer, pods]
}

fn any_host() -> impl Strategy<Value = Host> {
    prop_oneof![
        Just(Host::LOOPBACK),
        any::<[u8; 4]>().prop_map(|ip| Host::Ip(ip.into())),
        any::<[u8; 16]>().prop_map(|ip| Host::Ip(ip.into())),
        "[a-z0-9_]{1,20}(\\.[a-z0-9]{1,20}){0,3}\\.[a-z]{1,20}".prop_map(Host::Name),
    ]
}

proptest! {
    #[test]
    fn exposed_services_read_as_they_are_shown(name in any_label(), host in any_host(), port in 1..=u16::MAX) {
        let expose = expose(&name, host, port);
        prop_assert_eq!(expose.to_string().parse(), Ok(expose.clone()));
        let json = serde_json::to_string(&expose).unwrap();
        prop_assert_eq!(serde_json::from_str::<Expose>(&json).unwrap(), expose);
    }

    #[test]
    fn forwards_read_as_they_are_shown(port in 1..=u16::MAX, name in any_label(), target in any_target()) {
        prop_assert_eq!(target.to_string().parse(), Ok(target.clone()));
        let forward = Forward { port, service: service(&name), target };
        prop_assert_eq!(forward.to_string().parse(), Ok(forward.clone()));
        let json = serde_json::to_string(&forward).unwrap();
        prop_assert_eq!(serde_json::from_str::<Forward>(&json).unwrap(), forward);
    }

    #[test]
    fn lists_read_as_they_are_shown(hosts in vec((any_host(), 1..=u16::MAX), 0..=MAX_ENTRIES), targets in vec(any_target(), 0..=MAX_ENTRIES)) {
        let exposed: Vec<_> = hosts
            .into_iter()
            .enumerate()
            .map(|(at, (host, port))| expose(&format!("s{at}"), host, port))
            .collect();
        prop_assert_eq!(Expose::parse_list(&list_text(&exposed)), Ok(exposed));
        let forwards: Vec<_> = targets
            .into_iter()
            .zip(9000..)
            .map(|(target, port)| Forward { port, service: service("http"), target })
            .collect();
        prop_assert_eq!(Forward::parse_list(&list_text(&forwards)), Ok(forwards));
    }

    #[test]
    fn parsing_is_total(text in "\\PC{0,80}", near in "[a-z0-9=@/:,.\\[\\] -]{0,60}") {
        for text in [text, near] {
            let _ = (Target::from_str(&text), Host::parse(&text), AccountName::parse(&text));
            // What is read is shown as something that reads the same.
            if let Ok(exposed) = Expose::parse_list(&text) {
                prop_assert_eq!(Expose::parse_list(&list_text(&exposed)), Ok(exposed));
            }
            if let Ok(forwards) = Forward::parse_list(&text) {
                prop_assert_eq!(Forward::parse_list(&list_text(&forwards)), Ok(forwards));
            }
        }
    }
}

#[test]
fn a_port_alone_is_on_the_loopback_address() {
    let web = expose("http", Host::LOOPBACK, 8080);
    for text in ["http=8080", "http=127.0.0.1:8080"] {
        assert_eq!(text.parse(), Ok(web.clone()), "{text}");
    }
    assert_eq!(web.to_string(), "http=8080");
}

#[test]
fn hosts_are_addresses_or_names() {
    let six = Host::Ip("::1".parse().unwrap());
    let name = Host::Name("db.shop.svc".to_owned());
    for (text, expected) in [
        ("ssh=127.0.0.1:22", expose("ssh", Host::LOOPBACK, 22)),
        ("ssh=[::1]:22", expose("ssh", six, 22)),
        ("db=DB.shop.svc:5432", expose("db", name, 5432)),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    for bad in [
        "",
        "300.1.1.1",
        "1.2.3",
        "::1",
        "[::1",
        "[127.0.0.1]",
        "a..b",
        "-a",
        "a b",
        "a/b",
    ] {
        assert!(Host::parse(bad).is_err(), "{bad:?}");
    }
    assert!(Host::parse(&"a".repeat(64)).is_err());
    assert!(Host::parse(&format!("{}a", "a.".repeat(127))).is_err());
}

#[test]
fn targets_are_peers_or_workloads() {
    let peer = Target::Peer(PeerName::parse("web").unwrap());
    for (text, expected) in [
        ("9000=http@web", peer),
        ("9000=http@shop/web", workload("shop", "web")),
        ("9000=http@shop/web.v2", workload("shop", "web.v2")),
    ] {
        let forward = Forward {
            port: 9000,
            service: service("http"),
            target: expected,
        };
        assert_eq!(text.parse(), Ok(forward), "{text}");
    }
    for bad in [
        "", "/", "a/", "/a", "a/b/c", "A", "a.b", "a.b/c", "a/b..c", "a@b",
    ] {
        assert!(bad.parse::<Target>().is_err(), "{bad:?}");
    }
    assert!(AccountName::parse(&"a".repeat(64)).is_err());
    assert!(AccountName::parse(&format!("{}a", "a.".repeat(127))).is_err());
}

#[test]
fn what_is_wrong_is_said() {
    let error = |text: &str| text.parse::<Expose>().unwrap_err().to_string();
    let form = "expected service=port or service=host:port, such as http=8080 or ssh=127.0.0.1:22";
    for text in [
        "8080",
        "http=0",
        "http=+80",
        "http=65536",
        "http=",
        "http=a:",
    ] {
        assert_eq!(error(text), format!("{form}, got {text:?}"));
    }
    assert!(error("Http=80").starts_with("a service's name must be 1 to 63 lower-case"));
    assert!(error("http=:80").starts_with("a host must be an IP address"));
    let error = |text: &str| text.parse::<Forward>().unwrap_err().to_string();
    let form = "expected local port=service@peer, such as 9000=http@web or 9000=http@shop/web";
    for text in [
        "http@web",
        "9000=http",
        "0=http@web",
        "99999=http@web",
        "=http@web",
    ] {
        assert_eq!(error(text), format!("{form}, got {text:?}"));
    }
    assert!(error("9000=http@").starts_with("expected a peer (web) or a workload's"));
    // What came is cut, and shown so that nothing in it can play with a terminal.
    let long = ServiceError::form("x", &"\u{202e}".repeat(500)).to_string();
    assert_eq!(
        long,
        format!("expected x, got \"{}\"", "\\u{202e}".repeat(80))
    );
}

#[test]
fn lists_are_bounded_and_name_each_thing_once() {
    assert_eq!(Expose::parse_list("  "), Ok(Vec::new()));
    let spaced = Expose::parse_list(" http=8080 ,\n ssh=22 ").unwrap();
    assert_eq!(list_text(&spaced), "http=8080,ssh=22");
    for bad in [",", "http=80,", ",http=80", "http=80,,ssh=22"] {
        assert!(
            matches!(Expose::parse_list(bad), Err(ServiceError::Form { .. })),
            "{bad:?}"
        );
    }
    let many = |count: usize| {
        let entries: Vec<_> = (0..count).map(|at| format!("s{at}=80")).collect();
        Expose::parse_list(&entries.join(","))
    };
    assert_eq!(
        many(MAX_ENTRIES).map(|entries| entries.len()),
        Ok(MAX_ENTRIES)
    );
    assert_eq!(
        many(MAX_ENTRIES + 1),
        Err(ServiceError::TooMany { max: MAX_ENTRIES })
    );
    let long = " ".repeat(MAX_LIST_TEXT + 1);
    let too_long = ServiceError::TooLong {
        max: MAX_LIST_TEXT,
        got: MAX_LIST_TEXT + 1,
    };
    assert_eq!(Expose::parse_list(&long), Err(too_long));
    let twice = ServiceError::ExposedTwice {
        service: service("http"),
    };
    assert_eq!(Expose::parse_list("http=80,ssh=22,http=81"), Err(twice));
    let twice = ServiceError::ForwardedTwice { port: 9000 };
    assert_eq!(
        Forward::parse_list("9000=http@a,9001=http@a,9000=ssh@b"),
        Err(twice)
    );
}

#[test]
fn answers_are_one_byte() {
    let bytes: Vec<_> = ServiceAnswer::ALL
        .iter()
        .map(|answer| answer.as_u8())
        .collect();
    assert_eq!(bytes, [0, 1, 2, 3, 4, 5, 6]);
    for byte in 0..=u8::MAX {
        let expected = ServiceAnswer::ALL.get(usize::from(byte)).copied();
        let unknown = DecodeError::unknown("service answer", byte);
        assert_eq!(ServiceAnswer::try_from(byte), expected.ok_or(unknown));
    }
    assert_eq!(ServiceAnswer::NotAllowed.as_u8(), 1);
    assert_eq!(ServiceAnswer::VerificationRequired.as_u8(), 5);
    assert_eq!(ServiceAnswer::StaleRevocations.as_u8(), 6);
}
