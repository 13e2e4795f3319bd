//! The options of the server, and what can be wrong with them.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ServerConfig};

/// The options as the node gives them.
#[derive(Deserialize)]
pub struct Given {
    /// The node's own name.
    pub node: String,
    ip_address: String,
    port: u16,
    username: Option<String>,
    password: Option<String>,
    certfile: Option<PathBuf>,
    keyfile: Option<PathBuf>,
    /// The most memory that the program may have, in MiB.
    pub memory_limit: u64,
}

/// Not the password.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Where the server listens, and whom it lets in.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port 0: any that is free; see [`crate::Server::address`].
    pub address: SocketAddr,
    /// Without them everybody is let in: only on a loopback address.
    pub credentials: Option<Credentials>,
    /// Without them it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// Who is let in.
#[derive(Clone)]
pub struct Credentials {
    /// The name, without a colon.
    pub username: String,
    /// The password.
    pub password: String,
}

/// Not the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// PEM files of the server.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Its certificate, and those of the authorities between.
    pub certificate: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
}

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Everybody could use it.
    #[error(
        "everybody could use the server at {0}: set a username and a password, or listen on a \
         loopback address such as 127.0.0.1"
    )]
    Open(SocketAddr),
    /// An option cannot be used.
    #[error("{0}")]
    Option(String),
    /// The address cannot be had.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
    /// A file for TLS is missing or wrong.
    #[error("{0}")]
    Tls(String),
    /// The database cannot be opened.
    #[error("{0}")]
    Database(domain_store::Error),
    /// Something inside.
    #[error("{0}")]
    Other(String),
}

impl StartError {
    /// Its name for programs: is the configuration wrong, or the moment?
    pub fn reason(&self) -> &'static str {
        match self {
            StartError::Open(_) | StartError::Option(_) | StartError::Tls(_) => "bad_http_option",
            StartError::Database(error) => error.kind().name(),
            StartError::Bind(..) | StartError::Other(_) => "http_failed",
        }
    }
}

impl TryFrom<Given> for Options {
    type Error = StartError;

    fn try_from(given: Given) -> Result<Self, StartError> {
        let Given { ip_address, port, username, password, certfile, keyfile, .. } = given;
        let ip_address: IpAddr = ip_address.parse().map_err(|_| {
            option(&format!("ip_address '{ip_address}' is not an IP address such as 127.0.0.1"))
        })?;
        let both = |what: &str| option(&format!("{what} must be set both or not at all"));
        let credentials = match (username, password) {
            (Some(username), Some(password)) => Some(Credentials { username, password }),
            (None, None) => None,
            _ => return Err(both("username and password")),
        };
        let tls = match (certfile, keyfile) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            _ => return Err(both("tls.certfile and tls.keyfile")),
        };
        Ok(Options { address: SocketAddr::new(ip_address, port), credentials, tls })
    }
}

fn option(text: &str) -> StartError {
    StartError::Option(text.to_owned())
}

impl Options {
    /// Checks everything but the address.
    pub fn check(&self) -> Result<(), StartError> {
        match &self.credentials {
            None if !self.address.ip().is_loopback() => {
                return Err(StartError::Open(self.address));
            }
            Some(Credentials { username, .. }) if username.is_empty() => {
                return Err(option("username must not be empty"));
            }
            Some(Credentials { username, .. }) if username.contains(':') => {
                return Err(option("username must not contain a colon"));
            }
            Some(Credentials { password, .. }) if password.is_empty() => {
                return Err(option("password must not be empty"));
            }
            _ => {}
        }
        self.tls.as_ref().map_or(Ok(()), |files| files.acceptor().map(drop))
    }
}

impl TlsFiles {
    /// What makes TLS of a connection, by what the files hold now.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, StartError> {
        let wrong =
            |path: &Path, text: String| StartError::Tls(format!("{}: {text}", path.display()));
        let of_certificate = |text: String| wrong(&self.certificate, text);
        let chain = CertificateDer::pem_file_iter(&self.certificate);
        let chain = chain.and_then(|pem| pem.collect::<Result<Vec<_>, _>>());
        let chain = chain.map_err(|error| of_certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(of_certificate("there is no certificate in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|error| wrong(&self.key, error.to_string()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(chain, key));
        let config = config.map_err(|error: rustls::Error| of_certificate(error.to_string()))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
