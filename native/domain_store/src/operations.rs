//! The operations, once for all databases.

use crate::database::{Database, End, run, transaction};
use crate::dialect::{Dialect, ROWS};
use crate::statement::{Sql, Value, built, statement};
use crate::{Change, Connections, Error, Event, Filter, Insert, Setting, Status};

impl<D: Dialect> Database<D> {
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub fn connections(&self) -> Connections {
        self.pool.connections()
    }

    pub async fn event_bounds(&self) -> Result<Option<(i64, i64)>, Error> {
        run!(self, |connection| {
            let query = statement("SELECT MIN(id), MAX(id) FROM domain_events");
            let bounds = |row: &_| Ok(D::nullable(row, 0)?.zip(D::nullable(row, 1)?));
            Ok(D::rows(connection, query, bounds).await?.pop().flatten())
        })
    }

    pub async fn events(&self, from: i64, upto: i64, limit: u32) -> Result<Vec<Event>, Error> {
        run!(self, |connection| {
            let query = statement(
                "SELECT id, domain FROM domain_events WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            );
            let query = query.bind(from).bind(upto).bind(limit);
            let event = |row: &_| Ok(Event { id: D::integer(row, 0)?, domain: D::text(row, 1)? });
            D::rows(connection, query, event).await
        })
    }

    pub async fn settle_gaps(&self, ids: &[i64]) -> Result<u64, Error> {
        let mut inserted = 0;
        for chunk in ids.chunks(D::MOST_GAPS) {
            inserted += run!(self, |connection| D::settle(connection, chunk, self.limit).await)?;
        }
        Ok(inserted)
    }

    pub async fn delete_events_below(&self, id: i64, limit: u32) -> Result<u64, Error> {
        run!(self, |connection| {
            let query = statement(D::DELETE_EVENTS).bind(id).bind(limit);
            Ok(D::affected(&D::execute(connection, query).await?))
        })
    }

    pub async fn settings(&self, domains: &[String]) -> Result<Vec<Setting>, Error> {
        if domains.len() < D::MANY_NAMES {
            return self.find(domains).await;
        }
        // The server looks for one half while we read the other.
        let (one, other) = domains.split_at(domains.len() / 2);
        let (mut settings, more) = tokio::try_join!(self.find(one), self.find(other))?;
        settings.extend(more);
        Ok(settings)
    }

    async fn find(&self, domains: &[String]) -> Result<Vec<Setting>, Error> {
        run!(self, |connection| D::find(connection, domains).await)
    }

    pub async fn page(
        &self,
        status: Option<Status>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Setting>, Error> {
        run!(self, |connection| {
            let query = statement(
                "SELECT id, domain, host_type, status FROM domain_settings \
                 WHERE id > ? AND status = COALESCE(?, status) ORDER BY id LIMIT ?",
            );
            let query = query.bind(after).bind(status).bind(limit);
            D::rows(connection, query, D::setting).await
        })
    }

    pub async fn count(&self, most: u32) -> Result<u32, Error> {
        run!(self, |connection| {
            let query = statement(
                "SELECT COUNT(*) FROM (SELECT id FROM domain_settings LIMIT ?) AS some_rows",
            );
            let count = |row: &_| D::integer(row, 0);
            let counts = D::rows(connection, query.bind(most), count).await?;
            Ok(counts.first().and_then(|count| u32::try_from(*count).ok()).unwrap_or(most))
        })
    }

    pub async fn list(
        &self,
        filter: &Filter,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Setting>, Error> {
        let key = self.domain_bytes().await?;
        let wanted = limit as usize;
        let (mut page, mut after, mut limit) = (Vec::new(), after.to_owned(), limit);
        while page.len() < wanted {
            let read = run!(self, |connection| {
                let mut rows = rows_after::<D>(connection, key, filter, &after, limit).await?;
                let is_last = rows.len() < limit as usize;
                // Text that is not UTF-8: behind an empty name the list would begin again.
                rows.retain(|row| !row.domain.is_empty());
                let last = rows.last().map(|row| row.domain.clone());
                Ok((D::newest_of(connection, rows, filter).await?, last, is_last))
            });
            let (rows, last, is_last) = read?;
            page.extend(rows);
            match last {
                Some(last) => after = last,
                // Nothing else: no name to go on behind, so take more.
                None => limit = limit.saturating_mul(2),
            }
            if is_last {
                break;
            }
        }
        page.truncate(wanted);
        Ok(page)
    }

    /// What sorts domains by bytes.
    pub async fn domain_bytes(&self) -> Result<&'static str, Error> {
        if let Some(known) = self.domain_bytes.get() {
            return Ok(known);
        }
        let found = run!(self, |connection| D::domain_bytes(connection).await)?;
        Ok(self.domain_bytes.get_or_init(|| found))
    }

    pub async fn insert_domain(&self, domain: &str, host_type: &str) -> Result<Insert, Error> {
        transaction!(self, |connection| {
            loop {
                let unless_there = D::UNLESS_THERE;
                let insert = built(format!(
                    "INSERT INTO domain_settings (domain, host_type, status) \
                     VALUES (?, ?, 1){unless_there}"
                ));
                let insert = insert.bind(domain).bind(host_type);
                if D::is_free(connection, domain).await?
                    && D::affected(&D::execute(connection, insert).await?) == 1
                {
                    insert_event::<D>(connection, domain).await?;
                    return Ok(End::Commit(Insert::Inserted));
                }
                if let Some(row) = newest(D::lock_domain(connection, domain).await?) {
                    return Ok(End::Rollback(Insert::Exists(row)));
                }
                // It went away between the two statements.
            }
        })
    }

    pub async fn change(
        &self,
        domain: &str,
        host_type: Option<&str>,
        status: Status,
    ) -> Result<Change, Error> {
        transaction!(self, |connection| {
            let rows = D::lock_domain(connection, domain).await?;
            let marked = Status::Deleting;
            let to_change = to_change(&rows, status);
            let refused = match newest(rows) {
                None => Change::NotFound,
                Some(row) if host_type.is_some_and(|wanted| wanted != row.host_type) => {
                    Change::WrongHostType(row.host_type)
                }
                Some(row) if row.status == marked && status != marked => Change::Deleting,
                Some(_) if to_change.is_empty() => Change::Done,
                Some(_) => {
                    D::set_status(connection, &to_change, status).await?;
                    insert_event::<D>(connection, domain).await?;
                    return Ok(End::Commit(Change::Done));
                }
            };
            Ok(End::Rollback(refused))
        })
    }

    pub async fn delete_domain(&self, domain: &str, host_type: &str) -> Result<bool, Error> {
        transaction!(self, |connection| {
            let rows = D::lock_domain(connection, domain).await?;
            let (rows, others): (Vec<_>, Vec<_>) = rows
                .into_iter()
                .partition(|row| row.status == Status::Deleting && row.host_type == host_type);
            for row in &rows {
                let delete = statement("DELETE FROM domain_settings WHERE id = ?").bind(row.id);
                D::execute(connection, delete).await?;
            }
            if !rows.is_empty() {
                insert_event::<D>(connection, domain).await?;
            }
            if others.is_empty() {
                crate::passwords::delete_admin::<D>(connection, domain).await?;
            }
            Ok(End::Commit(!rows.is_empty()))
        })
    }
}

/// The row that counts of all rows of a domain.
pub(crate) fn newest(rows: Vec<Setting>) -> Option<Setting> {
    rows.into_iter().max_by_key(|row| row.id)
}

/// The ids of the rows that a change to this status changes: a mark for deletion stays, also on a row
/// that does not count any more.
pub(crate) fn to_change(rows: &[Setting], status: Status) -> Vec<i64> {
    let unchanged = [status, Status::Deleting];
    let rows = rows.iter().filter(|row| !unchanged.contains(&row.status));
    rows.map(|row| row.id).collect()
}

async fn insert_event<D: Sql>(
    connection: &mut D::Connection,
    domain: &str,
) -> Result<(), sqlx::Error> {
    let query = statement("INSERT INTO domain_events (domain) VALUES (?)").bind(domain);
    D::execute(connection, query).await?;
    Ok(())
}

/// The first rows with a domain after this one by `key`, sorted by it. The statement is planned anew
/// with its values each time: the best plan depends on them.
async fn rows_after<D: Dialect>(
    connection: &mut D::Connection,
    key: &str,
    filter: &Filter,
    after: &str,
    limit: u32,
) -> Result<Vec<Setting>, sqlx::Error> {
    let mut conditions = Vec::new();
    let mut values: Vec<Value<'_>> = Vec::new();
    if let Some(host_type) = &filter.host_type {
        conditions.push("host_type = ?".to_owned());
        values.push(host_type.into());
    }
    if let Some(status) = filter.status {
        conditions.push("status = ?".to_owned());
        values.push(status.into());
    }
    conditions.push(format!("{key} > ?"));
    let (conditions, then_by) = (conditions.join(" AND "), D::THEN_BY);
    let query = built(format!("{ROWS} WHERE {conditions} ORDER BY {key}{then_by} LIMIT ?"));
    let query = query.bind_all(values).bind(after).bind(limit).keep(false);
    D::rows(connection, query, D::setting).await
}
