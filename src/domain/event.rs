//! Durable events: what changed, and who hears of it.

use serde::Serialize;
use serde_json::json;

use super::ids::Id;
use super::proposal::{Proposal, ProposalStatus};
use super::prospect::Prospect;

/// A position in the one event log, ascending in commit order. 0 is before the first event.
pub type Seq = i64;

/// Names beginning with this are for the program's own nodes and never reach a client.
pub const INTERNAL_PREFIX: char = '$';

/// The internal event that ends sessions on every node.
pub const SESSION_ENDED: &str = "$session-ended";

/// Who receives an event. A user who is an admin receives what admins do, and nothing twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// The user whose room it goes to, unless that user is an admin.
    pub user: Option<Id>,
    /// Whether it goes to the admins.
    pub admins: bool,
}

impl Audience {
    /// The owner of a record, and the admins.
    #[must_use]
    pub fn owner_and_admins(owner: Option<&Id>) -> Self {
        Self {
            user: owner.cloned(),
            admins: true,
        }
    }

    /// The admins only.
    #[must_use]
    pub fn admins() -> Self {
        Self {
            user: None,
            admins: true,
        }
    }

    /// Nobody: the event is for the program's own nodes.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            user: None,
            admins: false,
        }
    }

    fn only(user: &Id) -> Self {
        Self {
            user: Some(user.clone()),
            admins: false,
        }
    }
}

/// An event that is about to be committed together with the change it tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The name clients listen for.
    pub name: &'static str,
    /// The payload as JSON text.
    pub payload: String,
    /// Who receives it.
    pub audience: Audience,
}

impl NewEvent {
    /// An event with any payload.
    ///
    /// # Panics
    /// When the payload cannot be written as JSON, which none of ours can fail to be.
    pub fn new(name: &'static str, payload: &impl Serialize, audience: Audience) -> Self {
        // Few are longer; grown from nothing they are copied again and again.
        let mut json = Vec::with_capacity(2048);
        serde_json::to_writer(&mut json, payload).expect("views have string keys only");
        let mut payload = String::from_utf8(json).expect("JSON is written as UTF-8");
        // Thousands are kept in memory.
        payload.shrink_to_fit();
        Self {
            name,
            payload,
            audience,
        }
    }
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its position.
    pub seq: Seq,
    /// Its id.
    pub id: Id,
    /// When it was committed, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The name clients listen for.
    pub name: String,
    /// The payload as JSON text.
    pub payload: String,
    /// Who receives it.
    pub audience: Audience,
}

/// The events of a change to a prospect; none when clients would see no difference.
#[must_use]
pub fn prospect_events(before: Option<&Prospect>, after: Option<&Prospect>) -> Vec<NewEvent> {
    match (before, after) {
        (None, Some(new)) => vec![created(
            new,
            Audience::owner_and_admins(new.owner_id.as_ref()),
        )],
        (Some(old), None) => {
            vec![deleted(
                old,
                Audience::owner_and_admins(old.owner_id.as_ref()),
            )]
        }
        (Some(old), Some(new)) if old.owner_id != new.owner_id => {
            let lost = old
                .owner_id
                .as_ref()
                .map(|user| deleted(old, Audience::only(user)));
            let gained = new
                .owner_id
                .as_ref()
                .map(|user| created(new, Audience::only(user)));
            let seen = NewEvent::new("prospect:updated", &new.view(), Audience::admins());
            lost.into_iter().chain(gained).chain([seen]).collect()
        }
        (Some(old), Some(new)) if old.view() != new.view() => {
            let audience = Audience::owner_and_admins(new.owner_id.as_ref());
            vec![NewEvent::new("prospect:updated", &new.view(), audience)]
        }
        _ => Vec::new(),
    }
}

fn created(prospect: &Prospect, audience: Audience) -> NewEvent {
    NewEvent::new("prospect:created", &prospect.view(), audience)
}

fn deleted(prospect: &Prospect, audience: Audience) -> NewEvent {
    NewEvent::new("prospect:deleted", &json!({ "id": prospect.id }), audience)
}

/// The events of a change to a proposal; none when clients would see no difference.
///
/// `with_prospect` says that its prospect changed hands in the same step: then the old owner
/// hears of the prospect only, and admins see the new owner on the prospect.
#[must_use]
pub fn proposal_events(
    before: Option<&Proposal>,
    after: Option<&Proposal>,
    with_prospect: bool,
) -> Vec<NewEvent> {
    let (old, new) = match (before, after) {
        (None, None) => return Vec::new(),
        (None, Some(new)) => {
            let audience = Audience::owner_and_admins(new.owner_id.as_ref());
            return vec![NewEvent::new("proposal-created", &new.view(), audience)];
        }
        (Some(old), None) => {
            let audience = Audience::owner_and_admins(old.owner_id.as_ref());
            return vec![proposal_deleted(old, audience)];
        }
        (Some(old), Some(new)) => (old, new),
    };
    let changed = old.appointment != new.appointment || old.prospect_id != new.prospect_id;
    if old.owner_id == new.owner_id {
        let audience = Audience::owner_and_admins(new.owner_id.as_ref());
        return if changed {
            updated(old, new, &audience)
        } else {
            Vec::new()
        };
    }
    handed_over(old, new, with_prospect, changed)
}

fn handed_over(
    old: &Proposal,
    new: &Proposal,
    with_prospect: bool,
    changed: bool,
) -> Vec<NewEvent> {
    let mut events = Vec::new();
    if let Some(user) = old.owner_id.as_ref().filter(|_| !with_prospect) {
        events.push(proposal_deleted(old, Audience::only(user)));
    }
    if let Some(user) = &new.owner_id {
        events.push(NewEvent::new(
            "proposal-created",
            &new.view(),
            Audience::only(user),
        ));
    }
    if changed || !with_prospect {
        events.extend(updated(old, new, &Audience::admins()));
    }
    events
}

fn updated(old: &Proposal, new: &Proposal, audience: &Audience) -> Vec<NewEvent> {
    let mut events = vec![NewEvent::new(
        "proposal-updated",
        &new.view(),
        audience.clone(),
    )];
    let (previous, status) = (old.appointment.status, new.appointment.status);
    if previous != status {
        let payload = status_changed(new, previous);
        events.push(NewEvent::new(
            "proposal-status-changed",
            &payload,
            audience.clone(),
        ));
    }
    events
}

fn status_changed(proposal: &Proposal, previous: ProposalStatus) -> serde_json::Value {
    json!({
        "appointmentId": proposal.id,
        "conversationId": proposal.conversation_id,
        "prospectId": proposal.prospect_id,
        "status": proposal.appointment.status,
        "previousStatus": previous,
        "reason": proposal.reason(),
        "proposal": proposal.view(),
    })
}

fn proposal_deleted(proposal: &Proposal, audience: Audience) -> NewEvent {
    let payload = json!({ "appointmentId": proposal.id, "prospectId": proposal.prospect_id });
    NewEvent::new("proposal-deleted", &payload, audience)
}
