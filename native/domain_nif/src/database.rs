//! Databases, and requests to them.

use crate::runtime::{Address, Reply, Threads, on_own_thread};
use crate::term::{KeptTerm, binary, database_failure, failure, row};
use crate::{bad_database_option, deleting, done, exists, inserted, invalid_name, not_found, ok};
use crate::{ca, client, database, driver, host, mode, password, port, tls, username};
use crate::{idle_timeout, max_connections, none, query_timeout, stopped, url, wrong_host_type};
use domain_store::{
    Change, Client, Config, Driver, Endpoint, Insert, Pem, Server, Setting, Status,
};
use domain_store::{Store, Tls, TlsMode};
use domain_table::check_name;
use parking_lot::Mutex;
use rustler::{Atom, Decoder, Encoder, Env, Error, NifResult, NifTaggedEnum, NifUnitEnum};
use rustler::{Resource, ResourceArc, Term, TermType};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// The most connections that one may ask for: sqlx sets memory aside for each.
const MAX_CONNECTIONS: u32 = 100;
/// The longest time limit, in milliseconds: an hour.
const MAX_TIMEOUT: u64 = 3_600_000;
/// The most rows in a page, or events deleted at a time.
const MAX_ROWS: u32 = 10_000;

/// A database as a term, until it is closed or nobody refers to it any more.
pub struct Database(Mutex<Option<Arc<Open>>>);

/// An open database. Requests in progress hold it, too: one whose handle is garbage meanwhile comes
/// to its end all the same.
pub struct Open {
    pub store: Store,
    /// The most that it has.
    pub connections: u32,
    pub threads: Arc<Threads>,
}

#[rustler::resource_impl]
impl Resource for Database {}

impl Database {
    /// The database, if it is still open.
    pub fn open(&self) -> Option<Arc<Open>> {
        self.0.lock().clone()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let (store, threads) = (self.store.clone(), self.threads.clone());
        on_own_thread(move || {
            if let Some(runtime) = threads.runtime() {
                let close =
                    async { tokio::time::timeout(Duration::from_secs(2), store.close()).await };
                // Too late for manners: the end of the runtime cuts the connections.
                let _ = runtime.block_on(close);
            }
        });
    }
}

/// Opens a database: checks the options, connects only when needed.
#[rustler::nif(schedule = "DirtyIo")]
fn open_database<'a>(env: Env<'a>, options: Term<'a>) -> NifResult<Term<'a>> {
    let endpoint = match optional(options, url())? {
        Some(url) => Endpoint::Url(url),
        None => Endpoint::Server(server(options)?),
    };
    let wrong = |text| Ok(failure(env, bad_database_option(), text));
    let Some(max_connections) = integer(options, max_connections(), 1..=MAX_CONNECTIONS)? else {
        return wrong("max_connections must be 1 to 100");
    };
    let Some(query_timeout) = integer(options, query_timeout(), 1..=MAX_TIMEOUT)? else {
        return wrong("query_timeout must be 1 to 3600000 milliseconds");
    };
    let Some(idle_timeout) = integer(options, idle_timeout(), 1..=MAX_TIMEOUT)? else {
        return wrong("idle_timeout must be 1 to 3600000 milliseconds");
    };
    let query_timeout = Duration::from_millis(query_timeout);
    let idle_timeout = Duration::from_millis(idle_timeout);
    Ok(open(env, Config { endpoint, max_connections, query_timeout, idle_timeout }))
}

/// A server by its parts.
fn server(options: Term<'_>) -> NifResult<Server> {
    Ok(Server {
        driver: match options.map_get(driver())?.decode()? {
            ServerKind::Postgres => Driver::Postgres,
            ServerKind::Mysql => Driver::Mysql,
        },
        host: options.map_get(host())?.decode()?,
        port: options.map_get(port())?.decode()?,
        database: options.map_get(database())?.decode()?,
        username: options.map_get(username())?.decode()?,
        password: options.map_get(password())?.decode()?,
        tls: tls_options(options.map_get(tls())?)?,
    })
}

fn tls_options(options: Term<'_>) -> NifResult<Tls> {
    let pem = |pem| match pem {
        PemTerm::File(path) => Pem::File(path.into()),
        PemTerm::Pem(text) => Pem::Text(text),
    };
    let client = optional(options, client())?;
    let client = client.map(|(certificate, key): (String, _)| Client {
        certificate: certificate.into(),
        key: pem(key),
    });
    let mode = match options.map_get(mode())?.decode()? {
        Mode::Off => TlsMode::Off,
        Mode::Preferred => TlsMode::Preferred,
        Mode::Required => TlsMode::Required,
        Mode::VerifyCa => TlsMode::VerifyCa,
        Mode::VerifyFull => TlsMode::VerifyFull,
    };
    let ca = optional(options, ca())?.map(pem);
    Ok(Tls { mode, ca, client })
}

#[derive(NifUnitEnum)]
enum ServerKind {
    Postgres,
    Mysql,
}

#[derive(NifUnitEnum)]
enum Mode {
    Off,
    Preferred,
    Required,
    VerifyCa,
    VerifyFull,
}

#[derive(NifTaggedEnum)]
enum PemTerm {
    File(String),
    Pem(String),
}

/// A value of a map, if it is there.
fn optional<'a, T: Decoder<'a>>(map: Term<'a>, key: Atom) -> NifResult<Option<T>> {
    map.map_get(key).ok().map(|value| value.decode()).transpose()
}

/// An integer of a map; `None` if it is out of range.
fn integer<'a, T: Decoder<'a> + PartialOrd>(
    options: Term<'a>,
    key: Atom,
    range: RangeInclusive<T>,
) -> NifResult<Option<T>> {
    let value = options.map_get(key)?;
    if value.get_type() != TermType::Integer {
        return Err(Error::BadArg);
    }
    Ok(value.decode().ok().filter(|value| range.contains(value)))
}

fn open<'a>(env: Env<'a>, config: Config) -> Term<'a> {
    let threads = match Threads::share() {
        Ok(threads) => threads,
        Err(error) => return failure(env, stopped(), &format!("cannot start a thread: {error}")),
    };
    let Some(runtime) = threads.runtime() else {
        return failure(env, stopped(), "the runtime is stopping");
    };
    let opened = {
        let _inside = runtime.enter();
        Store::open(&config)
    };
    match opened {
        Ok(store) => {
            let open = Open { store, connections: config.max_connections, threads };
            let database = Database(Mutex::new(Some(Arc::new(open))));
            (ok(), ResourceArc::new(database)).encode(env)
        }
        Err(error) => database_failure(env, &error),
    }
}

/// Closes a database. Requests in progress come to their end or to an error.
#[rustler::nif]
fn close_database(database: ResourceArc<Database>) -> Atom {
    let open = database.0.lock().take();
    if let Some(open) = open
        && let Some(runtime) = open.threads.runtime()
    {
        let store = open.store.clone();
        runtime.spawn(async move { store.close().await });
    }
    ok()
}

/// What can be asked of a database.
#[derive(NifTaggedEnum)]
enum Request {
    CreateSchema,
    InsertDomain(String, String),
    EnableDomain(String),
    DisableDomain(String),
    MarkDeleting(String, String),
    DeleteDomain(String, String),
    SelectDomain(String),
    /// Domain, what to keep of the password, is the domain static.
    SetPassword(String, String, bool),
    DeletePassword(String),
    SelectPassword(String),
    SelectPage(StatusFilter, i64, u32),
    NewestEvent,
    DeleteEventsBelow(i64, u32),
    MissingIndex,
}

/// Which rows a page has.
#[derive(NifUnitEnum)]
enum StatusFilter {
    Any,
    Disabled,
    Enabled,
    Deleting,
}

/// What a database answers.
enum Answer {
    Done,
    Inserted(Insert),
    Changed(Change),
    /// Was it there?
    Found(bool),
    Password(Option<String>),
    Row(Option<Setting>),
    Rows(Vec<Setting>),
    Newest(Option<i64>),
    Statement(Option<&'static str>),
    Count(u64),
}

impl Request {
    /// Names that a request is about must be possible ones, before any SQL runs.
    fn check(&self) -> Result<(), String> {
        let check = |what: &str, name: &str| {
            check_name(name.as_bytes()).map(|_| ()).map_err(|reason| format!("{what} {reason}"))
        };
        match self {
            Request::InsertDomain(domain, host_type)
            | Request::MarkDeleting(domain, host_type)
            | Request::DeleteDomain(domain, host_type) => {
                check("domain", domain)?;
                check("host type", host_type)
            }
            Request::EnableDomain(domain)
            | Request::DisableDomain(domain)
            | Request::SelectDomain(domain)
            | Request::SetPassword(domain, _, _)
            | Request::DeletePassword(domain)
            | Request::SelectPassword(domain) => check("domain", domain),
            _ => Ok(()),
        }
    }

    async fn run(self, store: &Store) -> Result<Answer, domain_store::Error> {
        Ok(match self {
            Request::CreateSchema => {
                store.create_schema().await?;
                Answer::Done
            }
            Request::InsertDomain(domain, host_type) => {
                Answer::Inserted(store.insert_domain(&domain, &host_type).await?)
            }
            Request::EnableDomain(domain) => {
                Answer::Changed(store.set_status(&domain, true).await?)
            }
            Request::DisableDomain(domain) => {
                Answer::Changed(store.set_status(&domain, false).await?)
            }
            Request::MarkDeleting(domain, host_type) => {
                Answer::Changed(store.mark_deleting(&domain, &host_type).await?)
            }
            Request::DeleteDomain(domain, host_type) => {
                Answer::Found(store.delete_domain(&domain, &host_type).await?)
            }
            Request::SelectDomain(domain) => Answer::Row(store.select_domain(&domain).await?),
            Request::SetPassword(domain, details, is_static) => {
                Answer::Found(store.set_password(&domain, &details, is_static).await?)
            }
            Request::DeletePassword(domain) => Answer::Found(store.delete_password(&domain).await?),
            Request::SelectPassword(domain) => Answer::Password(store.password(&domain).await?),
            Request::SelectPage(filter, after, limit) => {
                let status = match filter {
                    StatusFilter::Any => None,
                    StatusFilter::Disabled => Some(Status::Disabled),
                    StatusFilter::Enabled => Some(Status::Enabled),
                    StatusFilter::Deleting => Some(Status::Deleting),
                };
                Answer::Rows(store.page(status, after, limit.min(MAX_ROWS)).await?)
            }
            Request::NewestEvent => {
                Answer::Newest(store.event_bounds().await?.map(|(_, newest)| newest))
            }
            Request::MissingIndex => Answer::Statement(store.missing_index().await?),
            Request::DeleteEventsBelow(id, limit) => {
                Answer::Count(store.delete_events_below(id, limit.min(MAX_ROWS)).await?)
            }
        })
    }
}

impl Answer {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match self {
            Answer::Done | Answer::Changed(Change::Done) | Answer::Found(true) => {
                done().encode(env)
            }
            Answer::Inserted(Insert::Inserted) => inserted().encode(env),
            Answer::Inserted(Insert::Exists(found)) => (exists(), row(env, found)).encode(env),
            Answer::Changed(Change::NotFound)
            | Answer::Found(false)
            | Answer::Row(None)
            | Answer::Password(None) => not_found().encode(env),
            Answer::Password(Some(details)) => binary(env, details.as_bytes()),
            Answer::Changed(Change::WrongHostType(host_type)) => {
                (wrong_host_type(), binary(env, host_type.as_bytes())).encode(env)
            }
            Answer::Changed(Change::Deleting) => deleting().encode(env),
            Answer::Row(Some(found)) => row(env, found),
            Answer::Rows(rows) => {
                rows.iter().map(|found| row(env, found)).collect::<Vec<_>>().encode(env)
            }
            Answer::Newest(newest) => newest.encode(env),
            Answer::Statement(None) => none().encode(env),
            Answer::Statement(Some(statement)) => binary(env, statement.as_bytes()),
            Answer::Count(count) => count.encode(env),
        }
    }
}

/// Sends a request to a database. The reply comes as `{mongoose_domain_nif, Ref, Reply}`, always, and
/// once.
#[rustler::nif(name = "request")]
fn send_request<'a>(
    env: Env<'a>,
    database: ResourceArc<Database>,
    request: Request,
    reference: rustler::Reference<'a>,
) -> Term<'a> {
    if let Err(text) = request.check() {
        return failure(env, invalid_name(), &text);
    }
    let Some(open) = database.open() else {
        return failure(env, stopped(), "the database is closed");
    };
    let address = Address { pid: env.pid(), reference: KeptTerm::new(reference.encode(env)) };
    let reply = Reply::to(address);
    match open.threads.runtime() {
        Some(runtime) => {
            let open = open.clone();
            runtime.spawn(async move {
                let result = request.run(&open.store).await;
                reply.send(|env| match &result {
                    Ok(answer) => (ok(), answer.encode(env)).encode(env),
                    Err(error) => database_failure(env, error),
                });
            });
            ok().encode(env)
        }
        None => failure(env, stopped(), "the runtime is stopping"),
    }
}
