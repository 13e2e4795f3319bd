//! Random input for everything that parses what clients and the node send: `make fuzz`.
//!
//! What must hold: no panic, no overflow of a stack, and an answer that is no failure of the server. A
//! text is made of pieces of its language, each maybe many times, so that it is deep and wide; or it is
//! bytes. With `cargo test` each runs for a second; `FUZZ_SECONDS` says otherwise, and `FUZZ_SEED` what to begin
//! with.

use crate::admin::Admin;
use crate::frame;
use crate::node::Node;
use crate::port::Port;
use crate::protocol::{First, FromNode};
use crate::server::routes;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use domain_store::{Config, Store};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::fmt::Debug;
use std::io::{Error, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// A node that is gone: each question fails at once.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(Error::other("gone"))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The routes of a server, with a database of its own.
struct Server {
    runtime: Runtime,
    routes: Router,
}

impl Server {
    fn new(name: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let file = std::env::temp_dir().join(format!("fuzz-{name}-{}.db", std::process::id()));
        let store = {
            let _inside = runtime.enter();
            Store::open(&Config::new(format!("sqlite:{}", file.display()))).unwrap()
        };
        runtime.block_on(store.create_schema()).unwrap();
        // The connection that is open keeps it.
        std::fs::remove_file(file).unwrap();
        let port = Arc::new(Port::new(Gone).unwrap());
        let node = Arc::new(Node::new(port, Some(store)));
        let admin = Arc::new(Admin::new(node, "fuzz".to_owned()));
        let routes = routes(&admin, None).unwrap();
        Server { runtime, routes }
    }

    /// Sends a request, and reads its whole answer.
    fn ask(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> u16 {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::HOST, "localhost").header(header::CONTENT_TYPE, kind);
        // What is no path does not come so far.
        let Ok(request) = request.body(Body::from(body)) else { return 400 };
        self.runtime.block_on(async {
            let answer = self.routes.clone().oneshot(request).await.unwrap();
            let status = answer.status().as_u16();
            // An export from a node that is gone breaks off.
            let _ = to_bytes(answer.into_body(), usize::MAX).await;
            status
        })
    }
}

/// Pieces of a text: which one, and how many times; some bytes between.
#[derive(Debug, Clone)]
enum Piece {
    Once(u8),
    Many(u8, usize),
    Bytes(Vec<u8>),
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        8 => any::<u8>().prop_map(Piece::Once),
        1 => (any::<u8>(), 2..200_usize).prop_map(|(word, times)| Piece::Many(word, times)),
        1 => (any::<u8>(), 200..20_000_usize).prop_map(|(word, times)| Piece::Many(word, times)),
        1 => vec(any::<u8>(), 0..8).prop_map(Piece::Bytes),
    ];
    vec(piece, 0..24)
}

fn text(pieces: &[Piece], words: &[&str]) -> Vec<u8> {
    let word = |number: u8| words[usize::from(number) % words.len()].as_bytes();
    let piece = |piece: &Piece| match piece {
        Piece::Once(number) => word(*number).to_vec(),
        Piece::Many(number, times) => word(*number).repeat(*times),
        Piece::Bytes(bytes) => bytes.clone(),
    };
    pieces.iter().flat_map(piece).collect()
}

/// Runs a test with random values until the time is over. The seed is printed before: an overflow of the
/// stack leaves no time for it afterwards.
fn fuzz<S: Strategy>(values: S, test: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let end = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(1));
    let mut seed = number("FUZZ_SEED").unwrap_or_else(first_seed);
    loop {
        eprintln!("FUZZ_SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let config = ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() };
        let result = TestRunner::new_with_rng(config, rng).run(&values, |value| {
            test(value);
            Ok(())
        });
        if let Err(failure) = result {
            panic!("FUZZ_SEED={seed}: {failure}");
        }
        if Instant::now() > end {
            return;
        }
        seed += 1;
    }
}

fn first_seed() -> u64 {
    u64::from(std::process::id()) << 32
}

/// 500 is for what only a node can answer.
fn is_expected(status: u16) -> bool {
    status <= 500
}

const GRAPHQL: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "{a",
    "[1",
    "{a:",
    "(a:",
    "...",
    "...f",
    "... on Query",
    "$a",
    ":",
    "!",
    "=",
    "@",
    "@include(if:",
    "|",
    "&",
    "\"",
    "\"\"\"",
    "\\",
    "\\u",
    "#",
    "\n",
    ",",
    "query",
    "mutation",
    "fragment f on Query",
    "domain",
    "domainDetails(domain:",
    "allDomains",
    "__schema",
    "__type(name:",
    "true",
    "1e9",
    "null",
    "\u{feff}",
];

#[test]
fn queries_in_graphql() {
    let server = Server::new("graphql");
    fuzz(pieces(), |pieces| {
        let query = String::from_utf8_lossy(&text(&pieces, &GRAPHQL)).into_owned();
        let body = serde_json::json!({ "query": query }).to_string();
        let status = server.ask("POST", "/api/graphql", "application/json", body.into_bytes());
        assert!([200, 400, 413].contains(&status), "{status}: {query}");
    });
}

const JSON: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "[[",
    "{\"a\":",
    ":",
    ",",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "null",
    "true",
    "1",
    "-",
    "1e",
    "\"query\"",
    "\"variables\"",
    "\"host_type\"",
    "\"enabled\"",
    "\"request\"",
    "\"operationName\"",
    "\u{feff}",
];

#[test]
fn bodies_in_json() {
    let server = Server::new("json");
    fuzz((pieces(), any::<u8>()), |(pieces, which)| {
        let body = text(&pieces, &JSON);
        let (method, path) = match which % 4 {
            0 => ("PUT", "/api/domains/a.example"),
            1 => ("PATCH", "/api/domains/a.example"),
            2 => ("DELETE", "/api/domains/a.example"),
            _ => ("POST", "/api/graphql"),
        };
        let status = server.ask(method, path, "application/json", body);
        assert!(is_expected(status), "{status}");
    });
}

const RECORDS: [&str; 22] = [
    "a.example",
    ",",
    "type1",
    "\n",
    "\r\n",
    "\r",
    "\"",
    "\"\"",
    "#",
    "enabled",
    "disabled",
    "domain,host_type,status\n",
    "\u{feff}",
    "{\"domain\":",
    "\"host_type\":",
    "\"status\":",
    "}",
    "[",
    "\0",
    " ",
    "\u{e9}",
    "\\",
];

#[test]
fn records_of_imports() {
    let server = Server::new("records");
    fuzz((pieces(), any::<bool>(), any::<bool>()), |(pieces, is_csv, is_dry)| {
        let path = if is_dry { "/api/import?dry_run=true" } else { "/api/import" };
        let kind = if is_csv { "text/csv" } else { "application/x-ndjson" };
        let status = server.ask("POST", path, kind, text(&pieces, &RECORDS));
        assert!(is_expected(status), "{status}");
    });
}

const QUERIES: [&str; 22] = [
    "?",
    "&",
    "=",
    "%",
    "%00",
    "%ff",
    "%2",
    "+",
    "limit=",
    "10",
    "-1",
    "after=",
    "a",
    "host_type=",
    "type1",
    "status=",
    "enabled",
    "format=",
    "csv",
    "ndjson",
    "dry_run=",
    "true",
];

#[test]
fn paths_and_query_strings() {
    let server = Server::new("paths");
    fuzz((pieces(), any::<u8>()), |(pieces, which)| {
        let rest = String::from_utf8_lossy(&text(&pieces, &QUERIES)).into_owned();
        let (method, path) = match which % 6 {
            0 => ("GET", "/api/domains?"),
            1 => ("GET", "/api/export?"),
            2 => ("POST", "/api/import?"),
            3 => ("GET", "/api/domains/"),
            4 => ("PUT", "/api/domains/"),
            _ => ("GET", "/"),
        };
        let status = server.ask(method, &format!("{path}{rest}"), "text/csv", Vec::new());
        assert!(is_expected(status), "{status}");
    });
}

/// Of external terms: of frames, and of what is in them.
const TERMS: [&str; 24] = [
    "\u{83}",
    "h\x02",
    "h\x03",
    "a\x01",
    "d\0\x06answer",
    "d\0\x04part",
    "d\0\x04ping",
    "d\0\x04done",
    "d\0\x05names",
    "d\0\x05pairs",
    "d\0\x08verified",
    "m\0\0\0\x01a",
    "m\x7f\x7f\x7f\x7f",
    "l\0\0\0\x01",
    "l\x7f\x7f\x7f\x7f",
    "j",
    "t\0\0\0\x01",
    "t\x7f\x7f\x7f\x7f",
    "b\0\0\0\x01",
    "n\x08\0",
    "F",
    "k\0\x01a",
    "P\0\0\0\x01",
    "w\x05start",
];

#[test]
fn frames_of_the_node() {
    fuzz(pieces(), |pieces| {
        // Latin 1, so that 0x83, with which each term begins, is one byte.
        let words: Vec<Vec<u8>> =
            TERMS.iter().map(|word| word.chars().map(|c| c as u8).collect()).collect();
        let bytes: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| match piece {
                Piece::Bytes(bytes) => bytes.clone(),
                Piece::Once(number) => words[usize::from(*number) % words.len()].clone(),
                Piece::Many(number, times) => {
                    words[usize::from(*number) % words.len()].repeat((*times).min(500))
                }
            })
            .collect();
        let term = [&[131], bytes.as_slice()].concat();
        for bytes in [&bytes, &term] {
            let _ = frame::decode::<FromNode>(bytes);
            let _ = frame::decode::<First>(bytes);
            let _ = frame::read::<FromNode>(&mut bytes.as_slice());
        }
    });
}
