//! How to connect to MySQL or MariaDB, by a URL or by the parts of a server.

use crate::config::{options_of, parsed_url, sqlx_options, tls_of_url};
use crate::{Error, Server, Tls, TlsMode};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

/// The parameters of a URL that sqlx knows, but for the character set: names are UTF-8.
const URL_PARAMETERS: [&str; 10] = [
    "ssl-mode",
    "sslmode",
    "ssl-ca",
    "sslca",
    "ssl-cert",
    "sslcert",
    "ssl-key",
    "sslkey",
    "socket",
    "statement-cache-capacity",
];

/// How to connect, and what of it is about TLS.
pub(crate) type Options = (MySqlConnectOptions, Tls);

pub(crate) fn options_of_url(url: &str) -> Result<Options, Error> {
    let url = parsed_url(url, &URL_PARAMETERS, &["socket"])?;
    if url.url.path().trim_start_matches('/').is_empty() {
        return Err(Error::bad_url("it names no database"));
    }
    let mut options: MySqlConnectOptions = options_of(&url)?;
    if let Some(address) = &url.ipv6_address {
        options = options.host(address);
    }
    let mode = match options.get_ssl_mode() {
        MySqlSslMode::Disabled => TlsMode::Off,
        MySqlSslMode::Preferred => TlsMode::Preferred,
        MySqlSslMode::Required => TlsMode::Required,
        MySqlSslMode::VerifyCa => TlsMode::VerifyCa,
        MySqlSslMode::VerifyIdentity => TlsMode::VerifyFull,
    };
    let names = [&["ssl-ca", "sslca"][..], &["ssl-cert", "sslcert"], &["ssl-key", "sslkey"]];
    let tls = tls_of_url(&url.url, mode, names)?;
    Ok((options, tls))
}

pub(crate) fn options_of_server(server: &Server) -> Options {
    let mode = match server.tls.mode {
        TlsMode::Off => MySqlSslMode::Disabled,
        TlsMode::Preferred => MySqlSslMode::Preferred,
        TlsMode::Required => MySqlSslMode::Required,
        TlsMode::VerifyCa => MySqlSslMode::VerifyCa,
        TlsMode::VerifyFull => MySqlSslMode::VerifyIdentity,
    };
    let new = MySqlConnectOptions::new();
    let options = sqlx_options!(server, new, mode, ssl_ca, ssl_ca_from_pem);
    (options, server.tls.clone())
}
