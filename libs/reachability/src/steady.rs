//! Which of many assessments is reported: a worse grade after a while or three
//! equal measurements, a better one after two, offline only when it lasts.

#[cfg(test)]
mod tests;

use std::time::Duration;

use peerup_protocol::grade::Grade;

use crate::assess::Assessment;

/// Equal measurements in a row before a worse grade is reported.
const WORSE: u32 = 3;
/// … and before a better one is.
const BETTER: u32 = 2;

/// The reported assessment, and what speaks for another one.
#[derive(Debug, Clone)]
pub struct Steady {
    stabilization: Duration,
    offline_after: Duration,
    reported: Option<Assessment>,
    /// The grade measured last, how often in a row, since when it differs for the worse.
    last: Option<Grade>,
    equal: u32,
    worse_since: Option<Duration>,
    offline_since: Option<Duration>,
}

impl Steady {
    /// Nothing measured yet. The first assessment is reported at once.
    #[must_use]
    pub fn new(stabilization: Duration, offline_after: Duration) -> Self {
        Self {
            stabilization,
            offline_after,
            reported: None,
            last: None,
            equal: 0,
            worse_since: None,
            offline_since: None,
        }
    }

    /// New periods, from the network's settings.
    pub fn set_periods(&mut self, stabilization: Duration, offline_after: Duration) {
        self.stabilization = stabilization;
        self.offline_after = offline_after;
    }

    /// Takes a measurement, gives the assessment to report now. `now` is the time
    /// since any fixed moment. Details of an unchanged grade are always the newest.
    pub fn observe(&mut self, now: Duration, measured: Assessment) -> &Assessment {
        let grade = measured.grade;
        self.equal = if self.last == Some(grade) {
            self.equal.saturating_add(1)
        } else {
            1
        };
        self.last = Some(grade);
        let reported = self.reported.as_ref().map(|assessment| assessment.grade);
        self.worse_since = if reported.is_some_and(|reported| grade < reported) {
            self.worse_since.or(Some(now))
        } else {
            None
        };
        self.offline_since = if grade == Grade::F {
            self.offline_since.or(Some(now))
        } else {
            None
        };
        let report = reported.is_none_or(|reported| self.is_due(now, reported, grade));
        if report {
            self.reported.insert(measured)
        } else {
            self.reported.get_or_insert(measured)
        }
    }

    fn is_due(&self, now: Duration, reported: Grade, grade: Grade) -> bool {
        let lasts =
            |since: Option<Duration>, period| since.is_some_and(|since| now >= since + period);
        if grade == reported {
            true
        } else if grade == Grade::F {
            lasts(self.offline_since, self.offline_after)
        } else if grade > reported {
            self.equal >= BETTER
        } else {
            self.equal >= WORSE || lasts(self.worse_since, self.stabilization)
        }
    }
}
