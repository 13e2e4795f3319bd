//! TLS to a database server: how strict, and by which files.

use crate::Error;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::{Path, PathBuf};

/// TLS to a database server.
///
/// Only the authorities in `ca` are trusted, none of the operating system's unless they are given
/// there. Versions 1.2 and 1.3.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// How strict.
    pub mode: TlsMode,
    /// The certificate authorities to trust. Of a text those that rustls cannot use are left out; a
    /// file must have no such ones.
    pub ca: Option<Pem>,
    /// Our own certificate, if the server wants one.
    pub client: Option<Client>,
}

/// How strict TLS is: each mode accepts less than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMode {
    /// No TLS.
    #[default]
    Off,
    /// If the server offers it; the server is not verified.
    Preferred,
    /// Always; the server is not verified.
    Required,
    /// The server's certificate must be by one of the authorities.
    VerifyCa,
    /// And for the host that we connect to.
    VerifyFull,
}

/// The certificate by which we show who we are, and its key.
#[derive(Clone, Debug)]
pub struct Client {
    /// A PEM file: the certificate, and those of the authorities between.
    pub certificate: PathBuf,
    /// The key, not encrypted.
    pub key: Pem,
}

/// Certificates or a key, in the format PEM.
#[derive(Clone)]
pub enum Pem {
    /// In this file, which is read again by every connection.
    File(PathBuf),
    /// This text.
    Text(String),
}

/// Not the text: it may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(path) => path.fmt(f),
            Pem::Text(_) => f.write_str("[redacted]"),
        }
    }
}

impl Tls {
    /// Checks the files, so that a wrong one is found before the first connection. They are read
    /// again by every connection: certificates are renewed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.mode >= TlsMode::VerifyCa {
            match &self.ca {
                Some(Pem::File(path)) => check_certificates(path)?,
                Some(Pem::Text(pem)) if !usable(pem).is_empty() => {}
                _ => return Err(Error::bad_option("no certificate authorities to trust")),
            }
        }
        if let Some(Client { certificate, key }) = &self.client {
            check_certificates(certificate)?;
            let key = match key {
                Pem::File(path) => PrivateKeyDer::from_pem_file(path)
                    .map_err(|error| bad_file(path, "private key", &error)),
                Pem::Text(pem) => PrivateKeyDer::from_pem_slice(pem.as_bytes())
                    .map_err(|_| Error::bad_option("the private key is not valid PEM")),
            };
            key?;
        }
        Ok(())
    }
}

fn check_certificates(path: &Path) -> Result<(), Error> {
    let bad = |error| bad_file(path, "certificate", &error);
    let mut certificates = CertificateDer::pem_file_iter(path).map_err(bad)?;
    let Some(first) = certificates.next() else {
        return Err(bad(rustls_pki_types::pem::Error::NoItemsFound));
    };
    first.map_err(bad)?;
    for certificate in certificates {
        certificate.map_err(bad)?;
    }
    Ok(())
}

/// Those certificates of a PEM text that can be trusted as authorities. A system may have others, too,
/// and one of them would be enough for sqlx to refuse every connection.
pub(crate) fn usable(pem: &str) -> String {
    let is_usable = |certificate: &&str| {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes());
        der.is_ok_and(|der| webpki::anchor_from_trusted_cert(&der).is_ok())
    };
    pem.split_inclusive("-----END CERTIFICATE-----").filter(is_usable).collect()
}

fn bad_file(path: &Path, what: &str, error: &rustls_pki_types::pem::Error) -> Error {
    use rustls_pki_types::pem::Error::{Io, NoItemsFound};
    let path = path.display();
    Error::bad_option(match error {
        Io(error) => format!("the file {path} cannot be read: {error}"),
        NoItemsFound => format!("the file {path} has no {what} in it (PEM, not encrypted)"),
        error => format!("the file {path} is not valid PEM: {error}"),
    })
}
