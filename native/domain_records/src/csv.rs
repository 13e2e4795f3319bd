//! CSV: the crate `csv_core` finds the records, whatever they are like. A record is clean if it is
//! just what its fields look like when they are written, in quotation marks or without.

use crate::{LONGEST, Record, keys};
use ::csv::{QuoteStyle, WriterBuilder};
use csv_core::ReadRecordResult;

const NAMES: [&str; 3] = ["domain", "host_type", "status"];

/// Which field is what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(Vec<&'static str>);

/// Without a heading.
impl Default for Columns {
    fn default() -> Self {
        Columns(NAMES.to_vec())
    }
}

impl Columns {
    /// By a heading, if these are the fields of one: it has a column for the domain or for the host
    /// type.
    pub(crate) fn of(fields: &[String]) -> Option<Result<Self, String>> {
        // Blanks around quotation marks are no part of a field, in a heading.
        let name = |field: &String| field.trim().trim_matches('"').trim().to_owned();
        let names: Vec<String> = fields.iter().map(name).collect();
        let is_of_heading = |name: &String| keys::meant(name, &NAMES[..2]).is_some();
        names.iter().any(is_of_heading).then(|| Self::of_names(&names))
    }

    fn of_names(names: &[String]) -> Result<Self, String> {
        let mut columns = Vec::new();
        for name in names {
            let known = NAMES.iter().find(|known| known.eq_ignore_ascii_case(name));
            let known = known.ok_or_else(|| keys::unknown("column", name, &NAMES))?;
            if columns.contains(known) {
                return Err(format!("the column '{known}' is given twice"));
            }
            columns.push(*known);
        }
        match NAMES[..2].iter().find(|name| !columns.contains(name)) {
            Some(missing) => Err(format!("the column '{missing}' is missing")),
            None => Ok(Columns(columns)),
        }
    }

    /// The heading that says so.
    pub fn heading(&self) -> String {
        format!("{}\n", self.0.join(","))
    }

    /// Would this record be read as another one, if it came first and without the heading?
    pub fn need_heading(&self, record: &Record) -> bool {
        let is_of_heading = |name: &str| keys::meant(name, &NAMES[..2]).is_some();
        !NAMES.starts_with(&self.0)
            || is_of_heading(&record.domain)
            || is_of_heading(&record.host_type)
    }

    /// A record of these fields. The last ones may be left out if they are not needed.
    pub(crate) fn record(&self, fields: Vec<String>) -> Result<Record, String> {
        if fields.len() > self.0.len() || fields.len() < self.least() {
            return Err(self.wrong_count());
        }
        let [mut domain, mut host_type, mut status] = [const { String::new() }; 3];
        for (name, field) in self.0.iter().zip(fields) {
            match *name {
                "domain" => domain = field,
                "host_type" => host_type = field,
                _ => status = field,
            }
        }
        Record::new(domain, host_type, Some(&status))
    }

    fn least(&self) -> usize {
        self.0.len() - usize::from(self.0.last() == Some(&"status"))
    }

    fn wrong_count(&self) -> String {
        let count = match (self.least(), self.0.len()) {
            (2, 3) => "two or three",
            (_, 2) => "two",
            _ => "three",
        };
        format!("a line has {count} fields: {}", self.0.join(","))
    }
}

/// Finds records.
pub(crate) struct Parser {
    /// To build one takes as long as to read many records.
    reader: csv_core::Reader,
    output: Vec<u8>,
    ends: Vec<usize>,
}

impl Parser {
    pub fn new() -> Self {
        let (output, ends) = (vec![0; LONGEST + 1], Vec::new());
        Parser { reader: csv_core::Reader::new(), output, ends }
    }

    /// The length of the first record with one character of its end. `None`: it goes on behind the
    /// input, of which there is more unless it is the last. Not more than [`LONGEST`] bytes and one.
    pub fn find(&mut self, input: &[u8], is_last: bool) -> Option<usize> {
        self.reader.reset();
        // Reads nothing, but from now on a byte order mark is text: this is not the file's beginning.
        self.reader.read_record(b" ", &mut [], &mut []);
        self.ends.clear();
        let (mut read, mut written) = (0, 0);
        loop {
            let (rest, output) = (&input[read..], &mut self.output[written..]);
            if rest.is_empty() && !is_last {
                return None;
            }
            let mut ends = [0; 8];
            let (result, nin, nout, count) = self.reader.read_record(rest, output, &mut ends);
            read += nin;
            written += nout;
            self.ends.extend(&ends[..count]);
            match result {
                ReadRecordResult::Record => return Some(read),
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputEndsFull => {}
                ReadRecordResult::OutputFull | ReadRecordResult::End => return None,
            }
        }
    }

    /// The fields of the record that was found, as they are: for a heading.
    pub fn fields(&self) -> Vec<String> {
        self.slices().map(|field| String::from_utf8_lossy(field).into_owned()).collect()
    }

    /// The fields, if this is the text of the record and it is clean. Blanks around a field are no
    /// part of it, unless they are in quotation marks.
    pub fn clean_fields(&self, text: &str) -> Result<Vec<String>, &'static str> {
        self.compare(text).ok_or_else(|| match text.matches('"').count() % 2 {
            1 => "a quotation mark is not closed",
            _ => "quotation marks must be around a whole field, and doubled inside of it",
        })
    }

    fn compare(&self, text: &str) -> Option<Vec<String>> {
        let (mut fields, mut rest) = (Vec::new(), text);
        for field in self.slices() {
            let field = std::str::from_utf8(field).ok()?;
            if !fields.is_empty() {
                rest = rest.strip_prefix(',')?;
            }
            if rest.starts_with('"') {
                let quoted = format!("\"{}\"", field.replace('"', "\"\""));
                rest = rest.strip_prefix(&quoted)?;
                fields.push(field.to_owned());
            } else if field.contains('"') {
                return None;
            } else {
                rest = rest.strip_prefix(field)?;
                fields.push(field.trim_matches([' ', '\t']).to_owned());
            }
        }
        rest.is_empty().then_some(fields)
    }

    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.output[start..*end])
    }
}

/// In quotation marks if the record would be read as another one without.
pub(crate) fn write(record: [&str; 3], to: &mut Vec<u8>) -> ::csv::Result<()> {
    let has_blanks = record.iter().any(|field| field.trim() != *field);
    let style = if has_blanks { QuoteStyle::Always } else { QuoteStyle::Necessary };
    let mut builder = WriterBuilder::new();
    // In quotation marks, a # at the beginning of a line is no comment.
    builder.buffer_capacity(256).comment(Some(b'#')).quote_style(style);
    builder.from_writer(to).write_record(record)
}
