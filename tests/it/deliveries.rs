//! The archive of deliveries as admins look into it, and its replay.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use bookbell::app::{App, Settings};
use bookbell::calendly::signature::{SigningKey, sign};
use bookbell::domain::ids::UuidV7;
use bookbell::jobs::retention;
use bookbell::store::Store;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::support::app::{ADMIN, KEY, Reply, TestApp, settings};
use crate::support::on_both;
use crate::support::payload::Booking;
use crate::support::server::PATIENCE;

const NOWHERE: &str = "/api/deliveries/01a05bfb-7000-7b3e-9a7d-4c2f1160587e";

/// Older than the tolerance.
const STALE_S: i64 = -1000;

fn path_of(receipt: &Value) -> String {
    format!(
        "/api/deliveries/{}",
        receipt["deliveryId"].as_str().unwrap()
    )
}

async fn read(app: &TestApp, receipt: &Value) -> Value {
    app.get(&path_of(receipt)).await.expect(200)
}

async fn replay(app: &TestApp, path: &str) -> Reply {
    let path = format!("{path}/replay");
    app.send(Method::POST, &path, Some(app.admin_token()), &[], None)
        .await
}

async fn refuse(app: &TestApp, times: usize) {
    for _ in 0..times {
        let reply = app
            .post_webhook("/webhooks/calendly", None, b"{}".to_vec())
            .await;
        reply.problem(401, "signature_missing");
    }
}

/// A delivery of each status, a second apart: processed, ignored, quarantined, rejected.
async fn one_of_each(app: &TestApp) {
    app.deliver(&Booking::new(1, "noor@example.com").created())
        .await
        .expect(200);
    app.advance_ms(1000);
    let unknown = json!({ "event": "event_type.created", "payload": { "uri": "x" } });
    assert_eq!(app.deliver(&unknown).await.expect(200)["status"], "ignored");
    app.advance_ms(1000);
    app.deliver_at(&Booking::new(2, "x@example.com").created(), STALE_S)
        .await
        .expect(202);
    app.advance_ms(1000);
    refuse(app, 1).await;
}

on_both! {
    async fn only_admins_look_at_deliveries(app: TestApp) {
        let (_, member) = app.member("amelie@example.com", None).await;
        let receipt = app.deliver(&Booking::new(1, "noor@example.com").created()).await.expect(200);
        let path = path_of(&receipt);
        for (method, path) in [
            (Method::GET, "/api/deliveries"),
            (Method::GET, "/api/deliveries/counts"),
            (Method::GET, &path),
            (Method::GET, NOWHERE),
            (Method::POST, &format!("{path}/replay")),
        ] {
            let reply = app.send(method.clone(), path, None, &[], None).await;
            reply.problem(401, "token_missing");
            let reply = app.send(method, path, Some(&member), &[], None).await;
            reply.problem(403, "forbidden");
        }
        app.get(NOWHERE).await.problem(404, "not_found");
        app.get("/api/deliveries/7").await.problem(404, "not_found");
        replay(&app, NOWHERE).await.problem(404, "not_found");
    }

    async fn a_delivery_is_kept_byte_for_byte(app: TestApp) {
        let body = Booking::new(1, "noor@example.com").created().to_string();
        let mut raw = b"\n\t {\"zzz\" :\t1e0,  \"zzz\":\"\\u00e9 \xc3\xa9\", \"nul\":\"\\u0000\",".to_vec();
        raw.extend_from_slice(&body.as_bytes()[1..]);
        raw.extend_from_slice(b" \r\n");
        let receipt = app.deliver_raw(raw.clone(), -5).await.expect(200);
        let reply = app.get(&path_of(&receipt)).await;
        let delivery = reply.expect(200);
        assert_eq!(delivery["body"].as_str().unwrap().as_bytes(), raw);
        assert_eq!(delivery["bodyEncoding"], "utf-8");
        let signature = delivery["headers"]["calendly-webhook-signature"].as_str().unwrap();
        let again = app.post_webhook("/webhooks/calendly", Some(signature), raw).await;
        assert_eq!(again.expect(200)["status"], "duplicate");

        let prospect = app.all("/api/prospects").await.remove(0);
        let proposal = app.all("/api/proposals").await.remove(0);
        for (field, expected) in [
            ("id", &receipt["deliveryId"]), ("status", &json!("processed")),
            ("reason", &Value::Null), ("event", &json!("invitee.created")),
            ("receivedAt", &json!("2026-11-20T08:00:00.000Z")),
            ("signedAt", &json!("2026-11-20T07:59:55.000Z")), ("connectionId", &Value::Null),
            ("prospectId", &prospect["id"]), ("proposalId", &proposal["appointmentId"]),
        ] {
            assert_eq!(delivery[field], *expected, "{field}");
        }
        let timing = |name: &str| delivery["timings"][name].as_u64().unwrap();
        assert!(timing("verifiedUs") <= timing("takenUs"));
        assert!(timing("takenUs") <= timing("foldedUs"));
        assert_eq!(timing("batchSize"), 1);
        assert!(reply.header("etag").is_some() && reply.header("bookbell-seq").is_some());
    }

    async fn a_time_too_far_away_is_null(app: TestApp) {
        let key = SigningKey::new(KEY).unwrap();
        // The year 5138; milliseconds where seconds belong; the last one there is.
        for (n, at_s, expected) in [
            (1, 100_000_000_000, json!("5138-11-16T09:46:40.000Z")),
            (2, 1_795_161_600_000, Value::Null),
            (3, i64::MAX, Value::Null),
        ] {
            let body = Booking::new(n, "noor@example.com").created().to_string().into_bytes();
            let signature = sign(&key, at_s, &body);
            let held = app.post_webhook("/webhooks/calendly", Some(&signature), body).await;
            let held = held.expect(202);
            assert_eq!(held["reason"], "stale_timestamp");
            assert_eq!(read(&app, &held).await["signedAt"], expected);
        }
        app.get("/api/deliveries").await.expect(200);
    }

    async fn a_delivery_names_the_record_that_stayed(app: TestApp) {
        let booked = |n| Booking::new(n, "noor@example.com");
        let mut receipts = Vec::new();
        for n in 1..=3 {
            receipts.push(app.deliver(&booked(n).created()).await.expect(200));
            app.advance_ms(1);
        }
        let apart = app.all("/api/proposals?sort=createdAt").await;
        assert_eq!(apart.len(), 3);
        // The third turns out to be the second, and then the second the first.
        for (link, old, new) in [(4, 2, 3), (5, 1, 2)] {
            let link = booked(link).replacing(old).replaced_by(new);
            receipts.push(app.deliver(&link.canceled()).await.expect(200));
        }
        let stayed = &apart[0]["appointmentId"];
        let read_both = async |receipt: &Value, field: &str| {
            let one = read(&app, receipt).await[field].clone();
            let listed = app.all("/api/deliveries").await;
            let listed = listed.iter().find(|d| d["id"] == receipt["deliveryId"]).unwrap();
            assert_eq!(one, listed[field]);
            one
        };
        for receipt in &receipts {
            assert_eq!(read_both(receipt, "proposalId").await, *stayed);
        }
        // What a person deletes is not renamed.
        let path = format!("/api/proposals/{}", stayed.as_str().unwrap());
        app.delete(&path).await.expect(204);
        assert_eq!(read_both(&receipts[2], "proposalId").await, *stayed);
        let path = path_of(&receipts[2]);
        assert!(replay(&app, &path).await.expect(200)["deliveryId"] == receipts[2]["deliveryId"]);
        // Nor forgotten when it is processed again, which makes no record.
        assert_eq!(read_both(&receipts[2], "proposalId").await, *stayed);
    }

    async fn a_delivery_names_the_prospect_that_stayed(app: TestApp) {
        const AMELIE: &str = "https://api.calendly.com/users/amelie";
        let (amelie, _) = app.member("amelie@example.com", Some(AMELIE)).await;
        let booked = |n| Booking::new(n, "noor@example.com");
        let first = app.deliver(&booked(1).created()).await.expect(200);
        let second = booked(2).host(AMELIE, "amelie@example.com");
        let second = app.deliver(&second.created()).await.expect(200);
        let prospect = |receipt: Value| {
            let app = &app;
            async move { read(app, &receipt).await["prospectId"].clone() }
        };
        let (nobodys, amelies) = (prospect(first.clone()).await, prospect(second.clone()).await);
        assert_ne!(nobodys, amelies);
        // Only now it says who hosts the first.
        let host = booked(1).host(AMELIE, "amelie@example.com");
        app.deliver(&host.no_show(1)).await.expect(200);
        assert_eq!(app.all("/api/prospects").await.len(), 1);
        assert_eq!(prospect(first.clone()).await, amelies);
        // With its owner gone, it becomes one with nobody's.
        let third = app.deliver(&booked(3).created()).await.expect(200);
        let nobodys = prospect(third).await;
        app.delete(&format!("/api/users/{amelie}")).await.expect(204);
        assert_eq!(app.all("/api/prospects").await.len(), 1);
        for receipt in [first, second] {
            assert_eq!(prospect(receipt).await, nobodys);
        }
    }

    async fn a_body_that_is_no_text_is_kept_in_base64(app: TestApp) {
        let receipt = app.deliver_raw(b"\xff\x00\xfe{".to_vec(), 0).await.expect(202);
        let delivery = read(&app, &receipt).await;
        assert_eq!((&delivery["body"], &delivery["bodyEncoding"]), (&json!("/wD+ew=="), &json!("base64")));
        assert_eq!(delivery["event"], Value::Null);
        assert_eq!(delivery["reason"], "malformed_payload");
    }

    async fn bodies_go_when_they_are_old_and_the_event_is_still_known(app: TestApp) {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        let kept = Settings { delivery_retention_ms: Some(DAY_MS), ..settings() };
        let store = Store::open(&app.database.url).await.unwrap();
        let (node, _writer) =
            App::new(store, kept, app.clock.clone(), Arc::new(UuidV7::new())).await.unwrap();
        let old = Booking::new(1, "noor@example.com").created();
        let first = app.deliver(&old).await.expect(200);
        let held = app.deliver_at(&Booking::new(2, "x@example.com").created(), STALE_S).await;
        let held = held.expect(202);
        app.advance_ms(DAY_MS + 1);
        let token = app.sign_in(ADMIN.0, ADMIN.1).await;
        let young = app.deliver(&Booking::new(3, "y@example.com").created()).await.expect(200);
        let read = async |receipt: &Value| app.get_as(&token, &path_of(receipt)).await.expect(200);
        // By default they are kept for ever.
        retention::once(&app.app, &mut None).await.unwrap();
        let before = read(&first).await;
        assert!(before["body"].is_string());
        let mut emptied = None;
        retention::once(&node, &mut emptied).await.unwrap();
        let mut expected = before;
        for (field, value) in [("body", Value::Null), ("bodyEncoding", Value::Null), ("headers", json!({}))] {
            expected[field] = value;
        }
        assert_eq!(read(&first).await, expected);
        assert!(read(&held).await["body"].is_string());
        assert!(read(&young).await["body"].is_string());
        let again = app.deliver(&old).await.expect(200);
        assert_eq!((&again["status"], &again["deliveryId"]), (&json!("duplicate"), &first["deliveryId"]));
        let path = format!("{}/replay", path_of(&first));
        app.send(Method::POST, &path, Some(&token), &[], None).await.problem(409, "not_replayable");
        // What was held and then processed goes with the next pass from the beginning.
        let path = format!("{}/replay", path_of(&held));
        app.send(Method::POST, &path, Some(&token), &[], None).await.expect(200);
        retention::once(&node, &mut emptied).await.unwrap();
        assert!(read(&held).await["body"].is_string());
        retention::once(&node, &mut None).await.unwrap();
        assert_eq!(read(&held).await["body"], Value::Null);
    }

    async fn deliveries_are_listed_youngest_first_without_bodies(app: TestApp) {
        one_of_each(&app).await;
        let page = app.get("/api/deliveries").await.expect(200);
        let items = page["items"].as_array().unwrap();
        let statuses: Vec<&Value> = items.iter().map(|item| &item["status"]).collect();
        assert_eq!(statuses, ["rejected", "quarantined", "ignored", "processed"]);
        assert_eq!(page["total"], 4);
        assert!(items.iter().all(|item| item.get("body").is_none()));
        let reasons: Vec<&Value> = items.iter().map(|item| &item["reason"]).collect();
        let expected = json!(["signature_missing", "stale_timestamp", "unhandled_event", null]);
        assert_eq!(json!(reasons), expected);
    }

    async fn deliveries_are_filtered(app: TestApp) {
        one_of_each(&app).await;
        for (query, expected) in [
            ("status=processed", "processed"), ("status=rejected", "rejected"),
            ("status=quarantined", "quarantined"), ("event=event_type.created", "ignored"),
            ("event=invitee.created", "quarantined processed"), ("event=nothing", ""),
            ("since=2026-11-20T08:00:02Z", "rejected quarantined"),
            ("until=2026-11-20T09:00:01%2B01:00", "processed"),
            ("since=2026-11-20T08:00:00Z&until=2026-11-20T08:00:02Z&status=ignored", "ignored"),
        ] {
            let items = app.all(&format!("/api/deliveries?{query}")).await;
            let statuses: Vec<&str> =
                items.iter().map(|item| item["status"].as_str().unwrap()).collect();
            assert_eq!(statuses.join(" "), expected, "{query}");
        }
        for (query, field) in [
            ("status=duplicate", "status"), ("since=yesterday", "since"), ("until=", "until"),
            ("sort=event", "sort"), ("event=%00", "event"),
        ] {
            assert_eq!(app.get(&format!("/api/deliveries?{query}")).await.faults(), [field]);
        }
    }

    async fn deliveries_are_counted(app: TestApp) {
        one_of_each(&app).await;
        let malformed = app.post_webhook("/webhooks/calendly", Some("t=1"), Vec::new()).await;
        malformed.problem(401, "signature_malformed");
        let wrong = format!("t=1,v1={}", "0".repeat(64));
        for _ in 0..2 {
            let mismatch = app.post_webhook("/webhooks/calendly", Some(&wrong), Vec::new()).await;
            mismatch.problem(401, "signature_mismatch");
        }
        let counts = app.get("/api/deliveries/counts").await;
        assert!(counts.header("bookbell-seq").is_some());
        assert_eq!(counts.expect(200), json!({
            "byStatus": { "processed": 1, "ignored": 1, "quarantined": 1, "rejected": 4 },
            "refused": { "signature_missing": 1, "signature_malformed": 1, "signature_mismatch": 2 },
        }));
    }

    async fn a_refused_request_is_kept_without_its_body_and_not_replayed(app: TestApp) {
        refuse(&app, 1).await;
        let listed = app.all("/api/deliveries?status=rejected").await.remove(0);
        let path = format!("/api/deliveries/{}", listed["id"].as_str().unwrap());
        let delivery = app.get(&path).await.expect(200);
        for field in ["body", "bodyEncoding", "event", "signedAt", "prospectId"] {
            assert_eq!(delivery[field], Value::Null, "{field}");
        }
        assert_eq!(delivery["headers"]["content-type"], "application/json");
        replay(&app, &path).await.problem(409, "not_replayable");
        assert_eq!(app.get(&path).await.expect(200), delivery);
    }

    async fn what_was_refused_is_kept_when_whoever_asks_for_it_goes_away(app: TestApp) {
        app.post_webhook("/webhooks/calendly", None, Vec::new()).await.problem(401, "signature_missing");
        // Nothing can be written meanwhile.
        let mut writing = app.app.store.begin_fold().await.unwrap();
        if !app.database.is_sqlite() {
            let lock = "LOCK TABLE refusal_count IN EXCLUSIVE MODE";
            writing.db().execute(lock, Vec::new()).await.unwrap();
        }
        let asked = timeout(Duration::from_millis(100), app.get("/api/deliveries")).await;
        assert!(asked.is_err());
        drop(writing);
        let deadline = Instant::now() + PATIENCE;
        while app.get("/api/deliveries").await.expect(200)["total"] != 1 {
            assert!(Instant::now() < deadline, "it is gone");
        }
        let counts = app.get("/api/deliveries/counts").await.expect(200);
        assert_eq!(counts["refused"]["signature_missing"], 1);
    }

    async fn whoever_counts_waits_for_refusals_that_are_being_written(app: TestApp) {
        refuse(&app, 1).await;
        let mut writing = app.app.store.begin_fold().await.unwrap();
        if !app.database.is_sqlite() {
            let lock = "LOCK TABLE refusal_count IN EXCLUSIVE MODE";
            writing.db().execute(lock, Vec::new()).await.unwrap();
        }
        let flush = app.app.flush_refusals();
        let counts = app.get("/api/deliveries/counts");
        tokio::pin!(flush, counts);
        let early = timeout(Duration::from_millis(100), async {
            tokio::select! {
                biased;
                _ = &mut flush => "written",
                _ = &mut counts => "counted",
            }
        });
        assert_eq!(early.await.ok(), None);
        drop(writing);
        let (flushed, counts) = tokio::join!(flush, counts);
        flushed.unwrap();
        assert_eq!(counts.expect(200)["refused"]["signature_missing"], 1);
    }

    async fn refusals_that_turn_out_to_be_written_count_once_and_hold_up_no_others(app: TestApp) {
        refuse(&app, 1).await;
        app.app.flush_refusals().await.unwrap();
        app.database.execute("ALTER TABLE refusal_count RENAME TO gone").await;
        refuse(&app, 1).await;
        app.app.flush_refusals().await.unwrap_err();
        let other = app.post_webhook("/webhooks/calendly", Some("x"), b"{}".to_vec()).await;
        other.problem(401, "signature_malformed");
        app.database.execute("ALTER TABLE gone RENAME TO refusal_count").await;
        // What would be said of their ids, had only the answer to their commit been lost.
        app.database.execute("CREATE UNIQUE INDEX taken ON delivery (reason)").await;
        app.app.flush_refusals().await.unwrap();
        let counts = app.get("/api/deliveries/counts").await.expect(200);
        let once = json!({ "signature_missing": 1, "signature_malformed": 1, "signature_mismatch": 0 });
        assert_eq!(counts["refused"], once);
        assert_eq!(counts["byStatus"]["rejected"], 2);
    }

    async fn the_last_1000_refused_requests_are_kept_and_all_are_counted(app: TestApp) {
        refuse(&app, 3).await;
        app.app.flush_refusals().await.unwrap();
        let oldest = app.all("/api/deliveries?status=rejected").await.remove(2);
        app.advance_ms(1);
        refuse(&app, 1001).await;
        let page = app.get("/api/deliveries?status=rejected&limit=1").await.expect(200);
        assert_eq!(page["total"], 1000);
        let counts = app.get("/api/deliveries/counts").await.expect(200);
        assert_eq!(counts["byStatus"]["rejected"], 1000);
        assert_eq!(counts["refused"]["signature_missing"], 1004);
        let path = format!("/api/deliveries/{}", oldest["id"].as_str().unwrap());
        app.get(&path).await.problem(404, "not_found");
    }

    async fn a_stale_delivery_is_processed_when_it_is_replayed(app: TestApp) {
        let body = Booking::new(1, "noor@example.com").created();
        let held = app.deliver_at(&body, STALE_S).await.expect(202);
        assert_eq!(app.all("/api/prospects").await, [] as [Value; 0]);
        let since = app.head().await;
        let done = replay(&app, &path_of(&held)).await.expect(200);
        assert_eq!(done, json!({ "status": "processed", "deliveryId": held["deliveryId"] }));
        let heard = app.heard(app.admin_token(), since).await;
        let names: Vec<&str> = heard.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["prospect:created", "proposal-created"]);
        let delivery = read(&app, &held).await;
        assert_eq!((&delivery["status"], &delivery["reason"]), (&json!("processed"), &Value::Null));
        assert_eq!(delivery["prospectId"], heard[0].1["id"]);
        assert_eq!(delivery["proposalId"], heard[1].1["appointmentId"]);
        let again = app.deliver(&body).await.expect(200);
        assert_eq!(again, json!({ "status": "duplicate", "deliveryId": held["deliveryId"] }));
        assert_eq!(app.all("/api/proposals").await.len(), 1);
    }

    async fn a_held_delivery_that_came_again_in_time_replays_as_its_duplicate(app: TestApp) {
        let body = Booking::new(1, "noor@example.com").created();
        let held = app.deliver_at(&body, STALE_S).await.expect(202);
        let timely = app.deliver(&body).await.expect(200);
        assert_eq!(timely["status"], "processed");
        let closed = read(&app, &held).await;
        assert_eq!((&closed["status"], &closed["reason"]), (&json!("ignored"), &json!("duplicate")));
        assert_eq!(closed["duplicateOf"], timely["deliveryId"]);
        let before = app.head().await;
        let again = replay(&app, &path_of(&held)).await.expect(200);
        assert_eq!(again, json!({ "status": "duplicate", "deliveryId": timely["deliveryId"] }));
        assert_eq!(read(&app, &held).await, closed);
        assert_eq!(app.head().await, before);
    }

    async fn a_malformed_delivery_stays_held_when_it_is_replayed(app: TestApp) {
        let receipt = app.deliver_raw(b"{\"event\":\"invitee.created\"}".to_vec(), 0).await.expect(202);
        let before = read(&app, &receipt).await;
        assert_eq!(before["event"], "invitee.created");
        let head = app.head().await;
        let again = replay(&app, &path_of(&receipt)).await.expect(200);
        assert_eq!(again, json!({
            "status": "quarantined", "deliveryId": receipt["deliveryId"],
            "reason": "malformed_payload",
        }));
        assert_eq!(read(&app, &receipt).await, before);
        assert_eq!(app.head().await, head);
    }

    async fn replaying_what_was_processed_or_ignored_changes_nothing(app: TestApp) {
        one_of_each(&app).await;
        let state = || async {
            (app.all("/api/prospects").await, app.all("/api/proposals").await, app.head().await)
        };
        let before = state().await;
        for status in ["processed", "ignored"] {
            let query = format!("/api/deliveries?status={status}");
            let listed = app.all(&query).await;
            let path = format!("/api/deliveries/{}", listed[0]["id"].as_str().unwrap());
            assert_eq!(replay(&app, &path).await.expect(200)["status"], status);
            assert_eq!(app.all(&query).await, listed);
        }
        assert_eq!(state().await, before);
    }

    async fn a_replay_takes_no_fields(app: TestApp) {
        let receipt = app.deliver(&Booking::new(1, "noor@example.com").created()).await.expect(200);
        let path = format!("{}/replay", path_of(&receipt));
        assert_eq!(app.post(&path, &json!({ "dryRun": true })).await.faults(), ["dryRun"]);
        app.post(&path, &json!({})).await.expect(200);
    }

    async fn a_held_delivery_is_told_to_admins(app: TestApp) {
        let (_, member) = app.member("amelie@example.com", None).await;
        let receipt = app.deliver_at(&Booking::new(1, "x@example.com").created(), STALE_S).await;
        let expected = json!({
            "deliveryId": receipt.expect(202)["deliveryId"], "reason": "stale_timestamp",
            "event": "invitee.created",
        });
        let told = [("delivery-quarantined".to_owned(), expected)];
        assert_eq!(app.heard(app.admin_token(), 0).await, told);
        assert_eq!(app.heard(&member, 0).await, []);
    }
}
