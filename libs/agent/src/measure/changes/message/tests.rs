//! Messages as the kernel writes them.

use super::*;

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn link_body(family: u8, layer: u16, index: u32, flags: u32) -> Vec<u8> {
    let mut body = vec![family, 0];
    body.extend(layer.to_ne_bytes());
    for word in [index, flags, u32::MAX] {
        body.extend(word.to_ne_bytes());
    }
    body.extend(attribute(3, b"eth0\0"));
    body
}

fn address_body(family: u8, flags: u8, index: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![family, 24, flags, 0];
    body.extend(index.to_ne_bytes());
    for (kind, value) in attributes {
        body.extend(attribute(*kind, value));
    }
    body
}

fn route_body(table: u8, kind: u8, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![INET, 0, 0, 0, table, 3, 0, kind];
    body.extend(flags.to_ne_bytes());
    for (kind, value) in attributes {
        body.extend(attribute(*kind, value));
    }
    body
}

fn one(kind: u16, body: &[u8]) -> Option<Change> {
    let mut all = changes(&message(kind, body));
    assert!(all.len() < 2, "{all:?}");
    all.pop()
}

#[test]
fn a_link_is_up_or_not() {
    let ether = 1;
    let told = |family, layer, flags| one(NEW_LINK, &link_body(family, layer, 3, flags));
    let link = |state| {
        Some(Change {
            thing: Thing::Link(3),
            state,
        })
    };
    assert_eq!(told(0, ether, 0x1_1043), link(Some(0x41)));
    assert_eq!(told(0, ether, 0x1003), link(Some(0x1)), "no carrier");
    assert_eq!(told(0, LOOPBACK, 0x49), None);
    assert_eq!(told(7, ether, 0x1043), None, "a port of a bridge");
    assert_eq!(one(DEL_LINK, &link_body(0, ether, 3, 0x1002)), link(None));
}

#[test]
fn an_address_is_the_local_one_and_its_state_what_can_be_used() {
    let (own, other) = ([10, 0, 0, 5], [10, 0, 0, 6]);
    let known = |state| {
        Some(Change {
            thing: Thing::Address(2, IpAddr::from(own)),
            state,
        })
    };
    let both: &[(u16, &[u8])] = &[(IFA_ADDRESS, &other), (IFA_LOCAL, &own)];
    assert_eq!(
        one(NEW_ADDRESS, &address_body(INET, 0x80, 2, both)),
        known(Some(0))
    );
    assert_eq!(
        one(DEL_ADDRESS, &address_body(INET, 0x80, 2, both)),
        known(None)
    );
    // the attribute has more flags than the header
    let flags = 0x340_u32.to_ne_bytes();
    let tentative: &[(u16, &[u8])] = &[(IFA_ADDRESS, &own), (IFA_FLAGS, &flags)];
    let told = one(NEW_ADDRESS, &address_body(INET, 0, 2, tentative));
    assert_eq!(told, known(Some(0x40)));
}

#[test]
fn addresses_that_lead_nowhere_do_not_matter() {
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
    let own = address_body(INET6, 0, 2, &[(IFA_ADDRESS, &link_local)]);
    assert_eq!(one(NEW_ADDRESS, &own), None);
    let loopback = address_body(INET, 0, 1, &[(IFA_LOCAL, &[127, 0, 0, 1])]);
    assert_eq!(one(NEW_ADDRESS, &loopback), None);
}

#[test]
fn routes_are_told_apart_by_what_they_are_for_and_where_they_lead() {
    let via = |gateway: &[u8], expires: u32| {
        let expires = expires.to_ne_bytes();
        let body = route_body(
            254,
            1,
            0,
            &[(5, gateway), (4, &[2, 0, 0, 0]), (23, &expires)],
        );
        one(NEW_ROUTE, &body).unwrap()
    };
    let first = via(&[10, 0, 0, 1], 1800);
    assert_eq!(first, via(&[10, 0, 0, 1], 1799), "told again");
    assert_ne!(first, via(&[10, 0, 0, 2], 1800), "another gateway");
    assert_eq!(first.state, Some(0));
    let gone = one(DEL_ROUTE, &route_body(254, 1, 0, &[(5, &[10, 0, 0, 1])])).unwrap();
    assert_eq!(gone.state, None);
    let far = route_body(254, 1, 0, &[(RTA_DST, &[10, 96, 0, 0])]);
    assert!(one(NEW_ROUTE, &far).is_some());
}

#[test]
fn routes_that_follow_from_addresses_or_are_learned_do_not_matter() {
    for (table, kind, flags) in [(255, 2, 0), (254, 2, 0), (254, 5, 0), (254, 1, CLONED)] {
        let told = one(NEW_ROUTE, &route_body(table, kind, flags, &[]));
        assert_eq!(told, None, "{table} {kind} {flags}");
    }
    let multicast = route_body(254, 1, 0, &[(RTA_DST, &[224, 0, 0, 0])]);
    assert_eq!(one(NEW_ROUTE, &multicast), None);
}

#[test]
fn several_messages_come_in_one_datagram_and_what_is_cut_is_left_out() {
    let first = message(NEW_LINK, &link_body(0, 1, 3, 0x41));
    let second = message(
        NEW_ADDRESS,
        &address_body(INET, 0, 2, &[(IFA_LOCAL, &[10, 0, 0, 5])]),
    );
    let other = message(28, &[0; 12]);
    let all = [first.as_slice(), &other, &second].concat();
    let expected = [
        changes(&first).pop().unwrap(),
        changes(&second).pop().unwrap(),
    ];
    assert_eq!(changes(&all), expected);
    for length in 0..all.len() {
        let told = changes(&all[..length]);
        assert_eq!(told, expected[..told.len()], "{length}");
    }
    for bad in [0_u32, 3, 15, u32::MAX] {
        let mut bytes = first.clone();
        bytes[..4].copy_from_slice(&bad.to_ne_bytes());
        assert_eq!(changes(&bytes), [], "{bad}");
    }
}
