//! What an admin writes into a user: parsed once, then applied.

use super::email::Email;
use super::fields::{Fault, Fields};
use super::ids::Id;
use super::user::{Role, User};

/// The shortest and the longest password, in characters.
pub const PASSWORD: (usize, usize) = (12, 200);

/// The fields an admin gave. An outer `None` leaves a field as it is.
#[derive(Clone, Default)]
#[expect(
    clippy::option_option,
    reason = "absent, null and given are three things"
)]
pub struct UserEdit {
    email: Option<Email>,
    name: Option<String>,
    role: Option<Role>,
    calendly_user_uri: Option<Option<String>>,
    /// The new password.
    pub password: Option<String>,
}

impl UserEdit {
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
            email: fields.email("email"),
            name: fields.some_text("name", 200),
            role: fields.choice("role", &Role::ALL, |role| role.name()),
            calendly_user_uri: calendly_user_uri(fields),
            password: fields.secret("password", PASSWORD.0..=PASSWORD.1),
        }
    }

    /// Writes the given fields into a user.
    pub fn apply(self, user: &mut User) {
        user.email = self.email.unwrap_or_else(|| user.email.clone());
        user.name = self.name.unwrap_or_else(|| user.name.clone());
        user.role = self.role.unwrap_or(user.role);
        if let Some(uri) = self.calendly_user_uri {
            user.calendly_user_uri = uri;
        }
    }
}

#[expect(
    clippy::option_option,
    reason = "absent, null and given are three things"
)]
fn calendly_user_uri(fields: &mut Fields) -> Option<Option<String>> {
    const FIELD: &str = "calendlyUserUri";
    let uri = fields.text(FIELD, 500)?;
    if uri.as_deref().is_some_and(|uri| !is_web_address(uri)) {
        return fields.refuse(
            FIELD,
            "must be a URI, such as https://api.calendly.com/users/AAAA",
        );
    }
    Some(uri)
}

/// Whether a text can be the address of anything on the web. Whose it is, is not asked: Calendly's
/// own and those of its stand-ins in tests differ.
fn is_web_address(text: &str) -> bool {
    let schemes = ["https://", "http://"];
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// A user that an admin makes.
#[derive(Clone)]
pub struct NewUser {
    /// Its address.
    pub email: Email,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Calendly's URI of the same person.
    pub calendly_user_uri: Option<String>,
    /// Its password.
    pub password: String,
}

impl NewUser {
    /// Reads a new user.
    ///
    /// # Errors
    /// Every fault of the request.
    pub fn read(mut fields: Fields) -> Result<Self, Vec<Fault>> {
        for field in ["email", "name", "role", "password"] {
            fields.required_value(field);
        }
        let edit = UserEdit::take(&mut fields);
        let faults = fields.finish();
        let given = (edit.email, edit.name, edit.role, edit.password);
        let (Some(email), Some(name), Some(role), Some(password)) = given else {
            return Err(faults.err().unwrap_or_default());
        };
        let calendly_user_uri = edit.calendly_user_uri.flatten();
        faults.map(|()| Self {
            email,
            name,
            role,
            calendly_user_uri,
            password,
        })
    }

    /// The record, without its password.
    #[must_use]
    pub fn to_user(&self, id: Id, now_ms: i64) -> User {
        User {
            id,
            email: self.email.clone(),
            name: self.name.clone(),
            role: self.role,
            calendly_user_uri: self.calendly_user_uri.clone(),
            created_ms: now_ms,
            updated_ms: now_ms,
            version: 0,
        }
    }
}
