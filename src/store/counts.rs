//! How many records there are, by owner, status and kind: kept in the transaction that changes
//! the records, so that nobody ever counts millions of rows.
//!
//! What leaves is read from the rows themselves before they are changed, not taken from what
//! callers remember, so that the counts cannot drift from the tables.

use std::collections::BTreeMap;

use super::error::Result;
use super::inserts::Insert;
use super::sql::{Arg, Db, Sql, args};
use crate::domain::delivery::Delivery;
use crate::domain::ids::Id;
use crate::domain::proposal::Proposal;
use crate::domain::prospect::Prospect;

/// The key of all owners together. Reading it is as quick with a thousand owners as with one.
const ALL_OWNERS: &str = "*";

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counted {
    /// Prospects by owner, status and source.
    Prospect,
    /// Proposals by owner and status.
    Proposal,
    /// Deliveries by status and event.
    Delivery,
}

impl Counted {
    const fn name(self) -> &'static str {
        match self {
            Self::Prospect => "prospect",
            Self::Proposal => "proposal",
            Self::Delivery => "delivery",
        }
    }
}

/// Deliveries as they are counted.
const DELIVERIES: &str = "SELECT CAST(NULL AS TEXT), status, COALESCE(event, ''), \
    CAST(COUNT(*) AS BIGINT) FROM delivery WHERE id IN {keys} GROUP BY status, COALESCE(event, '')";

/// What a transaction does to the counts; to be written before it commits.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Change(BTreeMap<(Counted, String, String, String), i64>);

impl Change {
    fn add(&mut self, counted: Counted, owner: Option<&str>, status: &str, kind: &str, n: i64) {
        let owners = match counted {
            Counted::Delivery => [None, Some(ALL_OWNERS)],
            _ => [Some(owner.unwrap_or_default()), Some(ALL_OWNERS)],
        };
        for owner in owners.into_iter().flatten() {
            let key = (
                counted,
                owner.to_owned(),
                status.to_owned(),
                kind.to_owned(),
            );
            *self.0.entry(key).or_default() += n;
        }
    }

    /// A prospect is there, as it is written.
    pub(super) fn enter_prospect(&mut self, p: &Prospect) {
        let owner = p.owner_id.as_ref().map(Id::as_str);
        let (status, source) = (p.status.name(), p.source.name());
        self.add(Counted::Prospect, owner, status, source, 1);
    }

    /// A proposal is there, as it is written.
    pub(super) fn enter_proposal(&mut self, p: &Proposal) {
        let owner = p.owner_id.as_ref().map(Id::as_str);
        let status = p.appointment.status.name();
        self.add(Counted::Proposal, owner, status, "", 1);
    }

    /// A delivery is there, as it is written.
    pub(super) fn enter_delivery(&mut self, d: &Delivery) {
        let event = d.event.as_deref().unwrap_or_default();
        self.add(Counted::Delivery, None, d.status.name(), event, 1);
    }

    /// Deliveries of a status that had no event are gone.
    pub(super) fn lose_deliveries(&mut self, status: &str, n: u64) {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        self.add(Counted::Delivery, None, status, "", -n);
    }

    /// Prospects are about to be changed or deleted.
    ///
    /// # Errors
    /// [`super::Error::Database`].
    pub(super) async fn leave_prospects(&mut self, db: &mut Db<'_>, ids: &[&Id]) -> Result<()> {
        let sql = "SELECT owner_id, status, source, CAST(COUNT(*) AS BIGINT) FROM prospect \
            WHERE id IN {keys} GROUP BY owner_id, status, source";
        self.tally(db, Counted::Prospect, sql, ids, -1).await
    }

    /// Proposals are about to be changed or deleted.
    ///
    /// # Errors
    /// [`super::Error::Database`].
    pub(super) async fn leave_proposals(&mut self, db: &mut Db<'_>, ids: &[&Id]) -> Result<()> {
        let sql = "SELECT owner_id, status, '', CAST(COUNT(*) AS BIGINT) FROM proposal \
            WHERE id IN {keys} GROUP BY owner_id, status";
        self.tally(db, Counted::Proposal, sql, ids, -1).await
    }

    /// A delivery is about to be changed.
    ///
    /// # Errors
    /// [`super::Error::Database`].
    pub(super) async fn leave_delivery(&mut self, db: &mut Db<'_>, id: &Id) -> Result<()> {
        self.tally(db, Counted::Delivery, DELIVERIES, &[id], -1)
            .await
    }

    /// A delivery has been changed.
    ///
    /// # Errors
    /// [`super::Error::Database`].
    pub(super) async fn return_delivery(&mut self, db: &mut Db<'_>, id: &Id) -> Result<()> {
        self.tally(db, Counted::Delivery, DELIVERIES, &[id], 1)
            .await
    }

    async fn tally(
        &mut self,
        db: &mut Db<'_>,
        counted: Counted,
        sql: &'static str,
        ids: &[&Id],
        sign: i64,
    ) -> Result<()> {
        let ids = ids.iter().map(|id| id.as_str());
        let rows: Vec<(Option<String>, String, String, i64)> = db.fetch_in(sql, ids).await?;
        for (owner, status, kind, n) in rows {
            self.add(counted, owner.as_deref(), &status, &kind, sign * n);
        }
        Ok(())
    }

    /// Writes what changed.
    ///
    /// # Errors
    /// [`super::Error::Database`].
    pub(super) async fn write(self, db: &mut Db<'_>) -> Result<()> {
        db.insert(vec![self.insert()]).await
    }

    /// What changed: one row for each key, however many records there were.
    pub(super) fn insert(self) -> Insert {
        let changed = self.0.into_iter().filter(|(_, n)| *n != 0);
        let row =
            |((counted, owner, status, kind), n): ((Counted, String, String, String), i64)| {
                args![counted.name(), owner, status, kind, n]
            };
        Insert {
            head: "INSERT INTO record_count (record, owner_key, status, kind, n)",
            tail: "ON CONFLICT (record, owner_key, status, kind) DO UPDATE \
                SET n = record_count.n + excluded.n",
            rows: changed.map(row).collect(),
        }
    }
}

/// Which records are asked for; `None` stands for any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Which<'a> {
    /// What.
    pub(super) counted: Counted,
    /// Whose; empty for nobody's.
    pub(super) owner: Option<&'a str>,
    /// With which status.
    pub(super) status: Option<&'a str>,
    /// From which source, or of which event.
    pub(super) kind: Option<&'a str>,
}

impl<'a> Which<'a> {
    /// All records of a sort.
    pub(super) const fn all(counted: Counted) -> Self {
        Self {
            counted,
            owner: None,
            status: None,
            kind: None,
        }
    }

    /// One owner's only.
    pub(super) const fn of(self, owner: Option<&'a str>) -> Self {
        Self { owner, ..self }
    }

    fn conditions(&self, sql: &mut Sql) {
        sql.filter("owner_key = ?", args![self.owner.unwrap_or(ALL_OWNERS)]);
        self.whosever(sql);
    }

    /// The conditions but for the owner.
    fn whosever(&self, sql: &mut Sql) {
        sql.filter("record = ?", args![self.counted.name()]);
        if let Some(status) = self.status {
            sql.filter("status = ?", args![status]);
        }
        if let Some(kind) = self.kind {
            sql.filter("kind = ?", args![kind]);
        }
    }
}

/// How many there are.
///
/// # Errors
/// [`super::Error::Database`].
pub(super) async fn total(db: &mut Db<'_>, which: Which<'_>) -> Result<i64> {
    let mut sql = Sql::new("SELECT CAST(COALESCE(SUM(n), 0) AS BIGINT) FROM record_count");
    which.conditions(&mut sql);
    let (text, args): (_, Vec<Arg>) = sql.build();
    db.fetch_int(text, args).await
}

/// How many there are by status, where there are any.
///
/// # Errors
/// [`super::Error::Database`].
pub(super) async fn by_status(db: &mut Db<'_>, which: Which<'_>) -> Result<Vec<(String, i64)>> {
    let mut sql = Sql::new("SELECT status, CAST(SUM(n) AS BIGINT) FROM record_count");
    which.conditions(&mut sql);
    sql.push(" GROUP BY status HAVING SUM(n) <> 0", args![]);
    let (text, args) = sql.build();
    db.fetch(text, args).await
}

/// How many there are by status and kind, where there are any.
///
/// # Errors
/// [`super::Error::Database`].
pub(super) async fn by_status_and_kind(
    db: &mut Db<'_>,
    which: Which<'_>,
) -> Result<Vec<(String, String, i64)>> {
    let mut sql = Sql::new("SELECT status, kind, n FROM record_count");
    which.conditions(&mut sql);
    sql.filter("n <> 0", args![]);
    let (text, args) = sql.build();
    db.fetch(text, args).await
}

/// How many there are by owner, status and kind, where there are any: of all owners, or of the one
/// that is asked for. The owner of nobody's is empty.
///
/// # Errors
/// [`super::Error::Database`].
pub(super) async fn by_owner_status_and_kind(
    db: &mut Db<'_>,
    which: Which<'_>,
) -> Result<Vec<(String, String, String, i64)>> {
    let mut sql = Sql::new("SELECT owner_key, status, kind, n FROM record_count");
    if which.owner.is_some() {
        which.conditions(&mut sql);
    } else {
        sql.filter("owner_key <> ?", args![ALL_OWNERS]);
        which.whosever(&mut sql);
    }
    sql.filter("n <> 0", args![]);
    let (text, args) = sql.build();
    db.fetch(text, args).await
}
