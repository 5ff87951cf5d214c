//! When which grade is reported.

use peerup_protocol::grade::{Confidence, Filtering, Mapping, NatType, Scope};

use super::*;

fn assessment(grade: Grade, reason: &str) -> Assessment {
    Assessment {
        grade,
        reason: reason.to_owned(),
        scope: Scope::Internal,
        nat_type: NatType::Unknown,
        mapping: Mapping::Unknown,
        filtering: Filtering::Unknown,
        confidence: Confidence::Measured,
        evidence: Vec::new(),
        public_addresses: Vec::new(),
        version: None,
    }
}

fn steady() -> Steady {
    Steady::new(Duration::from_secs(60), Duration::from_secs(90))
}

/// Measurements as (second, grade); gives what is reported after each.
fn reported(measured: &[(u64, Grade)]) -> Vec<Grade> {
    let mut steady = steady();
    let observe = |(second, grade): &(u64, Grade)| {
        steady
            .observe(Duration::from_secs(*second), assessment(*grade, ""))
            .grade
    };
    measured.iter().map(observe).collect()
}

use Grade::{B, C, D, F};

#[test]
fn the_first_is_reported_at_once() {
    for grade in Grade::ALL {
        assert_eq!(reported(&[(0, grade)]), [grade]);
    }
}

#[test]
fn worse_after_three_equal_ones() {
    assert_eq!(reported(&[(0, B), (1, D), (2, D), (3, D)]), [B, B, B, D]);
    assert_eq!(
        reported(&[(0, B), (1, D), (2, C), (3, D), (4, D)]),
        [B, B, B, B, B]
    );
}

#[test]
fn worse_after_a_while_even_when_it_changes() {
    assert_eq!(
        reported(&[(0, B), (1, D), (30, C), (60, D), (61, C)]),
        [B, B, B, B, C]
    );
    assert_eq!(
        reported(&[(0, B), (1, D), (30, B), (61, D)]),
        [B, B, B, B],
        "in between it was well"
    );
}

#[test]
fn better_after_two() {
    assert_eq!(reported(&[(0, D), (1, B), (2, B)]), [D, D, B]);
    assert_eq!(reported(&[(0, D), (1, B), (2, C), (3, B)]), [D, D, D, D]);
}

#[test]
fn offline_only_when_it_lasts() {
    let times = [(0, C), (10, F), (11, F), (12, F), (99, F), (100, F)];
    assert_eq!(reported(&times), [C, C, C, C, C, F]);
    assert_eq!(
        reported(&[(0, C), (10, F), (50, C), (100, F)]),
        [C, C, C, C],
        "it was back"
    );
    assert_eq!(reported(&[(0, F), (1, C), (2, C)]), [F, F, C]);
}

#[test]
fn details_of_the_same_grade_are_the_newest() {
    let mut steady = steady();
    steady.observe(Duration::ZERO, assessment(C, "old"));
    assert_eq!(
        steady
            .observe(Duration::from_secs(1), assessment(C, "new"))
            .reason,
        "new"
    );
    assert_eq!(
        steady
            .observe(Duration::from_secs(2), assessment(D, "worse"))
            .reason,
        "new"
    );
}

#[test]
fn new_periods_count_at_once() {
    let mut steady = steady();
    steady.observe(Duration::ZERO, assessment(C, ""));
    steady.observe(Duration::from_secs(1), assessment(F, ""));
    steady.set_periods(Duration::from_secs(5), Duration::from_secs(10));
    assert_eq!(
        steady
            .observe(Duration::from_secs(11), assessment(F, ""))
            .grade,
        F
    );
}
