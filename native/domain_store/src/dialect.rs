//! In what the databases differ: [`Dialect`].
//!
//! What a function does by default is right where the domain is a key of its table and a statement has
//! a parameter for each value of a list: on SQLite. PostgreSQL has arrays; on MySQL the domain is no
//! key.

use crate::statement::{Sql, Statement, built};
use crate::{Filter, Row, Setting, Status};
use sqlx::Error;
use std::collections::HashSet;
use std::time::Duration;

/// What [`Sql::setting`] reads.
pub(crate) const ROWS: &str = "SELECT id, domain, host_type, status FROM domain_settings";

/// The most values of a list in one statement; SQLite takes 32,766 parameters, MySQL 65,535.
pub(crate) const LIST: usize = 1_000;

/// A database's own SQL. All functions run on one connection.
pub(crate) trait Dialect: Sql {
    /// Begins a transaction that writes.
    const BEGIN: &'static str = "BEGIN";

    /// The end of a statement whose rows nobody else may change until the transaction ends.
    const FOR_UPDATE: &'static str = " FOR UPDATE";

    /// The beginning and the end of a statement that inserts rows but for those that are there.
    const INSERT_NEW: [&'static str; 2] = ["INSERT", " ON CONFLICT DO NOTHING"];

    /// The end of a statement that inserts a domain unless it is there.
    const UNLESS_THERE: &'static str = " ON CONFLICT (domain) DO NOTHING";

    /// Behind the name of a table, so that its rows are found by their key, whatever the optimizer
    /// thinks: reading all of a small table would lock it all.
    const BY_KEY: &'static str = "";

    /// Sorts rows of the same domain.
    const THEN_BY: &'static str = "";

    /// Deletes the oldest events with ids below the first value, as many as the second one says.
    const DELETE_EVENTS: &'static str = "DELETE FROM domain_events WHERE id IN \
         (SELECT id FROM domain_events WHERE id < ? ORDER BY id LIMIT ?)";

    /// The most ids that [`Self::settle`] takes at once.
    const MOST_GAPS: usize = LIST;

    /// The most names that a statement looks for.
    const NAMES: usize = LIST;

    /// So many names are looked for by two connections.
    const MANY_NAMES: usize = usize::MAX;

    /// Does a claim write, so that the need for it is to be looked up first?
    const CLAIM_WRITES: bool = false;

    /// How many rows a statement has changed.
    fn affected(result: &Self::QueryResult) -> u64;

    /// What sorts domains by bytes. It is asked once.
    async fn domain_bytes(_connection: &mut Self::Connection) -> Result<&'static str, Error> {
        Ok("domain")
    }

    /// All rows of these domains.
    async fn find(
        connection: &mut Self::Connection,
        domains: &[String],
    ) -> Result<Vec<Setting>, Error> {
        let mut settings = Vec::with_capacity(domains.len());
        for chunk in domains.chunks(Self::NAMES) {
            let text = format!("{ROWS} WHERE domain IN ({})", list("?", chunk));
            let query = of_list(text, chunk).bind_all(chunk);
            let rows = Self::rows(connection, query, Self::setting).await?;
            // What MySQL's collation takes for the same name may be another.
            let asked: HashSet<&String> = chunk.iter().collect();
            settings.extend(rows.into_iter().filter(|row| asked.contains(&row.domain)));
        }
        Ok(settings)
    }

    /// The rows of a domain, which nobody else can change until the transaction ends.
    async fn lock_domain(
        connection: &mut Self::Connection,
        domain: &str,
    ) -> Result<Vec<Setting>, Error> {
        let text = format!("{ROWS} WHERE domain = ?{}", Self::FOR_UPDATE);
        Self::rows(connection, built(text).bind(domain), Self::setting).await
    }

    /// The rows with these ids, which nobody else can change until the transaction ends.
    async fn lock_rows(
        connection: &mut Self::Connection,
        ids: &[i64],
    ) -> Result<Vec<Setting>, Error> {
        let mut locked = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(LIST) {
            let (by_key, list, for_update) = (Self::BY_KEY, list("?", chunk), Self::FOR_UPDATE);
            let text = format!("{ROWS}{by_key} WHERE id IN ({list}) ORDER BY id{for_update}");
            let query = of_list(text, chunk).bind_all(chunk.iter().copied());
            locked.extend(Self::rows(connection, query, Self::setting).await?);
        }
        Ok(locked)
    }

    /// May a row of this domain be inserted? If it is there all the same, the database refuses it.
    async fn is_free(_connection: &mut Self::Connection, _domain: &str) -> Result<bool, Error> {
        Ok(true)
    }

    /// Nobody else can insert a row of these domains until the transaction ends, or [`Self::add`]
    /// tells of it.
    async fn claim(_connection: &mut Self::Connection, _domains: &[String]) -> Result<(), Error> {
        Ok(())
    }

    /// Inserts rows. Returns the domains that somebody else has added meanwhile: none, as that cannot
    /// be (SQLite has one writer; on MySQL the names are claimed).
    async fn add(connection: &mut Self::Connection, rows: &[&Row]) -> Result<Vec<String>, Error> {
        for chunk in rows.chunks(LIST) {
            let values = list("(?, ?, ?)", chunk);
            let text =
                format!("INSERT INTO domain_settings (domain, host_type, status) VALUES {values}");
            let mut query = of_list(text, chunk);
            for row in chunk {
                query = query.bind(&row.domain).bind(&row.host_type).bind(row.status());
            }
            Self::execute(connection, query).await?;
        }
        Ok(Vec::new())
    }

    /// Gives the rows with these ids this status.
    async fn set_status(
        connection: &mut Self::Connection,
        ids: &[i64],
        status: Status,
    ) -> Result<(), Error> {
        for chunk in ids.chunks(LIST) {
            let (by_key, list) = (Self::BY_KEY, list("?", chunk));
            let text =
                format!("UPDATE domain_settings{by_key} SET status = ? WHERE id IN ({list})");
            let query = of_list(text, chunk).bind(status).bind_all(chunk.iter().copied());
            Self::execute(connection, query).await?;
        }
        Ok(())
    }

    /// Appends an event for each of these domains, in this order.
    async fn insert_events(
        connection: &mut Self::Connection,
        domains: &[&str],
    ) -> Result<(), Error> {
        for chunk in domains.chunks(LIST) {
            let text = format!("INSERT INTO domain_events (domain) VALUES {}", list("(?)", chunk));
            let query = of_list(text, chunk).bind_all(chunk.iter().copied());
            Self::execute(connection, query).await?;
        }
        Ok(())
    }

    /// Inserts a dummy event for each of these ids that has none, and returns how many. It may wait for
    /// so long for a transaction that has inserted one of them.
    async fn settle(
        connection: &mut Self::Connection,
        ids: &[i64],
        _limit: Duration,
    ) -> Result<u64, Error> {
        let [insert, unless_there] = Self::INSERT_NEW;
        let values = list("(?, '')", ids);
        let text =
            format!("{insert} INTO domain_events (id, domain) VALUES {values}{unless_there}");
        let query = of_list(text, ids).bind_all(ids.iter().copied());
        Ok(Self::affected(&Self::execute(connection, query).await?))
    }

    /// Of these rows, which a list with this filter has found, those that are the newest of their
    /// domains.
    async fn newest_of(
        _connection: &mut Self::Connection,
        rows: Vec<Setting>,
        _filter: &Filter,
    ) -> Result<Vec<Setting>, Error> {
        Ok(rows)
    }
}

/// `item`, so many times, with commas between.
pub(crate) fn list<T>(item: &str, values: &[T]) -> String {
    vec![item; values.len()].join(", ")
}

/// A statement with a list of these values. It is kept prepared if the list is of full length or of
/// one value: there is a statement for every other length.
pub(crate) fn of_list<'v, T>(text: String, values: &[T]) -> Statement<'v> {
    built(text).keep(values.len() == 1 || values.len() == LIST)
}
