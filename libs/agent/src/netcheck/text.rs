//! A measurement in words, for a terminal.

use std::fmt::Display;

use super::{Netcheck, RelayConnection, Stun};
use crate::lines::Lines;

/// Lines for a person.
#[must_use]
pub fn render(check: &Netcheck) -> String {
    let mut lines = Lines::default();
    let (verdict, trigger) = (&check.verdict, check.trigger);
    lines.add(
        "measured",
        format_args!("{}, in {} ms, {trigger}", check.time, check.milliseconds),
    );
    lines.add("address", list(&check.interfaces));
    lines.add(
        "route",
        check.default_route.map_or_else(
            || "no default route over IPv4".to_owned(),
            |from| format!("the default route starts at {from}"),
        ),
    );
    if let Some(outside) = check.gateway_outside {
        lines.add(
            "router",
            format_args!("the router says that its outside address is {outside}"),
        );
    }
    lines.add("relay", relays(&check.relay_connections));
    if check.stun.is_empty() {
        lines.add("stun", "no server could be asked");
    }
    for stun in &check.stun {
        answers(&mut lines, stun);
    }
    lines.add(
        "nat",
        format_args!(
            "{}: mapping {}, filtering {}",
            verdict.nat_type, verdict.mapping, verdict.filtering
        ),
    );
    lines.add(
        "grade",
        format_args!("{}: {}", verdict.grade, verdict.grade_reason),
    );
    lines.add("evidence", list(&verdict.evidence));
    lines.add(
        "scope",
        format_args!("{}, {}", verdict.scope, verdict.confidence),
    );
    lines.add("public", list(&verdict.public_addresses));
    lines.text()
}

fn relays(connections: &[RelayConnection]) -> String {
    let words = connections.iter().map(|connection| {
        let (transport, version) = (connection.transport.as_str(), connection.ip_version);
        format!("connected over {transport}, IPv{version}")
    });
    match words.collect::<Vec<_>>() {
        none if none.is_empty() => "not connected".to_owned(),
        some => some.join("; "),
    }
}

/// A line for each answer; a round without one says so.
fn answers(lines: &mut Lines, stun: &Stun) {
    let (version, port) = (stun.ip_version, stun.local_port);
    for (round, answers) in stun.rounds.iter().enumerate() {
        let head = format!("IPv{version} from port {port}, round {}:", round + 1);
        if answers.is_empty() {
            lines.add("stun", format_args!("{head} nobody answered"));
        }
        for answer in answers {
            let (server, mapped) = (answer.server, answer.mapped);
            lines.add("stun", format_args!("{head} {server} sees {mapped}"));
        }
    }
}

fn list(items: &[impl Display]) -> String {
    let words: Vec<_> = items.iter().map(ToString::to_string).collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use peerup_protocol::grade::{
        Confidence, Evidence, Filtering, Grade, IpVersion, Mapping, NatType, Scope,
    };

    use super::*;
    use crate::netcheck::{Carrier, Mapped, Verdict};
    use crate::status::Trigger;

    fn check() -> Netcheck {
        let mapped = |server: &str| Mapped {
            server: server.parse().unwrap(),
            mapped: "198.51.100.7:4000".parse().unwrap(),
        };
        Netcheck {
            time: Timestamp::UNIX_EPOCH,
            trigger: Trigger::Request,
            milliseconds: 35,
            interfaces: vec!["10.0.0.5".parse().unwrap(), "fe80::1".parse().unwrap()],
            default_route: Some("10.0.0.5".parse().unwrap()),
            gateway_outside: None,
            relay_connections: vec![RelayConnection {
                ip_version: IpVersion::V4,
                transport: Carrier::Quic,
            }],
            stun: vec![Stun {
                ip_version: IpVersion::V4,
                local_port: 4000,
                rounds: vec![
                    vec![mapped("192.0.2.1:3478"), mapped("192.0.2.1:3479")],
                    Vec::new(),
                ],
                filtering: Filtering::Unknown,
            }],
            verdict: Verdict {
                grade: Grade::C,
                grade_reason: "because.".to_owned(),
                scope: Scope::Internet,
                nat_type: NatType::EndpointIndependent,
                mapping: Mapping::EndpointIndependent,
                filtering: Filtering::Unknown,
                confidence: Confidence::Measured,
                evidence: vec![Evidence::FilteringUntestable, Evidence::MappingSame],
                public_addresses: Vec::new(),
            },
        }
    }

    #[test]
    fn every_answer_is_told() {
        assert_eq!(
            render(&check()),
            "measured 1970-01-01T00:00:00Z, in 35 ms, because somebody asked\n\
             address  10.0.0.5, fe80::1\n\
             route    the default route starts at 10.0.0.5\n\
             relay    connected over QUIC, IPv4\n\
             stun     IPv4 from port 4000, round 1: 192.0.2.1:3478 sees 198.51.100.7:4000\n\
             stun     IPv4 from port 4000, round 1: 192.0.2.1:3479 sees 198.51.100.7:4000\n\
             stun     IPv4 from port 4000, round 2: nobody answered\n\
             nat      EndpointIndependent: mapping EndpointIndependent, filtering Unknown\n\
             grade    C: because.\n\
             evidence filtering-untestable, mapping-same\n\
             scope    Internet, Measured\n\
             public   none\n"
        );
    }

    #[test]
    fn what_is_not_there_is_said() {
        let mut check = check();
        check.stun.clear();
        check.default_route = None;
        check.relay_connections.clear();
        let text = render(&check);
        for line in [
            "route    no default route over IPv4\n",
            "relay    not connected\n",
            "stun     no server could be asked\n",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn json_is_one_object_and_reads_back() {
        let json = serde_json::to_value(check()).unwrap();
        assert_eq!(json["grade"], "C");
        assert_eq!(json["trigger"], "Request");
        assert_eq!(json["relayConnections"][0]["transport"], "QUIC");
        assert_eq!(json["stun"][0]["rounds"][1], serde_json::json!([]));
        assert_eq!(serde_json::from_value::<Netcheck>(json).unwrap(), check());
    }
}
