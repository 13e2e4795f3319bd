//! The database that the node says, and the pool of connections to it.

use domain_store::{Client, Config, Driver, Endpoint, Error, Pem, Server, Store, Tls, TlsMode};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where it is, and how it may be used; checked by the node.
#[derive(Deserialize)]
pub struct Database {
    at: At,
    max_connections: u32,
    /// Milliseconds.
    query_timeout: u64,
    idle_timeout: u64,
}

/// Not the password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    Url(String),
    Server(GivenServer),
}

#[derive(Deserialize)]
struct GivenServer {
    driver: GivenDriver,
    host: String,
    port: u16,
    database: String,
    username: String,
    password: String,
    tls: GivenTls,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum GivenDriver {
    Postgres,
    Mysql,
}

#[derive(Deserialize)]
struct GivenTls {
    mode: GivenMode,
    ca: Option<GivenPem>,
    client: Option<(PathBuf, GivenPem)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum GivenMode {
    Off,
    Preferred,
    Required,
    VerifyCa,
    VerifyFull,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum GivenPem {
    File(PathBuf),
    Pem(String),
}

impl Database {
    /// Opens the pool; connects only when needed. Inside of a runtime.
    pub fn open(self) -> Result<Store, Error> {
        let endpoint = match self.at {
            At::Url(url) => Endpoint::Url(url),
            At::Server(server) => Endpoint::Server(server.into()),
        };
        Store::open(&Config {
            endpoint,
            max_connections: self.max_connections,
            query_timeout: Duration::from_millis(self.query_timeout),
            idle_timeout: Duration::from_millis(self.idle_timeout),
        })
    }
}

impl From<GivenServer> for Server {
    fn from(server: GivenServer) -> Self {
        let GivenServer { driver, host, port, database, username, password, tls } = server;
        let driver = match driver {
            GivenDriver::Postgres => Driver::Postgres,
            GivenDriver::Mysql => Driver::Mysql,
        };
        Server { driver, host, port, database, username, password, tls: tls.into() }
    }
}

impl From<GivenTls> for Tls {
    fn from(GivenTls { mode, ca, client }: GivenTls) -> Self {
        let mode = match mode {
            GivenMode::Off => TlsMode::Off,
            GivenMode::Preferred => TlsMode::Preferred,
            GivenMode::Required => TlsMode::Required,
            GivenMode::VerifyCa => TlsMode::VerifyCa,
            GivenMode::VerifyFull => TlsMode::VerifyFull,
        };
        let client = client.map(|(certificate, key)| Client { certificate, key: key.into() });
        Tls { mode, ca: ca.map(Pem::from), client }
    }
}

impl From<GivenPem> for Pem {
    fn from(pem: GivenPem) -> Self {
        match pem {
            GivenPem::File(path) => Pem::File(path),
            GivenPem::Pem(text) => Pem::Text(text),
        }
    }
}
