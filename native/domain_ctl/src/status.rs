//! `status` and `verify`: how the node is, for people and as JSON.

use crate::client::Client;
use crate::error::Error;
use crate::output::{self, printable};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

/// The part of `GET /api/status` that people want to see.
#[derive(Deserialize)]
struct Status {
    node: String,
    version: String,
    state: String,
    position: Option<i64>,
    newest_event: Option<i64>,
    lag: Option<u64>,
    lag_seconds: Option<f64>,
    seconds_since_check: Option<f64>,
    checks: u64,
    loads: u64,
    reloads: BTreeMap<String, u64>,
    audits: u64,
    gaps_settled: u64,
    dummies_written: u64,
    errors: BTreeMap<String, u64>,
    last_error: Option<LastError>,
    domains: u64,
    followed: u64,
    host_types: Vec<HostType>,
    database: Option<Database>,
}

#[derive(Deserialize)]
struct LastError {
    reason: String,
    text: String,
}

#[derive(Deserialize)]
struct HostType {
    host_type: String,
    allowed: bool,
    domains: u64,
}

#[derive(Deserialize)]
struct Database {
    kind: String,
    connections: u64,
    idle: u64,
}

/// `GET /api/nodes`.
#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    node: String,
    this: bool,
    reachable: bool,
    status: Option<NodeStatus>,
}

#[derive(Deserialize)]
struct NodeStatus {
    state: String,
    lag: Option<u64>,
    domains: u64,
    seconds_since_check: Option<f64>,
}

/// `POST /api/verify`.
#[derive(Deserialize)]
struct Verified {
    result: String,
    #[serde(default)]
    count: u64,
    #[serde(default)]
    domains: Vec<Difference>,
}

#[derive(Deserialize)]
struct Difference {
    domain: String,
    in_table: Option<String>,
    in_database: Option<String>,
}

/// Prints how the node is.
pub fn status(as_json: bool, client: &Client) -> Result<ExitCode, Error> {
    let status: Value = client.get("/api/status")?;
    let nodes: Value = client.get("/api/nodes")?;
    if as_json {
        output::json(&json!({"status": status, "nodes": nodes["nodes"]}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let unexpected = |error: serde_json::Error| client.unexpected(format!("JSON, but {error}"));
    let status: Status = serde_json::from_value(status).map_err(unexpected)?;
    let nodes: Nodes = serde_json::from_value(nodes).map_err(unexpected)?;
    output::line(summary(&status, &nodes.nodes))?;
    Ok(ExitCode::SUCCESS)
}

/// Compares the table with the database, and prints what differs.
pub fn verify(client: &Client) -> Result<ExitCode, Error> {
    let verified: Verified = client.post("/api/verify", &json!({}))?;
    if verified.result == "ok" {
        output::line("the table matches the database")?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = |host_type: &Option<String>| match host_type {
        Some(host_type) => printable(host_type),
        None => "absent".to_owned(),
    };
    output::line(format_args!("domains that differ: {}", verified.count))?;
    for Difference { domain, in_table, in_database } in &verified.domains {
        output::line(format_args!(
            "{}: in the table {}, in the database {}",
            printable(domain),
            name(in_table),
            name(in_database)
        ))?;
    }
    Ok(ExitCode::FAILURE)
}

fn summary(status: &Status, nodes: &[Node]) -> String {
    let mut rows = vec![
        ("node", format!("{}, version {}", status.node, status.version)),
        ("state", status.state.clone()),
        ("position", position(status)),
        ("last check", ago(status.seconds_since_check)),
        ("since start", since_start(status)),
        ("errors", errors(status)),
        ("domains", format!("{} ({} from the database)", status.domains, status.followed)),
    ];
    let host_types = status.host_types.iter().map(|HostType { host_type, allowed, domains }| {
        let note = if *allowed { "" } else { " (not allowed here)" };
        format!("{}: {domains}{note}", printable(host_type))
    });
    add_list(&mut rows, "host types", host_types);
    rows.push(("database", database(status.database.as_ref())));
    add_list(&mut rows, "nodes", nodes.iter().map(node));
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12} {value}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// The name stands before the first line only.
fn add_list(
    rows: &mut Vec<(&'static str, String)>,
    name: &'static str,
    lines: impl Iterator<Item = String>,
) {
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    rows.extend(names.zip(lines));
}

fn position(status: &Status) -> String {
    let number = |number: Option<i64>| number.map_or("none".to_owned(), |n| n.to_string());
    let seconds = match status.lag_seconds {
        Some(seconds) if seconds > 0.0 => format!(", {seconds:.1} s behind"),
        _ => String::new(),
    };
    let lag = status.lag.map_or("unknown".to_owned(), |lag| lag.to_string());
    format!(
        "{} (newest event {}), lag {lag}{seconds}",
        number(status.position),
        number(status.newest_event)
    )
}

fn ago(seconds: Option<f64>) -> String {
    seconds.map_or("none".to_owned(), |seconds| format!("{seconds:.1} s ago"))
}

fn since_start(status: &Status) -> String {
    format!(
        "checks {}, loads {}, reloads {}, audits {}, gaps settled {}, dummies written {}",
        status.checks,
        status.loads,
        counted(&status.reloads),
        status.audits,
        status.gaps_settled,
        status.dummies_written
    )
}

fn errors(status: &Status) -> String {
    let errors = counted(&status.errors);
    match &status.last_error {
        Some(LastError { reason, text }) => {
            format!("{errors}; the last: {reason}: {}", printable(text))
        }
        None => errors,
    }
}

/// How many in all, and of each kind.
fn counted(kinds: &BTreeMap<String, u64>) -> String {
    let total: u64 = kinds.values().sum();
    if kinds.is_empty() {
        return total.to_string();
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    format!("{total} ({})", kinds.join(", "))
}

fn database(database: Option<&Database>) -> String {
    match database {
        Some(Database { kind, connections, idle }) => {
            format!("{kind}, connections {connections}, idle {idle}")
        }
        None => "none".to_owned(),
    }
}

fn node(node: &Node) -> String {
    let this = if node.this { " (this node)" } else { "" };
    let status = match &node.status {
        Some(NodeStatus { state, lag, domains, seconds_since_check }) => format!(
            "{state}, lag {}, domains {domains}, last check {}",
            lag.map_or("unknown".to_owned(), |lag| lag.to_string()),
            ago(*seconds_since_check)
        ),
        None if node.reachable => "no status: it runs other code".to_owned(),
        None => "not reachable".to_owned(),
    };
    format!("{}{this}: {status}", node.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_all_that_matters() {
        let status = serde_json::from_value(json!({
            "node": "mim@host", "version": "0.1.0", "state": "retrying", "position": 120,
            "newest_event": 123, "lag": 3, "lag_seconds": 2.04, "seconds_since_check": 12.34,
            "checks": 17, "loads": 2, "reloads": {"too_old": 1}, "gaps_settled": 4,
            "dummies_written": 5, "audits": 3, "errors": {"timeout": 2, "unavailable": 1},
            "last_error": {"reason": "timeout", "text": "no answer"}, "domains": 101,
            "followed": 100,
            "host_types": [{"host_type": "type1", "allowed": true, "domains": 101},
                           {"host_type": "old", "allowed": false, "domains": 0}],
            "database": {"kind": "postgres", "connections": 3, "idle": 2}, "history": [],
        }))
        .unwrap();
        let nodes: Nodes = serde_json::from_value(json!({"nodes": [
            {"node": "mim@host", "this": true, "reachable": true, "status":
                {"state": "retrying", "lag": 3, "domains": 101, "seconds_since_check": 12.34}},
            {"node": "stock@host", "this": false, "reachable": true, "status": null},
            {"node": "away@host", "this": false, "reachable": false, "status": null},
        ]}))
        .unwrap();
        let expected = "\
node         mim@host, version 0.1.0
state        retrying
position     120 (newest event 123), lag 3, 2.0 s behind
last check   12.3 s ago
since start  checks 17, loads 2, reloads 1 (too_old 1), audits 3, gaps settled 4, dummies written 5
errors       3 (timeout 2, unavailable 1); the last: timeout: no answer
domains      101 (100 from the database)
host types   type1: 101
             old: 0 (not allowed here)
database     postgres, connections 3, idle 2
nodes        mim@host (this node): retrying, lag 3, domains 101, last check 12.3 s ago
             stock@host: no status: it runs other code
             away@host: not reachable";
        assert_eq!(summary(&status, &nodes.nodes), expected);
    }

    #[test]
    fn what_is_not_known_is_said_to_be_unknown() {
        let status = serde_json::from_value(json!({
            "node": "a@b", "version": "0.1.0", "state": "disabled", "position": null,
            "newest_event": null, "lag": null, "lag_seconds": null, "seconds_since_check": null,
            "checks": 0, "loads": 0, "reloads": {}, "gaps_settled": 0, "dummies_written": 0,
            "audits": 0, "errors": {}, "last_error": null, "domains": 1, "followed": 0,
            "host_types": [], "database": null,
        }))
        .unwrap();
        let expected = "\
node         a@b, version 0.1.0
state        disabled
position     none (newest event none), lag unknown
last check   none
since start  checks 0, loads 0, reloads 0, audits 0, gaps settled 0, dummies written 0
errors       0
domains      1 (0 from the database)
database     none";
        assert_eq!(summary(&status, &[]), expected);
    }
}
