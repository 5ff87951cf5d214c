//! Conditions of our objects: the time changes only with the status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Whether a condition holds, why in one word, why in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub message: String,
}

impl Said {
    /// It holds.
    #[must_use]
    pub fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: "True",
            reason,
            message: message.into(),
        }
    }

    /// It does not hold.
    #[must_use]
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: "False",
            reason,
            message: message.into(),
        }
    }

    /// Nobody knows.
    #[must_use]
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: "Unknown",
            reason,
            message: message.into(),
        }
    }
}

/// The conditions that follow from what was and what is now said, in the order in which it is said.
#[must_use]
pub fn next(
    former: &[Condition],
    said: Vec<(&'static str, Said)>,
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let kept = |type_: &str, status: &str| {
        former
            .iter()
            .find(|old| old.type_ == type_ && old.status == status)
            .map(|old| old.last_transition_time.clone())
    };
    said.into_iter()
        .map(|(type_, said)| Condition {
            last_transition_time: kept(type_, said.status).unwrap_or_else(|| now.clone()),
            message: said.message,
            observed_generation: generation,
            reason: said.reason.to_owned(),
            status: said.status.to_owned(),
            type_: type_.to_owned(),
        })
        .collect()
}

/// The condition of a type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of a type is True.
#[must_use]
pub fn holds(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::time;

    #[test]
    fn the_time_changes_only_with_the_status() {
        let first = next(&[], vec![("Ready", Said::no("A", "a"))], Some(1), &time(10));
        let same = next(
            &first,
            vec![("Ready", Said::no("B", "b"))],
            Some(2),
            &time(20),
        );
        assert_eq!(
            (
                same[0].last_transition_time.clone(),
                same[0].reason.as_str()
            ),
            (time(10), "B")
        );
        let other = next(
            &same,
            vec![("Ready", Said::yes("C", "c"))],
            Some(2),
            &time(30),
        );
        assert_eq!(other[0].last_transition_time, time(30));
        assert!(holds(&other, "Ready") && !holds(&first, "Ready") && !holds(&other, "Else"));
    }
}
