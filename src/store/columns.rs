//! Inserts into several tables in one round trip, on Postgres: tables as parts of one `WITH`, and
//! rows as arrays of columns (`UNNEST`), so that one text serves any number of rows. A single row
//! is given value by value, which spares Postgres taking a hundred arrays apart.

use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::QueryScalar;
use sqlx::{AssertSqlSafe, Decode, Postgres, Type};

use super::dialect;
use super::error::{Error, Result};
use super::events::Expected;
use super::inserts::{Insert, Unwritten};
use super::sql::{self, Arg, answered};
use crate::domain::event::Seq;

/// The values of one column.
#[derive(Debug)]
enum Column {
    One(Arg),
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
            Self::One(Arg::Text(_)) => "TEXT",
            Self::One(Arg::Int(_)) => "BIGINT",
            Self::One(Arg::Bool(_)) => "BOOLEAN",
            Self::One(Arg::Blob(_)) => "BYTEA",
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

/// The columns of rows, and what makes rows of them again.
fn columns_of(rows: Vec<Vec<Arg>>) -> (Vec<Column>, &'static str) {
    if rows.len() == 1 {
        let one = rows.into_iter().flatten();
        (one.map(Column::One).collect(), "VALUES ")
    } else {
        (by_column(rows), "SELECT * FROM UNNEST")
    }
}

/// Events to append to the log.
pub(super) struct Append {
    /// When they were made.
    pub(super) at_ms: i64,
    /// For each its id, name, payload, user and whether admins hear of it.
    pub(super) rows: Vec<Vec<Arg>>,
}

impl Append {
    fn into_values(self) -> Result<(Vec<i64>, Vec<Column>)> {
        Ok((
            vec![int(self.rows.len())?, self.at_ms],
            by_column(self.rows),
        ))
    }
}

/// Inserts rows into tables and appends events to the log by one statement, and answers the
/// position of the last event. The counter of the log is taken last.
pub(super) async fn write(
    c: &mut PgConnection,
    inserts: Vec<Insert>,
    events: Option<Append>,
) -> Result<Option<Seq>> {
    let values = events.map(Append::into_values).transpose()?;
    let appends = values.is_some();
    let mut statement = Statement::new(values.unwrap_or_default());
    statement.insert_all(inserts)?;
    if statement.parts.is_empty() && !appends {
        return Ok(None);
    }
    let (rows, wanted) = (statement.rows(), statement.wanted);
    let answers = if appends {
        statement.parts.push(dialect::APPEND_POSTGRES.to_owned());
        format!("ARRAY[{rows}, (SELECT head_seq FROM taken)]")
    } else {
        format!("ARRAY[{rows}]")
    };
    let answers: Vec<i64> = statement.run(c, &answers).await?;
    if answers.first() != Some(&wanted) {
        return Err(Error::Conflict(None));
    }
    Ok(answers.get(1).copied())
}

/// As [`write`], as a transaction of its own that comes to nothing, with a conflict, unless the
/// log is where it is expected to be by then. The connection has the `lock`; a `hint` tells other nodes.
pub(super) async fn write_at(
    c: &mut PgConnection,
    Unwritten { rows, counts }: Unwritten,
    events: Append,
    expected: Expected,
    (lock, hint): (i64, bool),
) -> Result<()> {
    let (mut scalars, columns) = events.into_values()?;
    let appended = scalars[0];
    let Expected {
        position,
        behind,
        turn,
    } = expected;
    let behind_or_none = behind.unwrap_or_default();
    scalars.extend([
        position.head,
        position.turn,
        lock,
        behind_or_none,
        hint.into(),
        turn,
    ]);
    let mut statement = Statement::new((scalars, columns));
    statement.part("begun", dialect::BEGIN_BESIDE_POSTGRES, 1);
    statement.insert_all(rows)?;
    if appended > 0 {
        statement.part("appended", dialect::APPEND_AT_POSTGRES, appended);
    }
    if behind.is_some() {
        statement.part("waited", dialect::WAIT_POSTGRES, 1);
    }
    // What all batches change, and wait for each other over, comes last.
    statement.insert_all(counts)?;
    let wanted = statement.bind(Column::Int(vec![Some(statement.wanted)]));
    let taken = dialect::TAKE_AT_POSTGRES
        .replace("{rows}", &statement.rows())
        .replace("{wanted}", &wanted);
    statement.parts.push(taken);
    statement
        .run::<i64>(c, "(SELECT head_seq FROM taken)")
        .await?;
    Ok(())
}

/// A statement of several parts, which are worked through in their order: that in which their rows
/// are asked for.
struct Statement {
    scalars: Vec<i64>,
    columns: Vec<Column>,
    parts: Vec<String>,
    names: Vec<String>,
    /// How many rows the parts must come to; another number is a conflict.
    wanted: i64,
}

impl Statement {
    fn new((scalars, columns): (Vec<i64>, Vec<Column>)) -> Self {
        Self {
            scalars,
            columns,
            parts: Vec::new(),
            names: Vec::new(),
            wanted: 0,
        }
    }

    /// Adds a part, by name, that comes to so many rows.
    fn part(&mut self, name: &str, part: &str, rows: i64) {
        self.parts.push(format!("{name} AS {part}"));
        self.names.push(name.to_owned());
        self.wanted += rows;
    }

    /// What works through the parts and answers how many rows they came to.
    fn rows(&self) -> String {
        let names = self.names.join(" UNION ALL SELECT FROM ");
        if names.is_empty() {
            "0".to_owned()
        } else {
            format!("(SELECT COUNT(*) FROM (SELECT FROM {names}) AS r)")
        }
    }

    /// Binds a column and answers its placeholder, with its type.
    fn bind(&mut self, column: Column) -> String {
        let n = self.scalars.len() + self.columns.len() + 1;
        let placeholder = format!("${n}::{}", column.type_name());
        self.columns.push(column);
        placeholder
    }

    fn insert_all(&mut self, inserts: impl IntoIterator<Item = Insert>) -> Result<()> {
        for insert in inserts.into_iter().filter(|i| !i.rows.is_empty()) {
            let n = self.parts.len();
            let Insert { head, tail, rows } = insert;
            let wanted = int(rows.len())?;
            let (columns, from) = columns_of(rows);
            let values: Vec<String> = columns.into_iter().map(|c| self.bind(c)).collect();
            let values = values.join(", ");
            let part = format!("({head} {from}({values}) {tail} RETURNING 1)");
            self.part(&format!("w{n}"), &part, wanted);
        }
        Ok(())
    }

    async fn run<T>(self, c: &mut PgConnection, answer: &str) -> Result<T>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
    {
        let parts = self.parts.join(", ");
        let sql = AssertSqlSafe(format!("WITH {parts} SELECT {answer}"));
        let query = sqlx::query_scalar(sql);
        let query = self.scalars.into_iter().fold(query, Query::bind);
        answered(bound(query, self.columns).fetch_one(c)).await
    }
}

fn int(count: usize) -> Result<i64> {
    i64::try_from(count).map_err(|_| Error::Corrupt("the batch's size"))
}

type Query<'q, T> = QueryScalar<'q, Postgres, T, PgArguments>;

fn bound<T>(query: Query<'_, T>, columns: Vec<Column>) -> Query<'_, T> {
    columns
        .into_iter()
        .fold(query, |query, column| match column {
            Column::One(arg) => sql::bound!(query, [arg]),
            Column::Text(values) => query.bind(values),
            Column::Int(values) => query.bind(values),
            Column::Bool(values) => query.bind(values),
            Column::Blob(values) => query.bind(values),
        })
}
