//! Keeping the index of trigrams, behind the transactions that change prospects.
//!
//! `SQLite` has FTS5 and Postgres `pg_trgm`; what differs stands in [`FTS5`] and [`PG_TRGM`].

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use crate::domain::event::Seq;
use crate::domain::ids::Id;
use crate::store::error::{Error, Result};
use crate::store::record::record;
use crate::store::sql::{Db, args};
use crate::store::{dialect, events};

/// How long one statement may take that makes the index ready, on Postgres.
const PREPARE: Duration = Duration::from_hours(1);

/// How one of the databases indexes and is asked. `?` stands for what it is asked, for the owner,
/// and for how many hits are wanted at most.
pub(super) struct Engine {
    index: &'static str,
    index_many: &'static str,
    /// Forget prospects that are about to be deleted: later nobody knows their numbers.
    forget: &'static [&'static str],
    /// Forgets those that the log names and that are gone.
    forget_gone: Option<&'static str>,
    pub(super) hits: &'static str,
    /// Only an owner's, where what it is asked does not say so.
    pub(super) of_owner: Option<&'static str>,
    /// The first that it comes to: by number, where prospects have one, those with the smallest,
    /// or the greatest.
    pub(super) first: [&'static str; 2],
    pub(super) pending: &'static str,
    /// What is found, with the prospects.
    pub(super) join: &'static str,
    /// A prospect's number.
    pub(super) number: &'static str,
}

/// What FTS5 is given: each prospect's number, its text, and behind that the mark of its owner
/// ([`owner_mark`](super::pattern::owner_mark)). In the order of the numbers, because FTS5 writes
/// out what it has gathered before it takes a smaller one.
macro_rules! given {
    ($first:literal, $which:literal) => {
        concat!(
            $first,
            "n, search_text || char(1) || substr(COALESCE(owner_id, ''), -2) FROM prospect WHERE ",
            $which,
            " ORDER BY n"
        )
    };
}

const INDEX_FTS5: &str = given!(
    "INSERT INTO prospect_search (rowid, text) SELECT ",
    "id IN {keys}"
);

// What a prospect's text had before, FTS5 does not know: it stays beside the new one, and is found
// and compared in vain. To take a row out it must be told the text, and fails where it has taken
// out more than came; so it is given the row once more before that.
const FTS5: Engine = Engine {
    index: INDEX_FTS5,
    index_many: given!(
        "INSERT INTO prospect_search (rowid, text) SELECT ",
        "id > $1 AND id <= $2"
    ),
    forget: &[
        INDEX_FTS5,
        given!(
            "INSERT INTO prospect_search (prospect_search, rowid, text) SELECT 'delete', ",
            "id IN {keys}"
        ),
    ],
    forget_gone: None,
    hits: "SELECT n FROM (SELECT rowid AS n FROM prospect_search WHERE prospect_search MATCH ?",
    of_owner: None,
    first: [
        " ORDER BY rowid LIMIT ?) AS hit",
        " ORDER BY rowid DESC LIMIT ?) AS hit",
    ],
    pending: " UNION SELECT n FROM prospect WHERE id IN (",
    join: ") AS found LEFT JOIN prospect AS p ON p.n = found.n",
    number: "SELECT found.n AS n, ",
};

const PG_TRGM: Engine = Engine {
    index: "INSERT INTO prospect_search (prospect_id, text, owner_id) \
        SELECT id, search_text, COALESCE(owner_id, '') FROM prospect WHERE id IN {keys} \
        ON CONFLICT (prospect_id) DO UPDATE SET text = excluded.text, owner_id = excluded.owner_id \
        WHERE prospect_search.text <> excluded.text OR prospect_search.owner_id <> excluded.owner_id",
    index_many: "INSERT INTO prospect_search (prospect_id, text, owner_id) \
        SELECT id, search_text, COALESCE(owner_id, '') FROM prospect WHERE id > $1 AND id <= $2 \
        ON CONFLICT (prospect_id) DO UPDATE SET text = excluded.text, owner_id = excluded.owner_id",
    // Whoever deletes would wait for rows that a step holds, and a step for those of a deletion.
    forget: &[],
    forget_gone: Some(
        "DELETE FROM prospect_search WHERE prospect_id IN {keys} \
         AND NOT EXISTS (SELECT 1 FROM prospect WHERE prospect.id = prospect_search.prospect_id)",
    ),
    hits: "SELECT id FROM (SELECT prospect_id AS id FROM prospect_search WHERE text LIKE ?",
    of_owner: Some(" AND owner_id = ?"),
    first: [" LIMIT ?) AS hit"; 2],
    pending: " UNION SELECT id FROM prospect WHERE id IN (",
    join: ") AS found LEFT JOIN prospect AS p ON p.id = found.id",
    number: "SELECT CAST(NULL AS BIGINT) AS n, ",
};

impl Engine {
    pub(super) const fn of(db: &Db<'_>) -> &'static Self {
        match db {
            Db::Sqlite(_) | Db::Embedded(_) => &FTS5,
            Db::Postgres(_) => &PG_TRGM,
        }
    }
}

record! {
    /// How far the index has come.
    #[derive(Debug)]
    pub(super) struct State {
        pub(super) indexed_seq: Seq,
        pub(super) filled_id: Option<String>,
    }
}

pub(super) async fn state(db: &mut Db<'_>) -> Result<State> {
    let sql = "SELECT indexed_seq, filled_id FROM search_index WHERE id = 1";
    let row = db.fetch_one(sql, args![]).await?;
    row.ok_or(Error::Corrupt("the search index's position"))
}

/// Makes the index ready to be filled. Postgres needs `pg_trgm` and `btree_gin` for it,
/// which any database has at hand but not every role may create.
///
/// # Errors
/// [`Error::Database`] when it may not; searches then compare each prospect.
pub async fn prepare(db: &mut Db<'_>) -> Result<()> {
    if let Db::Postgres(c) = db {
        for sql in dialect::PREPARE_SEARCH_POSTGRES {
            // Not within what a statement may take otherwise: a million prospects are some minutes.
            let done = timeout(PREPARE, sqlx::query(*sql).execute(&mut **c)).await;
            done.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))?;
        }
    }
    Ok(())
}

/// Takes the index on by at most `limit` events, or prospects while it is first filled. Answers
/// whether there may be more to do. To be run in a transaction of its own.
///
/// # Errors
/// [`Error::Database`].
pub async fn step(db: &mut Db<'_>, limit: i64) -> Result<bool> {
    let state = state(db).await?;
    if let Some(filled) = state.filled_id {
        return fill(db, &filled, limit).await;
    }
    let extent = events::extent(db).await?;
    if state.indexed_seq < extent.floor {
        // It slept longer than events are kept.
        let sql = "UPDATE search_index SET indexed_seq = $1, filled_id = '' WHERE id = 1";
        db.execute(sql, args![extent.head]).await?;
        return Ok(true);
    }
    let changed = changed(db, state.indexed_seq, limit).await?;
    let full = changed.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let upto = match changed.last() {
        Some((seq, _)) if full => *seq,
        _ => extent.head,
    };
    // Taken before the prospects are read: of two nodes one finds it moved and steps back.
    let sql = "UPDATE search_index SET indexed_seq = $1 WHERE id = 1 AND indexed_seq = $2";
    if upto == state.indexed_seq || db.execute(sql, args![upto, state.indexed_seq]).await? == 0 {
        return Ok(false);
    }
    let ids: BTreeSet<String> = changed.into_iter().map(|(_, id)| id).collect();
    let ids = || ids.iter().map(String::as_str);
    let engine = Engine::of(db);
    db.execute_in(engine.index, ids()).await?;
    if let Some(forget_gone) = engine.forget_gone {
        db.execute_in(forget_gone, ids()).await?;
    }
    Ok(full)
}

/// Takes prospects out of the index that are about to be deleted, so that nothing is left of
/// them there; on Postgres the next step does.
///
/// # Errors
/// [`Error::Database`].
pub(in crate::store) async fn forget(db: &mut Db<'_>, ids: &[&Id]) -> Result<()> {
    for forget in Engine::of(db).forget {
        db.execute_in(forget, ids.iter().map(|id| id.as_str()))
            .await?;
    }
    Ok(())
}

/// Fills the index with the prospects after `filled`, for the first time.
async fn fill(db: &mut Db<'_>, filled: &str, limit: i64) -> Result<bool> {
    if filled.is_empty() {
        // What changes from here on is in the log.
        let head = events::extent(db).await?.head;
        let sql = "UPDATE search_index SET indexed_seq = $1 WHERE id = 1 AND filled_id = ''";
        db.execute(sql, args![head]).await?;
    }
    let sql = "SELECT id FROM prospect WHERE id > $1 ORDER BY id LIMIT $2";
    let ids: Vec<(String,)> = db.fetch(sql, args![filled, limit]).await?;
    let last = ids.last().map(|(id,)| id.as_str());
    let sql = "UPDATE search_index SET filled_id = $1 WHERE id = 1 AND filled_id = $2";
    if db.execute(sql, args![last, filled]).await? == 1
        && let Some(last) = last
    {
        let index = Engine::of(db).index_many;
        db.execute(index, args![filled, last]).await?;
    }
    Ok(true)
}

/// The prospects that the log names after a position, in order.
pub(super) async fn changed(db: &mut Db<'_>, since: Seq, limit: i64) -> Result<Vec<(Seq, String)>> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let sql = "SELECT seq, payload FROM event WHERE seq > $1 \
        AND name IN ('prospect:created', 'prospect:updated', 'prospect:deleted') ORDER BY seq LIMIT $2 + 0";
    let rows: Vec<(Seq, String)> = db.fetch(sql, args![since, limit]).await?;
    let read = |(seq, payload): (Seq, String)| {
        let named: Named =
            serde_json::from_str(&payload).map_err(|_| Error::Corrupt("an event's payload"))?;
        Ok((seq, named.id))
    };
    rows.into_iter().map(read).collect()
}
