//! Order of arrival never matters: any order, any repeats and any gaps of the same set of
//! deliveries end in the same state (law 5), on the pure fold and through the real endpoint.

use std::collections::{BTreeMap, BTreeSet};

use bookbell::calendly::payload;
use bookbell::calendly::statement::{Meaning, meaning};
use bookbell::domain::email::Email;
use bookbell::domain::ids::{Id, UuidV7};
use bookbell::domain::prospect::Prospect;
use bookbell::domain::user::Directory;
use bookbell::domain::world::{Context, World};
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::app::{Reply, START_MS, TestApp};
use crate::support::database::Database;
use crate::support::on_both;
use crate::support::payload::{Booking, routing_form};

const EMAILS: [&str; 3] = [
    "noor@example.com",
    "Noor@Example.com",
    "ibrahim@example.org",
];
const HOSTS: [(&str, &str); 3] = [
    ("https://api.calendly.com/users/aaaa", "amelie@example.com"),
    ("https://api.calendly.com/users/bbbb", "kwame@example.com"),
    (
        "https://api.calendly.com/users/unknown",
        "stranger@example.com",
    ),
];

/// How one booking of a generated story looks.
#[derive(Debug, Clone)]
struct Plan {
    email: usize,
    host: usize,
    /// Moves the booking before it, and which of the two payloads say so.
    moves: Option<(bool, bool)>,
    canceled: bool,
    marks: u32,
    removals: u32,
    /// The first payload lacks the meeting, as old ones do.
    bare: bool,
    /// The cancellation knows another spelling of the name.
    renamed: bool,
    /// The cancellation knows another address.
    readdressed: Option<usize>,
    /// The cancellation says that another booking was replaced, as Calendly never does.
    misled: Option<u32>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let moves = prop::option::weighted(0.5, (any::<bool>(), any::<bool>()));
    let who = (
        0..3_usize,
        0..3_usize,
        prop::option::weighted(0.2, 0..3_usize),
        prop::option::weighted(0.1, 1..6_u32),
    );
    let what = (
        any::<bool>(),
        0..3_u32,
        0..3_u32,
        any::<bool>(),
        any::<bool>(),
    );
    (who, moves, what).prop_map(|((email, host, readdressed, misled), moves, what)| {
        let (canceled, marks, removals, bare, renamed) = what;
        Plan {
            email,
            host,
            moves,
            canceled,
            marks,
            removals,
            bare,
            renamed,
            readdressed,
            misled,
        }
    })
}

/// A set of deliveries, and two orders of it: one as it happened, one with repeats, shuffled.
fn story() -> impl Strategy<Value = (Vec<Value>, Vec<Value>)> {
    let plans = prop::collection::vec(plan(), 1..6);
    let forms = prop::collection::vec(0..3_usize, 0..2);
    (plans, forms)
        .prop_map(|(plans, forms)| deliveries(&plans, &forms))
        .prop_flat_map(|all| {
            let n = all.len();
            let kept = prop::collection::vec(prop::bool::weighted(0.85), n);
            let repeats = prop::collection::vec(0..n, 0..n);
            (Just(all), kept, repeats).prop_flat_map(|(all, kept, repeats)| {
                let set: Vec<Value> = all
                    .iter()
                    .zip(&kept)
                    .filter(|(_, kept)| **kept)
                    .map(|(d, _)| d.clone())
                    .collect();
                let again = repeats
                    .iter()
                    .filter(|i| kept[**i])
                    .map(|i| all[*i].clone());
                let mixed: Vec<Value> = set.iter().cloned().chain(again).collect();
                (Just(set), Just(mixed).prop_shuffle())
            })
        })
}

fn deliveries(plans: &[Plan], forms: &[usize]) -> Vec<Value> {
    let mut all: Vec<Value> = (1..)
        .zip(forms)
        .map(|(n, i)| routing_form(n, EMAILS[*i]))
        .collect();
    for (n, plan) in (1_u32..).zip(plans) {
        let next = plans.get(n as usize).and_then(|next| next.moves);
        let (uri, email) = HOSTS[plan.host];
        let mut booking = Booking::new(n, EMAILS[plan.email]).host(uri, email);
        booking.old = plan
            .moves
            .filter(|(backward, _)| *backward && n > 1)
            .map(|_| n - 1);
        let moved = next.is_some_and(|(_, forward)| forward);
        let mut created = booking.created();
        if plan.bare {
            created["payload"]
                .as_object_mut()
                .unwrap()
                .remove("scheduled_event");
        }
        all.push(created);
        if plan.canceled || moved {
            booking.new = moved.then_some(n + 1);
            if plan.renamed {
                booking.name = String::from("Noor de Vries");
            }
            if let Some(email) = plan.readdressed {
                booking.email = String::from(EMAILS[email]);
            }
            let old = booking.old;
            booking.old = plan.misled.or(old);
            all.push(booking.canceled());
            booking.old = old;
            booking.email = String::from(EMAILS[plan.email]);
        }
        all.extend((0..plan.marks).map(|k| booking.no_show(k)));
        all.extend((0..plan.removals).map(|k| booking.no_show_removed(k)));
    }
    all
}

/// Folds deliveries one by one in memory and answers what clients would see, without ids and
/// record times.
fn fold(deliveries: &[Value]) -> Vec<Value> {
    let user = |n: u8, host: (&str, &str)| {
        let id = Id::from_stored(format!("user-{n}"));
        (id, Email::parse(host.1).unwrap(), Some(host.0.to_owned()))
    };
    let mut world = World::with_complete(BTreeSet::new());
    world.directory = Directory::new([user(1, HOSTS[0]), user(2, HOSTS[1])]);
    let ids = UuidV7::new();
    for delivery in deliveries {
        let body = delivery.to_string();
        let webhook = payload::parse(body.as_bytes()).unwrap();
        if let Meaning::Statement(statement) = meaning(&webhook, None) {
            let before = addresses(&world);
            world
                .apply(
                    statement,
                    Context {
                        now_ms: START_MS,
                        ids: &ids,
                    },
                )
                .unwrap();
            for (before, after) in before.iter().zip(&addresses(&world)) {
                assert_writable(before, after);
            }
        }
    }
    let prospects = world.prospects.values().map(|p| json!(p.view())).collect();
    let proposals = world.proposals.values().map(|p| json!(p.view())).collect();
    canonical(prospects, proposals)
}

/// What no two prospects may have in common: owner and address.
type Address = (Option<Id>, String);

/// The addresses of each prospect: its own, and the one that webhooks know it by.
fn addresses(world: &World) -> [BTreeMap<Id, Address>; 2] {
    let all = world.prospects.values();
    let own = |p: &Prospect| {
        let own = (p.owner_id.clone(), p.email.key().to_owned());
        (p.id.clone(), own)
    };
    let known = |p: &Prospect| {
        let key = p.fold_key.clone()?;
        Some((p.id.clone(), (key.owner_id, key.email_key)))
    };
    [
        all.clone().map(own).collect(),
        all.filter_map(known).collect(),
    ]
}

/// The store writes the prospects of one delivery in three steps: those that go give up their address, those that
/// stay are changed, new ones are added. So no other one that stays may have had the address.
fn assert_writable(before: &BTreeMap<Id, Address>, after: &BTreeMap<Id, Address>) {
    for (id, address) in after {
        let of_others = |all: &BTreeMap<Id, Address>| -> Vec<Id> {
            let others = all
                .iter()
                .filter(|(other, theirs)| *other != id && *theirs == address);
            others.map(|(other, _)| other.clone()).collect()
        };
        assert_eq!(of_others(after), [], "{address:?} has two prospects");
        if before.get(id).is_some_and(|was| was != address) {
            let stays = |other: &Id| after.contains_key(other);
            assert!(
                !of_others(before).iter().any(stays),
                "{address:?} goes from one to another"
            );
        }
    }
}

/// Prospects with their proposals, without what depends on when they were made, sorted.
pub fn canonical(prospects: Vec<Value>, proposals: Vec<Value>) -> Vec<Value> {
    let mut by_prospect: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for mut proposal in proposals {
        let prospect = proposal["prospectId"].as_str().unwrap().to_owned();
        strip(
            &mut proposal,
            &[
                "appointmentId",
                "conversationId",
                "prospectId",
                "createdAt",
                "updatedAt",
            ],
        );
        by_prospect.entry(prospect).or_default().push(proposal);
    }
    let mut all: Vec<Value> = prospects
        .into_iter()
        .map(|mut prospect| {
            let mut own = by_prospect
                .remove(prospect["id"].as_str().unwrap())
                .unwrap_or_default();
            own.sort_by_key(Value::to_string);
            strip(&mut prospect, &["id", "createdAt", "updatedAt"]);
            json!({ "prospect": prospect, "proposals": own })
        })
        .collect();
    assert!(by_prospect.is_empty(), "a proposal without its prospect");
    all.sort_by_key(Value::to_string);
    all
}

fn strip(record: &mut Value, fields: &[&str]) {
    for field in fields {
        record.as_object_mut().unwrap().remove(*field);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_repetition_folds_to_the_same_state((set, mixed) in story()) {
        prop_assert_eq!(fold(&set), fold(&mixed));
    }
}

/// Each move tells the whole proposal, and whoever has the link may go on moving it.
#[test]
fn a_long_history_keeps_its_beginning_and_its_end() {
    let bookings = (1..=150_u32).map(|n| Booking {
        old: (n > 1).then(|| n - 1),
        ..Booking::new(n, EMAILS[0])
    });
    let story: Vec<Value> = bookings.map(|booking| booking.created()).collect();
    let state = fold(&story);
    let history = state[0]["proposals"][0]["history"].as_array().unwrap();
    assert_eq!(
        (history.len(), &history[0]["what"]),
        (100, &json!("booked"))
    );
    let moved: Vec<&Value> = history[1..]
        .iter()
        .map(|entry| &entry["to"]["startTime"])
        .collect();
    assert!(moved.is_sorted_by_key(|time| time.as_str()));
    assert_eq!(*moved[98], state[0]["proposals"][0]["startTime"]);
    let backwards: Vec<Value> = story.into_iter().rev().collect();
    assert_eq!(fold(&backwards), state);
}

/// Delivers through the real endpoint, so many at once, and answers what clients would see.
async fn deliver_all(app: &TestApp, deliveries: &[Value], at_once: usize) -> Vec<Value> {
    let answers = deliveries.iter().map(|delivery| app.deliver(delivery));
    let answers: Vec<Reply> = stream::iter(answers).buffered(at_once).collect().await;
    for answer in answers {
        answer.expect(200);
    }
    canonical(
        app.all("/api/prospects").await,
        app.all("/api/proposals").await,
    )
}

async fn endpoint_agrees(make: impl AsyncFn() -> Database) {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    for _ in 0..6 {
        let (set, mixed) = story().new_tree(&mut runner).unwrap().current();
        let mut states = Vec::new();
        // All in one batch, and in several, of which one is folded beside another.
        for (order, at_once) in [(&set, 1000), (&mixed, 1000), (&mixed, 3)] {
            let app = TestApp::on(make().await).await;
            for (uri, email) in &HOSTS[..2] {
                app.member(email, Some(uri)).await;
            }
            let mut state = deliver_all(&app, order, at_once).await;
            name_owners(&app, &mut state).await;
            states.push(state);
        }
        assert_eq!(states[0], states[1], "{set:#?}\n{mixed:#?}");
        assert_eq!(states[0], states[2], "{set:#?}\n{mixed:#?}");
    }
}

/// Puts the owner's address in the place of its id, which differs from run to run.
async fn name_owners(app: &TestApp, state: &mut [Value]) {
    let mut text = Value::from(state.to_vec()).to_string();
    for user in app.all("/api/users").await {
        text = text.replace(
            user["id"].as_str().unwrap(),
            user["email"].as_str().unwrap(),
        );
    }
    let named: Vec<Value> = serde_json::from_str(&text).unwrap();
    state.clone_from_slice(&named);
    state.sort_by_key(Value::to_string);
}

on_both! {
    /// What is left of the first prospect's address makes a new one, while the first is still in the table.
    async fn an_address_is_taken_over_from_a_prospect_that_goes(app: TestApp) {
        let booking = |n, email| Booking::new(n, email).host(HOSTS[2].0, HOSTS[2].1);
        let corrected = Booking { email: EMAILS[2].to_owned(), ..booking(1, EMAILS[0]) };
        let story = [
            routing_form(1, EMAILS[0]), booking(1, EMAILS[0]).created(),
            booking(2, EMAILS[2]).created(), corrected.canceled(),
        ];
        let state = deliver_all(&app, &story, 1).await;
        assert_eq!(state, fold(&story));
        assert_eq!(state.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_folds_any_order_to_the_same_state_on_sqlite() {
    endpoint_agrees(async || Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_folds_any_order_to_the_same_state_on_postgres() {
    endpoint_agrees(Database::postgres).await;
}
