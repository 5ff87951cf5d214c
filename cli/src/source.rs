//! Where the code comes from: argument, standard input, file or environment.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use peerup_protocol::code::MAX_TEXT;
use peerup_protocol::secret::SecretText;

use crate::args::JoinArgs;
use crate::failure::Failure;

/// The environment variable that may hold the code.
pub(crate) const VARIABLE: &str = "PEERUP_CODE";

/// The code's text, if one was given; the command line wins over the environment.
pub(crate) fn read(
    args: &JoinArgs,
    stdin: impl Read,
    variable: Option<String>,
) -> Result<Option<SecretText>, Failure> {
    match (args.code.as_slice(), &args.code_file) {
        ([dash], _) if dash == "-" => whole(stdin, "standard input").map(Some),
        ([], Some(path)) => from_file(path).map(Some),
        ([], None) => Ok(variable
            .filter(|text| !text.trim().is_empty())
            .map(SecretText::from)),
        (words, _) => Ok(Some(SecretText::from(words.concat()))),
    }
}

fn from_file(path: &Path) -> Result<SecretText, Failure> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
    whole(file, &name)
}

fn whole(input: impl Read, name: &str) -> Result<SecretText, Failure> {
    let mut text = String::new();
    // One byte more than any code, so that a longer text is seen to be too long.
    input
        .take(MAX_TEXT as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(name, &error))?;
    if text.trim().is_empty() {
        return Err(Failure::Usage(format!(
            "expected a code in {name}, which is empty"
        )));
    }
    Ok(SecretText::from(text))
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::Usage(format!("expected a code in {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(code: &[&str], file: Option<&str>) -> JoinArgs {
        JoinArgs {
            code: code.iter().map(|&word| word.to_owned()).collect(),
            code_file: file.map(Into::into),
            name: None,
            foreground: false,
        }
    }

    fn text(args: &JoinArgs, stdin: &str, variable: Option<&str>) -> Option<String> {
        let read = read(args, stdin.as_bytes(), variable.map(str::to_owned)).unwrap();
        read.map(|text| text.expose().to_owned())
    }

    #[test]
    fn the_argument_wins_then_the_environment() {
        assert_eq!(
            text(&args(&["a"], None), "b", Some("c")).as_deref(),
            Some("a")
        );
        assert_eq!(
            text(&args(&["-"], None), "b", Some("c")).as_deref(),
            Some("b")
        );
        assert_eq!(text(&args(&[], None), "b", Some("c")).as_deref(), Some("c"));
        assert_eq!(text(&args(&[], None), "b", Some(" ")), None);
        assert_eq!(
            text(&args(&["a", "b"], None), "", None).as_deref(),
            Some("ab")
        );
    }

    #[test]
    fn a_file_is_read_and_a_missing_one_named() {
        let path = std::env::temp_dir().join(format!("peerup-code-{}", std::process::id()));
        std::fs::write(&path, "peerup1-aa\n").unwrap();
        let given = args(&[], path.to_str());
        assert_eq!(text(&given, "", Some("c")).as_deref(), Some("peerup1-aa\n"));
        std::fs::remove_file(&path).unwrap();
        let error = read(&given, io::empty(), None).unwrap_err();
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }

    #[test]
    fn nothing_on_standard_input_is_said() {
        let error = read(&args(&["-"], None), io::empty(), None).unwrap_err();
        assert!(error.to_string().contains("standard input"), "{error}");
    }
}
