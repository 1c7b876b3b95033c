//! Inserting rows: of several tables at once, in the way that is quickest on each connection.

use sqlx::AssertSqlSafe;

use super::columns;
use super::error::{Error, Result};
use super::sql::{Arg, Db};

/// Rows for one table.
#[derive(Debug)]
pub struct Insert {
    /// The text up to the values.
    pub head: &'static str,
    /// What follows the values.
    pub tail: &'static str,
    /// The values, of the same types in each row.
    pub rows: Vec<Vec<Arg>>,
}

/// What is left to insert: [`super::Tx::commit_with`] does.
#[must_use = "rows that are not committed are lost"]
#[derive(Debug, Default)]
pub struct Unwritten {
    /// Rows of records.
    pub(super) rows: Vec<Insert>,
    /// What changes of the counts of records.
    pub(super) counts: Option<Insert>,
}

/// What writes rows of which some are new and others there already, told apart by the first of each
/// pair: the others first, because a new one may take a unique value that one of them gives up.
///
/// A new row is inserted plainly. For one that may be there (`tail`), SQLite first copies every
/// page it touches aside, to be able to take back that one statement, which was dearer than the
/// insert itself; Postgres inserts it on trial.
pub(super) fn new_and_changed(
    head: &'static str,
    tail: &'static str,
    rows: impl Iterator<Item = (bool, Vec<Arg>)>,
) -> [Insert; 2] {
    let (new, changed): (Vec<_>, Vec<_>) = rows.partition(|(is_new, _)| *is_new);
    [(tail, changed), ("", new)].map(|(tail, rows)| Insert {
        head,
        tail,
        rows: rows.into_iter().map(|(_, row)| row).collect(),
    })
}

/// Rows in one INSERT. SQLite looks its parameters up one after the other, so that the time for
/// a statement grows with the square of their number: with 256 rows that was the hottest place.
const MAX_ROWS: usize = 16;

impl Db<'_> {
    /// Inserts rows into several tables, in order: on Postgres by one statement, which is one
    /// round trip, on `SQLite` by as many as are quick there.
    ///
    /// # Errors
    /// As [`Db::execute`]; [`Error::Conflict`] when a row was not written.
    pub async fn insert(&mut self, inserts: Vec<Insert>) -> Result<()> {
        if let Self::Postgres(c) = self {
            columns::write(c, inserts, None).await?;
            return Ok(());
        }
        for insert in inserts.into_iter().filter(|i| !i.rows.is_empty()) {
            let wanted = insert.rows.len() as u64;
            if self.insert_rows(insert).await? != wanted {
                return Err(Error::Conflict(None));
            }
        }
        Ok(())
    }

    async fn insert_rows(&mut self, insert: Insert) -> Result<u64> {
        let Insert {
            head, tail, rows, ..
        } = insert;
        if let Self::Embedded(c) = self {
            let row = placeholders(1, rows[0].len());
            let sql = format!("{head} VALUES {row} {tail}");
            c.execute(&sql, rows.iter().map(Vec::as_slice))
        } else {
            self.insert_in_chunks(head, tail, rows).await
        }
    }

    /// Inserts by as few statements as there are bits in the number of rows, so that each size
    /// of statement is prepared once.
    async fn insert_in_chunks(
        &mut self,
        head: &'static str,
        tail: &'static str,
        rows: Vec<Vec<Arg>>,
    ) -> Result<u64> {
        let mut written = 0;
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let n = largest_power_of_two(rows.len().min(MAX_ROWS));
            let chunk: Vec<Vec<Arg>> = rows.by_ref().take(n).collect();
            let sql = format!("{head} VALUES {} {tail}", placeholders(n, chunk[0].len()));
            let args = chunk.into_iter().flatten().collect();
            written += self.execute(AssertSqlSafe(sql), args).await?;
        }
        Ok(written)
    }
}

fn largest_power_of_two(n: usize) -> usize {
    1 << n.ilog2()
}

/// `($1, $2), ($3, $4)` for two rows of two columns.
fn placeholders(rows: usize, columns: usize) -> String {
    let row = |r: usize| {
        let list: Vec<String> = (1..=columns)
            .map(|c| format!("${}", r * columns + c))
            .collect();
        format!("({})", list.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_by_powers_of_two() {
        assert_eq!(largest_power_of_two(100), 64);
        assert_eq!(placeholders(2, 2), "($1, $2), ($3, $4)");
    }
}
