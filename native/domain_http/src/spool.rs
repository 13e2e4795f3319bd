//! Files on disk, for what is to be whole before anything is done with it: an export before it is sent, an
//! import before it is written.

use axum::body::Bytes;
use futures_util::Stream;
use std::io::{self, SeekFrom};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The bytes that are read at a time.
const PIECE: usize = 64 * 1024;
/// How long a request waits for its place.
const PLACE_LIMIT: Duration = Duration::from_secs(5);

/// A file, and its place among those that may be there at a time.
pub struct Spool {
    file: File,
    length: u64,
    _place: SemaphorePermit<'static>,
}

impl Spool {
    /// An empty one. `None`: there is no place.
    pub async fn new(places: &'static Semaphore) -> Option<io::Result<Self>> {
        let place = timeout(PLACE_LIMIT, places.acquire()).await.ok()?.ok()?;
        let file = domain_records::nameless_file().map(File::from_std);
        Some(file.map(|file| Spool { file, length: 0, _place: place }))
    }

    /// So many bytes are in it.
    pub fn length(&self) -> u64 {
        self.length
    }

    pub async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.length += piece.len() as u64;
        self.file.write_all(piece).await
    }

    /// All of it, piece by piece.
    pub async fn read(
        mut self,
    ) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + Unpin> {
        self.file.flush().await?;
        self.file.seek(SeekFrom::Start(0)).await?;
        Ok(Box::pin(futures_util::stream::try_unfold(self, |mut spool| async move {
            let mut piece = vec![0; PIECE];
            let length = spool.file.read(&mut piece).await?;
            piece.truncate(length);
            Ok((length > 0).then(|| (piece.into(), spool)))
        })))
    }
}

/// What to say when a file cannot be kept.
pub fn failed(what: &str, error: &io::Error) -> String {
    format!("the {what} cannot be stored in {}: {error}", std::env::temp_dir().display())
}
