//! Calendly payloads for tests, as Calendly sends them, about invented people.

use serde_json::{Value, json};

/// 2026-12-01T10:00:00Z in seconds: meetings are counted from here.
const MEETINGS_S: i64 = 1_796_119_200;

/// 2026-11-01T00:00:00Z in seconds: bookings are counted from here.
const BOOKINGS_S: i64 = 1_793_491_200;

/// One booking of one person, from which its payloads are made.
#[derive(Debug, Clone)]
pub struct Booking {
    /// Tells bookings apart; later bookings have greater numbers.
    pub n: u32,
    pub email: String,
    pub name: String,
    pub hosts: Vec<Value>,
    pub old: Option<u32>,
    pub new: Option<u32>,
}

fn time(s: i64) -> String {
    let at = jiff::Timestamp::from_second(s).unwrap();
    format!("{at:.6}")
}

/// The invitee URI of the booking with this number.
pub fn invitee_uri(n: u32) -> String {
    format!(
        "https://api.calendly.com/scheduled_events/00000000-0000-4000-8000-{n:012}/invitees/00000000-0000-4000-9000-{n:012}"
    )
}

/// A host as a payload names it.
pub fn host(uri: &str, email: &str) -> Value {
    json!({ "user": uri, "user_email": email, "user_name": email })
}

impl Booking {
    pub fn new(n: u32, email: &str) -> Self {
        let name = "Noor van Dijk".to_owned();
        Self {
            n,
            email: email.to_owned(),
            name,
            hosts: Vec::new(),
            old: None,
            new: None,
        }
    }

    pub fn host(mut self, uri: &str, email: &str) -> Self {
        self.hosts.push(host(uri, email));
        self
    }

    /// This booking replaced another one.
    pub fn replacing(mut self, old: u32) -> Self {
        self.old = Some(old);
        self
    }

    /// This booking was replaced by another one.
    pub fn replaced_by(mut self, new: u32) -> Self {
        self.new = Some(new);
        self
    }

    /// When it was made, in seconds since the Unix epoch.
    pub fn booked_s(&self) -> i64 {
        BOOKINGS_S + i64::from(self.n) * 3600
    }

    fn payload(&self, updated_s: i64) -> Value {
        let uri = invitee_uri(self.n);
        let event = uri.split("/invitees/").next().unwrap();
        let start_s = MEETINGS_S + i64::from(self.n) * 86_400;
        json!({
            "uri": uri, "event": event, "email": self.email, "name": self.name,
            "first_name": null, "last_name": null, "status": "active",
            "timezone": "Europe/Amsterdam",
            "created_at": time(self.booked_s()), "updated_at": time(updated_s),
            "old_invitee": self.old.map(invitee_uri), "new_invitee": self.new.map(invitee_uri),
            "rescheduled": false, "no_show": null, "payment": null,
            "questions_and_answers": [
                { "question": "Which company are you with?", "answer": "Fietsfabriek", "position": 0 }
            ],
            "tracking": {
                "utm_source": "newsletter", "utm_medium": null, "utm_campaign": null,
                "utm_content": null, "utm_term": null, "salesforce_uuid": null
            },
            "text_reminder_number": null,
            "cancel_url": format!("https://calendly.com/cancellations/{}", self.n),
            "reschedule_url": format!("https://calendly.com/reschedulings/{}", self.n),
            "scheduled_event": {
                "uri": event, "name": "Discovery call", "status": "active",
                "start_time": time(start_s), "end_time": time(start_s + 1800),
                "created_at": time(self.booked_s()), "updated_at": time(updated_s),
                "event_type": "https://api.calendly.com/event_types/00000000-0000-4000-8000-00000000e001",
                "location": { "type": "zoom", "status": "pushed", "join_url": "https://zoom.example.com/j/1", "data": { "id": 10_000_000_001_i64 } },
                "invitees_counter": { "total": 1, "active": 1, "limit": 1 },
                "event_memberships": self.hosts, "event_guests": []
            }
        })
    }

    fn envelope(event: &str, at_s: i64, payload: &Value) -> Value {
        json!({
            "event": event, "created_at": time(at_s),
            "created_by": "https://api.calendly.com/users/00000000-0000-4000-8000-00000000c001",
            "payload": payload
        })
    }

    pub fn created(&self) -> Value {
        let at_s = self.booked_s();
        Self::envelope("invitee.created", at_s + 1, &self.payload(at_s))
    }

    /// Canceled ten minutes after it was made; half of a reschedule when it was replaced.
    pub fn canceled(&self) -> Value {
        let at_s = self.booked_s() + 600;
        let mut payload = self.payload(at_s);
        payload["status"] = json!("canceled");
        payload["rescheduled"] = json!(self.new.is_some());
        payload["cancellation"] = json!({
            "canceled_by": self.name, "reason": "a train strike", "canceler_type": "invitee",
            "created_at": time(at_s)
        });
        Self::envelope("invitee.canceled", at_s + 1, &payload)
    }

    /// The `k`-th no-show mark.
    pub fn no_show(&self, k: u32) -> Value {
        let at_s = self.booked_s() + 1000 + i64::from(k) * 100;
        let mut payload = self.payload(self.booked_s());
        payload["no_show"] = json!({
            "uri": format!("https://api.calendly.com/invitee_no_shows/{}-{k}", self.n),
            "created_at": time(at_s)
        });
        Self::envelope("invitee_no_show.created", at_s + 5, &payload)
    }

    /// The removal of the `k`-th no-show mark.
    pub fn no_show_removed(&self, k: u32) -> Value {
        let at_s = self.booked_s() + 1000 + i64::from(k) * 100 + 50;
        let payload = self.payload(self.booked_s());
        Self::envelope("invitee_no_show.deleted", at_s + 5, &payload)
    }
}

/// A routing form filled in by somebody with this address.
pub fn routing_form(n: u32, email: &str) -> Value {
    let payload = json!({
        "uri": format!("https://api.calendly.com/routing_form_submissions/{n}"),
        "routing_form": "https://api.calendly.com/routing_forms/1",
        "questions_and_answers": [
            { "question_uuid": null, "question": "Work e-mail", "answer": email },
            { "question_uuid": null, "question": "Phone number", "answer": "+31 20 555 01 99" },
            { "question_uuid": null, "question": "Full name", "answer": "Noor van Dijk" }
        ],
        "tracking": { "utm_source": "form" },
        "result": { "type": "event_type", "value": "x" },
        "created_at": time(BOOKINGS_S - 60), "updated_at": time(BOOKINGS_S - 60)
    });
    Booking::envelope("routing_form_submission.created", BOOKINGS_S - 59, &payload)
}
