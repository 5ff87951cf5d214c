//! Whether two peers can meet without a relay, by what each has measured, and why they do not.

use peerup_protocol::frame::DirectSide;
use peerup_protocol::grade::{Filtering, Grade, Mapping};
use peerup_protocol::report::Report;

/// What counts of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// How well it is reached.
    pub grade: Grade,
    /// Which outside address its sockets get.
    pub mapping: Mapping,
    /// Whose packets come in.
    pub filtering: Filtering,
}

impl From<&Report> for Side {
    fn from(report: &Report) -> Self {
        Self {
            grade: report.grade,
            mapping: report.mapping,
            filtering: report.filtering,
        }
    }
}

impl From<DirectSide> for Side {
    fn from(told: DirectSide) -> Self {
        Self {
            grade: told.grade,
            mapping: told.mapping,
            filtering: told.filtering,
        }
    }
}

impl Side {
    /// Nobody can know which address it will be seen at by somebody new.
    fn moves(&self) -> bool {
        match self.mapping {
            Mapping::AddressDependent | Mapping::AddressAndPortDependent => true,
            Mapping::None | Mapping::EndpointIndependent | Mapping::Unknown => false,
        }
    }

    /// Only packets from exactly where it has sent to come in.
    fn wants_the_port(&self) -> bool {
        match self.filtering {
            Filtering::AddressAndPortDependent => true,
            Filtering::EndpointIndependent | Filtering::AddressDependent | Filtering::Unknown => {
                false
            }
        }
    }
}

/// Whether hole punching can succeed: unless one side is seen at another address by each, and the other is too, or
/// must know the port beforehand. What is not measured rules nothing out.
#[must_use]
pub fn can_punch(a: &Side, b: &Side) -> bool {
    let is_hopeless =
        |one: &Side, other: &Side| one.moves() && (other.moves() || other.wants_the_port());
    !is_hopeless(a, b) && !is_hopeless(b, a)
}

/// Why two peers that have tried are not connected directly: a few words for people.
#[must_use]
pub fn why_relayed(a: &Side, b: &Side) -> String {
    if can_punch(a, b) {
        return "neither side is reached where it says that it listens".to_owned();
    }
    if a.grade == b.grade {
        return format!("both sides are grade {}", a.grade);
    }
    let (better, worse) = (a.grade.max(b.grade), a.grade.min(b.grade));
    format!("one side is grade {worse}, the other grade {better}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(grade: Grade, mapping: Mapping, filtering: Filtering) -> Side {
        Side {
            grade,
            mapping,
            filtering,
        }
    }

    const SAME: Mapping = Mapping::EndpointIndependent;
    const MOVES: Mapping = Mapping::AddressAndPortDependent;

    /// By name, as the pairs were tried with real NATs.
    fn named(name: &str) -> Side {
        match name {
            "open" => side(Grade::A, Mapping::None, Filtering::EndpointIndependent),
            "full-cone" => side(Grade::B, SAME, Filtering::EndpointIndependent),
            "address-restricted" => side(Grade::B, SAME, Filtering::AddressDependent),
            "port-restricted" => side(Grade::C, SAME, Filtering::AddressAndPortDependent),
            "firewall" => side(Grade::C, Mapping::None, Filtering::AddressAndPortDependent),
            "untested" => side(Grade::C, SAME, Filtering::Unknown),
            "symmetric" => side(Grade::D, MOVES, Filtering::AddressAndPortDependent),
            "symmetric-open" => side(Grade::D, MOVES, Filtering::EndpointIndependent),
            "by-address" => side(
                Grade::D,
                Mapping::AddressDependent,
                Filtering::AddressDependent,
            ),
            "unknown" => side(Grade::D, Mapping::Unknown, Filtering::Unknown),
            other => panic!("no such side: {other}"),
        }
    }

    const STAYING: [&str; 7] = [
        "open",
        "full-cone",
        "address-restricted",
        "port-restricted",
        "firewall",
        "untested",
        "unknown",
    ];
    const MOVING: [&str; 3] = ["symmetric", "symmetric-open", "by-address"];

    #[test]
    fn every_pair_has_its_answer() {
        let pairs = |one: &[&'static str], other: &[&'static str]| -> Vec<_> {
            let of = |a: &&'static str| other.iter().map(|b| (*a, *b)).collect::<Vec<_>>();
            one.iter().flat_map(of).collect()
        };
        let port = ["port-restricted", "firewall"];
        for (a, b) in pairs(&STAYING, &STAYING) {
            assert!(can_punch(&named(a), &named(b)), "{a} {b}");
        }
        for (a, b) in pairs(&MOVING, &MOVING) {
            assert!(!can_punch(&named(a), &named(b)), "{a} {b}");
        }
        for (a, b) in pairs(&MOVING, &STAYING) {
            let expected = !port.contains(&b);
            assert_eq!(can_punch(&named(a), &named(b)), expected, "{a} {b}");
            assert_eq!(can_punch(&named(b), &named(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn people_are_told_why() {
        for (a, b, expected) in [
            ("symmetric", "by-address", "both sides are grade D"),
            (
                "port-restricted",
                "symmetric",
                "one side is grade D, the other grade C",
            ),
            (
                "port-restricted",
                "full-cone",
                "neither side is reached where it says that it listens",
            ),
        ] {
            assert_eq!(why_relayed(&named(a), &named(b)), expected);
            assert_eq!(why_relayed(&named(b), &named(a)), expected);
        }
    }
}
