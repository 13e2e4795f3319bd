//! The formats, their names and media types.

use crate::{csv, ndjson};
use std::io;

/// How domains are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values (RFC 4180).
    Csv,
    /// An object of JSON in each line.
    Ndjson,
}

/// Why a media type is none of a file of domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// It is of something else.
    Other,
    /// It says that the text is not UTF-8.
    Charset,
}

impl Format {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Ndjson => "ndjson",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv",
            Format::Ndjson => "application/x-ndjson",
        }
    }

    /// The format of a media type, such as `text/CSV; charset=utf-8`.
    pub fn of_media_type(text: &str) -> Result<Self, MediaType> {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let is_it = |format: &Format| essence.eq_ignore_ascii_case(format.media_type());
        let format = [Format::Csv, Format::Ndjson].into_iter().find(is_it);
        let format = format.ok_or(MediaType::Other)?;
        let is_utf8 = |value: &str| {
            let value = value.trim().trim_matches('"');
            ["utf-8", "utf8", "us-ascii"].iter().any(|name| value.eq_ignore_ascii_case(name))
        };
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            if name.trim().eq_ignore_ascii_case("charset") && !is_utf8(value) {
                return Err(MediaType::Charset);
            }
        }
        Ok(format)
    }

    /// What a file begins with.
    pub fn heading(self) -> &'static str {
        match self {
            Format::Csv => "domain,host_type,status\n",
            Format::Ndjson => "",
        }
    }

    /// Writes a record behind others.
    pub fn write(
        self,
        domain: &str,
        host_type: &str,
        status: &str,
        to: &mut Vec<u8>,
    ) -> io::Result<()> {
        let record = [domain, host_type, status];
        match self {
            Format::Csv => Ok(csv::write(record, to)?),
            Format::Ndjson => Ok(ndjson::write(record, to)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, MediaType};

    #[test]
    fn media_types_are_known_in_any_case_and_with_parameters() {
        for (text, expected) in [
            ("text/csv", Ok(Format::Csv)),
            ("Text/CSV", Ok(Format::Csv)),
            ("text/csv ; header=present; Charset=\"UTF-8\"", Ok(Format::Csv)),
            ("APPLICATION/x-ndjson;charset=utf8", Ok(Format::Ndjson)),
            ("text/csv; charset=iso-8859-1", Err(MediaType::Charset)),
            ("text/plain", Err(MediaType::Other)),
            ("", Err(MediaType::Other)),
        ] {
            assert_eq!(Format::of_media_type(text), expected, "{text}");
        }
    }
}
