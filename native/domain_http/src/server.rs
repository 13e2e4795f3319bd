//! The listener: its limits, its start and its end.

use crate::admin::Admin;
use crate::certificates::Certificates;
use crate::error::Error;
use crate::guard::{Guard, guard};
use crate::lag::SAMPLE;
use crate::metrics::{Requests, count};
use crate::node::Node;
use crate::options::{Credentials, Options, StartError};
use crate::{export, graphql, import, metrics, page, rest, status};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::{SocketAddr, TcpListener};
use std::panic::AssertUnwindSafe;
use std::process::exit;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;

/// The most connections at a time.
const CONNECTIONS: usize = 256;
/// When they are taken, so many more are let in for a single request each: a probe is answered, any
/// other gets a 503. The next one waits.
const SPARE: usize = 32;
/// How long a client may take for TLS, and for the head of a request, also of the next one.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// The same while half of the connections are taken: a client that says nothing must not keep others
/// out.
const CROWDED_HEAD_LIMIT: Duration = Duration::from_secs(2);
/// How long a client may take none of an answer.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// The most bytes and lines of the head of a request.
const LONGEST_HEAD: usize = 32 * 1024;
const HEAD_LINES: usize = 64;
/// How long the requests in progress get when the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How long a port may be taken still, by a server of ours that just stopped.
const BIND_LIMIT: Duration = Duration::from_secs(2);

/// A server that runs. It stops when it is dropped, too.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Begins to listen, and serves on the runtime until it is stopped.
    pub fn start(
        options: &Options,
        node: Arc<Node>,
        name: String,
        runtime: &Handle,
    ) -> Result<Server, StartError> {
        options.check()?;
        let certificates = options.tls.as_ref().map(Certificates::load).transpose()?;
        let failed = |error| StartError::Bind(options.address, error);
        let listener = bind(options.address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let admin = Arc::new(Admin::new(node, name));
        let routes = Routes::new(&admin, options.credentials.as_ref())
            .map_err(|error| StartError::Other(error.to_string()))?;
        let _inside = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let (stop, stopped) = watch::channel(());
        let serving = async move {
            tokio::select! {
                () = serve(listener, routes, certificates.as_ref(), stopped) => {}
                () = sample(&admin) => {}
                () = follow(certificates.as_ref(), &admin) => {}
            }
        };
        let task = runtime.spawn(async {
            if AssertUnwindSafe(serving).catch_unwind().await.is_err() {
                // Nobody listens any more: the node starts the program again.
                exit(1);
            }
        });
        Ok(Server { address, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, lets requests in progress end for a short while, and returns when they have.
    pub async fn stop(self) {
        let Server { stop, task, .. } = self;
        drop(stop);
        // Nothing to be done about a task that panicked.
        let _ = task.await;
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse
                    && begun.elapsed() < BIND_LIMIT =>
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

/// What is answered.
pub struct Routes {
    pub all: Router,
    /// When all places are taken.
    spare: Router,
}

impl Routes {
    pub fn new(
        admin: &Arc<Admin>,
        credentials: Option<&Credentials>,
    ) -> Result<Routes, prometheus::Error> {
        let requests = Requests::new()?;
        let missing = || async { Error::new(StatusCode::NOT_FOUND, "not found") };
        let wrong = || async { Error::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed") };
        let full = || async {
            let error = Error::new(StatusCode::SERVICE_UNAVAILABLE, "too many connections");
            ([(header::RETRY_AFTER, "1")], error)
        };
        let all = Router::new()
            .merge(rest::routes())
            .merge(graphql::routes(admin))
            .merge(import::routes())
            .merge(export::routes())
            .merge(status::routes())
            .merge(metrics::routes(&requests))
            .merge(page::routes())
            .fallback(missing)
            .method_not_allowed_fallback(wrong)
            .with_state(admin.clone())
            .layer(from_fn_with_state(Arc::new(Guard::new(credentials)), guard));
        let spare = status::probes().fallback(full).with_state(admin.clone());
        let around = |router: Router| {
            router
                .layer(from_fn_with_state(requests.clone(), count))
                .layer(map_response(with_headers))
        };
        Ok(Routes { all: around(all), spare: around(spare) })
    }
}

async fn with_headers(mut answer: Response) -> Response {
    answer.headers_mut().extend(page::HEADERS);
    answer
}

async fn sample(admin: &Admin) {
    let mut ticks = tokio::time::interval(SAMPLE);
    loop {
        ticks.tick().await;
        admin.sample().await;
    }
}

/// Replaces the certificate when its file changes; without one there is nothing to do, ever.
async fn follow(certificates: Option<&Certificates>, admin: &Admin) {
    match certificates {
        Some(certificates) => certificates.follow(&admin.node).await,
        None => std::future::pending().await,
    }
}

/// Serves until told to stop.
async fn serve(
    listener: tokio::net::TcpListener,
    routes: Routes,
    certificates: Option<&Certificates>,
    mut stopped: watch::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let spare = Arc::new(Semaphore::new(SPARE));
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            // The sender is gone.
            _ = stopped.changed() => break,
        };
        let Ok((stream, _)) = stream else {
            // Too many open files, or the client is gone: it gets better.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (place, routes, keep_alive) = tokio::select! {
            biased;
            place = places.clone().acquire_owned() => (place, routes.all.clone(), true),
            place = spare.clone().acquire_owned() => (place, routes.spare.clone(), false),
            _ = stopped.changed() => break,
        };
        let is_crowded = places.available_permits() < CONNECTIONS / 2;
        let head_limit = if is_crowded { CROWDED_HEAD_LIMIT } else { HEAD_LIMIT };
        let terms = Terms { head_limit, keep_alive };
        let (acceptor, watcher) = (certificates.map(Certificates::acceptor), graceful.watcher());
        connections.spawn(async move {
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(WRITE_LIMIT));
            let stream = Box::pin(stream);
            // A connection that breaks is the client's business.
            let _ = match acceptor {
                None => converse(stream, routes, watcher, terms).await,
                Some(acceptor) => match timeout(head_limit, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, routes, watcher, terms).await,
                    _ => Ok(()),
                },
            };
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = timeout(STOP_LIMIT, graceful.shutdown()).await;
}

/// What a connection gets.
#[derive(Clone, Copy)]
struct Terms {
    head_limit: Duration,
    keep_alive: bool,
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    routes: Router,
    watcher: hyper_util::server::graceful::Watcher,
    terms: Terms,
) -> hyper::Result<()> {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(terms.head_limit)
        .keep_alive(terms.keep_alive)
        .max_buf_size(LONGEST_HEAD)
        .max_headers(HEAD_LINES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    watcher.watch(connection).await
}
