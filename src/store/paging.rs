//! Where a page of a list begins.

/// The direction of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// A value by which lists are sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl From<SortKey> for super::sql::Arg {
    fn from(key: SortKey) -> Self {
        match key {
            SortKey::Int(value) => Self::from(value),
            SortKey::Text(value) => Self::from(value),
        }
    }
}
