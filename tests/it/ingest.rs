//! Deliveries come in: every row of the contract's table (3.1), and that 2xx means committed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bookbell::calendly::payload::KNOWN_EVENTS;
use bookbell::calendly::signature::{SigningKey, sign};
use bookbell::domain::clock::Clock;
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::app::{KEY, Reply, TestApp, idle, run as run_writer};
use crate::support::on_both;
use crate::support::payload::{Booking, routing_form};

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

on_both! {
    async fn a_booking_makes_a_prospect_and_a_proposal(app: TestApp) {
        let answer = app.deliver(&Booking::new(1, "Noor@Example.com").created()).await.expect(200);
        assert_eq!(answer["status"], "processed");

        let prospects = app.all("/api/prospects").await;
        assert_eq!(prospects.len(), 1);
        assert_eq!(prospects[0]["email"], "Noor@Example.com");
        assert_eq!(prospects[0]["firstname"], "Noor");
        assert_eq!(prospects[0]["lastname"], "van Dijk");
        assert_eq!(prospects[0]["company"], "Fietsfabriek");
        assert_eq!(prospects[0]["status"], "new");
        assert_eq!(prospects[0]["source"], "calendly");
        let proposals = app.all("/api/proposals").await;
        assert_eq!(proposals.len(), 1);
        assert_eq!(proposals[0]["status"], "pending");
        assert_eq!(proposals[0]["prospectId"], prospects[0]["id"]);
        let events = app.events().await;
        assert_eq!(names(&events), ["prospect:created", "proposal-created"]);
        assert_eq!((&events[0].1, &events[1].1), (&prospects[0], &proposals[0]));
        let delivery = format!("/api/deliveries/{}", answer["deliveryId"].as_str().unwrap());
        let delivery = app.get(&delivery).await.expect(200);
        assert_eq!(delivery["prospectId"], prospects[0]["id"]);
        assert_eq!(delivery["proposalId"], proposals[0]["appointmentId"]);
    }

    async fn the_same_event_again_is_a_duplicate_at_any_later_time(app: TestApp) {
        let body = Booking::new(1, "noor@example.com").created();
        let first = app.deliver(&body).await.expect(200);
        let duplicate = json!({ "status": "duplicate", "deliveryId": first["deliveryId"] });
        assert_eq!(app.deliver(&body).await.expect(200), duplicate);
        // Another subscription's copy has another envelope; a stale one is known all the same.
        let mut copy = body.clone();
        copy["created_by"] = json!("https://api.calendly.com/users/another");
        app.advance_ms(30 * 60 * 1000);
        assert_eq!(app.deliver(&copy).await.expect(200), duplicate);
        assert_eq!(app.deliver_at(&body, -86_400).await.expect(200), duplicate);
        assert_eq!(app.events().await.len(), 2);
        assert_eq!(app.get("/api/deliveries").await.expect(200)["total"], 1);
    }

    async fn fifty_identical_posts_at_once_leave_one_of_everything(app: TestApp) {
        let body = Booking::new(1, "noor@example.com").created();
        let answers = join_all((0..50).map(|_| app.deliver(&body))).await;
        let bodies: Vec<Value> = answers.iter().map(|answer| answer.expect(200)).collect();
        assert_eq!(bodies.iter().filter(|body| body["status"] == "processed").count(), 1);
        assert!(bodies.iter().all(|body| body["deliveryId"] == bodies[0]["deliveryId"]));
        assert_eq!(app.all("/api/prospects").await.len(), 1);
        assert_eq!(app.all("/api/proposals").await.len(), 1);
        assert_eq!(app.events().await.len(), 2);
    }

    async fn every_known_event_is_answered_200_and_archived(app: TestApp) {
        for event in KNOWN_EVENTS {
            let body = match event {
                "invitee.created" => Booking::new(1, "noor@example.com").created(),
                "invitee.canceled" => Booking::new(1, "noor@example.com").canceled(),
                "invitee_no_show.created" => Booking::new(1, "noor@example.com").no_show(0),
                "invitee_no_show.deleted" => Booking::new(1, "noor@example.com").no_show_removed(0),
                "routing_form_submission.created" => routing_form(1, "noor@example.com"),
                other => json!({ "event": other, "created_at": "2026-11-20T08:00:00.000000Z",
                    "payload": { "uri": "https://api.calendly.com/x/1", "event": { "object": true } } }),
            };
            let acted_on = event.starts_with("invitee") || event.starts_with("routing");
            let expected = if acted_on { "processed" } else { "ignored" };
            assert_eq!(app.deliver(&body).await.expect(200)["status"], expected, "{event}");
        }
        let unknown = json!({ "event": "invitee.teleported", "payload": { "uri": "u" } });
        let answer = app.deliver(&unknown).await.expect(200);
        assert_eq!((&answer["status"], &answer["reason"]), (&json!("ignored"), &json!("unhandled_event")));
        assert_eq!(app.get("/api/deliveries").await.expect(200)["total"], 15);
        assert_eq!(app.deliver(&unknown).await.expect(200)["status"], "duplicate");
    }

    async fn a_stale_delivery_is_held_until_it_comes_in_time(app: TestApp) {
        let body = Booking::new(1, "noor@example.com").created();
        for skew_s in [-181, 181] {
            let held = app.deliver_at(&body, skew_s).await.expect(202);
            assert_eq!(held["status"], "quarantined");
            assert_eq!(held["reason"], "stale_timestamp");
        }
        assert!(app.all("/api/prospects").await.is_empty());
        let held = app.get("/api/deliveries?status=quarantined").await.expect(200);
        assert_eq!(held["total"], 1, "the second stale copy is the same event");
        assert_eq!(names(&app.events().await), ["delivery-quarantined"]);

        let answer = app.deliver_at(&body, 180).await.expect(200);
        assert_eq!(answer["status"], "processed");
        let closed = app.get("/api/deliveries?status=ignored").await.expect(200);
        assert_eq!(closed["items"][0]["id"], held["items"][0]["id"]);
        assert_eq!(closed["items"][0]["reason"], "duplicate");
        assert_eq!(closed["items"][0]["duplicateOf"], answer["deliveryId"]);
        assert_eq!(app.deliver(&body).await.expect(200)["status"], "duplicate");
    }

    async fn a_body_that_lacks_what_its_event_needs_is_held(app: TestApp) {
        let mut without_uri = Booking::new(1, "noor@example.com").created();
        without_uri["payload"].as_object_mut().unwrap().remove("uri");
        let not_json = b"{\"event\": \"invitee.created\", ".to_vec();
        let bodies = [without_uri.to_string().into_bytes(), not_json, b"\xff\xfe".to_vec(), Vec::new()];
        for body in bodies {
            let held = app.deliver_raw(body.clone(), 0).await.expect(202);
            assert_eq!((&held["status"], &held["reason"]), (&json!("quarantined"), &json!("malformed_payload")));
            assert_eq!(app.deliver_raw(body, 0).await.expect(202)["deliveryId"], held["deliveryId"]);
        }
        let events = app.events().await;
        assert_eq!(names(&events), ["delivery-quarantined"; 4]);
        assert_eq!(events[0].1["event"], "invitee.created");
        assert!(app.all("/api/prospects").await.is_empty());
    }

    async fn what_is_not_signed_by_a_live_key_is_refused_and_not_kept(app: TestApp) {
        let body = Booking::new(1, "noor@example.com").created().to_string().into_bytes();
        let at_s = app.clock.now_ms() / 1000;
        let wrong = sign(&SigningKey::new("wrong").unwrap(), at_s, &body);
        let right = sign(&SigningKey::new(KEY).unwrap(), at_s, &body);
        let path = "/webhooks/calendly";
        let mut tampered = body.clone();
        tampered[20] ^= 1;
        app.post_webhook(path, None, body.clone()).await.problem(401, "signature_missing");
        app.post_webhook(path, Some("v1=abc"), body.clone()).await.problem(401, "signature_malformed");
        // Two lines are one list, whichever of them is good.
        let lines = |first: &str, second: &str| {
            let request = Request::post(path).header("calendly-webhook-signature", first);
            request.header("calendly-webhook-signature", second).body(Body::from(body.clone())).unwrap()
        };
        for (first, second) in [(&right, &wrong), (&wrong, &right)] {
            app.request(lines(first, second)).await.problem(401, "signature_malformed");
        }
        app.post_webhook(path, Some(&wrong), body.clone()).await.problem(401, "signature_mismatch");
        app.post_webhook(path, Some(&right), tampered).await.problem(401, "signature_mismatch");
        // A path of a connection there is not has no key, whatever the others are.
        let unknown = "/webhooks/calendly/01900000-0000-7000-8000-000000000001";
        app.post_webhook(unknown, Some(&right), body.clone()).await.problem(401, "signature_mismatch");
        assert!(app.all("/api/prospects").await.is_empty());
        let counts = app.get("/api/deliveries/counts").await.expect(200);
        assert_eq!(counts["refused"], json!({ "signature_missing": 1, "signature_malformed": 3, "signature_mismatch": 3 }));
        let kept = app.get("/api/deliveries?status=rejected").await.expect(200);
        assert_eq!(kept["total"], 7);
        assert_eq!(kept["items"][0]["reason"], "signature_mismatch");
    }

    async fn any_live_key_verifies(app: TestApp) {
        let body = Booking::new(1, "noor@example.com").created().to_string().into_bytes();
        let other = SigningKey::new("another-live-key").unwrap();
        let signature = sign(&other, app.clock.now_ms() / 1000, &body);
        let answer = app.post_webhook("/webhooks/calendly", Some(&signature), body).await.expect(200);
        assert_eq!(answer["status"], "processed");
    }

    async fn a_body_over_one_mebibyte_is_refused(app: TestApp) {
        let mut body = Booking::new(1, "noor@example.com").created();
        let length = body.to_string().len();
        body["padding"] = json!("x".repeat((1 << 20) - length - ",\"padding\":\"\"".len()));
        assert_eq!(body.to_string().len(), 1 << 20);
        assert_eq!(app.deliver(&body).await.expect(200)["status"], "processed");
        let raw = vec![b' '; (1 << 20) + 1];
        app.deliver_raw(raw, 0).await.problem(413, "payload_too_large");
    }

    async fn the_raw_body_is_kept_byte_for_byte_with_its_signature(app: TestApp) {
        let body = format!("  {}\r\n ", Booking::new(1, "noor@example.com").created());
        let answer = app.deliver_raw(body.clone().into_bytes(), 0).await.expect(200);
        let path = format!("/api/deliveries/{}", answer["deliveryId"].as_str().unwrap());
        let kept = app.get(&path).await.expect(200);
        assert_eq!(kept["body"], json!(body));
        let at_s = app.clock.now_ms() / 1000;
        let signature = sign(&SigningKey::new(KEY).unwrap(), at_s, body.as_bytes());
        assert_eq!(kept["headers"]["calendly-webhook-signature"], json!(signature));
        assert!(kept["timings"]["foldedUs"].is_u64(), "{kept}");
        let binary = app.deliver_raw(b"\xff\x00".to_vec(), 0).await.expect(202);
        let path = format!("/api/deliveries/{}", binary["deliveryId"].as_str().unwrap());
        let kept = app.get(&path).await.expect(200);
        assert_eq!((&kept["body"], &kept["bodyEncoding"]), (&json!("/wA="), &json!("base64")));
    }

    async fn one_poisoned_delivery_does_not_hold_up_its_neighbours(app: TestApp) {
        // A statement that the database must refuse: the constraint is added by hand.
        let mut tx = app.app.store.begin().await.unwrap();
        let sql = "CREATE UNIQUE INDEX poison ON proposal (title)";
        tx.db().execute(sql, Vec::new()).await.unwrap();
        tx.commit(Vec::new(), 0, &*app.app.ids).await.unwrap();
        let bodies: Vec<Value> =
            (1..=20).map(|n| {
                let mut body = Booking::new(n, &format!("p{n}@example.com")).created();
                let title = if n == 7 || n == 8 { "poison".to_owned() } else { format!("{n}") };
                body["payload"]["scheduled_event"]["name"] = json!(title);
                body
            }).collect();
        let answers = join_all(bodies.iter().map(|body| app.deliver(body))).await;
        let held: Vec<&Reply> = answers.iter().filter(|answer| answer.status.as_u16() != 200).collect();
        assert_eq!(held.len(), 1, "one of the two with the same title");
        assert_eq!(held[0].expect(202)["reason"], "processing_failed");
        assert_eq!(app.all("/api/prospects").await.len(), 19);
        assert_eq!(app.all("/api/proposals").await.len(), 19);
        assert_eq!(app.events().await.len(), 39);
        // Once the cause is mended, an admin lets it in.
        let mut tx = app.app.store.begin().await.unwrap();
        tx.db().execute("DROP INDEX poison", Vec::new()).await.unwrap();
        tx.commit(Vec::new(), 0, &*app.app.ids).await.unwrap();
        let id = held[0].json()["deliveryId"].as_str().unwrap().to_owned();
        let answer = app.post(&format!("/api/deliveries/{id}/replay"), &json!({})).await.expect(200);
        assert_eq!(answer["status"], "processed");
        assert_eq!(app.all("/api/proposals").await.len(), 20);
    }

    async fn a_queue_that_is_full_takes_no_more_and_loses_nothing(app: TestApp) {
        const QUEUE: usize = 4096;
        let (idle_app, writer) = idle(&app.database, app.clock.clone()).await;
        let node = app.beside(Arc::clone(&idle_app));
        let bodies: Vec<Value> =
            (1..=8).map(|n| Booking::new(n, &format!("{n}@example.com")).created()).collect();
        let post = |n: usize| node.deliver(&bodies[n % bodies.len()]);
        let mut waiting: Vec<_> = (0..QUEUE).map(|n| Box::pin(post(n))).collect();
        for (n, post) in waiting.iter_mut().enumerate() {
            assert!(post.now_or_never().is_none());
            assert_eq!(idle_app.queue.waiting(), n + 1);
        }
        let refused = timeout(Duration::from_secs(10), post(QUEUE)).await;
        let refused = refused.expect("it waits without bound");
        refused.problem(503, "busy");
        assert_eq!(refused.header("retry-after"), Some("1"));
        let _running = run_writer(writer, &idle_app);
        let mut processed = 0;
        for answer in join_all(waiting).await {
            let answer = answer.expect(200);
            processed += usize::from(answer["status"] == "processed");
        }
        assert_eq!(processed, bodies.len());
        post(QUEUE).await.expect(200);
    }

    async fn text_that_a_database_cannot_hold_is_cleaned(app: TestApp) {
        let mut booking = Booking::new(1, "noor@example.com");
        booking.name = String::from("No\u{0}or <script>alert(1)</script>");
        app.deliver(&booking.created()).await.expect(200);
        let prospects = app.all("/api/prospects").await;
        assert_eq!(prospects[0]["firstname"], "No\u{fffd}or");
        assert_eq!(prospects[0]["lastname"], "<script>alert(1)</script>");
    }
}

/// To make one anew takes longer than a booking, and whoever folds waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_keep_the_writers_connection_to_postgres() {
    let app = TestApp::postgres().await;
    let body = Booking::new(1, "noor@example.com").created();
    let deliver = async || app.deliver(&body).await.expect(200)["status"].clone();
    assert_eq!(deliver().await, "processed");
    assert_eq!(deliver().await, "duplicate");
    let writer = "SELECT CAST(pid AS BIGINT) FROM pg_stat_activity \
        WHERE datname = current_database() AND state = 'idle' AND query = 'ROLLBACK'";
    let before = app.database.numbers(writer).await;
    assert_eq!(before.len(), 1, "{before:?}");
    for _ in 0..3 {
        assert_eq!(deliver().await, "duplicate");
    }
    assert_eq!(app.database.numbers(writer).await, before);
}
