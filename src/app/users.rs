//! Users as admins manage them, over HTTP and on the command line.

use super::auth::session_ended;
use super::cursor::PageQuery;
use super::log::SessionEnd;
use super::prospects::hand_over_proposals;
use super::{App, Error, Listed, Read, Result, head, password};
use crate::domain::event::{NewEvent, proposal_events, prospect_events};
use crate::domain::fields::Fields;
use crate::domain::ids::Id;
use crate::domain::proposal::Proposal;
use crate::domain::prospect::Prospect;
use crate::domain::user::{Role, User};
use crate::domain::user_edit::{NewUser, UserEdit};
use crate::store::paging::Position;
use crate::store::{self, Tx, users};

/// How many prospects of a leaving user are handed over in one transaction.
const HAND_OVER: i64 = 200;

impl App {
    /// Lists users, oldest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a foreign cursor.
    pub async fn users(&self, query: PageQuery) -> Result<Listed<User>> {
        let limit = query.limit;
        let page = self.tokens.page("users", query)?;
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let found = users::list(&mut reader.db(), page).await?;
        let position = |u: &User| Position {
            key: users::sort_key(u),
            id: u.id.to_string(),
        };
        Ok(self.listed("users", limit, found, seq, position))
    }

    /// Reads a user.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn user(&self, id: &Id) -> Result<Read<User>> {
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let record = users::find(&mut reader.db(), id)
            .await?
            .ok_or(Error::NotFound)?;
        Ok(Read { record, seq })
    }

    /// Finds a user by address.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn user_by_email(&self, email_key: &str) -> Result<User> {
        let mut reader = self.store.read().await?;
        users::find_by_email(&mut reader.db(), email_key)
            .await?
            .ok_or(Error::NotFound)
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`Error::Conflict`] `email_taken` or `calendly_user_taken`.
    pub async fn create_user(&self, new: NewUser) -> Result<User> {
        let user = new.to_user(self.new_id(), self.now_ms());
        let hash = self.passwords.hash(new.password).await?;
        let mut tx = self.store.begin_fold().await?;
        check_unique(&mut tx, &user).await?;
        users::insert(&mut tx.db(), &user, &hash).await?;
        self.commit(tx, Vec::new()).await?;
        Ok(User { version: 1, ..user })
    }

    /// Whether anybody can manage the product.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_admin(&self) -> Result<bool> {
        Ok(users::count_admins(&mut self.store.read().await?.db()).await? > 0)
    }

    /// Makes the first admin, when there is no user yet. Answers its password when it was
    /// generated.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the address or the password does not fit.
    pub async fn create_first_admin(
        &self,
        email: &str,
        chosen: Option<String>,
    ) -> Result<Option<String>> {
        if users::count(&mut self.store.read().await?.db()).await? > 0 {
            return Ok(None);
        }
        let generated = if chosen.is_none() {
            Some(password::generate()?)
        } else {
            None
        };
        let password = chosen.or_else(|| generated.clone()).unwrap_or_default();
        let request = serde_json::json!({
            "email": email, "name": "Admin", "role": Role::Admin, "password": password,
        });
        let fields = Fields::new(request.as_object().cloned().unwrap_or_default());
        let new = NewUser::read(fields).map_err(Error::Invalid)?;
        match self.create_user(new).await {
            // Another node that starts at the same moment made it.
            Err(Error::Conflict { .. }) => Ok(None),
            made => made.map(|_| generated),
        }
    }

    /// Changes a user. A new password or role ends the user's sessions, but not the one that
    /// asks (`keep`).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::Conflict`] `email_taken`,
    /// `calendly_user_taken` or `last_admin`.
    pub async fn update_user(
        &self,
        id: &Id,
        mut edit: UserEdit,
        keep: Option<&Id>,
        unchanged: impl Fn(i64) -> bool,
    ) -> Result<User> {
        let hash = match edit.password.take() {
            Some(password) => Some(self.passwords.hash(password).await?),
            None => None,
        };
        let mut tx = self.store.begin_fold().await?;
        let before = users::find(&mut tx.db(), id)
            .await?
            .ok_or(Error::NotFound)?;
        if !unchanged(before.version) {
            return Err(Error::Stale);
        }
        let mut after = before.clone();
        edit.apply(&mut after);
        if after == before && hash.is_none() {
            return Ok(before);
        }
        after.updated_ms = self.now_ms().max(before.updated_ms);
        check_unique(&mut tx, &after).await?;
        if !users::update(&mut tx.db(), &after, hash.as_deref()).await? {
            return Err(last_admin());
        }
        // By these bookings find their owner.
        let found_by = |user: &User| (user.email.key().to_owned(), user.calendly_user_uri.clone());
        if found_by(&before) != found_by(&after) {
            users::note_before(&mut tx.db(), &before, self.now_ms()).await?;
        }
        let revoke = hash.is_some() || after.role != before.role;
        // A session that goes on must have the rights it began with.
        let keep = keep.filter(|_| after.role == before.role);
        let events = if revoke {
            self.revoke_sessions(&mut tx, id, keep).await?
        } else {
            Vec::new()
        };
        self.commit(tx, events).await?;
        Ok(User {
            version: after.version + 1,
            ..after
        })
    }

    async fn revoke_sessions(
        &self,
        tx: &mut Tx,
        user_id: &Id,
        keep: Option<&Id>,
    ) -> Result<Vec<NewEvent>> {
        let now_ms = self.now_ms();
        let ended = store::sessions::end_all(&mut tx.db(), user_id, keep, now_ms).await?;
        Ok(ended
            .iter()
            .map(|session| session_ended(session, SessionEnd::Revoked))
            .collect())
    }

    /// Deletes a user. Its prospects become nobody's, a few at a time, so that bookings keep
    /// coming in meanwhile; cut short, it can be asked for again.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::Conflict`] `last_admin`.
    pub async fn delete_user(&self, id: &Id, unchanged: impl Fn(i64) -> bool) -> Result<()> {
        loop {
            let mut tx = self.store.begin_fold().await?;
            let user = users::find(&mut tx.db(), id)
                .await?
                .ok_or(Error::NotFound)?;
            if !unchanged(user.version) {
                return Err(Error::Stale);
            }
            if user.role == Role::Admin && users::count_admins(&mut tx.db()).await? == 1 {
                return Err(last_admin());
            }
            let prospects = store::prospects::some_of_owner(&mut tx.db(), id, HAND_OVER).await?;
            if prospects.is_empty() {
                let events = self.revoke_sessions(&mut tx, id, None).await?;
                users::delete(&mut tx.db(), id).await?;
                return self.commit(tx, events).await;
            }
            let mut events = Vec::new();
            for prospect in prospects {
                events.extend(self.release(&mut tx, prospect).await?);
            }
            self.commit(tx, events).await?;
        }
    }

    /// Makes a prospect nobody's, or adds its proposals to nobody's prospect with its address.
    async fn release(&self, tx: &mut Tx, before: Prospect) -> Result<Vec<NewEvent>> {
        let now_ms = self.now_ms();
        let email_key = before.email.key();
        if let Some(other) = store::prospects::find_by_email(&mut tx.db(), None, email_key).await? {
            return merge(tx, &before, &other, now_ms).await;
        }
        let after = Prospect {
            owner_id: None,
            updated_ms: now_ms.max(before.updated_ms),
            ..before.clone()
        };
        store::prospects::write(&mut tx.db(), &[&after]).await?;
        let mut events = prospect_events(Some(&before), Some(&after));
        events.extend(hand_over_proposals(tx, &after, now_ms).await?);
        Ok(events)
    }
}

/// Moves a prospect's proposals and bookings to another one and deletes it.
async fn merge(tx: &mut Tx, from: &Prospect, to: &Prospect, now_ms: i64) -> Result<Vec<NewEvent>> {
    let before = store::proposals::by_prospects(&mut tx.db(), [&from.id]).await?;
    let moved = |proposal: &Proposal| Proposal {
        prospect_id: to.id.clone(),
        conversation_id: to.conversation_id.clone(),
        owner_id: to.owner_id.clone(),
        updated_ms: now_ms.max(proposal.updated_ms),
        ..proposal.clone()
    };
    let after: Vec<Proposal> = before.iter().map(moved).collect();
    store::proposals::write(&mut tx.db(), &after.iter().collect::<Vec<_>>()).await?;
    store::fold::move_bookings(&mut tx.db(), &from.id, &to.id).await?;
    store::merged::note(&mut tx.db(), [(&from.id, &to.id)]).await?;
    store::prospects::delete(&mut tx.db(), from).await?;
    let mut joined = to.clone();
    joined.profile.join(&from.profile);
    joined.apply_profile();
    joined.keep_edits_of(from);
    joined.form_only = false;
    if joined.view() != to.view() {
        joined.updated_ms = now_ms.max(to.updated_ms);
    }
    store::prospects::write(&mut tx.db(), &[&joined]).await?;
    let mut events = prospect_events(Some(to), Some(&joined));
    let told = before.iter().zip(&after);
    events.extend(told.flat_map(|(old, new)| proposal_events(Some(old), Some(new), false)));
    events.extend(prospect_events(Some(from), None));
    Ok(events)
}

async fn check_unique(tx: &mut Tx, user: &User) -> Result<()> {
    let email_key = user.email.key();
    let taken = users::find_by_email(&mut tx.db(), email_key).await?;
    if taken.is_some_and(|other| other.id != user.id) {
        return Err(Error::conflict(
            "email_taken",
            "another user has this e-mail address",
        ));
    }
    let Some(uri) = user.calendly_user_uri.as_deref() else {
        return Ok(());
    };
    let named = users::named(&mut tx.db(), [uri], [], []).await?;
    if named.iter().any(|other| other.id != user.id) {
        let detail = "another user has this Calendly URI";
        return Err(Error::conflict("calendly_user_taken", detail));
    }
    Ok(())
}

fn last_admin() -> Error {
    Error::conflict("last_admin", "the last admin cannot be removed")
}
