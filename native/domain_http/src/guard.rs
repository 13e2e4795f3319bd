//! Who may ask, and from where.
//!
//! - Credentials, if there are any, for everything but the probes. They are compared as hashes, in a
//!   time that does not depend on where they differ.
//! - A browser sends credentials by itself, whatever page makes it: a request that may change
//!   something must not come from a page of another origin.
//! - Without credentials a page of another origin could give its own name the address of this server
//!   ("DNS rebinding") and then even read: so the server must be called by its address, or localhost.

use crate::error::Error;
use crate::options::Credentials;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What needs no credentials.
pub const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// What a browser asks a person for credentials by.
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"mongoose_domain\", charset=\"UTF-8\"");

/// The guard before all routes.
pub struct Guard {
    /// Hashes of the name and of the password.
    credentials: Option<[[u8; 32]; 2]>,
}

impl Guard {
    pub fn new(credentials: Option<&Credentials>) -> Self {
        let hashes = credentials.map(|it| [&it.username, &it.password].map(|it| hash(it)));
        Guard { credentials: hashes }
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        if OPEN.contains(&request.uri().path()) {
            return Ok(());
        }
        let headers = request.headers();
        match &self.credentials {
            Some(wanted) => {
                let unauthorized = |text| Error::new(StatusCode::UNAUTHORIZED, text);
                authorize(wanted, headers).map_err(unauthorized)?;
            }
            None if !is_called_by_address(request.uri(), headers) => {
                let text = "this server has no password, so it must be called by its IP address or \
                            localhost";
                return Err(Error::forbidden(text));
            }
            None => {}
        }
        if !is_safe(request.method()) && !is_same_origin(headers) {
            return Err(Error::forbidden("request from another origin"));
        }
        Ok(())
    }
}

/// Lets a request through to its route, or answers in its place.
pub async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) if error.status == StatusCode::UNAUTHORIZED => {
            ([(header::WWW_AUTHENTICATE, CHALLENGE)], error).into_response()
        }
        Err(error) => error.into_response(),
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn authorize(wanted: &[[u8; 32]; 2], headers: &HeaderMap) -> Result<(), &'static str> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let encoded = value.and_then(|value| value.split_once(' '));
    let encoded = encoded.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let (_, encoded) = encoded.ok_or("basic auth is required")?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let (username, password) =
        decoded.as_deref().and_then(|text| text.split_once(':')).ok_or("basic auth is required")?;
    let [wanted_name, wanted_password] = wanted;
    let is_right = hash(username).ct_eq(wanted_name) & hash(password).ct_eq(wanted_password);
    if is_right.into() { Ok(()) } else { Err("basic auth provided, invalid password") }
}

fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Does the request come from a page of ours, or from no page at all?
fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    match headers.get(header::ORIGIN).map(|origin| origin.to_str()) {
        None => true,
        Some(Ok(origin)) => {
            let of_origin = origin.split_once("://").map(|(_, host)| host);
            of_origin.is_some() && of_origin == host(headers)
        }
        Some(Err(_)) => false,
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

fn is_called_by_address(uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(host) = uri.authority().map(|it| it.as_str()).or_else(|| host(headers)) else {
        // HTTP/1.0, which no browser speaks.
        return true;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}
