//! A file of domains in parts of the size of a request, each record with its place in the file.
//!
//! The records are found as the server finds them. What is no clean record is not sent; what a clean
//! one says is the server's to judge.

use domain_records::{Columns, Format, Item, Position, Reader, count_lines};
use std::io::{self, Read};

/// The most records of a request.
pub const RECORDS: usize = 5_000;
/// No record is added to a request that has so many bytes: what is sent again after a failure, and how
/// often it is said how far the import is.
const BYTES: usize = 128 * 1024;
const BUFFER: usize = 64 * 1024;

/// Records for one request.
#[derive(Debug, Default)]
pub struct Chunk {
    /// None if its records are in the usual order of columns.
    heading: String,
    records: Vec<Piece>,
    /// Of all records.
    bytes: usize,
}

/// What stands for a record.
#[derive(Debug)]
struct Piece {
    text: String,
    /// The line of the file that it begins in.
    line: u64,
    /// Why it is not sent.
    reason: Option<String>,
    /// Where it ends in the file.
    end: Position,
}

/// A record that is not imported.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected<'a> {
    /// Its number in the chunk, from 0.
    pub number: usize,
    /// The line of the file that it begins in.
    pub line: u64,
    pub reason: &'a str,
    pub text: &'a str,
}

/// Reads a file chunk by chunk.
pub struct Chunks<R> {
    source: R,
    reader: Reader,
    is_ended: bool,
    buffer: Vec<u8>,
}

impl Chunk {
    /// The body of the request.
    pub fn body(&self) -> String {
        let sent = self.records.iter().filter(|record| record.reason.is_none());
        let lines = sent.flat_map(|record| [record.text.as_str(), "\n"]);
        std::iter::once(self.heading.as_str()).chain(lines).collect()
    }

    /// Is there something to send?
    pub fn has_body(&self) -> bool {
        self.records.iter().any(|record| record.reason.is_none())
    }

    /// How many records it has, clean or not.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// How many of its first records end within so many first lines of the body.
    pub fn records_in(&self, lines: u64) -> usize {
        let mut passed = self.heading_lines();
        let ends_within = |record: &&Piece| {
            passed += lines_of(record);
            passed <= lines
        };
        self.records.iter().take_while(ends_within).count()
    }

    /// The record that begins in this line of the body, counted from 1, as one that the server rejects.
    pub fn rejected<'a>(&'a self, body_line: u64, reason: &'a str) -> Option<Rejected<'a>> {
        let mut next = self.heading_lines() + 1;
        for (number, record) in self.records.iter().enumerate() {
            if next == body_line && record.reason.is_none() {
                return Some(Rejected { number, line: record.line, reason, text: &record.text });
            }
            next += lines_of(record);
        }
        None
    }

    /// What is not sent of the first records.
    pub fn not_sent(&self, count: usize) -> impl Iterator<Item = Rejected<'_>> {
        self.records.iter().take(count).enumerate().filter_map(|(number, record)| {
            let reason = record.reason.as_deref()?;
            Some(Rejected { number, line: record.line, reason, text: &record.text })
        })
    }

    /// Takes away the first records; returns the position behind them, if there are any.
    pub fn drop_first(&mut self, count: usize) -> Option<Position> {
        let last = self.records.drain(..count.min(self.records.len())).next_back();
        last.map(|record| record.end)
    }

    fn heading_lines(&self) -> u64 {
        count_lines(self.heading.as_bytes())
    }

    fn is_full(&self) -> bool {
        self.records.len() >= RECORDS || self.bytes >= BYTES
    }

    fn add(&mut self, item: Item, columns: Option<&Columns>, end: Position) {
        if let (Some(columns), Ok(record)) = (columns, &item.record)
            && columns.need_heading(record)
        {
            self.heading = columns.heading();
        }
        let Item { line, text, record } = item;
        self.bytes += text.len() + 1;
        self.records.push(Piece { text, line, reason: record.err(), end });
    }
}

/// How many lines of the body it takes.
fn lines_of(record: &Piece) -> u64 {
    if record.reason.is_some() { 0 } else { count_lines(record.text.as_bytes()).max(1) }
}

impl<R: Read> Chunks<R> {
    /// From the beginning.
    pub fn new(source: R, format: Format) -> Self {
        Self::of(source, Reader::new(format))
    }

    /// The source stands at this position. The columns are those of the whole file.
    pub fn resume(source: R, format: Format, columns: Option<Columns>, position: Position) -> Self {
        Self::of(source, Reader::resume(format, columns, position))
    }

    fn of(source: R, reader: Reader) -> Self {
        Chunks { source, reader, is_ended: false, buffer: vec![0; BUFFER] }
    }

    /// The next chunk; none at the end.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        while !chunk.is_full() {
            match self.reader.next_item().map_err(io::Error::other)? {
                Some(item) => {
                    chunk.add(item, self.reader.columns(), self.reader.position());
                }
                None if self.is_ended => break,
                None => self.read()?,
            }
        }
        Ok(if chunk.len() == 0 { None } else { Some(chunk) })
    }

    /// The columns of the file, if it is CSV and a chunk has been read.
    pub fn columns(&self) -> Option<&Columns> {
        self.reader.columns()
    }

    fn read(&mut self) -> io::Result<()> {
        match self.source.read(&mut self.buffer)? {
            0 => {
                self.is_ended = true;
                self.reader.finish();
            }
            length => self.reader.push(&self.buffer[..length]),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &str, format: Format) -> Vec<Chunk> {
        let mut chunks = Chunks::new(text.as_bytes(), format);
        std::iter::from_fn(|| chunks.next_chunk().unwrap()).collect()
    }

    fn csv(text: &str) -> Chunk {
        chunks(text, Format::Csv).remove(0)
    }

    fn lines(chunk: &Chunk) -> Vec<(u64, &str)> {
        chunk.records.iter().map(|record| (record.line, record.text.as_str())).collect()
    }

    #[test]
    fn records_keep_their_lines_behind_headings_comments_and_empty_lines() {
        let chunk =
            csv("domain,host_type,status\r\n\n# line 3: no\na.example,type1 \r\n  \n\"b\nc\",t");
        assert_eq!(chunk.body(), "a.example,type1 \n\"b\nc\",t\n");
        assert_eq!(lines(&chunk), [(4, "a.example,type1 "), (6, "\"b\nc\",t")]);
        let found = chunk.rejected(2, "no").unwrap();
        assert_eq!((found.number, found.line, found.text), (1, 6, "\"b\nc\",t"));
        assert_eq!([0, 1, 2, 3].map(|lines| chunk.records_in(lines)), [0, 1, 1, 2]);
    }

    #[test]
    fn a_heading_is_sent_where_the_server_would_miss_it() {
        assert_eq!(csv("Domain,\"host_type\"\na,t\n").body(), "a,t\n");
        let chunk = csv("host_type,domain\nt,a\nt,b\n");
        assert_eq!(chunk.body(), "host_type,domain\nt,a\nt,b\n");
        assert_eq!(chunk.rejected(3, "no").unwrap().line, 3);
        assert_eq!([1, 2, 3].map(|lines| chunk.records_in(lines)), [0, 1, 2]);
        // What would be taken for one.
        let chunk = csv("domain,host_type\ndomain,t\n");
        assert_eq!(chunk.body(), "domain,host_type\ndomain,t\n");
        assert_eq!(chunks("{\"domain\":\"a\"}\n", Format::Ndjson)[0].body(), "");
    }

    #[test]
    fn what_is_not_clean_is_not_sent() {
        let chunk = csv("a,t\nb\"c,t\nd,t\n");
        assert_eq!(chunk.body(), "a,t\nd,t\n");
        let not_sent: Vec<_> = chunk.not_sent(3).map(|it| (it.line, it.text)).collect();
        assert_eq!(not_sent, [(2, "b\"c,t")]);
        assert_eq!(chunk.not_sent(1).count(), 0);
        assert_eq!([0, 1, 2].map(|lines| chunk.records_in(lines)), [0, 2, 3]);
        assert_eq!(chunk.rejected(2, "no").unwrap().line, 3);
        let chunk = csv("\"a,t\n");
        assert!(!chunk.has_body() && chunk.records_in(0) == 1);
    }

    #[test]
    fn a_file_without_data_has_no_chunk() {
        assert!(chunks("", Format::Csv).is_empty());
        assert!(chunks("domain,host_type\n\n#\n", Format::Csv).is_empty());
    }

    #[test]
    fn chunks_end_at_their_limits_and_lose_nothing() {
        let text: String = (1..=12_000).map(|n| format!("d{n}.example,type1\n")).collect();
        let parts = chunks(&text, Format::Csv);
        assert_eq!(parts.iter().map(Chunk::len).collect::<Vec<_>>(), [5_000, 5_000, 2_000]);
        assert_eq!(parts.iter().map(Chunk::body).collect::<String>(), text);
        let last = parts[2].rejected(2_000, "").unwrap();
        assert_eq!((last.line, last.text), (12_000, "d12000.example,type1"));

        let long = format!("{},type1\n", "x".repeat(10_000)).repeat(200);
        let parts = chunks(&long, Format::Csv);
        assert!(parts.iter().all(|part| part.body().len() < BYTES + domain_records::LONGEST));
        assert_eq!(parts.iter().map(Chunk::len).sum::<usize>(), 200);
    }

    #[test]
    fn what_is_left_of_a_chunk_keeps_its_places() {
        let mut chunk = csv("domain,host_type\na,t\nbb,t\n\nccc,t\n");
        assert_eq!(chunk.drop_first(0), None);
        assert_eq!(chunk.drop_first(2), Some(Position { lines: 3, bytes: 26 }));
        assert_eq!(chunk.body(), "ccc,t\n");
        assert_eq!(lines(&chunk), [(5, "ccc,t")]);
        assert_eq!(chunk.drop_first(9), Some(Position { lines: 5, bytes: 33 }));
        assert_eq!(chunk.len(), 0);
    }

    #[test]
    fn reading_goes_on_at_a_place() {
        let text = "host_type,domain\nt,a\nt,bb\n\nt,c\n";
        let mut chunks = Chunks::new(text.as_bytes(), Format::Csv);
        chunks.next_chunk().unwrap();
        let columns = chunks.columns().cloned();
        let position = Position { lines: 3, bytes: 26 };
        let rest = &text.as_bytes()[26..];
        let mut chunks = Chunks::resume(rest, Format::Csv, columns, position);
        let mut chunk = chunks.next_chunk().unwrap().unwrap();
        assert_eq!(chunk.body(), "host_type,domain\nt,c\n");
        assert_eq!(lines(&chunk), [(5, "t,c")]);
        let end = Position { lines: 5, bytes: text.len() as u64 };
        assert_eq!(chunk.drop_first(1), Some(end));
    }

    #[test]
    fn what_no_file_of_domains_has_is_an_error_with_its_line() {
        let mut chunks = Chunks::new(&b"a,t\n\xff,t\n"[..], Format::Csv);
        let error = chunks.next_chunk().unwrap_err();
        assert_eq!(error.to_string(), "line 2 is not UTF-8: save the file as UTF-8");
    }
}
