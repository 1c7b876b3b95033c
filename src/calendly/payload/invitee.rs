//! The payload of `invitee.*` and `invitee_no_show.*`: an invitee and the booked event.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer};

use super::{Answer, Malformed, ScheduledEvent, Tracking, answers, check_uri, tracking};
use crate::calendly::lenient::{needed, object, object_of, text, time, uri};

/// Longest e-mail address: 64 bytes, `@`, 255 bytes.
const EMAIL_MAX_BYTES: usize = 320;

/// What happened to the invitee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteeEvent {
    /// `invitee.created`: booked, also as the new half of a reschedule.
    Created,
    /// `invitee.canceled`: canceled, also as the old half of a reschedule.
    Canceled,
    /// `invitee_no_show.created`: marked as absent.
    NoShowCreated,
    /// `invitee_no_show.deleted`: that mark was removed.
    NoShowDeleted,
}

impl InviteeEvent {
    pub(super) fn named(event: &str) -> Option<Self> {
        Some(match event {
            "invitee.created" => Self::Created,
            "invitee.canceled" => Self::Canceled,
            "invitee_no_show.created" => Self::NoShowCreated,
            "invitee_no_show.deleted" => Self::NoShowDeleted,
            _ => return None,
        })
    }
}

/// One person's part in one booked event. Only `uri` and `email` can be relied on \[C\].
///
/// `Debug` shows the URI alone: the rest is about a person, and the two links act for whoever
/// holds them.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Invitee<'a> {
    /// Who this is: never empty, at most 2048 bytes; another one after a reschedule \[C\].
    #[serde(borrow, deserialize_with = "needed")]
    pub uri: Cow<'a, str>,
    /// Trimmed, with one `@` between two parts; case as sent.
    #[serde(deserialize_with = "needed")]
    pub email: Cow<'a, str>,
    /// Taken from the invitee: the event stays `active` when one of several cancels \[C\].
    #[serde(rename = "status", deserialize_with = "is_canceled")]
    pub canceled: bool,
    /// The whole name.
    #[serde(deserialize_with = "text")]
    pub name: Option<Cow<'a, str>>,
    /// Absent when the form asks for one name \[R\].
    #[serde(deserialize_with = "text")]
    pub first_name: Option<Cow<'a, str>>,
    /// Absent when the form asks for one name \[R\].
    #[serde(deserialize_with = "text")]
    pub last_name: Option<Cow<'a, str>>,
    /// IANA name as sent, old aliases too \[C\].
    #[serde(deserialize_with = "text")]
    pub timezone: Option<Cow<'a, str>>,
    /// Microseconds since 1970.
    #[serde(rename = "created_at", deserialize_with = "time")]
    pub created_at_us: Option<i64>,
    /// Microseconds since 1970; not bumped by a no-show mark \[R\].
    #[serde(rename = "updated_at", deserialize_with = "time")]
    pub updated_at_us: Option<i64>,
    /// By position, those without one last.
    #[serde(deserialize_with = "answers")]
    pub questions_and_answers: Vec<Answer<'a>>,
    /// Where the booking came from.
    #[serde(deserialize_with = "tracking")]
    pub tracking: Tracking<'a>,
    /// A phone number, not always E.164 \[C\].
    #[serde(deserialize_with = "text")]
    pub text_reminder_number: Option<Cow<'a, str>>,
    /// URI of the invitee that this one replaces.
    #[serde(deserialize_with = "uri")]
    pub old_invitee: Option<Cow<'a, str>>,
    /// URI of the invitee that replaces this one.
    #[serde(deserialize_with = "uri")]
    pub new_invitee: Option<Cow<'a, str>>,
    /// Present only when canceled \[C\].
    #[serde(deserialize_with = "object")]
    pub cancellation: Option<Cancellation<'a>>,
    /// Cancels the booking for whoever opens it: never log it.
    #[serde(deserialize_with = "uri")]
    pub cancel_url: Option<Cow<'a, str>>,
    /// Moves the booking for whoever opens it: never log it.
    #[serde(deserialize_with = "uri")]
    pub reschedule_url: Option<Cow<'a, str>>,
    /// Present while marked as absent.
    #[serde(deserialize_with = "object")]
    pub no_show: Option<NoShow<'a>>,
    /// The booked event; older payloads lack it \[R\].
    #[serde(deserialize_with = "object")]
    pub scheduled_event: Option<ScheduledEvent<'a>>,
}

/// Who canceled, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cancellation<'a> {
    /// A display name \[C\].
    #[serde(borrow, deserialize_with = "text")]
    pub canceled_by: Option<Cow<'a, str>>,
    /// What they wrote.
    #[serde(deserialize_with = "text")]
    pub reason: Option<Cow<'a, str>>,
    /// `host` or `invitee` \[C\].
    #[serde(deserialize_with = "text")]
    pub canceler_type: Option<Cow<'a, str>>,
    /// Microseconds since 1970.
    #[serde(rename = "created_at", deserialize_with = "time")]
    pub created_at_us: Option<i64>,
}

/// The mark that an invitee did not come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NoShow<'a> {
    /// Which mark: a new one each time.
    #[serde(borrow, deserialize_with = "uri")]
    pub uri: Option<Cow<'a, str>>,
    /// Microseconds since 1970.
    #[serde(rename = "created_at", deserialize_with = "time")]
    pub created_at_us: Option<i64>,
}

impl<'a> Invitee<'a> {
    pub(super) fn parse(json: &'a str, kind: InviteeEvent) -> Result<Self, Malformed> {
        let mut invitee: Self = object_of(json).ok_or(Malformed::Payload)?;
        check_uri(&invitee.uri)?;
        if !is_address(&invitee.email) {
            return Err(Malformed::Email);
        }
        invitee.canceled |= kind == InviteeEvent::Canceled;
        Ok(invitee)
    }
}

impl fmt::Debug for Invitee<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Invitee");
        shown.field("uri", &self.uri).finish_non_exhaustive()
    }
}

fn is_canceled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(text(deserializer)?.as_deref() == Some("canceled"))
}

/// Whether mail could go there: more is for whoever sends it to find out.
fn is_address(text: &str) -> bool {
    // U+FFFD stands where U+0000 was.
    let is_unfit = |c: char| c.is_whitespace() || c.is_control() || c == '\u{fffd}';
    let mut halves = text.split('@');
    let is_whole = halves.clone().count() == 2 && halves.all(|half| !half.is_empty());
    is_whole && text.len() <= EMAIL_MAX_BYTES && !text.contains(is_unfit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendly::payload::{Content, Webhook, parse};

    /// The shape of a real capture, with invented people.
    const BODY: &str = r#"{"created_at": "2026-03-02T11:51:30.000000Z", "event": "invitee.created",
        "created_by": "https://api.calendly.com/users/H1", "payload": {
        "cancel_url": "https://calendly.com/cancellations/I1", "email": " Ada@Example.com ",
        "created_at": "2026-03-02T11:51:29.054447Z", "updated_at": "2026-03-02T11:51:29.054448Z",
        "event": "https://api.calendly.com/scheduled_events/E1", "first_name": null,
        "last_name": null, "name": "Ada", "new_invitee": null, "no_show": null, "payment": null,
        "old_invitee": null, "questions_and_answers": [
            {"answer": "Email\nPhone", "position": 4, "question": "Interests?"},
            {"answer": "last", "question": "No place?"},
            {"answer": null, "position": 0, "question": "Skipped?"},
            {"answer": "ACME", "position": 2, "question": "Company?"}],
        "reschedule_url": "https://calendly.com/reschedulings/I1", "rescheduled": false,
        "scheduled_event": {"uri": "https://api.calendly.com/scheduled_events/E1",
            "status": "active"},
        "scheduling_method": "api", "status": "active", "text_reminder_number": 15550100,
        "timezone": "Asia/Calcutta", "tracking": {"utm_campaign": "spring", "utm_source": null},
        "uri": "https://api.calendly.com/scheduled_events/E1/invitees/I1"}}"#;

    fn invitee(body: &str) -> Invitee<'_> {
        match parse(body.as_bytes()) {
            Ok(Webhook {
                content: Content::Invitee { payload, .. },
                ..
            }) => *payload,
            other => panic!("not an invitee: {other:?}"),
        }
    }

    fn refusal(payload: &str) -> Option<Malformed> {
        parse(format!(r#"{{"event":"invitee.created","payload":{payload}}}"#).as_bytes()).err()
    }

    #[test]
    fn a_booking_is_read() {
        let ada = invitee(BODY);
        assert!(ada.uri.ends_with("/invitees/I1") && !ada.canceled);
        assert_eq!(
            (&*ada.email, ada.name.as_deref()),
            ("Ada@Example.com", Some("Ada"))
        );
        assert_eq!((ada.first_name, ada.last_name), (None, None));
        assert_eq!(ada.timezone.as_deref(), Some("Asia/Calcutta"));
        assert_eq!(ada.created_at_us, Some(1_772_452_289_054_447));
        assert_eq!(ada.updated_at_us, Some(1_772_452_289_054_448));
        let answers = ada
            .questions_and_answers
            .iter()
            .map(|a| (&*a.answer, a.position));
        let expected = [("ACME", Some(2)), ("Email\nPhone", Some(4)), ("last", None)];
        assert_eq!(answers.collect::<Vec<_>>(), expected);
        assert_eq!(ada.tracking.utm_campaign.as_deref(), Some("spring"));
        assert_eq!(ada.text_reminder_number.as_deref(), Some("15550100"));
        assert!(ada.cancel_url.unwrap().ends_with("/cancellations/I1"));
        assert!(ada.reschedule_url.unwrap().ends_with("/reschedulings/I1"));
        assert!(ada.cancellation.is_none() && ada.no_show.is_none());
        assert!(ada.scheduled_event.unwrap().uri.unwrap().ends_with("/E1"));
    }

    #[test]
    fn a_reschedule_in_a_chain_names_both_neighbours() {
        let body = BODY
            .replace("invitee.created", "invitee.canceled")
            .replace(r#""new_invitee": null"#, r#""new_invitee": "https://new""#)
            .replace(r#""old_invitee": null"#, r#""old_invitee": "https://old""#)
            .replace(
                r#""payment": null"#,
                r#""cancellation": {"canceled_by": "Ada",
                "reason": null, "canceler_type": "invitee", "created_at": "1970-01-01T00:00:01Z"}"#,
            );
        let ada = invitee(&body);
        assert!(ada.canceled, "by the event, though `status` is active");
        assert_eq!(ada.new_invitee.as_deref(), Some("https://new"));
        assert_eq!(ada.old_invitee.as_deref(), Some("https://old"));
        let canceled = ada.cancellation.unwrap();
        assert_eq!(
            (canceled.canceled_by.as_deref(), canceled.reason),
            (Some("Ada"), None)
        );
        assert_eq!(canceled.canceler_type.as_deref(), Some("invitee"));
        assert_eq!(canceled.created_at_us, Some(1_000_000));
    }

    #[test]
    fn a_no_show_mark_comes_with_the_whole_invitee_and_goes_as_null() {
        let mark = r#""no_show": {"uri": "https://n/1", "created_at": "1970-01-01T00:00:02Z"}"#;
        let made = BODY.replace("invitee.created", "invitee_no_show.created");
        let made = made
            .replace(r#""no_show": null"#, mark)
            .replace(r#""active", "text"#, r#""canceled", "text"#);
        let ada = invitee(&made);
        assert!(ada.canceled, "by `status`");
        let (uri, at) = ada
            .no_show
            .map(|mark| (mark.uri, mark.created_at_us))
            .unwrap();
        assert_eq!((uri.as_deref(), at), (Some("https://n/1"), Some(2_000_000)));
        let removed = BODY.replace("invitee.created", "invitee_no_show.deleted");
        assert!(invitee(&removed).no_show.is_none());
    }

    #[test]
    fn an_invitee_needs_a_uri_and_an_address_alone() {
        assert_eq!(refusal(r#"{"uri":"u","email":"a@b"}"#), None);
        for payload in [
            "null",
            "[]",
            r#"["u","a@b"]"#,
            r#"{"uri":"u","uri":"v","email":"a@b"}"#,
        ] {
            assert_eq!(refusal(payload), Some(Malformed::Payload), "{payload}");
        }
        let long = format!(r#""{}""#, "u".repeat(2049));
        for uri in ["null", "1", "true", r#""""#, r#"" ""#, "{}", "[]", &long] {
            let payload = format!(r#"{{"uri":{uri},"email":"a@b"}}"#);
            assert_eq!(refusal(&payload), Some(Malformed::Uri), "{uri}");
        }
    }

    #[test]
    fn an_address_has_one_at_sign_between_two_parts() {
        let longest = format!("{}@b", "a".repeat(318));
        for email in [
            "a@b",
            "\u{a0} ada+x@example.com\\n",
            "o'neil@bücher.example",
            &longest,
        ] {
            assert_eq!(
                refusal(&format!(r#"{{"uri":"u","email":"{email}"}}"#)),
                None,
                "{email}"
            );
        }
        let longer = format!("a{longest}");
        for email in [
            "",
            " ",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a@b\\tc",
            "a\\u0000@b",
            "a\\u007f@b",
            &longer,
        ] {
            let payload = format!(r#"{{"uri":"u","email":"{email}"}}"#);
            assert_eq!(refusal(&payload), Some(Malformed::Email), "{email}");
        }
        assert_eq!(refusal(r#"{"uri":"u"}"#), Some(Malformed::Email));
        assert_eq!(
            refusal(r#"{"uri":"u","email":["a@b"]}"#),
            Some(Malformed::Email)
        );
    }

    #[test]
    fn neither_refusals_nor_debug_output_show_the_person() {
        let shown = format!("{:?}", parse(BODY.as_bytes()));
        assert!(shown.contains("/invitees/I1"));
        let refused = refusal(r#"{"uri":"u","email":"Ada Example.com"}"#).unwrap();
        let all = format!("{shown} {refused} {refused:?}");
        assert!(!all.contains("Ada") && !all.contains("cancellations"));
    }
}
