//! Gives the records that a rebuild makes the ids they had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::delivery::Delivery;
use crate::domain::ids::{Id, Ids};

/// Ids as the archive remembers them: a delivery names the prospect and the proposal it
/// concerned, and one that makes them again gives them those ids. Where it cannot, because the
/// id belongs to another record by now, a new one is made.
#[derive(Debug)]
pub(super) struct Recalled<'a> {
    fresh: &'a dyn Ids,
    conversations: &'a BTreeMap<Id, Id>,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    taken: BTreeSet<Id>,
    prospect: Option<Id>,
    proposal: Option<Id>,
}

impl<'a> Recalled<'a> {
    /// Ids for a batch. `taken` are those of its ids that records have already.
    pub(super) fn new(
        fresh: &'a dyn Ids,
        conversations: &'a BTreeMap<Id, Id>,
        taken: BTreeSet<Id>,
    ) -> Self {
        let (prospect, proposal) = (None, None);
        Self {
            fresh,
            conversations,
            memory: Mutex::new(Memory {
                taken,
                prospect,
                proposal,
            }),
        }
    }

    /// Turns to the next delivery.
    pub(super) fn recall(&self, delivery: &Delivery) {
        let mut memory = self.memory();
        memory.prospect.clone_from(&delivery.prospect_id);
        memory.proposal.clone_from(&delivery.proposal_id);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The remembered id when nobody has it, else a new one.
    fn unless_taken(&self, id: Option<Id>, memory: &mut Memory, now_ms: i64) -> Id {
        match id {
            Some(id) if memory.taken.insert(id.clone()) => id,
            _ => self.fresh.new_id(now_ms),
        }
    }
}

impl Ids for Recalled<'_> {
    fn new_id(&self, now_ms: i64) -> Id {
        self.fresh.new_id(now_ms)
    }

    fn prospect_id(&self, now_ms: i64) -> Id {
        let mut memory = self.memory();
        let id = memory.prospect.take();
        self.unless_taken(id, &mut memory, now_ms)
    }

    fn conversation_id(&self, prospect: &Id, now_ms: i64) -> Id {
        let known = self.conversations.get(prospect).cloned();
        known.unwrap_or_else(|| self.fresh.new_id(now_ms))
    }

    fn proposal_id(&self, now_ms: i64) -> Id {
        let mut memory = self.memory();
        let id = memory.proposal.take();
        self.unless_taken(id, &mut memory, now_ms)
    }
}
