//! `bookbell rebuild`: the archive is the truth, on either database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bookbell::calendly::signature::{SigningKey, sign};
use bookbell::domain::ids::Id;
use bookbell::store::{self, Store};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::database::Database;
use crate::support::on_each_database;
use crate::support::payload::{Booking, routing_form};
use crate::support::server::{PATIENCE, bookbell, finish, refusal};

const PRIYA: &str = "https://api.calendly.com/users/adef6b5e-9706-4f69-9e9b-a6e87b67fc53";

on_each_database![
    a_database_that_is_not_empty_is_refused_and_left_alone,
    a_source_that_is_not_there_is_not_made,
    a_difference_that_nobody_made_is_told,
    what_was_booked_before_a_user_was_added_stays_where_it_was,
    what_was_moved_to_new_users_keeps_its_ids,
    hosts_that_became_users_later_are_rebuilt,
    whoever_was_described_otherwise_keeps_its_bookings,
    an_address_that_was_somebody_elses_before_is_whose_it_was_then,
    a_long_history_with_decisions_is_rebuilt,
    what_people_did_is_told_apart_from_differences,
    a_user_that_was_deleted_makes_no_difference,
    who_knows_the_old_log_is_told_to_reload,
    an_unfinished_rebuild_is_not_served,
];

/// How a command ended, and what it printed.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn rebuild(from: &Database, into: &Database, arguments: &[&str]) -> Ended {
    let mut command = bookbell();
    command.args(["rebuild", "--database-url", &from.url, "--into", &into.url]);
    let output = finish(command.args(arguments), "");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Rebuilds and compares, and answers the report.
#[track_caller]
fn rebuilt(from: &Database, into: &Database) -> Value {
    let ended = rebuild(from, into, &["--check", "--json"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[track_caller]
fn refused(ended: &Ended, word: &str) {
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(word), "{}", ended.stderr);
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if !path.to_string_lossy().ends_with(".md") {
            found.push(path);
        }
    }
}

/// Every fixture, in an order that has nothing to do with what happened.
fn shuffled_fixtures() -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"),
        &mut paths,
    );
    paths.sort_by_key(|path| {
        let bytes = path.to_string_lossy().into_owned().into_bytes();
        bytes
            .iter()
            .fold(7_u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(*b)))
            % 1009
    });
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Deliveries of every kind: all fixtures, chains, forms, no-shows, some too old (and of those
/// some that came again in time), refused ones, and some by a connection.
async fn everything_happens(app: &TestApp) {
    app.member("priya.raghunathan@example.com", Some(PRIYA))
        .await;
    let (kwame, _) = app.member("kwame@example.com", None).await;
    for (n, body) in shuffled_fixtures().into_iter().enumerate() {
        app.advance_ms(700);
        let skew_s = if n % 7 == 3 { -1000 } else { 0 };
        assert!(
            app.deliver_raw(body.clone(), skew_s)
                .await
                .status
                .is_success()
        );
        if n % 21 == 3 {
            assert!(app.deliver_raw(body, 0).await.status.is_success());
        }
    }
    let bookings = [1, 2, 3].map(|n| Booking::new(n, "noor@example.com").host(PRIYA, "x"));
    let [first, second, third] = bookings;
    for body in [
        routing_form(1, "noor@example.com"),
        routing_form(2, "nobody.else@example.com"),
        third.clone().replacing(2).created(),
        first.clone().replaced_by(2).canceled(),
        second.no_show(1),
        first.created(),
        second.clone().replaced_by(3).canceled(),
        second.no_show_removed(1),
        third.no_show(1),
    ] {
        app.deliver(&body).await.expect(200);
    }
    for _ in 0..3 {
        let reply = app
            .post_webhook("/webhooks/calendly", None, b"{}".to_vec())
            .await;
        reply.problem(401, "signature_missing");
    }
    by_connection(app, &kwame).await;
    app.app.flush_refusals().await.unwrap();
}

async fn by_connection(app: &TestApp, user: &str) {
    let id = app.app.ids.new_id(0);
    let user = Id::parse(user).unwrap();
    let mut tx = app.app.store.begin().await.unwrap();
    store::connections::insert(&mut tx.db(), &id, Some(&user), "its own key", 0)
        .await
        .unwrap();
    tx.commit(Vec::new(), 0, &*app.app.ids).await.unwrap();
    let body = Booking::new(9, "a@example.net")
        .created()
        .to_string()
        .into_bytes();
    let at_s = app.app.now_ms() / 1000;
    let signature = sign(&SigningKey::new("its own key").unwrap(), at_s, &body);
    let path = format!("/webhooks/calendly/{id}");
    app.post_webhook(&path, Some(&signature), body)
        .await
        .expect(200);
}

/// Everything clients can read but the event log.
async fn state(app: &TestApp) -> Vec<Value> {
    let mut state = Vec::new();
    for list in ["users", "prospects", "proposals", "deliveries"] {
        let mut records = app.all(&format!("/api/{list}")).await;
        records.sort_by_key(Value::to_string);
        state.push(json!(records));
    }
    state.push(app.get("/api/deliveries/counts").await.expect(200));
    state
}

/// A database rebuilt from another one is the same in all that clients can read: also the ids,
/// and when records were made.
/// A delivery as it is kept, without what only the node that took it remembers.
async fn archived(app: &TestApp, path: &str) -> Value {
    let mut delivery = app.get(path).await.expect(200);
    if let Some(timings) = delivery["timings"].as_object_mut() {
        timings.retain(|name, _| !["committedUs", "socketUs"].contains(&name.as_str()));
    }
    delivery
}

async fn comes_out_equal(from: Database, into: Database, back: Database) {
    let app = TestApp::on(from).await;
    everything_happens(&app).await;
    let before = state(&app).await;
    let report = rebuilt(&app.database, &into);
    for kind in ["prospects", "proposals"] {
        let tally = &report["comparison"][kind];
        assert!(tally["equal"].as_u64().unwrap() > 20, "{report}");
        assert_eq!(
            (&tally["edited"], &tally["different"]),
            (&json!(0), &json!(0)),
            "{report}"
        );
    }
    assert_eq!(report["deliveries"]["heldNow"], json!([]));
    let again = TestApp::on(into).await;
    is_same(&before, &state(&again).await);
    for delivery in app.all("/api/deliveries").await {
        let path = format!("/api/deliveries/{}", delivery["id"].as_str().unwrap());
        assert_eq!(archived(&app, &path).await, archived(&again, &path).await);
    }
    // Its clock is a new one.
    again.advance_ms(600_000);
    rebuilt_goes_on(&again).await;
    // And back: what came out is a source like any other.
    let before = state(&again).await;
    rebuilt(&again.database, &back);
    is_same(&before, &state(&TestApp::on(back).await).await);
}

/// Compares lists record by record, so that a failure says which one.
#[track_caller]
fn is_same(mine: &[Value], rebuilt: &[Value]) {
    for (mine, rebuilt) in mine.iter().zip(rebuilt) {
        if let (Some(mine), Some(rebuilt)) = (mine.as_array(), rebuilt.as_array()) {
            for (mine, rebuilt) in mine.iter().zip(rebuilt) {
                assert_eq!(mine, rebuilt);
            }
            assert_eq!(mine.len(), rebuilt.len());
        }
        assert!(mine == rebuilt);
    }
}

/// A rebuilt database knows what came before: the same event is a duplicate, and a chain goes on.
async fn rebuilt_goes_on(app: &TestApp) {
    let again = Booking::new(1, "noor@example.com")
        .host(PRIYA, "x")
        .created();
    assert_eq!(app.deliver(&again).await.expect(200)["status"], "duplicate");
    let proposals = app.all("/api/proposals").await.len();
    let fourth = Booking::new(4, "noor@example.com")
        .host(PRIYA, "x")
        .replacing(3);
    assert_eq!(
        app.deliver(&fourth.created()).await.expect(200)["status"],
        "processed"
    );
    assert_eq!(app.all("/api/proposals").await.len(), proposals);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_comes_out_equal_on_postgres_and_back() {
    comes_out_equal(
        Database::sqlite(),
        Database::postgres().await,
        Database::sqlite(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_comes_out_equal_on_sqlite_and_back() {
    let back = Database::postgres().await;
    comes_out_equal(Database::postgres().await, Database::sqlite(), back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_comes_out_equal_on_its_own_kind() {
    comes_out_equal(Database::sqlite(), Database::sqlite(), Database::sqlite()).await;
    let (from, into) = (Database::postgres().await, Database::postgres().await);
    comes_out_equal(from, into, Database::postgres().await).await;
}

async fn a_database_that_is_not_empty_is_refused_and_left_alone(database: Database) {
    let app = TestApp::on(database).await;
    app.deliver(&Booking::new(1, "noor@example.com").created())
        .await
        .expect(200);
    let taken = TestApp::sqlite().await;
    taken
        .deliver(&Booking::new(2, "x@example.com").created())
        .await
        .expect(200);
    let before = (state(&taken).await, taken.head().await);
    refused(&rebuild(&app.database, &taken.database, &[]), "not empty");
    assert_eq!((state(&taken).await, taken.head().await), before);

    // Somebody else's tables are not to be written beside.
    let foreign = Database::postgres().await;
    foreign.execute("CREATE TABLE delivery (id TEXT)").await;
    refused(&rebuild(&app.database, &foreign, &[]), "not empty");
    foreign.execute("CREATE TABLE setting (id TEXT)").await;

    refused(
        &rebuild(&app.database, &app.database, &[]),
        "name another one",
    );
    let nowhere = Database {
        url: "mysql://x".into(),
        ..app.database.clone()
    };
    let misused = rebuild(&app.database, &nowhere, &[]);
    assert_eq!(misused.code, Some(2), "{}", misused.stderr);
    assert!(misused.stderr.contains("--into must begin with"));
}

async fn a_source_that_is_not_there_is_not_made(into: Database) {
    let nowhere = Database::sqlite();
    refused(&rebuild(&nowhere, &into, &[]), "nothing to rebuild");
    assert!(!nowhere.folder.path().join("bookbell.db").exists());
    // An empty database of ours is as good as none, as a target.
    Store::open(&into.url).await.unwrap();
    let app = TestApp::sqlite().await;
    rebuilt(&app.database, &into);
}

async fn a_difference_that_nobody_made_is_told(database: Database) {
    let app = TestApp::on(database).await;
    for n in 1..=3 {
        app.deliver(&Booking::new(n, &format!("n{n}@example.com")).created())
            .await
            .expect(200);
    }
    let into = Database::sqlite();
    rebuilt(&app.database, &into);
    into.execute("UPDATE prospect SET phone = '1' WHERE email_key = 'n1@example.com'")
        .await;
    into.execute(
        "UPDATE proposal SET title = 'Other', status = 'canceled' WHERE current_invitee \
        LIKE '%000000000002'",
    )
    .await;
    into.execute("DELETE FROM proposal WHERE current_invitee LIKE '%000000000003'")
        .await;
    let ended = rebuild(&app.database, &into, &["--check-only", "--json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let compared = &report["comparison"];
    assert_eq!(compared["prospects"]["different"], 1);
    assert_eq!(compared["proposals"]["different"], 2);
    let told = compared["differences"].as_array().unwrap();
    assert_eq!(
        told[0]["fields"],
        json!({ "phone": { "before": null, "after": "1" } })
    );
    let fields: Vec<&String> = told[1]["fields"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["status", "title"]);
    assert_eq!(told[2]["rebuiltId"], Value::Null);
    let lines = rebuild(&app.database, &into, &["--check-only"]);
    assert_eq!(lines.code, Some(1));
    assert!(
        lines.stdout.contains("phone null → \"1\""),
        "{}",
        lines.stdout
    );
    assert!(
        !lines.stdout.contains("calendly.com/cancellations"),
        "{}",
        lines.stdout
    );
}

async fn what_was_booked_before_a_user_was_added_stays_where_it_was(database: Database) {
    let app = TestApp::on(database).await;
    let of_amelie = |n: u32| {
        Booking::new(n, "noor@example.com").host("https://x.example/a", "amelie@example.com")
    };
    app.deliver(&of_amelie(1).created()).await.expect(200);
    app.advance_ms(1000);
    let (amelie, _) = app
        .member("amelie@example.com", Some("https://x.example/a"))
        .await;
    app.advance_ms(1000);
    app.deliver(&of_amelie(2).created()).await.expect(200);
    let owners = |state: &[Value]| {
        let proposals = state[2].as_array().unwrap().iter();
        proposals.map(|p| p["ownerId"].clone()).collect::<Vec<_>>()
    };
    // One that was processed again since went to her.
    app.deliver(&of_amelie(3).created()).await.expect(200);
    let late = Booking::new(4, "late@example.com").host("https://x.example/b", "kwame@example.com");
    let held = app.deliver_at(&late.created(), -1000).await.expect(202);
    app.advance_ms(1000);
    app.member("kwame@example.com", Some("https://x.example/b"))
        .await;
    let replay = format!(
        "/api/deliveries/{}/replay",
        held["deliveryId"].as_str().unwrap()
    );
    assert_eq!(
        app.post(&replay, &json!({})).await.expect(200)["status"],
        "processed"
    );
    let before = state(&app).await;
    assert!(owners(&before).contains(&Value::Null) && owners(&before).contains(&json!(amelie)));
    let into = Database::sqlite();
    rebuilt(&app.database, &into);
    let again = state(&TestApp::on(into).await).await;
    let without_times = |state: &[Value]| {
        let mut all: Vec<Value> = [&state[1], &state[2]]
            .into_iter()
            .flat_map(|l| l.as_array().unwrap().clone())
            .collect();
        for record in &mut all {
            // What was replayed later is as old as its delivery now.
            record["createdAt"] = Value::Null;
            record["updatedAt"] = Value::Null;
        }
        all.sort_by_key(Value::to_string);
        all
    };
    assert_eq!(without_times(&again), without_times(&before));
}

async fn what_people_did_is_told_apart_from_differences(database: Database) {
    let app = TestApp::on(database).await;
    let (amelie, _) = app
        .member("amelie@example.com", Some("https://x.example/a"))
        .await;
    for n in 1..=6 {
        let booking = Booking::new(n, &format!("n{n}@example.com"));
        app.deliver(&booking.created()).await.expect(200);
    }
    let prospect = async |n: u32| {
        let found = app
            .get(&format!("/api/prospects?search=n{n}@example.com"))
            .await
            .items();
        format!("/api/prospects/{}", found[0]["id"].as_str().unwrap())
    };
    let proposals = app.all("/api/proposals?sort=createdAt").await;
    let proposal = |n: usize| {
        format!(
            "/api/proposals/{}",
            proposals[n]["appointmentId"].as_str().unwrap()
        )
    };
    app.patch(
        &prospect(1).await,
        &json!({ "firstname": "N", "status": "won" }),
    )
    .await
    .expect(200);
    app.patch(&prospect(2).await, &json!({ "ownerId": amelie }))
        .await
        .expect(200);
    app.delete(&prospect(3).await).await.expect(204);
    app.post(&format!("{}/accept", proposal(3)), &json!({}))
        .await
        .expect(200);
    app.patch(&proposal(4), &json!({ "title": "Mine" }))
        .await
        .expect(200);
    app.delete(&proposal(5)).await.expect(204);
    app.prospect(app.admin_token(), "by.hand@example.com").await;
    app.deliver(&routing_form(1, "form@example.com"))
        .await
        .expect(200);
    let form = app
        .get("/api/prospects?search=form@example.com")
        .await
        .items()
        .remove(0);
    app.delete(&format!("/api/prospects/{}", form["id"].as_str().unwrap()))
        .await
        .expect(204);
    let into = Database::sqlite();
    let compared = rebuilt(&app.database, &into)["comparison"].clone();
    // Edited: 1 and 2, the deleted 3, the deleted form. Equal: 4, 5, 6.
    assert_eq!(
        compared["prospects"],
        json!({ "equal": 3, "edited": 4, "byHand": 1, "different": 0 })
    );
    // Edited: 2 went with its prospect; 3 and 6 deleted; 4 accepted; 5 renamed. Equal: 1.
    assert_eq!(
        compared["proposals"],
        json!({ "equal": 1, "edited": 5, "byHand": 0, "different": 0 })
    );
    let again = TestApp::on(into).await;
    assert_eq!(again.all("/api/prospects").await.len(), 7);
    assert_eq!(again.all("/api/proposals?status=pending").await.len(), 6);
}

/// Two bookings of one person, which go to an owner each when they are processed again.
async fn what_was_moved_to_new_users_keeps_its_ids(database: Database) {
    let app = TestApp::on(database).await;
    let hosts = [
        ("https://x.example/a", "amelie@example.com"),
        ("https://x.example/b", "kwame@example.com"),
    ];
    let mut deliveries = Vec::new();
    for (n, (uri, host)) in (1..).zip(hosts) {
        let booking = Booking::new(n, "noor@example.com").host(uri, host);
        let receipt = app.deliver(&booking.created()).await.expect(200);
        deliveries.push(format!(
            "/api/deliveries/{}",
            receipt["deliveryId"].as_str().unwrap()
        ));
    }
    app.advance_ms(1000);
    app.member(hosts[0].1, Some(hosts[0].0)).await;
    let replay = format!("{}/replay", deliveries[0]);
    app.post(&replay, &json!({})).await.expect(200);
    app.member(hosts[1].1, Some(hosts[1].0)).await;
    let all = json!({ "status": "processed" });
    app.post("/api/deliveries/replay", &all).await.expect(200);
    for path in &deliveries {
        let delivery = app.get(path).await.expect(200);
        let proposal = delivery["proposalId"].as_str().unwrap();
        let proposal = app
            .get(&format!("/api/proposals/{proposal}"))
            .await
            .expect(200);
        assert_eq!(delivery["prospectId"], proposal["prospectId"]);
    }
    let owners = async |app: &TestApp| {
        let prospects = app.all("/api/prospects").await;
        let owned = prospects
            .iter()
            .map(|p| (p["id"].to_string(), p["ownerId"].to_string()));
        owned.collect::<BTreeMap<_, _>>()
    };
    let before = owners(&app).await;
    assert_eq!(before.len(), 2);
    let into = Database::sqlite();
    rebuilt(&app.database, &into);
    assert_eq!(owners(&TestApp::on(into).await).await, before);
}

async fn hosts_that_became_users_later_are_rebuilt(database: Database) {
    let app = TestApp::on(database).await;
    let hosts = ["a", "b", "c"].map(|name| {
        (
            format!("https://x.example/{name}"),
            format!("{name}@example.com"),
        )
    });
    let booking = (hosts.iter()).fold(
        Booking::new(1, "noor@example.com"),
        |booking, (uri, email)| booking.host(uri, email),
    );
    app.deliver(&booking.created()).await.expect(200);
    app.advance_ms(1000);
    for (uri, email) in &hosts[..2] {
        app.member(email, Some(uri)).await;
    }
    app.post("/api/deliveries/replay", &json!({}))
        .await
        .expect(200);
    let known = |proposal: &Value| {
        let hosts = proposal["hosts"].as_array().unwrap().iter();
        hosts
            .map(|host| host["userId"].is_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        known(&app.all("/api/proposals").await[0]),
        [true, true, false]
    );
    app.advance_ms(1000);
    app.member(&hosts[2].1, Some(&hosts[2].0)).await;
    let into = Database::sqlite();
    rebuilt(&app.database, &into);
    let again = TestApp::on(into).await;
    assert_eq!(
        known(&again.all("/api/proposals").await[0]),
        [true, true, false]
    );
}

async fn an_address_that_was_somebody_elses_before_is_whose_it_was_then(database: Database) {
    let app = TestApp::on(database).await;
    let (second, _) = app.member("team-old@example.com", None).await;
    let (first, _) = app.member("team@example.com", None).await;
    for (user, email) in [(&first, "ada@example.com"), (&second, "team@example.com")] {
        let path = format!("/api/users/{user}");
        app.patch(&path, &json!({ "email": email }))
            .await
            .expect(200);
    }
    app.advance_ms(1000);
    let booking = Booking::new(1, "noor@example.com");
    let booking = booking.host("https://x.example/t", "team@example.com");
    let booking = booking.host("https://x.example/a", "ada@example.com");
    app.deliver(&booking.created()).await.expect(200);
    assert_eq!(app.all("/api/prospects").await[0]["ownerId"], json!(second));
    let into = Database::sqlite();
    rebuilt(&app.database, &into);
    let again = TestApp::on(into).await;
    assert_eq!(
        again.all("/api/prospects").await[0]["ownerId"],
        json!(second)
    );
}

async fn a_long_history_with_decisions_is_rebuilt(database: Database) {
    let app = TestApp::on(database).await;
    let moved = async |numbers: std::ops::RangeInclusive<u32>| {
        for n in numbers {
            let mut booking = Booking::new(n, "noor@example.com");
            booking.old = (n > 1).then(|| n - 1);
            app.deliver(&booking.created()).await.expect(200);
        }
        app.all("/api/proposals").await.remove(0)
    };
    let proposal = moved(1..=60).await;
    let path = format!(
        "/api/proposals/{}/accept",
        proposal["appointmentId"].as_str().unwrap()
    );
    app.post(&path, &json!({})).await.expect(200);
    moved(61..=110).await;
    let accepted = app.post(&path, &json!({})).await.expect(200);
    assert_eq!(accepted["history"].as_array().unwrap().len(), 100);
    rebuilt(&app.database, &Database::sqlite());
}

async fn whoever_was_described_otherwise_keeps_its_bookings(database: Database) {
    const URI: &str = "https://x.example/p";
    let app = TestApp::on(database).await;
    let (priya, _) = app.member("priya@example.com", None).await;
    let path = format!("/api/users/{priya}");
    let booked = async |n: u32| {
        app.advance_ms(1000);
        let booking = Booking::new(n, &format!("{n}@example.com")).host(URI, "p@corp.example");
        let receipt = app.deliver(&booking.created()).await.expect(200);
        app.advance_ms(1000);
        format!(
            "/api/deliveries/{}/replay",
            receipt["deliveryId"].as_str().unwrap()
        )
    };
    booked(1).await;
    let replayed = booked(2).await;
    app.patch(&path, &json!({ "calendlyUserUri": URI }))
        .await
        .expect(200);
    app.post(&replayed, &json!({})).await.expect(200);
    booked(3).await;
    app.patch(&path, &json!({ "calendlyUserUri": null }))
        .await
        .expect(200);
    booked(4).await;
    app.patch(&path, &json!({ "email": "p@corp.example" }))
        .await
        .expect(200);
    booked(5).await;
    app.patch(&path, &json!({ "email": "priya@example.com" }))
        .await
        .expect(200);
    let owned = async |app: &TestApp| {
        let prospects = app.all("/api/prospects?sort=createdAt").await;
        prospects
            .iter()
            .map(|p| p["ownerId"] == json!(priya))
            .collect::<Vec<_>>()
    };
    let expected = [false, true, true, false, true];
    assert_eq!(owned(&app).await, expected);
    let (into, back) = (Database::sqlite(), Database::sqlite());
    rebuilt(&app.database, &into);
    assert_eq!(owned(&TestApp::on(into.clone()).await).await, expected);
    rebuilt(&into, &back);
    // An archive that knows nothing of it can be read all the same.
    app.database.execute("DROP TABLE user_before").await;
    rebuild(&app.database, &Database::sqlite(), &[]);
}

async fn a_user_that_was_deleted_makes_no_difference(database: Database) {
    let app = TestApp::on(database).await;
    let (amelie, _) = app
        .member("amelie@example.com", Some("https://x.example/a"))
        .await;
    let booking = Booking::new(1, "noor@example.com").host("https://x.example/a", "a@x.example");
    app.deliver(&booking.created()).await.expect(200);
    app.delete(&format!("/api/users/{amelie}"))
        .await
        .expect(204);
    let compared = rebuilt(&app.database, &Database::sqlite())["comparison"].clone();
    let equal = json!({ "equal": 1, "edited": 0, "byHand": 0, "different": 0 });
    assert_eq!(
        (&compared["prospects"], &compared["proposals"]),
        (&equal, &equal)
    );
}

async fn who_knows_the_old_log_is_told_to_reload(database: Database) {
    let app = TestApp::on(database).await;
    app.deliver(&Booking::new(1, "noor@example.com").created())
        .await
        .expect(200);
    let head = app.head().await;
    let into = Database::sqlite();
    rebuilt(&app.database, &into);
    let again = TestApp::on(into).await;
    for since in [0, head - 1, head, head + 5] {
        let reply = again.get(&format!("/api/events?since={since}")).await;
        assert_eq!(reply.status, 410, "{since}");
    }
    let begins = again.head().await;
    assert!(begins > head + 1000);
    again
        .deliver(&Booking::new(2, "x@example.com").created())
        .await
        .expect(200);
    let events = again.heard(again.admin_token(), begins).await;
    assert_eq!(events[0].0, "prospect:created");
    assert_eq!(
        again.head().await,
        begins + i64::try_from(events.len()).unwrap()
    );
}

/// It stops at a delivery that the other database has to refuse.
async fn an_unfinished_rebuild_is_not_served(database: Database) {
    let app = TestApp::on(database).await;
    for n in 1..=2 {
        let body = Booking::new(n, &format!("{n}@example.com")).created();
        app.deliver(&body).await.expect(200);
    }
    let into = app.database.another().await;
    let store = Store::open(&into.url).await.unwrap();
    store.close(PATIENCE).await;
    into.execute("CREATE UNIQUE INDEX poison ON proposal (title)")
        .await;
    refused(&rebuild(&app.database, &into, &[]), "cannot be folded");
    into.execute("DROP INDEX poison").await;
    let users = "SELECT COUNT(*) FROM app_user";
    assert_eq!(into.numbers(users).await, [1], "it had begun");
    let said = refusal(&into);
    assert!(said.contains("not finished"), "{said}");
    refused(&rebuild(&app.database, &into, &[]), "not empty");
    refused(
        &rebuild(&app.database, &into, &["--check-only"]),
        "not finished",
    );
}
