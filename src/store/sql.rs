//! Runs one SQL text on either database. Every statement of the store goes through here, so the
//! text must hold on both: `$n` placeholders, no functions that only one of them has.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr, SqlStr, SqliteConnection};
use tokio::time::timeout;

use super::embedded;
use super::error::{Error, Result};
use super::record::Record;

/// How long Postgres may take to answer a statement.
pub(super) const ANSWER: Duration = Duration::from_secs(20);

/// Waits for Postgres, at most [`ANSWER`]. A line that was cut without a word to either side looks
/// like a database that thinks: it would be waited for until the kernel gives it up, a quarter of an
/// hour later, or for ever where something in between goes on confirming what is sent. The connection
/// must not be used again; the pool finds that out ([`super::dialect`]).
///
/// # Errors
/// [`Error::Database`] when the statement fails or is not answered in time.
pub(super) fn answered<T>(
    answer: impl Future<Output = sqlx::Result<T>> + Send,
) -> impl Future<Output = Result<T>> + Send {
    // In a box, which all that wait for a statement would be larger by else, twice over.
    let answer = timeout(ANSWER, Box::pin(answer));
    async {
        let in_time = answer.await;
        Ok(in_time.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))?)
    }
}

/// A connection to either database.
#[derive(Debug)]
pub enum Db<'c> {
    /// Embedded, through sqlx.
    Sqlite(&'c mut SqliteConnection),
    /// Embedded, on this thread: the writer of deliveries.
    Embedded(&'c mut embedded::Connection),
    /// A server.
    Postgres(&'c mut PgConnection),
}

/// A value for a placeholder.
#[derive(Debug, Clone)]
pub enum Arg {
    /// TEXT.
    Text(Option<String>),
    /// BIGINT.
    Int(Option<i64>),
    /// BOOLEAN.
    Bool(bool),
    /// BLOB or BYTEA.
    Blob(Option<Bytes>),
}

macro_rules! into_arg {
    ($($from:ty => |$v:ident| $arg:expr;)*) => {
        $(impl From<$from> for Arg { fn from($v: $from) -> Self { $arg } })*
    };
}
into_arg! {
    &str => |v| Self::Text(Some(v.to_owned()));
    String => |v| Self::Text(Some(v));
    Option<String> => |v| Self::Text(v);
    Option<&str> => |v| Self::Text(v.map(str::to_owned));
    &crate::domain::ids::Id => |v| Self::Text(Some(v.as_str().to_owned()));
    Option<&crate::domain::ids::Id> => |v| Self::Text(v.map(|id| id.as_str().to_owned()));
    i64 => |v| Self::Int(Some(v));
    Option<i64> => |v| Self::Int(v);
    bool => |v| Self::Bool(v);
    Bytes => |v| Self::Blob(Some(v));
}

/// The values of a statement's placeholders, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::sql::Arg::from($value)),*] };
}
pub(crate) use args;

macro_rules! bound {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for arg in $args {
            query = match arg {
                Arg::Text(value) => query.bind(value),
                Arg::Int(value) => query.bind(value),
                Arg::Bool(value) => query.bind(value),
                Arg::Blob(value) => query.bind(value.map(|bytes| bytes.to_vec())),
            };
        }
        query
    }};
}
pub(super) use bound;

impl Db<'_> {
    /// Runs a statement and answers how many rows it changed.
    ///
    /// # Errors
    /// [`Error::Conflict`] on a unique or foreign-key violation, [`Error::Database`] else.
    pub async fn execute(&mut self, sql: impl SqlSafeStr, args: Vec<Arg>) -> Result<u64> {
        let sql: SqlStr = sql.into_sql_str();
        let changed = match self {
            Self::Sqlite(c) => bound!(sqlx::query(sql), args)
                .execute(&mut **c)
                .await?
                .rows_affected(),
            Self::Embedded(c) => c.execute(sql.as_str(), [args.as_slice()])?,
            Self::Postgres(c) => answered(bound!(sqlx::query(sql), args).execute(&mut **c))
                .await?
                .rows_affected(),
        };
        Ok(changed)
    }

    /// Reads all rows.
    ///
    /// # Errors
    /// [`Error::Database`] when the statement fails or a row has another shape.
    pub async fn fetch<T: Record>(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg>,
    ) -> Result<Vec<T>> {
        let sql: SqlStr = sql.into_sql_str();
        let rows = match self {
            Self::Sqlite(c) => {
                bound!(sqlx::query_as(sql), args)
                    .fetch_all(&mut **c)
                    .await?
            }
            Self::Embedded(c) => c.fetch(sql.as_str(), [args.as_slice()])?,
            Self::Postgres(c) => {
                answered(bound!(sqlx::query_as(sql), args).fetch_all(&mut **c)).await?
            }
        };
        Ok(rows)
    }

    /// Reads the first row, if there is one.
    ///
    /// # Errors
    /// As [`Db::fetch`].
    pub async fn fetch_one<T: Record>(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg>,
    ) -> Result<Option<T>> {
        Ok(self.fetch(sql, args).await?.into_iter().next())
    }

    /// Reads a single number, such as a count.
    ///
    /// # Errors
    /// As [`Db::fetch`]; [`Error::Corrupt`] when there is no row.
    pub async fn fetch_int(&mut self, sql: impl SqlSafeStr, args: Vec<Arg>) -> Result<i64> {
        let row: Option<(i64,)> = self.fetch_one(sql, args).await?;
        row.map(|(n,)| n).ok_or(Error::Corrupt("a counter"))
    }

    /// Reads the rows whose column is one of `keys`: `IN {keys}` in the text stands for the list.
    /// A row may come more than once where the text asks for two columns.
    ///
    /// # Errors
    /// As [`Db::fetch`].
    pub async fn fetch_in<'k, T: Record>(
        &mut self,
        sql: &'static str,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<Vec<T>> {
        let keys: Vec<&str> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::Embedded(c) => {
                let keys: Vec<[Arg; 1]> = keys.iter().map(|key| [Arg::from(*key)]).collect();
                c.fetch(
                    &sql.replace(KEYS, "= $1"),
                    keys.iter().map(<[Arg; 1]>::as_slice),
                )
            }
            Self::Postgres(c) => {
                let sql = AssertSqlSafe(sql.replace(KEYS, "= ANY($1)"));
                answered(sqlx::query_as(sql).bind(keys).fetch_all(&mut **c)).await
            }
            Self::Sqlite(_) => self.fetch_in_chunks(sql, &keys).await,
        }
    }

    /// Reads the rows of several such texts of one shape: on Postgres in one round trip.
    ///
    /// # Errors
    /// As [`Db::fetch`].
    pub async fn fetch_in_each<T: Record>(&mut self, parts: Parts<'_>) -> Result<Vec<T>> {
        let parts = parts.into_iter().filter(|(_, keys)| !keys.is_empty());
        if let Self::Postgres(c) = self {
            let (texts, lists): (Vec<String>, Vec<Vec<&str>>) = parts
                .enumerate()
                .map(|(n, (sql, keys))| (sql.replace(KEYS, &format!("= ANY(${})", n + 1)), keys))
                .unzip();
            if lists.is_empty() {
                return Ok(Vec::new());
            }
            let sql = AssertSqlSafe(texts.join(" UNION ALL "));
            let query = lists
                .into_iter()
                .fold(sqlx::query_as(sql), sqlx::query::QueryAs::bind);
            return answered(query.fetch_all(&mut **c)).await;
        }
        let mut found = Vec::new();
        for (sql, keys) in parts {
            found.extend(self.fetch_in(sql, keys).await?);
        }
        Ok(found)
    }

    /// Reads the rows of six such sets of texts: on Postgres in one round trip, as JSON, for
    /// which the texts' columns must be named as the fields.
    ///
    /// # Errors
    /// As [`Db::fetch`].
    pub async fn fetch_in_all<A: Record, B: Record, C: Record, D: Record, E: Record, F: Record>(
        &mut self,
        sets: [Parts<'_>; 6],
    ) -> Result<(Vec<A>, Vec<B>, Vec<C>, Vec<D>, Vec<E>, Vec<F>)> {
        if let Self::Postgres(connection) = self {
            let [one, two, three, four, five, six] = fetch_as_json(connection, sets).await?;
            return Ok((
                from_json(one)?,
                from_json(two)?,
                from_json(three)?,
                from_json(four)?,
                from_json(five)?,
                from_json(six)?,
            ));
        }
        let [one, two, three, four, five, six] = sets;
        Ok((
            self.fetch_in_each(one).await?,
            self.fetch_in_each(two).await?,
            self.fetch_in_each(three).await?,
            self.fetch_in_each(four).await?,
            self.fetch_in_each(five).await?,
            self.fetch_in_each(six).await?,
        ))
    }

    async fn fetch_in_chunks<T: Record>(
        &mut self,
        sql: &'static str,
        keys: &[&str],
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        for chunk in keys.chunks(MAX_KEYS) {
            let size = chunk.len().next_power_of_two();
            // The last key fills up the list, so that each size of statement is prepared once.
            let padded = (0..size)
                .map(|n| Arg::from(chunk[n.min(chunk.len() - 1)]))
                .collect();
            found.extend(self.fetch(AssertSqlSafe(listed(sql, size)), padded).await?);
        }
        Ok(found)
    }

    /// Runs a statement for the rows whose column is one of `keys`, as [`Db::fetch_in`].
    ///
    /// # Errors
    /// As [`Db::execute`].
    pub async fn execute_in<'k>(
        &mut self,
        sql: &'static str,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<u64> {
        let keys: Vec<&str> = keys.into_iter().collect();
        let mut changed = 0;
        for chunk in keys.chunks(MAX_KEYS) {
            let sql = listed(sql, chunk.len());
            let args = chunk.iter().map(|key| Arg::from(*key)).collect();
            changed += self.execute(AssertSqlSafe(sql), args).await?;
        }
        Ok(changed)
    }
}

/// Texts of one shape, each with the keys to read by.
pub type Parts<'k> = Vec<(&'static str, Vec<&'k str>)>;

/// Runs several sets of texts in one round trip. Each row comes with the number of its set, which is
/// less work for Postgres than to add each set up to one value.
async fn fetch_as_json<const N: usize>(
    connection: &mut PgConnection,
    sets: [Parts<'_>; N],
) -> Result<[Vec<String>; N]> {
    let mut lists = Vec::new();
    let mut selects = Vec::new();
    for (set, parts) in sets.into_iter().enumerate() {
        let mut texts = Vec::new();
        for (sql, keys) in parts.into_iter().filter(|(_, keys)| !keys.is_empty()) {
            lists.push(keys);
            texts.push(sql.replace(KEYS, &format!("= ANY(${})", lists.len())));
        }
        if !texts.is_empty() {
            let rows = texts.join(" UNION ALL ");
            selects.push(format!(
                "SELECT CAST({set} AS BIGINT), CAST(ROW_TO_JSON(t) AS TEXT) FROM ({rows}) AS t"
            ));
        }
    }
    let mut found = [const { Vec::new() }; N];
    if lists.is_empty() {
        return Ok(found);
    }
    let sql = AssertSqlSafe(selects.join(" UNION ALL "));
    let query = lists
        .into_iter()
        .fold(sqlx::query_as(sql), sqlx::query::QueryAs::bind);
    let rows: Vec<(i64, String)> = answered(query.fetch_all(connection)).await?;
    for (set, row) in rows {
        let set = usize::try_from(set).ok().and_then(|set| found.get_mut(set));
        set.ok_or(Error::Corrupt("an answer"))?.push(row);
    }
    Ok(found)
}

fn from_json<T: Record>(rows: Vec<String>) -> Result<Vec<T>> {
    let read = |row: String| serde_json::from_str(&row).map_err(|_| Error::Corrupt("an answer"));
    rows.into_iter().map(read).collect()
}

/// What stands for the list of keys in a statement.
const KEYS: &str = "IN {keys}";

/// The statement with a list of `size` placeholders.
fn listed(sql: &str, size: usize) -> String {
    let list: Vec<String> = (1..=size).map(|n| format!("${n}")).collect();
    sql.replace(KEYS, &format!("IN ({})", list.join(", ")))
}

/// Keys in one list.
const MAX_KEYS: usize = 1024;

/// A statement put together from pieces, such as a list with optional filters.
#[derive(Debug)]
pub struct Sql {
    text: String,
    args: Vec<Arg>,
    joiner: &'static str,
}

impl Sql {
    /// A statement that begins with `text`, to which conditions can be added.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            args: Vec::new(),
            joiner: " WHERE ",
        }
    }

    /// A statement whose `?` each stand for the next of `args`, to which more text can be added.
    #[must_use]
    pub fn with(text: &'static str, args: Vec<Arg>) -> Self {
        let mut sql = Self::new("");
        sql.push(text, args);
        sql
    }

    /// Adds a SELECT, whose rows come with those of the ones before it, and which conditions can be
    /// added to.
    pub fn select(&mut self, text: &'static str) {
        if !self.text.is_empty() {
            self.text.push_str(" UNION ALL ");
        }
        self.text.push_str(text);
        self.joiner = " WHERE ";
    }

    /// Adds a condition; each `?` in it stands for the next of `args`.
    pub fn filter(&mut self, condition: &'static str, args: Vec<Arg>) {
        self.text.push_str(self.joiner);
        self.joiner = " AND ";
        self.push(condition, args);
    }

    /// Adds text as it is; each `?` in it stands for the next of `args`.
    pub fn push(&mut self, text: &'static str, args: Vec<Arg>) {
        let mut next = self.args.len();
        for (n, piece) in text.split('?').enumerate() {
            if n > 0 {
                next += 1;
                self.text.push('$');
                self.text.push_str(&next.to_string());
            }
            self.text.push_str(piece);
        }
        self.args.extend(args);
    }

    /// Adds a list of placeholders. The last value fills it up to a power of two, so that few
    /// sizes of statement are prepared.
    pub fn push_list(&mut self, values: Vec<Arg>) {
        let Some(last) = values.last().cloned() else {
            return;
        };
        let size = values.len().next_power_of_two();
        for (n, value) in values
            .into_iter()
            .chain(std::iter::repeat(last))
            .take(size)
            .enumerate()
        {
            self.push(if n == 0 { "?" } else { ", ?" }, vec![value]);
        }
    }

    /// The statement, ready to run.
    #[must_use]
    pub fn build(self) -> (AssertSqlSafe<String>, Vec<Arg>) {
        (AssertSqlSafe(self.text), self.args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_numbered_in_order() {
        let mut sql = Sql::new("SELECT id FROM t");
        sql.filter("a = ?", args![1_i64]);
        sql.filter("(b, c) < (?, ?)", args![2_i64, "x"]);
        sql.push(" LIMIT ?", args![5_i64]);
        let (text, args) = sql.build();
        assert_eq!(
            text.0,
            "SELECT id FROM t WHERE a = $1 AND (b, c) < ($2, $3) LIMIT $4"
        );
        assert_eq!(args.len(), 4);
    }
}
