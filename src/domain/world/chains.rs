//! Chains of reschedules: which invitees are one proposal, and what it says.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, World};
use crate::domain::booking;
use crate::domain::ids::Id;
use crate::domain::invitee::InviteeUri;
use crate::domain::proposal::{Appointment, Proposal};
use crate::domain::source::Source;

impl World {
    /// Joins some invitees, and answers the proposal they all are.
    pub(super) fn link(&mut self, named: &[InviteeUri], cx: Context<'_>) -> Id {
        let mut chains = BTreeSet::new();
        for uri in named {
            chains.extend(
                self.invitees
                    .entry(uri.clone())
                    .or_default()
                    .proposal_id
                    .clone(),
            );
        }
        let kept = self
            .kept_of(&chains)
            .unwrap_or_else(|| cx.ids.proposal_id(cx.now_ms));
        for other in chains.iter().filter(|other| **other != kept) {
            self.merge_chain(other, &kept);
        }
        for uri in named {
            self.touch_invitee(uri).proposal_id = Some(kept.clone());
        }
        kept
    }

    /// Which of several proposals stays when they turn out to be one: the oldest.
    fn kept_of(&self, chains: &BTreeSet<Id>) -> Option<Id> {
        let age = |id: &&Id| {
            let made = self
                .proposals
                .get(*id)
                .map_or(i64::MAX, |proposal| proposal.created_ms);
            (made, (*id).clone())
        };
        chains.iter().min_by_key(age).cloned()
    }

    fn merge_chain(&mut self, other: &Id, kept: &Id) {
        let members = self.members_of(other);
        for uri in &members {
            self.touch_invitee(uri).proposal_id = Some(kept.clone());
        }
        let Some(removed) = self.remove_proposal(other) else {
            return;
        };
        if !self.proposals.contains_key(kept) {
            return;
        }
        self.note_merged(other, kept);
        let proposal = self.touch_proposal(kept);
        proposal.decisions.extend(removed.decisions);
        proposal.decisions.sort_by_key(|decision| decision.at);
        let inherited: BTreeSet<String> = removed
            .edited
            .difference(&proposal.edited)
            .cloned()
            .collect();
        let mine = std::mem::replace(&mut proposal.edited, inherited);
        let computed = std::mem::replace(&mut proposal.appointment, removed.appointment);
        // With only the inherited fields marked, the update keeps exactly those.
        proposal.update(computed);
        proposal.edited.extend(mine);
    }

    pub(super) fn members_of(&self, chain: &Id) -> Vec<InviteeUri> {
        let members = self
            .invitees
            .iter()
            .filter(|(_, i)| i.proposal_id.as_ref() == Some(chain));
        members.map(|(uri, _)| uri.clone()).collect()
    }

    /// Computes the chain's proposal anew.
    pub(super) fn refold_chain(&mut self, chain: &Id, cx: Context<'_>) {
        let members = self.members_of(chain);
        let all: BTreeMap<_, _> = members
            .iter()
            .map(|uri| (uri, &self.invitees[uri].facts))
            .collect();
        let order = booking::chain_order(&all);
        let live: Vec<_> = order
            .iter()
            .filter_map(|uri| self.invitees.get_key_value(uri))
            .filter(|(_, invitee)| invitee.is_live())
            .map(|(uri, invitee)| (uri, &invitee.facts))
            .collect();
        let Some((tip, _)) = live.last() else { return };
        let tip = (*tip).clone();
        let decisions = self
            .proposals
            .get(chain)
            .map_or(&[][..], |proposal| &proposal.decisions);
        let computed = booking::appointment(&live, decisions, &self.directory);
        self.put_proposal(chain, tip, computed, cx);
    }

    fn put_proposal(&mut self, id: &Id, tip: InviteeUri, computed: Appointment, cx: Context<'_>) {
        let prospect_id = self.invitees[&tip].prospect_id.as_ref();
        let prospect = prospect_id.and_then(|id| self.prospects.get(id));
        let prospect = prospect.expect("a live invitee's prospect is loaded with it");
        let home = (
            prospect.id.clone(),
            prospect.conversation_id.clone(),
            prospect.owner_id.clone(),
        );
        if self.proposals.contains_key(id) {
            let proposal = self.touch_proposal(id);
            proposal.update(computed);
            (
                proposal.prospect_id,
                proposal.conversation_id,
                proposal.owner_id,
            ) = home;
            proposal.current_invitee = Some(tip);
            return;
        }
        self.add_proposal(Proposal {
            id: id.clone(),
            prospect_id: home.0,
            conversation_id: home.1,
            owner_id: home.2,
            appointment: computed,
            source: Source::Calendly,
            decisions: Vec::new(),
            edited: BTreeSet::new(),
            current_invitee: Some(tip),
            created_ms: cx.now_ms,
            updated_ms: cx.now_ms,
            version: 0,
        });
    }
}
