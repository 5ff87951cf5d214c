//! The state directory that a command works on, and how to name it in advice.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// An absolute path, so that the peer in the background means the same directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    dir: PathBuf,
    /// True if it is the one that a command without `--state-dir` uses.
    is_default: bool,
}

impl Home {
    /// The given directory, else the user's (XDG base directories).
    pub(crate) fn find(
        given: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let from = |name: &str| variable(name).filter(|path| path.is_absolute());
        let default = from("XDG_DATA_HOME")
            .map(|data| data.join("peerup"))
            .or_else(|| from("HOME").map(|home| home.join(".local/share/peerup")));
        let dir = given.or_else(|| default.clone()).ok_or_else(|| {
            Failure::Usage("expected --state-dir, since HOME is not set".to_owned())
        })?;
        let dir = std::path::absolute(&dir)
            .map_err(|error| Failure::Usage(format!("--state-dir {}: {error}", dir.display())))?;
        Ok(Self {
            is_default: default.as_ref() == Some(&dir),
            dir,
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// How to call `peerup` for this directory, such as `peerup status`.
    pub(crate) fn command(&self, rest: &str) -> String {
        if self.is_default {
            format!("peerup {rest}")
        } else {
            format!("peerup --state-dir {} {rest}", self.dir.display())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(given: Option<&str>, variables: &[(&str, &str)]) -> Result<Home, Failure> {
        Home::find(given.map(Into::into), |name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.into())
        })
    }

    #[test]
    fn the_flag_wins_then_the_users_data_directory() {
        let both = [("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
        let dirs = [
            home(Some("/g"), &both),
            home(None, &both),
            home(None, &[("HOME", "/h")]),
            // Relative paths in XDG variables are to be ignored (XDG base directory specification).
            home(None, &[("XDG_DATA_HOME", "x"), ("HOME", "/h")]),
        ];
        let dirs = dirs.map(|home| home.unwrap().dir);
        let expected = [
            "/g",
            "/x/peerup",
            "/h/.local/share/peerup",
            "/h/.local/share/peerup",
        ];
        assert_eq!(dirs, expected.map(PathBuf::from));
        assert_eq!(home(None, &[]).unwrap_err().number(), 2);
    }

    #[test]
    fn a_relative_directory_is_made_absolute() {
        let home = home(Some("state"), &[]).unwrap();
        assert_eq!(home.dir, std::env::current_dir().unwrap().join("state"));
    }

    #[test]
    fn advice_names_the_directory_when_it_must() {
        let variables = [("HOME", "/h")];
        let default = home(None, &variables).unwrap();
        assert_eq!(default.command("status"), "peerup status");
        let named = home(Some("/h/.local/share/peerup"), &variables).unwrap();
        assert_eq!(named.command("status"), "peerup status");
        let other = home(Some("/g"), &variables).unwrap();
        assert_eq!(other.command("status"), "peerup --state-dir /g status");
    }
}
