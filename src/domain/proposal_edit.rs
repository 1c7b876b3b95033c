//! What a person writes into a proposal: parsed once, then applied.

use std::collections::BTreeSet;

use super::fields::{Fault, Fields, replace};
use super::ids::Id;
use super::invitee::Location;
use super::profile::Tracking;
use super::proposal::{Appointment, HistoryEntry, Proposal, ProposalStatus, Slot, What};
use super::prospect::Prospect;
use super::source::Source;
use super::time::UtcMs;

/// The longest title, in characters.
const TITLE: usize = 200;

/// The longest reason, in characters.
const REASON: usize = 2000;

/// The fields a person gave. An outer `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::option_option,
    reason = "absent, null and given are three things"
)]
pub struct ProposalEdit {
    title: Option<String>,
    start_time: Option<UtcMs>,
    end_time: Option<UtcMs>,
    timezone: Option<Option<String>>,
    location: Option<Option<Location>>,
}

impl ProposalEdit {
    /// Reads a change.
    ///
    /// # Errors
    /// Every fault of the request.
    pub fn read(mut fields: Fields) -> Result<Self, Vec<Fault>> {
        let edit = Self::take(&mut fields);
        fields.finish().map(|()| edit)
    }

    fn take(fields: &mut Fields) -> Self {
        Self {
            title: fields.some_text("title", TITLE),
            start_time: fields.time("startTime"),
            end_time: fields.time("endTime"),
            timezone: fields.time_zone("timezone"),
            location: fields
                .object("location", "location.", location)
                .map(Option::flatten),
        }
    }

    /// Writes the given fields into a proposal and marks those that change as edited.
    ///
    /// # Errors
    /// A fault when it would end before it starts; the proposal is half changed then.
    pub fn apply(self, proposal: &mut Proposal) -> Result<(), Vec<Fault>> {
        let retimed = self.start_time.is_some() || self.end_time.is_some();
        let mine = &mut proposal.appointment;
        let edited = &mut proposal.edited;
        let mut mark = |field: &str, changes: bool| {
            if changes {
                edited.insert(field.to_owned());
            }
        };
        mark("title", replace(&mut mine.title, self.title.map(Some)));
        mark(
            "startTime",
            replace(&mut mine.start_time, self.start_time.map(Some)),
        );
        mark(
            "endTime",
            replace(&mut mine.end_time, self.end_time.map(Some)),
        );
        mark("timezone", replace(&mut mine.timezone, self.timezone));
        mark("location", replace(&mut mine.location, self.location));
        if retimed && edited.contains("startTime") != edited.contains("endTime") {
            // One without the other would be torn apart when the booking moves.
            edited.extend(["startTime", "endTime"].map(str::to_owned));
        }
        match (mine.start_time, mine.end_time) {
            (Some(start), Some(end)) if retimed && end <= start => Err(vec![ends_early()]),
            _ => Ok(()),
        }
    }
}

fn ends_early() -> Fault {
    Fault {
        field: "endTime".to_owned(),
        message: "must be after startTime".to_owned(),
    }
}

fn location(fields: &mut Fields) -> Option<Location> {
    let kind = fields.required_text("kind", 50);
    let value = fields.text("value", 2000).flatten();
    kind.map(|kind| Location { kind, value })
}

/// A proposal that a person makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProposal {
    /// The prospect it is for.
    pub prospect_id: Id,
    title: String,
    start_time: UtcMs,
    end_time: UtcMs,
    timezone: String,
    location: Option<Location>,
}

impl NewProposal {
    /// Reads a new proposal.
    ///
    /// # Errors
    /// Every fault of the request.
    pub fn read(mut fields: Fields) -> Result<Self, Vec<Fault>> {
        for field in ["prospectId", "title", "startTime", "endTime", "timezone"] {
            fields.required_value(field);
        }
        let prospect_id = fields.some_id("prospectId");
        let edit = ProposalEdit::take(&mut fields);
        if edit.timezone == Some(None) {
            fields.fault("timezone", "must not be empty");
        }
        let timezone = edit.timezone.flatten();
        let given = (
            prospect_id,
            edit.title,
            edit.start_time,
            edit.end_time,
            timezone,
        );
        if let (_, _, Some(start), Some(end), _) = &given
            && end <= start
        {
            fields.fault("endTime", "must be after startTime");
        }
        let faults = fields.finish();
        let (Some(prospect_id), Some(title), Some(start_time), Some(end_time), Some(timezone)) =
            given
        else {
            return Err(faults.err().unwrap_or_default());
        };
        let location = edit.location.flatten();
        faults.map(|()| Self {
            prospect_id,
            title,
            start_time,
            end_time,
            timezone,
            location,
        })
    }

    /// The record, for the prospect it names.
    #[must_use]
    pub fn into_proposal(self, id: Id, prospect: &Prospect, now_ms: i64) -> Proposal {
        let slot = Slot {
            start_time: Some(self.start_time),
            end_time: Some(self.end_time),
        };
        let booked = HistoryEntry::new(What::Booked, Some(UtcMs(now_ms)));
        Proposal {
            id,
            prospect_id: prospect.id.clone(),
            conversation_id: prospect.conversation_id.clone(),
            owner_id: prospect.owner_id.clone(),
            appointment: Appointment {
                status: ProposalStatus::Pending,
                title: Some(self.title),
                start_time: slot.start_time,
                end_time: slot.end_time,
                timezone: Some(self.timezone),
                location: self.location,
                hosts: Vec::new(),
                guests: Vec::new(),
                answers: Vec::new(),
                tracking: Tracking::default(),
                cancellation: None,
                no_show: None,
                history: vec![HistoryEntry {
                    to: Some(slot),
                    ..booked
                }],
                cancel_url: None,
                reschedule_url: None,
            },
            source: Source::Manual,
            decisions: Vec::new(),
            edited: BTreeSet::new(),
            current_invitee: None,
            created_ms: now_ms,
            updated_ms: now_ms,
            version: 0,
        }
    }
}

/// Reads the reason of a decision.
///
/// # Errors
/// Every fault of the request.
pub fn read_reason(mut fields: Fields) -> Result<Option<String>, Vec<Fault>> {
    let reason = fields.text("reason", REASON).flatten();
    fields.finish().map(|()| reason)
}
