//! How the node follows the database: `/api/status`, `/api/nodes`, `/api/verify`, and the probes.

use crate::admin::Admin;
use crate::error::{Error, ErrorBody};
use crate::lag::Lag;
use crate::node::{Difference, HostType, Member, Snapshot, Status};
use crate::query::no_query;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/nodes", get(nodes))
        .route("/api/verify", post(verify))
        .route_layer(from_fn(no_query))
        .merge(probes())
}

/// What is answered when everything else has to wait.
pub fn probes() -> Router<Arc<Admin>> {
    Router::new().route("/healthz", get(health)).route("/readyz", get(readiness))
}

/// The lag some time ago.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Sample {
    seconds_ago: f64,
    #[serde(flatten)]
    lag: Lag,
}

impl Admin {
    pub fn state(&self, snapshot: Option<&Snapshot>) -> Status {
        match snapshot {
            None => Status::Stopped,
            Some(_) if self.node.store().is_none() => Status::Disabled,
            Some(snapshot) if !snapshot.follows => Status::Stopped,
            Some(snapshot) if snapshot.failing => Status::Retrying,
            Some(snapshot) if snapshot.position.is_none() => Status::Loading,
            Some(_) => Status::Following,
        }
    }

    /// Takes a sample of the lag.
    pub async fn sample(&self) {
        let snapshot = self.node.snapshot().await;
        self.history.add(snapshot.as_ref().map_or(Lag::UNKNOWN, Lag::of));
    }
}

/// What the node did and saw since its table was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct StatusBody {
    node: String,
    version: &'static str,
    state: Status,
    /// The newest event up to which the table has everything; 0 if the log was empty.
    position: Option<i64>,
    /// The newest event when the log was last looked at.
    newest_event: Option<i64>,
    #[serde(flatten)]
    lag: Lag,
    /// Seconds since the last successful check.
    seconds_since_check: Option<f64>,
    /// Successful checks.
    checks: u64,
    loads: u64,
    /// Why everything was loaded again, and how often.
    reloads: BTreeMap<String, u64>,
    gaps_settled: u64,
    dummies_written: u64,
    audits: u64,
    /// Failures by their reason.
    errors: BTreeMap<String, u64>,
    last_error: Option<Failure>,
    /// The domains of the table.
    domains: u64,
    /// Those that follow the database.
    followed: u64,
    host_types: Vec<HostType>,
    database: Option<Database>,
    /// Oldest first.
    history: Vec<Sample>,
}

/// The last failure.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Failure {
    reason: String,
    text: String,
}

/// The database, and the connections of the server of this page to it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Database {
    #[schema(example = "postgres")]
    kind: &'static str,
    connections: u32,
    idle: u32,
}

/// The node at a glance.
#[utoipa::path(get, path = "/api/status", tag = "node", responses((status = 200, body = StatusBody)))]
async fn status(State(admin): State<Arc<Admin>>) -> Json<StatusBody> {
    let snapshot = admin.node.snapshot().await;
    let state = admin.state(snapshot.as_ref());
    let snapshot = snapshot.unwrap_or_default();
    let lag = Lag::of(&snapshot);
    let last_error = snapshot.last_error.map(|(reason, text)| Failure { reason, text });
    let database = admin.node.store().map(|store| {
        let connections = store.connections();
        Database { kind: store.kind(), connections: connections.open, idle: connections.idle }
    });
    let sample = |(age, lag): (Duration, Lag)| Sample { seconds_ago: age.as_secs_f64(), lag };
    let history = admin.history.samples().into_iter().map(sample).collect();
    Json(StatusBody {
        node: admin.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        state,
        position: snapshot.position,
        newest_event: snapshot.newest_event,
        lag,
        seconds_since_check: snapshot.seconds_since_check,
        checks: snapshot.checks,
        loads: snapshot.loads,
        reloads: snapshot.reloads,
        gaps_settled: snapshot.gaps_settled,
        dummies_written: snapshot.dummies_written,
        audits: snapshot.audits,
        errors: snapshot.errors,
        last_error,
        domains: snapshot.domains,
        followed: snapshot.followed,
        host_types: snapshot.host_types,
        database,
        history,
    })
}

/// The nodes that follow the same database.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Nodes {
    nodes: Vec<Member>,
}

/// This node and the others.
#[utoipa::path(get, path = "/api/nodes", tag = "node", responses(
    (status = 200, body = Nodes),
    (status = 500, body = ErrorBody)))]
async fn nodes(State(admin): State<Arc<Admin>>) -> Result<Json<Nodes>, Error> {
    let mut nodes = admin.node.members().await?;
    let state = admin.state(admin.node.snapshot().await.as_ref());
    for status in nodes.iter_mut().filter(|node| node.this).filter_map(|it| it.status.as_mut()) {
        state.as_str().clone_into(&mut status.state);
    }
    Ok(Json(Nodes { nodes }))
}

/// What a comparison found.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(tag = "result", rename_all = "lowercase")]
enum Verified {
    /// The table matches the database.
    Ok,
    /// It was not, although no event was pending; it is being loaded again.
    Differs {
        count: usize,
        /// The first ten.
        domains: Vec<Difference>,
    },
}

/// Compares the table with the database.
#[utoipa::path(post, path = "/api/verify", tag = "node", responses(
    (status = 200, body = Verified),
    (status = 403, body = ErrorBody, description = "`service disabled`"),
    (status = 500, body = ErrorBody, description = "`database error`"),
    (status = 503, body = ErrorBody, description = "timed out after 120 s")))]
async fn verify(State(admin): State<Arc<Admin>>) -> Result<Json<Verified>, Error> {
    let (count, domains) = admin.verify().await?;
    Ok(Json(if count == 0 { Verified::Ok } else { Verified::Differs { count, domains } }))
}

/// What a probe is told.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Probe {
    status: &'static str,
}

/// Does the server answer?
#[utoipa::path(get, path = "/healthz", tag = "probes", responses((status = 200, body = Probe)))]
async fn health() -> Json<Probe> {
    Json(Probe { status: "ok" })
}

/// Whether the node can route, and how it follows the database.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct Readiness {
    /// `ready` or `not ready`.
    status: &'static str,
    state: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<&'static str>,
}

/// Can the node route: has it its domains?
///
/// Also while its database is away: `state` says so, and metrics say since when.
#[utoipa::path(get, path = "/readyz", tag = "probes", responses(
    (status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn readiness(State(admin): State<Arc<Admin>>) -> (StatusCode, Json<Readiness>) {
    let snapshot = admin.node.snapshot().await;
    let readiness = Readiness::of(admin.state(snapshot.as_ref()), snapshot.as_ref());
    let code = match readiness.what {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(readiness))
}

impl Readiness {
    fn of(state: Status, snapshot: Option<&Snapshot>) -> Self {
        let what = match snapshot {
            None => Some("there is no routing table"),
            // While it loads again the table goes on routing.
            Some(Snapshot { loads: 0, .. }) if state != Status::Disabled => {
                Some("the domains are not loaded yet")
            }
            Some(_) => None,
        };
        let status = if what.is_none() { "ready" } else { "not ready" };
        Readiness { status, state, what }
    }
}

#[cfg(test)]
mod tests {
    use super::{Readiness, Snapshot, Status};

    #[test]
    fn a_node_is_ready_when_it_has_its_domains_whatever_became_of_its_database() {
        let loaded = Snapshot { loads: 1, ..Snapshot::default() };
        for state in [Status::Following, Status::Retrying, Status::Stopped] {
            let ready = Readiness { status: "ready", state, what: None };
            assert_eq!(Readiness::of(state, Some(&loaded)), ready);
        }
        let static_only = Readiness::of(Status::Disabled, Some(&Snapshot::default()));
        assert_eq!(static_only.what, None);
        // The first load fails.
        for state in [Status::Loading, Status::Retrying] {
            let loading = Readiness::of(state, Some(&Snapshot::default()));
            assert_eq!(loading.status, "not ready");
            assert_eq!(loading.what, Some("the domains are not loaded yet"));
        }
        let gone = Readiness::of(Status::Stopped, None);
        assert_eq!(gone.what, Some("there is no routing table"));
    }
}
