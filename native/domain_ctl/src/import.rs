//! `import`: many domains from a file, by many requests, one after the other.
//!
//! The server answers each request with how many of its first lines are done. So what is done is
//! always the beginning of the file, and everything goes on behind it: the next request, a repeated
//! one after a failure, and, by `FILE.progress`, a repeated command.

mod answer;
mod chunk;
mod display;
mod progress;
mod rejects;

use crate::cli::{Format, ImportOptions, is_standard};
use crate::client::Client;
use crate::error::Error;
use crate::export::unknown_format;
use crate::output::{self, printable};
use answer::{Answer, Counts, End};
use chunk::{Chunk, Chunks};
use display::{Display, rate};
use domain_records::{Columns, Position};
use progress::{Found, Progress, ProgressFile};
use rejects::Rejects;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Seconds to wait before each repetition of a request: a minute in all.
const WAITS: [u64; 6] = [1, 2, 4, 8, 16, 30];
/// The exit code if lines were rejected.
const REJECTED: u8 = 2;

/// Where the lines go to.
struct Target<'a> {
    client: &'a Client,
    path: String,
    content_type: &'static str,
}

/// Where the lines come from.
#[derive(Default)]
struct Source {
    size: u64,
    progress_file: Option<ProgressFile>,
    /// What an earlier run has done.
    earlier: Option<Progress>,
    /// The heading of its rejected lines, if they need one.
    heading: Option<String>,
}

type Input = Chunks<Box<dyn Read>>;

/// An import that runs.
struct Import<'a> {
    options: &'a ImportOptions,
    target: Target<'a>,
    progress_file: Option<ProgressFile>,
    rejects: Rejects,
    display: Display,
    counts: Counts,
    offset: Position,
    lag: Option<u64>,
    began: Instant,
    /// How long an earlier run took.
    before: Duration,
}

/// Imports a file.
pub fn run(options: &ImportOptions, client: &Client) -> Result<ExitCode, Error> {
    let Some(format) = Format::of(&options.file, options.format) else {
        return Err(unknown_format(&options.file));
    };
    check_rejects(options)?;
    let target = Target::new(client, format, options.dry_run);
    // Is the server there, and does it let us? Else nothing is begun.
    target.send(&Chunk::default())?;
    let (source, mut chunks) = Source::open(options, format, client.server())?;
    let mut import = Import::new(options, target, source)?;
    while let Some(chunk) = chunks.next_chunk().map_err(|error| unreadable(options, &error))? {
        import.send_all(chunk)?;
    }
    import.finish()
}

fn unreadable(options: &ImportOptions, error: &io::Error) -> Error {
    Error::file(&options.file, "read", error)
}

/// The rejected lines must not replace the file itself.
fn check_rejects(options: &ImportOptions) -> Result<(), Error> {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let rejects = options.rejects.as_deref().and_then(real);
    if rejects.is_some() && rejects == real(&options.file) {
        let text = "--rejects names the imported file: name another file";
        return Err(Error::Settings(text.to_owned()));
    }
    Ok(())
}

impl<'a> Target<'a> {
    fn new(client: &'a Client, format: Format, dry_run: bool) -> Self {
        let path = format!("/api/import?dry_run={dry_run}");
        Target { client, path, content_type: format.content_type() }
    }

    fn send(&self, chunk: &Chunk) -> Result<Answer, Error> {
        let body = chunk.body();
        let answer = self.client.upload(&self.path, self.content_type, body.as_bytes())?;
        Ok(Answer::read(answer, domain_records::count_lines(body.as_bytes())))
    }
}

impl Source {
    /// Opens it where an earlier run ended, if there was one. All of it is looked through first: what no
    /// file of domains has is to be known before anything is done.
    fn open(options: &ImportOptions, format: Format, server: &str) -> Result<(Self, Input), Error> {
        let path = &options.file;
        let failed = |error: io::Error| unreadable(options, &error);
        let (mut file, is_copy) = open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let columns = look_through(&file, format).map_err(failed)?;
        // Standard input cannot be gone on with, and a dry run does nothing that could be.
        let progress_file = match is_copy || options.dry_run {
            true => None,
            false => Some(ProgressFile::new(path, &metadata, format, server).map_err(failed)?),
        };
        let earlier = progress_file.as_ref().and_then(|file| earlier(file, options));
        let begin = earlier.as_ref().map(Progress::offset).unwrap_or_default();
        file.seek(SeekFrom::Start(begin.bytes)).map_err(failed)?;
        let heading = columns.as_ref().map(Columns::heading);
        let heading = heading.filter(|heading| *heading != Columns::default().heading());
        let source = Source { size: metadata.len(), progress_file, earlier, heading };
        let reader: Box<dyn Read> = Box::new(file);
        let chunks = match begin == Position::default() {
            true => Chunks::new(reader, format.of_records()),
            false => Chunks::resume(reader, format.of_records(), columns, begin),
        };
        Ok((source, chunks))
    }
}

/// Opens a file; of standard input, a pipe or a device, which can be read only once, a copy. Returns
/// whether it is one.
fn open(path: &Path) -> io::Result<(File, bool)> {
    if is_standard(path) {
        return Ok((copy(io::stdin().lock())?, true));
    }
    let file = File::open(path)?;
    match file.metadata()?.is_file() {
        true => Ok((file, false)),
        false => Ok((copy(file)?, true)),
    }
}

fn copy(mut input: impl Read) -> io::Result<File> {
    let copied = domain_records::nameless_file().and_then(|mut file| {
        io::copy(&mut input, &mut file)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    });
    copied.map_err(|error| {
        io::Error::other(format!("cannot copy it to {}: {error}", std::env::temp_dir().display()))
    })
}

/// Reads all of it; returns its columns, if it is CSV and not empty.
fn look_through(file: &File, format: Format) -> io::Result<Option<Columns>> {
    let mut chunks = Chunks::new(file, format.of_records());
    while chunks.next_chunk()?.is_some() {}
    Ok(chunks.columns().cloned())
}

/// What an earlier run has done, if it is to be gone on with. Says what it decides.
fn earlier(progress_file: &ProgressFile, options: &ImportOptions) -> Option<Progress> {
    let file = options.file.display();
    if options.from_start {
        progress_file.remove();
        return None;
    }
    match progress_file.read() {
        Found::Nothing => None,
        Found::Another => {
            output::complain(format_args!(
                "{file}.progress belongs to another import: starting at the first line"
            ));
            progress_file.remove();
            None
        }
        Found::Progress(progress) => {
            let done = progress.offset().lines;
            output::complain(format_args!("resuming after line {done} of {file}"));
            say_where_rejects_are(&progress, options);
            Some(progress)
        }
    }
}

/// Earlier rejected lines do not come again.
fn say_where_rejects_are(progress: &Progress, options: &ImportOptions) {
    let earlier = progress.rejects.as_ref().map(|(path, _)| path);
    let rejected = progress.counts.rejected;
    if rejected > 0 && options.rejects.is_some() && earlier != options.rejects.as_ref() {
        let place = earlier.map_or("no file".to_owned(), |path| path.display().to_string());
        output::complain(format_args!("the {rejected} lines rejected before that are in {place}"));
    }
}

impl<'a> Import<'a> {
    fn new(
        options: &'a ImportOptions,
        target: Target<'a>,
        Source { size, progress_file, earlier, heading }: Source,
    ) -> Result<Self, Error> {
        let earlier = earlier.as_ref();
        let offset = earlier.map(Progress::offset).unwrap_or_default();
        let done = earlier.and_then(|earlier| earlier.rejects.as_ref());
        let seconds = earlier.map_or(0.0, |earlier| earlier.seconds);
        let mut rejects = Rejects::new(options.rejects.as_deref(), done)?;
        rejects.begin(&heading.unwrap_or_default())?;
        Ok(Import {
            options,
            target,
            progress_file,
            rejects,
            display: Display::new(size, offset),
            counts: earlier.map(|earlier| earlier.counts).unwrap_or_default(),
            offset,
            lag: None,
            began: Instant::now(),
            before: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        })
    }

    /// Sends a chunk until all of it is done.
    fn send_all(&mut self, mut chunk: Chunk) -> Result<(), Error> {
        let mut waits = WAITS.iter();
        while chunk.len() > 0 {
            if !chunk.has_body() {
                self.take(&mut chunk, Answer::default())?;
                continue;
            }
            let (done, failure) = match self.target.send(&chunk) {
                Ok(answer) => self.take(&mut chunk, answer)?,
                Err(error) => (0, Some(error)),
            };
            let Some(error) = failure else { continue };
            if done > 0 {
                waits = WAITS.iter();
            }
            match waits.next() {
                Some(seconds) if error.may_pass() => {
                    self.display.say(&format!("{}; retrying in {seconds} s", error.brief()));
                    std::thread::sleep(Duration::from_secs(*seconds));
                }
                _ => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    /// Takes what is done out of the chunk, and notes it; returns how many records, and the failure.
    fn take(&mut self, chunk: &mut Chunk, answer: Answer) -> Result<(usize, Option<Error>), Error> {
        let done = chunk.records_in(answer.done);
        let by_server = answer.rejected.iter();
        let mut rejected: Vec<_> = by_server
            .filter_map(|rejected| chunk.rejected(rejected.line, &rejected.reason))
            .chain(chunk.not_sent(done))
            .collect();
        rejected.sort_by_key(|rejected| rejected.number);
        for rejected in rejected {
            let shown = self.rejects.add(rejected.line, rejected.reason, rejected.text)?;
            if let Some(text) = shown {
                self.display.say(&text);
            }
        }
        let counts = Counts {
            lines: done as u64,
            rejected: answer.counts.rejected + chunk.not_sent(done).count() as u64,
            ..answer.counts
        };
        self.counts.add(&counts);
        if let Some(offset) = chunk.drop_first(done) {
            self.offset = offset;
            self.note();
            self.display.advance(counts.lines, offset);
        }
        let failure = match answer.end {
            End::Done(lag) => {
                self.lag = lag;
                None
            }
            End::Failed(what) => Some(Error::Refused { status: 500, what: printable(&what) }),
            End::BrokenOff(error) => Some(self.target.client.broken_off(&error)),
            End::Unexpected(text) => Some(self.target.client.unexpected(printable(&text))),
        };
        Ok((done, failure))
    }

    /// If it cannot be noted, the import goes on.
    fn note(&mut self) {
        let Some(file) = &self.progress_file else { return };
        let rejects = self.rejects.written();
        let seconds = self.time().as_secs_f64();
        if let Err(error) = file.write(self.offset, self.counts, seconds, rejects) {
            let file = self.options.file.display();
            self.display.say(&format!(
                "Warning: {file}.progress cannot be written: {error}; if the import is \
                 interrupted, it has to start again at the first line"
            ));
            self.progress_file = None;
        }
    }

    fn time(&self) -> Duration {
        self.before + self.began.elapsed()
    }

    fn failed(&self, cause: Error) -> Error {
        let done = self.offset.lines;
        let repeat = "repeat the command";
        let advice = match &self.progress_file {
            _ if done == 0 => format!("no line is done yet: {repeat}"),
            _ if self.options.dry_run => repeat.to_owned(),
            Some(_) => {
                let file = self.options.file.display();
                format!("{done} lines of {file} are done: {repeat} to resume after them")
            }
            None => {
                format!("{done} lines are done: {repeat}; what is done already stays as it is")
            }
        };
        Error::Import { cause: Box::new(cause), advice }
    }

    fn finish(self) -> Result<ExitCode, Error> {
        if let Some(file) = &self.progress_file {
            file.remove();
        }
        let summary = summary(&self.counts, self.time(), self.lag, self.options.dry_run);
        let rejected = self.counts.rejected;
        let rejects = self.options.rejects.as_ref();
        // The bar goes first.
        drop(self.display);
        output::line(summary)?;
        match rejects {
            Some(path) if rejected > 0 => say_how_to_go_on(path),
            _ => (),
        }
        Ok(ExitCode::from(if rejected > 0 { REJECTED } else { 0 }))
    }
}

fn say_how_to_go_on(rejects: &Path) {
    output::complain(format_args!(
        "the rejected lines are in {}: correct them there and import that file",
        rejects.display()
    ));
}

fn summary(counts: &Counts, time: Duration, lag: Option<u64>, dry_run: bool) -> String {
    let Counts { lines, added, changed, unchanged, rejected } = counts;
    let title = if dry_run { "dry run, nothing is changed\n" } else { "" };
    let lag = lag.map_or("unknown".to_owned(), |lag| lag.to_string());
    format!(
        "{title}\
         lines      {lines}\n\
         added      {added}\n\
         changed    {changed}\n\
         unchanged  {unchanged}\n\
         rejected   {rejected}\n\
         time       {:.1} s, {:.0} lines/s\n\
         lag        {lag}",
        time.as_secs_f64(),
        rate(*lines, time)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_everything() {
        let counts = Counts { lines: 10, added: 4, changed: 3, unchanged: 2, rejected: 1 };
        let text = "lines      10\nadded      4\nchanged    3\nunchanged  2\nrejected   1\n\
                    time       2.0 s, 5 lines/s\nlag        3";
        assert_eq!(summary(&counts, Duration::from_secs(2), Some(3), false), text);
        let dry = summary(&counts, Duration::from_secs(2), None, true);
        assert!(dry.starts_with("dry run, nothing is changed\nlines      10\n"), "{dry}");
        assert!(dry.ends_with("\nlag        unknown"), "{dry}");
    }

    #[test]
    fn repetitions_take_about_a_minute() {
        assert_eq!(WAITS.iter().sum::<u64>(), 61);
    }
}
