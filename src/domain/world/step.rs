//! One delivery's step: remembers what records were before it, and tells what changed.

use std::collections::BTreeMap;

use super::{Invitee, World};
use crate::domain::event::{NewEvent, proposal_events, prospect_events};
use crate::domain::ids::Id;
use crate::domain::invitee::InviteeUri;
use crate::domain::proposal::Proposal;
use crate::domain::prospect::Prospect;

/// The records a step touched, as they were before it.
#[derive(Debug, Default)]
pub(super) struct Step {
    invitees: BTreeMap<InviteeUri, Invitee>,
    prospects: BTreeMap<Id, Option<Prospect>>,
    proposals: BTreeMap<Id, Option<Proposal>>,
}

impl World {
    /// An invitee that is there, to change.
    pub(super) fn touch_invitee(&mut self, uri: &InviteeUri) -> &mut Invitee {
        let invitee = self
            .invitees
            .get_mut(uri)
            .expect("callers name invitees that are there");
        self.step
            .invitees
            .entry(uri.clone())
            .or_insert_with(|| invitee.clone());
        invitee
    }

    /// A prospect that is there, to change.
    pub(super) fn touch_prospect(&mut self, id: &Id) -> &mut Prospect {
        let prospect = self
            .prospects
            .get_mut(id)
            .expect("callers name prospects that are there");
        self.step
            .prospects
            .entry(id.clone())
            .or_insert_with(|| Some(prospect.clone()));
        prospect
    }

    /// Adds a prospect.
    pub(super) fn add_prospect(&mut self, prospect: Prospect) {
        self.step
            .prospects
            .entry(prospect.id.clone())
            .or_insert(None);
        self.complete.insert(prospect.id.clone());
        self.prospects.insert(prospect.id.clone(), prospect);
    }

    /// Removes a prospect.
    pub(super) fn remove_prospect(&mut self, id: &Id) {
        let removed = self.prospects.remove(id);
        self.step.prospects.entry(id.clone()).or_insert(removed);
    }

    /// A proposal that is there, to change.
    pub(super) fn touch_proposal(&mut self, id: &Id) -> &mut Proposal {
        let proposal = self
            .proposals
            .get_mut(id)
            .expect("callers name proposals that are there");
        self.step
            .proposals
            .entry(id.clone())
            .or_insert_with(|| Some(proposal.clone()));
        proposal
    }

    /// Adds a proposal.
    pub(super) fn add_proposal(&mut self, proposal: Proposal) {
        self.step
            .proposals
            .entry(proposal.id.clone())
            .or_insert(None);
        self.proposals.insert(proposal.id.clone(), proposal);
    }

    /// Removes a proposal.
    pub(super) fn remove_proposal(&mut self, id: &Id) -> Option<Proposal> {
        let removed = self.proposals.remove(id);
        self.step
            .proposals
            .entry(id.clone())
            .or_insert_with(|| removed.clone());
        removed
    }

    /// Remembers which record stands from now on for one that is gone, and for what that one stood
    /// for.
    pub(super) fn note_merged(&mut self, gone: &Id, kept: &Id) {
        for into in self.merged.values_mut().filter(|into| **into == *gone) {
            into.clone_from(kept);
        }
        self.merged.insert(gone.clone(), kept.clone());
    }

    /// Ends the step: marks what changed as dirty, dates it, and tells the events: prospects
    /// first, then their proposals, and prospects that are gone at the end.
    pub(super) fn finish_step(&mut self, now_ms: i64) -> Vec<NewEvent> {
        let step = std::mem::take(&mut self.step);
        for (uri, before) in step.invitees {
            if self.invitees.get(&uri) != Some(&before) {
                self.dirty.invitees.insert(uri);
            }
        }
        let mut events = Vec::new();
        let mut gone = Vec::new();
        for (id, before) in &step.prospects {
            let told = self.finish_prospect(id, before.as_ref(), now_ms);
            let list = if self.prospects.contains_key(id) {
                &mut events
            } else {
                &mut gone
            };
            list.extend(told);
        }
        for (id, before) in &step.proposals {
            events.extend(self.finish_proposal(id, before.as_ref(), &step.prospects, now_ms));
        }
        events.extend(gone);
        events
    }

    fn finish_prospect(
        &mut self,
        id: &Id,
        before: Option<&Prospect>,
        now_ms: i64,
    ) -> Vec<NewEvent> {
        if self.prospects.get(id) == before {
            return Vec::new();
        }
        self.dirty.prospects.insert(id.clone());
        if let (Some(old), Some(new)) = (before, self.prospects.get_mut(id))
            && old.view() != new.view()
        {
            new.updated_ms = now_ms.max(old.updated_ms);
        }
        prospect_events(before, self.prospects.get(id))
    }

    fn finish_proposal(
        &mut self,
        id: &Id,
        before: Option<&Proposal>,
        prospects: &BTreeMap<Id, Option<Prospect>>,
        now_ms: i64,
    ) -> Vec<NewEvent> {
        if self.proposals.get(id) == before {
            return Vec::new();
        }
        self.dirty.proposals.insert(id.clone());
        let mut with_prospect = false;
        if let (Some(old), Some(new)) = (before, self.proposals.get_mut(id)) {
            let prospect = prospects.get(&new.prospect_id).and_then(Option::as_ref);
            with_prospect = old.prospect_id == new.prospect_id
                && prospect.is_some_and(|prospect| prospect.owner_id != new.owner_id);
            let seen = old.appointment != new.appointment
                || (&old.owner_id, &old.prospect_id) != (&new.owner_id, &new.prospect_id);
            if seen {
                new.updated_ms = now_ms.max(old.updated_ms);
            }
        }
        proposal_events(before, self.proposals.get(id), with_prospect)
    }
}
