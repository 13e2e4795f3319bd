//! Where the database is, and how it may be used.

use crate::Error;
use crate::error::reason;
use crate::tls::{Client, Pem, Tls, TlsMode};
use std::fmt;
use std::str::FromStr;
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

/// The URL of a server, taken apart.
pub(crate) struct ServerUrl {
    pub url: Url,
    /// The host, if it is an address as `[::1]`. sqlx would take the brackets for a part of it.
    pub ipv6_address: Option<String>,
}

/// What most often is wrong with a URL.
const NOT_ENCODED: &str = "in a user name or password, write %23 for #, %2F for /, %3F for ?, %40 for @ \
                           and %25 for %";

/// The URL taken apart, with only these parameters, so that one with a typo is not ignored. The host
/// may be given by one of the parameters in `hosts` as well.
///
/// No text shows a part of a URL that may belong to a password.
pub(crate) fn parsed_url(
    url: &str,
    parameters: &[&str],
    hosts: &[&str],
) -> Result<ServerUrl, Error> {
    let parts = Parts::of(url);
    if parts.is_cut() || has_bad_percent(parts.user) {
        return Err(Error::bad_url(NOT_ENCODED));
    }
    let url =
        Url::parse(&parts.with_host(url)).map_err(|error| Error::bad_url(error.to_string()))?;
    if url.fragment().is_some() {
        return Err(Error::bad_url(format!("it has a # in it: {NOT_ENCODED}")));
    }
    let mut pairs = url.query_pairs();
    if let Some((key, _)) = pairs.find(|(key, _)| !parameters.contains(&&**key)) {
        let known = parameters.join(", ");
        // What is behind a password may belong to it.
        return Err(Error::bad_url(match url.query_pairs().any(|(key, _)| key == "password") {
            true => format!(
                "it has an unknown parameter, or a password with an & that must be \
                             written %26: the known parameters are {known}"
            ),
            false => format!("it has an unknown parameter {key:?}: the known ones are {known}"),
        }));
    }
    let by_parameter = url.query_pairs().any(|(key, _)| hosts.contains(&&*key));
    if url.cannot_be_a_base() || parts.host.is_empty() && !by_parameter {
        return Err(Error::bad_url("it names no host"));
    }
    let ipv6_address = match url.host() {
        Some(url::Host::Ipv6(address)) if !by_parameter => Some(address.to_string()),
        _ => None,
    };
    Ok(ServerUrl { url, ipv6_address })
}

/// How sqlx is to connect, by a URL.
pub(crate) fn options_of<O: FromStr<Err = sqlx::Error>>(url: &ServerUrl) -> Result<O, Error> {
    O::from_str(url.url.as_str()).map_err(|error| Error::bad_url(reason(&error)))
}

/// A URL as it is written: SCHEME://USER@HOST:PORT/PATH?QUERY.
struct Parts<'a> {
    scheme: &'a str,
    user: &'a str,
    host: &'a str,
    port: &'a str,
    /// The path and what is behind.
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let (scheme, url) = url.split_once("://").unwrap_or((url, ""));
        let (authority, rest) = url.split_at(url.find(['/', '?', '#']).unwrap_or(url.len()));
        let (user, server) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let port = server.rfind(':').filter(|colon| !server[*colon..].contains(']'));
        let (host, port) = server.split_at(port.unwrap_or(server.len()));
        Parts { scheme, user, host, port, rest }
    }

    /// Did one of the characters that end user and host come too early? Then there is an @ behind it.
    fn is_cut(&self) -> bool {
        let path = self.rest.split('?').next().unwrap_or_default();
        path.contains('@')
            || self.user.is_empty() && !self.port.is_empty() && self.rest.contains('@')
    }

    /// With a host, where one may be left out for libpq, but not for the parser: one of the parameters
    /// stands for it.
    fn with_host(&self, url: &str) -> String {
        let Parts { scheme, user, host, port, rest } = self;
        if !host.is_empty() || user.is_empty() && port.is_empty() {
            return url.to_owned();
        }
        format!("{scheme}://{user}localhost{port}{rest}")
    }
}

/// Is there a % that does not begin the code of a byte?
fn has_bad_percent(text: &str) -> bool {
    let is_code =
        |code: &str| code.len() >= 2 && code.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    text.split('%').skip(1).any(|code| !is_code(code))
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
            "to verify the server, the URL needs {}: a file with the certificate authorities to trust \
             (the system's own are often in /etc/ssl/certs/ca-certificates.crt)",
            names.0
        )));
    }
    if mode < TlsMode::VerifyCa && ca_file.is_some() {
        return Err(Error::bad_url(format!(
            "{} is set, but the URL does not ask to verify the server: choose a mode that verifies \
             it, or remove {}",
            names.0, names.0
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

#[cfg(test)]
mod tests {
    use super::parsed_url;
    use crate::{Config, Error, Store};

    async fn refusal(url: &str) -> Error {
        Store::open(&Config::new(url)).unwrap_err()
    }

    #[tokio::test]
    async fn a_password_that_is_not_encoded_gets_a_hint_and_is_not_shown() {
        for scheme in ["postgres", "mysql"] {
            for url in [
                "user:geheim#wort@db.example/domains",
                "user:geheim/wort@db.example/domains",
                "user:geheim?wort@db.example/domains",
                "user:geheim%wort@db.example/domains",
                "user:geheim%4@db.example/domains",
                "user:geheim%@db.example/domains",
                "user:geheim@wort/x@db.example/domains",
                // What is before the character looks like a port.
                "user:12#wort@db.example/domains",
                "user:12/wort@db.example/domains",
                "user:12?wort@db.example/domains",
                "user:12?socket=wort@db.example/domains",
                "user:12?sslmode=wort@db.example/domains",
                "user:12?wort=wort@db.example/domains",
            ] {
                let error = refusal(&format!("{scheme}://{url}")).await.to_string();
                assert!(error.contains("write %23 for #, %2F for /, %3F for ?"), "{url}: {error}");
                assert!(!error.contains("geheim") && !error.contains("wort@"), "{url}: {error}");
            }
        }
        // As a parameter.
        let url = "postgres://db.example/domains?user=user&password=geheim";
        for rest in ["&wort", "&wort=1", "#wort"] {
            let error = refusal(&format!("{url}{rest}")).await.to_string();
            assert!(error.contains("%26") || error.contains("%23"), "{rest}: {error}");
            assert!(!error.contains("geheim") && !error.contains("wort"), "{rest}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_encoded_or_need_not_be_is_understood() {
        let url = |url: &str| parsed_url(url, &["host", "user"], &["host"]);
        for it in [
            "postgres://user:a%23b%2Fc%3Fd%40e%25@db.example/domains",
            "postgres://us@er:a@b@db.example:5433/domains",
            "postgres://db.example/domains?user=me@example",
            "postgres://[::1]:5432/domains",
        ] {
            assert!(url(it).is_ok(), "{it}");
        }
        assert_eq!(url("postgres://u:p@[::1]/d").unwrap().ipv6_address.unwrap(), "::1");
        assert_eq!(url("postgres://u:p@[::1]/d?host=db").unwrap().ipv6_address, None);
        assert_eq!(url("postgres://u:p@127.0.0.1/d").unwrap().ipv6_address, None);
    }

    #[tokio::test]
    async fn a_host_may_be_given_by_a_parameter_alone() {
        let given =
            ["postgres://HERE/domains?host=/run/postgresql", "mysql://HERE/d?socket=/run/s"];
        let left_out = ["postgres://HERE/domains?user=me", "mysql://HERE/d?ssl-mode=DISABLED"];
        for user in ["", "user@", "user:secret@", "user:secret@:5433", ":5433"] {
            for url in given {
                Store::open(&Config::new(url.replace("HERE", user))).unwrap();
            }
            for url in left_out {
                let error = refusal(&url.replace("HERE", user)).await.to_string();
                assert!(error.ends_with("it names no host"), "{user} {error}");
            }
        }
        for url in ["postgres:domains", "mysql:domains", "postgres:/domains", "postgres:"] {
            let error = refusal(url).await.to_string();
            assert!(error.ends_with("it names no host"), "{url} {error}");
        }
    }

    #[tokio::test]
    async fn a_text_says_once_what_is_wrong() {
        for (url, expected) in [
            ("postgres://db.example:port/domains", "invalid port number"),
            ("postgres://db.example/domains?port=many", "invalid digit found in string"),
            ("mysql://db.example/domains?ssl-mode=odd", "unknown value \"odd\" for `ssl_mode`"),
            ("sqlite:file?mode=odd", "unknown value \"odd\" for `mode`"),
        ] {
            let expected = format!("the database URL is not valid: {expected}");
            assert_eq!(refusal(url).await.to_string(), expected);
        }
    }
}
