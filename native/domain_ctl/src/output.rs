//! Standard output and standard error: writing that never panics.

use crate::error::Error;
use serde_json::Value;
use std::fmt::Display;
use std::io::{self, Write};

/// A line on standard output.
pub fn line(text: impl Display) -> Result<(), Error> {
    writeln!(io::stdout(), "{text}").map_err(|error| failed(&error))
}

/// JSON on standard output, for people. Keys are sorted.
pub fn json(value: &Value) -> Result<(), Error> {
    line(format_args!("{value:#}"))
}

/// A line on standard error. If that is closed, there is nowhere left to complain.
pub fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Why standard output cannot be written.
pub fn failed(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error::OutputClosed,
        _ => Error::File(format!("standard output cannot be written: {error}")),
    }
}

/// Text that a terminal can show: control characters are escaped.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("ä.example\u{1b}[2J\n"), "ä.example\\u{1b}[2J\\n");
    }
}
