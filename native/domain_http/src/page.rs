//! The page for operators at `/`, the page of the OpenAPI document, and their assets: all in the
//! library itself.

use crate::admin::Admin;
use crate::error::ErrorBody;
use crate::guard::OPEN;
use crate::{export, graphql, import, metrics, rest, status};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use std::sync::Arc;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// Path, type, content.
const ASSETS: [(&str, &str, &str); 12] = [
    ("/", HTML, include_str!("../assets/index.html")),
    ("/assets/app.js", SCRIPT, include_str!("../assets/app.js")),
    ("/assets/chart.js", SCRIPT, include_str!("../assets/chart.js")),
    ("/assets/domains.js", SCRIPT, include_str!("../assets/domains.js")),
    ("/assets/facts.js", SCRIPT, include_str!("../assets/facts.js")),
    ("/assets/import.js", SCRIPT, include_str!("../assets/import.js")),
    ("/assets/page.js", SCRIPT, include_str!("../assets/page.js")),
    ("/assets/status.js", SCRIPT, include_str!("../assets/status.js")),
    ("/assets/style.css", STYLE, include_str!("../assets/style.css")),
    ("/assets/favicon.svg", IMAGE, include_str!("../assets/favicon.svg")),
    ("/api/docs", HTML, include_str!("../assets/docs.html")),
    ("/assets/docs.js", SCRIPT, include_str!("../assets/docs.js")),
];

/// For every answer: nothing is loaded from elsewhere, nothing is framed, no type is guessed, nothing
/// is kept by caches on the way.
pub const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

pub fn routes() -> Router<Arc<Admin>> {
    let openapi = Router::new().route("/api/openapi.json", get(async || Json(Api::openapi())));
    ASSETS.into_iter().fold(openapi, |router, (path, kind, text)| {
        router.route(path, get(async move || asset(kind, text)))
    })
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// The OpenAPI document.
#[derive(OpenApi)]
#[openapi(
    info(title = "mongoose_domain_native", description = "Domains of MongooseIM"),
    servers((url = "..", description = "relative to this document, so also right behind a proxy")),
    paths(
        rest::list_domains,
        rest::show_domain,
        rest::add_domain,
        rest::change_domain,
        rest::remove_domain,
        graphql::answer,
        import::import,
        export::export,
        status::status,
        status::nodes,
        status::verify,
        status::health,
        status::readiness,
        metrics::metrics,
    ),
    modifiers(&Guarded)
)]
struct Api;

/// What the guard before the routes may ask for, and answer.
struct Guarded;

impl Modify for Guarded {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let basic = SecurityScheme::Http(Http::new(HttpAuthScheme::Basic));
        api.components.get_or_insert_default().add_security_scheme("basic", basic);
        // A node may have no password.
        let none = SecurityRequirement::default();
        let security = vec![SecurityRequirement::new("basic", [""; 0]), none];
        let body = Ref::from_schema_name(ErrorBody::name());
        let answer = |description| {
            let body = Content::new(Some(body.clone()));
            let builder = ResponseBuilder::new().description(description);
            builder.content("application/json", body).build()
        };
        let unauthorized =
            answer("`basic auth is required`, `basic auth provided, invalid password`");
        let forbidden =
            answer("`request from another origin`; or called by a name without a password");
        let guarded = api.paths.paths.iter_mut().filter(|(path, _)| !OPEN.contains(&path.as_str()));
        for (_, item) in guarded {
            let operations =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                operation.security = Some(security.clone());
                let responses = &mut operation.responses.responses;
                responses.insert("401".to_owned(), unauthorized.clone().into());
                responses.entry("403".to_owned()).or_insert_with(|| forbidden.clone().into());
            }
        }
    }
}
