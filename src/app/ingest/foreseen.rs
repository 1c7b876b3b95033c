//! What a dry run would have changed so far, laid over what the database holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Result;
use crate::domain::difference::{Difference, difference};
use crate::domain::ids::Id;
use crate::domain::invitee::InviteeUri;
use crate::domain::profile::Profile;
use crate::domain::proposal::Proposal;
use crate::domain::prospect::Prospect;
use crate::domain::world::{Invitee, World};
use crate::store::{self, Db};

/// How many records may differ before a dry run stops: they are kept in memory.
const MOST: usize = 50_000;

/// How many changed records are told one by one: some MiB of an answer.
const TOLD: usize = 10_000;

/// How many records are read at once to compare them.
const PAGE: usize = 500;

/// How a record would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordChange {
    /// `prospect` or `proposal`.
    pub record: &'static str,
    /// `created`, `updated` or `deleted`.
    pub change: &'static str,
    /// Its id; `None` for one that is not made yet.
    pub id: Option<Id>,
    /// The fields that would differ. Ids that are not made yet are null, and the times of
    /// making and changing are left out.
    pub fields: Difference,
}

/// What a dry run foresees.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Records that would be made.
    pub created: u64,
    /// Records that would change.
    pub updated: u64,
    /// Records that would go.
    pub deleted: u64,
    /// The first ten thousand of them.
    pub items: Vec<RecordChange>,
}

impl Changes {
    /// Whether there are more than the items.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.created + self.updated + self.deleted > self.items.len() as u64
    }

    fn add(&mut self, change: RecordChange) {
        match change.change {
            "created" => self.created += 1,
            "updated" => self.updated += 1,
            _ => self.deleted += 1,
        }
        if self.items.len() < TOLD {
            self.items.push(change);
        }
    }
}

/// The records as they would be: those that differ, and all that hang together with them, so
/// that a chain is here whole or not at all.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    invitees: BTreeMap<InviteeUri, Invitee>,
    prospects: BTreeMap<Id, Option<Prospect>>,
    proposals: BTreeMap<Id, Option<Proposal>>,
    forms: BTreeMap<String, Profile>,
    changed_prospects: BTreeSet<Id>,
    changed_proposals: BTreeSet<Id>,
}

impl Foreseen {
    /// Whether more differs than can be kept.
    pub(super) fn is_full(&self) -> bool {
        self.invitees.len() + self.prospects.len() + self.proposals.len() > MOST
    }

    /// Puts what would be in the place of what was loaded.
    pub(super) fn lay_over(&self, world: &mut World) {
        let invitees = self.invitees.iter();
        world
            .invitees
            .extend(invitees.map(|(uri, i)| (uri.clone(), i.clone())));
        let forms = self.forms.iter();
        world
            .forms
            .extend(forms.map(|(key, form)| (key.clone(), form.clone())));
        lay_over(&self.prospects, &mut world.prospects);
        lay_over(&self.proposals, &mut world.proposals);
    }

    /// Remembers what a batch would change.
    pub(super) fn absorb(&mut self, mut world: World) {
        let dirty = std::mem::take(&mut world.dirty);
        let chain_of = |uri: &InviteeUri| world.invitees.get(uri)?.proposal_id.clone();
        let mut chains: BTreeSet<Id> = dirty.invitees.iter().filter_map(chain_of).collect();
        chains.extend(dirty.proposals.iter().cloned());
        let mut homes = dirty.prospects.clone();
        for (uri, invitee) in world.invitees {
            let hangs_together = invitee
                .proposal_id
                .as_ref()
                .is_some_and(|c| chains.contains(c));
            if hangs_together || dirty.invitees.contains(&uri) {
                homes.extend(invitee.prospect_id.clone());
                self.invitees.insert(uri, invitee);
            }
        }
        keep(
            &mut self.prospects,
            homes,
            &dirty.prospects,
            &mut world.prospects,
        );
        keep(
            &mut self.proposals,
            chains,
            &dirty.proposals,
            &mut world.proposals,
        );
        for key in dirty.forms {
            if let Some(form) = world.forms.remove(&key) {
                self.forms.insert(key, form);
            }
        }
        self.changed_prospects.extend(dirty.prospects);
        self.changed_proposals.extend(dirty.proposals);
    }

    /// Compares with what the database holds.
    pub(super) async fn changes(&self, db: &mut Db<'_>) -> Result<Changes> {
        let mut changes = Changes::default();
        let ids: Vec<Id> = self.changed_prospects.iter().cloned().collect();
        let mut made = BTreeSet::new();
        for ids in ids.chunks(PAGE) {
            let found = store::prospects::by_ids(db, ids).await?;
            let found: BTreeMap<&Id, &Prospect> = found.iter().map(|p| (&p.id, p)).collect();
            for id in ids {
                let (before, after) = (found.get(id).copied(), after(&self.prospects, id));
                if before.is_none() && after.is_some() {
                    made.insert(id.clone());
                }
                let views = (before.map(Prospect::view), after.map(Prospect::view));
                tell(
                    &mut changes,
                    "prospect",
                    id,
                    (views.0.as_ref(), views.1.as_ref()),
                    &made,
                );
            }
        }
        let ids: Vec<Id> = self.changed_proposals.iter().cloned().collect();
        for ids in ids.chunks(PAGE) {
            let found = store::proposals::by_ids(db, ids).await?;
            let found: BTreeMap<&Id, &Proposal> = found.iter().map(|p| (&p.id, p)).collect();
            for id in ids {
                let (before, after) = (found.get(id).copied(), after(&self.proposals, id));
                let views = (before.map(Proposal::view), after.map(Proposal::view));
                tell(
                    &mut changes,
                    "proposal",
                    id,
                    (views.0.as_ref(), views.1.as_ref()),
                    &made,
                );
            }
        }
        Ok(changes)
    }
}

fn lay_over<T: Clone>(foreseen: &BTreeMap<Id, Option<T>>, loaded: &mut BTreeMap<Id, T>) {
    for (id, record) in foreseen {
        match record {
            Some(record) => loaded.insert(id.clone(), record.clone()),
            None => loaded.remove(id),
        };
    }
}

fn keep<T>(
    kept: &mut BTreeMap<Id, Option<T>>,
    ids: BTreeSet<Id>,
    dirty: &BTreeSet<Id>,
    world: &mut BTreeMap<Id, T>,
) {
    for id in ids {
        let record = world.remove(&id);
        // One that is not dirty and not here is a chain without a proposal.
        if record.is_some() || dirty.contains(&id) {
            kept.insert(id, record);
        }
    }
}

fn after<'a, T>(foreseen: &'a BTreeMap<Id, Option<T>>, id: &Id) -> Option<&'a T> {
    foreseen.get(id).and_then(Option::as_ref)
}

fn tell<T: Serialize>(
    changes: &mut Changes,
    record: &'static str,
    id: &Id,
    (before, after): (Option<&T>, Option<&T>),
    made: &BTreeSet<Id>,
) {
    const LEFT_OUT: [&str; 4] = ["id", "appointmentId", "createdAt", "updatedAt"];
    let change = match (before.is_some(), after.is_some()) {
        (false, false) => return,
        (false, true) => "created",
        (true, false) => "deleted",
        (true, true) => "updated",
    };
    let mut fields = difference(before, after, &LEFT_OUT);
    if fields.is_empty() {
        return;
    }
    let unmade = |id: &serde_json::Value| {
        id.as_str()
            .is_some_and(|id| made.contains(&Id::from_stored(id.to_owned())))
    };
    if fields
        .get("prospectId")
        .is_some_and(|prospect| unmade(&prospect.after))
    {
        for name in ["prospectId", "conversationId"] {
            if let Some(field) = fields.get_mut(name) {
                field.after = serde_json::Value::Null;
            }
        }
    }
    let id = (change != "created").then(|| id.clone());
    changes.add(RecordChange {
        record,
        change,
        id,
        fields,
    });
}
