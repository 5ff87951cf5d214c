//! Questions to the person at the terminal.

use std::io::{BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Whether there is somebody to ask; `instead` names the flags for those who can't be asked.
pub(crate) fn can_ask(instead: &str) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "expected {instead}, since nobody can be asked: standard input is no terminal"
    )))
}

/// Asks until yes or no is said.
pub(crate) fn yes_or_no(question: &str, instead: &str) -> Result<bool, Failure> {
    can_ask(instead)?;
    answered(
        question,
        &mut std::io::stdin().lock(),
        &mut std::io::stderr(),
    )
}

/// The end of the input is a no.
fn answered(
    question: &str,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<bool, Failure> {
    let failed = |error: std::io::Error| Failure::Unexpected(format!("terminal: {error}"));
    loop {
        write!(output, "{question} [yes/no] ")
            .and_then(|()| output.flush())
            .map_err(failed)?;
        let mut line = String::new();
        if input.read_line(&mut line).map_err(failed)? == 0 {
            return Ok(false);
        }
        match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_is_one() {
        for (input, yes, asked) in [
            ("yes\n", true, 1),
            ("Y\n", true, 1),
            ("no\n", false, 1),
            ("n", false, 1),
            ("\nsure\nyes\n", true, 3),
            ("", false, 1),
        ] {
            let mut output = Vec::new();
            let answer = answered("Really?", &mut input.as_bytes(), &mut output).unwrap();
            assert_eq!(answer, yes, "{input:?}");
            let output = String::from_utf8(output).unwrap();
            assert_eq!(output, "Really? [yes/no] ".repeat(asked), "{input:?}");
        }
    }
}
