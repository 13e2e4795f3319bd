//! REST: `/api/domains`.

use crate::admin::{Admin, Details, DomainStatus};
use crate::error::{Error, ErrorBody};
use crate::node::Refusal;
use crate::query::{check_keys, no_query, query};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn;
use axum::{Json, Router, routing::get};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The longest body of a request, in bytes, and how long it may take to come.
const LONGEST_BODY: usize = 64 * 1024;
const BODY_LIMIT: Duration = Duration::from_secs(10);
/// How many domains a page of the list has, if nothing else is asked for, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;

pub fn routes() -> Router<Arc<Admin>> {
    let one = get(show_domain).put(add_domain).patch(change_domain).delete(remove_domain);
    let one = one.route_layer(from_fn(no_query));
    Router::new().route("/api/domains", get(list_domains)).route("/api/domains/{domain}", one)
}

type Name = Result<Path<String>, PathRejection>;

/// What to add.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct NewDomain {
    #[schema(example = "type1")]
    host_type: String,
}

/// What to remove.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct Removal {
    #[schema(example = "type1")]
    host_type: String,
    /// Do not wait until the domain is gone.
    request: Option<bool>,
}

/// What to change.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct NewStatus {
    enabled: bool,
}

/// Adds a domain. The same pair again is fine.
#[utoipa::path(put, path = "/api/domains/{domain}", tag = "domains",
    params(("domain" = String, Path, description = "any form of the name: it is nameprepped, unless \
        the database has exactly this one")),
    request_body = NewDomain,
    responses(
        (status = 204, description = "the domain exists"),
        (status = 400, body = ErrorBody, description = "`'host_type' field is missing`, `body is \
            empty`, `failed to parse JSON`, `invalid domain name`, `invalid host type`, `unknown key …`"),
        (status = 403, body = ErrorBody, description = "`domain is static`, `service disabled`, \
            `unknown host type`"),
        (status = 409, body = ErrorBody, description = "`duplicate`: it has another host type, or is \
            just being removed; or the database has exactly this name, which can never route"),
        (status = 500, body = ErrorBody, description = "`database error`")))]
async fn add_domain(
    State(admin): State<Arc<Admin>>,
    name: Name,
    body: Body,
) -> Result<StatusCode, Error> {
    let body = json(body).await?;
    check_keys(&body, &["host_type"])?;
    let host_type = host_type(&body)?;
    admin.add(&domain(name)?, host_type).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Enables or disables a domain.
#[utoipa::path(patch, path = "/api/domains/{domain}", tag = "domains",
    params(("domain" = String, Path, description = "any form of the name: it is nameprepped, unless \
        the database has exactly this one")),
    request_body = NewStatus,
    responses(
        (status = 204, description = "the domain has this status"),
        (status = 400, body = ErrorBody, description = "`'enabled' field is missing`, `body is \
            empty`, `failed to parse JSON`, `invalid domain name`"),
        (status = 403, body = ErrorBody, description = "`domain is static`, `service disabled`, \
            `unknown host type`, `domain is being removed`"),
        (status = 404, body = ErrorBody, description = "`domain not found`"),
        (status = 500, body = ErrorBody, description = "`database error`")))]
async fn change_domain(
    State(admin): State<Arc<Admin>>,
    name: Name,
    body: Body,
) -> Result<StatusCode, Error> {
    let body = json(body).await?;
    check_keys(&body, &["enabled"])?;
    let enabled = body.get("enabled").and_then(Value::as_bool);
    let enabled = enabled.ok_or_else(|| Error::bad_request("'enabled' field is missing"))?;
    admin.set_enabled(&domain(name)?, enabled).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a domain and the data of it. One that is not there is fine.
#[utoipa::path(delete, path = "/api/domains/{domain}", tag = "domains",
    params(("domain" = String, Path, description = "any form of the name: it is nameprepped, unless \
        the database has exactly this one")),
    request_body = Removal,
    responses(
        (status = 204, description = "the domain is removed"),
        (status = 202, description = "the domain no longer routes, its data is being \
            removed (`request`)"),
        (status = 400, body = ErrorBody, description = "`'host_type' field is missing`, `body is \
            empty`, `failed to parse JSON`, `invalid domain name`, `invalid host type`, `'request' \
            must be true or false`"),
        (status = 403, body = ErrorBody, description = "`domain is static`, `service disabled`, \
            `unknown host type`, `wrong host type`"),
        (status = 500, body = ErrorBody, description = "`database error`; or a removal handler failed"),
        (status = 503, body = ErrorBody, description = "timed out after 120 s, or too many \
            removals are in progress; in a sidecar: no MongooseIM node is reachable")))]
async fn remove_domain(
    State(admin): State<Arc<Admin>>,
    name: Name,
    body: Body,
) -> Result<StatusCode, Error> {
    let body = json(body).await?;
    check_keys(&body, &["host_type", "request"])?;
    let host_type = host_type(&body)?;
    let is_request = match body.get("request") {
        None => false,
        Some(Value::Bool(request)) => *request,
        Some(_) => return Err(Error::bad_request("'request' must be true or false")),
    };
    let domain = domain(name)?;
    let (done, removed) = match is_request {
        true => (StatusCode::ACCEPTED, admin.request_removal(&domain, host_type).await),
        false => (StatusCode::NO_CONTENT, admin.remove(&domain, host_type).await),
    };
    match removed {
        Ok(_) => Ok(done),
        Err(Refusal::NotFound(_)) => Ok(StatusCode::NO_CONTENT),
        Err(refusal) => Err(refusal.into()),
    }
}

/// A domain, by the configuration or the database.
#[utoipa::path(get, path = "/api/domains/{domain}", tag = "domains",
    params(("domain" = String, Path, description = "any form of the name: it is nameprepped, unless \
        the database has exactly this one")),
    responses(
        (status = 200, body = Details),
        (status = 400, body = ErrorBody, description = "`invalid domain name`"),
        (status = 404, body = ErrorBody, description = "`domain not found`"),
        (status = 500, body = ErrorBody, description = "`database error`")))]
async fn show_domain(State(admin): State<Arc<Admin>>, name: Name) -> Result<Json<Details>, Error> {
    Ok(Json(admin.details(&domain(name)?).await?))
}

/// Which domains to list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only those of this host type.
    host_type: Option<String>,
    /// Only those with this status: enabled, disabled or deleting.
    #[param(inline, value_type = Option<DomainStatus>)]
    status: Option<String>,
    /// Only those after this name: `next` of the page before.
    after: Option<String>,
    /// The most domains in a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A page of the list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DomainList {
    domains: Vec<Details>,
    /// What `after` has to be for the next page; null: this is the last one.
    next: Option<String>,
}

/// The domains of the configuration and of the database, by name (by the bytes of its UTF-8).
#[utoipa::path(get, path = "/api/domains", tag = "domains",
    params(ListQuery),
    responses(
        (status = 200, body = DomainList),
        (status = 400, body = ErrorBody, description = "`'limit' must be 1 to 1000`, `'status' must \
            be enabled, disabled or deleting`, `invalid query`, `unknown query parameter …`"),
        (status = 403, body = ErrorBody, description = "`unknown host type`"),
        (status = 500, body = ErrorBody, description = "`database error`")))]
async fn list_domains(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Json<DomainList>, Error> {
    let query: ListQuery = query(&uri, &["host_type", "status", "after", "limit"])?;
    let limit = match query.limit.as_deref().map(str::parse) {
        None => PAGE,
        Some(Ok(limit @ 1..=LONGEST_PAGE)) => limit,
        Some(_) => return Err(Error::bad_request("'limit' must be 1 to 1000")),
    };
    let filter = filter(query.host_type, query.status)?;
    let after = query.after.unwrap_or_default();
    if after.contains('\0') {
        return Err(Error::bad_request("invalid query"));
    }
    let mut domains = admin.list(&filter, &after, limit + 1).await?;
    let is_last = domains.len() <= limit;
    domains.truncate(limit);
    let last = domains.last().map(|details| details.domain.clone());
    Ok(Json(DomainList { domains, next: last.filter(|_| !is_last) }))
}

/// Which rows a list or an export has.
pub fn filter(
    host_type: Option<String>,
    status: Option<String>,
) -> Result<domain_store::Filter, Error> {
    let status = match status.as_deref() {
        None => None,
        Some("enabled") => Some(domain_store::Status::Enabled),
        Some("disabled") => Some(domain_store::Status::Disabled),
        Some("deleting") => Some(domain_store::Status::Deleting),
        Some(_) => {
            return Err(Error::bad_request("'status' must be enabled, disabled or deleting"));
        }
    };
    Ok(domain_store::Filter { host_type, status })
}

fn domain(name: Name) -> Result<String, Error> {
    name.map(|Path(name)| name).map_err(|_| Error::bad_request("invalid domain name"))
}

fn host_type(body: &Value) -> Result<&str, Error> {
    let host_type = body.get("host_type").and_then(Value::as_str);
    host_type.ok_or_else(|| Error::bad_request("'host_type' field is missing"))
}

/// The JSON of a body.
pub async fn json(body: Body) -> Result<Value, Error> {
    let bytes = whole(body).await?;
    if bytes.is_empty() {
        return Err(Error::bad_request("body is empty"));
    }
    serde_json::from_slice(&bytes).map_err(|_| Error::bad_request("failed to parse JSON"))
}

async fn whole(body: Body) -> Result<Bytes, Error> {
    match timeout(BODY_LIMIT, to_bytes(body, LONGEST_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Error::new(StatusCode::PAYLOAD_TOO_LARGE, "body is too long")),
        Err(_) => Err(Error::new(StatusCode::REQUEST_TIMEOUT, "timed out while reading the body")),
    }
}
