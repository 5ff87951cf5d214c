//! Lines of label and value, for a terminal.

use std::fmt::{Display, Write};

/// Such lines, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Lines(String);

impl Lines {
    pub(crate) fn add(&mut self, label: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{label:8} {value}");
    }

    pub(crate) fn text(self) -> String {
        self.0
    }
}
