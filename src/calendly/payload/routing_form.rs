//! The payload of `routing_form_submission.created`: answers that were given before any booking.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use super::{Answer, Malformed, Tracking, answers, check_uri, tracking};
use crate::calendly::lenient::{needed, object_of, time};

/// One filled form. The e-mail address, if asked for, is one of the answers \[C\].
///
/// `Debug` shows the URI alone: the rest is about a person.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoutingForm<'a> {
    /// Which submission: never empty, at most 2048 bytes.
    #[serde(borrow, deserialize_with = "needed")]
    pub uri: Cow<'a, str>,
    /// In the order sent.
    #[serde(rename = "questions_and_answers", deserialize_with = "answers")]
    pub answers: Vec<Answer<'a>>,
    /// Where the visitor came from.
    #[serde(deserialize_with = "tracking")]
    pub tracking: Tracking<'a>,
    /// Microseconds since 1970; sent with milliseconds \[C\].
    #[serde(rename = "created_at", deserialize_with = "time")]
    pub created_at_us: Option<i64>,
    /// Microseconds since 1970; sent with milliseconds \[C\].
    #[serde(rename = "updated_at", deserialize_with = "time")]
    pub updated_at_us: Option<i64>,
}

impl<'a> RoutingForm<'a> {
    pub(super) fn parse(json: &'a str) -> Result<Self, Malformed> {
        let form: Self = object_of(json).ok_or(Malformed::Payload)?;
        check_uri(&form.uri)?;
        Ok(form)
    }
}

impl fmt::Debug for RoutingForm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RoutingForm");
        shown.field("uri", &self.uri).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendly::payload::{Content, parse};

    /// The shape of Calendly's own example, with an invented visitor.
    const BODY: &str = r#"{"event": "routing_form_submission.created",
        "created_at": "2026-05-15T14:59:59.000000Z",
        "created_by": "https://api.calendly.com/users/HOST1",
        "payload": {
            "uri": "https://api.calendly.com/routing_form_submissions/SUB1",
            "routing_form": "https://api.calendly.com/routing_forms/FORM1",
            "questions_and_answers": [
                {"question_uuid": "q1", "question": "Industry?", "answer": "Bees & Honey"},
                {"question_uuid": null, "question": "Size?", "answer": null},
                {"question_uuid": "q3", "question": "Work e-mail", "answer": "ines@hives.example"}],
            "tracking": {"utm_campaign": "spring", "utm_source": null},
            "result": {"type": "event_type", "value": "https://api.calendly.com/event_types/T1"},
            "submitter": null, "submitter_type": null,
            "created_at": "2026-05-15T03:04:05.678Z", "updated_at": "2026-05-15T06:05:04.321Z"}}"#;

    fn form(body: &str) -> RoutingForm<'_> {
        match parse(body.as_bytes()).map(|webhook| webhook.content) {
            Ok(Content::RoutingForm(form)) => *form,
            other => panic!("not a routing form: {other:?}"),
        }
    }

    #[test]
    fn a_submission_is_read() {
        let form = form(BODY);
        assert!(form.uri.ends_with("/SUB1"));
        let answers = form.answers.iter().map(|a| (&*a.question, &*a.answer));
        let expected = [
            ("Industry?", "Bees & Honey"),
            ("Work e-mail", "ines@hives.example"),
        ];
        assert_eq!(answers.collect::<Vec<_>>(), expected);
        assert_eq!(form.tracking.utm_campaign.as_deref(), Some("spring"));
        assert_eq!(form.tracking.utm_source, None);
        assert_eq!(form.created_at_us, Some(1_778_814_245_678_000));
        assert_eq!(form.updated_at_us, Some(1_778_825_104_321_000));
    }

    #[test]
    fn a_submission_needs_its_uri_alone() {
        let event = r#""event":"routing_form_submission.created""#;
        let least = format!(r#"{{{event},"payload":{{"uri":" u "}}}}"#);
        assert_eq!(form(&least).uri, "u");
        for payload in [r"{}", r#"{"uri":null}"#, r#"{"uri":1}"#, r#"{"uri":" "}"#] {
            let body = format!(r#"{{{event},"payload":{payload}}}"#);
            assert_eq!(parse(body.as_bytes()), Err(Malformed::Uri), "{payload}");
        }
        for payload in ["null", "[]", r#""uri""#] {
            let body = format!(r#"{{{event},"payload":{payload}}}"#);
            assert_eq!(parse(body.as_bytes()), Err(Malformed::Payload), "{payload}");
        }
    }

    #[test]
    fn what_the_visitor_wrote_is_not_in_debug_output() {
        let shown = format!("{:?}", form(BODY));
        assert!(shown.contains("SUB1") && !shown.contains("hives"));
    }
}
