//! What a person writes into a prospect: parsed once, then applied.

use std::collections::BTreeSet;

use super::email::Email;
use super::fields::{Fault, Fields, replace};
use super::ids::Id;
use super::profile::{Profile, Tracking};
use super::prospect::{Prospect, ProspectStatus};
use super::source::Source;

/// The longest name, phone number or company, in characters.
const LINE: usize = 200;

/// The longest notes, in characters.
const NOTES: usize = 20_000;

/// The fields a person gave. An outer `None` leaves a field as it is, an inner one empties it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::option_option,
    reason = "absent, null and given are three things"
)]
pub struct ProspectEdit {
    firstname: Option<Option<String>>,
    lastname: Option<Option<String>>,
    email: Option<Email>,
    phone: Option<Option<String>>,
    company: Option<Option<String>>,
    status: Option<ProspectStatus>,
    notes: Option<Option<String>>,
    timezone: Option<Option<String>>,
    tracking: Option<Tracking>,
    /// Whose it is to be.
    pub owner_id: Option<Option<Id>>,
}

impl ProspectEdit {
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
            firstname: fields.text("firstname", LINE),
            lastname: fields.text("lastname", LINE),
            email: fields.email("email"),
            phone: fields.text("phone", LINE),
            company: fields.text("company", LINE),
            status: fields.choice("status", &ProspectStatus::ALL, |s| s.name()),
            notes: fields.text("notes", NOTES),
            timezone: fields.time_zone("timezone"),
            tracking: fields
                .object("tracking", "tracking.", tracking)
                .map(Option::unwrap_or_default),
            owner_id: fields.id("ownerId"),
        }
    }

    /// Writes the given fields into a prospect and marks those that change as edited, so that
    /// webhooks leave them alone from now on.
    pub fn apply(self, prospect: &mut Prospect) {
        let mut edited = BTreeSet::new();
        let mut mark = |field: &str, changes: bool| {
            if changes {
                edited.insert(field.to_owned());
            }
        };
        mark(
            "firstname",
            replace(&mut prospect.firstname, self.firstname),
        );
        mark("lastname", replace(&mut prospect.lastname, self.lastname));
        mark("email", replace(&mut prospect.email, self.email));
        mark("phone", replace(&mut prospect.phone, self.phone));
        mark("company", replace(&mut prospect.company, self.company));
        mark("status", replace(&mut prospect.status, self.status));
        mark("notes", replace(&mut prospect.notes, self.notes));
        mark("timezone", replace(&mut prospect.timezone, self.timezone));
        mark("tracking", replace(&mut prospect.tracking, self.tracking));
        mark("ownerId", replace(&mut prospect.owner_id, self.owner_id));
        prospect.edited.extend(edited);
    }
}

fn tracking(fields: &mut Fields) -> Tracking {
    let mut take = |field: &str| fields.text(field, 500).flatten();
    Tracking {
        utm_source: take("utmSource"),
        utm_medium: take("utmMedium"),
        utm_campaign: take("utmCampaign"),
        utm_term: take("utmTerm"),
        utm_content: take("utmContent"),
        salesforce_uuid: take("salesforceUuid"),
    }
}

/// A prospect that a person makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProspect {
    /// Its address.
    pub email: Email,
    /// Where it came from.
    pub source: Source,
    /// The other fields.
    pub edit: ProspectEdit,
}

impl NewProspect {
    /// Reads a new prospect.
    ///
    /// # Errors
    /// Every fault of the request.
    pub fn read(mut fields: Fields) -> Result<Self, Vec<Fault>> {
        let given = fields.required_value("email").is_some();
        let source = fields.choice("source", &[Source::Manual, Source::Import], |s| s.name());
        let edit = ProspectEdit::take(&mut fields);
        let email = edit.email.clone().filter(|_| given);
        let faults = fields.finish();
        match email {
            Some(email) => faults.map(|()| Self {
                email,
                source: source.unwrap_or(Source::Manual),
                edit,
            }),
            None => Err(faults.err().unwrap_or_default()),
        }
    }

    /// The record, owned by `owner_id`.
    #[must_use]
    pub fn into_prospect(
        self,
        id: Id,
        conversation_id: Id,
        owner_id: Option<&Id>,
        now_ms: i64,
    ) -> Prospect {
        let mut prospect = Prospect {
            id,
            owner_id: owner_id.cloned(),
            conversation_id,
            firstname: None,
            lastname: None,
            email: self.email,
            phone: None,
            company: None,
            status: ProspectStatus::New,
            source: self.source,
            notes: None,
            timezone: None,
            tracking: Tracking::default(),
            last_booking_ms: None,
            edited: BTreeSet::from(["email".to_owned()]),
            profile: Profile::default(),
            fold_key: None,
            form_only: false,
            created_ms: now_ms,
            updated_ms: now_ms,
            version: 0,
        };
        ProspectEdit {
            owner_id: None,
            ..self.edit
        }
        .apply(&mut prospect);
        prospect
    }
}
