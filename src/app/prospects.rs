//! Prospects as people list, make, change and delete them.

use super::cursor::PageQuery;
use super::{App, Error, Listed, Read, Result, head};
use crate::domain::event::{NewEvent, Seq, proposal_events, prospect_events};
use crate::domain::ids::Id;
use crate::domain::proposal::Proposal;
use crate::domain::prospect::{Prospect, ProspectStatus};
use crate::domain::prospect_edit::{NewProspect, ProspectEdit};
use crate::domain::user::Caller;
use crate::store::paging::Position;
use crate::store::prospects::{Filter, Sort, sort_key};
use crate::store::{self, Tx};

/// How many prospects there are, by status.
#[derive(Debug)]
pub struct ProspectCounts {
    /// All of them.
    pub total: i64,
    /// Each status with its number, also where that is 0.
    pub by_status: Vec<(&'static str, i64)>,
    /// The head of the log before they were counted.
    pub seq: Seq,
}

impl App {
    /// Lists the prospects a caller may see.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a foreign cursor.
    pub async fn prospects(
        &self,
        caller: &Caller,
        mut filter: Filter,
        sort: Sort,
        query: PageQuery,
    ) -> Result<Listed<Prospect>> {
        filter.visible_to = (!caller.is_admin()).then(|| caller.user_id.clone());
        let scope = format!("prospects {filter:?} {sort:?}");
        let limit = query.limit;
        let page = self.tokens.page(&scope, query)?;
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let found = store::prospects::list(&mut reader.db(), &filter, sort, page).await?;
        let position = |p: &Prospect| Position {
            key: sort_key(p, sort),
            id: p.id.to_string(),
        };
        Ok(self.listed(&scope, limit, found, seq, position))
    }

    /// Counts the prospects a caller may see.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn prospect_counts(&self, caller: &Caller) -> Result<ProspectCounts> {
        let visible_to = (!caller.is_admin()).then_some(&caller.user_id);
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let rows = store::prospects::counts(&mut reader.db(), visible_to).await?;
        let count = |status: ProspectStatus| {
            let row = rows.iter().find(|(name, _)| name == status.name());
            (status.name(), row.map_or(0, |(_, n)| *n))
        };
        let by_status: Vec<_> = ProspectStatus::ALL.into_iter().map(count).collect();
        Ok(ProspectCounts {
            total: by_status.iter().map(|(_, n)| n).sum(),
            by_status,
            seq,
        })
    }

    /// Reads a prospect.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none the caller may see.
    pub async fn prospect(&self, caller: &Caller, id: &Id) -> Result<Read<Prospect>> {
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let found = store::prospects::find(&mut reader.db(), id).await?;
        let record = found
            .filter(|p| caller.may_see(p.owner_id.as_ref()))
            .ok_or(Error::NotFound)?;
        Ok(Read { record, seq })
    }

    /// Makes a prospect. Without an owner in the request a member's is the member's, an admin's
    /// is nobody's.
    ///
    /// # Errors
    /// [`Error::Conflict`] `prospect_exists`, [`Error::Forbidden`] when a member names another
    /// owner, [`Error::Invalid`] when the owner is nobody.
    pub async fn create_prospect(&self, caller: &Caller, new: NewProspect) -> Result<Prospect> {
        let default = (!caller.is_admin()).then(|| caller.user_id.clone());
        let owner_id = new.edit.owner_id.clone().unwrap_or(default);
        let mut tx = self.store.begin_fold().await?;
        check_owner(&mut tx, caller, owner_id.as_ref()).await?;
        let now_ms = self.now_ms();
        let prospect = new.into_prospect(self.new_id(), self.new_id(), owner_id.as_ref(), now_ms);
        check_unique(&mut tx, &prospect).await?;
        store::prospects::write(&mut tx.db(), &[&prospect]).await?;
        let events = prospect_events(None, Some(&prospect));
        self.commit(tx, events).await?;
        Ok(Prospect {
            version: 1,
            ..prospect
        })
    }

    /// Changes a prospect. With a new owner its proposals go with it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::Conflict`] `prospect_exists`, and as
    /// [`App::create_prospect`] for the owner.
    pub async fn update_prospect(
        &self,
        caller: &Caller,
        id: &Id,
        edit: ProspectEdit,
        unchanged: impl Fn(i64) -> bool,
    ) -> Result<Prospect> {
        let mut tx = self.store.begin_fold().await?;
        let before = owned(&mut tx, caller, id, unchanged).await?;
        if let Some(owner_id) = edit
            .owner_id
            .as_ref()
            .filter(|new| **new != before.owner_id)
        {
            check_owner(&mut tx, caller, owner_id.as_ref()).await?;
        }
        let mut after = before.clone();
        edit.apply(&mut after);
        if after == before {
            return Ok(before);
        }
        if before.view() != after.view() {
            after.updated_ms = self.now_ms().max(before.updated_ms);
        }
        let moved = (&before.owner_id, before.email.key()) != (&after.owner_id, after.email.key());
        if moved {
            check_unique(&mut tx, &after).await?;
        }
        store::prospects::write(&mut tx.db(), &[&after]).await?;
        let mut events = prospect_events(Some(&before), Some(&after));
        if before.owner_id != after.owner_id {
            events.extend(hand_over_proposals(&mut tx, &after, after.updated_ms).await?);
        }
        self.commit(tx, events).await?;
        Ok(Prospect {
            version: after.version + 1,
            ..after
        })
    }

    /// Deletes a prospect with its proposals. Later deliveries about the same bookings do not
    /// bring it back; a new booking makes a new prospect.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`].
    pub async fn delete_prospect(
        &self,
        caller: &Caller,
        id: &Id,
        unchanged: impl Fn(i64) -> bool,
    ) -> Result<()> {
        let mut tx = self.store.begin_fold().await?;
        let prospect = owned(&mut tx, caller, id, unchanged).await?;
        let events = remove(&mut tx, &prospect).await?;
        self.commit(tx, events).await
    }
}

/// Deletes a prospect with its proposals, and answers the events of that.
pub(super) async fn remove(tx: &mut Tx, prospect: &Prospect) -> Result<Vec<NewEvent>> {
    let mut events = Vec::new();
    for proposal in store::proposals::by_prospects(&mut tx.db(), [&prospect.id]).await? {
        store::proposals::dismiss(&mut tx.db(), &proposal).await?;
        events.extend(proposal_events(Some(&proposal), None, false));
    }
    store::fold::dismiss_prospect(&mut tx.db(), &prospect.id).await?;
    store::prospects::delete(&mut tx.db(), prospect).await?;
    events.extend(prospect_events(Some(prospect), None));
    Ok(events)
}

async fn owned(
    tx: &mut Tx,
    caller: &Caller,
    id: &Id,
    unchanged: impl Fn(i64) -> bool,
) -> Result<Prospect> {
    let found = store::prospects::find(&mut tx.db(), id).await?;
    let prospect = found
        .filter(|p| caller.may_see(p.owner_id.as_ref()))
        .ok_or(Error::NotFound)?;
    if unchanged(prospect.version) {
        Ok(prospect)
    } else {
        Err(Error::Stale)
    }
}

/// Only admins give prospects to others, and only to users there are.
async fn check_owner(tx: &mut Tx, caller: &Caller, owner_id: Option<&Id>) -> Result<()> {
    if !caller.may_see(owner_id) {
        return Err(Error::Forbidden(
            "only admins may assign a prospect to somebody else",
        ));
    }
    if let Some(owner_id) = owner_id
        && store::users::find(&mut tx.db(), owner_id).await?.is_none()
    {
        return Err(Error::invalid("ownerId", "is not a user"));
    }
    Ok(())
}

async fn check_unique(tx: &mut Tx, prospect: &Prospect) -> Result<()> {
    let email_key = prospect.email.key();
    let owner_id = prospect.owner_id.as_ref();
    let found = store::prospects::find_by_email(&mut tx.db(), owner_id, email_key).await?;
    match found.filter(|other| other.id != prospect.id) {
        None => Ok(()),
        Some(other) => Err(Error::Conflict {
            code: "prospect_exists",
            detail: "this owner already has a prospect with this e-mail address".to_owned(),
            existing_id: Some(other.id),
        }),
    }
}

/// Gives a prospect's proposals to its new owner.
pub(super) async fn hand_over_proposals(
    tx: &mut Tx,
    prospect: &Prospect,
    now_ms: i64,
) -> Result<Vec<NewEvent>> {
    let before = store::proposals::by_prospects(&mut tx.db(), [&prospect.id]).await?;
    let hand_over = |proposal: &Proposal| Proposal {
        owner_id: prospect.owner_id.clone(),
        updated_ms: now_ms.max(proposal.updated_ms),
        ..proposal.clone()
    };
    let after: Vec<Proposal> = before.iter().map(hand_over).collect();
    store::proposals::write(&mut tx.db(), &after.iter().collect::<Vec<_>>()).await?;
    let told = before.iter().zip(&after);
    Ok(told
        .flat_map(|(old, new)| proposal_events(Some(old), Some(new), true))
        .collect())
}
