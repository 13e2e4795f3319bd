//! Where the database is, and how it may be used.

use crate::Error;
use std::fmt;
use std::time::Duration;
use url::Url;

/// How to reach a database.
#[derive(Clone)]
pub struct Config {
    /// `sqlite:path/to/file`, `postgres://user:password@host:port/database` or
    /// `mysql://user:password@host:port/database` (also `mariadb://`).
    pub url: String,
    /// The most connections to hold at a time.
    pub max_connections: u32,
    /// The time limit of a connection attempt and of an operation.
    pub query_timeout: Duration,
}

impl Config {
    /// Two connections, five seconds.
    pub fn new(url: impl Into<String>) -> Self {
        Config { url: url.into(), max_connections: 2, query_timeout: Duration::from_secs(5) }
    }

    pub(crate) fn scheme(&self) -> Result<Scheme, Error> {
        let (scheme, _) = self.url.split_once(':').ok_or_else(|| {
            Error::bad_url(
                "it has no scheme: use sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE or \
                 mysql://USER:PASSWORD@HOST/DATABASE",
            )
        })?;
        match scheme {
            "sqlite" => Ok(Scheme::Sqlite),
            "postgres" | "postgresql" => Ok(Scheme::Postgres),
            "mysql" | "mariadb" => Ok(Scheme::Mysql),
            _ => Err(Error::unknown_scheme(
                "the scheme must be sqlite:, postgres:, mysql: or mariadb:",
            )),
        }
    }

    /// The URL taken apart, with only these parameters, so that one with a typo is not ignored.
    pub(crate) fn parsed_url(&self, parameters: &[&str]) -> Result<Url, Error> {
        let url = Url::parse(&self.url).map_err(|error| Error::bad_url(error.to_string()))?;
        if url.fragment().is_some() {
            return Err(Error::bad_url("it has a # in it: write that as %23"));
        }
        if let Some((key, _)) = url.query_pairs().find(|(key, _)| !parameters.contains(&&**key)) {
            // With an @ behind the ? it is rather a password with a ? in it, and not to be shown.
            let what = match url.query() {
                Some(query) if query.contains('@') => "a ? in it: write that as %3F".to_owned(),
                _ => format!(
                    "an unknown parameter {key:?}: the known ones are {}",
                    parameters.join(", ")
                ),
            };
            return Err(Error::bad_url(format!("it has {what}")));
        }
        Ok(url)
    }
}

/// Not the URL: it may hold a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &"[redacted]")
            .field("max_connections", &self.max_connections)
            .field("query_timeout", &self.query_timeout)
            .finish()
    }
}

pub(crate) enum Scheme {
    Sqlite,
    Postgres,
    Mysql,
}
