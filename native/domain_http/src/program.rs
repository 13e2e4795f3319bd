//! The life of the program: the first frame says what it is for; then it serves until the node tells it
//! to stop, or is gone.

use crate::limits::{die_with_parent, ignore_signals, limit_memory, write_no_core};
use crate::node::Node;
use crate::options::{Given, Options, StartError};
use crate::port::{End, Port};
use crate::protocol::{First, ToNode, VERSION};
use crate::server::Server;
use crate::{database::Database, frame};
use parking_lot::Mutex;
use std::io::{Stdin, stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, exit};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// Threads that serve. More would be faster, and take more from the node.
const THREADS: usize = 2;
/// Threads for what blocks: files, names of hosts.
const BLOCKING_THREADS: usize = 4;

/// Runs the program.
pub fn run() -> ExitCode {
    ignore_signals();
    if let Err(error) = die_with_parent().and_then(|()| write_no_core()) {
        return failed(&error.to_string());
    }
    let input = stdin();
    let first = match frame::read::<First>(&mut input.lock()) {
        Ok(Some(first)) => first,
        Ok(None) => return failed("it is started by an Erlang node, not by hand"),
        Err(error) => return failed(&error.to_string()),
    };
    let port = match Port::new(stdout()) {
        Ok(port) => Arc::new(port),
        Err(error) => return failed(&error.to_string()),
    };
    match first {
        First::Check(VERSION, given) => {
            tell(&port, Options::try_from(given).and_then(|options| options.check()))
        }
        First::Start(VERSION, given, database) => start(input, port, given, database),
        First::Check(..) | First::Start(..) => tell(&port, Err(another_version())),
    }
}

/// For the log of the node, which shares its standard error.
fn failed(text: &str) -> ExitCode {
    eprintln!("mongoose-domain-http: {text}");
    ExitCode::FAILURE
}

fn another_version() -> StartError {
    let text = format!(
        "mongoose-domain-http {} is not of the version of this node: install both from one version",
        env!("CARGO_PKG_VERSION")
    );
    StartError::Other(text)
}

fn tell(port: &Port, checked: Result<(), StartError>) -> ExitCode {
    let sent = match checked {
        Ok(()) => port.send(&ToNode::Checked),
        Err(error) => port.send(&ToNode::Failed(error.reason(), &error.to_string())),
    };
    if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(input: Stdin, port: Arc<Port>, given: Given, database: Option<Box<Database>>) -> ExitCode {
    let runtime = limit_memory(given.memory_limit).and_then(|()| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).max_blocking_threads(BLOCKING_THREADS);
        builder.thread_name("http").enable_all().build()
    });
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tell(&port, Err(StartError::Other(error.to_string()))),
    };
    tell_panics(&port);
    let server = Arc::new(Mutex::new(None));
    let turning = port.clone();
    runtime.spawn(async move { turning.turn().await });
    // To listen may take a while, and pings are answered meanwhile.
    let (serving, to_node, handle) = (server.clone(), port.clone(), runtime.handle().clone());
    runtime.spawn_blocking(move || {
        let _inside = handle.enter();
        let served = catch_unwind(AssertUnwindSafe(|| serve(&to_node, given, database, &handle)));
        match served.unwrap_or_else(|_| exit(1)) {
            Ok(started) => {
                let address = started.address();
                *serving.lock() = Some(started);
                let listening = ToNode::Listening(&address.ip().to_string(), address.port());
                // If it cannot be sent the node is gone, and the input ends.
                let _ = to_node.send(&listening);
            }
            Err(error) => {
                tell(&to_node, Err(error));
                exit(1);
            }
        }
    });
    match port.read(input.lock(), || stop(&runtime, &server)) {
        // Whatever still runs: there is nobody for whom.
        End::Closed => exit(0),
        End::Wrong(text) => {
            failed(&text);
            exit(1);
        }
    }
}

fn serve(
    port: &Arc<Port>,
    given: Given,
    database: Option<Box<Database>>,
    handle: &tokio::runtime::Handle,
) -> Result<Server, StartError> {
    let name = given.node.clone();
    let options = Options::try_from(given)?;
    let store = database.map(|it| it.open()).transpose().map_err(StartError::Database)?;
    let node = Arc::new(Node::new(port.clone(), store));
    Server::start(&options, node, name, handle)
}

/// Ends the program as soon as the requests in progress have ended, while answers still come.
fn stop(runtime: &Runtime, server: &Mutex<Option<Server>>) {
    let server = server.lock().take();
    runtime.spawn(async move {
        if let Some(server) = server {
            server.stop().await;
        }
        exit(0);
    });
}

/// A request that panics is lost, and the others go on. The node logs it.
fn tell_panics(port: &Arc<Port>) {
    let port = port.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = port.send(&ToNode::Panicked(&panic.to_string()));
    }));
}
