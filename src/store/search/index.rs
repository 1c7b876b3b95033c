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

/// About so many pages of what FTS5 has written are merged at once, which usually takes some 2 ms.
/// A trigram that nearly all have is not divided: at a million prospects that can be 250 pages.
const MERGED: i64 = 16;

/// What the index has to take in next.
#[derive(Debug)]
pub enum Work {
    /// Everything once more, for the log does not reach back to where the index stands.
    Again,
    /// While it is filled, prospects in the order of their ids.
    Fill {
        /// The last that it has.
        after: String,
        /// The last that it is to have next; `None` when it has all.
        upto: Option<String>,
        /// The position of the log behind which it follows then.
        since: Seq,
    },
    /// What the log names.
    Follow {
        /// The position up to which it has everything.
        after: Seq,
        /// The position up to which it is to have everything next.
        upto: Seq,
        /// The prospects that are named between them.
        ids: BTreeSet<String>,
    },
}

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

/// What the index has to take in next: at most `limit` events, or prospects while it is filled.
/// `None` when it has everything.
///
/// # Errors
/// [`Error::Database`].
pub async fn look(db: &mut Db<'_>, limit: i64) -> Result<Option<Work>> {
    let state = state(db).await?;
    let extent = events::extent(db).await?;
    if let Some(filled) = state.filled_id {
        // What changes after it has begun is in the log.
        let begins = filled.is_empty();
        let since = if begins {
            extent.head
        } else {
            state.indexed_seq
        };
        let sql = "SELECT id FROM prospect WHERE id > $1 ORDER BY id LIMIT $2";
        let mut ids: Vec<(String,)> = db.fetch(sql, args![filled.as_str(), limit]).await?;
        return Ok(Some(Work::Fill {
            after: filled,
            upto: ids.pop().map(|(id,)| id),
            since,
        }));
    }
    let changed = changed(db, state.indexed_seq, limit).await?;
    // Read after them: what is forgotten meanwhile is below it before it goes.
    if state.indexed_seq < events::extent(db).await?.floor {
        return Ok(Some(Work::Again));
    }
    let full = changed.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let upto = match changed.last() {
        Some((seq, _)) if full => *seq,
        _ => extent.head,
    };
    let ids = changed.into_iter().map(|(_, id)| id).collect();
    let after = state.indexed_seq;
    Ok((upto != after).then_some(Work::Follow { after, upto, ids }))
}

/// Takes it in, in a transaction of its own. Where the index has moved since it was looked at, by
/// another node, nothing is done.
///
/// # Errors
/// [`Error::Database`].
pub async fn index(db: &mut Db<'_>, work: &Work) -> Result<()> {
    let engine = Engine::of(db);
    match work {
        Work::Again => {
            let sql = "UPDATE search_index SET filled_id = '' WHERE id = 1 AND filled_id IS NULL";
            db.execute(sql, args![]).await?;
        }
        Work::Fill { after, upto, since } => {
            let sql = "UPDATE search_index SET indexed_seq = $1, filled_id = $2 \
                WHERE id = 1 AND filled_id = $3";
            let (after, upto) = (after.as_str(), upto.as_deref());
            if db.execute(sql, args![*since, upto, after]).await? == 1
                && let Some(upto) = upto
            {
                db.execute(engine.index_many, args![after, upto]).await?;
            }
        }
        Work::Follow { after, upto, ids } => {
            let sql = "UPDATE search_index SET indexed_seq = $1 WHERE id = 1 AND indexed_seq = $2 \
                AND filled_id IS NULL";
            if db.execute(sql, args![*upto, *after]).await? == 1 {
                let ids = || ids.iter().map(String::as_str);
                db.execute_in(engine.index, ids()).await?;
                if let Some(forget_gone) = engine.forget_gone {
                    db.execute_in(forget_gone, ids()).await?;
                }
            }
        }
    }
    Ok(())
}

/// Merges a piece of what FTS5 has written, in a transaction of its own; answers whether there was
/// any. By itself it would merge as it writes, and keep everybody else who writes waiting for tens
/// of milliseconds now and then (migration 0012 forbids it). Postgres has nothing to merge.
///
/// # Errors
/// [`Error::Database`].
pub async fn merge(db: &mut Db<'_>) -> Result<bool> {
    if matches!(db, Db::Postgres(_)) {
        return Ok(false);
    }
    // The command itself counts as one change: <https://www.sqlite.org/fts5.html#the_merge_command>.
    let changes = "SELECT total_changes()";
    let before: Option<(i64,)> = db.fetch_one(changes, args![]).await?;
    let sql = "INSERT INTO prospect_search (prospect_search, rank) VALUES ('merge', $1)";
    db.execute(sql, args![MERGED]).await?;
    let after: Option<(i64,)> = db.fetch_one(changes, args![]).await?;
    Ok(after
        .zip(before)
        .is_some_and(|((after,), (before,))| after - before >= 2))
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
