//! Many domains at once: `/api/import`.
//!
//! An import keeps its body in a file and looks through it as it comes, so that what no file of domains
//! has is known before anything is done. Then it writes it in transactions of [`RECORDS`] records, each
//! with the events of what it changed. The same record again changes nothing, so an import that was
//! interrupted is repeated as it is. It goes straight to the database, not by the node's
//! `mongoose_domain_api`: nothing is removed by it, so there are no handlers to run.

use crate::admin::{Admin, prepared};
use crate::error::{Error, ErrorBody};
use crate::lag::Lag;
use crate::node::Refusal;
use crate::query::query;
use crate::spool::{self, Spool};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use domain_records::{Format, Item, MediaType, Reader, Record, Unreadable};
use domain_store::{ErrorKind, Operation, Outcome, Row};
use domain_table::{check_text, is_prepared};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

/// The records of a transaction, or fewer if they have so many bytes.
const RECORDS: usize = 1_000;
const BYTES: usize = 1024 * 1024;
/// How long a client may take for the next piece of a body, and how long a body is.
const PIECE_LIMIT: Duration = Duration::from_secs(30);
const BODY_LIMIT: u64 = 1024 * 1024 * 1024;
/// So many imports are there at a time.
static PLACES: Semaphore = Semaphore::const_new(8);
/// How often the database is asked, and how long after the last time.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// An import waits while its own node is so many events behind, but not for ever: a node that cannot
/// follow must not stop it.
const LAG: u64 = 20_000;
const LAG_LIMIT: Duration = Duration::from_secs(10);

pub fn routes() -> Router<Arc<Admin>> {
    Router::new().route("/api/import", post(import))
}

/// How to import.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ImportQuery {
    /// Say what would be done, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// A line of an answer to an import.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Line {
    Rejected(Rejected),
    /// Everything up to here is done.
    Progress(Counts),
    /// The last line, when everything is done.
    Done(Done),
    /// The last line, when the rest is not done.
    Error(Failed),
}

/// A record that cannot be imported.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Rejected {
    /// The number of its line in the body, from 1; of its first one, if it has line feeds in it.
    line: u64,
    text: String,
    reason: String,
}

/// What was done with the lines so far.
#[derive(Debug, Clone, Copy, Default, Serialize, utoipa::ToSchema)]
struct Counts {
    /// All lines of the body, a heading and empty ones, too.
    lines: u64,
    added: u64,
    changed: u64,
    unchanged: u64,
    rejected: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Done {
    #[serde(flatten)]
    counts: Counts,
    /// How many events this node is behind.
    lag: Option<u64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Failed {
    what: String,
    /// So many lines are done.
    lines: u64,
}

/// Adds many domains, or enables and disables them.
///
/// `text/csv`: records `domain,host_type` or `domain,host_type,status`; a heading may give another
/// order. `application/x-ndjson`: lines `{"domain": …, "host_type": …, "status": …}`. In UTF-8. The
/// status is `enabled` or `disabled`. A domain that is there with the same host type gets the status,
/// or is left alone by a record without one; a new one is enabled then.
///
/// Lines that are empty or begin with `# ` are passed over. A column or a key that is not known ends
/// the import with an error before anything is done; so the body is read as a whole first.
#[utoipa::path(post, path = "/api/import", tag = "bulk",
    params(ImportQuery),
    request_body(content(
        (String = "text/csv", example = "domain,host_type,status\nexample.com,type1,enabled\n"),
        (String = "application/x-ndjson"))),
    responses(
        (status = 200, body = Line, content_type = "application/x-ndjson", description = "lines, as \
            they are done; the last one has `done` or `error`"),
        (status = 400, body = ErrorBody, description = "`invalid query`, `unknown query parameter …`"),
        (status = 403, body = ErrorBody, description = "`service disabled`"),
        (status = 415, body = ErrorBody, description = "`Content-Type must be text/csv or \
            application/x-ndjson`; another charset than UTF-8; a `Content-Encoding`"),
        (status = 500, body = ErrorBody, description = "the body cannot be stored in the directory \
            for temporary files"),
        (status = 503, body = ErrorBody, description = "`too many imports are in progress: try \
            again`")))]
async fn import(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let ImportQuery { dry_run } = query(&uri, &["dry_run"])?;
    let format = format_of(&headers)?;
    if admin.node.store().is_none() {
        return Err(Refusal::DISABLED.into());
    }
    let (answers, receiver) = mpsc::channel(64);
    let busy = || Refusal::busy("imports");
    let file = Spool::new(&PLACES).await.ok_or_else(busy)?.map_err(|error| {
        Error::new(StatusCode::INTERNAL_SERVER_ERROR, spool::failed("import", &error))
    })?;
    let import = Import {
        admin,
        reader: Reader::new(format),
        dry_run,
        counts: Counts::default(),
        items: Vec::new(),
        bytes: 0,
        answers,
    };
    tokio::spawn(import.run(format, file, body.into_data_stream()));
    let lines = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|line| (line, receiver))
    });
    let headers = [(header::CONTENT_TYPE, Format::Ndjson.media_type())];
    Ok((headers, Body::from_stream(lines)).into_response())
}

fn format_of(headers: &HeaderMap) -> Result<Format, Error> {
    let refused = |what: String| Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what);
    let value = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(encoding) = value(header::CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case("identity")
    {
        let what =
            format!("Content-Encoding {encoding} is not supported: send the file uncompressed");
        return Err(refused(what));
    }
    Format::of_media_type(&value(header::CONTENT_TYPE).unwrap_or_default()).map_err(|it| match it {
        MediaType::Charset => {
            refused("the charset must be UTF-8: save the file as UTF-8".to_owned())
        }
        MediaType::Other => {
            refused("Content-Type must be text/csv or application/x-ndjson".to_owned())
        }
    })
}

/// An import that runs.
struct Import {
    admin: Arc<Admin>,
    reader: Reader,
    dry_run: bool,
    counts: Counts,
    /// What is not done yet, and the bytes of it.
    items: Vec<Item>,
    bytes: usize,
    answers: mpsc::Sender<io::Result<Bytes>>,
}

/// Why an import ends early.
enum Stop {
    /// The client is gone.
    Gone,
    Failed(String),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Failed(Error::from(refusal).what)
    }
}

impl From<Unreadable> for Stop {
    fn from(error: Unreadable) -> Self {
        Stop::Failed(error.to_string())
    }
}

/// A record that may be imported, with its number and text.
type Numbered = (u64, String, Row);

impl Import {
    async fn run<E>(
        mut self,
        format: Format,
        mut file: Spool,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) {
        let done = match keep(body, &mut file, Reader::new(format), BODY_LIMIT).await {
            Ok(()) => self.read(file).await,
            Err(stop) => Err(stop),
        };
        let last = match done {
            Ok(()) => Line::Done(Done { counts: self.counts, lag: self.lag().await }),
            Err(Stop::Gone) => return,
            Err(Stop::Failed(what)) => Line::Error(Failed { what, lines: self.counts.lines }),
        };
        // Nobody there to be told.
        let _ = self.say(&last).await;
    }

    async fn read(&mut self, file: Spool) -> Result<(), Stop> {
        let mut pieces = file.read().await.map_err(|error| kept(&error))?;
        loop {
            let piece = pieces.next().await.transpose().map_err(|error| kept(&error))?;
            let is_last = piece.is_none();
            match piece {
                Some(piece) => self.reader.push(&piece),
                None => self.reader.finish(),
            }
            while let Some(item) = self.reader.next_item()? {
                self.bytes += item.text.len();
                self.items.push(item);
                if self.items.len() == RECORDS || self.bytes >= BYTES {
                    self.write().await?;
                }
            }
            if is_last {
                break;
            }
        }
        if !self.items.is_empty() {
            self.write().await?;
        }
        self.counts.lines = self.reader.position().lines;
        Ok(())
    }

    /// Does the records that were read.
    async fn write(&mut self) -> Result<(), Stop> {
        let mut counts = Counts { lines: self.reader.position().lines, ..self.counts };
        let (mut read, mut rejected) = (Vec::new(), Vec::new());
        self.bytes = 0;
        let items = std::mem::take(&mut self.items);
        let never_route = self.never_routing(&items).await?;
        for Item { line, text, record } in items {
            match record.and_then(|record| row(record, &never_route)) {
                Ok(row) => read.push((line, text, row)),
                Err(reason) => rejected.push(Rejected { line, text, reason }),
            }
        }
        let (mut rows, mut domains) = (Vec::new(), HashSet::new());
        for (line, text, row) in self.take_known(read, &mut rejected).await? {
            if !domains.insert(row.domain.clone()) {
                // Twice in one transaction: the later one counts, as in two of them.
                self.put(&mut rows, &mut counts, &mut rejected).await?;
                domains = HashSet::from([row.domain.clone()]);
            }
            rows.push((line, text, row));
        }
        self.put(&mut rows, &mut counts, &mut rejected).await?;
        rejected.sort_by_key(|it| it.line);
        counts.rejected += rejected.len() as u64;
        self.counts = counts;
        for rejected in rejected {
            self.say(&Line::Rejected(rejected)).await?;
        }
        self.say(&Line::Progress(counts)).await?;
        self.await_small_lag().await;
        Ok(())
    }

    /// One transaction.
    async fn put(
        &self,
        rows: &mut Vec<Numbered>,
        counts: &mut Counts,
        rejected: &mut Vec<Rejected>,
    ) -> Result<(), Stop> {
        let rows = self.take_fit(rows, rejected).await?;
        let Some(store) = self.admin.node.store().filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        let wanted: Vec<Row> = rows.iter().map(|(_, _, row)| row.clone()).collect();
        let outcomes = self.patiently(|| store.import(&wanted, self.dry_run)).await?;
        let before = *counts;
        for ((line, text, _), outcome) in rows.into_iter().zip(outcomes) {
            let reject = |reason: String| rejected.push(Rejected { line, text, reason });
            match outcome {
                Outcome::Added => counts.added += 1,
                Outcome::Changed => counts.changed += 1,
                Outcome::Unchanged => counts.unchanged += 1,
                Outcome::OtherHostType(other) => {
                    reject(format!("duplicate: its host type is {other}"))
                }
                Outcome::Deleting => reject("domain is being removed".to_owned()),
            }
        }
        let has_changed = (counts.added, counts.changed) != (before.added, before.changed);
        if has_changed && !self.dry_run {
            // Nodes that are not told look by themselves.
            let _ = self.admin.node.request_checks().await;
        }
        Ok(())
    }

    /// The names that are in the database as they are here, and can never route. By what nameprep makes
    /// of it such a domain would be there twice.
    async fn never_routing(&self, items: &[Item]) -> Result<HashSet<String>, Stop> {
        let names = items.iter().filter_map(|item| item.record.as_ref().ok()).map(|it| &*it.domain);
        let names = names.filter(|name| !is_prepared(name) && check_text(name).is_ok());
        let names: Vec<&str> = names.collect();
        let Some(store) = self.admin.node.store().filter(|_| !names.is_empty()) else {
            return Ok(HashSet::new());
        };
        let unfit = self.patiently(|| store.unfit(&names)).await?;
        let fit = names.iter().filter(|name| !unfit.contains(**name));
        let fit: Vec<String> = fit.map(|name| (*name).to_owned()).collect();
        let found = self.patiently(|| store.settings(&fit)).await?;
        Ok(found.into_iter().map(|row| row.domain).collect())
    }

    /// The rows that the node takes; the others are rejected.
    async fn take_known(
        &self,
        rows: Vec<Numbered>,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Vec<Numbered>, Stop> {
        let domains = rows.iter().map(|(_, _, row)| row.domain.as_str());
        let host_types = rows.iter().map(|(_, _, row)| row.host_type.as_str());
        let known = self.admin.node.known(domains, host_types).await?;
        let mut taken = Vec::new();
        for (line, text, row) in rows {
            let refusal = if known.is_static(&row.domain) {
                Refusal::STATIC
            } else if !known.is_allowed(&row.host_type) {
                Refusal::UNKNOWN_HOST_TYPE
            } else {
                taken.push((line, text, row));
                continue;
            };
            rejected.push(Rejected { line, text, reason: what(refusal) });
        }
        Ok(taken)
    }

    /// The rows with names that the database can hold; the others are rejected.
    async fn take_fit(
        &self,
        rows: &mut Vec<Numbered>,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Vec<Numbered>, Stop> {
        let rows = std::mem::take(rows);
        let Some(store) = self.admin.node.store() else { return Ok(rows) };
        let names = rows.iter().flat_map(|(_, _, row)| [&row.domain, &row.host_type]);
        let names: Vec<String> = names.cloned().collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let unfit = self.patiently(|| store.unfit(&names)).await?;
        let is_fit = |(_, _, row): &Numbered| {
            !unfit.contains(row.domain.as_str()) && !unfit.contains(row.host_type.as_str())
        };
        let (fit, others) = rows.into_iter().partition(is_fit);
        for (line, text, row) in others as Vec<Numbered> {
            rejected.push(Rejected { line, text, reason: what(Refusal::Unfit(row.domain)) });
        }
        Ok(fit)
    }

    /// A database that is away for a moment is asked again: the same once more does no harm.
    async fn patiently<'a, T>(&self, ask: impl Fn() -> Operation<'a, T>) -> Result<T, Refusal> {
        let is_away = [ErrorKind::Timeout, ErrorKind::Unavailable];
        let mut tries = 1;
        loop {
            let turn = self.admin.node.bulk_turn().await?;
            let answer = ask().await;
            drop(turn);
            match answer {
                Err(error) if tries < TRIES && is_away.contains(&error.kind()) => {
                    tries += 1;
                    sleep(PAUSE).await;
                }
                result => return self.admin.noted(result).await,
            }
        }
    }

    /// Waits while the node is far behind.
    async fn await_small_lag(&self) {
        let wait = async {
            while self.lag().await.is_some_and(|lag| lag > LAG) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = timeout(LAG_LIMIT, wait).await;
    }

    /// How many events the node is behind.
    async fn lag(&self) -> Option<u64> {
        self.admin.node.snapshot().await.and_then(|snapshot| Lag::of(&snapshot).lag)
    }

    async fn say(&self, line: &Line) -> Result<(), Stop> {
        let mut text = serde_json::to_vec(line).map_err(|error| Stop::Failed(error.to_string()))?;
        text.push(b'\n');
        self.answers.send(Ok(text.into())).await.map_err(|_| Stop::Gone)
    }
}

/// Writes the body into the file, and looks through it.
async fn keep<E>(
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    file: &mut Spool,
    mut reader: Reader,
    limit: u64,
) -> Result<(), Stop> {
    loop {
        let piece = timeout(PIECE_LIMIT, body.next()).await;
        let piece =
            piece.map_err(|_| Stop::Failed("timed out while reading the body".to_owned()))?;
        let piece = piece.transpose().map_err(|_| Stop::Gone)?;
        match &piece {
            Some(piece) => {
                file.write(piece).await.map_err(|error| kept(&error))?;
                reader.push(piece);
            }
            None => reader.finish(),
        }
        if file.length() > limit {
            let what = format!("the body is longer than {limit} bytes: import it in parts");
            return Err(Stop::Failed(what));
        }
        while reader.next_item()?.is_some() {}
        if piece.is_none() {
            return Ok(());
        }
    }
}

fn kept(error: &io::Error) -> Stop {
    Stop::Failed(spool::failed("import", error))
}

fn row(record: Record, never_route: &HashSet<String>) -> Result<Row, String> {
    let Record { domain, host_type, enabled } = record;
    if never_route.contains(&domain) {
        return Err(what(Refusal::NeverRoutes(domain)));
    }
    let domain = prepared(&domain).map_err(what)?;
    // What is no name cannot be asked about.
    check_text(&host_type).map_err(|_| what(Refusal::UNKNOWN_HOST_TYPE))?;
    Ok(Row { domain, host_type, enabled })
}

fn what(refusal: Refusal) -> String {
    Error::from(refusal).what
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_has_a_longest_length() {
        let mut results = Vec::new();
        for pieces in [2, 3] {
            let piece = Bytes::from_static(b"a.example,type1\n");
            let body = vec![Ok::<_, std::convert::Infallible>(piece); pieces];
            let body = futures_util::stream::iter(body);
            let mut file = Spool::new(&PLACES).await.unwrap().unwrap();
            results.push(keep(body, &mut file, Reader::new(Format::Csv), 32).await);
        }
        let what = "the body is longer than 32 bytes: import it in parts";
        assert!(matches!(&results[..], [Ok(()), Err(Stop::Failed(found))] if found == what));
    }
}
