//! The archive: every delivery with its raw body, and what became of it.
//!
//! A delivery's id is made at the moment of its receipt, with which it begins (UUIDv7): the order
//! of ids is the order of receipt, and needs no index of its own.

pub mod archive;

use std::collections::HashMap;
use std::sync::Arc;

use super::counts::{self, Change, Counted, Which};
use super::error::{Error, Result};
use super::inserts::Insert;
use super::paging::{self, Found, Order, Page, SortKey};
use super::record::record;
use super::sql::{Arg, Db, Sql, args};
use crate::domain::delivery::{Delivery, DeliveryStatus, Reason, Standing};
use crate::domain::ids::Id;
use bytes::Bytes;

record! {
    struct Row {
        id: String,
        status: String,
        reason: Option<String>,
        event: Option<String>,
        dedupe_key: Option<String>,
        duplicate_of: Option<String>,
        connection_id: Option<String>,
        received_ms: i64,
        signed_ms: Option<i64>,
        prospect_id: Option<String>,
        proposal_id: Option<String>,
        headers: String,
        timings: Option<String>,
        body: Option<Vec<u8>>,
    }
}

/// The columns a [`Row`] is read from; lists leave out the body. The records are those that it
/// concerned when it was processed, or (`RESOLVED`) those that stand for them now.
macro_rules! select {
    ($records:ident, $body:literal, $tail:literal) => {
        concat!(
            "SELECT id, status, reason, event, dedupe_key, duplicate_of, connection_id, \
             received_ms, signed_ms, ",
            records!($records),
            ", headers, timings, ",
            $body,
            " FROM delivery",
            $tail
        )
    };
}

macro_rules! records {
    (KEPT) => {
        "prospect_id, proposal_id"
    };
    (RESOLVED) => {
        "COALESCE((SELECT into_id FROM merged WHERE merged.id = prospect_id), prospect_id) \
         AS prospect_id, \
         COALESCE((SELECT into_id FROM merged WHERE merged.id = proposal_id), proposal_id) \
         AS proposal_id"
    };
}

impl TryFrom<Row> for Delivery {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let reason = match &row.reason {
            Some(name) => Some(Reason::from_name(name).ok_or(Error::Corrupt("a delivery"))?),
            None => None,
        };
        Ok(Self {
            id: Id::from_stored(row.id),
            status: DeliveryStatus::from_name(&row.status).ok_or(Error::Corrupt("a delivery"))?,
            reason,
            event: row.event,
            dedupe_key: row.dedupe_key,
            duplicate_of: row.duplicate_of.map(Id::from_stored),
            connection_id: row.connection_id.map(Id::from_stored),
            received_ms: row.received_ms,
            signed_ms: row.signed_ms,
            prospect_id: row.prospect_id.map(Id::from_stored),
            proposal_id: row.proposal_id.map(Id::from_stored),
            headers: Arc::new(super::json::read(&row.headers, "a delivery's headers")?),
            timings: super::json::read_option(row.timings.as_deref(), "a delivery's timings")?,
            body: row.body.map(Bytes::from),
        })
    }
}

/// What the index by status is restricted to. Whoever looks for a status other than `processed` says
/// so too, or the index is not used; those that are processed are most, and found without it.
const UNUSUAL: &str = "status <> 'processed'";

/// How many deliveries are read from the archive at once, at most.
const STRETCH: i64 = 256;

/// How many bytes of bodies are read from the archive at once, at most, beyond the first.
const STRETCH_BYTES: i64 = 8 << 20;

/// Reads deliveries with their bodies in the order they were received, as many as fit into
/// memory well: those behind `last`, or from the first on. None are left when it answers none.
/// They name the records that they concerned when they were processed, as a rebuild needs it.
///
/// # Errors
/// As [`find`].
pub async fn stretch(db: &mut Db<'_>, filter: &Filter, last: Option<&Id>) -> Result<Vec<Delivery>> {
    let mut sql = Sql::new("SELECT id, CAST(COALESCE(LENGTH(body), 0) AS BIGINT) FROM delivery");
    filter.apply(&mut sql);
    if let Some(id) = last {
        sql.filter("id > ?", args![id]);
    }
    sql.push(" ORDER BY id LIMIT ?", args![STRETCH]);
    let (text, args) = sql.build();
    let sizes: Vec<(String, i64)> = db.fetch(text, args).await?;
    let mut bytes = 0;
    let overflows = |(_, size): &(String, i64)| {
        bytes += size;
        bytes > STRETCH_BYTES
    };
    let fitting = sizes.iter().position(overflows).unwrap_or(sizes.len());
    let ids = sizes.iter().take(fitting.max(1)).map(|(id, _)| id.as_str());
    let rows: Vec<Row> = db
        .fetch_in(select!(KEPT, "body", " WHERE id IN {keys}"), ids)
        .await?;
    let deliveries: Result<Vec<Delivery>> = rows.into_iter().map(Delivery::try_from).collect();
    let mut deliveries = deliveries?;
    deliveries.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(deliveries)
}

/// How many deliveries there are.
///
/// # Errors
/// [`Error::Database`].
pub async fn count(db: &mut Db<'_>, filter: &Filter) -> Result<i64> {
    let mut sql = Sql::new("SELECT CAST(COUNT(*) AS BIGINT) FROM delivery");
    filter.apply(&mut sql);
    let (text, args) = sql.build();
    db.fetch_int(text, args).await
}

/// Finds a delivery, with its body. A record it concerned that became one with another is named by
/// that one, as in lists.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn find(db: &mut Db<'_>, id: &Id) -> Result<Option<Delivery>> {
    let row: Option<Row> = db
        .fetch_one(select!(RESOLVED, "body", " WHERE id = $1"), args![id])
        .await?;
    row.map(Delivery::try_from).transpose()
}

record! {
    /// What stands for an event.
    pub(super) struct StandingRow {
        dedupe_key: String,
        id: String,
        status: String,
        reason: Option<String>,
    }
}

/// The deliveries that stand for events, by the events' natural keys.
pub(super) const STANDING: &str = "SELECT dedupe_key, id, status, reason FROM delivery \
    WHERE dedupe_key IN {keys} AND duplicate_of IS NULL";

/// Which of the events are known already, by their natural keys.
///
/// # Errors
/// [`Error::Database`].
pub async fn standing<'k>(
    db: &mut Db<'_>,
    keys: impl IntoIterator<Item = &'k str>,
) -> Result<HashMap<String, Standing>> {
    Ok(by_key(db.fetch_in(STANDING, keys).await?))
}

/// What stands for each event.
pub(super) fn by_key(rows: Vec<StandingRow>) -> HashMap<String, Standing> {
    let read = |row: StandingRow| {
        let held = row.status == DeliveryStatus::Quarantined.name();
        let held = row
            .reason
            .as_deref()
            .filter(|_| held)
            .and_then(Reason::from_name);
        (
            row.dedupe_key,
            Standing {
                id: Id::from_stored(row.id),
                held,
            },
        )
    };
    rows.into_iter().map(read).collect()
}

/// Archives new deliveries.
///
/// # Errors
/// [`Error::Conflict`] when one of the events has a delivery already.
pub async fn insert(db: &mut Db<'_>, deliveries: &[Delivery]) -> Result<()> {
    let mut change = Change::default();
    let archive = archive(deliveries, &mut change);
    db.insert(vec![archive, change.insert()]).await
}

/// What archives new deliveries; `change` is told what that does to the counts.
pub(super) fn archive(deliveries: &[Delivery], change: &mut Change) -> Insert {
    for delivery in deliveries {
        change.enter_delivery(delivery);
    }
    Insert {
        head: "INSERT INTO delivery (id, status, reason, event, dedupe_key, duplicate_of, \
            connection_id, received_ms, signed_ms, prospect_id, proposal_id, headers, timings, \
            body)",
        tail: "",
        rows: deliveries.iter().map(row_of).collect(),
    }
}

fn row_of(d: &Delivery) -> Vec<Arg> {
    args![
        &d.id,
        d.status.name(),
        d.reason.map(Reason::name),
        d.event.as_deref(),
        d.dedupe_key.as_deref(),
        d.duplicate_of.as_ref(),
        d.connection_id.as_ref(),
        d.received_ms,
        d.signed_ms,
        d.prospect_id.as_ref(),
        d.proposal_id.as_ref(),
        super::json::write(&*d.headers),
        d.timings.as_ref().map(super::json::write),
        Arg::Blob(d.body.clone()),
    ]
}

/// Closes a held delivery because the same event came again in time and was processed.
///
/// # Errors
/// [`Error::Database`].
pub async fn close_as_duplicate(db: &mut Db<'_>, held: &Id, of: &Id) -> Result<()> {
    let sql = "UPDATE delivery SET status = $1, reason = $2, duplicate_of = $3 \
        WHERE id = $4 AND status = $5";
    let (ignored, held_status) = (
        DeliveryStatus::Ignored.name(),
        DeliveryStatus::Quarantined.name(),
    );
    let reason = Reason::Duplicate.name();
    let mut change = Change::default();
    change.leave_delivery(db, held).await?;
    db.execute(sql, args![ignored, reason, of, held, held_status])
        .await?;
    change.return_delivery(db, held).await?;
    change.write(db).await
}

/// Records what became of a delivery that was replayed.
///
/// # Errors
/// [`Error::Conflict`] when it is gone.
pub async fn settle(db: &mut Db<'_>, d: &Delivery) -> Result<()> {
    let sql = "UPDATE delivery SET status = $1, reason = $2, event = $3, dedupe_key = $4, \
        duplicate_of = $5, prospect_id = $6, proposal_id = $7 WHERE id = $8";
    let args = args![
        d.status.name(),
        d.reason.map(Reason::name),
        d.event.as_deref(),
        d.dedupe_key.as_deref(),
        d.duplicate_of.as_ref(),
        d.prospect_id.as_ref(),
        d.proposal_id.as_ref(),
        &d.id,
    ];
    let mut change = Change::default();
    change.leave_delivery(db, &d.id).await?;
    if db.execute(sql, args).await? != 1 {
        return Err(Error::Conflict(None));
    }
    change.enter_delivery(d);
    change.write(db).await
}

/// The next deliveries received before `before_ms`, the oldest first, each with whether it has a
/// body that may go. Held ones keep theirs: they are still to be looked at.
///
/// # Errors
/// [`Error::Database`].
pub async fn oldest(
    db: &mut Db<'_>,
    before_ms: i64,
    after: Option<&Id>,
    limit: i64,
) -> Result<Vec<(Id, bool)>> {
    let mut sql = Sql::new("SELECT id, status, body IS NOT NULL FROM delivery");
    sql.filter("id < ?", args![Id::bound(before_ms)]);
    if let Some(id) = after {
        sql.filter("id > ?", args![id]);
    }
    sql.push(" ORDER BY id LIMIT ?", args![limit]);
    let (text, args) = sql.build();
    let rows: Vec<(String, String, bool)> = db.fetch(text, args).await?;
    let held = DeliveryStatus::Quarantined.name();
    let read = |(id, status, has_body): (String, String, bool)| {
        (Id::from_stored(id), has_body && status != held)
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Drops body and headers of deliveries; the rest stays, above all the key by which the same
/// event is known again.
///
/// # Errors
/// [`Error::Database`].
pub async fn empty<'k>(db: &mut Db<'_>, ids: impl IntoIterator<Item = &'k str>) -> Result<u64> {
    let sql = "UPDATE delivery SET body = NULL, headers = '{}' \
        WHERE id IN {keys} AND status <> 'quarantined'";
    db.execute_in(sql, ids).await
}

/// Which deliveries a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only with this status.
    pub status: Option<DeliveryStatus>,
    /// Only of this event.
    pub event: Option<String>,
    /// Only received at this moment or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Only received before this moment.
    pub until_ms: Option<i64>,
}

impl Filter {
    /// The count that is kept of these; `None` when it must be made.
    fn which(&self) -> Option<Which<'_>> {
        let timed = self.since_ms.is_some() || self.until_ms.is_some();
        (!timed).then(|| Which {
            status: self.status.map(DeliveryStatus::name),
            kind: self.event.as_deref(),
            ..Which::all(Counted::Delivery)
        })
    }

    fn apply(&self, sql: &mut Sql) {
        if let Some(status) = self.status {
            sql.filter("status = ?", args![status.name()]);
            if status != DeliveryStatus::Processed {
                sql.filter(UNUSUAL, args![]);
            }
        }
        if let Some(event) = &self.event {
            sql.filter("event = ?", args![event.as_str()]);
        }
        if let Some(since_ms) = self.since_ms {
            sql.filter("id >= ?", args![Id::bound(since_ms)]);
        }
        if let Some(until_ms) = self.until_ms {
            sql.filter("id < ?", args![Id::bound(until_ms)]);
        }
    }
}

/// Lists deliveries, youngest first, without their bodies.
///
/// # Errors
/// As [`find`].
pub async fn list(db: &mut Db<'_>, filter: &Filter, page: Page) -> Result<Found<Delivery>> {
    let total = if let Some(which) = filter.which() {
        counts::total(db, which).await?
    } else {
        let mut count = Sql::new("SELECT CAST(COUNT(*) AS BIGINT) FROM delivery");
        filter.apply(&mut count);
        paging::count(db, count).await?
    };
    let mut sql = Sql::new(select!(RESOLVED, "NULL AS body", ""));
    filter.apply(&mut sql);
    let order = Order {
        // The key is the id itself.
        behind: "id <= ? AND id < ?",
        by: " ORDER BY id DESC",
    };
    paging::read::<Row>(db, total, sql, order, page)
        .await?
        .parsed()
}

/// The value a delivery has in the list: its id, which begins with the time of its receipt.
#[must_use]
pub fn sort_key(delivery: &Delivery) -> SortKey {
    SortKey::Text(delivery.id.to_string())
}

/// How many deliveries are held, counted up to `most`.
///
/// # Errors
/// [`Error::Database`].
pub async fn quarantined(db: &mut Db<'_>, most: i64) -> Result<i64> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM \
        (SELECT 1 FROM delivery WHERE status = $1 AND status <> 'processed' LIMIT $2) AS held";
    let held = DeliveryStatus::Quarantined.name();
    let count: Option<(i64,)> = db.fetch_one(sql, args![held, most]).await?;
    Ok(count.map_or(0, |(count,)| count))
}

/// How many deliveries there are by status.
///
/// # Errors
/// [`Error::Database`].
pub async fn counts(db: &mut Db<'_>) -> Result<Vec<(String, i64)>> {
    counts::by_status(db, Which::all(Counted::Delivery)).await
}
