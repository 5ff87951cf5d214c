//! What became of tests that are not cargo's: counted and told as cargo tells it, so that `hack/test` sums up all
//! tiers alike.

use std::process::ExitCode;
use std::time::Duration;

/// How many tests ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that held.
    pub passed: usize,
    /// Those that did not.
    pub failed: usize,
    /// Those that were not run, for a reason that was told.
    pub skipped: usize,
    /// Those that nobody asked for.
    pub filtered: usize,
}

impl Tally {
    /// One failure, of that which comes before all tests.
    #[must_use]
    pub fn of_a_bad_start() -> Self {
        Self {
            failed: 1,
            ..Self::default()
        }
    }

    /// Prints the closing line; the program's exit code.
    #[must_use]
    pub fn close(self, took: Duration) -> ExitCode {
        let verdict = if self.failed == 0 { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {verdict}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out; finished in {}",
            self.passed,
            self.failed,
            self.skipped,
            self.filtered,
            seconds(took)
        );
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// A time as cargo prints it.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

/// The word that the names of tests must have to be run, from the command line.
#[must_use]
pub fn wanted() -> Option<String> {
    std::env::args().skip(1).find(|word| !word.starts_with('-'))
}
