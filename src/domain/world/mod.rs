//! The fold: applies deliveries to the part of the state they concern, without any I/O.
//!
//! A [`World`] holds the records that a batch of deliveries touches (or, in tests, all there
//! are). Applying the same set of deliveries in any order, with any repeats, ends in the same
//! world; only the ids and times of records tell the difference.

mod chains;
mod prospects;
mod step;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::event::NewEvent;
use super::ids::{Id, Ids};
use super::invitee::{InviteeFacts, InviteeUri};
use super::profile::Profile;
use super::proposal::Proposal;
use super::prospect::Prospect;
use super::user::Directory;

/// One invitee with its place among the records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invitee {
    /// What is known about it.
    pub facts: InviteeFacts,
    /// The proposal that its chain of reschedules makes up.
    pub proposal_id: Option<Id>,
    /// The owner its deliveries name.
    pub owner_id: Option<Id>,
    /// The prospect it belongs to; `None` while it is only named by another invitee.
    pub prospect_id: Option<Id>,
    /// Whether a person deleted the record it made. Its facts still grow, but it does not come
    /// back.
    pub dismissed: bool,
    /// Whether the database knows it already.
    pub is_stored: bool,
}

impl Invitee {
    /// Whether it takes part in a proposal.
    fn is_live(&self) -> bool {
        self.prospect_id.is_some() && !self.dismissed
    }
}

/// What one delivery says.
#[derive(Debug, Clone)]
pub enum Statement {
    /// Something about an invitee.
    Invitee {
        /// Which one.
        uri: InviteeUri,
        /// What.
        facts: Box<InviteeFacts>,
    },
    /// Somebody filled in a routing form.
    Form {
        /// The address found among the answers, in the form that compares equal.
        email_key: String,
        /// What the answers say about the person.
        profile: Box<Profile>,
    },
}

/// Where new ids and times come from.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The present, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Makes ids.
    pub ids: &'a dyn Ids,
}

/// What a delivery came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The prospect it concerned.
    pub prospect_id: Option<Id>,
    /// The proposal it concerned.
    pub proposal_id: Option<Id>,
    /// What changed, in the order it is told.
    pub events: Vec<NewEvent>,
}

/// The world lacks the other bookings and proposals of this prospect: load them
/// ([`World::complete`]) and start again.
#[derive(Debug, PartialEq, Eq)]
pub struct Incomplete(pub Id);

/// The records that deliveries concern.
#[derive(Debug, Default)]
pub struct World {
    /// Invitees, with every member of each chain that is touched.
    pub invitees: BTreeMap<InviteeUri, Invitee>,
    /// Prospects with one of the addresses.
    pub prospects: BTreeMap<Id, Prospect>,
    /// Proposals of the chains.
    pub proposals: BTreeMap<Id, Proposal>,
    /// What routing forms say, by address.
    pub forms: BTreeMap<String, Profile>,
    /// Prospects whose invitees and proposals are all here.
    pub complete: BTreeSet<Id>,
    /// Records that are gone because they are one with another, each with the one that stays.
    pub merged: BTreeMap<Id, Id>,
    /// Who may own what.
    pub directory: Directory,
    /// What differs from the database.
    pub dirty: Dirty,
    step: step::Step,
}

/// The records that differ from the database.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Invitees to write.
    pub invitees: BTreeSet<InviteeUri>,
    /// Prospects to write, or to delete when the world has them no more.
    pub prospects: BTreeSet<Id>,
    /// Proposals to write, or to delete when the world has them no more.
    pub proposals: BTreeSet<Id>,
    /// Routing-form profiles to write.
    pub forms: BTreeSet<String>,
}

impl World {
    /// An empty world that will hold all invitees and proposals of the `complete` prospects.
    #[must_use]
    pub fn with_complete(complete: BTreeSet<Id>) -> Self {
        Self {
            complete,
            ..Self::default()
        }
    }

    /// Applies what one delivery says.
    ///
    /// # Errors
    /// [`Incomplete`] when a prospect's other records are needed and not here; the world is then
    /// half changed and must be loaded anew.
    pub fn apply(&mut self, statement: Statement, cx: Context<'_>) -> Result<Applied, Incomplete> {
        let mut applied = match statement {
            Statement::Invitee { uri, facts } => self.apply_invitee(&uri, *facts, cx)?,
            Statement::Form { email_key, profile } => self.apply_form(&email_key, &profile, cx),
        };
        applied.events = self.finish_step(cx.now_ms);
        Ok(applied)
    }

    fn apply_invitee(
        &mut self,
        uri: &InviteeUri,
        facts: InviteeFacts,
        cx: Context<'_>,
    ) -> Result<Applied, Incomplete> {
        // By what this delivery says, not by what is kept of all: should two name different ones,
        // all of them are one chain whichever came first.
        let others = [&facts.old_invitee, &facts.new_invitee];
        let others = others.into_iter().flatten();
        let named: Vec<InviteeUri> = [uri].into_iter().chain(others).cloned().collect();
        self.invitees.entry(uri.clone()).or_default();
        self.touch_invitee(uri).facts.join(facts);
        let chain = self.link(&named, cx);
        // All of the chain, because who hosts them may be known only since.
        for member in self.members_of(&chain) {
            if !self.invitees[&member].dismissed {
                self.settle_prospect(&member, cx)?;
            }
        }
        self.refold_chain(&chain, cx);
        let proposal_id = self.proposals.contains_key(&chain).then_some(chain);
        let prospect_id = self.invitees[uri].prospect_id.clone();
        Ok(Applied {
            prospect_id,
            proposal_id,
            events: Vec::new(),
        })
    }

    fn apply_form(&mut self, email_key: &str, profile: &Profile, cx: Context<'_>) -> Applied {
        let known = self.forms.entry(email_key.to_owned()).or_default();
        let before = known.clone();
        known.join(profile);
        if *known != before {
            self.dirty.forms.insert(email_key.to_owned());
        }
        let mut concerned = self.prospects_of_address(email_key);
        if concerned.is_empty() {
            concerned.push(self.create_prospect(None, email_key, true, profile, cx));
        }
        for id in &concerned {
            let prospect = self.touch_prospect(id);
            prospect.profile.join(profile);
            prospect.apply_profile();
        }
        Applied {
            prospect_id: concerned.into_iter().next(),
            ..Applied::default()
        }
    }

    /// Whether records are gone, which must be deleted.
    #[must_use]
    pub fn lacks_any(&self) -> bool {
        let Dirty {
            prospects,
            proposals,
            ..
        } = &self.dirty;
        prospects.iter().any(|id| !self.prospects.contains_key(id))
            || proposals.iter().any(|id| !self.proposals.contains_key(id))
    }

    /// All by which what is here can be found: a delivery that neither names one of these, nor
    /// leads to one, is none of this world's business.
    pub fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let invitees = self.invitees.iter().flat_map(|(uri, invitee)| {
            let ids = [&invitee.proposal_id, &invitee.prospect_id];
            let ids = ids.into_iter().flatten().map(Id::as_str);
            let names = ids.chain([uri.0.as_str()]).map(Cow::Borrowed);
            names.chain(invitee.facts.email_key().map(Cow::Owned))
        });
        let prospects = self.prospects.values().flat_map(|prospect| {
            let key = prospect.fold_key.as_ref();
            let known = key.map(|key| key.email_key.as_str());
            let names = [prospect.id.as_str(), prospect.email.key()];
            names.into_iter().chain(known)
        });
        let proposals = self.proposals.keys().map(Id::as_str);
        let forms = self.forms.keys().map(String::as_str);
        let others = prospects.chain(proposals).chain(forms);
        invitees.chain(others.map(Cow::Borrowed))
    }

    /// The profile an invitee adds to its prospect.
    fn contribution(&self, uri: &InviteeUri) -> Profile {
        self.invitees[uri].facts.profile.clone()
    }
}
