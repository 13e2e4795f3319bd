//! The domains of the database as a file: `/api/export`.
//!
//! The file is made as a whole, on disk, before anything of it is sent. So its length is known, and by
//! that every client can tell a file that was cut off, by HTTP/1.0 and behind a proxy, too; and a
//! failure of the database is an error, not half a file.

use crate::admin::{Admin, Details, DomainStatus};
use crate::error::{Error, ErrorBody};
use crate::node::Refusal;
use crate::query::query;
use crate::rest::filter;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain_records::Format;
use domain_store::{Filter, Setting, Store};
use futures_util::Stream;
use serde::Deserialize;
use std::collections::HashSet;
use std::io::{self, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The rows that are read at a time: so many that it is fast, so few that others get their turn within a
/// millisecond or two.
const PAGE: u32 = 2_000;
/// The bytes that are sent at a time.
const PIECE: usize = 64 * 1024;
/// So many files are there at a time, and how long another one waits.
static PLACES: Semaphore = Semaphore::const_new(4);
const PLACE_LIMIT: Duration = Duration::from_secs(5);

pub fn routes() -> Router<Arc<Admin>> {
    Router::new().route("/api/export", get(export))
}

/// How domains are written.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Written {
    #[default]
    Csv,
    Ndjson,
}

/// What to export.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    #[serde(default)]
    #[param(inline, default = "csv")]
    format: Written,
    /// Only those of this host type.
    host_type: Option<String>,
    /// Only those with this status: enabled, disabled or deleting.
    #[param(inline, value_type = Option<DomainStatus>)]
    status: Option<String>,
}

/// The domains of the database, in the order in which they were added; not those of the configuration.
///
/// An import takes them as they were, but for those that are being deleted.
#[utoipa::path(get, path = "/api/export", tag = "bulk",
    params(ExportQuery),
    responses(
        (status = 200, description = "a record each: CSV with the heading `domain,host_type,status`, \
            or JSON objects with these keys, one in a line", content((String = "text/csv"),
            (String = "application/x-ndjson")), headers(("Content-Length" = u64,
            description = "of the whole file: a shorter one was cut off"))),
        (status = 400, body = ErrorBody, description = "`invalid query`, `unknown query parameter …`, \
            `'status' must be enabled, disabled or deleting`"),
        (status = 403, body = ErrorBody, description = "`service disabled`, `unknown host type`"),
        (status = 500, body = ErrorBody, description = "`database error`; or the file cannot be kept \
            in the directory for temporary files"),
        (status = 503, body = ErrorBody, description = "`too many exports are in progress: ask \
            again`")))]
async fn export(State(admin): State<Arc<Admin>>, uri: Uri) -> Result<Response, Error> {
    let query: ExportQuery = query(&uri, &["format", "host_type", "status"])?;
    let filter = filter(query.host_type, query.status)?;
    let Some(store) = admin.node.store() else { return Err(Refusal::DISABLED.into()) };
    admin.check(&filter).await?;
    let busy = || Refusal::Late("too many exports are in progress: ask again".to_owned());
    let place = timeout(PLACE_LIMIT, PLACES.acquire()).await.ok().and_then(Result::ok);
    let place = place.ok_or_else(busy)?;
    let format = match query.format {
        Written::Csv => Format::Csv,
        Written::Ndjson => Format::Ndjson,
    };
    let (file, length) = write(&admin, store, format, &filter).await?;
    let headers = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, Body::from_stream(pieces((file, place)))).into_response())
}

/// Writes the file; returns it at its beginning, with its length.
async fn write(
    admin: &Admin,
    store: &Store,
    format: Format,
    filter: &Filter,
) -> Result<(File, u64), Error> {
    let mut file = File::from_std(nameless_file().map_err(kept)?);
    let outdated = admin.outdated(store).await?;
    let statics = admin.node.statics().await?.into_iter().map(|(domain, _)| domain);
    let statics: HashSet<String> = statics.collect();
    let mut piece = format.heading().as_bytes().to_vec();
    let (mut length, mut after) = (0, 0);
    loop {
        let turn = admin.node.bulk_turn().await?;
        let rows = store.page(filter.status, after, PAGE).await;
        drop(turn);
        let rows = admin.noted(rows).await?;
        let is_last = rows.is_empty();
        for row in rows {
            after = row.id;
            let is_wanted = filter.host_type.as_ref().is_none_or(|wanted| *wanted == row.host_type);
            if is_wanted
                && is_readable(&row)
                && !statics.contains(&row.domain)
                && !outdated.contains(&row.id)
            {
                let Details { domain, host_type, status, .. } = row.into();
                format.write(&domain, &host_type, status.as_str(), &mut piece).map_err(kept)?;
            }
        }
        file.write_all(&piece).await.map_err(kept)?;
        length += piece.len() as u64;
        piece.clear();
        if is_last {
            file.flush().await.map_err(kept)?;
            file.seek(SeekFrom::Start(0)).await.map_err(kept)?;
            return Ok((file, length));
        }
    }
}

/// Text that is not UTF-8 was read as an empty name, which no domain has.
fn is_readable(row: &Setting) -> bool {
    !row.domain.is_empty() && !row.host_type.is_empty()
}

/// A file that is gone when it is closed, whatever ends this program. Not by the crate `tempfile`: it
/// would have sqlx compiled twice, see `test_database`.
fn nameless_file() -> io::Result<std::fs::File> {
    let name = format!("mongoose_domain_export_{:032x}", fastrand::u128(..));
    let path = std::env::temp_dir().join(name);
    let mut options = std::fs::File::options();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

fn kept(error: io::Error) -> Error {
    let directory = std::env::temp_dir();
    let what = format!("the export cannot be kept in {}: {error}", directory.display());
    Error::new(StatusCode::INTERNAL_SERVER_ERROR, what)
}

/// The file, piece by piece, and what is to be kept as long as it is there.
fn pieces<P: Send>(file_and_place: (File, P)) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::try_unfold(file_and_place, |(mut file, place)| async move {
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece).await?;
        piece.truncate(length);
        Ok((length > 0).then(|| (piece.into(), (file, place))))
    })
}
