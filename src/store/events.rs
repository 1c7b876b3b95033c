//! The event log: one counter, one table.

use std::hash::{BuildHasher, RandomState};

use super::columns::{self, Append};
use super::dialect;
use super::error::{Error, Result};
use super::inserts::Insert;
use super::paging::LIMIT;
use super::record::record;
use super::sql::{Arg, Db, Sql, args};
use crate::domain::event::{Audience, Event, NewEvent, Seq};
use crate::domain::ids::{Id, Ids};
use crate::domain::user::Caller;

record! {
    struct Row {
        seq: i64,
        id: String,
        at_ms: i64,
        name: String,
        payload: String,
        user_id: Option<String>,
        admins: bool,
    }
}

impl From<Row> for Event {
    fn from(row: Row) -> Self {
        let audience = Audience {
            user: row.user_id.map(Id::from_stored),
            admins: row.admins,
        };
        Self {
            seq: row.seq,
            id: Id::from_stored(row.id),
            at_ms: row.at_ms,
            name: row.name,
            payload: row.payload,
            audience,
        }
    }
}

record! {
    /// Which positions the log can serve.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Extent {
        /// The last event's position.
        pub head: Seq,
        /// The last position whose event is no longer kept: the log serves `since` from here on.
        pub floor: Seq,
    }
}

record! {
    /// Where the log stood when something was read.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Position {
        /// The last event's position.
        pub head: Seq,
        /// Another one whenever something was changed, be it that the log tells of it or not: one
        /// more, or what a batch chose for itself ([`own_turn`]).
        pub turn: i64,
    }
}

/// Where the log stands, by the counter's id as text.
pub(super) const POSITION: &str =
    "SELECT head_seq AS head, turn FROM event_log WHERE CAST(id AS TEXT) IN {keys}";

impl Position {
    /// Where the log stands after a batch that appends so many events in a turn of its own.
    #[must_use]
    pub fn after(self, events: usize, turn: i64) -> Self {
        let head = self.head.saturating_add_unsigned(events as u64);
        Self { head, turn }
    }
}

/// The number of a turn that nobody else takes. Whoever reads before a batch is committed, and
/// expects it to be, must not take another's change for it: that may well have as many events.
#[must_use]
pub fn own_turn() -> i64 {
    // Below a quarter of what there is, so that all who count on from there have room.
    RandomState::new().hash_one(()).cast_signed() & (i64::MAX >> 2)
}

/// Where the log must stand for a batch to be committed, and what it waits for until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Where.
    pub position: Position,
    /// The lock of the batch before it, when that may not have been committed yet.
    pub behind: Option<i64>,
    /// What the batch makes of the turn ([`own_turn`]).
    pub turn: i64,
}

/// Where the log stands.
///
/// # Errors
/// [`Error::Database`], or [`Error::Corrupt`] when the counter is missing.
pub async fn position(db: &mut Db<'_>) -> Result<Position> {
    let row = db.fetch_in(POSITION, ["1"]).await?.into_iter().next();
    row.ok_or(Error::Corrupt("the event counter"))
}

/// Which positions the log can serve.
///
/// # Errors
/// [`Error::Database`], or [`Error::Corrupt`] when the counter is missing.
pub async fn extent(db: &mut Db<'_>) -> Result<Extent> {
    let row = db.fetch_one(
        "SELECT head_seq AS head, floor_seq AS floor FROM event_log WHERE id = 1",
        args![],
    );
    row.await?.ok_or(Error::Corrupt("the event counter"))
}

/// Inserts what is left to insert and appends events at the end of the transaction. Private to the
/// store: [`super::Tx::commit_with`] is the way.
pub(super) async fn append(
    db: &mut Db<'_>,
    inserts: Vec<Insert>,
    events: Vec<NewEvent>,
    now_ms: i64,
    ids: &dyn Ids,
) -> Result<Vec<Event>> {
    let count = i64::try_from(events.len()).map_err(|_| Error::Corrupt("the batch's size"))?;
    let ids: Vec<Id> = events.iter().map(|_| ids.new_id(now_ms)).collect();
    let rows = rows_of(&events, &ids);
    let head = match db {
        Db::Postgres(c) => {
            let append = Append {
                at_ms: now_ms,
                rows: rows.collect(),
            };
            let head = columns::write(c, inserts, Some(append)).await?;
            head.ok_or(Error::Corrupt("the event counter"))?
        }
        Db::Sqlite(_) | Db::Embedded(_) => {
            db.insert(inserts).await?;
            let head = take_seq(db, count).await?;
            let numbered = |(mut row, seq): (Vec<Arg>, Seq)| {
                row.extend(args![seq, now_ms]);
                row
            };
            let insert = Insert {
                head: "INSERT INTO event (id, name, payload, user_id, admins, seq, at_ms)",
                tail: "",
                rows: rows.zip(head - count + 1..).map(numbered).collect(),
            };
            db.insert(vec![insert]).await?;
            head
        }
    };
    Ok(numbered(events, ids, head - count, now_ms))
}

/// The events as they stand in the log behind a position.
pub(super) fn numbered(events: Vec<NewEvent>, ids: Vec<Id>, behind: Seq, at_ms: i64) -> Vec<Event> {
    let number = |((event, id), seq): ((NewEvent, Id), Seq)| Event {
        seq,
        id,
        at_ms,
        name: event.name.to_owned(),
        payload: event.payload,
        audience: event.audience,
    };
    let numbered = events.into_iter().zip(ids).zip(behind + 1..);
    numbered.map(number).collect()
}

async fn take_seq(db: &mut Db<'_>, count: i64) -> Result<Seq> {
    let [take, read] = dialect::TAKE_SEQ_SQLITE;
    db.execute(take, args![count]).await?;
    db.fetch_int(read, args![]).await
}

/// What is written of events, but their positions.
pub(super) fn rows_of<'e>(
    events: &'e [NewEvent],
    ids: &'e [Id],
) -> impl Iterator<Item = Vec<Arg>> + 'e {
    events.iter().zip(ids).map(|(event, id)| row_of(event, id))
}

/// All of an event but its position and time, which on Postgres the statement gives it.
fn row_of(event: &NewEvent, id: &Id) -> Vec<Arg> {
    args![
        id,
        event.name,
        event.payload.as_str(),
        event.audience.user.as_ref(),
        event.audience.admins,
    ]
}

const COLUMNS: &str = "SELECT seq, id, at_ms, name, payload, user_id, admins FROM event";

/// With the payloads up to a length, and nothing for longer ones: no payload is empty.
const SHORT_COLUMNS: &str = "SELECT seq, id, at_ms, name, \
    CASE WHEN OCTET_LENGTH(payload) <= ? THEN payload ELSE '' END AS payload, user_id, admins \
    FROM event";

/// Reads the log after a position, whoever may hear of it, in order.
///
/// # Errors
/// [`Error::Database`].
pub async fn after(db: &mut Db<'_>, since: Seq, limit: i64) -> Result<Vec<Event>> {
    let mut sql = Sql::new(COLUMNS);
    sql.filter("seq > ?", args![since]);
    sql.push(" ORDER BY seq", args![]);
    sql.push(LIMIT, args![limit]);
    read(db, sql).await
}

/// How much of the log is read at once.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// So many events.
    pub events: usize,
    /// One with a longer payload, in bytes, is read by itself; `None`: whatever their length.
    pub payload: Option<i64>,
}

/// Reads what a caller may hear of after a position, in order, and whether there may be more.
///
/// # Errors
/// [`Error::Database`].
pub async fn after_for(
    db: &mut Db<'_>,
    since: Seq,
    most: Most,
    caller: &Caller,
) -> Result<(Vec<Event>, bool)> {
    let mut sql = match most.payload {
        Some(length) => Sql::with(SHORT_COLUMNS, args![length]),
        None => Sql::new(COLUMNS),
    };
    heard(&mut sql, since, caller);
    sql.push(" ORDER BY seq", args![]);
    let limit = i64::try_from(most.events).unwrap_or(i64::MAX);
    sql.push(LIMIT, args![limit]);
    let mut events = read(db, sql).await?;
    let Some(long) = events.iter().position(|event| event.payload.is_empty()) else {
        let more = events.len() == most.events;
        return Ok((events, more));
    };
    events.truncate(long);
    if events.is_empty() {
        let alone = Most {
            events: 1,
            payload: None,
        };
        return Box::pin(after_for(db, since, alone, caller)).await;
    }
    Ok((events, true))
}

/// How many events a caller may hear of after a position.
///
/// # Errors
/// [`Error::Database`].
pub async fn count_for(db: &mut Db<'_>, since: Seq, caller: &Caller) -> Result<i64> {
    let user = &caller.user_id;
    if caller.is_admin() {
        // No position is left out, and an index has the few that admins do not hear of.
        let sql = "SELECT head_seq - $1 - (SELECT CAST(COUNT(*) AS BIGINT) FROM event \
            WHERE seq > $1 AND NOT admins) FROM event_log WHERE id = 1";
        return db.fetch_int(sql, args![since]).await;
    }
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM event WHERE seq > $1 AND user_id = $2";
    db.fetch_int(sql, args![since, user]).await
}

fn heard(sql: &mut Sql, since: Seq, caller: &Caller) {
    sql.filter("seq > ?", args![since]);
    if caller.is_admin() {
        sql.filter("admins", args![]);
    } else {
        sql.filter("user_id = ?", args![&caller.user_id]);
    }
}

async fn read(db: &mut Db<'_>, sql: Sql) -> Result<Vec<Event>> {
    let (text, args) = sql.build();
    let rows: Vec<Row> = db.fetch(text, args).await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// Which event stands at a position, if it is kept.
///
/// # Errors
/// [`Error::Database`].
pub async fn id_at(db: &mut Db<'_>, seq: Seq) -> Result<Option<String>> {
    let sql = "SELECT id FROM event WHERE seq = $1";
    let row: Option<(String,)> = db.fetch_one(sql, args![seq]).await?;
    Ok(row.map(|(id,)| id))
}

/// Lets the log begin anew behind a position: whoever asks for what comes after an earlier one is
/// told to reload.
///
/// # Errors
/// [`Error::Database`].
pub async fn begin_at(db: &mut Db<'_>, seq: Seq) -> Result<()> {
    let sql = "UPDATE event_log SET head_seq = $1, floor_seq = $1 WHERE id = 1";
    db.execute(sql, args![seq]).await?;
    Ok(())
}

/// The last position that was committed before `before_ms` (milliseconds since the Unix epoch),
/// among the first `limit` that are kept; 0 when there is none. What a clock that was ahead once
/// dated too late goes with what came after it.
///
/// # Errors
/// [`Error::Database`].
pub async fn due(db: &mut Db<'_>, before_ms: i64, limit: i64) -> Result<Seq> {
    let sql = "SELECT CAST(COALESCE(MAX(seq), 0) AS BIGINT) FROM \
        (SELECT seq, at_ms FROM event ORDER BY seq LIMIT $1) AS oldest WHERE at_ms < $2";
    db.fetch_int(sql, args![limit, before_ms]).await
}

/// Has nobody served the events up to a position any more.
///
/// # Errors
/// [`Error::Database`].
pub async fn raise_floor(db: &mut Db<'_>, upto: Seq) -> Result<()> {
    let sql = "UPDATE event_log SET floor_seq = $1 WHERE id = 1 AND floor_seq < $1";
    db.execute(sql, args![upto]).await?;
    Ok(())
}

/// Forgets the events up to a position that is no longer served; answers how many.
///
/// # Errors
/// [`Error::Database`].
pub async fn forget(db: &mut Db<'_>, upto: Seq) -> Result<u64> {
    db.execute("DELETE FROM event WHERE seq <= $1", args![upto])
        .await
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_batches_take_the_same_turn() {
        let turns: HashSet<i64> = (0..1000).map(|_| own_turn()).collect();
        assert_eq!(turns.len(), 1000);
        assert!(turns.iter().all(|turn| (0..=i64::MAX >> 2).contains(turn)));
    }
}
