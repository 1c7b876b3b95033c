//! Prospects in the database.

use std::collections::HashMap;

use super::counts::{self, Change, Counted, Which};
use super::error::{Error, Result};
use super::inserts::{Insert, new_and_changed};
use super::json;
use super::listing;
pub use super::listing::{Filter, OwnerFilter, list};
use super::paging::{Direction, Page, Position};
use super::record::record;
use super::search;
pub use super::sorting::{Sort, sort_key};
use super::sql::{Arg, Db, args};
use crate::domain::email::Email;
use crate::domain::ids::Id;
use crate::domain::prospect::{FoldKey, Prospect, ProspectStatus};
use crate::domain::source::Source;

record! {
    /// A row as the columns of [`select`] are read.
    pub(super) struct Row {
        id: String,
        owner_id: Option<String>,
        conversation_id: String,
        firstname: Option<String>,
        lastname: Option<String>,
        email: String,
        phone: Option<String>,
        company: Option<String>,
        status: String,
        source: String,
        notes: Option<String>,
        timezone: Option<String>,
        tracking: String,
        last_booking_ms: Option<i64>,
        edited: String,
        profile: String,
        fold_owner_id: Option<String>,
        fold_email_key: Option<String>,
        form_only: bool,
        created_ms: i64,
        updated_ms: i64,
        version: i64,
    }
}

/// The columns a [`Row`] is read from, and more that a statement sorts by.
macro_rules! select {
    ($tail:literal) => {
        select!("", $tail)
    };
    ($more:literal, $tail:literal) => {
        concat!(
            "SELECT id, owner_id, conversation_id, firstname, lastname, email, phone, company, \
             status, source, notes, timezone, tracking, last_booking_ms, edited, profile, \
             fold_owner_id, fold_email_key, form_only, created_ms, updated_ms, version",
            $more,
            " FROM prospect",
            $tail
        )
    };
}
pub(super) use select;

impl TryFrom<Row> for Prospect {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let fold_owner = row.fold_owner_id.map(Id::from_stored);
        let fold_key = row.fold_email_key.map(|email_key| FoldKey {
            owner_id: fold_owner,
            email_key,
        });
        Ok(Self {
            id: Id::from_stored(row.id),
            owner_id: row.owner_id.map(Id::from_stored),
            conversation_id: Id::from_stored(row.conversation_id),
            firstname: row.firstname,
            lastname: row.lastname,
            email: Email::from_stored(row.email),
            phone: row.phone,
            company: row.company,
            status: ProspectStatus::from_name(&row.status).ok_or(Error::Corrupt("a prospect"))?,
            source: Source::from_name(&row.source).ok_or(Error::Corrupt("a prospect"))?,
            notes: row.notes,
            timezone: row.timezone,
            tracking: json::read(&row.tracking, "a prospect's tracking")?,
            last_booking_ms: row.last_booking_ms,
            edited: json::read(&row.edited, "a prospect's edits")?,
            profile: json::read(&row.profile, "a prospect's profile")?,
            fold_key,
            form_only: row.form_only,
            created_ms: row.created_ms,
            updated_ms: row.updated_ms,
            version: row.version,
        })
    }
}

pub(super) fn parsed(rows: Vec<Row>) -> Result<Vec<Prospect>> {
    rows.into_iter().map(Prospect::try_from).collect()
}

/// Finds a prospect.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn find(db: &mut Db<'_>, id: &Id) -> Result<Option<Prospect>> {
    let row: Option<Row> = db.fetch_one(select!(" WHERE id = $1"), args![id]).await?;
    row.map(Prospect::try_from).transpose()
}

/// Finds the prospect of an owner with an address, in the form that compares equal.
///
/// # Errors
/// As [`find`].
pub async fn find_by_email(
    db: &mut Db<'_>,
    owner_id: Option<&Id>,
    email_key: &str,
) -> Result<Option<Prospect>> {
    let sql = select!(" WHERE COALESCE(owner_id, '') = $1 AND email_key = $2");
    let owner = owner_id.map_or("", Id::as_str);
    let row: Option<Row> = db.fetch_one(sql, args![owner, email_key]).await?;
    row.map(Prospect::try_from).transpose()
}

/// Reads prospects by id.
///
/// # Errors
/// As [`find`].
pub async fn by_ids(db: &mut Db<'_>, ids: impl IntoIterator<Item = &Id>) -> Result<Vec<Prospect>> {
    let ids = ids.into_iter().map(Id::as_str);
    parsed(db.fetch_in(select!(" WHERE id IN {keys}"), ids).await?)
}

/// Reads the prospects at some positions of a list, in their order.
///
/// # Errors
/// As [`find`].
pub(super) async fn by_positions(
    db: &mut Db<'_>,
    positions: Vec<Position>,
) -> Result<Vec<Prospect>> {
    let ids: Vec<Id> = positions
        .into_iter()
        .map(|at| Id::from_stored(at.id))
        .collect();
    let found = by_ids(db, &ids).await?;
    let mut found: HashMap<Id, Prospect> = found.into_iter().map(|p| (p.id.clone(), p)).collect();
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// Prospects that have one of the addresses, or that webhooks know by one. Two halves, because for
/// an OR SQLite makes and drops a table to keep what it has found. The second is worded as the index
/// is, which holds only those that differ.
pub(super) const BY_ADDRESSES: &str = concat!(
    select!(" WHERE email_key IN {keys} UNION ALL "),
    select!(" WHERE fold_email_key IN {keys} AND fold_email_key <> email_key"),
);

/// Reads prospects that have one of the addresses, or that webhooks know by one.
///
/// # Errors
/// As [`find`].
pub async fn by_addresses<'k>(
    db: &mut Db<'_>,
    email_keys: impl IntoIterator<Item = &'k str>,
) -> Result<Vec<Prospect>> {
    parsed(db.fetch_in(BY_ADDRESSES, email_keys).await?)
}

/// Reads prospects by id, those behind `last`, or from the first on.
///
/// # Errors
/// As [`find`].
pub async fn behind(db: &mut Db<'_>, last: Option<&Id>, limit: i64) -> Result<Vec<Prospect>> {
    let last = last.map_or("", Id::as_str);
    let sql = select!(" WHERE id > $1 ORDER BY id LIMIT $2");
    parsed(db.fetch(sql, args![last, limit]).await?)
}

/// The next prospects behind an address and owner (empty for nobody), before the address `end`,
/// in the order of the index.
///
/// # Errors
/// As [`find`].
pub async fn in_address_range(
    db: &mut Db<'_>,
    after: (&str, &str),
    end: &str,
    limit: i64,
) -> Result<Vec<Prospect>> {
    let sql = select!(
        " WHERE (email_key, COALESCE(owner_id, '')) > ($1, $2) AND email_key < $3 \
         ORDER BY email_key, COALESCE(owner_id, '') LIMIT $4"
    );
    parsed(db.fetch(sql, args![after.0, after.1, end, limit]).await?)
}

/// Writes prospects, new ones (version 0) and changed ones. A changed one is written only when
/// the row still has the version it was read with.
///
/// # Errors
/// [`Error::Conflict`] when a row was changed meanwhile or a unique value is taken.
pub async fn write(db: &mut Db<'_>, prospects: &[&Prospect]) -> Result<()> {
    let mut change = Change::default();
    let upsert = upsert(db, prospects, &mut change).await?;
    db.insert(upsert.into_iter().chain([change.insert()]).collect())
        .await
}

/// What writes prospects; `change` is told what that does to the counts.
pub(super) async fn upsert(
    db: &mut Db<'_>,
    prospects: &[&Prospect],
    change: &mut Change,
) -> Result<[Insert; 2]> {
    let there = prospects.iter().filter(|p| p.version > 0);
    let there: Vec<&Id> = there.map(|p| &p.id).collect();
    change.leave_prospects(db, &there).await?;
    for prospect in prospects {
        change.enter_prospect(prospect);
    }
    let head = "INSERT INTO prospect (id, owner_id, conversation_id, firstname, lastname, email, \
        email_key, phone, company, status, source, run, owner_run, notes, timezone, tracking, \
        last_booking_ms, edited, profile, fold_owner_id, fold_email_key, form_only, name_key, \
        search_text, created_ms, updated_ms, version)";
    let tail = "ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id, \
        firstname = excluded.firstname, lastname = excluded.lastname, email = excluded.email, \
        email_key = excluded.email_key, phone = excluded.phone, company = excluded.company, \
        status = excluded.status, run = excluded.run, owner_run = excluded.owner_run, \
        notes = excluded.notes, timezone = excluded.timezone, tracking = excluded.tracking, \
        last_booking_ms = excluded.last_booking_ms, edited = excluded.edited, \
        profile = excluded.profile, fold_owner_id = excluded.fold_owner_id, \
        fold_email_key = excluded.fold_email_key, form_only = excluded.form_only, \
        name_key = excluded.name_key, \
        search_text = excluded.search_text, updated_ms = excluded.updated_ms, \
        version = excluded.version WHERE prospect.version = excluded.version - 1";
    let rows = prospects.iter().map(|p| (p.version == 0, row_of(p)));
    Ok(new_and_changed(head, tail, rows))
}

fn row_of(p: &Prospect) -> Vec<Arg> {
    let owner = p.owner_id.as_ref().map_or("", Id::as_str);
    let (status, source) = (p.status.name(), p.source.name());
    let fold_owner = p.fold_key.as_ref().and_then(|key| key.owner_id.as_ref());
    let fold_email = p.fold_key.as_ref().map(|key| key.email_key.as_str());
    args![
        &p.id,
        p.owner_id.as_ref(),
        &p.conversation_id,
        p.firstname.as_deref(),
        p.lastname.as_deref(),
        p.email.as_str(),
        p.email.key(),
        p.phone.as_deref(),
        p.company.as_deref(),
        status,
        source,
        listing::run(status, source),
        listing::owner_run(owner, status, source),
        p.notes.as_deref(),
        p.timezone.as_deref(),
        json::write(&p.tracking),
        p.last_booking_ms,
        json::write(&p.edited),
        json::write(&p.profile),
        fold_owner,
        fold_email,
        p.form_only,
        p.name_key(),
        p.search_text(),
        p.created_ms,
        p.updated_ms,
        p.version + 1,
    ]
}

/// Deletes a prospect that still has the version it was read with.
///
/// # Errors
/// [`Error::Conflict`] when it was changed meanwhile or still has proposals.
pub async fn delete(db: &mut Db<'_>, prospect: &Prospect) -> Result<()> {
    let sql = "DELETE FROM prospect WHERE id = $1 AND version = $2";
    let mut change = Change::default();
    change.leave_prospects(db, &[&prospect.id]).await?;
    search::forget(db, &[&prospect.id]).await?;
    match db
        .execute(sql, args![&prospect.id, prospect.version])
        .await?
    {
        1 => change.write(db).await,
        _ => Err(Error::Conflict(None)),
    }
}

/// How many prospects there are by status, where there are any.
///
/// # Errors
/// [`Error::Database`].
pub async fn counts(db: &mut Db<'_>, visible_to: Option<&Id>) -> Result<Vec<(String, i64)>> {
    let which = Which::all(Counted::Prospect).of(visible_to.map(Id::as_str));
    counts::by_status(db, which).await
}

/// A few prospects of an owner, to hand over before the user goes.
///
/// # Errors
/// As [`find`].
pub async fn some_of_owner(db: &mut Db<'_>, owner: &Id, limit: i64) -> Result<Vec<Prospect>> {
    let filter = Filter {
        owner: Some(OwnerFilter::User(owner.clone())),
        ..Filter::default()
    };
    let page = Page { limit, after: None };
    let found = list(db, &filter, Sort::Created(Direction::Ascending), page).await?;
    Ok(found.items)
}
