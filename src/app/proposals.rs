//! Proposals as people list, make, change, decide and delete them.

use super::cursor::PageQuery;
use super::{App, Error, Listed, Read, Result, head};
use crate::domain::event::proposal_events;
use crate::domain::ids::Id;
use crate::domain::proposal::{Proposal, Verdict};
use crate::domain::proposal_edit::{NewProposal, ProposalEdit};
use crate::domain::time::UtcMs;
use crate::domain::user::Caller;
use crate::store::paging::Position;
use crate::store::proposals::{Filter, Sort, sort_key};
use crate::store::{self, Tx};

impl App {
    /// Lists the proposals a caller may see.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a foreign cursor.
    pub async fn proposals(
        &self,
        caller: &Caller,
        mut filter: Filter,
        sort: Sort,
        query: PageQuery,
    ) -> Result<Listed<Proposal>> {
        filter.visible_to = (!caller.is_admin()).then(|| caller.user_id.clone());
        let scope = format!("proposals {filter:?} {sort:?}");
        let limit = query.limit;
        let page = self.tokens.page(&scope, query)?;
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let found = store::proposals::list(&mut reader.db(), &filter, sort, page).await?;
        let position = |p: &Proposal| Position {
            key: sort_key(p, sort),
            id: p.id.to_string(),
        };
        Ok(self.listed(&scope, limit, found, seq, position))
    }

    /// Reads a proposal.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none the caller may see.
    pub async fn proposal(&self, caller: &Caller, id: &Id) -> Result<Read<Proposal>> {
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let found = store::proposals::find(&mut reader.db(), id).await?;
        let record = found
            .filter(|p| caller.may_see(p.owner_id.as_ref()))
            .ok_or(Error::NotFound)?;
        Ok(Read { record, seq })
    }

    /// Makes a proposal for a prospect the caller may see.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such prospect.
    pub async fn create_proposal(&self, caller: &Caller, new: NewProposal) -> Result<Proposal> {
        let mut tx = self.store.begin_fold().await?;
        let found = store::prospects::find(&mut tx.db(), &new.prospect_id).await?;
        let prospect = found.filter(|p| caller.may_see(p.owner_id.as_ref()));
        let prospect = prospect.ok_or_else(|| Error::invalid("prospectId", "is not a prospect"))?;
        let proposal = new.into_proposal(self.new_id(), &prospect, self.now_ms());
        store::proposals::write(&mut tx.db(), &[&proposal]).await?;
        self.commit(tx, proposal_events(None, Some(&proposal), false))
            .await?;
        Ok(Proposal {
            version: 1,
            ..proposal
        })
    }

    /// Changes a proposal.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::Invalid`] when it would end before it
    /// starts.
    pub async fn update_proposal(
        &self,
        caller: &Caller,
        id: &Id,
        edit: ProposalEdit,
        unchanged: impl Fn(i64) -> bool,
    ) -> Result<Proposal> {
        let mut tx = self.store.begin_fold().await?;
        let before = owned(&mut tx, caller, id, unchanged).await?;
        let mut after = before.clone();
        edit.apply(&mut after).map_err(Error::Invalid)?;
        self.save(tx, &before, after).await
    }

    /// Records a caller's decision about a proposal.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::Conflict`] `status_conflict` when its
    /// status does not allow the decision.
    pub async fn decide_proposal(
        &self,
        caller: &Caller,
        id: &Id,
        verdict: Verdict,
        reason: Option<String>,
        unchanged: impl Fn(i64) -> bool,
    ) -> Result<Proposal> {
        let mut tx = self.store.begin_fold().await?;
        let before = owned(&mut tx, caller, id, unchanged).await?;
        let mut after = before.clone();
        if !after.decide(verdict, reason, &caller.user_id, UtcMs(self.now_ms())) {
            let status = before.appointment.status.name();
            let detail = format!("a proposal that is {status} cannot be decided this way");
            return Err(Error::conflict("status_conflict", detail));
        }
        self.save(tx, &before, after).await
    }

    async fn save(&self, mut tx: Tx, before: &Proposal, mut after: Proposal) -> Result<Proposal> {
        if after == *before {
            return Ok(after);
        }
        after.updated_ms = self.now_ms().max(before.updated_ms);
        store::proposals::write(&mut tx.db(), &[&after]).await?;
        self.commit(tx, proposal_events(Some(before), Some(&after), false))
            .await?;
        Ok(Proposal {
            version: after.version + 1,
            ..after
        })
    }

    /// Deletes a proposal. Later deliveries about the same booking do not bring it back.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`].
    pub async fn delete_proposal(
        &self,
        caller: &Caller,
        id: &Id,
        unchanged: impl Fn(i64) -> bool,
    ) -> Result<()> {
        let mut tx = self.store.begin_fold().await?;
        let proposal = owned(&mut tx, caller, id, unchanged).await?;
        store::proposals::dismiss(&mut tx.db(), &proposal).await?;
        self.commit(tx, proposal_events(Some(&proposal), None, false))
            .await
    }
}

async fn owned(
    tx: &mut Tx,
    caller: &Caller,
    id: &Id,
    unchanged: impl Fn(i64) -> bool,
) -> Result<Proposal> {
    let found = store::proposals::find(&mut tx.db(), id).await?;
    let proposal = found
        .filter(|p| caller.may_see(p.owner_id.as_ref()))
        .ok_or(Error::NotFound)?;
    if unchanged(proposal.version) {
        Ok(proposal)
    } else {
        Err(Error::Stale)
    }
}
