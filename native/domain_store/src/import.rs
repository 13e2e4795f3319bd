//! Many domains in one transaction, by few statements.
//!
//! [`Plan`] says what an import has to do, from the rows that are there; it does no I/O.
//!
//! Two imports that meet take what both need in the same order: new names by their bytes, then
//! existing rows by their ids, then events. If a row that was to be changed goes away between its
//! look-up and its lock, all begins anew.

use crate::database::{Database, Scope, begin, on_lease};
use crate::dialect::Dialect;
use crate::operations::{newest, to_change};
use crate::{Error, Setting, Status};
use std::collections::{HashMap, HashSet};

/// What a domain is to be, for [`Store::import`](crate::Store::import).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The domain.
    pub domain: String,
    /// Its host type.
    pub host_type: String,
    /// Whether it is to be enabled, or else disabled. `None`: as it is; a new one is enabled.
    pub enabled: Option<bool>,
}

impl Row {
    /// What a new domain gets.
    pub(crate) fn status(&self) -> Status {
        if self.enabled.unwrap_or(true) { Status::Enabled } else { Status::Disabled }
    }
}

/// What [`Store::import`](crate::Store::import) did about a row, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The domain is new.
    Added,
    /// The domain has another status now.
    Changed,
    /// The domain was there like this.
    Unchanged,
    /// It has this other host type; nothing changed.
    OtherHostType(String),
    /// It is marked for deletion; nothing changed.
    Deleting,
}

/// Two rows of one domain would become two rows where the domain is not a key.
pub(crate) fn check(rows: &[Row]) -> Result<(), Error> {
    let mut seen = HashSet::with_capacity(rows.len());
    match rows.iter().find(|row| !seen.insert(&row.domain)) {
        Some(row) => Err(Error::comes_twice(&row.domain)),
        None => Ok(()),
    }
}

/// What is to be done about the rows of an import.
pub(crate) struct Plan<'a> {
    rows: &'a [Row],
    steps: Vec<Step>,
}

enum Step {
    Add,
    /// The rows of the domain, and those of them that are to get the status.
    Change {
        rows: Vec<i64>,
        to_change: Vec<i64>,
    },
    Nothing(Outcome),
}

impl Step {
    fn new(row: &Row, found: Vec<Setting>) -> Self {
        let to_change = to_change(&found, row.status());
        let rows = found.iter().map(|row| row.id).collect();
        match newest(found) {
            None => Step::Add,
            Some(found) if found.host_type != row.host_type => {
                Step::Nothing(Outcome::OtherHostType(found.host_type))
            }
            Some(found) if found.status == Status::Deleting => Step::Nothing(Outcome::Deleting),
            Some(_) if row.enabled.is_none() || to_change.is_empty() => {
                Step::Nothing(Outcome::Unchanged)
            }
            Some(_) => Step::Change { rows, to_change },
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Step::Add => Outcome::Added,
            Step::Change { .. } => Outcome::Changed,
            Step::Nothing(outcome) => outcome,
        }
    }
}

impl<'a> Plan<'a> {
    /// As if there were no rows yet.
    pub(crate) fn new(rows: &'a [Row]) -> Self {
        Plan { rows, steps: rows.iter().map(|_| Step::Add).collect() }
    }

    /// The domains about which something is to be done, sorted by their bytes.
    pub(crate) fn domains(&self) -> Vec<String> {
        let mut domains: Vec<String> = self.events().into_iter().map(str::to_owned).collect();
        domains.sort_unstable();
        domains
    }

    /// Decides again about [`Self::domains`]: `found` are all their rows. What is left as it is has
    /// been right at one time: that is enough.
    pub(crate) fn decide(&mut self, found: Vec<Setting>) {
        let mut found = by_domain(found);
        for (row, step) in self.rows.iter().zip(&mut self.steps) {
            if !matches!(step, Step::Nothing(_)) {
                *step = Step::new(row, found.remove(&row.domain).unwrap_or_default());
            }
        }
    }

    /// Decides again about the domains that are to be changed, and about those that others have
    /// `taken`, by their locked rows. Returns false if one of them has no row any more.
    pub(crate) fn revise(&mut self, taken: &[String], locked: Vec<Setting>) -> bool {
        let taken: HashSet<&String> = taken.iter().collect();
        let mut locked = by_domain(locked);
        let mut all_there = true;
        for (row, step) in self.rows.iter().zip(&mut self.steps) {
            if matches!(step, Step::Change { .. }) || taken.contains(&row.domain) {
                *step = Step::new(row, locked.remove(&row.domain).unwrap_or_default());
                all_there &= !matches!(step, Step::Add);
            }
        }
        all_there
    }

    pub(crate) fn changes_nothing(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Nothing(_)))
    }

    /// In the order of the rows.
    pub(crate) fn outcomes(self) -> Vec<Outcome> {
        self.steps.into_iter().map(Step::outcome).collect()
    }

    /// The rows to be inserted, sorted by the bytes of their domains.
    pub(crate) fn additions(&self) -> Vec<&'a Row> {
        let steps = self.rows.iter().zip(&self.steps);
        let added = steps.filter(|(_, step)| matches!(step, Step::Add));
        let mut added: Vec<&Row> = added.map(|(row, _)| row).collect();
        added.sort_unstable_by(|one, other| one.domain.cmp(&other.domain));
        added
    }

    /// The ids of the rows to be locked: all those of the domains that are to be changed.
    pub(crate) fn to_lock(&self) -> Vec<i64> {
        let rows = self.steps.iter().filter_map(|step| match step {
            Step::Change { rows, .. } => Some(rows),
            Step::Add | Step::Nothing(_) => None,
        });
        rows.flatten().copied().collect()
    }

    /// The ids of the rows that are to get this status.
    pub(crate) fn to_set(&self, status: Status) -> Vec<i64> {
        let steps = self.rows.iter().zip(&self.steps);
        let rows = steps.filter_map(|(row, step)| match step {
            Step::Change { to_change, .. } if row.status() == status => Some(to_change),
            _ => None,
        });
        rows.flatten().copied().collect()
    }

    /// The domains that need an event, in the order of the rows.
    pub(crate) fn events(&self) -> Vec<&'a str> {
        let steps = self.rows.iter().zip(&self.steps);
        let changed = steps.filter(|(_, step)| !matches!(step, Step::Nothing(_)));
        changed.map(|(row, _)| row.domain.as_str()).collect()
    }
}

fn by_domain(settings: Vec<Setting>) -> HashMap<String, Vec<Setting>> {
    let mut domains: HashMap<String, Vec<Setting>> = HashMap::with_capacity(settings.len());
    for setting in settings {
        match domains.get_mut(&setting.domain) {
            Some(rows) => rows.push(setting),
            None => {
                domains.insert(setting.domain.clone(), vec![setting]);
            }
        }
    }
    domains
}

impl<D: Dialect> Database<D> {
    pub async fn import(&self, rows: &[Row], dry_run: bool) -> Result<Vec<Outcome>, Error> {
        check(rows)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        on_lease!(self, |lease| import::<D>(&mut lease, rows, dry_run).await)
    }
}

async fn import<D: Dialect>(
    connection: &mut D::Connection,
    rows: &[Row],
    dry_run: bool,
) -> Result<Vec<Outcome>, sqlx::Error> {
    let mut plan = Plan::new(rows);
    if dry_run || D::CLAIM_WRITES {
        let mut scope = Scope::<D>::begin(connection).await?;
        plan.decide(D::find(scope.connection(), &plan.domains()).await?);
        scope.end().await?;
        if dry_run || plan.changes_nothing() {
            return Ok(plan.outcomes());
        }
    }
    loop {
        let mut transaction = begin::<D>(connection).await?;
        let domains = plan.domains();
        D::claim(&mut transaction, &domains).await?;
        plan.decide(D::find(&mut transaction, &domains).await?);
        if plan.changes_nothing() {
            transaction.rollback().await?;
            return Ok(plan.outcomes());
        }
        if carry_out::<D>(&mut transaction, &mut plan).await? {
            transaction.commit().await?;
            return Ok(plan.outcomes());
        }
        transaction.rollback().await?;
    }
}

/// Returns false if a row went away meanwhile.
async fn carry_out<D: Dialect>(
    connection: &mut D::Connection,
    plan: &mut Plan<'_>,
) -> Result<bool, sqlx::Error> {
    let taken = D::add(connection, &plan.additions()).await?;
    let mut to_lock = plan.to_lock();
    to_lock.extend(D::find(connection, &taken).await?.iter().map(|row| row.id));
    to_lock.sort_unstable();
    let locked = D::lock_rows(connection, &to_lock).await?;
    if !plan.revise(&taken, locked) {
        return Ok(false);
    }
    for status in [Status::Disabled, Status::Enabled] {
        D::set_status(connection, &plan.to_set(status), status).await?;
    }
    D::insert_events(connection, &plan.events()).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Plan, Row, check};
    use crate::{ErrorKind, Setting, Status};

    fn row(domain: &str, enabled: bool) -> Row {
        Row { domain: domain.into(), host_type: "type1".into(), enabled: Some(enabled) }
    }

    fn found(id: i64, domain: &str, host_type: &str, status: Status) -> Setting {
        Setting { id, domain: domain.into(), host_type: host_type.into(), status }
    }

    fn planned(rows: &[Row], found: Vec<Setting>) -> Plan<'_> {
        let mut plan = Plan::new(rows);
        plan.decide(found);
        plan
    }

    #[test]
    fn what_is_there_decides_what_is_done() {
        let rows = ["new", "same", "off", "other", "marked"].map(|domain| row(domain, true));
        let plan = planned(
            &rows,
            vec![
                found(5, "marked", "type1", Status::Deleting),
                found(2, "off", "type1", Status::Disabled),
                found(1, "same", "type1", Status::Enabled),
                found(3, "other", "type2", Status::Disabled),
            ],
        );
        assert_eq!(plan.additions(), [&rows[0]]);
        assert_eq!(plan.to_lock(), [2]);
        assert_eq!(
            (plan.to_set(Status::Enabled), plan.to_set(Status::Disabled)),
            (vec![2], vec![])
        );
        assert_eq!(plan.events(), ["new", "off"]);
        let other = Outcome::OtherHostType("type2".into());
        let expected =
            [Outcome::Added, Outcome::Unchanged, Outcome::Changed, other, Outcome::Deleting];
        assert_eq!(plan.outcomes(), expected);
    }

    #[test]
    fn without_a_status_what_is_there_is_left_alone_and_what_is_new_is_enabled() {
        let rows =
            ["new", "off", "marked"].map(|domain| Row { enabled: None, ..row(domain, true) });
        let off = found(1, "off", "type1", Status::Disabled);
        let plan = planned(&rows, vec![off, found(2, "marked", "type1", Status::Deleting)]);
        assert_eq!(plan.additions()[0].status(), Status::Enabled);
        assert_eq!(plan.events(), ["new"]);
        assert_eq!(plan.outcomes(), [Outcome::Added, Outcome::Unchanged, Outcome::Deleting]);
    }

    #[test]
    fn of_duplicates_the_newest_decides_and_all_change_but_those_marked() {
        let rows = [row("a", false)];
        let mut settings = vec![
            found(3, "a", "type1", Status::Disabled),
            found(2, "a", "type2", Status::Enabled),
            found(1, "a", "type1", Status::Deleting),
        ];
        let plan = planned(&rows, settings.clone());
        assert_eq!(plan.to_set(Status::Disabled), [2]);
        assert_eq!(plan.to_lock(), [3, 2, 1]);
        settings[0].host_type = "type3".into();
        assert!(planned(&rows, settings).changes_nothing());
    }

    #[test]
    fn what_others_did_meanwhile_counts() {
        let rows = [row("taken", true), row("changed", true), row("mine", true)];
        let mut plan = planned(&rows, vec![found(1, "changed", "type1", Status::Disabled)]);
        let taken = ["taken".to_owned()];
        let locked = vec![
            found(1, "changed", "type1", Status::Deleting),
            found(2, "taken", "type1", Status::Enabled),
        ];
        assert!(plan.revise(&taken, locked));
        assert_eq!(plan.events(), ["mine"]);
        assert_eq!(plan.outcomes(), [Outcome::Unchanged, Outcome::Deleting, Outcome::Added]);

        let mut plan = planned(&rows, vec![found(1, "changed", "type1", Status::Disabled)]);
        assert!(!plan.revise(&[], vec![]), "the row went away");
    }

    #[test]
    fn what_is_decided_to_be_left_is_not_looked_up_again() {
        let rows = [row("b", true), row("same", true), row("a", true)];
        let mut plan = planned(&rows, vec![found(1, "same", "type1", Status::Enabled)]);
        assert_eq!(plan.domains(), ["a", "b"]);
        plan.decide(vec![found(2, "a", "type1", Status::Disabled)]);
        assert_eq!(plan.outcomes(), [Outcome::Added, Outcome::Unchanged, Outcome::Changed]);
    }

    #[test]
    fn a_domain_may_come_only_once() {
        assert!(check(&[row("a", true), row("A", true), row("a ", true)]).is_ok());
        let error = check(&[row("a", true), row("b", true), row("a", false)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryFailed);
    }
}
