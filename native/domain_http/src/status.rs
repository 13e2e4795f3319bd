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

/// A node whose last good check is older is not ready. There is one every 30 s at least.
const CHECK_AGE: f64 = 120.0;

pub fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/nodes", get(nodes))
        .route("/api/verify", post(verify))
        .route_layer(from_fn(no_query))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
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
    pub fn sample(&self) {
        self.history.add(self.node.snapshot().as_ref().map_or(Lag::UNKNOWN, Lag::of));
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
    /// Since a check last ended well.
    seconds_since_check: Option<f64>,
    /// Checks that ended well.
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
    let snapshot = admin.node.snapshot();
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
    let mut nodes = admin.node.members().await.map_err(Error::from)?;
    let state = admin.state(admin.node.snapshot().as_ref());
    for status in nodes.iter_mut().filter(|node| node.this).filter_map(|it| it.status.as_mut()) {
        state.as_str().clone_into(&mut status.state);
    }
    Ok(Json(Nodes { nodes }))
}

/// What a comparison found.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(tag = "result", rename_all = "lowercase")]
enum Verified {
    /// The table is as the database says.
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
    (status = 503, body = ErrorBody, description = "not done within 120 s")))]
async fn verify(State(admin): State<Arc<Admin>>) -> Result<Json<Verified>, Error> {
    let (count, domains) = admin.verify().await?;
    Ok(Json(if count == 0 { Verified::Ok } else { Verified::Differs { count, domains } }))
}

/// What a probe is told.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Probe {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
}

/// Does the server answer?
#[utoipa::path(get, path = "/healthz", tag = "probes", responses((status = 200, body = Probe)))]
async fn health() -> Json<Probe> {
    Json(Probe { status: "ok", what: None })
}

/// Has the node its domains, and has it looked at the database lately?
#[utoipa::path(get, path = "/readyz", tag = "probes", responses(
    (status = 200, body = Probe), (status = 503, body = Probe)))]
async fn readiness(State(admin): State<Arc<Admin>>) -> (StatusCode, Json<Probe>) {
    match unready(admin.node.store().is_some(), admin.node.snapshot().as_ref()) {
        None => (StatusCode::OK, Json(Probe { status: "ready", what: None })),
        what => (StatusCode::SERVICE_UNAVAILABLE, Json(Probe { status: "not ready", what })),
    }
}

fn unready(has_database: bool, snapshot: Option<&Snapshot>) -> Option<String> {
    let Some(snapshot) = snapshot else {
        return Some("there is no routing table".to_owned());
    };
    match (has_database, snapshot.position, snapshot.seconds_since_check) {
        (false, _, _) => None,
        (_, None, _) => Some("the domains are not loaded yet".to_owned()),
        (_, _, Some(seconds)) if seconds <= CHECK_AGE => None,
        (_, _, Some(seconds)) => Some(format!("the last good check is {seconds:.0} s old")),
        (_, _, None) => Some("no check has ended well yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Snapshot, unready};

    #[test]
    fn a_node_is_ready_while_its_last_good_check_is_not_too_old() {
        let after = |position, seconds_since_check| {
            let snapshot = Snapshot { position, seconds_since_check, ..Snapshot::default() };
            unready(true, Some(&snapshot))
        };
        assert_eq!(after(Some(5), Some(120.0)), None);
        let old = "the last good check is 121 s old";
        assert_eq!(after(Some(5), Some(120.6)).as_deref(), Some(old));
        assert_eq!(after(Some(5), None).as_deref(), Some("no check has ended well yet"));
        assert_eq!(after(None, Some(1.0)).as_deref(), Some("the domains are not loaded yet"));
        assert_eq!(unready(true, None).as_deref(), Some("there is no routing table"));
        assert_eq!(unready(false, Some(&Snapshot::default())), None);
    }
}
