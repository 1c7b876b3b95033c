//! Inserts into several tables in one round trip, on Postgres: rows as arrays of columns
//! (`UNNEST`), so that one text serves any number of rows, and tables as parts of one `WITH`.

use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::QueryScalar;
use sqlx::{AssertSqlSafe, Postgres};

use super::dialect;
use super::error::Result;
use super::inserts::Insert;
use super::sql::Arg;

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

/// Inserts rows into tables by one statement and answers how many each insert wrote.
pub(super) async fn insert(c: &mut PgConnection, inserts: Vec<Insert>) -> Result<Vec<u64>> {
    if inserts.is_empty() {
        return Ok(Vec::new());
    }
    let mut parts = Vec::with_capacity(inserts.len());
    let mut counts = Vec::with_capacity(inserts.len());
    let mut values = Vec::new();
    for (n, insert) in inserts.into_iter().enumerate() {
        let Insert {
            head, tail, rows, ..
        } = insert;
        let columns = by_column(rows);
        let casts = casts(&columns, values.len());
        parts.push(format!(
            "w{n} AS ({head} SELECT * FROM UNNEST({casts}) {tail} RETURNING 1)"
        ));
        counts.push(format!("(SELECT COUNT(*) FROM w{n})"));
        values.extend(columns);
    }
    let sql = format!(
        "WITH {} SELECT ARRAY[{}]::BIGINT[]",
        parts.join(", "),
        counts.join(", ")
    );
    let query = sqlx::query_scalar(AssertSqlSafe(sql));
    let written: Vec<i64> = bound(query, values).fetch_one(c).await?;
    Ok(written.into_iter().map(i64::unsigned_abs).collect())
}

/// Appends events to the log, given as rows of id, name, payload, user and whether admins hear of
/// it; answers the last one's position.
pub(super) async fn append(
    c: &mut PgConnection,
    count: i64,
    at_ms: i64,
    rows: Vec<Vec<Arg>>,
) -> Result<i64> {
    let query = sqlx::query_scalar(dialect::APPEND_POSTGRES);
    let query = bound(query.bind(count).bind(at_ms), by_column(rows));
    Ok(query.fetch_one(c).await?)
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
