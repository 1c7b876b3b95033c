//! Processing many deliveries again by filter, and foreseeing what that would change.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::on_both;
use crate::support::payload::{Booking, routing_form};

const PATH: &str = "/api/deliveries/replay";

/// Older than the tolerance.
const STALE_S: i64 = -1000;

const HOSTS: [&str; 2] = [
    "https://calendly.example/amelie",
    "https://calendly.example/nobody",
];

/// Bookings, moves, cancellations, no-shows and forms of few people, in no order, most of them
/// too old: more than fit into one batch, with chains that go from one batch to the next.
async fn mostly_held(app: &TestApp) {
    app.member("amelie@example.com", Some(HOSTS[0])).await;
    let mut all: Vec<Value> = (1..8).map(|n| routing_form(n, &email(n))).collect();
    for n in 1..=90_u32 {
        let mut booking = Booking::new(n, &email(n)).host(HOSTS[n as usize % 2], "x@example.net");
        let replaced = n % 3 != 0;
        booking.old = (n % 3 != 1).then(|| n - 1);
        all.push(booking.created());
        all.push(booking.no_show(1));
        booking.new = replaced.then(|| n + 1);
        // Some cancellations know another address: their bookings move.
        booking.email = email(if n % 10 == 0 { n + 1 } else { n });
        all.push(booking.canceled());
    }
    shuffle(&mut all);
    for some in all.chunks(24) {
        app.advance_ms(10);
        // One of them in time, and the others too old.
        let skew_s = |n: usize| if n == 7 { 0 } else { STALE_S };
        let sent = some.iter().enumerate();
        let sent = sent.map(|(n, body)| app.deliver_at(body, skew_s(n)));
        for reply in futures_util::future::join_all(sent).await {
            assert!(reply.status.is_success());
        }
        // In time after all: what was held is closed as its duplicate.
        app.deliver(&some[0]).await.expect(200);
    }
}

fn email(n: u32) -> String {
    format!("person{}@example.com", n / 3 % 9)
}

fn shuffle(all: &mut [Value]) {
    let mut seed = 12_345_u64;
    for i in (1..all.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        all.swap(i, usize::try_from(seed >> 33).unwrap() % (i + 1));
    }
}

/// All records by id.
async fn records(app: &TestApp) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (list, key) in [("prospects", "id"), ("proposals", "appointmentId")] {
        for record in app.all(&format!("/api/{list}")).await {
            all.insert(format!("{list} {}", record[key].as_str().unwrap()), record);
        }
    }
    all
}

/// What changed between two states, in the terms of a dry run.
fn changes(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<Value> {
    let mut ids: Vec<&String> = before.keys().chain(after.keys()).collect();
    ids.sort();
    ids.dedup();
    let is_new = |id: &Value| {
        let id = format!("prospects {}", id.as_str().unwrap());
        !before.contains_key(&id) && after.contains_key(&id)
    };
    let change = |id: &String| {
        let (old, new) = (before.get(id), after.get(id));
        let (kind, id) = id.split_once(' ').unwrap();
        let change = match (old, new) {
            (None, _) => "created",
            (_, None) => "deleted",
            _ => "updated",
        };
        let mut fields = BTreeMap::new();
        for name in old.or(new).unwrap().as_object().unwrap().keys() {
            let value = |record: Option<&Value>| record.map_or(Value::Null, |r| r[name].clone());
            let (old, mut new_value) = (value(old), value(new));
            let own = ["id", "appointmentId", "createdAt", "updatedAt"].contains(&name.as_str());
            if own || old == new_value {
                continue;
            }
            let of_prospect = ["prospectId", "conversationId"].contains(&name.as_str());
            if of_prospect && new.is_some_and(|new| is_new(&new["prospectId"])) {
                new_value = Value::Null;
            }
            fields.insert(name.clone(), json!({ "before": old, "after": new_value }));
        }
        let id = if change == "created" {
            Value::Null
        } else {
            json!(id)
        };
        let record = kind.strip_suffix('s').unwrap();
        (!fields.is_empty())
            .then(|| json!({ "record": record, "change": change, "id": id, "fields": fields }))
    };
    ids.into_iter().filter_map(change).collect()
}

/// Everything admins can read: what a dry run must leave as it is.
async fn everything(app: &TestApp) -> (BTreeMap<String, Value>, Vec<Value>, i64, Value) {
    let counts = app.get("/api/deliveries/counts").await.expect(200);
    (
        records(app).await,
        app.all("/api/deliveries").await,
        app.head().await,
        counts,
    )
}

on_both! {
    async fn a_dry_run_tells_each_of_many_records(app: TestApp) {
        for n in 1..=101 {
            let booking = Booking::new(n, &format!("{n}@example.com")).created();
            app.deliver_at(&booking, STALE_S).await.expect(202);
        }
        let foreseen = app.post(PATH, &json!({ "dryRun": true })).await.expect(200);
        let changes = &foreseen["changes"];
        assert_eq!(changes["created"], 202);
        assert_eq!(changes["items"].as_array().unwrap().len(), 202);
        assert_eq!(foreseen["more"], false);
    }

    async fn a_dry_run_changes_nothing_and_foresees_what_then_happens(app: TestApp) {
        mostly_held(&app).await;
        let before = everything(&app).await;
        let foreseen = app.post(PATH, &json!({ "dryRun": true })).await.expect(200);
        assert!(everything(&app).await == before, "a dry run changed something");
        let done = app.post(PATH, &json!({})).await.expect(200);
        assert_eq!(foreseen["dryRun"], true);
        assert_eq!((&done["dryRun"], &done["changes"]), (&json!(false), &Value::Null));
        assert!(foreseen["matched"].as_u64().unwrap() > 256, "{}", foreseen["matched"]);
        assert!(foreseen["outcomes"]["processed"].as_u64().unwrap() > 200);
        assert!(foreseen["outcomes"]["duplicate"].as_u64().unwrap() > 3);
        for same in ["matched", "outcomes", "deliveries", "complete"] {
            assert!(foreseen[same] == done[same], "{same}");
        }
        let mut actual = changes(&before.0, &records(&app).await);
        let told = &foreseen["changes"];
        for change in ["created", "updated", "deleted"] {
            let n = actual.iter().filter(|c| c["change"] == change).count();
            assert_eq!(told[change], n, "{change}");
        }
        let at_least = |change: &str, n| told[change].as_u64().unwrap() >= n;
        assert!(at_least("updated", 3) && at_least("created", 5), "{told:.300}");
        for item in told["items"].as_array().unwrap() {
            let place = actual.iter().position(|change| change == item);
            actual.swap_remove(place.unwrap_or_else(|| panic!("{item:#} did not happen")));
        }
        assert_eq!(actual, [] as [Value; 0]);
        // Again, it changes nothing more: all of it is known.
        let after = (records(&app).await, app.head().await);
        let again = app.post(PATH, &json!({ "dryRun": true })).await.expect(200);
        assert_eq!(again["changes"], json!({ "created": 0, "updated": 0, "deleted": 0, "items": [] }));
        app.post(PATH, &json!({})).await.expect(200);
        let now = (records(&app).await, app.head().await);
        assert!(now == after, "a second replay changed something");
    }

    async fn what_was_held_and_replayed_in_bulk_is_as_if_it_had_come_in_time(app: TestApp) {
        mostly_held(&app).await;
        let since = app.head().await;
        app.post(PATH, &json!({ "status": "quarantined" })).await.expect(200);
        let held = app.get("/api/deliveries?status=quarantined").await.expect(200);
        assert_eq!(held["total"], 0);
        // Every change is told, in order, to who asks for what came after.
        let mut prospects = BTreeMap::new();
        for (name, payload) in app.events().await {
            match name.as_str() {
                "prospect:deleted" => drop(prospects.remove(payload["id"].as_str().unwrap())),
                "prospect:created" | "prospect:updated" => {
                    prospects.insert(payload["id"].as_str().unwrap().to_owned(), payload);
                }
                _ => {}
            }
        }
        assert!(app.head().await > since);
        for prospect in app.all("/api/prospects").await {
            assert_eq!(prospects.remove(prospect["id"].as_str().unwrap()), Some(prospect));
        }
        assert_eq!(prospects.len(), 0);
    }

    async fn only_what_matches_is_replayed(app: TestApp) {
        for n in 1..=4 {
            app.deliver_at(&Booking::new(n, &format!("n{n}@example.com")).created(), STALE_S).await.expect(202);
            app.advance_ms(1000);
        }
        app.deliver_at(&routing_form(1, "form@example.com"), STALE_S).await.expect(202);
        app.deliver_raw(b"{".to_vec(), 0).await.expect(202);
        app.post_webhook("/webhooks/calendly", None, Vec::new()).await.problem(401, "signature_missing");
        app.app.flush_refusals().await.unwrap();
        let matched = async |filter: Value| {
            let mut filter = filter;
            filter["dryRun"] = json!(true);
            let told = app.post(PATH, &filter).await.expect(200);
            (told["matched"].as_u64().unwrap(), told["changes"]["created"].as_u64().unwrap())
        };
        assert_eq!(matched(json!({ "event": "invitee.created" })).await, (4, 8));
        assert_eq!(matched(json!({ "event": "routing_form_submission.created" })).await, (1, 1));
        assert_eq!(matched(json!({ "since": "2026-11-20T08:00:02Z", "event": "invitee.created" })).await, (2, 4));
        assert_eq!(matched(json!({ "until": "2026-11-20T08:00:01.000Z" })).await, (1, 2));
        assert_eq!(matched(json!({ "status": "processed" })).await, (0, 0));
        assert_eq!(matched(json!({ "status": "rejected" })).await, (1, 0));

        let filter = json!({ "status": "quarantined", "until": "2026-11-20T08:00:02Z" });
        let done = app.post(PATH, &filter).await.expect(200);
        assert_eq!(done["outcomes"]["processed"], 2);
        assert_eq!(app.all("/api/prospects").await.len(), 2);
        let done = app.post(PATH, &json!({})).await.expect(200);
        assert_eq!(done["outcomes"], json!({
            "processed": 5, "duplicate": 0, "ignored": 0, "quarantined": 1, "skipped": 1, "failed": 0,
        }));
        let deliveries = done["deliveries"].as_array().unwrap();
        assert_eq!((deliveries.len(), &done["more"]), (6, &json!(false)));
        assert_eq!((&deliveries[0]["was"], &deliveries[0]["status"]), (&json!("processed"), &json!("processed")));
        assert_eq!((&deliveries[2]["was"], &deliveries[2]["status"]), (&json!("quarantined"), &json!("processed")));
        assert_eq!(deliveries[5]["reason"], "malformed_payload");
    }

    async fn what_does_not_fit_is_named_and_only_admins_may(app: TestApp) {
        let (_, member) = app.member("amelie@example.com", None).await;
        app.post_as(&member, PATH, &json!({ "dryRun": true })).await.problem(403, "forbidden");
        app.send(Method::POST, PATH, None, &[], None).await.problem(401, "token_missing");
        for (body, field) in [
            (json!({ "status": "duplicate" }), "status"), (json!({ "since": "yesterday" }), "since"),
            (json!({ "until": 7 }), "until"), (json!({ "dryRun": "yes" }), "dryRun"),
            (json!({ "dryrun": true }), "dryrun"), (json!({ "event": "" }), "event"),
        ] {
            assert_eq!(app.post(PATH, &body).await.faults(), [field], "{body}");
        }
        app.get(PATH).await.problem(405, "method_not_allowed");
    }
}
