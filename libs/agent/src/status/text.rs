//! The status in words, for a terminal.

use jiff::Timestamp;
use peerup_protocol::grade::Path;
use peerup_protocol::record::STALE_SECONDS;
use peerup_protocol::report::Report;

use super::{Membership, Peer, Phase, Relay, Role, Status};
use crate::clock::timestamp;
use crate::lines::Lines;

/// Lines for a person. `running` tells whether the process that wrote the status still runs.
#[must_use]
pub fn render(status: &Status, running: bool, now: Timestamp) -> String {
    let mut lines = Lines::default();
    lines.add("state", state(status, running, now));
    if let Some(peer) = &status.peer_id {
        lines.add("peer", peer);
    }
    if let Some(own) = &status.membership {
        membership(&mut lines, own, now);
    }
    if let Some(report) = &status.reachability {
        reachability(&mut lines, status, report, now);
    }
    lines.add("path", word(status.path));
    for known in &status.relays {
        lines.add("relay", relay(known));
    }
    for line in peers(&status.peers) {
        lines.add("member", line);
    }
    for service in &status.services.exposed {
        lines.add("expose", service);
    }
    for forward in &status.services.forwards {
        lines.add("forward", forward);
    }
    for problem in &status.services.problems {
        lines.add("problem", problem);
    }
    if let Some(problem) = &status.problem {
        lines.add("problem", problem);
    }
    lines.text()
}

fn state(status: &Status, running: bool, now: Timestamp) -> String {
    let (id, age) = (status.process_id, span(status.updated_time, now));
    if running {
        format!("{} (process {id}, {age} old)", phase(status.phase))
    } else {
        format!("not running (process {id} is gone, it wrote this {age} ago)")
    }
}

fn reachability(lines: &mut Lines, status: &Status, report: &Report, now: Timestamp) {
    let (grade, reason) = (report.grade, &report.grade_reason);
    let (scope, confidence) = (report.scope, report.confidence);
    lines.add(
        "grade",
        format_args!("{grade}: {reason} ({scope}, {confidence})"),
    );
    let since = span(timestamp(report.changed_time), now);
    let codes: Vec<_> = report.evidence.iter().map(|code| code.as_str()).collect();
    lines.add("evidence", codes.join(", "));
    let Some(time) = status.last_probe_time else {
        return;
    };
    let mut measured = format!("{} ago", span(time, now));
    if let Some(trigger) = status.last_probe_trigger {
        measured = format!("{measured}, {trigger}");
    }
    if let Some(confirmed) = status.last_check_time.filter(|confirmed| *confirmed > time) {
        measured = format!("{measured}; confirmed {} ago", span(confirmed, now));
    }
    lines.add("measured", format_args!("{measured}; {grade} for {since}"));
}

fn relay(relay: &Relay) -> String {
    let connected = if relay.connected {
        "connected"
    } else {
        "not connected"
    };
    let reserved = if relay.reserved {
        "reserved"
    } else {
        "no reservation"
    };
    format!(
        "{} {} {connected}, {reserved}",
        relay.ordinal, relay.peer_id
    )
}

/// One line a member. Who is verified is what a person here has found; what a cluster says is shown beside.
pub fn peers(peers: &[Peer]) -> impl Iterator<Item = String> {
    let width = peers
        .iter()
        .map(|peer| peer.name.len())
        .max()
        .unwrap_or_default();
    peers.iter().map(move |peer| {
        // Only those have a subject for whom a cluster vouches.
        let attested = match peer.subject.as_str() {
            "" => String::new(),
            subject => format!(" attested as {subject}"),
        };
        let role = match peer.role {
            Role::Member => "",
            Role::Guest => " guest of this peer",
            Role::Sponsor => " sponsor of this peer",
        };
        format!(
            "{:width$} {} {} {}{attested}{role}",
            peer.name,
            peer.badge,
            peer.peer_id,
            way(peer)
        )
    })
}

/// The way to another peer.
fn way(peer: &Peer) -> String {
    let word = word(peer.path);
    let through = peer
        .relay
        .map_or(String::new(), |ordinal| format!(" through relay {ordinal}"));
    let why = peer.relayed_reason.as_ref();
    let why = why.map_or(String::new(), |why| format!(" ({why})"));
    format!("{word}{through}{why}")
}

fn membership(lines: &mut Lines, own: &Membership, now: Timestamp) {
    lines.add("name", &own.name);
    lines.add(
        "network",
        format_args!("{} ({})", own.namespace, own.network_id),
    );
    if let Some(sponsor) = &own.sponsor {
        lines.add("guest", format_args!("of {sponsor}"));
    }
    let left = if own.expiration_time > now {
        format!("ends in {}", span(now, own.expiration_time))
    } else {
        format!("ended {} ago", span(own.expiration_time, now))
    };
    let record = match own.sponsor {
        Some(_) => "grant",
        None => "record",
    };
    lines.add(record, format_args!("{left}, {}", own.expiration_time));
    if let Some(time) = own.revocations_time
        && now.duration_since(time).as_secs() >= STALE_SECONDS.cast_signed()
    {
        let since = span(time, now);
        lines.add(
            "problem",
            format_args!(
                "no news of revocations for {since}: the operator is away, or relays keep them back"
            ),
        );
    }
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Attesting => "asking the operator for a code",
        Phase::Pairing => "redeeming the code",
        Phase::Connecting => "connecting to the relay",
        Phase::Joined => "joined",
        Phase::Lapsed => "no valid membership",
    }
}

const fn word(path: Path) -> &'static str {
    match path {
        Path::Direct => "direct",
        Path::Relayed => "relayed",
        Path::None => "not connected",
    }
}

/// `42 s`, `5 min`, `3 h`, `2 d`; nothing is negative.
fn span(from: Timestamp, to: Timestamp) -> String {
    match to.as_second().saturating_sub(from.as_second()).max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use peerup_protocol::grade::{Confidence, Evidence, Filtering, Grade, Mapping, NatType, Scope};

    use super::*;
    use crate::status::{Badge, Trigger, Verification};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status() -> Status {
        let mut status = Status::starting(at(0));
        status.process_id = 7;
        status.peer_id = Some("12D3me".to_owned());
        status.phase = Phase::Joined;
        status.path = Path::Relayed;
        status.membership = Some(Membership {
            network_id: "00".to_owned(),
            namespace: "crew".to_owned(),
            name: "laptop".to_owned(),
            subject: String::new(),
            sponsor: None,
            verification: Verification::Unverified,
            issued_time: at(0),
            expiration_time: at(86_400),
            revocations_time: None,
        });
        status.relays.push(Relay {
            ordinal: 0,
            peer_id: "12D3relay".to_owned(),
            connected: true,
            reserved: false,
        });
        status.peers.push(Peer {
            name: "web-0".to_owned(),
            peer_id: "12D3web".to_owned(),
            role: Role::Member,
            subject: "local/shop/web/web-0".to_owned(),
            verification: Verification::Attested,
            badge: Badge::Unverified,
            path: Path::Relayed,
            relay: Some(1),
            relayed_reason: Some("both sides are grade D".to_owned()),
        });
        status
    }

    fn report() -> Report {
        Report {
            grade: Grade::C,
            grade_reason: "because.".to_owned(),
            scope: Scope::Internet,
            nat_type: NatType::EndpointIndependent,
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::Unknown,
            confidence: Confidence::Measured,
            evidence: vec![Evidence::FilteringUntestable, Evidence::MappingSame],
            public_addresses: Vec::new(),
            path: Path::Relayed,
            relays: Vec::new(),
            changed_time: 600,
            version: "0".to_owned(),
        }
    }

    #[test]
    fn a_running_peer() {
        assert_eq!(
            render(&status(), true, at(3600)),
            "state    joined (process 7, 60 min old)\n\
             peer     12D3me\n\
             name     laptop\n\
             network  crew (00)\n\
             record   ends in 23 h, 1970-01-02T00:00:00Z\n\
             path     relayed\n\
             relay    0 12D3relay connected, no reservation\n\
             member   web-0 [UNVERIFIED] 12D3web relayed through relay 1 (both sides are grade D) attested as local/shop/web/web-0\n"
        );
    }

    #[test]
    fn a_grade_says_why_and_what_it_rests_on() {
        let mut status = status();
        status.reachability = Some(report());
        status.last_probe_time = Some(at(3500));
        status.last_probe_trigger = Some(Trigger::NetworkChange);
        let told = |status: &Status| -> Vec<String> {
            let text = render(status, true, at(3600));
            let lines = text.lines().skip(5).take(3);
            lines.map(str::to_owned).collect()
        };
        assert_eq!(
            told(&status),
            [
                "grade    C: because. (Internet, Measured)",
                "evidence filtering-untestable, mapping-same",
                "measured 100 s ago, because the network of this machine changed; C for 50 min",
            ]
        );
        status.last_check_time = Some(at(3590));
        let measured = "measured 100 s ago, because the network of this machine changed; \
                        confirmed 10 s ago; C for 50 min";
        assert_eq!(told(&status)[2], measured);
        // A later full measurement needs no confirmation.
        status.last_probe_time = Some(at(3595));
        status.last_probe_trigger = None;
        assert_eq!(told(&status)[2], "measured 5 s ago; C for 50 min");
    }

    #[test]
    fn a_guest_and_its_sponsor() {
        let mut status = status();
        status.membership.as_mut().unwrap().sponsor = Some("home".to_owned());
        let home = &mut status.peers[0];
        (home.name, home.role) = ("home".to_owned(), Role::Sponsor);
        home.relayed_reason = None;
        home.subject.clear();
        let text = render(&status, true, at(3600));
        for line in [
            "guest    of home",
            "grant    ends in 23 h, 1970-01-02T00:00:00Z",
            "member   home [UNVERIFIED] 12D3web relayed through relay 1 sponsor of this peer",
        ] {
            assert!(text.lines().any(|has| has == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_peer_that_is_gone() {
        let text = render(&status(), false, at(200_000));
        assert!(
            text.starts_with("state    not running (process 7 is gone, it wrote this 2 d ago)\n"),
            "{text}"
        );
        assert!(text.contains("record   ended 31 h ago"), "{text}");
    }
}
