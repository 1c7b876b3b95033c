//! Prospects: people who may become customers, one for each owner and e-mail address.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::email::Email;
use super::ids::Id;
use super::latest::Latest;
use super::profile::{Profile, Tracking};
use super::source::Source;
use super::text::search_key;
use super::time::UtcMs;

/// How far the sale has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProspectStatus {
    /// Nobody has been in touch yet.
    New,
    /// Somebody has.
    Contacted,
    /// Worth pursuing.
    Qualified,
    /// A customer.
    Won,
    /// Not to be.
    Lost,
}

impl ProspectStatus {
    /// All of them, in the order of a sale.
    pub const ALL: [Self; 5] = [
        Self::New,
        Self::Contacted,
        Self::Qualified,
        Self::Won,
        Self::Lost,
    ];

    /// The name used on the wire and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Contacted => "contacted",
            Self::Qualified => "qualified",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }

    /// Reads a name; `None` when there is no such status.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// The key by which webhooks find a prospect: whose meeting it was and who booked it. It stays
/// when a person assigns the prospect to somebody else or corrects its address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FoldKey {
    /// The owner that the deliveries name; `None` when they name nobody we know.
    pub owner_id: Option<Id>,
    /// The address that booked, in the form that compares equal.
    pub email_key: String,
}

/// A prospect as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prospect {
    /// Its id.
    pub id: Id,
    /// Whose it is; `None` while nobody's.
    pub owner_id: Option<Id>,
    /// The one conversation with this prospect, made with it.
    pub conversation_id: Id,
    /// Given name, or the only one.
    pub firstname: Option<String>,
    /// Family name.
    pub lastname: Option<String>,
    /// E-mail address.
    pub email: Email,
    /// Phone number as typed.
    pub phone: Option<String>,
    /// Company.
    pub company: Option<String>,
    /// How far the sale has come.
    pub status: ProspectStatus,
    /// Where the record came from.
    pub source: Source,
    /// A person's notes.
    pub notes: Option<String>,
    /// IANA time zone.
    pub timezone: Option<String>,
    /// Where the person came from originally.
    pub tracking: Tracking,
    /// When the latest booking was made, in milliseconds since the Unix epoch.
    pub last_booking_ms: Option<i64>,
    /// Fields a person edited, which webhooks leave alone.
    pub edited: BTreeSet<String>,
    /// What deliveries say about the person.
    pub profile: Profile,
    /// How webhooks find it; `None` until one did.
    pub fold_key: Option<FoldKey>,
    /// Whether only a routing form made it: the first booking by its address takes it over.
    pub form_only: bool,
    /// When the record was made, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it last changed. It never goes back, whatever clocks do, so that whoever has two
    /// versions of a record knows which is the newer one.
    pub updated_ms: i64,
    /// Grows with every write.
    pub version: i64,
}

impl Prospect {
    /// Copies what deliveries say into the fields nobody edited.
    pub fn apply_profile(&mut self) {
        let profile = &self.profile;
        let free = |field: &str| !self.edited.contains(field);
        // Another spelling only: which address it is says the key by which webhooks find it.
        let same = |email: &&Latest<Email>| email.get().key() == self.email.key();
        if let Some(email) = profile
            .email
            .as_ref()
            .filter(same)
            .filter(|_| free("email"))
        {
            self.email = email.get().clone();
        }
        if let Some(name) = &profile.name {
            if free("firstname") {
                self.firstname.clone_from(&name.get().first);
            }
            if free("lastname") {
                self.lastname.clone_from(&name.get().last);
            }
        }
        if let Some(phone) = profile.phone.as_ref().filter(|_| free("phone")) {
            self.phone = Some(phone.get().clone());
        }
        if let Some(company) = profile.company.as_ref().filter(|_| free("company")) {
            self.company = Some(company.get().clone());
        }
        if let Some(timezone) = profile.timezone.as_ref().filter(|_| free("timezone")) {
            self.timezone = Some(timezone.get().clone());
        }
        if let Some(tracking) = profile.tracking.as_ref().filter(|_| free("tracking")) {
            self.tracking = tracking.get().clone();
        }
        self.last_booking_ms = profile.last_booking_us.map(|us| UtcMs::from_us(us).0);
    }

    /// Takes over what a person wrote into another record of the same person, where nobody wrote
    /// anything into this one; notes are put together.
    pub fn keep_edits_of(&mut self, other: &Self) {
        let edits: Vec<String> = other.edited.difference(&self.edited).cloned().collect();
        for field in edits {
            match field.as_str() {
                "firstname" => self.firstname.clone_from(&other.firstname),
                "lastname" => self.lastname.clone_from(&other.lastname),
                "phone" => self.phone.clone_from(&other.phone),
                "company" => self.company.clone_from(&other.company),
                "status" => self.status = other.status,
                "timezone" => self.timezone.clone_from(&other.timezone),
                "tracking" => self.tracking.clone_from(&other.tracking),
                _ => continue,
            }
            self.edited.insert(field);
        }
        if let Some(notes) = &other.notes {
            let mine = self
                .notes
                .take()
                .map(|mine| mine + "\n\n")
                .unwrap_or_default();
            self.notes = Some(mine + notes);
            self.edited.insert("notes".to_owned());
        }
    }

    /// First and last name as one text.
    #[must_use]
    pub fn full_name(&self) -> String {
        let parts = [self.firstname.as_deref(), self.lastname.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// The name in the form lists are sorted by, cut where no order is worth a longer cursor.
    #[must_use]
    pub fn name_key(&self) -> String {
        search_key(&self.full_name()).chars().take(200).collect()
    }

    /// Name, e-mail, phone and company in the form search compares.
    #[must_use]
    pub fn search_text(&self) -> String {
        let phone = self.phone.as_deref().unwrap_or_default();
        let company = self.company.as_deref().unwrap_or_default();
        search_key(&[&self.full_name(), self.email.as_str(), phone, company].join("\n"))
    }

    /// The prospect as clients see it.
    #[must_use]
    pub fn view(&self) -> ProspectView<'_> {
        ProspectView {
            id: &self.id,
            firstname: self.firstname.as_deref(),
            lastname: self.lastname.as_deref(),
            email: &self.email,
            phone: self.phone.as_deref(),
            company: self.company.as_deref(),
            status: self.status,
            source: self.source,
            notes: self.notes.as_deref(),
            timezone: self.timezone.as_deref(),
            tracking: &self.tracking,
            owner_id: self.owner_id.as_ref(),
            created_at: UtcMs(self.created_ms),
            updated_at: UtcMs(self.updated_ms),
            last_booking_at: self.last_booking_ms.map(UtcMs),
        }
    }
}

/// A prospect as clients see it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProspectView<'a> {
    id: &'a Id,
    firstname: Option<&'a str>,
    lastname: Option<&'a str>,
    email: &'a Email,
    phone: Option<&'a str>,
    company: Option<&'a str>,
    status: ProspectStatus,
    source: Source,
    notes: Option<&'a str>,
    timezone: Option<&'a str>,
    tracking: &'a Tracking,
    owner_id: Option<&'a Id>,
    created_at: UtcMs,
    updated_at: UtcMs,
    last_booking_at: Option<UtcMs>,
}
