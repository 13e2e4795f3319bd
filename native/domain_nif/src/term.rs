//! Erlang terms kept on the Rust side; names and rows as terms.

use crate::{deleting, disabled, enabled, error, undefined};
use domain_store::{ErrorKind, Setting, Status};
use domain_table::{Name, Pair};
use rustler::env::SavedTerm;
use rustler::sys::enif_is_identical;
use rustler::{Atom, Encoder, Env, NewBinary, OwnedEnv, Term};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A term of its own, outside of any process. Equal as by Erlang's `=:=`.
#[derive(Clone)]
pub struct KeptTerm(Arc<Kept>);

struct Kept {
    env: OwnedEnv,
    term: SavedTerm,
}

// SAFETY: the environment is filled before it is shared, and afterwards only read: terms in it are
// compared, hashed and copied out, which the VM allows from any thread.
unsafe impl Sync for Kept {}
// SAFETY: nothing in it belongs to a thread; `OwnedEnv` is `Send`, and `SavedTerm` is a term in it.
unsafe impl Send for Kept {}

impl KeptTerm {
    pub fn new(term: Term<'_>) -> Self {
        let env = OwnedEnv::new();
        let term = env.save(term);
        KeptTerm(Arc::new(Kept { env, term }))
    }

    /// Copies the term.
    pub fn copy<'a>(&self, env: Env<'a>) -> Term<'a> {
        self.with(|term| term.in_env(env))
    }

    fn with<T>(&self, read: impl FnOnce(Term<'_>) -> T) -> T {
        self.0.env.run(|env| read(self.0.term.load(env)))
    }
}

impl PartialEq for KeptTerm {
    fn eq(&self, other: &Self) -> bool {
        let other = other.with(|term| term.as_c_arg());
        // SAFETY: both terms live in environments that `self` and `other` keep, and comparing them
        // needs no environment. (`Term` compares only terms of one lifetime.)
        self.with(|term| unsafe { enif_is_identical(term.as_c_arg(), other) == 1 })
    }
}

impl Eq for KeptTerm {}

impl Hash for KeptTerm {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.with(|term| term.hash(state));
    }
}

/// A binary.
pub fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    let mut binary = NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(bytes);
    binary.into()
}

/// A binary, or `undefined`.
pub fn optional<'a>(env: Env<'a>, bytes: Option<&[u8]>) -> Term<'a> {
    match bytes {
        Some(bytes) => binary(env, bytes),
        None => undefined().encode(env),
    }
}

/// `[Domain]`.
pub fn names<'a>(env: Env<'a>, names: &[Name]) -> Term<'a> {
    let terms = names.iter().rev().map(|name| binary(env, name));
    terms.fold(Term::list_new_empty(env), |tail, name| tail.list_prepend(name))
}

/// `[{Domain, HostType}]`. Neighbours with the same host type share its binary.
pub fn pairs<'a>(env: Env<'a>, pairs: &[Pair]) -> Term<'a> {
    let mut shared: Option<(&Name, Term<'a>)> = None;
    let mut list = Term::list_new_empty(env);
    for (domain, host_type) in pairs.iter().rev() {
        let host_type = match shared {
            Some((name, term)) if Arc::ptr_eq(name, host_type) => term,
            _ => {
                let term = binary(env, host_type);
                shared = Some((host_type, term));
                term
            }
        };
        list = list.list_prepend((binary(env, domain), host_type).encode(env));
    }
    list
}

/// `disabled | enabled | deleting`.
pub fn status(status: Status) -> Atom {
    match status {
        Status::Disabled => disabled(),
        Status::Enabled => enabled(),
        Status::Deleting => deleting(),
    }
}

/// `{Id, Domain, HostType, Status}`.
pub fn row<'a>(env: Env<'a>, row: &Setting) -> Term<'a> {
    let domain = binary(env, row.domain.as_bytes());
    let host_type = binary(env, row.host_type.as_bytes());
    (row.id, domain, host_type, status(row.status)).encode(env)
}

/// `{error, {Reason, Text}}`: a reason that a program can match, a text that a person can read.
pub fn failure<'a>(env: Env<'a>, reason: Atom, text: &str) -> Term<'a> {
    (error(), (reason, binary(env, text.as_bytes()))).encode(env)
}

/// The failure of a database.
pub fn database_failure<'a>(env: Env<'a>, error: &domain_store::Error) -> Term<'a> {
    let reason = match error.kind() {
        ErrorKind::BadUrl => crate::bad_database_url(),
        ErrorKind::UnknownScheme => crate::unknown_database_scheme(),
        ErrorKind::BadOption => crate::bad_database_option(),
        ErrorKind::TlsFailed => crate::tls_failed(),
        ErrorKind::Unavailable => crate::database_unavailable(),
        ErrorKind::AccessDenied => crate::access_denied(),
        ErrorKind::MissingTables => crate::missing_tables(),
        ErrorKind::NotADatabase => crate::not_a_database(),
        ErrorKind::ReadOnly => crate::read_only(),
        ErrorKind::Timeout => crate::timeout(),
        ErrorKind::QueryFailed => crate::query_failed(),
    };
    failure(env, reason, &error.to_string())
}
