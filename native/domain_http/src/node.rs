//! The node that is administered: what the server asks of it, by the port.

use crate::port::Port;
use crate::protocol::{Question, Reply};
use domain_store::Store;
use prometheus::Histogram;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};

/// So many connections to the database at most are for pages of exports, transactions of imports and the
/// like: the others are for small requests.
const BULK: usize = 2;
/// The most names in a question.
const NAMES: usize = 1000;

/// The node, and its database, which is read without it.
pub struct Node {
    port: Arc<Port>,
    store: Option<Store>,
    bulk: Semaphore,
}

/// What the node knows of some domains and host types.
#[derive(Debug, Default)]
pub struct Known {
    statics: HashSet<String>,
    allowed: HashSet<String>,
}

impl Known {
    /// Is the domain one of the configuration, and never changes?
    pub fn is_static(&self, domain: &str) -> bool {
        self.statics.contains(domain)
    }

    /// May dynamic domains have this host type?
    pub fn is_allowed(&self, host_type: &str) -> bool {
        self.allowed.contains(host_type)
    }
}

impl Node {
    /// The node at the other end of the port.
    pub fn new(port: Arc<Port>, store: Option<Store>) -> Self {
        Node { port, store, bulk: Semaphore::new(BULK) }
    }

    /// A turn at the database for one of many pages or transactions; the others wait for theirs.
    pub async fn bulk_turn(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.bulk.acquire().await.map_err(|error| Refusal::Database(error.to_string()))
    }

    /// How long questions at the table took.
    pub fn questions(&self) -> &Histogram {
        self.port.questions()
    }

    /// The database; `None` if there is none.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// The host type of a static domain.
    pub async fn static_host_type(&self, domain: &str) -> Result<Option<String>, Refusal> {
        let statics = self.statics_among(vec![domain.to_owned()]).await?;
        Ok(statics.into_iter().next().map(|(_, host_type)| host_type))
    }

    /// May dynamic domains have this host type?
    pub async fn is_allowed(&self, host_type: &str) -> Result<bool, Refusal> {
        Ok(!self.allowed_among(vec![host_type.to_owned()]).await?.is_empty())
    }

    /// What it knows of these domains and host types.
    pub async fn known<'n>(
        &self,
        domains: impl IntoIterator<Item = &'n str>,
        host_types: impl IntoIterator<Item = &'n str>,
    ) -> Result<Known, Refusal> {
        let mut known = Known::default();
        for names in chunks(domains) {
            let statics = self.statics_among(names).await?;
            known.statics.extend(statics.into_iter().map(|(domain, _)| domain));
        }
        let different: HashSet<&str> = host_types.into_iter().collect();
        for names in chunks(different) {
            known.allowed.extend(self.allowed_among(names).await?);
        }
        Ok(known)
    }

    async fn statics_among(&self, domains: Vec<String>) -> Result<Vec<(String, String)>, Refusal> {
        match self.ask(Question::StaticsAmong(domains)).await? {
            Reply::Pairs(pairs) => Ok(pairs),
            _ => Err(unexpected()),
        }
    }

    async fn allowed_among(&self, host_types: Vec<String>) -> Result<Vec<String>, Refusal> {
        match self.ask(Question::AllowedAmong(host_types)).await? {
            Reply::Names(names) => Ok(names),
            _ => Err(unexpected()),
        }
    }

    /// All static domains, with their host types.
    pub async fn statics(&self) -> Result<Vec<(String, String)>, Refusal> {
        let mut all = Vec::new();
        for part in self.ask_for_parts(Question::Statics).await? {
            match part {
                Reply::Pairs(pairs) => all.extend(pairs),
                Reply::Done => {}
                _ => return Err(unexpected()),
            }
        }
        Ok(all)
    }

    /// The domains that route by a host type; `None` if there are more than `most`.
    pub async fn domains_of(
        &self,
        host_type: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, Refusal> {
        let mut all = Vec::new();
        for part in self.ask_for_parts(Question::DomainsOf(host_type.to_owned(), most)).await? {
            match part {
                Reply::Names(names) => all.extend(names),
                Reply::TooMany => return Ok(None),
                Reply::Done => {}
                _ => return Err(unexpected()),
            }
        }
        Ok(Some(all))
    }

    /// What the node did and saw; `None` without a table.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        match self.ask(Question::Snapshot).await {
            Ok(Reply::Snapshot(snapshot)) => snapshot,
            _ => None,
        }
    }

    /// Changes a domain, and requests a check on all nodes.
    pub async fn change(&self, change: Change) -> Result<(), Refusal> {
        self.ask(match change {
            Change::Insert { domain, host_type } => Question::InsertDomain(domain, host_type),
            Change::Delete { domain, host_type } => Question::DeleteDomain(domain, host_type),
            Change::RequestDelete { domain, host_type } => {
                Question::RequestDeleteDomain(domain, host_type)
            }
            Change::Enable { domain } => Question::EnableDomain(domain),
            Change::Disable { domain } => Question::DisableDomain(domain),
        })
        .await
        .map(drop)
    }

    /// Sets the password of a domain's administrator, or with none deletes it. Answered with a text
    /// for people.
    pub async fn change_password(
        &self,
        domain: String,
        password: Option<String>,
    ) -> Result<String, Refusal> {
        let question = match password {
            Some(password) => Question::SetDomainPassword(domain, password),
            None => Question::DeleteDomainPassword(domain),
        };
        match self.ask(question).await? {
            Reply::Text(text) => Ok(text),
            _ => Err(unexpected()),
        }
    }

    /// Requests a check on all nodes.
    pub async fn request_checks(&self) -> Result<(), Refusal> {
        self.ask(Question::RequestChecks).await.map(drop)
    }

    /// A request met a failure of the database; this is for the log and the metrics.
    pub async fn failed(&self, error: &domain_store::Error) {
        let failed = Question::Failed(error.kind().name().to_owned(), error.to_string());
        // The request fails anyway.
        let _ = self.ask(failed).await;
    }

    /// The files of the certificate changed: a new pair is in use, or what is wrong with it. This is
    /// for the log.
    pub async fn certificates_changed(&self, result: Result<(), String>) {
        let changed = match result {
            Ok(()) => Question::CertificatesChanged,
            Err(text) => Question::CertificatesBroken(text),
        };
        // The log is all that it is for.
        let _ = self.ask(changed).await;
    }

    /// Compares the table with the database; what differs is loaded again. How many domains, and the
    /// first ten.
    pub async fn verify(&self) -> Result<(usize, Vec<Difference>), Refusal> {
        let Reply::Verified(count, found) = self.ask(Question::Verify).await? else {
            return Err(unexpected());
        };
        let difference =
            |(domain, in_table, in_database)| Difference { domain, in_table, in_database };
        Ok((count, found.into_iter().map(difference).collect()))
    }

    /// This node and the others that follow the same database.
    pub async fn members(&self) -> Result<Vec<Member>, Refusal> {
        let Reply::Members(members) = self.ask(Question::Members).await? else {
            return Err(unexpected());
        };
        let member = |(node, this, reachable, status): (_, _, _, Option<_>)| Member {
            node,
            this,
            reachable,
            status: status.map(MemberStatus::from),
        };
        Ok(members.into_iter().map(member).collect())
    }

    /// A question with a short answer.
    async fn ask(&self, question: Question) -> Result<Reply, Refusal> {
        self.ask_for_parts(question).await?.pop().ok_or_else(unexpected)
    }

    async fn ask_for_parts(&self, question: Question) -> Result<Vec<Reply>, Refusal> {
        let mut parts = self.port.ask(question).await.map_err(|error: io::Error| {
            Refusal::Database(format!("the node cannot be asked: {error}"))
        })?;
        match parts.pop() {
            Some(Reply::Refused(code, text)) => Err(Refusal::from_code(&code, text)),
            last => {
                parts.extend(last);
                Ok(parts)
            }
        }
    }
}

fn chunks<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<Vec<String>> {
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    names.chunks(NAMES).map(<[String]>::to_vec).collect()
}

fn unexpected() -> Refusal {
    Refusal::Database("unexpected answer from the node".to_owned())
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

/// A text for people: one of ours, or what the node says.
pub type Text = Cow<'static, str>;

/// Why something was not done. The texts are those of `mongoose_domain_api`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The domain is in the configuration.
    #[error("{0}")]
    Static(Text),
    /// The host type is not in the configuration.
    #[error("{0}")]
    UnknownHostType(Text),
    /// The domain has another host type, or is just being removed.
    #[error("{0}")]
    Duplicate(Text),
    /// The name is that of a domain which can never route, so none can be added by it.
    #[error("{}", never_routes(.0))]
    NeverRoutes(String),
    /// There is no such domain, or what else was asked for.
    #[error("{0}")]
    NotFound(Text),
    /// The domain has another host type.
    #[error("{0}")]
    WrongHostType(Text),
    /// The domain is marked for deletion.
    #[error("{0}")]
    Deleted(Text),
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
    #[error("{0}")]
    Disabled(Text),
    /// A removal handler failed.
    #[error("{0}")]
    RemovalFailed(String),
    /// No node that could do it can be reached.
    #[error("{0}")]
    Unreachable(String),
    /// Its turn did not come in time, or it has begun and is not done in time.
    #[error("{0}")]
    Late(String),
    /// The database failed.
    #[error("{0}")]
    Database(String),
}

impl Refusal {
    /// The domain is in the configuration.
    pub const STATIC: Refusal = Refusal::Static(Cow::Borrowed("Domain is static"));
    /// The host type is not in the configuration.
    pub const UNKNOWN_HOST_TYPE: Refusal =
        Refusal::UnknownHostType(Cow::Borrowed("Unknown host type"));
    /// There is no such domain.
    pub const NOT_FOUND: Refusal = Refusal::NotFound(Cow::Borrowed("Given domain does not exist"));
    /// There is no database.
    pub const DISABLED: Refusal =
        Refusal::Disabled(Cow::Borrowed("Dynamic domains service is disabled"));

    /// Too many such requests were in progress for its turn to come.
    pub fn busy(requests: &str) -> Self {
        Refusal::Late(format!("too many {requests} are in progress: try again"))
    }

    /// Its name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Static(_) => "static",
            Refusal::UnknownHostType(_) => "unknown_host_type",
            Refusal::Duplicate(_) | Refusal::NeverRoutes(_) => "duplicate",
            Refusal::NotFound(_) => "not_found",
            Refusal::WrongHostType(_) => "wrong_host_type",
            Refusal::Deleted(_) => "deleted",
            Refusal::InvalidDomain(_) | Refusal::Unfit(_) => "invalid_domain",
            Refusal::InvalidPassword(_) => "invalid_password",
            Refusal::InvalidHostType(_) => "invalid_host_type",
            Refusal::Disabled(_) => "service_disabled",
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
            "static" => Refusal::Static(text.into()),
            "unknown_host_type" => Refusal::UnknownHostType(text.into()),
            "duplicate" => Refusal::Duplicate(text.into()),
            "not_found" => Refusal::NotFound(text.into()),
            "wrong_host_type" => Refusal::WrongHostType(text.into()),
            "deleted" => Refusal::Deleted(text.into()),
            "invalid_domain" => Refusal::InvalidDomain(without(&text, "Domain ")),
            "invalid_host_type" => Refusal::InvalidHostType(without(&text, "Host type ")),
            "invalid_password" => Refusal::InvalidPassword(text),
            "service_disabled" => Refusal::Disabled(text.into()),
            "removal_failed" => Refusal::RemovalFailed(text),
            "unreachable" => Refusal::Unreachable(text),
            _ => Refusal::Database(text),
        }
    }
}

/// Why no domain is added by this name.
pub(crate) fn never_routes(name: &str) -> String {
    format!(
        "'{name}' is in the database in this form, which can never route: remove it, then add it"
    )
}

/// Why a name cannot be held.
pub(crate) fn unfit(name: &str) -> String {
    format!("the database cannot store '{name}': its character set lacks a character of the name")
}

fn without(text: &str, subject: &str) -> String {
    text.strip_prefix(subject).unwrap_or(text).to_owned()
}

/// What the node did and saw since its table was made.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
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

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn a_refusal_keeps_the_text_of_the_node() {
        let of_names = [("invalid_domain", "Domain "), ("invalid_host_type", "Host type ")];
        for code in [
            "static",
            "unknown_host_type",
            "duplicate",
            "not_found",
            "wrong_host_type",
            "deleted",
            "invalid_domain",
            "invalid_host_type",
            "invalid_password",
            "service_disabled",
            "removal_failed",
            "unreachable",
            "db_error",
        ] {
            let subject = of_names.iter().find(|(of, _)| *of == code).map_or("", |(_, it)| it);
            let text = format!("{subject}is what the node says");
            let refusal = Refusal::from_code(code, text.clone());
            assert_eq!((refusal.code(), refusal.to_string()), (code, text));
        }
        // One that nobody knows here.
        let refusal = Refusal::from_code("tuesday", "no changes".to_owned());
        assert_eq!((refusal.code(), refusal.to_string().as_str()), ("db_error", "no changes"));
    }
}
