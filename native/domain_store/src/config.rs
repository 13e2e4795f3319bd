//! Where the database is, and how it may be used.

use crate::Error;
use crate::tls::{Client, Pem, Tls, TlsMode};
use std::fmt;
use std::time::Duration;
use url::Url;

/// How to reach a database, and how it may be used.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The most connections to hold at a time.
    pub max_connections: u32,
    /// The time limit of a connection attempt and of an operation.
    pub query_timeout: Duration,
    /// A connection that has not been used for so long is closed.
    pub idle_timeout: Duration,
}

/// Where a database is.
#[derive(Clone)]
pub enum Endpoint {
    /// `sqlite:path/to/file`, `postgres://user:password@host:port/database` or
    /// `mysql://user:password@host:port/database` (also `mariadb://`).
    Url(String),
    /// A server by its parts.
    Server(Server),
}

/// A database server, and how to log in there.
#[derive(Clone)]
pub struct Server {
    /// What it speaks.
    pub driver: Driver,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database there.
    pub database: String,
    /// Who logs in.
    pub username: String,
    /// By which password.
    pub password: String,
    /// By TLS or not.
    pub tls: Tls,
}

/// What a database server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// PostgreSQL or CockroachDB.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
}

impl Config {
    /// Two connections, five seconds, ten seconds.
    pub fn new(url: impl Into<String>) -> Self {
        Self::at(Endpoint::Url(url.into()))
    }

    /// The same of any endpoint.
    pub fn at(endpoint: Endpoint) -> Self {
        Config {
            endpoint,
            max_connections: 2,
            query_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(10),
        }
    }
}

pub(crate) enum Scheme {
    Sqlite,
    Postgres,
    Mysql,
}

pub(crate) fn scheme(url: &str) -> Result<Scheme, Error> {
    let (scheme, _) = url.split_once(':').ok_or_else(|| {
        Error::bad_url(
            "it has no scheme: use sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE or \
             mysql://USER:PASSWORD@HOST/DATABASE",
        )
    })?;
    match scheme {
        "sqlite" => Ok(Scheme::Sqlite),
        "postgres" | "postgresql" => Ok(Scheme::Postgres),
        "mysql" | "mariadb" => Ok(Scheme::Mysql),
        _ => {
            Err(Error::unknown_scheme("the scheme must be sqlite:, postgres:, mysql: or mariadb:"))
        }
    }
}

/// The URL taken apart, with only these parameters, so that one with a typo is not ignored.
pub(crate) fn parsed_url(url: &str, parameters: &[&str]) -> Result<Url, Error> {
    let url = Url::parse(url).map_err(|error| Error::bad_url(error.to_string()))?;
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

/// What a URL says of TLS, by the names of its parameters for the authorities' file, our own
/// certificate and its key.
pub(crate) fn tls_of_url(
    url: &Url,
    mode: TlsMode,
    [ca, certificate, key]: [&[&str]; 3],
) -> Result<Tls, Error> {
    let file = |names: &[&str]| {
        let mut pairs = url.query_pairs();
        pairs.find(|(key, _)| names.contains(&&**key)).map(|(_, file)| file.into_owned().into())
    };
    let (ca_file, names) = (file(ca), (ca[0], certificate[0], key[0]));
    if mode >= TlsMode::VerifyCa && ca_file.is_none() {
        return Err(Error::bad_url(format!(
            "to verify the server it needs {}: a file with the certificate authorities to trust \
             (the system's own are often in /etc/ssl/certs/ca-certificates.crt)",
            names.0
        )));
    }
    if mode < TlsMode::VerifyCa && ca_file.is_some() {
        return Err(Error::bad_url(format!(
            "{} is only for verifying the server, and it asks for no verification",
            names.0
        )));
    }
    let client = match (file(certificate), file(key)) {
        (Some(certificate), Some(key)) => Some(Client { certificate, key: Pem::File(key) }),
        (None, None) => None,
        _ => {
            let text = format!("{} and {} must be given together", names.1, names.2);
            return Err(Error::bad_url(text));
        }
    };
    Ok(Tls { mode, ca: ca_file.map(Pem::File), client })
}

/// How to connect to a server, by the builders of sqlx, which are alike but for the names by which the
/// authorities are given. A macro, because they share no trait.
macro_rules! sqlx_options {
    ($server:expr, $new:expr, $mode:expr, $ca_file:ident, $ca_text:ident) => {{
        let crate::Server { host, port, database, username, password, tls, .. } = $server;
        let mut options =
            $new.host(host).port(*port).database(database).username(username).ssl_mode($mode);
        // MySQL's server tells an empty password from none.
        if !password.is_empty() {
            options = options.password(password);
        }
        options = match &tls.ca {
            Some(crate::Pem::File(path)) => options.$ca_file(path),
            Some(crate::Pem::Text(pem)) => options.$ca_text(crate::tls::usable(pem).into_bytes()),
            None => options,
        };
        if let Some(client) = &tls.client {
            options = options.ssl_client_cert(&client.certificate);
            options = match &client.key {
                crate::Pem::File(path) => options.ssl_client_key(path),
                crate::Pem::Text(pem) => options.ssl_client_key_from_pem(pem),
            };
        }
        options
    }};
}

pub(crate) use sqlx_options;

/// Not the URL: it may hold a password.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Url(_) => f.write_str("[redacted]"),
            Endpoint::Server(server) => server.fmt(f),
        }
    }
}

/// Not the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server { driver, host, port, database, .. } = self;
        write!(f, "{driver:?} {host}:{port}/{database}")
    }
}
