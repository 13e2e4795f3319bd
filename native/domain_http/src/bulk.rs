//! Many domains at once: `/api/import` and `/api/export`.
//!
//! An import reads its body as it comes and writes it in transactions of [`LINES`] lines, each with the
//! events of what it changed. The same line again changes nothing, so an import that was interrupted
//! is repeated as it is. It goes straight to the database, not by the node's `mongoose_domain_api`:
//! nothing is removed by it, so there are no handlers to run.

use crate::admin::{Admin, Details, DomainStatus, prepared};
use crate::error::{Error, ErrorBody};
use crate::lag::Lag;
use crate::node::{Known, Refusal};
use crate::rest::filter;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use csv_core::ReadRecordResult;
use domain_store::{ErrorKind, Filter, Outcome, Row, Setting, Store};
use domain_table::check_text;
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// The lines of a transaction.
const LINES: usize = 1_000;
/// The longest line, in bytes: two names of 250 characters of 4 bytes, each of them escaped.
const LONGEST_LINE: usize = 16 * 1024;
/// How long a client may take for the next piece of a body.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// How often a transaction is tried, and how long after the last time.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// An import waits while its own node is so many events behind, but not for ever: a node that cannot
/// follow must not stop it.
const LAG: u64 = 20_000;
const LAG_LIMIT: Duration = Duration::from_secs(10);
/// The rows that an export reads at a time: so many that it is fast, so few that others get their turn
/// within a millisecond or two.
const PAGE: u32 = 2_000;

const NDJSON: &str = "application/x-ndjson";
const CSV: &str = "text/csv";
const HEADING: &str = "domain,host_type,status";

pub fn routes() -> Router<Arc<Admin>> {
    Router::new().route("/api/import", post(import)).route("/api/export", get(export))
}

/// How domains are written, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Csv,
    Ndjson,
}

impl Format {
    fn content_type(self) -> &'static str {
        match self {
            Format::Csv => CSV,
            Format::Ndjson => NDJSON,
        }
    }
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

/// A line that cannot be imported.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Rejected {
    /// Its number in the body, from 1.
    line: u64,
    text: String,
    reason: String,
}

/// What was done with the lines so far.
#[derive(Debug, Clone, Copy, Default, Serialize, utoipa::ToSchema)]
struct Counts {
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
/// `text/csv`: lines `domain,host_type` or `domain,host_type,status`, the first one may be that
/// heading; `application/x-ndjson`: lines `{"domain": …, "host_type": …, "status": …}`. The status is
/// `enabled` (if it is not given) or `disabled`. A domain that is there with the same host type gets
/// the status.
#[utoipa::path(post, path = "/api/import", tag = "bulk",
    params(ImportQuery),
    request_body(content(
        (String = "text/csv", example = "domain,host_type,status\nexample.com,type1,enabled\n"),
        (String = "application/x-ndjson"))),
    responses(
        (status = 200, body = Line, content_type = NDJSON, description = "lines, as they are done; \
            the last one has `done` or `error`"),
        (status = 400, body = ErrorBody, description = "`invalid query`"),
        (status = 403, body = ErrorBody, description = "`service disabled`"),
        (status = 415, body = ErrorBody, description = "`Content-Type must be text/csv or \
            application/x-ndjson`")))]
async fn import(
    State(admin): State<Arc<Admin>>,
    query: Result<Query<ImportQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let Query(ImportQuery { dry_run }) = query.map_err(|_| Error::bad_request("invalid query"))?;
    let format = format_of(&headers)?;
    if admin.node.store().is_none() {
        return Err(Refusal::Disabled.into());
    }
    let (answers, receiver) = mpsc::channel(64);
    let import = Import {
        admin,
        format,
        reader: csv_core::Reader::new(),
        dry_run,
        counts: Counts::default(),
        lines: Vec::new(),
        answers,
    };
    tokio::spawn(import.run(body.into_data_stream()));
    Ok(streamed(Format::Ndjson, receiver))
}

fn format_of(headers: &HeaderMap) -> Result<Format, Error> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).map(str::trim);
    match essence {
        Some(CSV) => Ok(Format::Csv),
        Some(NDJSON) => Ok(Format::Ndjson),
        _ => Err(Error::new(
            axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be text/csv or application/x-ndjson",
        )),
    }
}

/// A body of what the channel brings; an error breaks it off, so that the client notices.
fn streamed(format: Format, receiver: mpsc::Receiver<io::Result<Bytes>>) -> Response {
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    ([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(pieces)).into_response()
}

/// An import that runs.
struct Import {
    admin: Arc<Admin>,
    format: Format,
    /// To build one takes as long as to read many lines.
    reader: csv_core::Reader,
    dry_run: bool,
    counts: Counts,
    /// What is not done yet.
    lines: Vec<String>,
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

impl Import {
    async fn run<E>(mut self, body: impl Stream<Item = Result<Bytes, E>> + Unpin) {
        let last = match self.read(body).await {
            Ok(()) => Line::Done(Done { counts: self.counts, lag: self.lag().await }),
            Err(Stop::Gone) => return,
            Err(Stop::Failed(what)) => Line::Error(Failed { what, lines: self.counts.lines }),
        };
        // Nobody there to be told.
        let _ = self.say(&last).await;
    }

    async fn read<E>(
        &mut self,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), Stop> {
        let mut rest = Vec::new();
        loop {
            let piece = timeout(BODY_LIMIT, body.next()).await;
            let piece = piece.map_err(|_| Stop::Failed("body did not come in time".to_owned()))?;
            let Some(piece) = piece else { break };
            let piece = piece.map_err(|_| Stop::Gone)?;
            for part in piece.split_inclusive(|byte| *byte == b'\n') {
                rest.extend_from_slice(part);
                if rest.len() > LONGEST_LINE {
                    let number = self.counts.lines + self.lines.len() as u64 + 1;
                    return Err(Stop::Failed(format!("line {number} is too long")));
                }
                if rest.ends_with(b"\n") {
                    self.line(&rest).await?;
                    rest.clear();
                }
            }
        }
        if !rest.is_empty() {
            self.line(&rest).await?;
        }
        self.write().await
    }

    async fn line(&mut self, line: &[u8]) -> Result<(), Stop> {
        self.lines.push(String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']).to_owned());
        if self.lines.len() == LINES { self.write().await } else { Ok(()) }
    }

    /// Does the lines that were read.
    async fn write(&mut self) -> Result<(), Stop> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let mut counts = self.counts;
        let (mut rows, mut domains) = (Vec::new(), HashSet::new());
        let mut rejected = Vec::new();
        let mut read = Vec::new();
        for (number, text) in (counts.lines + 1..).zip(std::mem::take(&mut self.lines)) {
            counts.lines += 1;
            match self.row(number, &text) {
                Ok(None) => {}
                Ok(Some(row)) => read.push((number, text, row)),
                Err(reason) => rejected.push(Rejected { line: number, text, reason }),
            }
        }
        let rows_read = || read.iter().map(|(_, _, row)| row);
        let known = self.admin.node.known(
            rows_read().map(|row| row.domain.as_str()),
            rows_read().map(|row| row.host_type.as_str()),
        );
        let known = known.await?;
        for (number, text, row) in read {
            match refusal(&row, &known) {
                None => {
                    if !domains.insert(row.domain.clone()) {
                        // Twice in one transaction: the later one counts, as in two of them.
                        self.put(&mut rows, &mut counts, &mut rejected).await?;
                        domains = HashSet::from([row.domain.clone()]);
                    }
                    rows.push((number, text, row));
                }
                Some(refusal) => {
                    let reason = Error::from(refusal).what;
                    rejected.push(Rejected { line: number, text, reason });
                }
            }
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
        rows: &mut Vec<(u64, String, Row)>,
        counts: &mut Counts,
        rejected: &mut Vec<Rejected>,
    ) -> Result<(), Stop> {
        let rows = std::mem::take(rows);
        let Some(store) = self.admin.node.store().filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        let wanted: Vec<Row> = rows.iter().map(|(_, _, row)| row.clone()).collect();
        let outcomes = self.import(store, &wanted).await?;
        let before = *counts;
        for ((line, text, _), outcome) in rows.into_iter().zip(outcomes) {
            let reject = |reason: String| rejected.push(Rejected { line, text, reason });
            match outcome {
                Outcome::Added => counts.added += 1,
                Outcome::Changed => counts.changed += 1,
                Outcome::Unchanged => counts.unchanged += 1,
                Outcome::OtherHostType(other) => reject(format!("duplicate: it has {other}")),
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

    /// A database that is away for a moment is asked again: the same rows once more do no harm.
    async fn import(&self, store: &Store, rows: &[Row]) -> Result<Vec<Outcome>, Refusal> {
        let is_away = [ErrorKind::Timeout, ErrorKind::Unavailable];
        let mut tries = 1;
        loop {
            let turn = self.admin.node.bulk_turn().await?;
            let imported = store.import(rows, self.dry_run).await;
            drop(turn);
            match imported {
                Err(error) if tries < TRIES && is_away.contains(&error.kind()) => {
                    tries += 1;
                    sleep(PAUSE).await;
                }
                result => return self.admin.noted(result).await,
            }
        }
    }

    /// What a line says; `None`: nothing.
    fn row(&mut self, number: u64, text: &str) -> Result<Option<Row>, String> {
        let row = match self.format {
            _ if text.trim().is_empty() => return Ok(None),
            Format::Csv if number == 1 && is_heading(text) => return Ok(None),
            Format::Csv => csv_row(&mut self.reader, text)?,
            Format::Ndjson => serde_json::from_str(text).map_err(|error| error.to_string())?,
        };
        let enabled = match row.status.as_deref() {
            None | Some("" | "enabled") => true,
            Some("disabled") => false,
            Some(_) => return Err("status must be enabled or disabled".to_owned()),
        };
        let what = |refusal: Refusal| Error::from(refusal).what;
        let domain = prepared(&row.domain).map_err(what)?;
        // What is no name cannot be asked about.
        check_text(&row.host_type).map_err(|_| what(Refusal::UnknownHostType))?;
        Ok(Some(Row { domain, host_type: row.host_type, enabled: Some(enabled) }))
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

/// Why the node does not take a row.
fn refusal(row: &Row, known: &Known) -> Option<Refusal> {
    if known.is_static(&row.domain) {
        Some(Refusal::Static)
    } else if !known.is_allowed(&row.host_type) {
        Some(Refusal::UnknownHostType)
    } else {
        None
    }
}

/// A line as it is written.
#[derive(Deserialize)]
struct Written {
    domain: String,
    host_type: String,
    status: Option<String>,
}

fn is_heading(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim();
    HEADING.split(',').take(2).eq(text.split(',').take(2))
}

fn csv_row(reader: &mut csv_core::Reader, text: &str) -> Result<Written, String> {
    let mut fields = csv_fields(reader, text)?.into_iter();
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(domain), Some(host_type), status, None) => Ok(Written { domain, host_type, status }),
        _ => Err("a line has two or three fields: domain,host_type,status".to_owned()),
    }
}

/// At most four.
fn csv_fields(reader: &mut csv_core::Reader, text: &str) -> Result<Vec<String>, String> {
    let line = format!("{text}\n");
    let (mut output, mut ends) = (vec![0; line.len()], [0; 4]);
    reader.reset();
    let (result, _, _, count) = reader.read_record(line.as_bytes(), &mut output, &mut ends);
    if result == ReadRecordResult::InputEmpty {
        return Err("a quotation mark is not closed".to_owned());
    }
    let starts = std::iter::once(0).chain(ends);
    let fields = starts.zip(ends).take(count).map(|(start, end)| &output[start..end]);
    Ok(fields.map(|field| String::from_utf8_lossy(field).trim().to_owned()).collect())
}

/// What to export.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    #[serde(default = "csv_format")]
    #[param(inline, default = "csv")]
    format: Format,
    /// Only those of this host type.
    host_type: Option<String>,
    /// Only those with this status: enabled, disabled or deleting.
    #[param(inline, value_type = Option<crate::admin::DomainStatus>)]
    status: Option<String>,
}

fn csv_format() -> Format {
    Format::Csv
}

/// The domains of the database, in the order in which they were added; not those of the configuration.
///
/// A failure of the database breaks the body off.
#[utoipa::path(get, path = "/api/export", tag = "bulk",
    params(ExportQuery),
    responses(
        (status = 200, description = "a line each: CSV with the heading `domain,host_type,status`, or \
            JSON objects with these keys", content((String = "text/csv"),
            (String = "application/x-ndjson"))),
        (status = 400, body = ErrorBody, description = "`invalid query`, `'status' must be enabled, \
            disabled or deleting`"),
        (status = 403, body = ErrorBody, description = "`service disabled`, `unknown host type`")))]
async fn export(
    State(admin): State<Arc<Admin>>,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(query) = query.map_err(|_| Error::bad_request("invalid query"))?;
    let filter = filter(query.host_type, query.status)?;
    if admin.node.store().is_none() {
        return Err(Refusal::Disabled.into());
    }
    admin.check(&filter).await?;
    let (pieces, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        if let Err(error) = write_all(&admin, query.format, &filter, &pieces).await {
            let _ = pieces.send(Err(error)).await;
        }
    });
    Ok(streamed(query.format, receiver))
}

async fn write_all(
    admin: &Admin,
    format: Format,
    filter: &Filter,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let Some(store) = admin.node.store() else { return Ok(()) };
    let outdated = admin.noted(store.outdated().await).await.map_err(io::Error::other)?;
    let statics = admin.node.statics().await.map_err(io::Error::other)?;
    let statics: HashSet<String> = statics.into_iter().map(|(domain, _)| domain).collect();
    let mut after = 0;
    let mut piece = match format {
        Format::Csv => format!("{HEADING}\n").into_bytes(),
        Format::Ndjson => Vec::new(),
    };
    loop {
        let turn = admin.node.bulk_turn().await.map_err(io::Error::other)?;
        let rows = store.page(filter.status, after, PAGE).await;
        drop(turn);
        let rows = admin.noted(rows).await.map_err(io::Error::other)?;
        let is_last = rows.is_empty();
        for row in rows {
            after = row.id;
            let is_wanted = filter.host_type.as_ref().is_none_or(|wanted| *wanted == row.host_type);
            if is_wanted && !statics.contains(&row.domain) && !outdated.contains(&row.id) {
                write_row(format, row, &mut piece)?;
            }
        }
        if !piece.is_empty() && pieces.send(Ok(std::mem::take(&mut piece).into())).await.is_err() {
            // The client is gone.
            return Ok(());
        }
        if is_last {
            return Ok(());
        }
    }
}

#[derive(Serialize)]
struct Exported {
    domain: String,
    host_type: String,
    status: DomainStatus,
}

fn write_row(format: Format, row: Setting, piece: &mut Vec<u8>) -> io::Result<()> {
    let Details { domain, host_type, status, .. } = row.into();
    let exported = Exported { domain, host_type, status };
    match format {
        Format::Csv => {
            let mut builder = csv::WriterBuilder::new();
            // In quotes, a # at the beginning of a line is no comment to who imports it.
            builder.has_headers(false).buffer_capacity(256).comment(Some(b'#'));
            builder.from_writer(&mut *piece).serialize(exported).map_err(io::Error::other)
        }
        Format::Ndjson => {
            serde_json::to_writer(&mut *piece, &exported)?;
            piece.push(b'\n');
            Ok(())
        }
    }
}
