//! A file of domains in parts of the size of a request, each line with its offset in the file.
//!
//! What a line says is the server's to judge. Only what is no line of data stays here: a header of
//! CSV at the beginning, empty lines, and lines that begin with #.

use crate::cli::Format;
use std::io::{self, BufRead, Read};

/// The most lines of a request.
pub const LINES: usize = 5_000;
/// No line is added to a request that has so many bytes. The server answers while it reads, and stops
/// reading when nobody takes the answer; we take it when all is sent. So that neither waits for the
/// other, what is sent, and what is answered to it, must fit into what the system buffers.
const BYTES: usize = 128 * 1024;
/// The longest line. The server takes a little more.
pub const LINE_BYTES: usize = 16_000;

/// How much of the file has been passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// Lines of the file, of any kind.
    pub lines: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Lines for one request.
#[derive(Debug, Default)]
pub struct Chunk {
    body: Vec<u8>,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// Where it begins in the body.
    start: usize,
    /// The offset behind it in the file.
    end: Offset,
}

/// Reads a file chunk by chunk.
pub struct Chunks<R> {
    reader: R,
    format: Format,
    offset: Offset,
    line: Vec<u8>,
    /// Has a line of data been seen? Only before it there can be a header.
    has_data: bool,
}

impl Chunk {
    /// The body of the request.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// How many lines it has.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// A line, and its number in the file; lines of the chunk count from 1.
    pub fn line(&self, number: usize) -> Option<(u64, &[u8])> {
        let at = number.checked_sub(1)?;
        let Line { start, end } = self.lines.get(at)?;
        let next = self.lines.get(number).map_or(self.body.len(), |line| line.start);
        Some((end.lines, without_end(self.body.get(*start..next)?)))
    }

    /// Takes away the first lines; returns the offset behind them, if there are any.
    pub fn drop_first(&mut self, count: usize) -> Option<Offset> {
        let count = count.min(self.lines.len());
        let start = self.lines.get(count).map_or(self.body.len(), |line| line.start);
        self.body.drain(..start);
        let last = self.lines.drain(..count).next_back();
        for line in &mut self.lines {
            line.start -= start;
        }
        last.map(|line| line.end)
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= LINES || self.body.len() >= BYTES
    }

    fn add(&mut self, line: &[u8], end: Offset) {
        self.lines.push(Line { start: self.body.len(), end });
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
    }
}

impl<R: BufRead> Chunks<R> {
    /// The reader stands at this offset.
    pub fn new(reader: R, format: Format, offset: Offset) -> Self {
        Chunks { reader, format, offset, line: Vec::new(), has_data: offset != Offset::default() }
    }

    /// The next chunk; none at the end.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        while !chunk.is_full() && self.read_line()? {
            let line = without_end(&self.line);
            if line.trim_ascii().is_empty() || line.starts_with(b"#") {
                continue;
            }
            let is_header = !self.has_data && self.format == Format::Csv && is_header(line);
            self.has_data = true;
            if !is_header {
                chunk.add(line, self.offset);
            }
        }
        Ok(if chunk.len() == 0 { None } else { Some(chunk) })
    }

    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(LINE_BYTES as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.line)?;
        if read > LINE_BYTES {
            let line = self.offset.lines + 1;
            let text = format!("line {line} has more than {LINE_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if self.offset.bytes == 0 && self.line.starts_with(b"\xef\xbb\xbf") {
            // The byte order mark of some programs for Windows.
            self.line.drain(..3);
        }
        self.offset.lines += u64::from(read > 0);
        self.offset.bytes += read as u64;
        Ok(read > 0)
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn is_header(line: &[u8]) -> bool {
    let line: Vec<u8> = line.iter().filter(|byte| !b" \"".contains(byte)).copied().collect();
    line == b"domain,host_type" || line == b"domain,host_type,status"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &str, format: Format) -> Vec<Chunk> {
        let mut chunks = Chunks::new(text.as_bytes(), format, Offset::default());
        std::iter::from_fn(|| chunks.next_chunk().unwrap()).collect()
    }

    fn lines(chunk: &Chunk) -> Vec<(u64, &str)> {
        let line = |number| {
            let (number, text) = chunk.line(number).unwrap();
            (number, std::str::from_utf8(text).unwrap())
        };
        (1..=chunk.len()).map(line).collect()
    }

    #[test]
    fn lines_keep_their_numbers_behind_headers_comments_and_empty_lines() {
        let text = "domain,host_type,status\r\n\n# line 3: no\na.example,type1 \r\n  \nb,type1";
        let chunks = chunks(text, Format::Csv);
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].body(), b"a.example,type1 \nb,type1\n");
        assert_eq!(lines(&chunks[0]), [(4, "a.example,type1 "), (6, "b,type1")]);
    }

    #[test]
    fn a_header_is_only_the_first_line_of_data() {
        for text in ["a,b\ndomain,host_type\n", "\u{feff}domain,host_type\na,b\ndomain,host_type"] {
            let chunks = chunks(text, Format::Csv);
            assert_eq!(chunks[0].body(), b"a,b\ndomain,host_type\n", "{text:?}");
        }
        let quoted = chunks("\"domain\", \"host_type\"\n", Format::Csv);
        assert!(quoted.is_empty());
        let ndjson = chunks("domain,host_type\n", Format::Ndjson);
        assert_eq!(ndjson[0].len(), 1);
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
        assert_eq!(
            parts.iter().flat_map(|part| part.body().to_vec()).collect::<Vec<_>>(),
            text.as_bytes()
        );
        assert_eq!(parts[2].line(2_000), Some((12_000, &b"d12000.example,type1"[..])));

        let long = format!("{},type1\n", "x".repeat(10_000)).repeat(200);
        let parts = chunks(&long, Format::Csv);
        assert!(parts.iter().all(|part| part.body().len() < BYTES + LINE_BYTES));
        assert_eq!(parts.iter().map(Chunk::len).sum::<usize>(), 200);
    }

    #[test]
    fn what_is_left_of_a_chunk_keeps_its_places() {
        let mut parts = chunks("domain,host_type\na,t\nbb,t\n\nccc,t\n", Format::Csv);
        let chunk = &mut parts[0];
        assert_eq!(chunk.drop_first(0), None);
        assert_eq!(chunk.drop_first(2), Some(Offset { lines: 3, bytes: 26 }));
        assert_eq!(chunk.body(), b"ccc,t\n");
        assert_eq!(lines(chunk), [(5, "ccc,t")]);
        assert_eq!(chunk.drop_first(9), Some(Offset { lines: 5, bytes: 33 }));
        assert_eq!(chunk.len(), 0);
    }

    #[test]
    fn reading_goes_on_at_a_place() {
        let text = "domain,host_type\na,t\nbb,t\n\ndomain,host_type\n";
        let offset = Offset { lines: 3, bytes: 26 };
        let mut chunks = Chunks::new(&text.as_bytes()[26..], Format::Csv, offset);
        let mut chunk = chunks.next_chunk().unwrap().unwrap();
        assert_eq!(lines(&chunk), [(5, "domain,host_type")]);
        assert_eq!(chunk.drop_first(1), Some(Offset { lines: 5, bytes: text.len() as u64 }));
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error_with_its_number() {
        let text = format!("a,t\n{}\n", "x".repeat(LINE_BYTES));
        let mut chunks = Chunks::new(text.as_bytes(), Format::Csv, Offset::default());
        let error = chunks.next_chunk().unwrap_err();
        assert_eq!(error.to_string(), "line 2 has more than 16000 bytes");
    }
}
