//! Lists of prospects: whose, in which order, and by which index.
//!
//! At a million records a page must come from an index that has its order, or it takes a second.
//! An index for each order of each filter would cost every booking more than all its rows. So the
//! prospects of one status and source are a *run*, among all and of each owner, and stand in an
//! index by when they were made, and in another by when they were changed. The page of a list is
//! merged from the few runs it shows, of which the counts tell.
//!
//! Only by name there is one index for all. Where it would pass over too many, the runs are
//! gathered and sorted instead.

use super::counts::{self, Counted, Which};
use super::error::Result;
use super::paging::{Direction, Found, Order, Page, Position, SortKey};
use super::prospects::{Row, parsed, select};
use super::search;
use super::sql::{Db, Sql, args};
use crate::domain::ids::Id;
use crate::domain::prospect::{Prospect, ProspectStatus};
use crate::domain::source::Source;

/// So many records of a page are looked for among those of others, where an order has one index
/// for all.
const PAGE: i64 = 51;

/// So many records the first stretch of a list has that is searched for a text.
const STRETCH: i64 = 500;

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

/// Whose prospects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerFilter {
    /// This user's.
    User(Id),
    /// Nobody's.
    Nobody,
}

/// Whose records a list can show, with what is asked for and what the caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// All there are.
    Everybodys,
    /// One owner's, or nobody's when it is empty.
    Of(&'a str),
    /// None: somebody else's were asked for.
    Nothing,
}

impl<'a> Scope<'a> {
    /// Keeps to what is asked for, and to what the caller may see, whatever is asked for.
    pub(super) fn of(owner: Option<&'a OwnerFilter>, visible_to: Option<&'a Id>) -> Self {
        let asked = owner.map(|owner| match owner {
            OwnerFilter::User(id) => id.as_str(),
            OwnerFilter::Nobody => "",
        });
        match (asked, visible_to.map(Id::as_str)) {
            (None, None) => Self::Everybodys,
            (Some(asked), Some(seen)) if asked != seen => Self::Nothing,
            (Some(one), _) | (None, Some(one)) => Self::Of(one),
        }
    }

    /// How many records are counted in it.
    pub(super) async fn total(self, db: &mut Db<'_>, which: Which<'_>) -> Result<i64> {
        match self {
            Self::Everybodys => counts::total(db, which).await,
            Self::Of(owner) => counts::total(db, which.of(Some(owner))).await,
            Self::Nothing => Ok(0),
        }
    }

    /// The condition for a run.
    const fn run_is(self) -> &'static str {
        match self {
            Self::Everybodys => "run = ?",
            Self::Of(_) | Self::Nothing => "owner_run = ?",
        }
    }
}

/// Which prospects a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only with this status.
    pub status: Option<ProspectStatus>,
    /// Only this owner's.
    pub owner: Option<OwnerFilter>,
    /// Only what this user owns, whatever else is asked: what a member may see.
    pub visible_to: Option<Id>,
    /// Only from this source.
    pub source: Option<Source>,
    /// Only with this text in name, e-mail, phone or company, in the form search compares.
    pub search: Option<String>,
}

impl Filter {
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope::of(self.owner.as_ref(), self.visible_to.as_ref())
    }
}

/// The run of a prospect among all: the key of an index.
pub(super) fn run(status: &str, source: &str) -> String {
    format!("{status}/{source}")
}

/// Its run among those of its owner, which is empty for nobody.
pub(super) fn owner_run(owner: &str, status: &str, source: &str) -> String {
    format!("{owner}/{}", run(status, source))
}

/// The runs of a list.
#[derive(Debug)]
pub(super) struct Runs<'a> {
    pub(super) filter: &'a Filter,
    keys: Vec<String>,
    /// Whether each run's part of a merge must say its order and limit by itself. Postgres merges
    /// what it knows to be sorted; SQLite reads the parts of a union as the merge asks for them.
    bounded: bool,
    /// How many prospects are in them, whatever is searched for.
    pub(super) known: i64,
}

impl<'a> Runs<'a> {
    pub(super) async fn of(db: &mut Db<'_>, filter: &'a Filter) -> Result<Self> {
        let which = Which {
            status: filter.status.map(ProspectStatus::name),
            kind: filter.source.map(Source::name),
            ..Which::all(Counted::Prospect)
        };
        let found = match filter.scope() {
            Scope::Everybodys => counts::by_status_and_kind(db, which).await?,
            Scope::Of(owner) => counts::by_status_and_kind(db, which.of(Some(owner))).await?,
            Scope::Nothing => Vec::new(),
        };
        let known = found.iter().map(|(_, _, n)| n).sum();
        let key = |(status, source, _): (String, String, i64)| match filter.scope() {
            Scope::Of(owner) => owner_run(owner, &status, &source),
            Scope::Everybodys | Scope::Nothing => run(&status, &source),
        };
        let keys: Vec<String> = found.into_iter().map(key).collect();
        Ok(Self {
            filter,
            bounded: matches!(db, Db::Postgres(_)) && keys.len() > 1,
            keys,
            known,
        })
    }

    /// Restricts a statement to them, in no order.
    pub(super) fn gather(&self, sql: &mut Sql) {
        sql.filter(
            match self.filter.scope() {
                Scope::Everybodys => "run IN (",
                Scope::Of(_) | Scope::Nothing => "owner_run IN (",
            },
            args![],
        );
        sql.push_list(self.keys.iter().map(|key| key.as_str().into()).collect());
        sql.push(")", args![]);
    }

    /// Restricts a statement to what is in them, so that no index is used for it. Postgres reads
    /// `NOT a <> b` as `a = b`, with what it knows of how often that is so.
    fn pick(&self, sql: &mut Sql) {
        if let Scope::Of(owner) = self.filter.scope() {
            sql.filter("NOT COALESCE(owner_id, '') <> ?", args![owner]);
        }
        if let Some(status) = self.filter.status {
            sql.filter("NOT status <> ?", args![status.name()]);
        }
        if let Some(source) = self.filter.source {
            sql.filter("NOT source <> ?", args![source.name()]);
        }
    }

    /// Whether it is less to sort all of them than to look for a page of them among all others.
    async fn are_few(&self, db: &mut Db<'_>) -> Result<bool> {
        let all = counts::total(db, Which::all(Counted::Prospect)).await?;
        Ok(self.known.saturating_mul(self.known) <= PAGE * all)
    }

    /// Reads a page of what is in them and has the `text`.
    pub(super) async fn read(
        &self,
        db: &mut Db<'_>,
        text: Option<&str>,
        sort: Sort,
        page: &Page,
    ) -> Result<Vec<Prospect>> {
        match text {
            Some(text) if self.keys.len() > 1 && sort != Sort::Name => {
                self.walk(db, text, sort, page).await
            }
            _ => self.stretch(db, (text, None), sort, page).await,
        }
    }

    /// Finds a page of what has the text by comparing one prospect after the other. A run that has
    /// none of it is read no further than the page takes, because each stretch of the list is
    /// read to its end before the next one, which is longer.
    async fn walk(
        &self,
        db: &mut Db<'_>,
        text: &str,
        sort: Sort,
        page: &Page,
    ) -> Result<Vec<Prospect>> {
        let mut found = Vec::new();
        let (mut rest, mut length) = (page.clone(), STRETCH);
        loop {
            let end = self.position(db, sort, &rest, length).await?;
            let stretch = (Some(text), end.as_ref());
            found.extend(self.stretch(db, stretch, sort, &rest).await?);
            let wanted = page.limit - i64::try_from(found.len()).unwrap_or(i64::MAX);
            match end {
                Some(end) if wanted >= 0 => {
                    let after = Some(end);
                    rest = Page {
                        limit: wanted,
                        after,
                    };
                }
                _ => return Ok(found),
            }
            length *= 4;
        }
    }

    /// Reads a page of what has the text, no further than up to a position.
    async fn stretch(
        &self,
        db: &mut Db<'_>,
        (text, upto): (Option<&str>, Option<&Position>),
        sort: Sort,
        page: &Page,
    ) -> Result<Vec<Prospect>> {
        let gathered = sort == Sort::Name && self.are_few(db).await?;
        let order = order(sort, gathered);
        let mut sql = Sql::new("");
        let restrict = |sql: &mut Sql| {
            if let Some(text) = text {
                search::compare(sql, text);
            }
            order.begin(sql, page);
            if let Some(Position { key, id }) = upto {
                sql.filter(not_behind(sort), args![key.clone(), id.as_str()]);
            }
        };
        if sort == Sort::Name {
            sql.select(select!(""));
            if gathered {
                self.gather(&mut sql);
            } else {
                self.pick(&mut sql);
            }
            restrict(&mut sql);
        } else {
            let end = (order, page.limit + 1);
            self.merge(&mut sql, select!(""), restrict, end);
        }
        order.end(&mut sql, page.limit + 1);
        let (sql, args) = sql.build();
        parsed(db.fetch::<Row>(sql, args).await?)
    }

    /// The position so many records further on than where a page begins.
    async fn position(
        &self,
        db: &mut Db<'_>,
        sort: Sort,
        page: &Page,
        ahead: i64,
    ) -> Result<Option<Position>> {
        let order = order(sort, false);
        let select = match sort {
            Sort::Updated => "SELECT updated_ms, id FROM prospect",
            Sort::Created(_) | Sort::Name => "SELECT created_ms, id FROM prospect",
        };
        let mut sql = Sql::new("");
        let begin = |sql: &mut Sql| order.begin(sql, page);
        self.merge(&mut sql, select, begin, (order, ahead));
        order.end(&mut sql, 1);
        sql.push(" OFFSET ?", args![ahead - 1]);
        let (sql, args) = sql.build();
        let found: Option<(i64, String)> = db.fetch_one(sql, args).await?;
        Ok(found.map(|(at, id)| Position {
            key: SortKey::Int(at),
            id,
        }))
    }

    /// Selects from each run what is asked of it, and of that no more than the first records.
    fn merge(
        &self,
        sql: &mut Sql,
        select: &'static str,
        restrict: impl Fn(&mut Sql),
        (order, first): (Order, i64),
    ) {
        for key in &self.keys {
            if self.bounded {
                sql.select("(");
                sql.push(select, args![]);
            } else {
                sql.select(select);
            }
            sql.filter(self.filter.scope().run_is(), args![key.as_str()]);
            restrict(sql);
            if self.bounded {
                order.end(sql, first);
                sql.push(")", args![]);
            }
        }
    }
}

/// Keeps to what is asked for, and to what the caller may see, whatever is asked for.
pub(super) fn filter_owner(sql: &mut Sql, owner: Option<&OwnerFilter>, visible_to: Option<&Id>) {
    match Scope::of(owner, visible_to) {
        Scope::Everybodys => {}
        Scope::Of("") => sql.filter("owner_id IS NULL", args![]),
        Scope::Of(owner) => sql.filter("owner_id = ?", args![owner]),
        Scope::Nothing => sql.filter("1 = 0", args![]),
    }
}

/// Lists prospects.
///
/// # Errors
/// [`super::Error::Database`], [`super::Error::Corrupt`].
pub async fn list(
    db: &mut Db<'_>,
    filter: &Filter,
    sort: Sort,
    page: Page,
) -> Result<Found<Prospect>> {
    let runs = Runs::of(db, filter).await?;
    let total = runs.known;
    if total == 0 {
        let items = Vec::new();
        return Ok(Found { items, total });
    }
    if let Some(text) = &filter.search {
        return search::list(db, &runs, text, sort, page).await;
    }
    let items = runs.read(db, None, sort, &page).await?;
    Ok(Found { items, total })
}

/// The order of a page. What is gathered is sorted by what no index has.
const fn order(sort: Sort, gathered: bool) -> Order {
    let (behind, by) = match sort {
        Sort::Created(Direction::Descending) => (
            "(created_ms, id) < (?, ?)",
            " ORDER BY created_ms DESC, id DESC LIMIT ?",
        ),
        Sort::Created(Direction::Ascending) => (
            "(created_ms, id) > (?, ?)",
            " ORDER BY created_ms, id LIMIT ?",
        ),
        Sort::Updated => (
            "(updated_ms, id) < (?, ?)",
            " ORDER BY updated_ms DESC, id DESC LIMIT ?",
        ),
        Sort::Name if gathered => (
            "(name_key || '', id || '') > (?, ?)",
            " ORDER BY name_key || '', id LIMIT ?",
        ),
        Sort::Name => ("(name_key, id) > (?, ?)", " ORDER BY name_key, id LIMIT ?"),
    };
    Order { behind, by }
}

/// The condition for what does not come behind a position of a merged list.
const fn not_behind(sort: Sort) -> &'static str {
    match sort {
        Sort::Created(Direction::Ascending) => "(created_ms, id) <= (?, ?)",
        Sort::Updated => "(updated_ms, id) >= (?, ?)",
        Sort::Created(Direction::Descending) | Sort::Name => "(created_ms, id) >= (?, ?)",
    }
}

/// The value a prospect has in a sorted list.
#[must_use]
pub fn sort_key(prospect: &Prospect, sort: Sort) -> SortKey {
    match sort {
        Sort::Created(_) => SortKey::Int(prospect.created_ms),
        Sort::Updated => SortKey::Int(prospect.updated_ms),
        Sort::Name => SortKey::Text(prospect.name_key()),
    }
}
