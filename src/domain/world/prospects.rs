//! Which prospect an invitee belongs to, and how routing forms and corrections move it.

use std::collections::BTreeSet;

use super::{Context, Incomplete, World};
use crate::domain::email::Email;
use crate::domain::ids::Id;
use crate::domain::invitee::InviteeUri;
use crate::domain::profile::{Profile, Tracking};
use crate::domain::prospect::{FoldKey, Prospect, ProspectStatus};
use crate::domain::source::Source;

impl World {
    /// Finds or makes the invitee's prospect and adds what is known of the person.
    pub(super) fn settle_prospect(
        &mut self,
        uri: &InviteeUri,
        cx: Context<'_>,
    ) -> Result<(), Incomplete> {
        let invitee = &self.invitees[uri];
        let Some(email_key) = invitee.facts.email_key() else {
            return Ok(());
        };
        let key = FoldKey {
            owner_id: self.directory.owner_of(&invitee.facts),
            email_key,
        };
        let present = invitee
            .prospect_id
            .clone()
            .filter(|id| self.prospects.contains_key(id));
        let stays = |id: &Id| self.belongs(uri, id, &key) || self.find(&key).as_ref() == Some(id);
        let stays = present.as_ref().is_some_and(stays);
        let prospect = match present {
            Some(id) if stays => id,
            Some(id) => self.move_invitee(uri, &id, &key, cx)?,
            None => self.find_or_create(&key, uri, cx)?,
        };
        let contribution = self.contribution(uri);
        let record = self.touch_prospect(&prospect);
        record.profile.join(&contribution);
        record.form_only = false;
        record.apply_profile();
        let invitee = self.touch_invitee(uri);
        invitee.owner_id = key.owner_id;
        invitee.prospect_id = Some(prospect);
        Ok(())
    }

    /// Whether the invitee's owner and address are still those that led it to its prospect. Where
    /// a person chose the owner, who hosts the meeting no longer matters.
    fn belongs(&self, uri: &InviteeUri, prospect: &Id, key: &FoldKey) -> bool {
        let prospect = &self.prospects[prospect];
        let same_owner =
            self.invitees[uri].owner_id == key.owner_id || prospect.edited.contains("ownerId");
        let folded = prospect.fold_key.as_ref().map(|fold| &fold.email_key);
        same_owner && (folded == Some(&key.email_key) || prospect.email.key() == key.email_key)
    }

    fn find_or_create(
        &mut self,
        key: &FoldKey,
        uri: &InviteeUri,
        cx: Context<'_>,
    ) -> Result<Id, Incomplete> {
        if let Some(id) = self.find_or_claim(key)? {
            return Ok(id);
        }
        let profile = self.contribution(uri);
        Ok(self.create_prospect(key.owner_id.clone(), &key.email_key, false, &profile, cx))
    }

    /// Finds the prospect, or takes over the one that only a routing form made.
    fn find_or_claim(&mut self, key: &FoldKey) -> Result<Option<Id>, Incomplete> {
        if let Some(id) = self.find(key) {
            self.adopt(&id, key);
            return Ok(Some(id));
        }
        if key.owner_id.is_some()
            && let Some(id) = self.unclaimed_form(&key.email_key)
        {
            self.need_complete(&id)?;
            self.hand_to(&id, key);
            return Ok(Some(id));
        }
        Ok(None)
    }

    /// Makes the prospect of a routing form again when the last booking of its address left.
    fn restore_form(&mut self, email_key: Option<String>, cx: Context<'_>) {
        let Some(email_key) = email_key else { return };
        let Some(form) = self.forms.get(&email_key).cloned() else {
            return;
        };
        if self.prospects_of_address(&email_key).is_empty() {
            let id = self.create_prospect(None, &email_key, true, &form, cx);
            self.touch_prospect(&id).apply_profile();
        }
    }

    /// The prospect of that owner and address: by what it is now, else by what webhooks knew it as.
    fn find(&self, key: &FoldKey) -> Option<Id> {
        let now = |p: &&Prospect| p.owner_id == key.owner_id && p.email.key() == key.email_key;
        let known = |p: &&Prospect| p.fold_key.as_ref() == Some(key);
        let mut all = self.prospects.values();
        all.find(now)
            .or_else(|| self.prospects.values().find(known))
            .map(|p| p.id.clone())
    }

    /// Lets webhooks find a prospect that a person made, and gives it what forms said.
    fn adopt(&mut self, id: &Id, key: &FoldKey) {
        let taken = self
            .prospects
            .values()
            .any(|p| p.fold_key.as_ref() == Some(key));
        let form = self.forms.get(&key.email_key).cloned().unwrap_or_default();
        let prospect = self.touch_prospect(id);
        if prospect.fold_key.is_none() && !taken {
            prospect.fold_key = Some(key.clone());
        }
        prospect.profile.join(&form);
    }

    /// A prospect that only a routing form made and nobody owns.
    fn unclaimed_form(&self, email_key: &str) -> Option<Id> {
        let unclaimed = |p: &&Prospect| {
            let folded = p
                .fold_key
                .as_ref()
                .is_some_and(|fold| fold.email_key == email_key);
            let edited = p.edited.contains("ownerId") || p.edited.contains("email");
            folded && p.form_only && p.owner_id.is_none() && !edited
        };
        self.prospects
            .values()
            .find(unclaimed)
            .map(|p| p.id.clone())
    }

    fn need_complete(&self, id: &Id) -> Result<(), Incomplete> {
        if self.complete.contains(id) {
            Ok(())
        } else {
            Err(Incomplete(id.clone()))
        }
    }

    /// Gives a prospect and its proposals to the owner that webhooks name, unless a person chose
    /// another.
    fn hand_to(&mut self, id: &Id, key: &FoldKey) {
        let prospect = self.touch_prospect(id);
        prospect.fold_key = Some(key.clone());
        if !prospect.edited.contains("email") && prospect.email.key() != key.email_key {
            prospect.email = Email::from_stored(key.email_key.clone());
        }
        if !prospect.edited.contains("ownerId") {
            prospect.owner_id.clone_from(&key.owner_id);
        }
        let owner = prospect.owner_id.clone();
        for proposal in self.proposals_of(id) {
            self.touch_proposal(&proposal).owner_id.clone_from(&owner);
        }
    }

    fn proposals_of(&self, prospect: &Id) -> Vec<Id> {
        let all = self
            .proposals
            .values()
            .filter(|p| p.prospect_id == *prospect);
        all.map(|p| p.id.clone()).collect()
    }

    /// A later delivery said more about who hosts the meeting, or corrected the address: the
    /// invitee leaves its prospect as if it had never been there.
    fn move_invitee(
        &mut self,
        uri: &InviteeUri,
        from: &Id,
        key: &FoldKey,
        cx: Context<'_>,
    ) -> Result<Id, Incomplete> {
        self.need_complete(from)?;
        let others: Vec<InviteeUri> = self
            .invitees
            .iter()
            .filter(|(other, i)| *other != uri && i.prospect_id.as_ref() == Some(from))
            .map(|(other, _)| other.clone())
            .collect();
        let goes = others.is_empty() && self.is_automatic(from, uri);
        let left = self.prospects[from]
            .fold_key
            .as_ref()
            .map(|f| f.email_key.clone());
        self.forget(from, &others);
        let target = self.find_or_claim(key)?;
        let home = match target {
            Some(target) => {
                if goes {
                    self.remove_prospect(from);
                    self.note_merged(from, &target);
                }
                target
            }
            None if goes => self.rekey(from, key),
            None => {
                let profile = self.contribution(uri);
                self.create_prospect(key.owner_id.clone(), &key.email_key, false, &profile, cx)
            }
        };
        self.restore_form(left, cx);
        Ok(home)
    }

    /// Whether nobody edited the prospect or made a proposal for it, so that it may go with its
    /// only booking.
    fn is_automatic(&self, id: &Id, uri: &InviteeUri) -> bool {
        let chain = self.invitees[uri].proposal_id.as_ref();
        let prospect = &self.prospects[id];
        prospect.source == Source::Calendly
            && prospect.edited.is_empty()
            && self
                .proposals_of(id)
                .iter()
                .all(|proposal| Some(proposal) == chain)
    }

    /// Computes the prospect's profile anew from the bookings that stay.
    fn forget(&mut self, id: &Id, staying: &[InviteeUri]) {
        let folded = self.prospects[id]
            .fold_key
            .as_ref()
            .map(|fold| fold.email_key.clone());
        let form = folded.and_then(|email_key| self.forms.get(&email_key));
        let mut profile = form.cloned().unwrap_or_default();
        for uri in staying {
            profile.join(&self.contribution(uri));
        }
        if staying.is_empty() {
            return;
        }
        let prospect = self.touch_prospect(id);
        reset_automatic_fields(prospect);
        prospect.profile = profile;
        prospect.apply_profile();
    }

    /// Lets an automatic prospect become the one of its only booking's new owner and address.
    fn rekey(&mut self, from: &Id, key: &FoldKey) -> Id {
        let profile = self.forms.get(&key.email_key).cloned().unwrap_or_default();
        self.hand_to(from, key);
        let prospect = self.touch_prospect(from);
        reset_automatic_fields(prospect);
        prospect.profile = profile;
        from.clone()
    }

    /// Prospects with the address, now or as webhooks knew them.
    pub(super) fn prospects_of_address(&self, email_key: &str) -> Vec<Id> {
        let has = |p: &&Prospect| {
            let folded = p.fold_key.as_ref().map(|fold| fold.email_key.as_str());
            folded == Some(email_key) || p.email.key() == email_key
        };
        self.prospects
            .values()
            .filter(has)
            .map(|p| p.id.clone())
            .collect()
    }

    /// Makes a prospect from what is known of the person.
    pub(super) fn create_prospect(
        &mut self,
        owner_id: Option<Id>,
        email_key: &str,
        form_only: bool,
        profile: &Profile,
        cx: Context<'_>,
    ) -> Id {
        let mut profile = profile.clone();
        profile.join(self.forms.get(email_key).unwrap_or(&Profile::default()));
        let id = cx.ids.prospect_id(cx.now_ms);
        let prospect = Prospect {
            conversation_id: cx.ids.conversation_id(&id, cx.now_ms),
            id: id.clone(),
            owner_id: owner_id.clone(),
            firstname: None,
            lastname: None,
            email: Email::from_stored(email_key.to_owned()),
            phone: None,
            company: None,
            status: ProspectStatus::New,
            source: Source::Calendly,
            notes: None,
            timezone: None,
            tracking: Tracking::default(),
            last_booking_ms: None,
            edited: BTreeSet::new(),
            profile,
            fold_key: Some(FoldKey {
                owner_id,
                email_key: email_key.to_owned(),
            }),
            form_only,
            created_ms: cx.now_ms,
            updated_ms: cx.now_ms,
            version: 0,
        };
        self.add_prospect(prospect);
        id
    }
}

/// Empties the fields that come from deliveries, before they are filled anew.
fn reset_automatic_fields(prospect: &mut Prospect) {
    let edited = prospect.edited.clone();
    let free = |field: &str| !edited.contains(field);
    for (field, value) in [
        ("firstname", &mut prospect.firstname),
        ("lastname", &mut prospect.lastname),
        ("phone", &mut prospect.phone),
        ("company", &mut prospect.company),
        ("timezone", &mut prospect.timezone),
    ] {
        if free(field) {
            *value = None;
        }
    }
    if free("tracking") {
        prospect.tracking = Tracking::default();
    }
}
