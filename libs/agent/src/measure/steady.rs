//! Which grade is reported (pure): a worse one after a while or three equal measurements in a row, a better one
//! after two, F only after the time that the network sets. What is local (metrics, status) changes at once.

use std::time::Duration;

use peerup_protocol::grade::Grade;

/// How long which change must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// A worse grade.
    pub(crate) worse: Duration,
    /// Grade F.
    pub(crate) offline: Duration,
}

/// The reported grade, and the one that may follow it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Steady {
    reported: Option<Grade>,
    candidate: Option<Candidate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    grade: Grade,
    since: Duration,
    times: u32,
}

impl Steady {
    /// Takes a measurement made at `now` (any clock that only goes on); true when `grade` is to be reported.
    pub(crate) fn take(&mut self, grade: Grade, now: Duration, patience: Patience) -> bool {
        let Some(reported) = self.reported else {
            self.reported = Some(grade);
            return true;
        };
        if grade == reported {
            self.candidate = None;
            return true;
        }
        let candidate = match self.candidate {
            Some(known) if known.grade == grade => Candidate { times: known.times.saturating_add(1), ..known },
            Some(_) | None => Candidate { grade, since: now, times: 1 },
        };
        let lasted = now.saturating_sub(candidate.since);
        let enough = match grade {
            Grade::F => lasted >= patience.offline,
            better if better > reported => candidate.times >= 2,
            Grade::A | Grade::B | Grade::C | Grade::D => candidate.times >= 3 || lasted >= patience.worse,
        };
        if enough {
            self.reported = Some(grade);
            self.candidate = None;
        } else {
            self.candidate = Some(candidate);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { worse: Duration::from_secs(60), offline: Duration::from_secs(90) };

    fn reported(measurements: &[(u64, Grade)]) -> Vec<bool> {
        let mut steady = Steady::default();
        let take = |(second, grade): &(u64, Grade)| steady.take(*grade, Duration::from_secs(*second), PATIENCE);
        measurements.iter().map(take).collect()
    }

    #[test]
    fn the_first_is_reported_at_once() {
        assert_eq!(reported(&[(0, Grade::F)]), [true]);
        assert_eq!(reported(&[(0, Grade::B), (1, Grade::B)]), [true, true]);
    }

    #[test]
    fn worse_after_three_or_after_a_minute() {
        assert_eq!(reported(&[(0, Grade::B), (1, Grade::C), (2, Grade::C), (3, Grade::C)]), [true, false, false, true]);
        assert_eq!(reported(&[(0, Grade::B), (1, Grade::C), (61, Grade::C)]), [true, false, true]);
        assert_eq!(reported(&[(0, Grade::B), (1, Grade::C), (60, Grade::C)]), [true, false, false]);
    }

    #[test]
    fn better_after_two() {
        assert_eq!(reported(&[(0, Grade::D), (1, Grade::B), (2, Grade::B)]), [true, false, true]);
        assert_eq!(reported(&[(0, Grade::F), (1, Grade::D), (2, Grade::D)]), [true, false, true]);
    }

    #[test]
    fn offline_by_time_only() {
        let fs = [(0, Grade::B), (1, Grade::F), (2, Grade::F), (3, Grade::F), (90, Grade::F), (91, Grade::F)];
        assert_eq!(reported(&fs), [true, false, false, false, false, true]);
    }

    #[test]
    fn back_to_the_reported_one_starts_anew() {
        let wobble = [(0, Grade::B), (1, Grade::C), (2, Grade::C), (3, Grade::B), (4, Grade::C), (5, Grade::C)];
        assert_eq!(reported(&wobble), [true, false, false, true, false, false]);
        let changing = [(0, Grade::B), (1, Grade::C), (2, Grade::D), (3, Grade::C), (4, Grade::C), (5, Grade::C)];
        assert_eq!(reported(&changing), [true, false, false, false, false, true]);
    }
}
