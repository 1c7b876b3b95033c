//! Inserts into several tables in one round trip, on Postgres: rows as arrays of columns
//! (`UNNEST`), so that one text serves any number of rows, and tables as parts of one `WITH`.

use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::QueryScalar;
use sqlx::{AssertSqlSafe, Postgres};

use super::dialect;
use super::error::{Error, Result};
use super::inserts::Insert;
use super::sql::Arg;
use crate::domain::event::Seq;

/// The values of one column.
#[derive(Debug)]
enum Column {
    Text(Vec<Option<String>>),
    Int(Vec<Option<i64>>),
    Bool(Vec<bool>),
    Blob(Vec<Option<Vec<u8>>>),
}

impl Column {
    fn like(arg: &Arg, rows: usize) -> Self {
        match arg {
            Arg::Text(_) => Self::Text(Vec::with_capacity(rows)),
            Arg::Int(_) => Self::Int(Vec::with_capacity(rows)),
            Arg::Bool(_) => Self::Bool(Vec::with_capacity(rows)),
            Arg::Blob(_) => Self::Blob(Vec::with_capacity(rows)),
        }
    }

    fn push(&mut self, arg: Arg) {
        match (self, arg) {
            (Self::Text(column), Arg::Text(value)) => column.push(value),
            (Self::Int(column), Arg::Int(value)) => column.push(value),
            (Self::Bool(column), Arg::Bool(value)) => column.push(value),
            (Self::Blob(column), Arg::Blob(value)) => column.push(value.map(Vec::from)),
            (column, arg) => unreachable!("{arg:?} in {column:?}: a column has one type"),
        }
    }

    const fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "TEXT[]",
            Self::Int(_) => "BIGINT[]",
            Self::Bool(_) => "BOOLEAN[]",
            Self::Blob(_) => "BYTEA[]",
        }
    }
}

/// Turns rows, which all have the same types, into columns.
fn by_column(rows: Vec<Vec<Arg>>) -> Vec<Column> {
    let count = rows.len();
    let first = rows.first().map(Vec::as_slice).unwrap_or_default();
    let mut columns: Vec<Column> = first.iter().map(|arg| Column::like(arg, count)).collect();
    for row in rows {
        for (column, arg) in columns.iter_mut().zip(row) {
            column.push(arg);
        }
    }
    columns
}

/// Events to append to the log.
pub(super) struct Append {
    /// When they were made.
    pub(super) at_ms: i64,
    /// For each its id, name, payload, user and whether admins hear of it.
    pub(super) rows: Vec<Vec<Arg>>,
}

/// Inserts rows into tables and appends events to the log by one statement, and answers the
/// position of the last event. It works through its parts in the order in which their answers are
/// asked for, so the counter of the log is taken last.
pub(super) async fn write(
    c: &mut PgConnection,
    inserts: Vec<Insert>,
    events: Option<Append>,
) -> Result<Option<Seq>> {
    let (scalars, mut columns) = match events {
        Some(Append { at_ms, rows }) => (vec![int(rows.len())?, at_ms], by_column(rows)),
        None => (Vec::new(), Vec::new()),
    };
    let (mut parts, mut answers, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for insert in inserts.into_iter().filter(|i| !i.rows.is_empty()) {
        let n = parts.len();
        wanted.push((int(insert.rows.len())?, insert.all));
        let (head, tail, own) = (insert.head, insert.tail, by_column(insert.rows));
        let casts = casts(&own, scalars.len() + columns.len());
        parts.push(format!(
            "w{n} AS ({head} SELECT * FROM UNNEST({casts}) {tail} RETURNING 1)"
        ));
        answers.push(format!("(SELECT COUNT(*) FROM w{n})"));
        columns.extend(own);
    }
    if !scalars.is_empty() {
        parts.push(dialect::APPEND_POSTGRES.to_owned());
        answers.push("(SELECT head_seq FROM taken)".to_owned());
    }
    if parts.is_empty() {
        return Ok(None);
    }
    let (parts, answers) = (parts.join(", "), answers.join(", "));
    let sql = AssertSqlSafe(format!("WITH {parts} SELECT ARRAY[{answers}]::BIGINT[]"));
    let query = scalars
        .into_iter()
        .fold(sqlx::query_scalar(sql), Query::bind);
    let mut written: Vec<i64> = bound(query, columns).fetch_one(c).await?;
    let head = (written.len() > wanted.len())
        .then(|| written.pop())
        .flatten();
    let missed = |((rows, all), written): ((i64, bool), i64)| all && rows != written;
    if wanted.into_iter().zip(written).any(missed) {
        return Err(Error::Conflict(None));
    }
    Ok(head)
}

fn int(count: usize) -> Result<i64> {
    i64::try_from(count).map_err(|_| Error::Corrupt("the batch's size"))
}

/// `$1::TEXT[], $2::BIGINT[]` for two columns, where `before` placeholders are taken.
fn casts(columns: &[Column], before: usize) -> String {
    let cast =
        |(n, column): (usize, &Column)| format!("${}::{}", before + n + 1, column.type_name());
    let list: Vec<String> = columns.iter().enumerate().map(cast).collect();
    list.join(", ")
}

type Query<'q, T> = QueryScalar<'q, Postgres, T, PgArguments>;

fn bound<T>(query: Query<'_, T>, columns: Vec<Column>) -> Query<'_, T> {
    columns
        .into_iter()
        .fold(query, |query, column| match column {
            Column::Text(values) => query.bind(values),
            Column::Int(values) => query.bind(values),
            Column::Bool(values) => query.bind(values),
            Column::Blob(values) => query.bind(values),
        })
}
