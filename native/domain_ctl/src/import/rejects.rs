//! Where rejected lines go: into a file, or the first of them to standard error.
//!
//! In the file each line stands as it was, behind a line with the reason, which an import skips.

use crate::error::Error;
use crate::output::printable;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// So many are shown if there is no file.
const SHOWN: usize = 20;

pub enum Rejects {
    Shown { left: usize },
    Written { path: PathBuf, file: File },
}

impl Rejects {
    /// With `done` the file of an interrupted import, as far as it was right: it is gone on with.
    pub fn new(path: Option<&Path>, done: Option<&(PathBuf, u64)>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Rejects::Shown { left: SHOWN }) };
        let done = done.filter(|(earlier, _)| earlier == path).map_or(0, |(_, bytes)| *bytes);
        let file = open(path, done).map_err(|error| Error::file(path, "written", &error))?;
        Ok(Rejects::Written { path: path.to_owned(), file })
    }

    /// Takes a line with its number in the file; what it returns is to be shown.
    pub fn add(&mut self, number: u64, reason: &str, line: &str) -> Result<Option<String>, Error> {
        let reason = printable(reason);
        match self {
            Rejects::Shown { left: 0 } => Ok(None),
            Rejects::Shown { left } => {
                *left -= 1;
                let line = printable(line);
                Ok(Some(format!("line {number}: {reason}: {line}")))
            }
            Rejects::Written { path, file } => {
                let entry = format!("# line {number}: {reason}\n{line}\n");
                file.write_all(entry.as_bytes())
                    .map_err(|error| Error::file(path, "written", &error))?;
                Ok(None)
            }
        }
    }

    /// Begins the file with the heading that its records need.
    pub fn begin(&mut self, heading: &str) -> Result<(), Error> {
        let Rejects::Written { path, file } = self else { return Ok(()) };
        let written = match file.stream_position() {
            Ok(1..) => Ok(()),
            // Pipes have no position.
            _ => file.write_all(heading.as_bytes()),
        };
        written.map_err(|error| Error::file(path, "written", &error))
    }

    /// The file, and how much is in it.
    pub fn written(&mut self) -> Option<(PathBuf, u64)> {
        match self {
            Rejects::Shown { .. } => None,
            Rejects::Written { path, file } => {
                file.stream_position().ok().map(|bytes| (path.clone(), bytes))
            }
        }
    }
}

/// Keeps so many bytes of the file, if it has them.
fn open(path: &Path, keep: u64) -> io::Result<File> {
    let mut file = File::options().create(true).write(true).truncate(false).open(path)?;
    let metadata = file.metadata()?;
    // A device or a pipe has nothing to keep.
    if metadata.is_file() {
        let keep = if metadata.len() >= keep { keep } else { 0 };
        file.set_len(keep)?;
        file.seek(SeekFrom::Start(keep))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_the_first_are_shown() {
        let mut rejects = Rejects::new(None, None).unwrap();
        for number in 1..=20 {
            let shown = rejects.add(number, "invalid domain name", "\x1b,t").unwrap();
            assert_eq!(shown, Some(format!("line {number}: invalid domain name: \\u{{1b}},t")));
        }
        assert_eq!(rejects.add(21, "reason", "x,t").unwrap(), None);
    }

    #[test]
    fn a_file_is_gone_on_with_where_the_import_goes_on() {
        let path = std::env::temp_dir().join(format!("domain_ctl_rejects_{}", std::process::id()));
        let mut rejects = Rejects::new(Some(&path), None).unwrap();
        assert_eq!(rejects.add(17, "domain is static", "a,t").unwrap(), None);
        let noted = rejects.written().unwrap();
        rejects.add(18, "not noted", "b,t").unwrap();

        let mut rejects = Rejects::new(Some(&path), Some(&noted)).unwrap();
        rejects.add(18, "duplicate", "b,t").unwrap();
        let expected = b"# line 17: domain is static\na,t\n# line 18: duplicate\nb,t\n";
        assert_eq!(fs::read(&path).unwrap(), expected);

        let elsewhere = (PathBuf::from("elsewhere"), noted.1);
        Rejects::new(Some(&path), Some(&elsewhere)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        Rejects::new(Some(&path), Some(&noted)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"", "shorter than noted");
        fs::remove_file(path).unwrap();
    }
}
