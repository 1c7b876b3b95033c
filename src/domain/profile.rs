//! What is known of a person from bookings and forms: the automatic part of a prospect.

use serde::{Deserialize, Serialize};

use super::email::Email;
use super::latest::{Latest, join_max, join_min};

/// A name, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// The given name, or the only one.
    pub first: Option<String>,
    /// The rest.
    pub last: Option<String>,
}

/// Where a booking came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracking {
    /// `utm_source` of the link that was followed.
    pub utm_source: Option<String>,
    /// `utm_medium` of the link.
    pub utm_medium: Option<String>,
    /// `utm_campaign` of the link.
    pub utm_campaign: Option<String>,
    /// `utm_term` of the link.
    pub utm_term: Option<String>,
    /// `utm_content` of the link.
    pub utm_content: Option<String>,
    /// The Salesforce record the link named.
    pub salesforce_uuid: Option<String>,
}

impl Tracking {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Everything bookings and forms say about one person. Merging is a join: any order and any
/// repeats of the same statements end in the same profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// The address as it was last typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Latest<Email>>,
    /// The latest name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Latest<Name>>,
    /// The latest phone number, as typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<Latest<String>>,
    /// The latest company.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<Latest<String>>,
    /// The latest IANA time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Latest<String>>,
    /// The first tracking that said anything: where the person came from originally.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking: Option<Latest<Tracking>>,
    /// When the latest booking was made, in microseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_booking_us: Option<i64>,
}

impl Profile {
    /// Merges what `other` says into this profile.
    pub fn join(&mut self, other: &Self) {
        join_max(&mut self.email, other.email.clone());
        join_max(&mut self.name, other.name.clone());
        join_max(&mut self.phone, other.phone.clone());
        join_max(&mut self.company, other.company.clone());
        join_max(&mut self.timezone, other.timezone.clone());
        join_min(&mut self.tracking, other.tracking.clone());
        join_max(&mut self.last_booking_us, other.last_booking_us);
    }
}
