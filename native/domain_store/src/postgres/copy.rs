//! Reads all enabled domains from PostgreSQL by `COPY`.

use crate::database::{Database, reading};
use crate::load::{READY, enabled};
use crate::pool::{give_back, within};
use crate::{Enabled, Error};
use compact_str::CompactString;
use futures_util::StreamExt;
use memchr::memchr;
use sqlx::Postgres;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// `COPY` gives rows half as fast again as a query does.
const COPY_ENABLED: &str =
    "COPY (SELECT domain, host_type FROM domain_settings WHERE status = 1) TO STDOUT";
const ENABLED: &str = "SELECT domain, host_type FROM domain_settings WHERE status = 1";

impl Database<Postgres> {
    pub async fn load(&self, batch: usize, to: mpsc::Sender<Vec<Enabled>>) -> Result<(), Error> {
        if self.load_by_copy(batch, &to).await? {
            return Ok(());
        }
        self.load_by_query(ENABLED, batch, to, |row| enabled::<Postgres>(row).map(Some)).await
    }

    /// Returns whether the database can do this.
    async fn load_by_copy(
        &self,
        batch: usize,
        to: &mpsc::Sender<Vec<Enabled>>,
    ) -> Result<bool, Error> {
        let mut lease = self.lease().await?;
        let mut scope = within(self.limit, reading(&mut lease)).await?;
        let copy = timeout(self.limit, scope.connection().copy_out_raw(COPY_ENABLED)).await;
        let mut chunks = match copy.map_err(|_| Error::timeout(self.limit))? {
            // A message per row: what has come already is taken together.
            Ok(chunks) => chunks.ready_chunks(READY),
            Err(error) if is_refusal_to_copy(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut rows = CopyRows::default();
        loop {
            let next = timeout(self.limit, chunks.next()).await;
            let Some(ready) = next.map_err(|_| Error::timeout(self.limit))? else { break };
            for chunk in ready {
                rows.push(&chunk?);
                if rows.enabled.len() >= batch && to.send(rows.take()).await.is_err() {
                    return Ok(true);
                }
            }
        }
        drop(chunks);
        within(self.limit, scope.end()).await?;
        give_back(lease);
        if !rows.enabled.is_empty() {
            // Nobody there to take it: nobody to tell either.
            let _ = to.send(rows.take()).await;
        }
        Ok(true)
    }
}

/// An older CockroachDB has no `COPY` of a query: "feature not supported" or "syntax error".
fn is_refusal_to_copy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "0A000" || code == "42601")
}

/// Takes apart the text format of `COPY`: lines of two columns with a tab between, backslash escapes
/// (PostgreSQL's manual, COPY, "Text Format"). A message may end anywhere in a line.
#[derive(Default)]
struct CopyRows {
    enabled: Vec<Enabled>,
    partial: Vec<u8>,
}

impl CopyRows {
    fn push(&mut self, mut chunk: &[u8]) {
        while let Some(end) = memchr(b'\n', chunk) {
            if self.partial.is_empty() {
                self.enabled.extend(row(&chunk[..end]));
            } else {
                self.partial.extend_from_slice(&chunk[..end]);
                self.enabled.extend(row(&self.partial));
                self.partial.clear();
            }
            chunk = &chunk[end + 1..];
        }
        self.partial.extend_from_slice(chunk);
    }

    fn take(&mut self) -> Vec<Enabled> {
        let capacity = self.enabled.len();
        std::mem::replace(&mut self.enabled, Vec::with_capacity(capacity))
    }
}

fn row(line: &[u8]) -> Option<Enabled> {
    let tab = memchr(b'\t', line)?;
    Some((column(&line[..tab]), column(&line[tab + 1..])))
}

/// Text that is not UTF-8 reads as the empty name, as everywhere.
fn column(escaped: &[u8]) -> CompactString {
    if memchr(b'\\', escaped).is_none() {
        return CompactString::from_utf8(escaped).unwrap_or_default();
    }
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut escaped = escaped.iter();
    while let Some(&byte) = escaped.next() {
        bytes.push(match byte {
            b'\\' => match escaped.next() {
                Some(b'b') => 0x08,
                Some(b'f') => 0x0c,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 0x0b,
                Some(&other) => other,
                None => b'\\',
            },
            byte => byte,
        });
    }
    CompactString::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{CopyRows, ENABLED, is_refusal_to_copy};
    use crate::Config;
    use crate::database::Database;
    use crate::load::enabled;
    use crate::postgres::options_of_url;
    use sqlx::Postgres;
    use test_database::TestDatabase;
    use tokio::sync::mpsc;

    #[test]
    fn copied_rows_are_found_wherever_the_messages_end() {
        let text = b"one.example\ttype1\nback\\\\slash\\t.example\ttype\\n2\n";
        for cut in 0..=text.len() {
            let mut rows = CopyRows::default();
            rows.push(&text[..cut]);
            rows.push(&text[cut..]);
            let expected = [("one.example", "type1"), ("back\\slash\t.example", "type\n2")];
            assert_eq!(rows.take(), expected.map(|(a, b)| (a.into(), b.into())));
        }
    }

    /// The way of a CockroachDB that has no `COPY` of a query.
    #[tokio::test]
    async fn without_copy_a_query_loads_the_same() {
        let db = TestDatabase::postgres().await;
        for n in 0..25 {
            db.store.insert_domain(&format!("d{n:02}.example"), "type1").await.unwrap();
        }
        db.store.set_status("d03.example", false).await.unwrap();
        let (options, _) = options_of_url(&db.url).unwrap();
        let database = Database::<Postgres>::open(options, &Config::new(&db.url)).unwrap();
        let (to, mut from) = mpsc::channel(10);
        let enabled = |row: &_| enabled::<Postgres>(row).map(Some);
        database.load_by_query(ENABLED, 10, to, enabled).await.unwrap();
        let mut by_query = Vec::new();
        while let Some(batch) = from.recv().await {
            assert!(batch.len() <= 10);
            by_query.extend(batch);
        }
        let (to, mut from) = mpsc::channel(10);
        assert!(database.load_by_copy(1_000, &to).await.unwrap());
        let mut by_copy = from.recv().await.unwrap();
        by_copy.sort();
        by_query.sort();
        assert_eq!(by_query.len(), 24);
        assert_eq!(by_query, by_copy);
    }

    #[tokio::test]
    async fn a_refusal_to_copy_is_told_from_other_errors() {
        let db = TestDatabase::postgres().await;
        let pool = sqlx::PgPool::connect(&db.url).await.unwrap();
        for (statement, expected) in [
            ("COPY (SELECT FROM TO STDOUT", true),
            ("COPY (SELECT domain FROM domain_settings) TO STDOUT", false),
            ("COPY (SELECT domain FROM no_such_table) TO STDOUT", false),
        ] {
            let mut connection = pool.acquire().await.unwrap();
            let refused = match connection.copy_out_raw(statement).await {
                Ok(_) => false,
                Err(error) => is_refusal_to_copy(&error),
            };
            assert_eq!(refused, expected, "{statement}");
            connection.detach();
        }
    }
}
