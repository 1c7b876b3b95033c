//! The natural key by which one event is known again, whoever delivers it and how often.
//!
//! Calendly sends no delivery id \[C\]. Only the signed body takes part, never a header: whoever
//! can change a header could otherwise make a duplicate look new.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Content, Envelope, InviteeEvent};
use crate::calendly::lenient::{object, object_of, text, uri};

const EVENT_DOMAIN: &str = "bookbell/event";
const BODY_DOMAIN: &str = "bookbell/body";

/// The few fields that tell two events of one invitee and one name apart.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Occurrence<'a> {
    #[serde(borrow, deserialize_with = "object")]
    cancellation: Option<Stamp<'a>>,
    #[serde(deserialize_with = "object")]
    no_show: Option<Stamp<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stamp<'a> {
    #[serde(borrow, deserialize_with = "uri")]
    uri: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "text")]
    created_at: Option<Cow<'a, str>>,
}

/// The key of a body that [`parse`](super::parse) refuses: 32 hex digits, never those of an event.
#[must_use]
pub fn body_key(body: &[u8]) -> String {
    key(None, BODY_DOMAIN, &[body])
}

/// The natural key of a readable event, 32 hex digits.
pub(super) fn dedupe_key(envelope: &Envelope<'_>, content: &Content<'_>, body: &[u8]) -> String {
    let event = envelope.event.as_bytes();
    let payload = envelope.payload.map(RawValue::get);
    match content {
        Content::Invitee { kind, payload: who } => {
            let which = occurrence(
                *kind,
                payload.unwrap_or_default(),
                envelope.created_at.as_ref(),
            );
            let parts = [event, who.uri.as_bytes(), which.as_bytes()];
            key(who.created_at_us, EVENT_DOMAIN, &parts)
        }
        Content::RoutingForm(form) => {
            let parts = [event, form.uri.as_bytes()];
            key(form.created_at_us, EVENT_DOMAIN, &parts)
        }
        // Without the envelope, which may differ in the copy that another subscription sends.
        Content::Other => key(
            None,
            EVENT_DOMAIN,
            &[event, payload.map_or(body, str::as_bytes)],
        ),
    }
}

/// What tells this event from an earlier one of the same invitee; empty when it happens once.
///
/// Times are compared as they were sent, so one that cannot be read still counts.
fn occurrence<'a>(
    kind: InviteeEvent,
    payload: &'a str,
    sent_at: Option<&Cow<'a, str>>,
) -> Cow<'a, str> {
    // The payload is read once more only for those that need it: bookings, the most, do not.
    let said = || object_of::<Occurrence<'a>>(payload).unwrap_or_default();
    let which = match kind {
        InviteeEvent::Created => None,
        InviteeEvent::Canceled => said().cancellation.and_then(|stamp| stamp.created_at),
        InviteeEvent::NoShowCreated => said()
            .no_show
            .and_then(|stamp| stamp.uri.or(stamp.created_at))
            .or_else(|| sent_at.cloned()),
        // The payload says nothing about a removed mark: `no_show` is null and `updated_at` is not
        // bumped [R], so marking and removing twice differs in the envelope's time alone. If that
        // differs between two copies, both are taken, and the second changes nothing.
        InviteeEvent::NoShowDeleted => sent_at.cloned(),
    };
    which.unwrap_or_default()
}

/// 48 bits of the time when the booking or the submission was made, which never changes, and 80
/// bits of a SHA-256 over the parts, each behind its length so that none can run into the next.
///
/// The time in front keeps keys that come together together in the index: random ones cost a page
/// of its own to write each, and a fifth of the throughput. The rest keeps people's data out of
/// it. Among a billion keys without a time two are alike with a chance of about 10⁻⁷, with one
/// all but never, and only Calendly, whose signature was checked, can choose what is hashed.
fn key(made_us: Option<i64>, domain: &str, parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in [&[domain.as_bytes()], parts].concat() {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let time = made_us.map_or(0, |us| us.div_euclid(1000)).to_be_bytes();
    hex::encode([&time[2..], &hash.finalize()[..10]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendly::payload::parse;

    /// The key of `{event, created_at, payload: {uri, email, …more}}`.
    fn key_of(event: &str, sent_at: &str, more: &str) -> String {
        let who = r#""uri":"https://api.calendly.com/i/1","email":"ada@example.com""#;
        let body =
            format!(r#"{{"created_at":"{sent_at}","event":"{event}","payload":{{{who}{more}}}}}"#);
        parse(body.as_bytes()).expect("a readable body").dedupe_key
    }

    #[test]
    fn a_booking_is_known_by_its_uri_alone() {
        let first = key_of("invitee.created", "2026-01-01T00:00:00Z", "");
        let again = key_of(
            "invitee.created",
            "2026-02-02T00:00:00Z",
            r#","name":"Ada""#,
        );
        assert_eq!(first, again);
        assert!(first.len() == 32 && first.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(
            first,
            key_of("invitee.canceled", "2026-01-01T00:00:00Z", "")
        );
        // Stored keys must not change: a duplicate of an older delivery would be taken again.
        assert_eq!(first, "0000000000001d1c738253c3133a3c24");
        let made = r#","created_at":"2026-11-20T08:00:00.123456Z""#;
        let timed = key_of("invitee.created", "x", made);
        assert!(
            timed.starts_with("01a1f7f8307b") && timed.len() == 32,
            "{timed}"
        );
    }

    #[test]
    fn a_cancellation_is_known_by_its_own_time() {
        let at = |time| format!(r#","cancellation":{{"created_at":"{time}"}}"#);
        let keys = [String::new(), at("2026-01-01T00:00:00Z"), at("soon")];
        let [none, first, odd] = keys.map(|more| key_of("invitee.canceled", "x", &more));
        assert!(none != first && first != odd && odd != none);
        let copy = key_of("invitee.canceled", "y", &at("2026-01-01T00:00:00Z"));
        assert_eq!(first, copy);
    }

    #[test]
    fn a_no_show_is_known_by_its_mark_and_its_removal_by_the_envelope() {
        let made = |sent_at, mark: &str| {
            key_of(
                "invitee_no_show.created",
                sent_at,
                &format!(r#","no_show":{mark}"#),
            )
        };
        let (one, two) = (
            r#"{"uri":"1","created_at":"a"}"#,
            r#"{"uri":"2","created_at":"a"}"#,
        );
        assert_eq!(made("x", one), made("y", one));
        assert_ne!(made("x", one), made("x", two));
        assert_eq!(
            made("x", r#"{"created_at":"a"}"#),
            made("y", r#"{"created_at":"a"}"#)
        );
        assert_ne!(made("x", "null"), made("y", "null"));
        let removed = |sent_at| key_of("invitee_no_show.deleted", sent_at, r#","no_show":null"#);
        assert_ne!(removed("x"), removed("y"));
        assert_eq!(removed("x"), removed("x"));
    }

    #[test]
    fn another_event_is_known_by_its_payload_or_else_its_body() {
        let of = |body: &str| parse(body.as_bytes()).unwrap().dedupe_key;
        let copy = |by, n| format!(r#"{{"created_by":"{by}","event":"x","payload":{{"n":{n}}}}}"#);
        assert_eq!(of(&copy("a", 1)), of(&copy("b", 1)));
        assert_ne!(of(&copy("a", 1)), of(&copy("a", 2)));
        assert_ne!(
            of(&copy("a", 1)),
            of(&copy("a", 1).replace(r#""x""#, r#""y""#))
        );
        let bare = |n| format!(r#"{{"event":"x","n":{n},"payload":null}}"#);
        assert_ne!(of(&bare(1)), of(&bare(2)));
    }

    #[test]
    fn parts_and_domains_do_not_run_into_each_other() {
        assert_ne!(
            key(None, EVENT_DOMAIN, &[b"ab", b"c"]),
            key(None, EVENT_DOMAIN, &[b"a", b"bc"])
        );
        assert_ne!(
            key(None, EVENT_DOMAIN, &[b"ab"]),
            key(None, EVENT_DOMAIN, &[b"ab", b""])
        );
        assert_ne!(key(None, EVENT_DOMAIN, &[b"ab"]), body_key(b"ab"));
        assert!(body_key(b"ab") != body_key(b"ac") && body_key(b"").len() == 32);
    }
}
