//! Proposals in the database.

use std::ops::Range;

use super::counts::{Change, Counted, Which};
use super::error::{Error, Result};
use super::inserts::{Insert, new_and_changed};
use super::json;
use super::listing::{OwnerFilter, Scope, filter_owner};
use super::paging::{self, Direction, Found, Order, Page, SortKey};
use super::record::record;
use super::sql::{Arg, Db, Sql, args};
use crate::domain::ids::Id;
use crate::domain::invitee::InviteeUri;
use crate::domain::profile::Tracking;
use crate::domain::proposal::{Appointment, NoShow, Proposal, ProposalStatus};
use crate::domain::source::Source;
use crate::domain::statistics::Tally;
use crate::domain::time::UtcMs;

record! {
    struct Row {
        id: String,
        prospect_id: String,
        conversation_id: String,
        owner_id: Option<String>,
        status: String,
        title: Option<String>,
        start_ms: Option<i64>,
        end_ms: Option<i64>,
        timezone: Option<String>,
        location: Option<String>,
        hosts: String,
        guests: String,
        answers: String,
        tracking: String,
        cancellation: Option<String>,
        no_show_ms: Option<i64>,
        history: String,
        cancel_url: Option<String>,
        reschedule_url: Option<String>,
        source: String,
        decisions: String,
        edited: String,
        current_invitee: Option<String>,
        created_ms: i64,
        updated_ms: i64,
        version: i64,
    }
}

/// The columns a [`Row`] is read from.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, prospect_id, conversation_id, owner_id, status, title, start_ms, end_ms, \
             timezone, location, hosts, guests, answers, tracking, cancellation, no_show_ms, \
             history, cancel_url, reschedule_url, source, decisions, edited, current_invitee, \
             created_ms, updated_ms, version FROM proposal",
            $tail
        )
    };
}

impl TryFrom<Row> for Proposal {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        const WHAT: &str = "a proposal";
        let appointment = Appointment {
            status: ProposalStatus::from_name(&row.status).ok_or(Error::Corrupt(WHAT))?,
            title: row.title,
            start_time: row.start_ms.map(UtcMs),
            end_time: row.end_ms.map(UtcMs),
            timezone: row.timezone,
            location: json::read_option(row.location.as_deref(), WHAT)?,
            hosts: json::read(&row.hosts, WHAT)?,
            guests: json::read(&row.guests, WHAT)?,
            answers: json::read(&row.answers, WHAT)?,
            tracking: json::read(&row.tracking, WHAT)?,
            cancellation: json::read_option(row.cancellation.as_deref(), WHAT)?,
            no_show: row.no_show_ms.map(|at| NoShow { at: UtcMs(at) }),
            history: json::read(&row.history, WHAT)?,
            cancel_url: row.cancel_url,
            reschedule_url: row.reschedule_url,
        };
        Ok(Self {
            id: Id::from_stored(row.id),
            prospect_id: Id::from_stored(row.prospect_id),
            conversation_id: Id::from_stored(row.conversation_id),
            owner_id: row.owner_id.map(Id::from_stored),
            appointment,
            source: Source::from_name(&row.source).ok_or(Error::Corrupt(WHAT))?,
            decisions: json::read(&row.decisions, WHAT)?,
            edited: json::read(&row.edited, WHAT)?,
            current_invitee: row.current_invitee.map(InviteeUri),
            created_ms: row.created_ms,
            updated_ms: row.updated_ms,
            version: row.version,
        })
    }
}

fn parsed(rows: Vec<Row>) -> Result<Vec<Proposal>> {
    rows.into_iter().map(Proposal::try_from).collect()
}

/// Finds a proposal.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn find(db: &mut Db<'_>, id: &Id) -> Result<Option<Proposal>> {
    let row: Option<Row> = db.fetch_one(select!(" WHERE id = $1"), args![id]).await?;
    row.map(Proposal::try_from).transpose()
}

/// Reads proposals by id.
///
/// # Errors
/// As [`find`].
pub async fn by_ids(db: &mut Db<'_>, ids: impl IntoIterator<Item = &Id>) -> Result<Vec<Proposal>> {
    let ids = ids.into_iter().map(Id::as_str);
    parsed(db.fetch_in(select!(" WHERE id IN {keys}"), ids).await?)
}

/// Reads all proposals of the prospects.
///
/// # Errors
/// As [`find`].
pub async fn by_prospects(
    db: &mut Db<'_>,
    prospects: impl IntoIterator<Item = &Id>,
) -> Result<Vec<Proposal>> {
    let ids = prospects.into_iter().map(Id::as_str);
    parsed(
        db.fetch_in(select!(" WHERE prospect_id IN {keys}"), ids)
            .await?,
    )
}

/// Reads proposals by id, those behind `last`, or from the first on.
///
/// # Errors
/// As [`find`].
pub async fn behind(db: &mut Db<'_>, last: Option<&Id>, limit: i64) -> Result<Vec<Proposal>> {
    let last = last.map_or("", Id::as_str);
    let sql = select!(" WHERE id > $1 ORDER BY id LIMIT $2");
    parsed(db.fetch(sql, args![last, limit]).await?)
}

/// Writes proposals, new ones (version 0) and changed ones. A changed one is written only when
/// the row still has the version it was read with.
///
/// # Errors
/// [`Error::Conflict`] when a row was changed meanwhile or its prospect is gone.
pub async fn write(db: &mut Db<'_>, proposals: &[&Proposal]) -> Result<()> {
    let mut change = Change::default();
    let upsert = upsert(db, proposals, &mut change).await?;
    db.insert(upsert.into_iter().chain([change.insert()]).collect())
        .await
}

/// What writes proposals; `change` is told what that does to the counts.
pub(super) async fn upsert(
    db: &mut Db<'_>,
    proposals: &[&Proposal],
    change: &mut Change,
) -> Result<[Insert; 2]> {
    let there = proposals.iter().filter(|p| p.version > 0);
    let there: Vec<&Id> = there.map(|p| &p.id).collect();
    change.leave_proposals(db, &there).await?;
    for proposal in proposals {
        change.enter_proposal(proposal);
    }
    let head = "INSERT INTO proposal (id, prospect_id, conversation_id, owner_id, status, title, \
        start_ms, end_ms, timezone, location, hosts, guests, answers, tracking, cancellation, \
        no_show_ms, history, cancel_url, reschedule_url, source, decisions, edited, \
        current_invitee, created_ms, updated_ms, version)";
    let tail = "ON CONFLICT (id) DO UPDATE SET prospect_id = excluded.prospect_id, \
        conversation_id = excluded.conversation_id, owner_id = excluded.owner_id, \
        status = excluded.status, title = excluded.title, start_ms = excluded.start_ms, \
        end_ms = excluded.end_ms, timezone = excluded.timezone, location = excluded.location, \
        hosts = excluded.hosts, guests = excluded.guests, answers = excluded.answers, \
        tracking = excluded.tracking, cancellation = excluded.cancellation, \
        no_show_ms = excluded.no_show_ms, history = excluded.history, \
        cancel_url = excluded.cancel_url, reschedule_url = excluded.reschedule_url, \
        decisions = excluded.decisions, edited = excluded.edited, \
        current_invitee = excluded.current_invitee, updated_ms = excluded.updated_ms, \
        version = excluded.version WHERE proposal.version = excluded.version - 1";
    let rows = proposals.iter().map(|p| (p.version == 0, row_of(p)));
    Ok(new_and_changed(head, tail, rows))
}

fn row_of(p: &Proposal) -> Vec<Arg> {
    let a = &p.appointment;
    args![
        &p.id,
        &p.prospect_id,
        &p.conversation_id,
        p.owner_id.as_ref(),
        a.status.name(),
        a.title.as_deref(),
        a.start_time.map(|at| at.0),
        a.end_time.map(|at| at.0),
        a.timezone.as_deref(),
        a.location.as_ref().map(json::write),
        json::write(&a.hosts),
        json::write(&a.guests),
        json::write(&a.answers),
        json::write(&a.tracking),
        a.cancellation.as_ref().map(json::write),
        a.no_show.map(|mark| mark.at.0),
        json::write(&a.history),
        a.cancel_url.as_deref(),
        a.reschedule_url.as_deref(),
        p.source.name(),
        json::write(&p.decisions),
        json::write(&p.edited),
        p.current_invitee.as_ref().map(|uri| uri.0.as_str()),
        p.created_ms,
        p.updated_ms,
        p.version + 1,
    ]
}

/// Deletes a proposal that still has the version it was read with, and lets later deliveries
/// about its bookings know that a person did so.
///
/// # Errors
/// [`Error::Conflict`] when it was changed meanwhile.
pub async fn dismiss(db: &mut Db<'_>, proposal: &Proposal) -> Result<()> {
    // One that is only named by another, and never came itself, is nobody's to dismiss.
    let forget = "UPDATE invitee SET dismissed = $1, prospect_id = NULL \
        WHERE proposal_id = $2 AND prospect_id IS NOT NULL";
    db.execute(forget, args![true, &proposal.id]).await?;
    delete(db, proposal).await
}

/// Deletes a proposal that still has the version it was read with.
///
/// # Errors
/// [`Error::Conflict`] when it was changed meanwhile.
async fn delete(db: &mut Db<'_>, proposal: &Proposal) -> Result<()> {
    let sql = "DELETE FROM proposal WHERE id = $1 AND version = $2";
    let mut change = Change::default();
    change.leave_proposals(db, &[&proposal.id]).await?;
    match db
        .execute(sql, args![&proposal.id, proposal.version])
        .await?
    {
        1 => change.write(db).await,
        _ => Err(Error::Conflict(None)),
    }
}

/// What a list of proposals is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// When it was made.
    Created(Direction),
    /// When it changed.
    Updated,
    /// When the meeting starts; meetings without a time count as the earliest.
    Start(Direction),
}

/// Which proposals a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only with this status.
    pub status: Option<ProposalStatus>,
    /// Only this prospect's.
    pub prospect_id: Option<Id>,
    /// Only this owner's.
    pub owner: Option<OwnerFilter>,
    /// Only what this user owns, whatever else is asked: what a member may see.
    pub visible_to: Option<Id>,
    /// Only that start at this moment or later.
    pub from: Option<UtcMs>,
    /// Only that start before this moment.
    pub to: Option<UtcMs>,
}

impl Filter {
    /// How many there are, when that is kept.
    async fn known(&self, db: &mut Db<'_>) -> Result<Option<i64>> {
        if self.prospect_id.is_some() || self.from.is_some() || self.to.is_some() {
            return Ok(None);
        }
        let scope = Scope::of(self.owner.as_ref(), self.visible_to.as_ref());
        let which = Which {
            status: self.status.map(ProposalStatus::name),
            ..Which::all(Counted::Proposal)
        };
        scope.total(db, which).await.map(Some)
    }

    fn apply(&self, sql: &mut Sql) {
        if let Some(status) = self.status {
            sql.filter("status = ?", args![status.name()]);
        }
        if let Some(prospect) = &self.prospect_id {
            sql.filter("prospect_id = ?", args![prospect]);
        }
        filter_owner(sql, self.owner.as_ref(), self.visible_to.as_ref());
        if let Some(from) = self.from {
            sql.filter("COALESCE(start_ms, 0) >= ?", args![from.0]);
        }
        if let Some(to) = self.to {
            sql.filter("COALESCE(start_ms, 0) < ?", args![to.0]);
        }
        if self.from.is_some() || self.to.is_some() {
            // Two conditions, because the index has the first.
            sql.filter("start_ms IS NOT NULL", args![]);
        }
    }
}

/// Lists proposals.
///
/// # Errors
/// As [`find`].
pub async fn list(
    db: &mut Db<'_>,
    filter: &Filter,
    sort: Sort,
    page: Page,
) -> Result<Found<Proposal>> {
    let total = if let Some(known) = filter.known(db).await? {
        known
    } else {
        let mut count = Sql::new("SELECT CAST(COUNT(*) AS BIGINT) FROM proposal");
        filter.apply(&mut count);
        paging::count(db, count).await?
    };
    let mut sql = Sql::new(select!(""));
    filter.apply(&mut sql);
    let (behind, by) = match sort {
        Sort::Created(Direction::Descending) => (
            "(created_ms, id) < (?, ?)",
            " ORDER BY created_ms DESC, id DESC",
        ),
        Sort::Created(Direction::Ascending) => {
            ("(created_ms, id) > (?, ?)", " ORDER BY created_ms, id")
        }
        Sort::Updated => (
            "(updated_ms, id) < (?, ?)",
            " ORDER BY updated_ms DESC, id DESC",
        ),
        Sort::Start(Direction::Descending) => (
            "(COALESCE(start_ms, 0), id) < (?, ?)",
            " ORDER BY COALESCE(start_ms, 0) DESC, id DESC",
        ),
        Sort::Start(Direction::Ascending) => (
            "(COALESCE(start_ms, 0), id) > (?, ?)",
            " ORDER BY COALESCE(start_ms, 0), id",
        ),
    };
    paging::read::<Row>(db, total, sql, Order { behind, by }, page)
        .await?
        .parsed()
}

record! {
    struct TallyRow {
        status: String,
        title: Option<String>,
        tracking: String,
        bookings: i64,
    }
}

/// Counts the proposals that bookings made within a stretch of time, an owner's or all.
///
/// # Errors
/// As [`find`].
pub async fn tally(db: &mut Db<'_>, owner: Option<&Id>, made_ms: Range<i64>) -> Result<Vec<Tally>> {
    let mut sql = Sql::new(
        "SELECT status, title, tracking, CAST(COUNT(*) AS BIGINT) AS bookings FROM proposal",
    );
    sql.filter("created_ms >= ?", args![made_ms.start]);
    sql.filter("created_ms < ?", args![made_ms.end]);
    if let Some(owner) = owner {
        sql.filter("owner_id = ?", args![owner]);
    }
    sql.filter("source = ?", args![Source::Calendly.name()]);
    sql.push(" GROUP BY status, title, tracking", args![]);
    let (text, args) = sql.build();
    let read = |row: TallyRow| {
        let tracking: Tracking = json::read(&row.tracking, "a proposal's tracking")?;
        Ok(Tally {
            status: ProposalStatus::from_name(&row.status).ok_or(Error::Corrupt("a proposal"))?,
            title: row.title,
            source: tracking.utm_source,
            bookings: row.bookings,
        })
    };
    db.fetch(text, args).await?.into_iter().map(read).collect()
}

/// The value a proposal has in a sorted list.
#[must_use]
pub fn sort_key(proposal: &Proposal, sort: Sort) -> SortKey {
    SortKey::Int(match sort {
        Sort::Created(_) => proposal.created_ms,
        Sort::Updated => proposal.updated_ms,
        Sort::Start(_) => proposal.appointment.start_time.map_or(0, |at| at.0),
    })
}
