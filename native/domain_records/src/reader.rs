//! Reads a file that comes piece by piece.

use crate::csv::{Columns, Parser};
use crate::ndjson::{self, Found as json};
use crate::{Format, LONGEST, Record, lines};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How much of a file has been passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Lines, of any kind.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What stands for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The number of its first line, from 1.
    pub line: u64,
    /// Its text, without the end of the line.
    pub text: String,
    /// What it says, or why it is no clean record.
    pub record: Result<Record, String>,
}

/// Why a file is none of domains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// Reads a file: what has come is [pushed](Self::push), and records are [taken](Self::next_item),
/// until there are no more; after [`Self::finish`] there are no more at all.
///
/// Empty lines, and lines that begin with `# `, are passed over. A quotation mark that is not closed
/// would make one record of many lines: it is that of its first line, and the next one begins behind
/// that.
pub struct Reader {
    format: Format,
    parser: Parser,
    /// Not known before the first record.
    columns: Option<Columns>,
    input: Vec<u8>,
    /// So much of the input is passed.
    passed: usize,
    is_finished: bool,
    position: Position,
    /// Records that had no end within [`LONGEST`] bytes.
    endless: usize,
}

/// The most records without an end: each costs as much as all lines that it could have been.
const ENDLESS: usize = 100;

/// The first bytes of what is not passed yet.
#[derive(Clone, Copy)]
struct Stretch {
    /// Without the end of its last line.
    text: usize,
    /// With it.
    whole: usize,
}

/// What a stretch says.
type Found = (Stretch, Result<Record, String>);

impl Reader {
    /// Reads from the beginning.
    pub fn new(format: Format) -> Self {
        let (parser, input) = (Parser::new(), Vec::new());
        let (passed, is_finished) = (0, false);
        let position = Position::default();
        Reader { format, parser, columns: None, input, passed, is_finished, position, endless: 0 }
    }

    /// Goes on at a position behind which a record begins.
    pub fn resume(format: Format, columns: Option<Columns>, position: Position) -> Self {
        Reader { columns, position, ..Reader::new(format) }
    }

    /// What comes next in the file.
    pub fn push(&mut self, piece: &[u8]) {
        self.input.drain(..self.passed);
        self.passed = 0;
        self.input.extend_from_slice(piece);
    }

    /// There is no more.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// How much has been passed: all up to the item that was taken last, and what has none behind it.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The columns of CSV, as soon as there was a record.
    pub fn columns(&self) -> Option<&Columns> {
        self.columns.as_ref()
    }

    /// The next item. `None`: more of the file is needed; or, when it is finished, that was all.
    pub fn next_item(&mut self) -> Result<Option<Item>, Unreadable> {
        if !self.check_encoding()? {
            return Ok(None);
        }
        while let Some(first) = self.first_line()? {
            if is_passed_over(&self.rest()[..first.text]) {
                self.pass(first);
            } else if self.format == Format::Csv && self.columns.is_none() {
                if !self.find_columns()? {
                    return Ok(None);
                }
            } else {
                let found = match self.format {
                    Format::Csv => self.csv(first)?,
                    Format::Ndjson => self.ndjson(first)?,
                };
                let Some((stretch, record)) = found else { return Ok(None) };
                let (line, text) = (self.line(), self.text(stretch.text)?.to_owned());
                self.pass(stretch);
                return Ok(Some(Item { line, text, record }));
            }
        }
        Ok(None)
    }

    /// Text that is not UTF-8 is found where it stands; but UTF-16 has other ends of lines. Returns whether
    /// enough of the file has come to tell.
    fn check_encoding(&mut self) -> Result<bool, Unreadable> {
        if self.position.bytes > 0 {
            return Ok(true);
        }
        match self.rest() {
            rest if rest.len() < BYTE_ORDER_MARK.len() && !self.is_finished => return Ok(false),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, ..] | [_, 0, ..] => {
                return Err(Unreadable("the file is UTF-16: save it as UTF-8".to_owned()));
            }
            rest if rest.starts_with(BYTE_ORDER_MARK) => {
                self.passed += BYTE_ORDER_MARK.len();
                self.position.bytes += BYTE_ORDER_MARK.len() as u64;
            }
            _ => {}
        }
        Ok(true)
    }

    /// The line that a record would begin in, if it has come.
    fn first_line(&self) -> Result<Option<Stretch>, Unreadable> {
        let window = self.window();
        match lines::first(window) {
            Some((text, _)) => Ok(self.stretch(text)),
            None if window.len() > LONGEST => Err(self.too_long()),
            None if self.is_finished && !window.is_empty() => Ok(self.stretch(window.len())),
            None => Ok(None),
        }
    }

    /// Looks whether the file begins with a heading, which is passed then. Returns whether enough of
    /// it has come.
    fn find_columns(&mut self) -> Result<bool, Unreadable> {
        let Some(stretch) = self.find_csv() else {
            // A quotation mark that is not closed is in no heading.
            self.columns = self.has_window().then(Columns::default);
            return Ok(self.columns.is_some());
        };
        // To be said before the heading is called wrong.
        self.text(stretch.text)?;
        match Columns::of(&self.parser.fields()) {
            None => self.columns = Some(Columns::default()),
            Some(Ok(columns)) => {
                self.columns = Some(columns);
                self.pass(stretch);
            }
            Some(Err(text)) => return Err(self.unreadable(&text)),
        }
        Ok(true)
    }

    fn find_csv(&mut self) -> Option<Stretch> {
        let is_last = self.is_last();
        let length = self.window().len();
        let window = &self.input[self.passed..self.passed + length];
        let end = self.parser.find(window, is_last)?;
        let has_end = matches!(window[..end], [.., b'\n' | b'\r']);
        self.stretch(end - usize::from(has_end))
    }

    fn csv(&mut self, first: Stretch) -> Result<Option<Found>, Unreadable> {
        let Some(stretch) = self.find_csv() else {
            if !self.has_window() {
                return Ok(None);
            }
            self.count_endless()?;
            return Ok(Some((first, Err("a quotation mark is not closed".to_owned()))));
        };
        let text = self.text(stretch.text)?;
        Ok(match (&self.columns, self.parser.clean_fields(text)) {
            (_, Err(reason)) => Some((first, Err(reason.to_owned()))),
            (Some(columns), Ok(fields)) => Some((stretch, columns.record(fields))),
            (None, Ok(_)) => None,
        })
    }

    fn ndjson(&mut self, first: Stretch) -> Result<Option<Found>, Unreadable> {
        let end = match ndjson::find(self.window()) {
            json::Value(end) => end,
            json::Part(_) if !self.is_last() && !self.has_window() => return Ok(None),
            json::Part(reason) => {
                if self.has_window() {
                    self.count_endless()?;
                }
                return Ok(Some((first, Err(reason))));
            }
            json::Wrong(reason) => return Ok(Some((first, Err(reason)))),
        };
        let behind = &self.rest()[end..];
        let behind = match lines::first(behind) {
            Some((text, _)) => text,
            None if self.is_finished => behind.len(),
            None if self.has_window() => return Err(self.too_long()),
            None => return Ok(None),
        };
        let Some(stretch) = self.stretch(end + behind) else { return Ok(None) };
        if !self.rest()[end..stretch.text].trim_ascii().is_empty() {
            let reason = "there is more text after the record in its line".to_owned();
            return Ok(Some((stretch, Err(reason))));
        }
        let text = self.text(end)?;
        match ndjson::unknown_key(text) {
            Some(text) => Err(self.unreadable(&text)),
            None => Ok(Some((stretch, ndjson::record(text)))),
        }
    }

    fn count_endless(&mut self) -> Result<(), Unreadable> {
        self.endless += 1;
        match self.endless > ENDLESS {
            true => {
                Err(self
                    .unreadable("too many records are not closed: is the file in another format?"))
            }
            false => Ok(()),
        }
    }

    /// The number of the line that comes next.
    fn line(&self) -> u64 {
        self.position.lines + 1
    }

    fn rest(&self) -> &[u8] {
        &self.input[self.passed..]
    }

    /// Where a record must have its end.
    fn window(&self) -> &[u8] {
        let rest = self.rest();
        &rest[..rest.len().min(LONGEST + 1)]
    }

    fn has_window(&self) -> bool {
        self.window().len() > LONGEST
    }

    fn is_last(&self) -> bool {
        self.is_finished && self.window().len() == self.rest().len()
    }

    /// This text and the end of its line. `None`: the LF of a CRLF may come yet.
    fn stretch(&self, text: usize) -> Option<Stretch> {
        let whole = text + lines::end_of_line(&self.rest()[text..]);
        let may_go_on = !self.is_finished && self.rest()[text..] == *b"\r";
        (!may_go_on).then_some(Stretch { text, whole })
    }

    fn text(&self, length: usize) -> Result<&str, Unreadable> {
        std::str::from_utf8(&self.rest()[..length]).map_err(|error| {
            let before = lines::count(&self.rest()[..=error.valid_up_to()]);
            let line = self.position.lines + before;
            Unreadable(format!("line {line} is not UTF-8: save the file as UTF-8"))
        })
    }

    fn pass(&mut self, stretch: Stretch) {
        self.position.lines += lines::count(&self.rest()[..stretch.whole]);
        self.position.bytes += stretch.whole as u64;
        self.passed += stretch.whole;
    }

    fn too_long(&self) -> Unreadable {
        Unreadable(format!("line {} is too long", self.line()))
    }

    fn unreadable(&self, text: &str) -> Unreadable {
        Unreadable(format!("line {}: {text}", self.line()))
    }
}

/// Is it empty, or a comment?
fn is_passed_over(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line == b"#" || line.starts_with(b"# ")
}
