//! Statements with values, for each of sqlx's databases.
//!
//! The one place with the bounds that sqlx's generics ask for, so that all that is written once for
//! every database needs only one: [`Sql`].

use crate::peer::Peer;
use crate::{Setting, Status};
use futures_util::stream::{BoxStream, TryStreamExt};
use sqlx::database::HasStatementCache;
use sqlx::query::Query;
use sqlx::{Arguments, AssertSqlSafe, ColumnIndex, Decode, Encode, Error, Executor};
use sqlx::{IntoArguments, Row, SqlSafeStr, SqlStr, Type};

/// A statement with a `?` for each value, and the values.
pub(crate) struct Statement<'v> {
    text: SqlStr,
    values: Vec<Value<'v>>,
    is_kept: bool,
}

pub(crate) enum Value<'v> {
    Text(&'v str),
    Integer(i64),
    Status(Option<Status>),
}

/// A statement without values yet.
pub(crate) fn statement<'v>(text: impl SqlSafeStr) -> Statement<'v> {
    Statement { text: text.into_sql_str(), values: Vec::new(), is_kept: true }
}

/// A statement that was put together of texts of ours.
pub(crate) fn built<'v>(text: String) -> Statement<'v> {
    statement(AssertSqlSafe(text))
}

impl<'v> Statement<'v> {
    /// Puts the value in the place of the next `?`.
    pub fn bind(mut self, value: impl Into<Value<'v>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Puts the values in the places of the next `?`s.
    pub fn bind_all(mut self, values: impl IntoIterator<Item = impl Into<Value<'v>>>) -> Self {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    /// Does the connection keep it prepared, for the next time, if it has a session? It does by default.
    pub fn keep(self, is_kept: bool) -> Self {
        Statement { is_kept, ..self }
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Value::Text(text)
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Value::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(integer: i64) -> Self {
        Value::Integer(integer)
    }
}

impl From<u32> for Value<'_> {
    fn from(integer: u32) -> Self {
        Value::Integer(integer.into())
    }
}

impl From<Status> for Value<'_> {
    fn from(status: Status) -> Self {
        Value::Status(Some(status))
    }
}

impl From<Option<Status>> for Value<'_> {
    fn from(status: Option<Status>) -> Self {
        Value::Status(status)
    }
}

/// Runs statements, and reads the columns of rows.
pub(crate) trait Sql: Peer {
    /// Runs a statement that gives no rows.
    fn execute(
        connection: &mut Self::Connection,
        statement: Statement<'_>,
    ) -> impl Future<Output = Result<Self::QueryResult, Error>> + Send;

    /// What `read` makes of each row that the statement gives.
    fn rows<T: Send>(
        connection: &mut Self::Connection,
        statement: Statement<'_>,
        read: impl Fn(&Self::Row) -> Result<T, Error> + Send,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send;

    /// The rows of a statement without values, as they come.
    fn stream<'c>(
        connection: &'c mut Self::Connection,
        text: &'static str,
    ) -> BoxStream<'c, Result<Self::Row, Error>>;

    /// The bytes of a text.
    fn bytes(row: &Self::Row, column: usize) -> Result<&[u8], Error>;

    /// A whole number, or NULL.
    fn nullable(row: &Self::Row, column: usize) -> Result<Option<i64>, Error>;

    /// A whole number.
    fn integer(row: &Self::Row, column: usize) -> Result<i64, Error>;

    /// A status.
    fn status(row: &Self::Row, column: usize) -> Result<Status, Error>;

    /// A text. One that is not UTF-8 reads as the empty name, which no domain has: one bad row must
    /// not keep all others from being read.
    fn text(row: &Self::Row, column: usize) -> Result<String, Error> {
        Ok(std::str::from_utf8(Self::bytes(row, column)?).unwrap_or_default().to_owned())
    }

    /// A row of [`ROWS`](crate::dialect::ROWS).
    fn setting(row: &Self::Row) -> Result<Setting, Error> {
        Ok(Setting {
            id: Self::integer(row, 0)?,
            domain: Self::text(row, 1)?,
            host_type: Self::text(row, 2)?,
            status: Self::status(row, 3)?,
        })
    }
}

impl<DB> Sql for DB
where
    DB: Peer + sqlx::Database<Arguments: IntoArguments<DB>> + HasStatementCache,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'v> &'v str: Encode<'v, DB> + Type<DB>,
    for<'v> i64: Encode<'v, DB> + Type<DB> + Decode<'v, DB>,
    for<'v> i16: Type<DB> + Decode<'v, DB>,
    for<'v> Option<i16>: Encode<'v, DB>,
    for<'v> &'v [u8]: Decode<'v, DB>,
    usize: ColumnIndex<DB::Row>,
{
    async fn execute(
        connection: &mut DB::Connection,
        statement: Statement<'_>,
    ) -> Result<DB::QueryResult, Error> {
        connection.execute(query::<DB>(statement)?).await
    }

    async fn rows<T: Send>(
        connection: &mut DB::Connection,
        statement: Statement<'_>,
        read: impl Fn(&DB::Row) -> Result<T, Error> + Send,
    ) -> Result<Vec<T>, Error> {
        let mut rows = connection.fetch(query::<DB>(statement)?);
        let mut all = Vec::new();
        while let Some(row) = rows.try_next().await? {
            all.push(read(&row)?);
        }
        Ok(all)
    }

    fn stream<'c>(
        connection: &'c mut DB::Connection,
        text: &'static str,
    ) -> BoxStream<'c, Result<DB::Row, Error>> {
        connection.fetch(sqlx::query(text).persistent(DB::HAS_SESSION))
    }

    fn bytes(row: &DB::Row, column: usize) -> Result<&[u8], Error> {
        row.try_get_unchecked(column)
    }

    fn nullable(row: &DB::Row, column: usize) -> Result<Option<i64>, Error> {
        row.try_get_unchecked(column)
    }

    fn integer(row: &DB::Row, column: usize) -> Result<i64, Error> {
        row.try_get_unchecked(column)
    }

    fn status(row: &DB::Row, column: usize) -> Result<Status, Error> {
        Ok(Status::from_column(row.try_get_unchecked::<i16, _>(column)?))
    }
}

/// The statement for sqlx, with the database's own placeholders in the places of the `?`s.
fn query<DB>(statement: Statement<'_>) -> Result<Query<'static, DB, DB::Arguments>, Error>
where
    DB: Peer + sqlx::Database<Arguments: IntoArguments<DB>> + HasStatementCache,
    for<'v> &'v str: Encode<'v, DB> + Type<DB>,
    for<'v> i64: Encode<'v, DB> + Type<DB>,
    for<'v> Option<i16>: Encode<'v, DB>,
    i16: Type<DB>,
{
    let mut arguments = DB::Arguments::default();
    let mut pieces = statement.text.as_str().split('?');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for (value, piece) in statement.values.into_iter().zip(pieces) {
        let added = match value {
            Value::Text(text) => arguments.add(text),
            Value::Integer(integer) => arguments.add(integer),
            Value::Status(status) => arguments.add(status.map(Status::to_column)),
        };
        added.map_err(Error::Encode)?;
        // A String takes all that is written.
        let _ = arguments.format_placeholder(&mut text);
        text.push_str(piece);
    }
    let is_kept = statement.is_kept && DB::HAS_SESSION;
    Ok(sqlx::query_with(AssertSqlSafe(text), arguments).persistent(is_kept))
}
