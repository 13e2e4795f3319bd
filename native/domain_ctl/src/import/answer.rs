//! What the server answers to a request of an import, line by line.

use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read};

/// How many lines had which effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub lines: u64,
    pub added: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub rejected: u64,
}

/// A rejected line.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Rejected {
    /// The number of its line in the request, from 1.
    pub line: u64,
    pub reason: String,
}

/// What came of a request. By default: of one that was not made.
#[derive(Debug, Default)]
pub struct Answer {
    /// So many lines from the first on are done.
    pub done: u64,
    /// Of these lines.
    pub counts: Counts,
    /// Of these lines.
    pub rejected: Vec<Rejected>,
    pub end: End,
}

/// How an answer ended.
#[derive(Debug)]
pub enum End {
    /// All lines are done; the node's lag in events.
    Done(Option<u64>),
    /// The server failed: its text.
    Failed(String),
    /// The answer did not come to its end.
    BrokenOff(io::Error),
    /// Such an answer was not expected.
    Unexpected(String),
}

impl Default for End {
    fn default() -> Self {
        End::Done(None)
    }
}

/// A line of the answer.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Rejected(Rejected),
    Progress(Counts),
    Done {
        #[serde(flatten)]
        counts: Counts,
        lag: Option<u64>,
    },
    Error {
        what: String,
        lines: u64,
    },
}

impl Answer {
    /// Reads the answer to a request of so many lines.
    pub fn read(body: impl Read, lines: u64) -> Self {
        let mut answer = Answer::default();
        let mut body = BufReader::new(body);
        answer.end = loop {
            match read_line(&mut body) {
                Ok(line) => {
                    if let Some(end) = answer.add(line, lines) {
                        break end;
                    }
                }
                Err(end) => break end,
            }
        };
        // The others come again, when their lines are repeated.
        let done = answer.done;
        answer.rejected.retain(|rejected| rejected.line <= done);
        answer
    }

    fn add(&mut self, line: Line, lines: u64) -> Option<End> {
        match line {
            Line::Rejected(rejected) => {
                self.rejected.push(rejected);
                None
            }
            Line::Progress(counts) => {
                self.counts = counts;
                self.done = counts.lines.min(lines);
                None
            }
            Line::Done { counts, lag } => {
                self.counts = counts;
                self.done = lines;
                Some(End::Done(lag))
            }
            Line::Error { what, lines: done } => {
                self.done = done.min(lines);
                Some(End::Failed(what))
            }
        }
    }
}

fn read_line(body: &mut impl BufRead) -> Result<Line, End> {
    let mut line = Vec::new();
    body.read_until(b'\n', &mut line).map_err(End::BrokenOff)?;
    if !line.ends_with(b"\n") {
        return Err(End::BrokenOff(io::ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_slice(&line)
        .map_err(|_| End::Unexpected(String::from_utf8_lossy(line.trim_ascii_end()).into_owned()))
}

impl Counts {
    /// Adds the counts of another part.
    pub fn add(&mut self, other: &Counts) {
        self.lines += other.lines;
        self.added += other.added;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REJECTED: &str = r#"{"rejected":{"line":2,"text":"b,t","reason":"domain is static"}}
{"rejected":{"line":4,"text":"d,t","reason":"duplicate"}}
"#;
    const PROGRESS: &str = r#"{"progress":{"lines":3,"added":2,"changed":0,"unchanged":0,"rejected":1}}
"#;

    fn counts(lines: u64, added: u64, rejected: u64) -> Counts {
        Counts { lines, added, rejected, ..Counts::default() }
    }

    fn read(text: &str) -> Answer {
        Answer::read(text.as_bytes(), 5)
    }

    #[test]
    fn all_is_done_at_the_end() {
        let done = r#"{"done":{"lines":5,"added":3,"changed":0,"unchanged":0,"rejected":2,"lag":7}}
"#;
        let answer = read(&format!("{REJECTED}{PROGRESS}{done}"));
        assert_eq!((answer.done, answer.counts), (5, counts(5, 3, 2)));
        assert_eq!(answer.rejected.len(), 2);
        assert!(matches!(answer.end, End::Done(Some(7))));
    }

    #[test]
    fn an_error_says_how_much_is_done() {
        let answer = read(&format!(
            "{REJECTED}{PROGRESS}{{\"error\":{{\"what\":\"database error\",\"lines\":3}}}}\n"
        ));
        assert_eq!((answer.done, answer.counts), (3, counts(3, 2, 1)));
        let expected = Rejected { line: 2, reason: "domain is static".to_owned() };
        assert_eq!(answer.rejected, [expected]);
        assert!(matches!(answer.end, End::Failed(what) if what == "database error"));
    }

    #[test]
    fn of_an_answer_that_breaks_off_the_last_progress_counts() {
        for rest in ["", "{\"done\":{\"lines\":5,\"added\":3,", "{\"done\":{}}"] {
            let answer = read(&format!("{REJECTED}{PROGRESS}{rest}"));
            assert_eq!((answer.done, answer.counts), (3, counts(3, 2, 1)), "{rest:?}");
            assert!(matches!(answer.end, End::BrokenOff(_)), "{rest:?}");
        }
        let answer = read(REJECTED);
        assert_eq!((answer.done, answer.rejected.len()), (0, 0));
    }

    #[test]
    fn another_kind_of_answer_is_unexpected() {
        let answer = read("<html>\n");
        assert_eq!(answer.done, 0);
        assert!(matches!(answer.end, End::Unexpected(text) if text == "<html>"));
    }
}
