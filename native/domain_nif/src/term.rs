//! Erlang terms kept on the Rust side; names and rows as terms.

use crate::raw::tuple;
use crate::{deleting, disabled, enabled, error, undefined};
use domain_store::{ErrorKind, Setting, Status};
use domain_table::Name;
use rustler::env::SavedTerm;
use rustler::sys::enif_is_identical;
use rustler::{Atom, Encoder, Env, NewBinary, OwnedEnv, Term};
use std::collections::HashMap;
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

    /// Is it this term?
    pub fn is(&self, term: Term<'_>) -> bool {
        // SAFETY: both terms live at least as long as this call, and comparing them needs no
        // environment.
        self.with(|kept| unsafe { enif_is_identical(kept.as_c_arg(), term.as_c_arg()) == 1 })
    }

    fn with<T>(&self, read: impl FnOnce(Term<'_>) -> T) -> T {
        self.0.env.run(|env| read(self.0.term.load(env)))
    }
}

impl PartialEq for KeptTerm {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        other.with(|term| self.is(term))
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

/// A list, without a vector of its terms.
pub fn list<'a>(env: Env<'a>, terms: impl DoubleEndedIterator<Item = Term<'a>>) -> Term<'a> {
    terms.rfold(Term::list_new_empty(env), |tail, term| tail.list_prepend(term))
}

/// `[Domain]`.
pub fn names<'a>(env: Env<'a>, names: &[Name]) -> Term<'a> {
    list(env, names.iter().map(|name| binary(env, name.as_bytes())))
}

/// `[{Domain, HostType}]`. Domains with the same host type share its binary.
pub fn pairs<'a>(env: Env<'a>, pairs: &[(Name, &Name)]) -> Term<'a> {
    let mut shared: HashMap<*const Name, Term<'a>> = HashMap::new();
    let pair = |&(ref domain, host_type): &(Name, &Name)| {
        let host_type =
            *shared.entry(host_type).or_insert_with(|| binary(env, host_type.as_bytes()));
        tuple(env, [binary(env, domain.as_bytes()), host_type])
    };
    list(env, pairs.iter().map(pair))
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
    failure(env, reason(error.kind()), &error.to_string())
}

/// The name of a kind of failure.
pub fn reason(kind: ErrorKind) -> Atom {
    let name = |env| Atom::from_str(env, kind.name()).unwrap_or_else(|_| crate::error());
    OwnedEnv::new().run(name)
}
