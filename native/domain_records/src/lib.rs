//! Domains as text, CSV or NDJSON: what the server imports and exports, and the command line with it.
//!
//! A [`Reader`] takes a file piece by piece and gives it record by record, each with the number of
//! its line. What is not a clean record is given with the reason, and never repaired; what no file of
//! domains has (another encoding, an unknown column or key) ends the reading. [`Format::write`]
//! writes a record such that it is read as it was.
//!
//! It knows nothing of databases or HTTP, and it reads and writes no files. [`nameless_file`] is where
//! its users keep one; [`keys`] is for whatever has keys that people write.

mod csv;
mod format;
pub mod keys;
mod lines;
mod nameless;
mod ndjson;
mod reader;

pub use csv::Columns;
pub use format::{Format, MediaType};
pub use lines::count as count_lines;
pub use nameless::nameless_file;
pub use reader::{Item, Position, Reader, Unreadable};

/// The longest record, in bytes: two names of 250 characters, each of them escaped.
pub const LONGEST: usize = 16 * 1024;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// As it is written.
    pub domain: String,
    /// As it is written.
    pub host_type: String,
    /// Its status, if it has one.
    pub enabled: Option<bool>,
}

impl Record {
    fn new(domain: String, host_type: String, status: Option<&str>) -> Result<Self, String> {
        let enabled = match status {
            None | Some("") => None,
            Some("enabled") => Some(true),
            Some("disabled") => Some(false),
            Some(_) => return Err("status must be enabled or disabled".to_owned()),
        };
        Ok(Record { domain, host_type, enabled })
    }
}
