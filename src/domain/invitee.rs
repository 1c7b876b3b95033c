//! What Calendly has said about one invitee: the facts that a proposal is computed from.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ids::Id;
use super::latest::{Latest, join_max, join_min};
use super::profile::{Profile, Tracking};

/// The URI by which Calendly names an invitee.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InviteeUri(pub String);

/// A person who holds the meeting.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Host {
    /// Calendly's URI of the user.
    pub user_uri: Option<String>,
    /// The host's address.
    pub email: Option<String>,
    /// The host's name.
    pub name: Option<String>,
}

/// Where a meeting takes place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Calendly's word for the kind (`zoom`, `physical`, `outbound_call`, …), or a person's own.
    pub kind: String,
    /// The link, the address or the number; not known while a conference is still being set up.
    pub value: Option<String>,
}

/// The meeting an invitee is booked into, as far as deliveries told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meeting {
    /// The event type's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Latest<String>>,
    /// Start in microseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_us: Option<Latest<i64>>,
    /// End in microseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_us: Option<Latest<i64>>,
    /// Where it takes place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Latest<Location>>,
    /// Who holds it, in Calendly's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Latest<Vec<Host>>>,
    /// Addresses of guests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guests: Option<Latest<Vec<String>>>,
}

impl Meeting {
    fn join(&mut self, other: Self) {
        join_max(&mut self.title, other.title);
        join_max(&mut self.start_us, other.start_us);
        join_max(&mut self.end_us, other.end_us);
        join_max(&mut self.location, other.location);
        join_max(&mut self.hosts, other.hosts);
        join_max(&mut self.guests, other.guests);
    }
}

/// One question of the booking form with its answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Answer {
    /// The question as asked.
    pub question: String,
    /// The answer as given; check-boxes joined by newlines.
    pub answer: String,
}

/// How a booking was canceled.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cancellation {
    /// `host` or `invitee`.
    pub by: Option<String>,
    /// The name shown for who canceled.
    pub name: Option<String>,
    /// The reason given.
    pub reason: Option<String>,
    /// When, in microseconds since the Unix epoch.
    pub at_us: Option<i64>,
}

/// The links by which whoever holds them can cancel or move a booking.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Links {
    /// Cancels the booking.
    pub cancel: Option<String>,
    /// Moves the booking.
    pub reschedule: Option<String>,
}

/// A no-show mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NoShowMark {
    /// Where it stands among marks and removals, in microseconds since the Unix epoch.
    pub order_us: i64,
    /// When it was set, in microseconds since the Unix epoch.
    pub at_us: i64,
}

/// All that is known about one invitee. Every field merges by a join, so the facts are the same
/// for every order, repetition and gap of one set of deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InviteeFacts {
    /// What this invitee's deliveries say about the person.
    pub profile: Profile,
    /// The meeting.
    pub meeting: Meeting,
    /// Answers to the booking form; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Latest<Vec<Answer>>>,
    /// Where this booking came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking: Option<Latest<Tracking>>,
    /// The links to cancel and to move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Latest<Links>>,
    /// When the booking was made, in microseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booked_us: Option<i64>,
    /// The cancellation, if it was canceled. Calendly never takes one back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Latest<Cancellation>>,
    /// The invitee this one replaced in a reschedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_invitee: Option<InviteeUri>,
    /// The invitee that replaced this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_invitee: Option<InviteeUri>,
    /// No-show marks by their URI.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub no_show_marks: BTreeMap<String, NoShowMark>,
    /// When marks were removed, in microseconds since the Unix epoch. Only the moment is known,
    /// because `invitee_no_show.deleted` does not name the mark.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub no_show_removals: BTreeSet<i64>,
    /// The user behind the connection that delivered it, for bookings with no host we know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_user: Option<Id>,
}

impl InviteeFacts {
    /// Merges what `other` says about the same invitee.
    pub fn join(&mut self, other: Self) {
        self.profile.join(&other.profile);
        self.meeting.join(other.meeting);
        join_max(&mut self.answers, other.answers);
        join_max(&mut self.tracking, other.tracking);
        join_max(&mut self.links, other.links);
        join_min(&mut self.booked_us, other.booked_us);
        join_max(&mut self.cancellation, other.cancellation);
        join_max(&mut self.old_invitee, other.old_invitee);
        join_max(&mut self.new_invitee, other.new_invitee);
        for (uri, mark) in other.no_show_marks {
            self.no_show_marks
                .entry(uri)
                .and_modify(|m| *m = mark.min(*m))
                .or_insert(mark);
        }
        self.no_show_removals.extend(other.no_show_removals);
        join_max(&mut self.connection_user, other.connection_user);
    }

    /// The e-mail address in the form that finds the prospect; `None` for an invitee that is so
    /// far only named by another one.
    #[must_use]
    pub fn email_key(&self) -> Option<String> {
        self.profile
            .email
            .as_ref()
            .map(|email| email.get().key().to_owned())
    }

    /// The meeting's hosts, in Calendly's order.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        self.meeting.hosts.as_ref().map_or(&[], |hosts| hosts.get())
    }

    /// The marks and removals in order, alternating: a repeated mark or a removal of nothing has
    /// no effect. Each is `(at_us, is_mark)`.
    #[must_use]
    pub fn no_show_timeline(&self) -> Vec<(i64, bool)> {
        let marks = self
            .no_show_marks
            .values()
            .map(|mark| (mark.order_us, 0, mark.at_us));
        let removals = self.no_show_removals.iter().map(|at| (*at, 1, *at));
        let mut all: Vec<_> = marks.chain(removals).collect();
        all.sort_unstable();
        let mut timeline = Vec::with_capacity(all.len());
        for (_, kind, at_us) in all {
            let is_mark = kind == 0;
            if is_mark != timeline.last().is_some_and(|(_, marked)| *marked) {
                timeline.push((at_us, is_mark));
            }
        }
        timeline
    }
}
