//! Proposals: one appointment offered or booked, through all its moves.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, Serializer};

use super::ids::Id;
use super::invitee::{Answer, InviteeUri, Location};
use super::profile::Tracking;
use super::source::Source;
use super::time::UtcMs;

/// Where a proposal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposalStatus {
    /// Booked, and nobody has decided on it yet.
    Pending,
    /// A person accepted it.
    Accepted,
    /// A person rejected it.
    Rejected,
    /// Host or invitee canceled it in Calendly.
    Canceled,
    /// The invitee did not come.
    NoShow,
}

impl ProposalStatus {
    /// All of them, in the order of a booking's life.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Accepted,
        Self::Rejected,
        Self::Canceled,
        Self::NoShow,
    ];

    /// The name used on the wire and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Canceled => "canceled",
            Self::NoShow => "no_show",
        }
    }

    /// Reads a name; `None` when there is no such status.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether a person may move a proposal from this status to `decision`: pending ones to
    /// accepted or rejected, accepted ones to rejected.
    #[must_use]
    pub const fn allows(self, decision: Verdict) -> bool {
        matches!(
            (self, decision),
            (Self::Pending, _) | (Self::Accepted, Verdict::Rejected)
        )
    }
}

/// What a person can decide about a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It will take place.
    Accepted,
    /// It will not.
    Rejected,
}

/// A person's decision. It belongs to one booking of the chain: when the meeting moves, the new
/// time is undecided again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The booking it was made on; `None` for a proposal made by hand.
    pub invitee: Option<InviteeUri>,
    /// What was decided.
    pub verdict: Verdict,
    /// When.
    pub at: UtcMs,
    /// Why.
    pub reason: Option<String>,
    /// The user who decided.
    pub user_id: Id,
}

/// A host as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposalHost {
    /// The host's name.
    pub name: Option<String>,
    /// The host's address.
    pub email: Option<String>,
    /// The user of this program who is that host.
    pub user_id: Option<Id>,
}

/// How a proposal was canceled, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalCancellation {
    /// `host` or `invitee`.
    pub by: Option<String>,
    /// The name shown for who canceled.
    pub name: Option<String>,
    /// The reason given.
    pub reason: Option<String>,
    /// When.
    pub at: Option<UtcMs>,
}

/// The present no-show mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoShow {
    /// When it was set.
    pub at: UtcMs,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// The start, where Calendly told it.
    pub start_time: Option<UtcMs>,
    /// The end.
    pub end_time: Option<UtcMs>,
}

/// What happened to a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It was booked, or made by hand.
    Booked,
    /// It moved to another time.
    Moved,
    /// It was canceled.
    Canceled,
    /// The invitee was marked as not having come.
    NoShow,
    /// That mark was removed.
    NoShowRemoved,
    /// A person accepted it.
    Accepted,
    /// A person rejected it.
    Rejected,
}

/// One step in a proposal's life. Entries come from what Calendly and people said, never from
/// when it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// When it happened; `None` when Calendly did not say.
    pub at: Option<UtcMs>,
    /// What happened.
    pub what: What,
    /// Where a moved proposal stood before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Slot>,
    /// The booked time, or where a moved proposal went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Slot>,
    /// `host` or `invitee`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The name shown for who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The reason given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The user who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Id>,
}

impl HistoryEntry {
    /// An entry without details.
    #[must_use]
    pub fn new(what: What, at: Option<UtcMs>) -> Self {
        Self {
            at,
            what,
            from: None,
            to: None,
            by: None,
            name: None,
            reason: None,
            user_id: None,
        }
    }
}

impl From<&Decision> for HistoryEntry {
    fn from(decision: &Decision) -> Self {
        let what = match decision.verdict {
            Verdict::Accepted => What::Accepted,
            Verdict::Rejected => What::Rejected,
        };
        Self {
            reason: decision.reason.clone(),
            user_id: Some(decision.user_id.clone()),
            ..Self::new(what, Some(decision.at))
        }
    }
}

/// What can be said of a proposal without knowing whose it is: computed from the chain of
/// bookings, or written by a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Appointment {
    /// Where it stands.
    pub status: ProposalStatus,
    /// What it is about.
    pub title: Option<String>,
    /// When it starts.
    pub start_time: Option<UtcMs>,
    /// When it ends.
    pub end_time: Option<UtcMs>,
    /// The invitee's IANA time zone.
    pub timezone: Option<String>,
    /// Where it takes place.
    pub location: Option<Location>,
    /// Who holds it.
    pub hosts: Vec<ProposalHost>,
    /// Addresses of guests.
    pub guests: Vec<String>,
    /// Answers to the booking form.
    pub answers: Vec<Answer>,
    /// Where the booking came from.
    pub tracking: Tracking,
    /// How it was canceled.
    pub cancellation: Option<ProposalCancellation>,
    /// The no-show mark.
    pub no_show: Option<NoShow>,
    /// Everything that happened to it, oldest first. Clients see the beginning and the end.
    #[serde(serialize_with = "beginning_and_end")]
    pub history: Vec<HistoryEntry>,
    /// Cancels the booking, for whoever holds it.
    pub cancel_url: Option<String>,
    /// Moves the booking, for whoever holds it.
    pub reschedule_url: Option<String>,
}

/// How many entries of a history clients see at most: each move tells all they see of it, and
/// whoever has the link may move a booking again and again.
const HISTORY: usize = 100;

fn beginning_and_end<S: Serializer>(
    history: &[HistoryEntry],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let left_out = history.len().saturating_sub(HISTORY);
    let (beginning, rest) = history.split_at(history.len().min(1));
    serializer.collect_seq(beginning.iter().chain(&rest[left_out..]))
}

/// A proposal as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Its id, `appointmentId` on the wire.
    pub id: Id,
    /// The prospect it is for.
    pub prospect_id: Id,
    /// The prospect's conversation.
    pub conversation_id: Id,
    /// The prospect's owner.
    pub owner_id: Option<Id>,
    /// What it says.
    pub appointment: Appointment,
    /// Where it came from.
    pub source: Source,
    /// People's decisions, oldest first.
    pub decisions: Vec<Decision>,
    /// Fields a person edited, which webhooks leave alone.
    pub edited: BTreeSet<String>,
    /// The booking at the end of the chain; `None` for a proposal made by hand.
    pub current_invitee: Option<InviteeUri>,
    /// When the record was made, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it last changed. It never goes back, whatever clocks do, so that whoever has two
    /// versions of a record knows which is the newer one.
    pub updated_ms: i64,
    /// Grows with every write.
    pub version: i64,
}

impl Proposal {
    /// Takes over what the chain of bookings now says, except where a person edited.
    pub fn update(&mut self, computed: Appointment) {
        let mut next = computed;
        let mine = &self.appointment;
        for field in &self.edited {
            match field.as_str() {
                "title" => next.title.clone_from(&mine.title),
                "startTime" => next.start_time = mine.start_time,
                "endTime" => next.end_time = mine.end_time,
                "timezone" => next.timezone.clone_from(&mine.timezone),
                "location" => next.location.clone_from(&mine.location),
                _ => {}
            }
        }
        self.appointment = next;
    }

    /// Records a person's decision, if the present status allows it; answers whether it does.
    pub fn decide(
        &mut self,
        verdict: Verdict,
        reason: Option<String>,
        user: &Id,
        at: UtcMs,
    ) -> bool {
        if !self.appointment.status.allows(verdict) {
            return false;
        }
        let invitee = self.current_invitee.clone();
        let decision = Decision {
            invitee,
            verdict,
            at,
            reason,
            user_id: user.clone(),
        };
        self.appointment.status = match verdict {
            Verdict::Accepted => ProposalStatus::Accepted,
            Verdict::Rejected => ProposalStatus::Rejected,
        };
        let history = &mut self.appointment.history;
        let place = history.partition_point(|entry| entry.at <= Some(at));
        history.insert(place, HistoryEntry::from(&decision));
        self.decisions.push(decision);
        true
    }

    /// Why the proposal stands where it does, when somebody gave a reason.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self.appointment.status {
            ProposalStatus::Canceled => self.appointment.cancellation.as_ref()?.reason.as_deref(),
            ProposalStatus::Accepted | ProposalStatus::Rejected => {
                let mine = |d: &&Decision| d.invitee == self.current_invitee;
                self.decisions.iter().rfind(mine)?.reason.as_deref()
            }
            ProposalStatus::Pending | ProposalStatus::NoShow => None,
        }
    }

    /// The proposal as clients see it.
    #[must_use]
    pub fn view(&self) -> ProposalView<'_> {
        ProposalView {
            appointment_id: &self.id,
            conversation_id: &self.conversation_id,
            prospect_id: &self.prospect_id,
            owner_id: self.owner_id.as_ref(),
            appointment: &self.appointment,
            source: self.source,
            created_at: UtcMs(self.created_ms),
            updated_at: UtcMs(self.updated_ms),
        }
    }
}

/// A proposal as clients see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposalView<'a> {
    appointment_id: &'a Id,
    conversation_id: &'a Id,
    prospect_id: &'a Id,
    owner_id: Option<&'a Id>,
    #[serde(flatten)]
    appointment: &'a Appointment,
    source: Source,
    created_at: UtcMs,
    updated_at: UtcMs,
}
