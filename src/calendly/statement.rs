//! Translates what Calendly says into what the fold understands.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::payload::{
    Answer as WireAnswer, Content, Invitee, InviteeEvent, RoutingForm, ScheduledEvent,
    Tracking as WireTracking, Webhook,
};
use crate::domain::email::Email;
use crate::domain::ids::Id;
use crate::domain::invitee::{
    Answer, Cancellation, Host, InviteeFacts, InviteeUri, Links, Location, Meeting, NoShowMark,
};
use crate::domain::latest::{Latest, Stamp};
use crate::domain::profile::{Name, Profile, Tracking};
use crate::domain::text::{
    NamePart, asks_for_company, asks_for_email, asks_for_name, asks_for_phone, phone_in,
    speaks_of_company, speaks_of_phone, split_name,
};
use crate::domain::world::Statement;

/// What a webhook says that we act on.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// It changes the state.
    Statement(Statement),
    /// A routing form without an e-mail address: there is nobody to add it to.
    FormWithoutEmail,
    /// An event we do not act on.
    Unhandled,
}

/// Reads what a webhook says. `connection_user` is the user behind the connection it was posted
/// to, who owns bookings with no host we know.
#[must_use]
pub fn meaning(webhook: &Webhook<'_>, connection_user: Option<&Id>) -> Meaning {
    match &webhook.content {
        Content::Invitee { kind, payload } => {
            let facts = invitee_facts(*kind, payload, webhook.created_at_us, connection_user);
            let uri = InviteeUri(payload.uri.to_string());
            Meaning::Statement(Statement::Invitee {
                uri,
                facts: Box::new(facts),
            })
        }
        Content::RoutingForm(form) => match form_email(form) {
            Some(email) => Meaning::Statement(Statement::Form {
                email_key: email.key().to_owned(),
                profile: Box::new(form_profile(form, email, webhook.created_at_us)),
            }),
            None => Meaning::FormWithoutEmail,
        },
        Content::Other => Meaning::Unhandled,
    }
}

fn invitee_facts(
    kind: InviteeEvent,
    payload: &Invitee<'_>,
    envelope_us: Option<i64>,
    connection_user: Option<&Id>,
) -> InviteeFacts {
    let at_us = payload
        .updated_at_us
        .or(payload.created_at_us)
        .or(envelope_us)
        .unwrap_or(0);
    let booked_us = payload.created_at_us.unwrap_or(0);
    let stamp = Stamp {
        booked_us,
        at_us,
        rank: rank(kind),
    };
    let answers: Vec<Answer> = payload.questions_and_answers.iter().map(answer).collect();
    let tracking = tracking(&payload.tracking);
    InviteeFacts {
        profile: invitee_profile(payload, stamp, &tracking),
        meeting: payload
            .scheduled_event
            .as_ref()
            .map(|event| meeting(event, stamp))
            .unwrap_or_default(),
        answers: (!answers.is_empty()).then(|| Latest::new(stamp, answers)),
        tracking: (!tracking.is_empty()).then(|| Latest::new(stamp, tracking)),
        links: links(payload).map(|links| Latest::new(stamp, links)),
        booked_us: payload.created_at_us,
        cancellation: payload
            .canceled
            .then(|| Latest::new(stamp, cancellation(payload))),
        old_invitee: payload.old_invitee.as_deref().map(uri),
        new_invitee: payload.new_invitee.as_deref().map(uri),
        no_show_marks: no_show_marks(kind, payload, envelope_us),
        no_show_removals: match (kind, envelope_us) {
            (InviteeEvent::NoShowDeleted, at) => BTreeSet::from([at.unwrap_or(at_us)]),
            _ => BTreeSet::new(),
        },
        connection_user: connection_user.cloned(),
    }
}

/// `updated_at` is not bumped by a no-show mark, so the kind of event breaks the tie.
fn rank(kind: InviteeEvent) -> u8 {
    match kind {
        InviteeEvent::Created => 0,
        InviteeEvent::NoShowCreated => 1,
        InviteeEvent::NoShowDeleted => 2,
        InviteeEvent::Canceled => 3,
    }
}

fn uri(text: &str) -> InviteeUri {
    InviteeUri(text.to_owned())
}

fn owned(text: Option<&Cow<'_, str>>) -> Option<String> {
    text.map(ToString::to_string)
}

fn invitee_profile(payload: &Invitee<'_>, stamp: Stamp, tracking: &Tracking) -> Profile {
    let at = |value: String| Latest::new(stamp, value);
    Profile {
        email: Email::parse(&payload.email).map(|email| Latest::new(stamp, email)),
        name: invitee_name(payload).map(|name| Latest::new(stamp, name)),
        phone: invitee_phone(payload).map(at),
        company: answered_company(&payload.questions_and_answers).map(at),
        timezone: owned(payload.timezone.as_ref()).map(at),
        tracking: (!tracking.is_empty()).then(|| Latest::new(stamp, tracking.clone())),
        last_booking_us: payload.created_at_us,
    }
}

/// The first line of the answer to a question that asks for the company, else to one that speaks of
/// it.
fn answered_company(answers: &[WireAnswer<'_>]) -> Option<String> {
    let answered = |asks: fn(&str) -> bool| {
        let mut answers = answers.iter().filter(move |a| asks(&a.question));
        answers.find_map(|a| Some(a.answer.trim().lines().next()?.trim().to_owned()))
    };
    answered(asks_for_company).or_else(|| answered(speaks_of_company))
}

fn trimmed(text: Option<&Cow<'_, str>>) -> Option<String> {
    text.map(|text| text.trim().to_owned())
}

fn invitee_name(payload: &Invitee<'_>) -> Option<Name> {
    if payload.first_name.is_some() || payload.last_name.is_some() {
        return Some(Name {
            first: trimmed(payload.first_name.as_ref()),
            last: trimmed(payload.last_name.as_ref()),
        });
    }
    Some(full_name(payload.name.as_deref()?))
}

/// A phone number may be in the reminder's number, in the location of a call the host makes, or
/// in an answer. The location of a call the *invitee* makes is the host's number.
fn invitee_phone(payload: &Invitee<'_>) -> Option<String> {
    let reminder = payload.text_reminder_number.as_deref().map(str::trim);
    let location = payload
        .scheduled_event
        .as_ref()
        .and_then(|event| event.location.as_ref());
    let place = location.and_then(|location| location.value.as_deref());
    let called = match location.and_then(|location| location.kind.as_deref()) {
        Some("outbound_call") => place.map(str::trim),
        Some("ask_invitee") => place.and_then(|place| phone_in(place, false)),
        _ => None,
    };
    let found = reminder
        .or(called)
        .or_else(|| answered_phone(&payload.questions_and_answers));
    found.map(str::to_owned)
}

/// An answer to a question that asks for the invitee's number, else to one that speaks of one, else
/// one that is clearly a number.
fn answered_phone<'a>(answers: &'a [WireAnswer<'_>]) -> Option<&'a str> {
    let answered = |asks: fn(&str) -> bool, asked| {
        let mut answers = answers.iter().filter(move |a| asks(&a.question));
        answers.find_map(|a| phone_in(&a.answer, asked))
    };
    answered(asks_for_phone, true)
        .or_else(|| answered(speaks_of_phone, true))
        .or_else(|| answered(|_| true, false))
}

fn answer(wire: &WireAnswer<'_>) -> Answer {
    Answer {
        question: wire.question.to_string(),
        answer: wire.answer.to_string(),
    }
}

fn tracking(wire: &WireTracking<'_>) -> Tracking {
    Tracking {
        utm_source: owned(wire.utm_source.as_ref()),
        utm_medium: owned(wire.utm_medium.as_ref()),
        utm_campaign: owned(wire.utm_campaign.as_ref()),
        utm_term: owned(wire.utm_term.as_ref()),
        utm_content: owned(wire.utm_content.as_ref()),
        salesforce_uuid: owned(wire.salesforce_uuid.as_ref()),
    }
}

/// Each part by itself, so that a sparse payload takes nothing away.
fn meeting(event: &ScheduledEvent<'_>, stamp: Stamp) -> Meeting {
    let at_us = event.updated_at_us.unwrap_or(stamp.at_us);
    let stamp = Stamp { at_us, ..stamp };
    let location = event.location.as_ref().map(|location| Location {
        kind: location.kind.as_deref().unwrap_or("unknown").to_owned(),
        value: owned(location.value.as_ref()),
    });
    let host = |host: &super::payload::Host<'_>| Host {
        user_uri: owned(host.user_uri.as_ref()),
        email: owned(host.email.as_ref()),
        name: owned(host.name.as_ref()),
    };
    let hosts: Vec<Host> = event.hosts.iter().map(host).collect();
    let guests: Vec<String> = event.guests.iter().map(ToString::to_string).collect();
    Meeting {
        title: owned(event.name.as_ref()).map(|title| Latest::new(stamp, title)),
        start_us: event.start_us.map(|at| Latest::new(stamp, at)),
        end_us: event.end_us.map(|at| Latest::new(stamp, at)),
        location: location.map(|location| Latest::new(stamp, location)),
        hosts: (!hosts.is_empty()).then(|| Latest::new(stamp, hosts)),
        guests: (!guests.is_empty()).then(|| Latest::new(stamp, guests)),
    }
}

/// Only web links are taken, because pages show them as links.
fn links(payload: &Invitee<'_>) -> Option<Links> {
    let web = |url: Option<&Cow<'_, str>>| {
        owned(url).filter(|url| url.starts_with("https://") || url.starts_with("http://"))
    };
    let cancel = web(payload.cancel_url.as_ref());
    let reschedule = web(payload.reschedule_url.as_ref());
    (cancel.is_some() || reschedule.is_some()).then_some(Links { cancel, reschedule })
}

fn cancellation(payload: &Invitee<'_>) -> Cancellation {
    let Some(wire) = &payload.cancellation else {
        return Cancellation {
            at_us: payload.updated_at_us,
            ..Cancellation::default()
        };
    };
    Cancellation {
        by: owned(wire.canceler_type.as_ref()),
        name: owned(wire.canceled_by.as_ref()),
        reason: owned(wire.reason.as_ref()),
        at_us: wire.created_at_us.or(payload.updated_at_us),
    }
}

fn no_show_marks(
    kind: InviteeEvent,
    payload: &Invitee<'_>,
    envelope_us: Option<i64>,
) -> BTreeMap<String, NoShowMark> {
    if kind != InviteeEvent::NoShowCreated {
        return BTreeMap::new();
    }
    let mark = payload.no_show.as_ref();
    let set_us = mark.and_then(|mark| mark.created_at_us);
    let at_us = set_us
        .or(envelope_us)
        .or(payload.updated_at_us)
        .unwrap_or(0);
    // Removals are placed by the envelope's time, so marks are too: both lag alike.
    let order_us = envelope_us.unwrap_or(at_us);
    let name = mark
        .and_then(|mark| mark.uri.as_deref())
        .map_or_else(|| at_us.to_string(), str::to_owned);
    BTreeMap::from([(name, NoShowMark { order_us, at_us })])
}

/// The address among the answers: in one whose question asks for the invitee's, else for one whose
/// question speaks of mail, else one that is nothing but an address. Others may name somebody
/// else's.
fn form_email(form: &RoutingForm<'_>) -> Option<Email> {
    let answered = |asks: fn(&str) -> bool| {
        let mut answers = form.answers.iter().filter(move |a| asks(&a.question));
        answers.find_map(|a| Email::find(&a.answer))
    };
    answered(asks_for_email)
        .or_else(|| answered(|question| question.to_lowercase().contains("mail")))
        .or_else(|| form.answers.iter().find_map(|a| Email::parse(&a.answer)))
}

fn form_profile(form: &RoutingForm<'_>, email: Email, envelope_us: Option<i64>) -> Profile {
    let at_us = form
        .updated_at_us
        .or(form.created_at_us)
        .or(envelope_us)
        .unwrap_or(0);
    let stamp = Stamp {
        booked_us: form.created_at_us.unwrap_or(at_us),
        at_us,
        rank: 0,
    };
    let at = |value: String| Latest::new(stamp, value);
    let tracking = tracking(&form.tracking);
    Profile {
        email: Some(Latest::new(stamp, email)),
        name: form_name(form).map(|name| Latest::new(stamp, name)),
        phone: answered_phone(&form.answers).map(|phone| at(phone.to_owned())),
        company: answered_company(&form.answers).map(at),
        timezone: None,
        tracking: (!tracking.is_empty()).then(|| Latest::new(stamp, tracking)),
        last_booking_us: None,
    }
}

fn form_name(form: &RoutingForm<'_>) -> Option<Name> {
    let part = |wanted: NamePart| {
        let mut answers = form.answers.iter();
        answers
            .find(|a| asks_for_name(&a.question) == Some(wanted))
            .map(|a| a.answer.trim().to_owned())
    };
    if let Some(full) = part(NamePart::Full) {
        return Some(full_name(&full));
    }
    let (first, last) = (part(NamePart::First), part(NamePart::Last));
    (first.is_some() || last.is_some()).then_some(Name { first, last })
}

fn full_name(name: &str) -> Name {
    let (first, last) = split_name(name);
    Name {
        first: Some(first),
        last,
    }
}
