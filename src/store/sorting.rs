//! What lists of prospects are sorted by, and where a record stands in such a list.

use std::cmp::Ordering;

use super::error::Result;
use super::paging::{Direction, Order, Position, SortKey};
use super::sql::{Db, Sql};
use crate::domain::prospect::Prospect;

/// What a list of prospects is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// When it was made.
    Created(Direction),
    /// When it changed.
    Updated,
    /// First name, then last.
    Name,
}

impl Sort {
    /// The order of a page.
    pub(super) const fn order(self) -> Order {
        let (behind, by) = match self {
            Self::Created(Direction::Descending) => (
                "(created_ms, id) < (?, ?)",
                " ORDER BY created_ms DESC, id DESC",
            ),
            Self::Created(Direction::Ascending) => {
                ("(created_ms, id) > (?, ?)", " ORDER BY created_ms, id")
            }
            Self::Updated => (
                "(updated_ms, id) < (?, ?)",
                " ORDER BY updated_ms DESC, id DESC",
            ),
            Self::Name => ("(name_key, id) > (?, ?)", " ORDER BY name_key, id"),
        };
        Order { behind, by }
    }

    /// The condition for what does not come behind a position.
    pub(super) const fn not_behind(self) -> &'static str {
        match self {
            Self::Created(Direction::Descending) => "(created_ms, id) >= (?, ?)",
            Self::Created(Direction::Ascending) => "(created_ms, id) <= (?, ?)",
            Self::Updated => "(updated_ms, id) >= (?, ?)",
            Self::Name => "(name_key, id) <= (?, ?)",
        }
    }

    /// Selects what [`positions`] reads.
    pub(super) const fn select(self) -> &'static str {
        match self {
            Self::Created(_) => "SELECT created_ms, id FROM prospect",
            Self::Updated => "SELECT updated_ms, id FROM prospect",
            Self::Name => "SELECT name_key, id FROM prospect",
        }
    }

    /// How two records stand to each other.
    pub(super) fn compare(self, a: &Position, b: &Position) -> Ordering {
        let ascending = a.key.cmp(&b.key).then_with(|| a.id.cmp(&b.id));
        match self {
            Self::Created(Direction::Descending) | Self::Updated => ascending.reverse(),
            Self::Created(Direction::Ascending) | Self::Name => ascending,
        }
    }
}

/// Reads where prospects stand in a list, as [`Sort::select`] selects it.
///
/// # Errors
/// [`super::Error::Database`].
pub(super) async fn positions(db: &mut Db<'_>, sort: Sort, sql: Sql) -> Result<Vec<Position>> {
    let (sql, args) = sql.build();
    Ok(match sort {
        Sort::Name => positions_of(db.fetch::<(String, String)>(sql, args).await?),
        Sort::Created(_) | Sort::Updated => {
            positions_of(db.fetch::<(i64, String)>(sql, args).await?)
        }
    })
}

fn positions_of<K: Into<SortKey>>(rows: Vec<(K, String)>) -> Vec<Position> {
    let position = |(key, id): (K, String)| Position {
        key: key.into(),
        id,
    };
    rows.into_iter().map(position).collect()
}

/// The value a prospect has in a sorted list.
#[must_use]
pub fn sort_key(prospect: &Prospect, sort: Sort) -> SortKey {
    match sort {
        Sort::Created(_) => prospect.created_ms.into(),
        Sort::Updated => prospect.updated_ms.into(),
        Sort::Name => prospect.name_key().into(),
    }
}
