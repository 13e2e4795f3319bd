//! The certificate and the key of the server: read again when their files change.

use crate::node::Node;
use crate::options::{StartError, TlsFiles};
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Result};
use std::path::Path;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at. What they hold counts when it has not changed since the last
/// look: whoever replaces them may have done half of it.
const LOOK: Duration = Duration::from_secs(2);
/// What is read of a file to see whether it is the same.
const LONGEST: u64 = 1024 * 1024;

/// The pair in use.
pub struct Certificates {
    files: TlsFiles,
    acceptor: RwLock<TlsAcceptor>,
    /// What the files held then.
    seen: Contents,
}

/// Hashes of the certificate and of the key; `None`: it cannot be read.
type Contents = [Option<[u8; 32]>; 2];

impl Certificates {
    pub fn load(files: &TlsFiles) -> std::result::Result<Self, StartError> {
        // Before they are read: what comes between is a change.
        let seen = contents(files);
        let acceptor = RwLock::new(files.acceptor()?);
        Ok(Certificates { files: files.clone(), acceptor, seen })
    }

    /// What makes TLS of a new connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().clone()
    }

    /// Takes a new pair when there is one. A broken one is told to the node, and the old one is kept.
    pub async fn follow(&self, node: &Node) {
        let (mut judged, mut seen) = (self.seen, self.seen);
        loop {
            sleep(LOOK).await;
            let files = self.files.clone();
            let looked = spawn_blocking(move || {
                let found = contents(&files);
                let is_new = found == seen && found != judged;
                (found, is_new.then(|| files.acceptor()))
            });
            // Nothing to be done about a look that panicked.
            let Ok((found, acceptor)) = looked.await else { continue };
            seen = found;
            match acceptor {
                None => continue,
                Some(Ok(acceptor)) => {
                    *self.acceptor.write() = acceptor;
                    node.certificates_changed(Ok(())).await;
                }
                Some(Err(error)) => node.certificates_changed(Err(error.to_string())).await,
            }
            judged = found;
        }
    }
}

fn contents(files: &TlsFiles) -> Contents {
    [hash(&files.certificate).ok(), hash(&files.key).ok()]
}

fn hash(path: &Path) -> Result<[u8; 32]> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(Sha256::digest(&bytes).into())
}
