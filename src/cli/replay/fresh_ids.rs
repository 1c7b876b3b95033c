//! New identities for old bookings, so that the same files make new bookings each time.
//!
//! A new id is a hash of the run, the round and the old id. So one old id becomes one new id in
//! every file of a round, links between files hold, and copies stay identical.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::email::Email;

/// The path segments that an invitee's own id follows in Calendly's URLs. Users, organizations,
/// event types and routing forms are not among them: the same hosts and forms serve every round.
const OWNERS_OF_IDS: [&str; 5] = [
    "scheduled_events",
    "invitees",
    "invitee_no_shows",
    "routing_form_submissions",
    "events",
];

/// The first path segments of links to cancel or move a booking: only ids follow.
const LINKS: [&str; 4] = ["cancellations", "reschedulings", "cancel", "reschedule"];

/// What precedes the path in Calendly's URLs, of the API and of pages for people.
const HOST: &str = "calendly.com/";

/// 32 characters, as the old 16-character ids have them.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The identities of one round of one run.
#[derive(Debug)]
pub(super) struct FreshIds {
    seeded: Sha256,
    tag: String,
}

impl FreshIds {
    /// The identities of this round; `salt` is random and the same for the whole run.
    pub(super) fn new(salt: &[u8; 16], round: usize) -> Self {
        let seeded = Sha256::new()
            .chain_update(salt)
            .chain_update(round.to_be_bytes());
        let tag = seeded.clone().chain_update("e-mail").finalize();
        Self {
            tag: format!("r{}", hex::encode(&tag[..5])),
            seeded,
        }
    }

    /// The body with new identities, serialized again; `None` when it is not JSON.
    pub(super) fn rewrite(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut envelope: Value = serde_json::from_slice(body).ok()?;
        self.rename_ids(&mut envelope);
        self.tag_emails(&mut envelope);
        serde_json::to_vec(&envelope).ok()
    }

    fn rename_ids(&self, value: &mut Value) {
        match value {
            Value::String(text) if text.contains(HOST) => *text = self.with_new_ids(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.rename_ids(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.rename_ids(field)),
            _ => {}
        }
    }

    /// Renames the ids in each of Calendly's URLs in a text, which may be nothing but the URL.
    fn with_new_ids(&self, text: &str) -> String {
        let mut parts = text.split(HOST);
        let mut renamed = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let in_path = |c: char| c.is_ascii_alphanumeric() || "/-_".contains(c);
            let end = part.find(|c| !in_path(c)).unwrap_or(part.len());
            renamed = renamed + HOST + &self.path(&part[..end]) + &part[end..];
        }
        renamed
    }

    fn path(&self, path: &str) -> String {
        let segments: Vec<&str> = path.split('/').collect();
        let is_link = LINKS.contains(&segments[0]);
        let renamed = segments.iter().enumerate().map(|(place, segment)| {
            let is_id = place > 0 && (is_link || OWNERS_OF_IDS.contains(&segments[place - 1]));
            if is_id && !segment.is_empty() {
                self.id(segment)
            } else {
                (*segment).to_owned()
            }
        });
        renamed.collect::<Vec<_>>().join("/")
    }

    fn id(&self, old: &str) -> String {
        let hash: [u8; 32] = self
            .seeded
            .clone()
            .chain_update("id")
            .chain_update(old)
            .finalize()
            .into();
        let (random, _) = hash
            .split_first_chunk()
            .expect("a hash has more than 16 bytes");
        if is_uuid_shaped(old) {
            return uuid::Builder::from_random_bytes(*random)
                .into_uuid()
                .to_string();
        }
        random
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
            .collect()
    }

    /// Tags the invitee's address. Hosts and guests stay who they are.
    fn tag_emails(&self, envelope: &mut Value) {
        let event = envelope["event"].as_str().unwrap_or_default();
        let is_form = event.starts_with("routing_form_submission.");
        if let Some(email) = envelope.pointer_mut("/payload/email") {
            self.tag_email(email);
        }
        if let Some(Value::Array(answers)) = envelope.pointer_mut("/payload/questions_and_answers")
            && is_form
        {
            answers
                .iter_mut()
                .filter_map(|a| a.get_mut("answer"))
                .for_each(|a| self.tag_email(a));
        }
    }

    fn tag_email(&self, value: &mut Value) {
        if let Value::String(text) = value
            && Email::parse(text).is_some()
            && let Some(at) = text.rfind('@')
        {
            text.insert_str(at, &format!("+{}", self.tag));
        }
    }
}

fn is_uuid_shaped(id: &str) -> bool {
    id.len() == 36
        && [8, 13, 18, 23]
            .iter()
            .all(|place| id.as_bytes()[*place] == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EVENT: &str = "00000000-0000-4000-8000-000000000101";
    const OLD: &str = "00000000-0000-4000-8000-000000000201";
    const NEW: &str = "AAAAAAAAAAAAAAAA";

    fn ids(round: usize) -> FreshIds {
        FreshIds::new(&[7; 16], round)
    }

    fn rewritten(ids: &FreshIds, body: &Value) -> Value {
        serde_json::from_slice(&ids.rewrite(body.to_string().as_bytes()).unwrap()).unwrap()
    }

    fn invitee(event: &str, id: &str) -> String {
        format!("https://api.calendly.com/scheduled_events/{event}/invitees/{id}")
    }

    fn canceled() -> Value {
        json!({
            "event": "invitee.canceled",
            "created_by": format!("https://api.calendly.com/users/{EVENT}"),
            "payload": {
                "uri": invitee(EVENT, OLD),
                "new_invitee": invitee(NEW, NEW),
                "no_show": {"uri": format!("https://api.calendly.com/invitee_no_shows/{OLD}")},
                "routing_form_submission":
                    format!("https://api.calendly.com/routing_form_submissions/{NEW}"),
                "cancel_url": format!("https://calendly.com/cancellations/{OLD}?a=1"),
                "reschedule_url": format!("https://calendly.com/reschedule/{EVENT}/{OLD}"),
                "email": "Ada@example.com",
                "questions_and_answers": [{"answer": "ada@example.com"}],
                "scheduled_event": {
                    "uri": format!("https://api.calendly.com/scheduled_events/{EVENT}"),
                    "event_type": format!("https://api.calendly.com/event_types/{EVENT}"),
                    "location": {"join_url": format!("https://calendly.com/events/{EVENT}/meet")},
                    "event_memberships": [{
                        "user": format!("https://api.calendly.com/users/{EVENT}"),
                        "user_email": "host@example.com",
                    }],
                    "event_guests": [{"email": "guest@example.com"}],
                    "meeting_notes_html":
                        format!("<a href=\"https://calendly.com/cancellations/{OLD}\">no</a>."),
                },
                "amount": 12.5,
            },
        })
    }

    #[test]
    fn every_id_of_the_booking_changes_everywhere_and_nothing_else() {
        let ids = ids(0);
        let [event, old, new] = [EVENT, OLD, NEW].map(|id| ids.id(id));
        let text = canceled().to_string();
        let expected = text
            .replace(OLD, &old)
            .replace(NEW, &new)
            .replace(EVENT, &event)
            .replace(&format!("users/{event}"), &format!("users/{EVENT}"))
            .replace(
                &format!("event_types/{event}"),
                &format!("event_types/{EVENT}"),
            )
            .replace("Ada@", &format!("Ada+{}@", ids.tag));
        assert_eq!(rewritten(&ids, &canceled()).to_string(), expected);
    }

    #[test]
    fn new_ids_have_the_shape_of_the_old() {
        let uuid = ids(0).id(OLD);
        assert!(
            is_uuid_shaped(&uuid) && uuid::Uuid::try_parse(&uuid).is_ok(),
            "{uuid}"
        );
        let short = ids(0).id(NEW);
        assert!(
            short.len() == 16 && short.bytes().all(|b| ALPHABET.contains(&b)),
            "{short}"
        );
    }

    #[test]
    fn reschedule_links_hold_across_files() {
        let created = json!({
            "event": "invitee.created",
            "payload": {"uri": invitee(NEW, NEW), "old_invitee": invitee(EVENT, OLD)},
        });
        let [canceled, created] = [canceled(), created].map(|body| rewritten(&ids(0), &body));
        assert_eq!(
            canceled["payload"]["new_invitee"],
            created["payload"]["uri"]
        );
        assert_eq!(
            canceled["payload"]["uri"],
            created["payload"]["old_invitee"]
        );
    }

    #[test]
    fn copies_are_identical_and_rounds_and_runs_differ() {
        let body = canceled().to_string();
        let sent = |ids: FreshIds| ids.rewrite(body.as_bytes()).unwrap();
        assert_eq!(sent(ids(0)), sent(ids(0)));
        assert_ne!(sent(ids(0)), sent(ids(1)));
        assert_ne!(sent(ids(0)), sent(FreshIds::new(&[8; 16], 0)));
    }

    #[test]
    fn a_form_and_the_booking_after_it_keep_one_person() {
        let form = json!({
            "event": "routing_form_submission.created",
            "payload": {
                "uri": "https://api.calendly.com/routing_form_submissions/AAAAAAAAAAAAAAAA",
                "routing_form": "https://api.calendly.com/routing_forms/AAAAAAAAAAAAAAAA",
                "questions_and_answers": [
                    {"answer": "we are @ home"},
                    {"answer": null},
                    {"answer": " ada@example.com "},
                ],
            },
        });
        let ids = ids(3);
        let form = rewritten(&ids, &form);
        let answers = &form["payload"]["questions_and_answers"];
        assert_eq!(answers[0]["answer"], "we are @ home");
        assert_eq!(
            answers[2]["answer"],
            format!(" ada+{}@example.com ", ids.tag)
        );
        assert!(
            form["payload"]["routing_form"]
                .as_str()
                .unwrap()
                .ends_with("/AAAAAAAAAAAAAAAA")
        );
        assert!(
            !form["payload"]["uri"]
                .as_str()
                .unwrap()
                .ends_with("/AAAAAAAAAAAAAAAA")
        );
    }

    #[test]
    fn what_is_not_an_envelope_is_left_alone() {
        assert_eq!(ids(0).rewrite(b"{\"event\":"), None);
        assert_eq!(
            ids(0).rewrite(b"[1,\"x@example.com\"]").unwrap(),
            b"[1,\"x@example.com\"]"
        );
        assert_eq!(ids(0).rewrite(b"\"\"").unwrap(), b"\"\"");
    }
}
