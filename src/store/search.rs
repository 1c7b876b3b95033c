//! Search among prospects: an index of trigrams that follows the event log, and how it is asked.
//!
//! The index is filled behind the transactions that change prospects, because keeping it is
//! dearer than all their other indexes together. So that a search is never stale, what the log
//! names after the index's position is looked at beside what the index finds; and because the
//! index may also hold what has changed or gone since, whatever it finds is compared with the
//! prospect itself.

mod index;
mod pattern;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::error::Result;
use super::events;
use super::listing::{Filter, Runs, Scope};
use super::paging::{self, Direction, Found, Page, Position};
use super::prospects;
use super::record::record;
use super::sorting::{Sort, positions};
use super::sql::{Db, Sql, args};
use crate::domain::prospect::Prospect;
pub(super) use index::forget;
use index::{Engine, changed, state};
pub use index::{Work, index, look, merge, prepare};
pub(super) use pattern::compare;
use pattern::{Query, like};

/// Among so many prospects a search compares each, which is quick and exact.
const SMALL: i64 = 2000;

/// Up to so many hits of the index are gathered, counted and sorted. With more, the next one in
/// the list's order is never far, and the list is read in its order instead.
const GATHERED: i64 = 1000;

/// So many prospects may have changed since the index; more are being indexed right now, and
/// until then a search compares each prospect.
const PENDING: i64 = 1000;

/// A hundred prospects' texts from anywhere, by which is reckoned how many have a trigram.
const SAMPLE: &str = "WITH RECURSIVE \
    last(n) AS (SELECT MAX(n) FROM prospect), \
    one(k, n) AS (SELECT 1, 1 UNION ALL \
        SELECT k + 1, 1 + abs(random() % (SELECT n FROM last)) FROM one WHERE k < 100) \
    SELECT search_text FROM prospect WHERE n IN (SELECT n FROM one)";

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
    let hits = if runs.known > SMALL {
        hits(db, runs.filter, text, sort).await?
    } else {
        None
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

/// Asks the index; `None` where only comparing each prospect will do, or while it is not ready.
async fn hits(db: &mut Db<'_>, filter: &Filter, text: &str, sort: Sort) -> Result<Option<Hits>> {
    let state = state(db).await?;
    if state.filled_id.is_some() || state.indexed_seq < events::extent(db).await?.floor {
        return Ok(None);
    }
    let pending = changed(db, state.indexed_seq, PENDING + 1).await?;
    if pending.len() > usize::try_from(PENDING).unwrap_or(usize::MAX) {
        return Ok(None);
    }
    let pending: BTreeSet<String> = pending.into_iter().map(|(_, id)| id).collect();
    let mut hits = None;
    for query in queries(db, filter, text).await? {
        let found = ask(db, filter, &query, &pending, sort).await?;
        let (keys, others): (Vec<Hit>, Vec<Hit>) =
            (found.keys.into_iter()).partition(|hit| hit.search_text.contains(text));
        let keys = keys.into_iter().filter(|hit| hit.fits(filter)).collect();
        let rest = found.rest;
        // Of more than can be gathered, some have not the text: fewer may have it than that.
        let enough = rest.is_none() || others.is_empty();
        hits = Some(Hits { keys, rest });
        if enough {
            break;
        }
    }
    Ok(hits)
}

/// What the index is asked, until it finds few enough, or only what has the text.
async fn queries(db: &mut Db<'_>, filter: &Filter, text: &str) -> Result<Vec<String>> {
    let owner = filter.scope().owner();
    let Some(query) = Query::of(db, text, owner.unwrap_or_default()) else {
        return Ok(Vec::new());
    };
    let whole = query.whole();
    if !query.is_long() {
        return Ok(vec![whole]);
    }
    let sample: Vec<(String,)> = db.fetch(SAMPLE, args![]).await?;
    let sample: Vec<String> = sample.into_iter().map(|(text,)| text).collect();
    Ok(vec![query.of_the_rarest(&sample).whole(), whole])
}

/// What the index finds, and those that it may not know yet.
async fn ask(
    db: &mut Db<'_>,
    filter: &Filter,
    query: &str,
    pending: &BTreeSet<String>,
    sort: Sort,
) -> Result<Hits> {
    let engine = Engine::of(db);
    let ascending = sort == Sort::Created(Direction::Ascending);
    let mut sql = Sql::new(engine.number);
    // A hit whose prospect is gone counts as one all the same: it has been looked up.
    sql.push(
        "COALESCE(p.id, '') AS id, COALESCE(p.created_ms, 0) AS created_ms, \
         COALESCE(p.updated_ms, 0) AS updated_ms, COALESCE(p.name_key, '') AS name_key, \
         COALESCE(p.search_text, '') AS search_text, p.owner_id AS owner_id, \
         COALESCE(p.status, '') AS status, COALESCE(p.source, '') AS source FROM (",
        args![],
    );
    sql.push(engine.hits, args![query]);
    if let (Some(of_owner), Some(owner)) = (engine.of_owner, filter.scope().owner()) {
        sql.push(of_owner, args![owner]);
    }
    let first = engine.first[usize::from(!ascending)];
    sql.push(first, args![GATHERED + 1]);
    if !pending.is_empty() {
        sql.push(engine.pending, args![]);
        sql.push_list(pending.iter().map(|id| id.as_str().into()).collect());
        sql.push(")", args![]);
    }
    sql.push(engine.join, args![]);
    let (sql, args) = sql.build();
    let keys: Vec<Hit> = db.fetch(sql, args).await?;
    let all = keys.len() <= usize::try_from(GATHERED).unwrap_or(usize::MAX);
    let indexed = keys.iter().filter(|hit| !pending.contains(&hit.id));
    let numbers = indexed.filter_map(|hit| hit.n);
    let rest = if ascending {
        numbers.max().map(Rest::Above)
    } else {
        numbers.min().map(Rest::Below)
    };
    let rest = (!all).then(|| rest.unwrap_or(Rest::Anywhere));
    Ok(Hits { keys, rest })
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
    // What changed since the index is among its hits, and may be met again beyond them.
    found.dedup_by(|a, b| a.id == b.id);
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
