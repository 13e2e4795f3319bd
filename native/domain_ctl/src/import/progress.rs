//! `FILE.progress`: how far the import of a file is, so that a repeated command goes on there.

use super::answer::Counts;
use crate::cli::Format;
use domain_records::Position;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What is imported where. If it is another, the progress is of another import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    server: String,
    format: String,
    /// Of the file, in bytes.
    size: u64,
    /// When it was changed last: seconds and nanoseconds since 1970.
    modified: (u64, u32),
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    of: Identity,
    lines: u64,
    bytes: u64,
    pub counts: Counts,
    /// How long it took so far.
    pub seconds: f64,
    /// The file of rejected lines, and how much of it belongs to what is done.
    pub rejects: Option<(PathBuf, u64)>,
}

/// The file beside the imported one.
pub struct ProgressFile {
    path: PathBuf,
    identity: Identity,
}

/// What the file says at the beginning.
#[derive(Debug, PartialEq)]
pub enum Found {
    Nothing,
    /// Progress of another import.
    Another,
    Progress(Progress),
}

impl Progress {
    /// Where to go on.
    pub fn offset(&self) -> Position {
        Position { lines: self.lines, bytes: self.bytes }
    }
}

impl ProgressFile {
    /// Of this file, as it is now.
    pub fn new(file: &Path, metadata: &Metadata, format: Format, server: &str) -> io::Result<Self> {
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let identity = Identity {
            server: server.to_owned(),
            format: format.name().to_owned(),
            size: metadata.len(),
            modified: (modified.as_secs(), modified.subsec_nanos()),
        };
        Ok(ProgressFile { path: with_suffix(file, ".progress"), identity })
    }

    /// What an earlier run left.
    pub fn read(&self) -> Found {
        let Ok(text) = fs::read(&self.path) else { return Found::Nothing };
        match serde_json::from_slice::<Progress>(&text) {
            Ok(progress) if progress.of == self.identity => Found::Progress(progress),
            _ => Found::Another,
        }
    }

    /// Notes how far it is, in one step.
    pub fn write(
        &self,
        offset: Position,
        counts: Counts,
        seconds: f64,
        rejects: Option<(PathBuf, u64)>,
    ) -> io::Result<()> {
        let of = self.identity.clone();
        let Position { lines, bytes } = offset;
        let progress = Progress { of, lines, bytes, counts, seconds, rejects };
        let new = with_suffix(&self.path, ".new");
        fs::write(&new, serde_json::to_vec(&progress)?)?;
        fs::rename(&new, &self.path)
    }

    /// The import is at its end, or begins anew.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    const SERVER: &str = "http://127.0.0.1:8088";

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("domain_ctl_{name}_{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn progress_file(file: &Path, format: Format, server: &str) -> ProgressFile {
        ProgressFile::new(file, &fs::metadata(file).unwrap(), format, server).unwrap()
    }

    #[test]
    fn progress_is_found_again_only_for_the_same_import() {
        let directory = directory("progress");
        let file = directory.join("a.csv");
        fs::write(&file, "a,t\nb,t\n").unwrap();
        let before = progress_file(&file, Format::Csv, SERVER);
        assert_eq!(before.read(), Found::Nothing);

        let offset = Position { lines: 1, bytes: 4 };
        let counts = Counts { lines: 1, added: 1, ..Counts::default() };
        let rejects = Some((PathBuf::from("rejects.csv"), 17));
        before.write(offset, counts, 1.5, rejects.clone()).unwrap();
        let Found::Progress(found) = progress_file(&file, Format::Csv, SERVER).read() else {
            panic!("no progress")
        };
        assert_eq!((found.offset(), found.counts, found.seconds), (offset, counts, 1.5));
        assert_eq!(found.rejects, rejects);

        assert_eq!(progress_file(&file, Format::Csv, "http://other").read(), Found::Another);
        assert_eq!(progress_file(&file, Format::Ndjson, SERVER).read(), Found::Another);
        let later = SystemTime::now() + Duration::from_secs(5);
        File::options().append(true).open(&file).unwrap().set_modified(later).unwrap();
        let after = progress_file(&file, Format::Csv, SERVER);
        assert_eq!(after.read(), Found::Another);

        fs::write(directory.join("a.csv.progress"), "{").unwrap();
        assert_eq!(after.read(), Found::Another);
        after.remove();
        assert_eq!(after.read(), Found::Nothing);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }
}
