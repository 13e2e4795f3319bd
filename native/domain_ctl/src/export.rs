//! `export`: the domains of the database as a file.
//!
//! A file appears only when it is complete: it is written under another name first.

use crate::cli::{ExportOptions, Format, is_standard};
use crate::client::{Client, escaped};
use crate::error::Error;
use crate::output;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const BUFFER: usize = 64 * 1024;

/// Writes what was asked for.
pub fn run(options: &ExportOptions, client: &Client) -> Result<ExitCode, Error> {
    let file = &options.file;
    let Some(format) = Format::of(file, options.format) else {
        return Err(unknown_format(file));
    };
    let path = path(format, options);
    if is_standard(file) {
        let mut body = client.download(&path, format.content_type())?;
        copy(&mut body, &mut io::stdout().lock(), client, &|error| output::failed(error))?;
        return Ok(ExitCode::SUCCESS);
    }
    let target = target(file)?;
    let lines = write(&target, format, &path, client)?;
    let header = u64::from(format == Format::Csv);
    let domains = lines.saturating_sub(header);
    output::complain(format_args!("exported {domains} domains to {}", file.display()));
    Ok(ExitCode::SUCCESS)
}

/// A file whose extension says nothing.
pub fn unknown_format(file: &Path) -> Error {
    let file = file.display();
    Error::Settings(format!(
        "the name of {file} does not give its format: add --format csv or --format ndjson"
    ))
}

fn path(format: Format, options: &ExportOptions) -> String {
    let mut path = format!("/api/export?format={}", format.name());
    if let Some(host_type) = &options.host_type {
        path.push_str(&format!("&host_type={}", escaped(host_type)));
    }
    if let Some(status) = options.status {
        path.push_str(&format!("&status={}", status.name()));
    }
    path
}

/// The file to be replaced: behind a link the one that it leads to, but no device.
fn target(file: &Path) -> Result<PathBuf, Error> {
    match fs::canonicalize(file) {
        Ok(path) if path.is_file() => Ok(path),
        Ok(_) => {
            let text =
                format!("{} is not a regular file: use - for standard output", file.display());
            Err(Error::File(text))
        }
        Err(_) => Ok(file.to_owned()),
    }
}

fn write(target: &Path, format: Format, path: &str, client: &Client) -> Result<u64, Error> {
    let mut body = client.download(path, format.content_type())?;
    let part = part_of(target);
    let failed = |error: &io::Error| Error::file(target, "written", error);
    let written = File::create(&part).map_err(|error| failed(&error)).and_then(|mut file| {
        let lines = copy(&mut body, &mut file, client, &failed)?;
        file.sync_all().map_err(|error| failed(&error))?;
        fs::rename(&part, target).map_err(|error| failed(&error))?;
        Ok(lines)
    });
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// The name until it is complete: in the same directory, so that it can be renamed.
fn part_of(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    target.with_file_name(name)
}

/// Copies all of it, and counts the lines.
fn copy(
    body: &mut impl Read,
    out: &mut impl Write,
    client: &Client,
    failed: &dyn Fn(&io::Error) -> Error,
) -> Result<u64, Error> {
    let mut buffer = vec![0; BUFFER];
    let mut lines = 0;
    loop {
        let read = body.read(&mut buffer).map_err(|error| client.broken_off(&error))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        out.write_all(part).map_err(|error| failed(&error))?;
    }
    out.flush().map_err(|error| failed(&error))?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Status;

    #[test]
    fn the_filters_are_part_of_the_request() {
        let options = |host_type: Option<&str>, status| ExportOptions {
            file: "-".into(),
            format: None,
            host_type: host_type.map(str::to_owned),
            status,
        };
        assert_eq!(path(Format::Csv, &options(None, None)), "/api/export?format=csv");
        assert_eq!(
            path(Format::Ndjson, &options(Some("a&b"), Some(Status::Disabled))),
            "/api/export?format=ndjson&host_type=a%26b&status=disabled"
        );
    }

    #[test]
    fn the_part_lies_beside_the_file() {
        let part = part_of(Path::new("/x/domains.csv"));
        assert_eq!(part.parent(), Some(Path::new("/x")));
        assert!(part.file_name().unwrap().to_str().unwrap().starts_with(".domains.csv."));
        assert_eq!(part_of(Path::new("domains.csv")).parent(), Some(Path::new("")));
    }
}
