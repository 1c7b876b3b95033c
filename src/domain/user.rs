//! Users: the people who sign in, and which of them a meeting's host is.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::email::Email;
use super::ids::Id;
use super::invitee::{Host, InviteeFacts};
use super::time::UtcMs;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees and manages everything.
    Admin,
    /// Sees what it owns.
    Member,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Admin, Self::Member];

    /// The name used on the wire and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// Reads a name; `None` when there is no such role.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A user as it is kept, without the password's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: Id,
    /// The address it signs in with.
    pub email: Email,
    /// The name shown to others.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Calendly's URI of the same person, by which bookings find their owner.
    pub calendly_user_uri: Option<String>,
    /// When the record was made, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it last changed.
    pub updated_ms: i64,
    /// Grows with every write.
    pub version: i64,
}

impl User {
    /// The user as clients see it.
    #[must_use]
    pub fn view(&self) -> UserView<'_> {
        UserView {
            id: &self.id,
            email: &self.email,
            name: &self.name,
            role: self.role,
            calendly_user_uri: self.calendly_user_uri.as_deref(),
            created_at: UtcMs(self.created_ms),
            updated_at: UtcMs(self.updated_ms),
        }
    }
}

/// A user as clients see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserView<'a> {
    id: &'a Id,
    email: &'a Email,
    name: &'a str,
    role: Role,
    calendly_user_uri: Option<&'a str>,
    created_at: UtcMs,
    updated_at: UtcMs,
}

/// Who asks for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: Id,
    /// What it may do.
    pub role: Role,
    /// The session it signed in with.
    pub session_id: Id,
}

impl Caller {
    /// Whether the caller is an admin.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// Whether the caller may see a record of `owner`.
    #[must_use]
    pub fn may_see(&self, owner: Option<&Id>) -> bool {
        self.is_admin() || owner == Some(&self.user_id)
    }
}

/// The users who may own bookings, found by Calendly's URI, by e-mail or by id.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    by_uri: HashMap<String, Id>,
    by_email: HashMap<String, Id>,
    ids: HashSet<Id>,
}

impl Directory {
    /// A directory of the given users: id, e-mail, and Calendly's URI where it is known.
    pub fn new(users: impl IntoIterator<Item = (Id, Email, Option<String>)>) -> Self {
        let mut directory = Self::default();
        for (id, email, uri) in users {
            directory
                .by_email
                .insert(email.key().to_owned(), id.clone());
            directory.ids.insert(id.clone());
            if let Some(uri) = uri {
                directory.by_uri.insert(uri, id);
            }
        }
        directory
    }

    /// The user who is this host.
    #[must_use]
    pub fn user_of(&self, host: &Host) -> Option<&Id> {
        self.by_uri(host).or_else(|| self.by_email(host))
    }

    /// Who owns an invitee's booking (contract, 3.3): the first host whose URI is a user's, else
    /// the first whose e-mail is, else the connection's user, else nobody.
    #[must_use]
    pub fn owner_of(&self, facts: &InviteeFacts) -> Option<Id> {
        let hosts = facts.hosts();
        let by_uri = hosts.iter().find_map(|host| self.by_uri(host));
        let host = by_uri.or_else(|| hosts.iter().find_map(|host| self.by_email(host)));
        let connected = facts
            .connection_user
            .as_ref()
            .filter(|id| self.ids.contains(*id));
        host.or(connected).cloned()
    }

    fn by_uri(&self, host: &Host) -> Option<&Id> {
        self.by_uri.get(host.user_uri.as_deref()?)
    }

    fn by_email(&self, host: &Host) -> Option<&Id> {
        self.by_email
            .get(&host.email.as_deref()?.trim().to_lowercase())
    }
}
