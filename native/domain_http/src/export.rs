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
use crate::spool::{self, Spool};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain_records::Format;
use domain_store::{Filter, Setting, Store};
use serde::Deserialize;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The rows that are read at a time: so many that it is fast, so few that others get their turn within a
/// millisecond or two.
const PAGE: u32 = 2_000;
/// So many files are there at a time.
static PLACES: Semaphore = Semaphore::const_new(4);

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
            description = "of the whole file: if fewer bytes come, it was cut off"))),
        (status = 400, body = ErrorBody, description = "`invalid query`, `unknown query parameter …`, \
            `'status' must be enabled, disabled or deleting`"),
        (status = 403, body = ErrorBody, description = "`service disabled`, `unknown host type`"),
        (status = 500, body = ErrorBody, description = "`database error`; or the file cannot be \
            stored in the directory for temporary files"),
        (status = 503, body = ErrorBody, description = "`too many exports are in progress: try \
            again`")))]
async fn export(State(admin): State<Arc<Admin>>, uri: Uri) -> Result<Response, Error> {
    let query: ExportQuery = query(&uri, &["format", "host_type", "status"])?;
    let filter = filter(query.host_type, query.status)?;
    let Some(store) = admin.node.store() else { return Err(Refusal::DISABLED.into()) };
    admin.check(&filter).await?;
    let busy = || Refusal::busy("exports");
    let file = Spool::new(&PLACES).await.ok_or_else(busy)?.map_err(kept)?;
    let format = match query.format {
        Written::Csv => Format::Csv,
        Written::Ndjson => Format::Ndjson,
    };
    let file = write(file, &admin, store, format, &filter).await?;
    let headers = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CONTENT_LENGTH, file.length().to_string()),
    ];
    Ok((headers, Body::from_stream(file.read().await.map_err(kept)?)).into_response())
}

/// Writes the file.
async fn write(
    mut file: Spool,
    admin: &Admin,
    store: &Store,
    format: Format,
    filter: &Filter,
) -> Result<Spool, Error> {
    let outdated = admin.outdated(store).await?;
    let statics = admin.node.statics().await?.into_iter().map(|(domain, _)| domain);
    let statics: HashSet<String> = statics.collect();
    let mut piece = format.heading().as_bytes().to_vec();
    let mut after = 0;
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
        file.write(&piece).await.map_err(kept)?;
        piece.clear();
        if is_last {
            return Ok(file);
        }
    }
}

/// Text that is not UTF-8 was read as an empty name, which no domain has.
fn is_readable(row: &Setting) -> bool {
    !row.domain.is_empty() && !row.host_type.is_empty()
}

fn kept(error: io::Error) -> Error {
    Error::new(StatusCode::INTERNAL_SERVER_ERROR, spool::failed("export", &error))
}
