//! Lists of prospects: whose, in which order, and by which index.
//!
//! At a million records a page must come from an index that has its order, or it takes a second.
//! An index for each order of each filter would cost every booking more than all its rows. So the
//! prospects of one status and source are a *run*, among all and of each owner, and stand in an
//! index by when they were made, and in another by when they were changed. The page of a list is
//! merged from the few runs it shows, of which the counts tell.
//!
//! By name there is an index of the runs of each owner alone: names come in no order, and a second
//! index would cost a booking the twentieth part of all it takes. What everybody has is merged from
//! the runs of all owners then.

use std::collections::BTreeSet;

use super::counts::{self, Counted, Which};
use super::error::Result;
use super::paging::{Found, Order, Page, Position};
use super::prospects::{self, Row, parsed, select};
use super::search;
use super::sorting::{Sort, positions};
use super::sql::{Db, Sql, args};
use crate::domain::ids::Id;
use crate::domain::prospect::{Prospect, ProspectStatus};
use crate::domain::source::Source;

/// So many runs are merged in one statement. `SQLite` takes 500 parts of a union, but larger ones
/// were no quicker.
const PARTS: usize = 64;

/// So many records the first stretch of a list has that is searched for a text.
const STRETCH: i64 = 500;

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

    /// The one owner, empty for nobody.
    pub(super) fn owner(self) -> Option<&'a str> {
        match self {
            Self::Of(owner) => Some(owner),
            Self::Everybodys | Self::Nothing => None,
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
    /// What a row has of the key of one.
    column: &'static str,
    keys: Vec<String>,
    /// Whether each run's part of a merge must say its order and limit by itself. Postgres merges
    /// what it knows to be sorted; SQLite reads the parts of a union as the merge asks for them.
    bounded: bool,
    /// How many prospects are in them, whatever is searched for.
    pub(super) known: i64,
}

impl<'a> Runs<'a> {
    pub(super) async fn of(db: &mut Db<'_>, filter: &'a Filter, sort: Sort) -> Result<Self> {
        let of_owners = filter.scope() != Scope::Everybodys || sort == Sort::Name;
        let mut found = sizes(db, filter, of_owners).await?;
        let known = found.iter().map(|(_, n)| n).sum();
        // The longest first: where a stretch ends is looked up in those that begin the list.
        found.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let keys: Vec<String> = found.into_iter().map(|(key, _)| key).collect();
        Ok(Self {
            filter,
            column: if of_owners { "owner_run" } else { "run" },
            bounded: matches!(db, Db::Postgres(_)) && keys.len() > 1,
            keys,
            known,
        })
    }

    /// Restricts a statement to them, in no order.
    pub(super) fn gather(&self, sql: &mut Sql) {
        let keys = self.keys.iter().map(String::as_str);
        // Owners may be thousands; what they all have is in a few runs among all.
        let (column, keys): (_, BTreeSet<&str>) = match self.filter.scope() {
            Scope::Everybodys if self.column == "owner_run" => {
                let behind_owner = keys.filter_map(|key| key.split_once('/'));
                ("run", behind_owner.map(|(_, run)| run).collect())
            }
            _ => (self.column, keys.collect()),
        };
        sql.filter(column, args![]);
        sql.push(" IN (", args![]);
        sql.push_list(keys.into_iter().map(Into::into).collect());
        sql.push(")", args![]);
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
            Some(text) if self.keys.len() > 1 => self.walk(db, text, sort, page).await,
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
        let end = (sort.order(), page.limit + 1);
        let restrict = |sql: &mut Sql| {
            if let Some(text) = text {
                search::compare(sql, text);
            }
            end.0.begin(sql, page);
            if let Some(Position { key, id }) = upto {
                sql.filter(sort.not_behind(), args![key.clone(), id.as_str()]);
            }
        };
        if self.keys.len() <= PARTS {
            let rows = self.merge(&self.keys, select!(", name_key", ""), restrict, end);
            let (sql, args) = rows.build();
            return parsed(db.fetch::<Row>(sql, args).await?);
        }
        let mut found = Vec::new();
        for keys in self.keys.chunks(PARTS) {
            let sql = self.merge(keys, sort.select(), restrict, end);
            found.extend(positions(db, sort, sql).await?);
        }
        found.sort_by(|a, b| sort.compare(a, b));
        found.truncate(usize::try_from(end.1).unwrap_or_default());
        prospects::by_positions(db, found).await
    }

    /// The position about so many records further on than where a page begins: in the longest of
    /// the runs, where they are too many for one statement.
    async fn position(
        &self,
        db: &mut Db<'_>,
        sort: Sort,
        page: &Page,
        ahead: i64,
    ) -> Result<Option<Position>> {
        let order = sort.order();
        let keys = &self.keys[..self.keys.len().min(PARTS)];
        let begin = |sql: &mut Sql| order.begin(sql, page);
        let mut sql = self.merge(keys, sort.select(), begin, (order, ahead));
        sql.push(" OFFSET ?", args![ahead - 1]);
        Ok(positions(db, sort, sql).await?.pop())
    }

    /// Selects from each run what is asked of it, and of all together the first so many records.
    fn merge(
        &self,
        keys: &[String],
        select: &'static str,
        restrict: impl Fn(&mut Sql),
        (order, first): (Order, i64),
    ) -> Sql {
        let mut sql = Sql::new("");
        for key in keys {
            if self.bounded {
                sql.select("(");
                sql.push(select, args![]);
            } else {
                sql.select(select);
            }
            sql.filter(self.column, args![]);
            sql.push(" = ?", args![key.as_str()]);
            restrict(&mut sql);
            if self.bounded {
                order.end(&mut sql, first);
                sql.push(")", args![]);
            }
        }
        order.end(&mut sql, first);
        sql
    }
}

/// The runs of a list, those of owners or those among all, and how long each is.
async fn sizes(db: &mut Db<'_>, filter: &Filter, of_owners: bool) -> Result<Vec<(String, i64)>> {
    let which = Which {
        status: filter.status.map(ProspectStatus::name),
        kind: filter.source.map(Source::name),
        ..Which::all(Counted::Prospect)
    };
    let which = match filter.scope() {
        Scope::Everybodys if !of_owners => {
            let found = counts::by_status_and_kind(db, which).await?;
            let sizes = found.into_iter();
            return Ok(sizes.map(|(s, k, n)| (run(&s, &k), n)).collect());
        }
        Scope::Everybodys => which,
        Scope::Of(owner) => which.of(Some(owner)),
        Scope::Nothing => return Ok(Vec::new()),
    };
    let found = counts::by_owner_status_and_kind(db, which).await?;
    let sizes = found.into_iter();
    Ok(sizes
        .map(|(o, s, k, n)| (owner_run(&o, &s, &k), n))
        .collect())
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
    let runs = Runs::of(db, filter, sort).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_more_owners_than_a_statement_takes_parameters_are_gathered_from_those_among_all() {
        let owners = 0..40_000;
        let runs = Runs {
            filter: &Filter::default(),
            column: "owner_run",
            keys: owners
                .map(|n| owner_run(&n.to_string(), "new", "calendly"))
                .collect(),
            bounded: false,
            known: 40_000,
        };
        let mut sql = Sql::new("SELECT id FROM prospect");
        runs.gather(&mut sql);
        let (text, args) = sql.build();
        assert!(text.0.contains(" run IN ("), "{}", text.0);
        assert_eq!(args.len(), 1);
    }
}
