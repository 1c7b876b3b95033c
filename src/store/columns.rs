//! Rows as arrays of columns, for Postgres' `UNNEST`.

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use super::sql::Arg;

/// The values of one column.
#[derive(Debug)]
pub(super) enum Column {
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
pub(super) fn by_column(rows: Vec<Vec<Arg>>) -> Vec<Column> {
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

/// `$1::TEXT[], $2::BIGINT[]` for two columns.
pub(super) fn casts(columns: &[Column]) -> String {
    let cast = |(n, column): (usize, &Column)| format!("${}::{}", n + 1, column.type_name());
    let list: Vec<String> = columns.iter().enumerate().map(cast).collect();
    list.join(", ")
}

/// Binds the columns.
pub(super) fn bound<'q>(
    query: Query<'q, Postgres, PgArguments>,
    columns: Vec<Column>,
) -> Query<'q, Postgres, PgArguments> {
    columns
        .into_iter()
        .fold(query, |query, column| match column {
            Column::Text(values) => query.bind(values),
            Column::Int(values) => query.bind(values),
            Column::Bool(values) => query.bind(values),
            Column::Blob(values) => query.bind(values),
        })
}
