//! Failures as answers of REST: a code, and `{"what": Text}`.

use crate::node::{Refusal, never_routes, unfit};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub status: StatusCode,
    pub what: String,
}

/// The body of an answer that is no success.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorBody {
    /// What was wrong.
    #[schema(example = "domain not found")]
    pub what: String,
}

impl Error {
    pub fn new(status: StatusCode, what: impl Into<String>) -> Self {
        Error { status, what: what.into() }
    }

    pub fn bad_request(what: impl Into<String>) -> Self {
        Error::new(StatusCode::BAD_REQUEST, what)
    }

    pub fn forbidden(what: impl Into<String>) -> Self {
        Error::new(StatusCode::FORBIDDEN, what)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let (status, what) = match refusal {
            Refusal::Static(_) => (StatusCode::FORBIDDEN, "domain is static"),
            Refusal::UnknownHostType(_) => (StatusCode::FORBIDDEN, "unknown host type"),
            Refusal::Duplicate(_) => (StatusCode::CONFLICT, "duplicate"),
            Refusal::NeverRoutes(name) => {
                return Error::new(StatusCode::CONFLICT, never_routes(&name));
            }
            Refusal::NotFound(_) => (StatusCode::NOT_FOUND, "domain not found"),
            Refusal::WrongHostType(_) => (StatusCode::FORBIDDEN, "wrong host type"),
            Refusal::Deleted(_) => (StatusCode::FORBIDDEN, "domain is being removed"),
            Refusal::InvalidDomain(_) => (StatusCode::BAD_REQUEST, "invalid domain name"),
            Refusal::Unfit(name) => return Error::bad_request(unfit(&name)),
            Refusal::InvalidPassword(text) => return Error::bad_request(text),
            Refusal::InvalidHostType(_) => (StatusCode::BAD_REQUEST, "invalid host type"),
            Refusal::Disabled(_) => (StatusCode::FORBIDDEN, "service disabled"),
            Refusal::Database(_) => (StatusCode::INTERNAL_SERVER_ERROR, "database error"),
            Refusal::RemovalFailed(text) => {
                return Error::new(StatusCode::INTERNAL_SERVER_ERROR, text);
            }
            Refusal::Unreachable(text) | Refusal::Late(text) => {
                return Error::new(StatusCode::SERVICE_UNAVAILABLE, text);
            }
        };
        Error::new(status, what)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { what: self.what })).into_response()
    }
}
