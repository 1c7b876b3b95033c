//! Where a page of a list begins.

use super::error::{Error, Result};
use super::record::Record;
use super::sql::{Db, Sql, args};

/// The direction of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// A value by which lists are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey {
    /// A time.
    Int(i64),
    /// A name.
    Text(String),
}

/// The last record of the page before; the next page begins behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// What the list is sorted by.
    pub key: SortKey,
    /// The record's id, which breaks ties.
    pub id: String,
}

/// Which page of a list to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many records.
    pub limit: i64,
    /// Behind which record; `None` for the first page.
    pub after: Option<Position>,
}

/// A page, with one more record than asked for when there is another page.
#[derive(Debug)]
pub struct Found<T> {
    /// The records.
    pub items: Vec<T>,
    /// How many there are on all pages.
    pub total: i64,
}

/// Ends a statement with so many rows. It is a sum because SQLite 3.51 looks at the value of a plain
/// parameter there while it plans (`sqlite3ExprIsInteger`), and plans a kept statement anew for
/// each value it is given: with the parts of a merged list that was much of what a page took.
pub(super) const LIMIT: &str = " LIMIT ? + 0";

/// How a list is ordered, as SQL in which `?` stands for values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// The condition for what comes behind a position.
    pub(super) behind: &'static str,
    /// The order.
    pub(super) by: &'static str,
}

impl Order {
    /// Restricts a statement to what comes on a page and behind it.
    pub(super) fn begin(self, rows: &mut Sql, page: &Page) {
        if let Some(Position { key, id }) = &page.after {
            rows.filter(self.behind, args![key.clone(), id.as_str()]);
        }
    }

    /// Sorts what a statement finds, and ends with so many records.
    pub(super) fn end(self, rows: &mut Sql, limit: i64) {
        rows.push(self.by, args![]);
        rows.push(LIMIT, args![limit]);
    }
}

/// Counts rows, where no count is kept of them.
pub(super) async fn count(db: &mut Db<'_>, count: Sql) -> Result<i64> {
    let (text, args) = count.build();
    db.fetch_int(text, args).await
}

/// Reads a page of rows, with one more than asked for when there is another page.
pub(super) async fn read<T: Record>(
    db: &mut Db<'_>,
    total: i64,
    mut rows: Sql,
    order: Order,
    page: Page,
) -> Result<Found<T>> {
    order.begin(&mut rows, &page);
    order.end(&mut rows, page.limit + 1);
    let (text, args) = rows.build();
    let items = db.fetch(text, args).await?;
    Ok(Found { items, total })
}

impl<T> Found<T> {
    /// Turns the rows into records.
    pub(super) fn parsed<U: TryFrom<T, Error = Error>>(self) -> Result<Found<U>> {
        let items = self
            .items
            .into_iter()
            .map(U::try_from)
            .collect::<Result<_>>()?;
        Ok(Found {
            items,
            total: self.total,
        })
    }
}

impl From<i64> for SortKey {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<String> for SortKey {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<SortKey> for super::sql::Arg {
    fn from(key: SortKey) -> Self {
        match key {
            SortKey::Int(value) => Self::from(value),
            SortKey::Text(value) => Self::from(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, StatementStatus};

    use super::*;

    #[test]
    fn sqlite_plans_a_kept_page_once() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (a INTEGER); CREATE INDEX i ON t (a)")
            .unwrap();
        let planned_anew = |limit: &str| {
            let sql = format!("SELECT a FROM t WHERE a > ? ORDER BY a{limit}");
            let mut statement = db.prepare(&sql).unwrap();
            for most in [10, 20, 10] {
                let mut rows = statement.query((0, most)).unwrap();
                assert!(rows.next().unwrap().is_none());
            }
            statement.get_status(StatementStatus::RePrepare)
        };
        assert_eq!(planned_anew(LIMIT), 0);
        // With a SQLite that no longer does this, a plain parameter will do.
        assert!(planned_anew(" LIMIT ?") > 0);
    }
}
