//! Search among prospects: an index of trigrams that follows the event log, and how it is asked.
//!
//! The index is filled behind the transactions that change prospects, because keeping it is
//! dearer than all their other indexes together. So that a search is never stale, what the log
//! names after the index's position is looked at beside what the index finds; and because the
//! index may also hold what has changed or gone since, whatever it finds is compared with the
//! prospect itself.
//!
//! `SQLite` has FTS5 and Postgres `pg_trgm`; what differs stands in [`FTS5`] and [`PG_TRGM`].

mod pattern;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Deserialize;

use super::error::{Error, Result};
use super::listing::{Filter, Runs, Scope};
use super::paging::{self, Direction, Found, Page, Position};
use super::prospects;
use super::record::record;
use super::sorting::{Sort, positions};
use super::sql::{Db, Sql, args};
use super::{dialect, events};
use crate::domain::event::Seq;
use crate::domain::ids::Id;
use crate::domain::prospect::Prospect;
pub(super) use pattern::compare;
use pattern::{like, query};

/// Among so many prospects a search compares each, which is quick and exact.
const SMALL: i64 = 2000;

/// Up to so many hits of the index are gathered, counted and sorted. With more, the next one in
/// the list's order is never far, and the list is read in its order instead.
const GATHERED: i64 = 1000;

/// So many prospects may have changed since the index; more are being indexed right now, and
/// until then a search compares each prospect.
const PENDING: i64 = 1000;

/// How one of the databases indexes and is asked. `?` stands for what it is asked, and how many
/// hits are wanted at most.
struct Engine {
    index: &'static str,
    index_many: &'static str,
    /// Forgets prospects that are about to be deleted: later nobody knows their numbers.
    forget: Option<&'static str>,
    /// Forgets those that the log names and that are gone.
    forget_gone: Option<&'static str>,
    /// The first hits that it comes to: by number, where prospects have one, those with the
    /// smallest, or the greatest.
    hits: [&'static str; 2],
    pending: &'static str,
    /// A prospect's number.
    number: &'static str,
}

const FTS5: Engine = Engine {
    index: "INSERT OR REPLACE INTO prospect_search (rowid, text) \
        SELECT n, search_text FROM prospect WHERE id IN {keys}",
    index_many: "INSERT OR REPLACE INTO prospect_search (rowid, text) \
        SELECT n, search_text FROM prospect WHERE id > $1 AND id <= $2",
    forget: Some(
        "DELETE FROM prospect_search WHERE rowid IN (SELECT n FROM prospect WHERE id IN {keys})",
    ),
    forget_gone: None,
    hits: [
        "n IN (SELECT n FROM (SELECT rowid AS n FROM prospect_search \
            WHERE prospect_search MATCH ? ORDER BY rowid LIMIT ?)",
        "n IN (SELECT n FROM (SELECT rowid AS n FROM prospect_search \
            WHERE prospect_search MATCH ? ORDER BY rowid DESC LIMIT ?)",
    ],
    pending: " UNION ALL SELECT n FROM prospect WHERE id IN (",
    number: "SELECT n, ",
};

const PG_TRGM: Engine = Engine {
    index: "INSERT INTO prospect_search (prospect_id, text) \
        SELECT id, search_text FROM prospect WHERE id IN {keys} \
        ON CONFLICT (prospect_id) DO UPDATE SET text = excluded.text \
        WHERE prospect_search.text <> excluded.text",
    index_many: "INSERT INTO prospect_search (prospect_id, text) \
        SELECT id, search_text FROM prospect WHERE id > $1 AND id <= $2 \
        ON CONFLICT (prospect_id) DO UPDATE SET text = excluded.text",
    // Whoever deletes would wait for rows that a step holds, and a step for those of a deletion.
    forget: None,
    forget_gone: Some(
        "DELETE FROM prospect_search WHERE prospect_id IN {keys} \
         AND NOT EXISTS (SELECT 1 FROM prospect WHERE prospect.id = prospect_search.prospect_id)",
    ),
    hits: ["id IN (SELECT id FROM (SELECT prospect_id AS id FROM prospect_search \
        WHERE text LIKE ? LIMIT ?) AS found"; 2],
    pending: " UNION ALL SELECT id FROM prospect WHERE id IN (",
    number: "SELECT CAST(NULL AS BIGINT) AS n, ",
};

impl Engine {
    const fn of(db: &Db<'_>) -> &'static Self {
        match db {
            Db::Sqlite(_) | Db::Embedded(_) => &FTS5,
            Db::Postgres(_) => &PG_TRGM,
        }
    }
}

record! {
    /// How far the index has come.
    #[derive(Debug)]
    struct State {
        indexed_seq: Seq,
        filled_id: Option<String>,
    }
}

async fn state(db: &mut Db<'_>) -> Result<State> {
    let sql = "SELECT indexed_seq, filled_id FROM search_index WHERE id = 1";
    let row = db.fetch_one(sql, args![]).await?;
    row.ok_or(Error::Corrupt("the search index's position"))
}

/// Makes the index ready to be filled. Postgres needs `pg_trgm` for it, which any database has
/// at hand but not every role may create.
///
/// # Errors
/// [`Error::Database`] when it may not; searches then compare each prospect.
pub async fn prepare(db: &mut Db<'_>) -> Result<()> {
    if let Db::Postgres(_) = db {
        for sql in dialect::PREPARE_SEARCH_POSTGRES {
            db.execute(*sql, args![]).await?;
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
pub(super) async fn forget(db: &mut Db<'_>, ids: &[&Id]) -> Result<()> {
    if let Some(forget) = Engine::of(db).forget {
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
async fn changed(db: &mut Db<'_>, since: Seq, limit: i64) -> Result<Vec<(Seq, String)>> {
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

/// Lists the prospects of some runs that have the text.
///
/// The total is exact while at most [`SMALL`] prospects are to be searched or the index finds at
/// most [`GATHERED`]; else it says how many there are at least.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub(super) async fn list(
    db: &mut Db<'_>,
    runs: &Runs<'_>,
    text: &str,
    sort: Sort,
    page: Page,
) -> Result<Found<Prospect>> {
    let query = query(db, text).filter(|_| runs.known > SMALL);
    let hits = match query {
        Some(query) => hits(db, runs.filter, text, &query, sort).await?,
        None => None,
    };
    let (at_least, foreseen) = match hits {
        Some(Hits { keys, rest: None }) => return gathered(db, keys, sort, page).await,
        Some(hits) => (
            i64::try_from(hits.keys.len()).unwrap_or(GATHERED),
            before_rest(db, runs, text, hits, sort, &page).await?,
        ),
        None => (count(db, runs, text).await?, None),
    };
    let items = match foreseen {
        Some(items) => items,
        None => runs.read(db, Some(text), sort, &page).await?,
    };
    let shown = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let total = at_least.max(shown);
    Ok(Found { items, total })
}

record! {
    /// A hit, by what lists are sorted by.
    #[derive(Debug)]
    struct Hit {
        n: Option<i64>,
        id: String,
        created_ms: i64,
        updated_ms: i64,
        name_key: String,
        search_text: String,
        owner_id: Option<String>,
        status: String,
        source: String,
    }
}

/// Hits of the index that have the text and fit the filter.
struct Hits {
    keys: Vec<Hit>,
    /// Where others may be; `None` when these are all.
    rest: Option<Rest>,
}

/// Hits that were not gathered.
enum Rest {
    /// Among the prospects with smaller numbers.
    Below(i64),
    /// Among those with greater ones.
    Above(i64),
    /// Anywhere.
    Anywhere,
}

/// Asks the index; `None` while it is not ready.
async fn hits(
    db: &mut Db<'_>,
    filter: &Filter,
    text: &str,
    query: &str,
    sort: Sort,
) -> Result<Option<Hits>> {
    let state = state(db).await?;
    if state.filled_id.is_some() || state.indexed_seq < events::extent(db).await?.floor {
        return Ok(None);
    }
    let pending = changed(db, state.indexed_seq, PENDING + 1).await?;
    if pending.len() > usize::try_from(PENDING).unwrap_or(usize::MAX) {
        return Ok(None);
    }
    let ids: BTreeSet<String> = pending.into_iter().map(|(_, id)| id).collect();
    let unsure = ids.len();
    let engine = Engine::of(db);
    let mut sql = Sql::new(engine.number);
    sql.push(
        "id, created_ms, updated_ms, name_key, search_text, owner_id, status, source FROM prospect",
        args![],
    );
    let ascending = sort == Sort::Created(Direction::Ascending);
    let first = engine.hits[usize::from(!ascending)];
    sql.filter(first, args![query, GATHERED + 1]);
    if !ids.is_empty() {
        sql.push(engine.pending, args![]);
        sql.push_list(ids.iter().map(|id| id.as_str().into()).collect());
        sql.push(")", args![]);
    }
    sql.push(")", args![]);
    let (sql, args) = sql.build();
    let mut keys: Vec<Hit> = db.fetch(sql, args).await?;
    // A hit whose prospect is gone is no row; the log still names each such prospect.
    let all = keys.len() + unsure <= usize::try_from(GATHERED).unwrap_or(usize::MAX);
    let indexed = keys.iter().filter(|hit| !ids.contains(&hit.id));
    let numbers = indexed.filter_map(|hit| hit.n);
    let rest = if ascending {
        numbers.max().map(Rest::Above)
    } else {
        numbers.min().map(Rest::Below)
    };
    keys.retain(|hit| hit.search_text.contains(text) && hit.fits(filter));
    let rest = (!all).then(|| rest.unwrap_or(Rest::Anywhere));
    Ok(Some(Hits { keys, rest }))
}

/// The page of a list by creation, if it lies before all hits that were not gathered. Prospects
/// are numbered as they are made, so it nearly always does; but clocks differ, and may be set
/// back. So as far as to the end of the page those of other numbers are compared too.
async fn before_rest(
    db: &mut Db<'_>,
    runs: &Runs<'_>,
    text: &str,
    Hits { keys, rest }: Hits,
    sort: Sort,
    page: &Page,
) -> Result<Option<Vec<Prospect>>> {
    // The sign keeps SQLite from reading by number instead of in the list's order.
    let (others, number) = match (sort, rest) {
        (Sort::Created(_), Some(Rest::Below(number))) => ("+n < ?", number),
        (Sort::Created(_), Some(Rest::Above(number))) => ("+n > ?", number),
        _ => return Ok(None),
    };
    let found = keys.into_iter().map(|hit| hit.position(sort)).collect();
    let mut found = first(found, sort, page);
    let full = i64::try_from(found.len()).is_ok_and(|found| found > page.limit);
    let Some(last) = found.last().filter(|_| full) else {
        return Ok(None);
    };
    let mut sql = Sql::new(sort.select());
    runs.gather(&mut sql);
    sort.order().begin(&mut sql, page);
    sql.filter(sort.not_behind(), args![last.key.clone(), last.id.as_str()]);
    sql.filter(others, args![number]);
    compare(&mut sql, text);
    sort.order().end(&mut sql, page.limit + 1);
    found.extend(positions(db, sort, sql).await?);
    let found = first(found, sort, page);
    prospects::by_positions(db, found).await.map(Some)
}

/// The page of hits that are all known.
async fn gathered(
    db: &mut Db<'_>,
    hits: Vec<Hit>,
    sort: Sort,
    page: Page,
) -> Result<Found<Prospect>> {
    let total = i64::try_from(hits.len()).unwrap_or(GATHERED);
    let found = hits.into_iter().map(|hit| hit.position(sort)).collect();
    let found = first(found, sort, &page);
    let items = prospects::by_positions(db, found).await?;
    Ok(Found { items, total })
}

/// What a page shows of all that was found, with one more when there are more.
fn first(mut found: Vec<Position>, sort: Sort, page: &Page) -> Vec<Position> {
    if let Some(last) = &page.after {
        found.retain(|at| sort.compare(at, last) == Ordering::Greater);
    }
    found.sort_by(|a, b| sort.compare(a, b));
    found.truncate(usize::try_from(page.limit + 1).unwrap_or_default());
    found
}

impl Hit {
    fn fits(&self, filter: &Filter) -> bool {
        let owned = match filter.scope() {
            Scope::Everybodys => true,
            Scope::Of(owner) => self.owner_id.as_deref().unwrap_or_default() == owner,
            Scope::Nothing => false,
        };
        let status = filter
            .status
            .is_none_or(|status| status.name() == self.status);
        let source = filter
            .source
            .is_none_or(|source| source.name() == self.source);
        owned && status && source
    }

    fn position(self, sort: Sort) -> Position {
        let key = match sort {
            Sort::Created(_) => self.created_ms.into(),
            Sort::Updated => self.updated_ms.into(),
            Sort::Name => self.name_key.into(),
        };
        Position { key, id: self.id }
    }
}

/// How many of the first [`SMALL`] prospects of some runs have the text: all that have it where
/// there are no more.
async fn count(db: &mut Db<'_>, runs: &Runs<'_>, text: &str) -> Result<i64> {
    let mut sql =
        Sql::new("SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT search_text FROM prospect");
    runs.gather(&mut sql);
    // One more for each that was made since they were counted would do; twice is plenty.
    let most = if runs.known > SMALL { SMALL } else { 2 * SMALL };
    sql.push(
        " LIMIT ? + 0) AS first WHERE search_text LIKE ? ESCAPE '!'",
        args![most, like(text, '!')],
    );
    paging::count(db, sql).await
}
