//! The operations, the same for REST and GraphQL.

use crate::budget::Places;
use crate::lag::History;
use crate::node::{Change, Difference, Node, Refusal};
use domain_store::{Filter, Setting, Status, Store};
use domain_table::{check_text, is_prepared};
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// So many changes of domains are made at a time, and as many removals; the others wait.
const CHANGES: usize = 32;
/// How long they wait.
const PERMIT_LIMIT: Duration = Duration::from_secs(5);
/// How long a change may take, and a removal, whose handlers may have much to do.
const CHANGE_LIMIT: Duration = Duration::from_secs(15);
const REMOVAL_LIMIT: Duration = Duration::from_secs(120);
/// The most rows that are read at a time.
const PAGE: u32 = 2_000;

/// The node, and what the server keeps beside it.
pub struct Admin {
    pub node: Arc<Node>,
    pub name: String,
    pub history: History,
    /// For requests with lists.
    pub lists: Places,
    changes: Arc<Semaphore>,
    removals: Arc<Semaphore>,
}

/// A domain, as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Details {
    #[schema(example = "example.com")]
    pub domain: String,
    #[schema(example = "type1")]
    pub host_type: String,
    pub status: DomainStatus,
    /// Does it route, if it is routable?
    pub enabled: bool,
    pub r#type: DomainType,
    /// Only there if it is false: the domain can never route, because its name is not nameprepped, so
    /// nothing asks for it. Others wrote it to the database.
    #[serde(skip_serializing_if = "is_true")]
    #[schema(required = false, default = true)]
    pub routable: bool,
}

fn is_true(it: &bool) -> bool {
    *it
}

/// `deleting`: it is being removed, and does not route any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DomainStatus {
    Enabled,
    Disabled,
    Deleting,
}

impl DomainStatus {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            DomainStatus::Enabled => "enabled",
            DomainStatus::Disabled => "disabled",
            DomainStatus::Deleting => "deleting",
        }
    }
}

/// `static`: by the configuration; it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DomainType {
    Static,
    Dynamic,
}

impl From<domain_store::Status> for DomainStatus {
    fn from(status: domain_store::Status) -> Self {
        match status {
            domain_store::Status::Enabled => DomainStatus::Enabled,
            domain_store::Status::Disabled => DomainStatus::Disabled,
            domain_store::Status::Deleting => DomainStatus::Deleting,
        }
    }
}

impl From<Setting> for Details {
    fn from(row: Setting) -> Self {
        let status = row.status.into();
        let enabled = status == DomainStatus::Enabled;
        let (domain, host_type) = (row.domain, row.host_type);
        let routable = is_prepared(&domain);
        Details { domain, host_type, status, enabled, r#type: DomainType::Dynamic, routable }
    }
}

impl Details {
    fn of_static(domain: String, host_type: String) -> Self {
        let (status, enabled, routable) = (DomainStatus::Enabled, true, true);
        Details { domain, host_type, status, enabled, r#type: DomainType::Static, routable }
    }
}

impl Admin {
    pub fn new(node: Arc<Node>, name: String) -> Self {
        let permits = || Arc::new(Semaphore::new(CHANGES));
        let (changes, removals) = (permits(), permits());
        Admin {
            node,
            name,
            history: History::default(),
            lists: Places::default(),
            changes,
            removals,
        }
    }

    /// Adds a domain. The same pair again is fine, whatever its status. Changes return the name that
    /// the domain has.
    pub async fn add(&self, name: &str, host_type: &str) -> Result<String, Refusal> {
        let (domain, host_type) = self.names(name, host_type).await?;
        if !is_prepared(&domain) {
            return Err(Refusal::NeverRoutes(domain));
        }
        let insert = Change::Insert { domain: domain.clone(), host_type: host_type.clone() };
        match self.change(insert).await {
            Ok(()) => Ok(domain),
            // MongooseIM's own API says so for the same pair, too.
            Err(Refusal::Duplicate(text)) => match self.row(&domain).await? {
                Some(row) if row.host_type == host_type && is_kept(&row) => Ok(domain),
                _ => Err(Refusal::Duplicate(text)),
            },
            Err(refusal) => Err(refusal),
        }
    }

    /// Removes a domain, and waits until it is gone.
    pub async fn remove(&self, name: &str, host_type: &str) -> Result<String, Refusal> {
        let (domain, host_type) = self.names(name, host_type).await?;
        self.removal(Change::Delete { domain: domain.clone(), host_type }).await?;
        Ok(domain)
    }

    /// Marks a domain for deletion; the rest is done by itself. A sidecar waits for a node of the
    /// cluster to do it.
    pub async fn request_removal(&self, name: &str, host_type: &str) -> Result<String, Refusal> {
        let (domain, host_type) = self.names(name, host_type).await?;
        self.removal(Change::RequestDelete { domain: domain.clone(), host_type }).await?;
        Ok(domain)
    }

    /// Enables or disables a domain.
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<String, Refusal> {
        let domain = self.meant(name).await?;
        let change = match enabled {
            true => Change::Enable { domain: domain.clone() },
            false => Change::Disable { domain: domain.clone() },
        };
        self.change(change).await?;
        Ok(domain)
    }

    /// Sets the password of a domain's administrator, or with none deletes it. Returns a text for
    /// people.
    pub async fn change_password(
        &self,
        name: &str,
        password: Option<String>,
    ) -> Result<String, Refusal> {
        let domain = self.meant(name).await?;
        self.make(|node| async move { node.change_password(domain, password).await }).await
    }

    async fn names(&self, name: &str, host_type: &str) -> Result<(String, String), Refusal> {
        check_text(host_type).map_err(|error| Refusal::InvalidHostType(error.to_string()))?;
        let domain = self.meant(name).await?;
        self.check_fit(&[host_type]).await?;
        Ok((domain, host_type.to_owned()))
    }

    /// The domain that is meant by a name. A name that is not nameprepped means the domain that has
    /// exactly this name in the database, if others have written one; else what nameprep makes of it.
    async fn meant(&self, name: &str) -> Result<String, Refusal> {
        let prepared = prepared(name);
        if prepared.as_deref() != Ok(name) && self.is_there(name).await? {
            return Ok(name.to_owned());
        }
        let domain = prepared?;
        self.check_fit(&[&domain]).await?;
        Ok(domain)
    }

    /// Has the database a domain of exactly this name?
    async fn is_there(&self, name: &str) -> Result<bool, Refusal> {
        if check_text(name).is_err() {
            return Ok(false);
        }
        match self.check_fit(&[name]).await {
            Ok(()) => Ok(self.row(name).await?.is_some()),
            Err(Refusal::Unfit(_)) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Can the database hold these names?
    async fn check_fit(&self, names: &[&str]) -> Result<(), Refusal> {
        let Some(store) = self.node.store() else { return Ok(()) };
        let unfit = self.noted(store.unfit(names).await).await?;
        match unfit.into_iter().next() {
            Some(name) => Err(Refusal::Unfit(name.to_owned())),
            None => Ok(()),
        }
    }

    async fn change(&self, change: Change) -> Result<(), Refusal> {
        self.make(|node| async move { node.change(change).await }).await
    }

    async fn make<T, F>(&self, change: impl FnOnce(Arc<Node>) -> F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        // It is the database that changes wait for.
        let busy = || Refusal::Database("too many changes are in progress: try again".to_owned());
        let seconds = CHANGE_LIMIT.as_secs();
        let late = || {
            Refusal::Database(format!("timed out after {seconds} s; the change may still be made"))
        };
        let changing = self.begin(&self.changes, change).await.ok_or_else(busy)?;
        timeout(CHANGE_LIMIT, changing).await.unwrap_or_else(|_| Err(late()))
    }

    async fn removal(&self, change: Change) -> Result<(), Refusal> {
        let busy = || Refusal::busy("removals");
        let removal = |node: Arc<Node>| async move { node.change(change).await };
        let removing = self.begin(&self.removals, removal).await.ok_or_else(busy)?;
        in_time(removing).await
    }

    /// Begins a change if there comes a permit for it, which it has until it is done, also if nobody
    /// waits for it any more.
    async fn begin<T, C, F>(
        &self,
        permits: &Arc<Semaphore>,
        change: C,
    ) -> Option<impl Future<Output = Result<T, Refusal>> + use<T, C, F>>
    where
        T: Send + 'static,
        C: FnOnce(Arc<Node>) -> F,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let permit = timeout(PERMIT_LIMIT, permits.clone().acquire_owned()).await.ok()?.ok()?;
        let change = change(self.node.clone());
        let task = tokio::spawn(async move {
            let changed = change.await;
            drop(permit);
            changed
        });
        Some(async { task.await.unwrap_or_else(|error| Err(Refusal::Database(error.to_string()))) })
    }

    /// What the configuration or the database says of a domain.
    pub async fn details(&self, name: &str) -> Result<Details, Refusal> {
        let domain = self.meant(name).await?;
        if let Some(host_type) = self.node.static_host_type(&domain).await? {
            return Ok(Details::of_static(domain, host_type));
        }
        let row = self.row(&domain).await?;
        row.map(Details::from).ok_or(Refusal::NOT_FOUND)
    }

    /// The row of a domain. Without a database there is none.
    async fn row(&self, domain: &str) -> Result<Option<Setting>, Refusal> {
        match self.node.store() {
            Some(store) => self.noted(store.select_domain(domain).await).await,
            None => Ok(None),
        }
    }

    /// Has the node note a failure of the database.
    pub async fn noted<T>(&self, result: Result<T, domain_store::Error>) -> Result<T, Refusal> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                self.node.failed(&error).await;
                Err(Refusal::Database(error.to_string()))
            }
        }
    }

    /// How many domains [`Admin::all`] has at most.
    pub async fn count(&self, most: usize) -> Result<usize, TooMany> {
        let statics = self.node.statics().await?.len();
        let bound = u32::try_from(most).unwrap_or(u32::MAX).saturating_add(1);
        let rows = match self.node.store() {
            Some(store) => self.noted(store.count(bound).await).await?,
            None => 0,
        };
        let count = statics + rows as usize;
        if count > most { Err(TooMany::Domains) } else { Ok(count) }
    }

    /// The ids of rows that do not count; on MySQL the whole table is read for them.
    pub async fn outdated(&self, store: &Store) -> Result<HashSet<i64>, Refusal> {
        let turn = self.node.bulk_turn().await?;
        let outdated = store.outdated().await;
        drop(turn);
        self.noted(outdated).await
    }

    /// Every domain of the configuration and of the database, up to `most`. Each part of the list is
    /// shown as it is read, and may be refused.
    pub async fn all(
        &self,
        most: usize,
        may_take: impl Fn(&[Details]) -> Result<(), TooMany>,
    ) -> Result<Vec<Details>, TooMany> {
        let statics = self.node.statics().await?;
        let is_static: HashSet<String> = statics.iter().map(|(domain, _)| domain.clone()).collect();
        let mut all: Vec<_> = statics.into_iter().map(|(d, t)| Details::of_static(d, t)).collect();
        may_take(&all)?;
        let Some(store) = self.node.store() else { return Ok(all) };
        let outdated = self.outdated(store).await?;
        let mut after = 0;
        loop {
            let turn = self.node.bulk_turn().await?;
            let rows = self.noted(store.page(None, after, PAGE).await).await?;
            drop(turn);
            let Some(last) = rows.last() else { return Ok(all) };
            after = last.id;
            let is_listed =
                |row: &Setting| !is_static.contains(&row.domain) && !outdated.contains(&row.id);
            let rows: Vec<_> = rows.into_iter().filter(is_listed).map(Details::from).collect();
            may_take(&rows)?;
            all.extend(rows);
            if all.len() > most {
                return Err(TooMany::Domains);
            }
        }
    }

    /// The first `limit` domains behind the name `after`, of the configuration and of the database, by
    /// the bytes of their names.
    pub async fn list(
        &self,
        filter: &Filter,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Details>, Refusal> {
        self.check(filter).await?;
        self.check_fit(&[after]).await?;
        let statics = self.node.statics().await?;
        let wanted = filter.host_type.as_deref();
        let mut list = Vec::new();
        if let Some(store) = self.node.store() {
            // A row of a static domain does not count.
            let rows = u32::try_from(limit + statics.len()).unwrap_or(u32::MAX);
            let rows = self.noted(store.list(filter, after, rows).await).await?;
            let is_static: HashSet<&str> = statics.iter().map(|(domain, _)| &**domain).collect();
            let rows = rows.into_iter().filter(|row| !is_static.contains(&*row.domain));
            list.extend(rows.map(Details::from));
        }
        if filter.status.is_none_or(|status| status == Status::Enabled) {
            let is_listed = |domain: &str, host_type: &str| {
                domain > after && wanted.is_none_or(|wanted| wanted == host_type)
            };
            let statics = statics.into_iter().filter(|(d, t)| is_listed(d, t));
            list.extend(statics.map(|(d, t)| Details::of_static(d, t)));
            list.sort_unstable_by(|a, b| a.domain.cmp(&b.domain));
        }
        list.truncate(limit);
        Ok(list)
    }

    /// Is the host type that is asked for one of the configuration?
    pub async fn check(&self, filter: &Filter) -> Result<(), Refusal> {
        let Some(wanted) = &filter.host_type else { return Ok(()) };
        let is_known = self.node.is_allowed(wanted).await?
            || self.node.statics().await?.iter().any(|(_, host_type)| host_type == wanted);
        if is_known { Ok(()) } else { Err(Refusal::UNKNOWN_HOST_TYPE) }
    }

    /// How many domains route by a host type, if not more than `most`.
    pub async fn count_of(&self, host_type: &str, most: usize) -> Result<usize, TooMany> {
        check_text(host_type).map_err(|error| Refusal::InvalidHostType(error.to_string()))?;
        if !self.node.is_allowed(host_type).await? {
            return Err(Refusal::UNKNOWN_HOST_TYPE.into());
        }
        let host_types = self.node.snapshot().await.map(|snapshot| snapshot.host_types);
        let found = host_types.iter().flatten().find(|it| it.host_type == host_type);
        let count = found.map_or(0, |it| usize::try_from(it.domains).unwrap_or(usize::MAX));
        if count > most { Err(TooMany::Domains) } else { Ok(count) }
    }

    /// The domains that route by a host type, up to `most`.
    pub async fn domains_of(&self, host_type: &str, most: usize) -> Result<Vec<String>, TooMany> {
        self.node.domains_of(host_type, most).await?.ok_or(TooMany::Domains)
    }

    /// Compares the table with the database.
    pub async fn verify(&self) -> Result<(usize, Vec<Difference>), Refusal> {
        in_time(self.node.verify()).await
    }
}

/// There are more domains than an answer should hold; or another failure.
#[derive(Debug, thiserror::Error)]
pub enum TooMany {
    #[error("too many domains for one answer: use /api/export, or /api/domains page by page")]
    Domains,
    #[error(transparent)]
    Refused(#[from] Refusal),
}

fn is_kept(row: &Setting) -> bool {
    row.status != Status::Deleting
}

/// What may have much to do: a removal, a comparison.
async fn in_time<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let seconds = REMOVAL_LIMIT.as_secs();
    let late =
        || Refusal::Late(format!("timed out after {seconds} s; the work may go on. Try again"));
    timeout(REMOVAL_LIMIT, work).await.unwrap_or_else(|_| Err(late()))
}

/// A domain by RFC 3491 (nameprep), as it is in the table and the database.
pub fn prepared(domain: &str) -> Result<String, Refusal> {
    match domain_table::prepared(domain) {
        Ok(prepared) => Ok(prepared.into_owned()),
        Err(error) => Err(Refusal::InvalidDomain(error.to_string())),
    }
}
