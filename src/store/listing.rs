//! Lists of prospects: whose, in which order, and by which index.
//!
//! At a million records a page must come from an index that has its order, or it takes a second.
//! Neither database always finds that index by itself: without statistics SQLite takes any
//! column it has an index of, and Postgres misjudges values that are rare or bunched. So each
//! condition is written so that an index can be used for it, or so that SQLite uses none: as
//! `NOT a <> b`, which Postgres reads as `a = b`, with what it knows of how often that is so.

use super::counts::{self, Counted, Which};
use super::error::Result;
use super::paging::{self, Direction, Found, Order, Page, SortKey};
use super::prospects::{Row, select};
use super::search;
use super::sql::{Db, Sql, args};
use crate::domain::ids::Id;
use crate::domain::prospect::{Prospect, ProspectStatus};
use crate::domain::source::Source;

/// Up to so many records are rather gathered and sorted than looked for in the list's order.
const FEW: i64 = 1000;

/// So many records of a page are looked for among those of others, where an order has no index
/// of one owner's; when an owner has fewer in all than would be passed over, they are gathered.
const PAGE: i64 = 51;

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

/// How a condition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// So that the records come in this order, from an index that also knows the condition.
    InOrder(Sort),
    /// So that an index finds the few there are; they are sorted then.
    Gathered,
}

impl Filter {
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope::of(self.owner.as_ref(), self.visible_to.as_ref())
    }

    /// How many there are, whatever is searched for.
    async fn known(&self, db: &mut Db<'_>) -> Result<i64> {
        let which = Which {
            status: self.status.map(ProspectStatus::name),
            kind: self.source.map(Source::name),
            ..Which::all(Counted::Prospect)
        };
        self.scope().total(db, which).await
    }

    /// The form for a page of a list of `known` records.
    async fn form(&self, db: &mut Db<'_>, sort: Sort, known: i64) -> Result<Form> {
        let narrow = self.status.is_some() || self.source.is_some_and(is_rare_source);
        let gather = match (sort, self.scope()) {
            (Sort::Created(_), _) => false,
            _ if narrow && known <= FEW => true,
            // By name and by change there is only one index, of all owners' records.
            (_, scope @ Scope::Of(_)) => {
                let any = Which::all(Counted::Prospect);
                let owned = scope.total(db, any).await?;
                let all = Scope::Everybodys.total(db, any).await?;
                owned <= PAGE * all / known.max(1)
            }
            _ => false,
        };
        Ok(if gather {
            Form::Gathered
        } else {
            Form::InOrder(sort)
        })
    }

    /// Adds the conditions, but for the search.
    pub(super) fn apply(&self, sql: &mut Sql, form: Form) {
        let status = self.status.map(ProspectStatus::name);
        let status_leads = self.status.is_some_and(|status| match form {
            Form::InOrder(Sort::Created(_)) | Form::Gathered => true,
            Form::InOrder(Sort::Updated) => status != ProspectStatus::New,
            Form::InOrder(Sort::Name) => false,
        });
        let source_leads = !status_leads
            && self.source.is_some_and(is_rare_source)
            && form != Form::InOrder(Sort::Name);
        let by_all = !status_leads
            && !source_leads
            && matches!(form, Form::InOrder(Sort::Updated | Sort::Name));
        let by_owner = form == Form::InOrder(Sort::Created(Direction::Ascending))
            || form == Form::InOrder(Sort::Created(Direction::Descending));
        match self.scope() {
            Scope::Everybodys => {}
            Scope::Of(owner) if by_all => {
                sql.filter("NOT COALESCE(owner_id, '') <> ?", args![owner]);
            }
            Scope::Of("") if by_owner && !status_leads && !source_leads => {
                sql.filter("owner_id IS NULL", args![]);
            }
            Scope::Of(owner) if by_owner && !status_leads && !source_leads => {
                sql.filter("owner_id = ?", args![owner]);
            }
            Scope::Of(owner) => sql.filter("COALESCE(owner_id, '') = ?", args![owner]),
            Scope::Nothing => sql.filter("1 = 0", args![]),
        }
        let by_updated = form == Form::InOrder(Sort::Updated);
        match status {
            Some(status) if status_leads && by_updated => {
                sql.filter("status = ? AND status <> 'new'", args![status]);
            }
            Some(status) if status_leads => sql.filter("status = ?", args![status]),
            Some(status) => sql.filter("NOT status <> ?", args![status]),
            None => {}
        }
        match self.source.map(Source::name) {
            Some(source) if source_leads => {
                sql.filter("source = ? AND source <> 'calendly'", args![source]);
            }
            Some(source) => sql.filter("NOT source <> ?", args![source]),
            None => {}
        }
    }
}

/// Whether an index has the records of this source; webhooks, which make the most, are spared it.
fn is_rare_source(source: Source) -> bool {
    source != Source::Calendly
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
    let total = filter.known(db).await?;
    if total == 0 {
        let items = Vec::new();
        return Ok(Found { items, total });
    }
    if let Some(text) = &filter.search {
        return search::list(db, filter, text, sort, page, total).await;
    }
    let form = filter.form(db, sort, total).await?;
    let mut sql = Sql::new(select!(""));
    filter.apply(&mut sql, form);
    paging::read::<Row>(db, total, sql, order(sort, form), page)
        .await?
        .parsed()
}

/// The order of a page, from an index that has it or by sorting.
pub(super) fn order(sort: Sort, form: Form) -> Order {
    let (behind, by) = match (sort, form) {
        (Sort::Created(Direction::Descending), _) => (
            "(created_ms, id) < (?, ?)",
            " ORDER BY created_ms DESC, id DESC LIMIT ?",
        ),
        (Sort::Created(Direction::Ascending), _) => (
            "(created_ms, id) > (?, ?)",
            " ORDER BY created_ms, id LIMIT ?",
        ),
        (Sort::Updated, Form::InOrder(_)) => (
            "(updated_ms, id) < (?, ?)",
            " ORDER BY updated_ms DESC, id DESC LIMIT ?",
        ),
        (Sort::Updated, _) => (
            "(updated_ms + 0, id || '') < (?, ?)",
            " ORDER BY updated_ms + 0 DESC, id DESC LIMIT ?",
        ),
        (Sort::Name, Form::InOrder(_)) => {
            ("(name_key, id) > (?, ?)", " ORDER BY name_key, id LIMIT ?")
        }
        (Sort::Name, _) => (
            "(name_key || '', id || '') > (?, ?)",
            " ORDER BY name_key || '', id LIMIT ?",
        ),
    };
    Order { behind, by }
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
