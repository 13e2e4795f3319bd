//! What the server asks of the node that it runs in.

use domain_store::Store;
use domain_table::Name;
use serde::Serialize;
use std::collections::BTreeMap;
use std::pin::Pin;

/// An answer that comes later. The node sees to it that it comes.
pub type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The node that is administered.
///
/// The reads of the table answer at once; without a table as if it was empty.
pub trait Node: Send + Sync + 'static {
    /// Where a domain routes, if it does.
    fn route(&self, domain: &str) -> Option<Route>;
    /// May dynamic domains have this host type here?
    fn is_allowed(&self, host_type: &str) -> bool;
    /// All static domains, with their host types.
    fn statics(&self) -> Vec<(String, String)>;
    /// The domains that route by a host type.
    fn domains_of(&self, host_type: &str) -> Vec<Name>;
    /// What the node did and saw; `None` without a table.
    fn snapshot(&self) -> Option<Snapshot>;
    /// The database; `None` if there is none.
    fn store(&self) -> Option<&Store>;
    /// Changes a domain, and requests a check on all nodes.
    fn change(&self, change: Change) -> Answer<Result<(), Refusal>>;
    /// Sets the password of a domain's administrator, or with none deletes it. Answered with a text
    /// for people.
    fn change_password(
        &self,
        domain: String,
        password: Option<String>,
    ) -> Answer<Result<String, Refusal>>;
    /// Requests a check on all nodes.
    fn request_checks(&self) -> Answer<Result<(), Refusal>>;
    /// A request met a failure of the database; this is for the log and the metrics.
    fn failed(&self, error: &domain_store::Error) -> Answer<()>;
    /// Compares the table with the database; what differs is loaded again. How many domains, and the
    /// first ten.
    fn verify(&self) -> Answer<Result<(usize, Vec<Difference>), Refusal>>;
    /// This node and the others that follow the same database.
    fn members(&self) -> Answer<Result<Vec<Member>, Refusal>>;
}

/// Where a domain routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its host type.
    pub host_type: String,
    /// Is it by the configuration, and never changes?
    pub is_static: bool,
}

/// A change of one domain; names are nameprepped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Change {
    Insert {
        domain: String,
        host_type: String,
    },
    /// Answered when the domain is gone.
    Delete {
        domain: String,
        host_type: String,
    },
    /// Answered when it is marked for deletion.
    RequestDelete {
        domain: String,
        host_type: String,
    },
    Enable {
        domain: String,
    },
    Disable {
        domain: String,
    },
}

/// Why something was not done. The texts are those of `mongoose_domain_api`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The domain is in the configuration.
    #[error("Domain is static")]
    Static,
    /// The host type is not in the configuration.
    #[error("Unknown host type")]
    UnknownHostType,
    /// The domain has another host type, or is just being removed.
    #[error("Domain already exists")]
    Duplicate,
    /// There is no such domain.
    #[error("Given domain does not exist")]
    NotFound,
    /// The domain has another host type.
    #[error("Wrong host type was provided")]
    WrongHostType,
    /// The domain is marked for deletion.
    #[error("Domain has been deleted")]
    Deleted,
    /// No domain can be called so.
    #[error("Domain {0}")]
    InvalidDomain(String),
    /// No host type can be called so.
    #[error("Host type {0}")]
    InvalidHostType(String),
    /// The database cannot hold a name.
    #[error("{}", unfit(.0))]
    Unfit(String),
    /// No administrator can have such a password.
    #[error("{0}")]
    InvalidPassword(String),
    /// There is no database.
    #[error("Dynamic domains service is disabled")]
    Disabled,
    /// A removal handler failed.
    #[error("{0}")]
    RemovalFailed(String),
    /// No node that could do it can be reached.
    #[error("{0}")]
    Unreachable(String),
    /// It has begun, and is not done in time.
    #[error("{0}")]
    Late(String),
    /// The database failed.
    #[error("{0}")]
    Database(String),
}

impl Refusal {
    /// Its name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Static => "static",
            Refusal::UnknownHostType => "unknown_host_type",
            Refusal::Duplicate => "duplicate",
            Refusal::NotFound => "not_found",
            Refusal::WrongHostType => "wrong_host_type",
            Refusal::Deleted => "deleted",
            Refusal::InvalidDomain(_) | Refusal::Unfit(_) => "invalid_domain",
            Refusal::InvalidPassword(_) => "invalid_password",
            Refusal::InvalidHostType(_) => "invalid_host_type",
            Refusal::Disabled => "service_disabled",
            Refusal::RemovalFailed(_) => "removal_failed",
            Refusal::Unreachable(_) => "unreachable",
            Refusal::Late(_) => "timeout",
            Refusal::Database(_) => "db_error",
        }
    }

    /// The refusal of this name. One that is not known is a failure of the database: that is what
    /// callers of the API must reckon with.
    pub fn from_code(code: &str, text: String) -> Self {
        match code {
            "static" => Refusal::Static,
            "unknown_host_type" => Refusal::UnknownHostType,
            "duplicate" => Refusal::Duplicate,
            "not_found" => Refusal::NotFound,
            "wrong_host_type" => Refusal::WrongHostType,
            "deleted" => Refusal::Deleted,
            "invalid_domain" => Refusal::InvalidDomain(without(&text, "Domain ")),
            "invalid_host_type" => Refusal::InvalidHostType(without(&text, "Host type ")),
            "invalid_password" => Refusal::InvalidPassword(text),
            "service_disabled" => Refusal::Disabled,
            "removal_failed" => Refusal::RemovalFailed(text),
            "unreachable" => Refusal::Unreachable(text),
            _ => Refusal::Database(text),
        }
    }
}

/// Why a name cannot be held.
pub(crate) fn unfit(name: &str) -> String {
    format!("the database cannot hold '{name}': its character set lacks a character of it")
}

fn without(text: &str, subject: &str) -> String {
    text.strip_prefix(subject).unwrap_or(text).to_owned()
}

/// What the node did and saw since its table was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Is the service there that follows the database?
    pub follows: bool,
    /// The newest event up to which the table has everything; 0 if the log was empty. `None`: nothing
    /// is loaded yet.
    pub position: Option<i64>,
    /// The newest event when the log was last looked at.
    pub newest_event: Option<i64>,
    /// Since a check last ended well.
    pub seconds_since_check: Option<f64>,
    /// Did the last check fail?
    pub failing: bool,
    /// Checks that ended well.
    pub checks: u64,
    /// Loads that ended well.
    pub loads: u64,
    /// Why everything had to be loaded again, and how often.
    pub reloads: BTreeMap<String, u64>,
    /// Ids that were missing, and are settled.
    pub gaps_settled: u64,
    /// The dummies written for them.
    pub dummies_written: u64,
    /// Audits that came to their end.
    pub audits: u64,
    /// Failures by their reason.
    pub errors: BTreeMap<String, u64>,
    /// The last failure: its reason and a text, without credentials.
    pub last_error: Option<(String, String)>,
    /// The domains of the table.
    pub domains: u64,
    /// Those that follow the database.
    pub followed: u64,
    /// The host types.
    pub host_types: Vec<HostType>,
}

/// A host type of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HostType {
    /// Its name.
    pub host_type: String,
    /// May dynamic domains have it?
    pub allowed: bool,
    /// How many domains route by it.
    pub domains: u64,
}

/// A domain for which the table was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Difference {
    /// The domain.
    pub domain: String,
    /// Its host type in the table.
    pub in_table: Option<String>,
    /// Its host type in the database.
    pub in_database: Option<String>,
}

/// A node that follows the database.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Member {
    /// Its name.
    pub node: String,
    /// Is it the one that answers?
    pub this: bool,
    /// Does it answer?
    pub reachable: bool,
    /// Nodes with other code have none.
    pub status: Option<MemberStatus>,
}

/// How another node follows the database.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[allow(missing_docs)]
pub struct MemberStatus {
    pub state: String,
    pub lag: Option<u64>,
    pub domains: u64,
    pub seconds_since_check: Option<f64>,
}

/// What a node does. `disabled`: there is no database; `retrying`: the last check failed, and the next
/// comes by itself; `stopped`: the service or the table is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Status {
    Loading,
    Following,
    Retrying,
    Stopped,
    Disabled,
}

impl Status {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Loading => "loading",
            Status::Following => "following",
            Status::Retrying => "retrying",
            Status::Stopped => "stopped",
            Status::Disabled => "disabled",
        }
    }
}
