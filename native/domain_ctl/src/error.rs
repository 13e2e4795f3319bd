//! What can go wrong, in words that say what to do.

use crate::cli::is_standard;
use std::io;
use std::path::Path;

/// Why a command failed. Never holds a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option, a variable or the settings file is wrong.
    #[error("{0}")]
    Settings(String),
    /// No connection.
    #[error(
        "{url} cannot be reached: {why}: is the node running, with its HTTP interface (`make \
         serve`, or the section `http` of its configuration)?"
    )]
    Unreachable {
        /// The server.
        url: String,
        /// What the system says.
        why: String,
    },
    /// No answer.
    #[error("{url} did not answer within {seconds} s; the request may still be carried out")]
    Late {
        /// The server.
        url: String,
        /// The time limit.
        seconds: u64,
    },
    /// No TLS with the server.
    #[error("the TLS connection to {url} failed: {why}")]
    Tls {
        /// The server.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server wants other credentials.
    #[error(
        "{url} refuses the login: {what}: check the user name and the password (--username and \
         --password-file, or see `mongoose-domainctl --help`)"
    )]
    Unauthorized {
        /// The server.
        url: String,
        /// Its text.
        what: String,
    },
    /// The server refuses the request, or failed.
    #[error("{what}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its text.
        what: String,
    },
    /// The answer is not what a node of ours says.
    #[error("unexpected answer from {url} ({what}): is it a domain node?")]
    Unexpected {
        /// The server.
        url: String,
        /// What it answered.
        what: String,
    },
    /// The answer ended before its end.
    #[error("the answer from {url} was cut off: {why}")]
    BrokenOff {
        /// The server.
        url: String,
        /// What the system says.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{0}")]
    File(String),
    /// Standard output was closed by its reader.
    #[error("standard output is closed")]
    OutputClosed,
    /// An import that ended before its end.
    #[error("{cause}\n{advice}")]
    Import {
        /// Why.
        cause: Box<Error>,
        /// How to go on.
        advice: String,
    },
}

impl Error {
    /// Could the same request succeed a little later?
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Late { .. } | Error::BrokenOff { .. } => true,
            Error::Refused { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Without advice, for who knows it already.
    pub fn brief(&self) -> String {
        match self {
            Error::Unreachable { url, why } => format!("{url} cannot be reached: {why}"),
            error => error.to_string(),
        }
    }

    /// The file, or standard input, what was tried with it, and the system's error.
    pub fn file(path: &Path, tried: &str, error: &io::Error) -> Self {
        let name = match is_standard(path) {
            true => "standard input".into(),
            false => path.to_string_lossy(),
        };
        Error::File(format!("{name} cannot be {tried}: {error}"))
    }
}
