//! What the program and its node say to each other; `doc/http_port.md` has it for people.
//!
//! A variant is a tuple that begins with its name (an atom), or only the atom; a struct is a map with
//! atoms as keys; a string is a binary; `None` is `undefined`.

use crate::database::Database;
use crate::node::{MemberStatus, Snapshot};
use crate::options::Given;
use serde::{Deserialize, Serialize};

/// Of this description. The first frame says it, and the program refuses another one.
pub const VERSION: u32 = 1;

/// The first frame: what the program is for, and all that it is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum First {
    /// Says whether the options are right, and ends.
    Check(u32, Given),
    /// Serves until it is told to stop, or its standard input is closed.
    Start(u32, Given, Option<Box<Database>>),
}

/// What the node sends after it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromNode {
    /// To be answered by [`ToNode::Pong`], at once.
    Ping,
    /// The end: requests in progress get a short while.
    Stop,
    /// A part of the answer to a question, which is long.
    Part(u64, Reply),
    /// The answer to a question, or the rest of it.
    Answer(u64, Reply),
}

/// What the program sends.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToNode<'a> {
    /// The options are right.
    Checked,
    /// It listens: IP address and port.
    Listening(&'a str, u16),
    /// It could not start: the reason and a text. It ends.
    Failed(&'a str, &'a str),
    /// For so many milliseconds nothing was done by the threads that serve.
    Pong(u64),
    /// A question, to be answered under its number.
    Question(u64, Question),
    /// Something inside failed; the request that it happened to is lost.
    Panicked(&'a str),
}

/// What is asked of the node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    InsertDomain(String, String),
    DeleteDomain(String, String),
    RequestDeleteDomain(String, String),
    EnableDomain(String),
    DisableDomain(String),
    /// The domain, and the password of its administrator.
    SetDomainPassword(String, String),
    DeleteDomainPassword(String),
    RequestChecks,
    /// The database failed: to note it.
    Failed(String, String),
    /// A new pair of certificate and key is in use: for the log.
    CertificatesChanged,
    /// The new pair is broken, and the old one stays in use: for the log.
    CertificatesBroken(String),
    Verify,
    Members,
    Snapshot,
    /// Every static domain, in parts.
    Statics,
    /// Which of these domains are static.
    StaticsAmong(Vec<String>),
    /// Which of these host types dynamic domains may have.
    AllowedAmong(Vec<String>),
    /// The domains that route by a host type, in parts, unless there are more than so many.
    DomainsOf(String, usize),
}

/// What the node answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Done,
    /// For people.
    Text(String),
    /// The reason, and a text for people.
    Refused(String, String),
    TooMany,
    Names(Vec<String>),
    /// Domains, each with its host type.
    Pairs(Vec<(String, String)>),
    Snapshot(Option<Snapshot>),
    /// How many domains differ, and the first ten: in the table, in the database.
    Verified(usize, Vec<(String, Option<String>, Option<String>)>),
    /// Name, is it this one, is it reachable, its status.
    Members(Vec<(String, bool, bool, Option<MemberTuple>)>),
}

/// State, lag, domains, seconds since the last check.
type MemberTuple = (String, Option<u64>, u64, Option<f64>);

impl From<MemberTuple> for MemberStatus {
    fn from((state, lag, domains, seconds_since_check): MemberTuple) -> Self {
        MemberStatus { state, lag, domains, seconds_since_check }
    }
}
