//! `/metrics`, in the text format of Prometheus.
//!
//! What the node counts is read when somebody asks. What it forgets with its table (a restart of
//! `mongoose_domain_core`) begins at 0 again, as counters may.

use crate::admin::Admin;
use crate::lag::Lag;
use crate::node::Snapshot;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router, routing::get};
use prometheus::core::Collector;
use prometheus::{Encoder, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec};
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

type Result<T> = std::result::Result<T, prometheus::Error>;

/// Seconds: from a read of the table to a removal with much to do.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

pub fn routes(requests: &Requests) -> Router<Arc<Admin>> {
    Router::new().route("/metrics", get(metrics)).layer(Extension(requests.clone()))
}

/// The requests to this server.
#[derive(Clone)]
pub struct Requests {
    count: IntCounterVec,
    duration: HistogramVec,
}

impl Requests {
    pub fn new() -> Result<Self> {
        let count = Opts::new("mongoose_domain_http_requests_total", "Requests that were answered");
        let duration = HistogramOpts::new(
            "mongoose_domain_http_request_duration_seconds",
            "Seconds until the response headers were sent",
        );
        Ok(Requests {
            count: IntCounterVec::new(count, &["method", "route", "code"])?,
            duration: HistogramVec::new(duration.buckets(BUCKETS.to_vec()), &["method", "route"])?,
        })
    }
}

/// Counts a request.
pub async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    // Only what is known: a stranger must not fill the memory with names of his own.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "other".to_owned());
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "PUT" | "PATCH" | "POST" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    };
    let method = method.to_owned();
    let begun = Instant::now();
    let answer = next.run(request).await;
    let code = answer.status();
    requests.count.with_label_values(&[&method, &route, code.as_str()]).inc();
    let duration = begun.elapsed().as_secs_f64();
    requests.duration.with_label_values(&[&method, &route]).observe(duration);
    answer
}

/// The metrics of the node and of this server.
#[utoipa::path(get, path = "/metrics", tag = "probes", responses(
    (status = 200, body = String, content_type = "text/plain")))]
async fn metrics(
    State(admin): State<Arc<Admin>>,
    Extension(requests): Extension<Requests>,
) -> Response {
    match text(&admin, admin.node.snapshot().await, &requests) {
        Ok(text) => {
            ([(header::CONTENT_TYPE, TextEncoder::new().format_type())], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn text(admin: &Admin, snapshot: Option<Snapshot>, requests: &Requests) -> Result<Vec<u8>> {
    let now = Now(Registry::new());
    now.add(requests.count.clone())?;
    now.add(requests.duration.clone())?;
    now.add(admin.node.questions().clone())?;
    if let Some(store) = admin.node.store() {
        let connections = store.connections();
        let used = connections.open.saturating_sub(connections.idle);
        now.gauges(
            ("database_connections", "Connections of this server to the database"),
            "state",
            [("used", i64::from(used)), ("idle", i64::from(connections.idle))],
        )?;
    }
    if let Some(snapshot) = snapshot {
        now.of_node(&snapshot)?;
    }
    let mut text = Vec::new();
    TextEncoder::new().encode(&now.0.gather(), &mut text)?;
    Ok(text)
}

/// The values of this moment.
struct Now(Registry);

impl Now {
    fn add(&self, metric: impl Collector + 'static) -> Result<()> {
        self.0.register(Box::new(metric))
    }

    fn of_node(&self, node: &Snapshot) -> Result<()> {
        let domains = node.host_types.iter().map(|it| (it.host_type.as_str(), number(it.domains)));
        self.gauges(("domains", "Domains that route, by host type"), "host_type", domains)?;
        self.gauge("followed_domains", "Domains that follow the database", node.followed as f64)?;
        let Lag { lag, lag_seconds } = Lag::of(node);
        if let Some(lag) = lag {
            self.gauge("lag_events", "Known events that are not applied yet", lag as f64)?;
        }
        if let Some(seconds) = lag_seconds {
            let help = "0, or seconds since the node was last known to be current";
            self.gauge("lag_seconds", help, seconds)?;
        }
        if let Some(seconds) = node.seconds_since_check {
            self.gauge("seconds_since_check", "Seconds since the last successful check", seconds)?;
        }
        self.counter("checks", "Successful checks of the event log", node.checks)?;
        self.counter("loads", "Successful loads of all domains", node.loads)?;
        self.counters(
            ("reloads", "Times that all domains had to be loaded again"),
            "reason",
            &node.reloads,
        )?;
        self.counter("gaps_settled", "Missing event ids that are settled", node.gaps_settled)?;
        self.counter("dummies_written", "Dummy events that were written", node.dummies_written)?;
        self.counter("audits", "Comparisons of table and database", node.audits)?;
        self.counters(("database_errors", "Failures of the database"), "kind", &node.errors)
    }

    fn gauge(&self, name: &str, help: &str, value: f64) -> Result<()> {
        let gauge = Gauge::new(format!("mongoose_domain_{name}"), help)?;
        gauge.set(value);
        self.add(gauge)
    }

    fn gauges<'a>(
        &self,
        (name, help): (&str, &str),
        label: &str,
        values: impl IntoIterator<Item = (&'a str, i64)>,
    ) -> Result<()> {
        let opts = Opts::new(format!("mongoose_domain_{name}"), help);
        let gauges = IntGaugeVec::new(opts, &[label])?;
        for (value, count) in values {
            let gauge: IntGauge = gauges.get_metric_with_label_values(&[value])?;
            gauge.set(count);
        }
        self.add(gauges)
    }

    fn counter(&self, name: &str, help: &str, value: u64) -> Result<()> {
        let counter = IntCounter::new(format!("mongoose_domain_{name}_total"), help)?;
        counter.inc_by(value);
        self.add(counter)
    }

    fn counters(
        &self,
        (name, help): (&str, &str),
        label: &str,
        values: &BTreeMap<String, u64>,
    ) -> Result<()> {
        let opts = Opts::new(format!("mongoose_domain_{name}_total"), help);
        let counters = IntCounterVec::new(opts, &[label])?;
        for (value, count) in values {
            counters.get_metric_with_label_values(&[value])?.inc_by(*count);
        }
        self.add(counters)
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
