//! The HTTP server: started and stopped from Erlang; and the node that it asks.
//!
//! Reads are answered from the table and the database. What only Erlang can do is sent to the process
//! that started the server, as `{mongoose_domain_nif, Question, Asked}`, and answered by
//! [`answer`], by any process. A question that is dropped without an answer (its process died) is
//! answered, too: by a failure.

use crate::database::{Database, Open};
use crate::runtime::Threads;
use crate::table::routing;
use crate::term::{failure, reason};
use crate::{bad_http_option, http_failed, mongoose_domain_nif, ok, service_domain_db, stopped};
use domain_http::{Answer, Change, Credentials, Difference, HostType, Member, MemberStatus};
use domain_http::{Node, Options, Refusal, Route, Server, Snapshot, StartError, TlsFiles};
use domain_store::Store;
use domain_table::Name;
use parking_lot::Mutex;
use rustler::sys::enif_whereis_pid;
use rustler::types::erlang_option::ErlOption;
use rustler::{Atom, Encoder, Env, LocalPid, NifMap, NifResult, NifTaggedEnum};
use rustler::{OwnedEnv, Resource, ResourceArc, Term};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::ptr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A server as a term, until it is stopped or nobody refers to it any more.
struct HttpServer(Mutex<Option<(Server, Arc<Threads>)>>);

#[rustler::resource_impl]
impl Resource for HttpServer {}

/// Waits for its answer.
struct Question(Mutex<Option<oneshot::Sender<Reply>>>);

#[rustler::resource_impl]
impl Resource for Question {}

#[derive(NifMap)]
struct HttpOptions {
    /// The node's own name.
    node: String,
    ip_address: String,
    port: u16,
    username: ErlOption<String>,
    password: ErlOption<String>,
    certfile: ErlOption<String>,
    keyfile: ErlOption<String>,
}

/// What only Erlang can do.
#[derive(NifTaggedEnum)]
enum Asked {
    InsertDomain(String, String),
    DeleteDomain(String, String),
    RequestDeleteDomain(String, String),
    EnableDomain(String),
    DisableDomain(String),
    SetDomainPassword(String, String),
    DeleteDomainPassword(String),
    RequestChecks,
    /// To note it.
    Failed(Atom, String),
    Verify,
    Members,
}

/// Its answers.
#[derive(NifTaggedEnum)]
enum Reply {
    Done,
    /// For people.
    Text(String),
    /// The reason, and a text for people.
    Refused(String, String),
    /// How many domains differ, and the first ten.
    Verified(usize, Vec<(String, ErlOption<String>, ErlOption<String>)>),
    /// Name, is it this one, is it reachable, its status.
    Members(Vec<(String, bool, bool, ErlOption<MemberTerm>)>),
}

/// State, lag, domains, seconds since the last check.
type MemberTerm = (String, ErlOption<u64>, u64, ErlOption<f64>);

/// The node of the VM.
struct ErlangNode {
    process: LocalPid,
    open: Option<Arc<Open>>,
}

impl ErlangNode {
    /// Asks the process. Only from tokio's threads.
    async fn ask(process: LocalPid, request: Asked) -> Result<Reply, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let question = ResourceArc::new(Question(Mutex::new(Some(sender))));
        let sent = OwnedEnv::new()
            .send_and_clear(&process, |env| (mongoose_domain_nif(), question, request).encode(env));
        let gone = || Refusal::Database("the process that was asked stopped".to_owned());
        sent.map_err(|_| gone())?;
        match receiver.await {
            Ok(Reply::Refused(code, text)) => Err(Refusal::from_code(&code, text)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(gone()),
        }
    }
}

/// Is there a process of this name? Only from threads that are not the VM's.
#[allow(unsafe_code)]
fn is_registered(name: Atom) -> bool {
    let mut pid = MaybeUninit::uninit();
    // SAFETY: threads of our own have no environment, and an atom needs none.
    let found = unsafe { enif_whereis_pid(ptr::null_mut(), name.as_c_arg(), pid.as_mut_ptr()) };
    found != 0
}

impl Node for ErlangNode {
    fn route(&self, domain: &str) -> Option<Route> {
        let routing = routing()?;
        let table = routing.table();
        let host_type = table.host_type(domain.as_bytes())?.to_string();
        Some(Route { host_type, is_static: table.is_static(domain.as_bytes()) })
    }

    fn is_allowed(&self, host_type: &str) -> bool {
        routing().is_some_and(|it| it.table().is_host_type_allowed(host_type.as_bytes()))
    }

    fn statics(&self) -> Vec<(String, String)> {
        let Some(routing) = routing() else { return Vec::new() };
        let statics = routing.table().statics().into_iter();
        statics.map(|(domain, host_type)| (domain.into(), host_type.to_string())).collect()
    }

    fn domains_of(&self, host_type: &str) -> Vec<Name> {
        routing().map_or_else(Vec::new, |it| it.table().domains_of(host_type.as_bytes()))
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let routing = routing()?;
        let counts = routing.statistics();
        let table = routing.table();
        let host_types = table.host_types().into_iter().map(|(name, allowed, domains)| HostType {
            host_type: name.to_string(),
            allowed,
            domains: domains as u64,
        });
        let reloads: BTreeMap<String, u64> =
            counts.reloads.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        Some(Snapshot {
            follows: is_registered(service_domain_db()),
            // A log that was empty.
            position: routing.position().map(|position| position.newest().unwrap_or(0)),
            newest_event: counts.newest_event,
            seconds_since_check: counts.checked.map(|at| at.elapsed().as_secs_f64()),
            failing: counts.failing,
            checks: counts.checks,
            loads: counts.loads,
            reloads,
            gaps_settled: counts.gaps_settled,
            dummies_written: counts.dummies_written,
            audits: counts.audits,
            errors: counts.errors,
            last_error: counts.last_error,
            domains: table.len() as u64,
            followed: table.followed_len() as u64,
            host_types: host_types.collect(),
        })
    }

    fn store(&self) -> Option<&Store> {
        self.open.as_ref().map(|open| &open.store)
    }

    fn change(&self, change: Change) -> Answer<Result<(), Refusal>> {
        let request = match change {
            Change::Insert { domain, host_type } => Asked::InsertDomain(domain, host_type),
            Change::Delete { domain, host_type } => Asked::DeleteDomain(domain, host_type),
            Change::RequestDelete { domain, host_type } => {
                Asked::RequestDeleteDomain(domain, host_type)
            }
            Change::Enable { domain } => Asked::EnableDomain(domain),
            Change::Disable { domain } => Asked::DisableDomain(domain),
        };
        let asked = ErlangNode::ask(self.process, request);
        Box::pin(async { asked.await.map(drop) })
    }

    fn change_password(
        &self,
        domain: String,
        password: Option<String>,
    ) -> Answer<Result<String, Refusal>> {
        let request = match password {
            Some(password) => Asked::SetDomainPassword(domain, password),
            None => Asked::DeleteDomainPassword(domain),
        };
        let asked = ErlangNode::ask(self.process, request);
        Box::pin(async {
            match asked.await? {
                Reply::Text(text) => Ok(text),
                _ => Err(unexpected()),
            }
        })
    }

    fn request_checks(&self) -> Answer<Result<(), Refusal>> {
        let asked = ErlangNode::ask(self.process, Asked::RequestChecks);
        Box::pin(async { asked.await.map(drop) })
    }

    fn failed(&self, error: &domain_store::Error) -> Answer<()> {
        let failed = Asked::Failed(reason(error.kind()), error.to_string());
        let asked = ErlangNode::ask(self.process, failed);
        // The request fails anyway.
        Box::pin(async { drop(asked.await) })
    }

    fn verify(&self) -> Answer<Result<(usize, Vec<Difference>), Refusal>> {
        let asked = ErlangNode::ask(self.process, Asked::Verify);
        Box::pin(async {
            let Reply::Verified(count, found) = asked.await? else { return Err(unexpected()) };
            let found = found.into_iter().map(|(domain, in_table, in_database)| Difference {
                domain,
                in_table: in_table.into(),
                in_database: in_database.into(),
            });
            Ok((count, found.collect()))
        })
    }

    fn members(&self) -> Answer<Result<Vec<Member>, Refusal>> {
        let asked = ErlangNode::ask(self.process, Asked::Members);
        Box::pin(async {
            let Reply::Members(members) = asked.await? else { return Err(unexpected()) };
            let member = |(node, this, reachable, status): (_, _, _, ErlOption<_>)| {
                let status = Option::from(status).map(member_status);
                Member { node, this, reachable, status }
            };
            Ok(members.into_iter().map(member).collect())
        })
    }
}

fn member_status((state, lag, domains, seconds): MemberTerm) -> MemberStatus {
    MemberStatus { state, lag: lag.into(), domains, seconds_since_check: seconds.into() }
}

fn unexpected() -> Refusal {
    Refusal::Database("the process that was asked answered something else".to_owned())
}

/// Answers a question. One that nobody waits for any more is no error.
#[rustler::nif]
fn answer(question: ResourceArc<Question>, reply: Reply) -> Atom {
    if let Some(sender) = question.0.lock().take() {
        let _ = sender.send(reply);
    }
    ok()
}

/// Checks the options of a server.
#[rustler::nif(schedule = "DirtyIo")]
fn check_http(env: Env<'_>, options: HttpOptions) -> Term<'_> {
    match parsed(options).and_then(|options| options.check()) {
        Ok(()) => ok().encode(env),
        Err(error) => start_failure(env, &error),
    }
}

/// Starts a server, whose questions go to the caller.
#[rustler::nif(schedule = "DirtyIo")]
fn start_http<'a>(
    env: Env<'a>,
    options: HttpOptions,
    database: ErlOption<ResourceArc<Database>>,
) -> Term<'a> {
    let open = Option::from(database).and_then(|it: ResourceArc<Database>| it.open());
    let threads = match Threads::share() {
        Ok(threads) => threads,
        Err(error) => return failure(env, stopped(), &format!("no thread to be had: {error}")),
    };
    let Some(runtime) = threads.runtime() else {
        return failure(env, stopped(), "the runtime is stopping");
    };
    let name = options.node.clone();
    let node = Arc::new(ErlangNode { process: env.pid(), open });
    let started =
        parsed(options).and_then(|options| Server::start(&options, node, name, runtime.handle()));
    match started {
        Ok(server) => {
            let server = HttpServer(Mutex::new(Some((server, threads))));
            (ok(), ResourceArc::new(server)).encode(env)
        }
        Err(error) => start_failure(env, &error),
    }
}

/// `{IpAddress, Port}` of a server that runs.
#[rustler::nif]
fn http_address(server: ResourceArc<HttpServer>) -> NifResult<(String, u16)> {
    match &*server.0.lock() {
        Some((server, _)) => Ok((server.address().ip().to_string(), server.address().port())),
        None => Err(rustler::Error::BadArg),
    }
}

/// Stops a server: its port is free then. Requests in progress get a short while to end.
#[rustler::nif(schedule = "DirtyIo")]
fn stop_http(server: ResourceArc<HttpServer>) -> Atom {
    let server = server.0.lock().take();
    if let Some((server, threads)) = server
        && let Some(runtime) = threads.runtime()
    {
        runtime.block_on(server.stop());
    }
    ok()
}

fn parsed(options: HttpOptions) -> Result<Options, StartError> {
    let ip_address: IpAddr = options.ip_address.parse().map_err(|_| {
        let text =
            format!("ip_address '{}' is no IP address such as 127.0.0.1", options.ip_address);
        StartError::Option(text)
    })?;
    let both = |what: &str| StartError::Option(format!("{what} must be set both, or none of them"));
    let credentials = match (options.username.into(), options.password.into()) {
        (Some(username), Some(password)) => Some(Credentials { username, password }),
        (None, None) => None,
        _ => return Err(both("username and password")),
    };
    let tls = match (Option::<String>::from(options.certfile), Option::from(options.keyfile)) {
        (Some(certificate), Some::<String>(key)) => {
            Some(TlsFiles { certificate: certificate.into(), key: key.into() })
        }
        (None, None) => None,
        _ => return Err(both("tls.certfile and tls.keyfile")),
    };
    let address = SocketAddr::new(ip_address, options.port);
    Ok(Options { address, credentials, tls })
}

fn start_failure<'a>(env: Env<'a>, error: &StartError) -> Term<'a> {
    let reason = if error.is_option() { bad_http_option() } else { http_failed() };
    failure(env, reason, &error.to_string())
}
