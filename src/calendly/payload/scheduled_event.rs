//! The booked event inside an invitee's payload: when, where and with whom.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use crate::calendly::lenient::{list, object, text, time, uri};

/// The booked event, as it was when the webhook was made: later edits send nothing \[I\].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ScheduledEvent<'a> {
    /// Which event.
    #[serde(borrow, deserialize_with = "uri")]
    pub uri: Option<Cow<'a, str>>,
    /// Its title.
    #[serde(deserialize_with = "text")]
    pub name: Option<Cow<'a, str>>,
    /// Microseconds since 1970.
    #[serde(rename = "start_time", deserialize_with = "time")]
    pub start_us: Option<i64>,
    /// Microseconds since 1970.
    #[serde(rename = "end_time", deserialize_with = "time")]
    pub end_us: Option<i64>,
    /// Microseconds since 1970.
    #[serde(rename = "created_at", deserialize_with = "time")]
    pub created_at_us: Option<i64>,
    /// Microseconds since 1970.
    #[serde(rename = "updated_at", deserialize_with = "time")]
    pub updated_at_us: Option<i64>,
    /// Where it takes place.
    #[serde(deserialize_with = "location")]
    pub location: Option<Location<'a>>,
    /// In the order sent; those that name nobody are dropped.
    #[serde(rename = "event_memberships", deserialize_with = "hosts")]
    pub hosts: Vec<Host<'a>>,
    /// E-mails of the people whom the invitee brings.
    #[serde(rename = "event_guests", deserialize_with = "guests")]
    pub guests: Vec<Cow<'a, str>>,
}

/// Where an event takes place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location<'a> {
    /// `type` as sent: `physical`, `zoom`, `custom`, … \[C\] \[R\].
    pub kind: Option<Cow<'a, str>>,
    /// The link to join, else the place, number or text. A conference often has none yet \[R\].
    pub value: Option<Cow<'a, str>>,
}

/// One of the people whose calendar was booked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Host<'a> {
    /// URI of the Calendly user.
    #[serde(rename = "user", borrow, deserialize_with = "uri")]
    pub user_uri: Option<Cow<'a, str>>,
    /// Not always sent \[C\].
    #[serde(rename = "user_email", deserialize_with = "text")]
    pub email: Option<Cow<'a, str>>,
    /// Not always sent \[C\].
    #[serde(rename = "user_name", deserialize_with = "text")]
    pub name: Option<Cow<'a, str>>,
}

impl<'a> Location<'a> {
    fn of(place: Place<'a>) -> Option<Self> {
        let is_physical = place.kind.as_deref() == Some("physical");
        let note = place.additional_info.filter(|_| is_physical);
        let value = match (place.join_url.or(place.location), note) {
            (Some(value), Some(note)) => Some(format!("{value} ({note})").into()),
            (value, note) => value.or(note),
        };
        let kind = place.kind;
        (kind.is_some() || value.is_some()).then_some(Self { kind, value })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Place<'a> {
    #[serde(rename = "type", borrow, deserialize_with = "text")]
    kind: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "uri")]
    join_url: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "text")]
    location: Option<Cow<'a, str>>,
    /// How to find a physical place: the floor, the bell.
    #[serde(deserialize_with = "text")]
    additional_info: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Guest<'a> {
    #[serde(borrow, deserialize_with = "text")]
    email: Option<Cow<'a, str>>,
}

fn location<'de, D>(deserializer: D) -> Result<Option<Location<'de>>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(object(deserializer)?.and_then(Location::of))
}

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Host<'de>>, D::Error> {
    let mut hosts: Vec<Host<'de>> = list(deserializer)?;
    hosts.retain(|host| *host != Host::default());
    Ok(hosts)
}

fn guests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Cow<'de, str>>, D::Error> {
    let guests: Vec<Guest<'de>> = list(deserializer)?;
    Ok(guests.into_iter().filter_map(|guest| guest.email).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendly::lenient::object_of;

    /// The shape of a real capture, with invented people.
    const EVENT: &str = r#"{
        "created_at": "2026-03-02T11:51:29.031181Z", "end_time": "2026-03-03T07:30:00.000000Z",
        "event_guests": [{"email": "guest@example.com", "created_at": "x"}, {}, null],
        "event_memberships": [
            {"user": "https://api.calendly.com/users/H1"},
            {"user": null},
            {"user": "https://api.calendly.com/users/H2", "user_email": "host2@example.com",
                "user_name": "Second Host"}],
        "event_type": "https://api.calendly.com/event_types/T1",
        "invitees_counter": {"total": 1, "active": 1, "limit": 1},
        "location": {"data": {"id": 10000000001, "settings": {}, "extra": null},
            "join_url": "https://zoom.example/j/1", "status": "pushed", "type": "zoom"},
        "meeting_notes_html": null, "name": "Intro", "start_time": "2026-03-03T07:00:00.000000Z",
        "status": "active", "updated_at": "2026-03-02T11:51:29.031182Z",
        "uri": "https://api.calendly.com/scheduled_events/E1"}"#;

    fn event(json: &str) -> ScheduledEvent<'_> {
        object_of(json).expect("an event is never refused")
    }

    /// Kind and value of the location; an empty text for what is absent.
    fn place(location: &str) -> Option<[String; 2]> {
        let json = format!(r#"{{"location":{location}}}"#);
        let Location { kind, value } = event(&json).location?;
        Some([kind, value].map(|text| text.unwrap_or_default().into_owned()))
    }

    #[test]
    fn an_event_is_read() {
        let event = event(EVENT);
        assert!(event.uri.unwrap().ends_with("/E1"));
        assert_eq!(event.name.as_deref(), Some("Intro"));
        assert_eq!(event.start_us, Some(1_772_521_200_000_000));
        assert_eq!(event.end_us, Some(1_772_523_000_000_000));
        assert_eq!(event.created_at_us, Some(1_772_452_289_031_181));
        assert_eq!(event.updated_at_us, Some(1_772_452_289_031_182));
        let location = event.location.unwrap();
        assert_eq!(location.kind.as_deref(), Some("zoom"));
        assert_eq!(location.value.as_deref(), Some("https://zoom.example/j/1"));
        assert_eq!(event.guests, ["guest@example.com"]);
    }

    #[test]
    fn hosts_keep_their_order_and_name_somebody() {
        let hosts = event(EVENT).hosts;
        let [first, second] = &hosts[..] else {
            panic!("two hosts, not {}", hosts.len())
        };
        assert!(first.user_uri.as_deref().unwrap().ends_with("/H1"));
        assert_eq!((&first.email, &first.name), (&None, &None));
        assert_eq!(second.email.as_deref(), Some("host2@example.com"));
        assert_eq!(second.name.as_deref(), Some("Second Host"));
    }

    #[test]
    fn each_kind_of_location_has_its_value() {
        for (json, kind, value) in [
            (
                r#""zoom_conference","join_url":"https://z","data":{"id":"1"}"#,
                "zoom_conference",
                "https://z",
            ),
            (
                r#""zoom","join_url":null,"status":"failed","data":null"#,
                "zoom",
                "",
            ),
            (
                r#""google_conference","status":"processing","join_url":null"#,
                "google_conference",
                "",
            ),
            (
                r#""microsoft_teams_conference","join_url":"https://t""#,
                "microsoft_teams_conference",
                "https://t",
            ),
            (
                r#""webex_conference","join_url":"https://w""#,
                "webex_conference",
                "https://w",
            ),
            (
                r#""gotomeeting","join_url":"https://g""#,
                "gotomeeting",
                "https://g",
            ),
            (
                r#""inbound_call","location":"+1 555-0100","additional_info":"x""#,
                "inbound_call",
                "+1 555-0100",
            ),
            (r#""outbound_call","location":null"#, "outbound_call", ""),
            (
                r#""ask_invitee","location":"My place""#,
                "ask_invitee",
                "My place",
            ),
            (r#""custom","location":null"#, "custom", ""),
        ] {
            let expected = [kind, value].map(str::to_owned);
            assert_eq!(
                place(&format!(r#"{{"type":{json}}}"#)),
                Some(expected),
                "{json}"
            );
        }
    }

    #[test]
    fn a_physical_place_comes_with_its_note() {
        for (json, value) in [
            (r#""location":"12 Main St""#, "12 Main St"),
            (
                r#""location":"12 Main St","additional_info":"2nd floor""#,
                "12 Main St (2nd floor)",
            ),
            (
                r#""location":null,"additional_info":"2nd floor""#,
                "2nd floor",
            ),
        ] {
            let expected = ["physical", value].map(str::to_owned);
            let json = format!(r#"{{"type":"physical",{json}}}"#);
            assert_eq!(place(&json), Some(expected), "{json}");
        }
    }

    #[test]
    fn a_location_that_says_nothing_is_absent() {
        for json in ["null", "{}", r#""zoom""#, r#"{"type":null,"data":{}}"#] {
            assert_eq!(place(json), None, "{json}");
        }
        let untyped = place(r#"{"location":"12 Main St"}"#);
        assert_eq!(untyped, Some(["", "12 Main St"].map(str::to_owned)));
    }
}
