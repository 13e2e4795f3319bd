//! How to connect to PostgreSQL, by a URL or by the parts of a server.

use crate::config::{options_of, parsed_url, sqlx_options, tls_of_url};
use crate::{Error, Server, Tls, TlsMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// The parameters of a URL that sqlx knows.
const URL_PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// How to connect, and what of it is about TLS.
pub(crate) type Options = (PgConnectOptions, Tls);

pub(crate) fn options_of_url(url: &str) -> Result<Options, Error> {
    let url = parsed_url(url, &URL_PARAMETERS, &["host", "hostaddr"])?;
    let mut options: PgConnectOptions = options_of(&url)?;
    if let Some(address) = &url.ipv6_address {
        options = options.host(address);
    }
    let mode = match options.get_ssl_mode() {
        PgSslMode::Disable | PgSslMode::Allow => TlsMode::Off,
        PgSslMode::Prefer => TlsMode::Preferred,
        PgSslMode::Require => TlsMode::Required,
        PgSslMode::VerifyCa => TlsMode::VerifyCa,
        PgSslMode::VerifyFull => TlsMode::VerifyFull,
    };
    let tls = tls_of_url(&url.url, mode, [&["sslrootcert"], &["sslcert"], &["sslkey"]])?;
    Ok((options, tls))
}

pub(crate) fn options_of_server(server: &Server) -> Result<Options, Error> {
    check_environment(server)?;
    let mode = match server.tls.mode {
        TlsMode::Off => PgSslMode::Disable,
        TlsMode::Preferred => PgSslMode::Prefer,
        TlsMode::Required => PgSslMode::Require,
        TlsMode::VerifyCa => PgSslMode::VerifyCa,
        TlsMode::VerifyFull => PgSslMode::VerifyFull,
    };
    let new = PgConnectOptions::new_without_pgpass();
    let options = sqlx_options!(server, new, mode, ssl_root_cert, ssl_root_cert_from_pem);
    Ok((options, server.tls.clone()))
}

/// sqlx takes what is not configured from libpq's variables, and cannot be told not to.
fn check_environment(server: &Server) -> Result<(), Error> {
    let leaks = |variable: &&&str| std::env::var_os(variable).is_some();
    let mut variables = vec!["PGOPTIONS"];
    if server.tls.client.is_none() {
        variables.extend(["PGSSLCERT", "PGSSLKEY"]);
    }
    if server.password.is_empty() {
        variables.push("PGPASSWORD");
    }
    match variables.iter().find(leaks) {
        Some(variable) => Err(Error::bad_option(format!(
            "the environment variable {variable} would change the connection to the database: \
             start the node without it"
        ))),
        None => Ok(()),
    }
}
