//! Sample bookings: bodies as Calendly would send them, about people who do not exist.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::ids::Id;
use crate::domain::user::User;

/// What a sample's `utm_source` says, by which clients mark it.
pub const SOURCE: &str = "bookbell-sample";

/// How the address of a sample begins: no real one does, and an index finds it.
pub const ADDRESS_PREFIX: &str = "bookbell-sample-0";

/// Comes after every text that begins with [`ADDRESS_PREFIX`], also where a database compares
/// letters and digits first and punctuation last.
pub const ADDRESS_END: &str = "bookbell-sample-1";

/// How the address of a sample ends: nobody can have one there (RFC 2606).
pub const ADDRESS_SUFFIX: &str = "@example.com";

const BODY: &str = include_str!("../../fixtures/events/invitee.created.json");

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// Who books: name, time zone, and what they say.
const PEOPLE: [(&str, &str, &str); 5] = [
    (
        "Noor van Dijk",
        "Europe/Amsterdam",
        "Six people who visit bicycle shops",
    ),
    (
        "Tomás Herrera",
        "America/Mexico_City",
        "Our export team, eleven people",
    ),
    ("Aiko Tanabe", "Asia/Tokyo", "Two of us, soon four"),
    (
        "Wanjiru Kamau",
        "Africa/Nairobi",
        "Everybody who talks to farmers",
    ),
    (
        "Élodie Marchand",
        "Europe/Paris",
        "The field team in the south",
    ),
];

/// The `invitee.created` of a booking with this host, made now; `id` makes it another one each
/// time.
///
/// # Panics
/// Never: the fixture is part of the program.
#[must_use]
pub fn created(id: &Id, host: &User, now_ms: i64) -> String {
    let (_, tail) = id.as_str().rsplit_once('-').unwrap_or_default();
    let n = usize::from_str_radix(tail, 16).unwrap_or_default();
    let (name, timezone, answer) = PEOPLE[n % PEOPLE.len()];
    let days = 1 + i64::try_from(n % 4).unwrap_or_default();
    let start_ms = (now_ms.div_euclid(DAY_MS) + days) * DAY_MS + 10 * HOUR_MS;
    let now = time(now_ms);
    let event = format!("https://api.calendly.com/scheduled_events/{id}");
    let mut body: Value = serde_json::from_str(BODY).expect("the fixture is JSON");
    let payload = &mut body["payload"];
    set(
        payload,
        json!({
            "uri": format!("{event}/invitees/{id}"), "event": &event,
            "email": format!("{ADDRESS_PREFIX}{tail}{ADDRESS_SUFFIX}"),
            "name": name, "timezone": timezone, "created_at": &now, "updated_at": &now,
            // There is nothing at Calendly to cancel or to move.
            "cancel_url": null, "reschedule_url": null,
            "questions_and_answers": [
                { "question": "Which team would use it?", "answer": answer, "position": 0 }
            ],
        }),
    );
    payload["tracking"]["utm_source"] = json!(SOURCE);
    set(
        &mut payload["scheduled_event"],
        json!({
            "uri": event, "name": "Sample booking", "created_at": &now, "updated_at": &now,
            "start_time": time(start_ms), "end_time": time(start_ms + HOUR_MS / 2),
            "location": { "type": "custom", "location": "Nowhere: this booking is a sample" },
            "event_memberships": [{
                "user": host.calendly_user_uri, "user_email": host.email, "user_name": host.name,
            }],
        }),
    );
    body["created_at"] = json!(now);
    body.to_string()
}

/// Puts values in the place of those that are there.
fn set(object: &mut Value, values: Value) {
    if let (Value::Object(object), Value::Object(values)) = (object, values) {
        object.extend(values);
    }
}

fn time(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or_default();
    format!("{at:.6}")
}

/// Whether an address, in the form that compares equal, is one of a sample.
#[must_use]
pub fn is_address(email_key: &str) -> bool {
    email_key.starts_with(ADDRESS_PREFIX) && email_key.ends_with(ADDRESS_SUFFIX)
}
