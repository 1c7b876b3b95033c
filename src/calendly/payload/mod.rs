//! Webhook bodies: what Calendly says happened, and the key by which one event is known again.
//!
//! Only what an event needs makes a body [`Malformed`]; everything else that is missing, null or
//! of another type is absent. Texts borrow from the body where they can, blank ones are absent,
//! and none holds U+0000.

mod invitee;
mod key;
mod routing_form;
mod scheduled_event;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::lenient::{
    URI_MAX_BYTES, integer, list, micros, needed, object, object_of, text, text_or_empty,
};
pub use invitee::{Cancellation, Invitee, InviteeEvent, NoShow};
pub use key::body_key;
pub use routing_form::RoutingForm;
pub use scheduled_event::{Host, Location, ScheduledEvent};

/// All events that a subscription can name: a closed list \[C\].
pub const KNOWN_EVENTS: [&str; 14] = [
    "invitee.created",
    "invitee.canceled",
    "invitee_no_show.created",
    "invitee_no_show.deleted",
    "event_type.created",
    "event_type.updated",
    "event_type.deleted",
    ROUTING_FORM,
    "meeting_recap.created",
    "meeting_recap.updated",
    "meeting_recap.deleted",
    "contact.created",
    "contact.updated",
    "contact.deleted",
];

const ROUTING_FORM: &str = "routing_form_submission.created";

/// Longest name of an event that is taken; the longest known one has 31 bytes.
const EVENT_MAX_BYTES: usize = 200;

/// The white space that JSON allows before a value.
const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What a body lacks. Says so without any of its content, which is about people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not UTF-8, not JSON, not an object, or a field of the envelope stands there twice.
    #[error("the body is not a JSON object")]
    Body,
    /// No usable name of an event.
    #[error("`event` is missing, blank, not a string or longer than {EVENT_MAX_BYTES} bytes")]
    Event,
    /// No object about what happened, or one with a field twice.
    #[error("`payload` is missing, not an object or has a field twice")]
    Payload,
    /// Nothing to know the invitee or the submission by.
    #[error("`payload.uri` is missing, blank, not a string or too long")]
    Uri,
    /// Nobody to attach the booking to.
    #[error("`payload.email` is missing or not an e-mail address")]
    Email,
}

/// One delivery, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook<'a> {
    /// Name of the event, known or not; at most 200 bytes.
    pub event: Cow<'a, str>,
    /// The envelope's time, in microseconds since 1970: weeks after the payload's at times \[R\].
    pub created_at_us: Option<i64>,
    /// What happened.
    pub content: Content<'a>,
    /// The event's natural key, 32 hex digits: the same for a retry, another subscription's copy
    /// and a replay. Calendly sends no delivery id \[C\], and no unsigned header takes part in it.
    pub dedupe_key: String,
}

/// What happened, as far as Bookbell acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// Somebody booked, canceled, or was marked as absent.
    Invitee {
        /// Which of these.
        kind: InviteeEvent,
        /// The whole invitee: the four events carry the same shape \[R\].
        payload: Box<Invitee<'a>>,
    },
    /// Somebody filled a routing form, whether or not they book afterwards.
    RoutingForm(Box<RoutingForm<'a>>),
    /// Any other event: its payload is not read.
    Other,
}

/// One answered question; unanswered ones are dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Answer<'a> {
    /// The question; empty when it was not sent.
    #[serde(borrow, deserialize_with = "text_or_empty")]
    pub question: Cow<'a, str>,
    /// The answer, never blank; check-boxes are joined by newlines \[C\].
    #[serde(deserialize_with = "text_or_empty")]
    pub answer: Cow<'a, str>,
    /// Place in the form, with gaps \[R\]; routing forms have none.
    #[serde(deserialize_with = "integer")]
    pub position: Option<i64>,
}

/// Where the visitor came from: the booking link's parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tracking<'a> {
    /// `utm_source`.
    #[serde(borrow, deserialize_with = "text")]
    pub utm_source: Option<Cow<'a, str>>,
    /// `utm_medium`.
    #[serde(deserialize_with = "text")]
    pub utm_medium: Option<Cow<'a, str>>,
    /// `utm_campaign`.
    #[serde(deserialize_with = "text")]
    pub utm_campaign: Option<Cow<'a, str>>,
    /// `utm_term`.
    #[serde(deserialize_with = "text")]
    pub utm_term: Option<Cow<'a, str>>,
    /// `utm_content`.
    #[serde(deserialize_with = "text")]
    pub utm_content: Option<Cow<'a, str>>,
    /// The Salesforce record that the link was made for.
    #[serde(deserialize_with = "text")]
    pub salesforce_uuid: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope<'a> {
    #[serde(borrow, deserialize_with = "needed")]
    event: Cow<'a, str>,
    #[serde(deserialize_with = "text")]
    created_at: Option<Cow<'a, str>>,
    /// Kept as text: its shape, and even that of `payload.event`, depends on the event.
    payload: Option<&'a RawValue>,
}

/// Reads a body. Call it only after its signature was verified.
///
/// # Errors
/// [`Malformed`] says what the body lacks that its event cannot do without.
pub fn parse(body: &[u8]) -> Result<Webhook<'_>, Malformed> {
    let json = str::from_utf8(body).map_err(|_| Malformed::Body)?;
    let json = json.trim_start_matches(JSON_SPACE);
    let envelope: Envelope<'_> = object_of(json).ok_or(Malformed::Body)?;
    if envelope.event.is_empty() || envelope.event.len() > EVENT_MAX_BYTES {
        return Err(Malformed::Event);
    }
    let content = content(&envelope)?;
    Ok(Webhook {
        created_at_us: envelope.created_at.as_deref().and_then(micros),
        dedupe_key: key::dedupe_key(&envelope, &content, body),
        content,
        event: envelope.event,
    })
}

/// The event's name in a body that [`parse`] refused, where it can be read.
#[must_use]
pub fn event_name(body: &[u8]) -> Option<String> {
    let envelope: Envelope<'_> = object_of(str::from_utf8(body).ok()?)?;
    let named = (1..=EVENT_MAX_BYTES).contains(&envelope.event.len());
    named.then(|| envelope.event.into_owned())
}

fn content<'a>(envelope: &Envelope<'a>) -> Result<Content<'a>, Malformed> {
    let payload = envelope.payload.map_or("", RawValue::get);
    if let Some(kind) = InviteeEvent::named(&envelope.event) {
        let payload = Box::new(Invitee::parse(payload, kind)?);
        return Ok(Content::Invitee { kind, payload });
    }
    if envelope.event == ROUTING_FORM {
        let form = RoutingForm::parse(payload)?;
        return Ok(Content::RoutingForm(Box::new(form)));
    }
    Ok(Content::Other)
}

/// The answers in the order of the form, those without a place last.
fn answers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Answer<'de>>, D::Error> {
    let mut answers: Vec<Answer<'de>> = list(deserializer)?;
    answers.retain(|answer| !answer.answer.is_empty());
    answers.sort_by_key(|answer| (answer.position.is_none(), answer.position));
    Ok(answers)
}

fn tracking<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tracking<'de>, D::Error> {
    Ok(object(deserializer)?.unwrap_or_default())
}

/// Whether a needed URI, already trimmed, can be used.
fn check_uri(uri: &str) -> Result<(), Malformed> {
    let fits = (1..=URI_MAX_BYTES).contains(&uri.len());
    if fits { Ok(()) } else { Err(Malformed::Uri) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_known_event_has_its_content() {
        for event in KNOWN_EVENTS {
            let body = format!(r#"{{"event":"{event}","payload":{{"uri":"u","email":"a@b"}}}}"#);
            let webhook = parse(body.as_bytes()).unwrap();
            assert_eq!(webhook.event, event);
            match webhook.content {
                Content::Invitee { kind, .. } => assert_eq!(InviteeEvent::named(event), Some(kind)),
                Content::RoutingForm(_) => assert_eq!(event, ROUTING_FORM),
                Content::Other => assert!(!event.contains("invitee") && event != ROUTING_FORM),
            }
        }
    }

    #[test]
    fn an_unknown_event_may_carry_anything() {
        for payload in [
            "",
            r#","payload":[1]"#,
            r#","payload":{"event":{"uri":"u"}}"#,
        ] {
            let body = format!("\n {{\"event\":\"meeting_recap.shared\"{payload}}}\r\n");
            let webhook = parse(body.as_bytes()).unwrap();
            assert_eq!(
                (webhook.content, webhook.created_at_us),
                (Content::Other, None)
            );
        }
    }

    #[test]
    fn an_envelope_without_an_event_is_malformed() {
        for body in [
            "",
            "{",
            "null",
            "[]",
            r#"["invitee.created"]"#,
            "{} {}",
            r#"{"event":"a","event":"b"}"#,
        ] {
            assert_eq!(parse(body.as_bytes()), Err(Malformed::Body), "{body}");
        }
        assert_eq!(parse(b"{\"event\":\"\xff\"}"), Err(Malformed::Body));
        let long = format!(r#"{{"event":"{}"}}"#, "e".repeat(EVENT_MAX_BYTES + 1));
        for body in [
            "{}",
            r#"{"event":null}"#,
            r#"{"event":5}"#,
            r#"{"event":" "}"#,
            &long,
        ] {
            assert_eq!(parse(body.as_bytes()), Err(Malformed::Event), "{body}");
        }
    }

    /// Every optional field, `/` between levels and `*` for an array of one.
    const OPTIONAL: &str = "status event name first_name last_name timezone created_at updated_at \
        questions_and_answers questions_and_answers/* questions_and_answers/*/question \
        questions_and_answers/*/answer questions_and_answers/*/position tracking \
        tracking/utm_source tracking/utm_medium tracking/utm_campaign tracking/utm_term \
        tracking/utm_content tracking/salesforce_uuid text_reminder_number rescheduled old_invitee \
        new_invitee cancellation cancellation/canceled_by cancellation/reason \
        cancellation/canceler_type cancellation/created_at cancel_url reschedule_url no_show \
        no_show/uri no_show/created_at result result/type result/value scheduled_event \
        scheduled_event/uri scheduled_event/name scheduled_event/start_time \
        scheduled_event/end_time scheduled_event/created_at scheduled_event/updated_at \
        scheduled_event/event_type scheduled_event/location scheduled_event/location/type \
        scheduled_event/location/join_url scheduled_event/location/location \
        scheduled_event/location/additional_info scheduled_event/event_memberships \
        scheduled_event/event_memberships/* scheduled_event/event_memberships/*/user \
        scheduled_event/event_memberships/*/user_email scheduled_event/event_guests \
        scheduled_event/event_guests/* scheduled_event/event_guests/*/email unknown";

    /// Any JSON text, among it what `serde_json::Value` cannot hold.
    fn any_json() -> impl Strategy<Value = String> {
        let odd = [
            "null",
            "true",
            "false",
            "-0",
            "1e999",
            "-9223372036854775809",
            "0.1e-7",
            r#""""#,
            r#""\u0000""#,
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            r#"{"a":1,"a":2}"#,
            r#"{"uri":1,"uri":2}"#,
            r#"{"":[{}]}"#,
            r#""9999-12-31T23:59:60Z""#,
        ];
        let text = any::<String>().prop_map(|s| serde_json::to_string(&s).expect("a text"));
        let number = any::<f64>().prop_map(|n| serde_json::json!(n).to_string());
        let leaf = prop_oneof![
            prop::sample::select(odd.to_vec()).prop_map(str::to_owned),
            text,
            number
        ];
        leaf.prop_recursive(4, 16, 4, |inner| {
            let pair = (any::<String>(), inner.clone())
                .prop_map(|(name, json)| format!("{}:{json}", serde_json::json!(name)));
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
                prop::collection::vec(pair, 0..4).prop_map(|all| format!("{{{}}}", all.join(","))),
            ]
        })
    }

    /// `json` under the path, `{"a":[{"b":json}]}` for `a/*/b`.
    fn nested(path: &str, json: &str) -> String {
        let (step, rest) = path.split_once('/').unwrap_or((path, ""));
        match step {
            "" => json.to_owned(),
            "*" => format!("[{}]", nested(rest, json)),
            name => format!("{{\"{name}\":{}}}", nested(rest, json)),
        }
    }

    proptest! {
        #[test]
        fn any_value_in_any_optional_field_is_accepted(
            event in prop::sample::select(KNOWN_EVENTS.to_vec()),
            path in prop::sample::select(OPTIONAL.split_whitespace().collect::<Vec<_>>()),
            json in any_json(),
            other in any_json(),
        ) {
            let field = nested(path, &json);
            let payload = format!(r#"{{"uri":"u","email":"a@b",{}"#, &field[1..]);
            let envelope = format!(r#""created_at":{other},"event":"{event}","created_by":{other}"#);
            let body = format!(r#"{{{envelope},"payload":{payload}}}"#);
            prop_assert!(parse(body.as_bytes()).is_ok(), "{}", body);
        }

        #[test]
        fn any_json_is_read_or_refused(payload in any_json()) {
            for event in KNOWN_EVENTS {
                let _ = parse(format!(r#"{{"event":"{event}","payload":{payload}}}"#).as_bytes());
            }
            let _ = parse(payload.as_bytes());
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse(&body), body_key(&body));
        }
    }
}
