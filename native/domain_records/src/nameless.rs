//! Files without a name.

use std::fs::{self, File};
use std::io;

/// A file that is gone when it is closed, whatever ends this program, in the directory for temporary
/// files. Nobody else can open it. Not by the crate `tempfile`: it would have sqlx compiled twice, see
/// `test_database`.
pub fn nameless_file() -> io::Result<File> {
    let name = format!("mongoose_domain_{:032x}", fastrand::u128(..));
    let path = std::env::temp_dir().join(name);
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}
