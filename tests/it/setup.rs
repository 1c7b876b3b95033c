//! The first run: what is told about it, and sample bookings, which are real until they are
//! removed.

use std::sync::Arc;

use axum::http::Method;
use bookbell::app::{App, Settings};
use bookbell::domain::ids::UuidV7;
use bookbell::store::Store;
use serde_json::{Value, json};

use crate::support::app::{Reply, START_MS, TestApp, settings};
use crate::support::database::Database;
use crate::support::payload::Booking;
use crate::support::server::Server;
use crate::support::subscriber::Subscriber;
use crate::support::{on_both, on_each_database};

const SAMPLES: &str = "/api/samples";

async fn send(app: &TestApp) -> Reply {
    let token = Some(app.admin_token());
    app.send(Method::POST, SAMPLES, token, &[], None).await
}

async fn setup(app: &TestApp) -> Value {
    app.get("/api/setup").await.expect(200)
}

/// What is no sample: a booking, one whose link says so, and records by hand that look like one.
async fn others(app: &TestApp) -> usize {
    app.deliver(&Booking::new(1, "noor@example.org").created())
        .await
        .expect(200);
    let mut named = Booking::new(2, "wim@example.org").created();
    named["payload"]["tracking"]["utm_source"] = json!("bookbell-sample");
    app.deliver(&named).await.expect(200);
    for email in [
        "bookbell-sample-0f@example.com",
        "bookbell-sample-0f@example.net",
    ] {
        app.prospect(app.admin_token(), email).await;
    }
    4
}

on_both! {
    async fn a_sample_goes_the_way_of_every_delivery(app: TestApp) {
        assert_eq!(setup(&app).await, json!({
            "webhookUrl": "http://bookbell.test/webhooks/calendly", "signingKeys": 2,
            "deliveries": 0, "samples": 0,
        }));
        let since = app.head().await;
        let sent = send(&app).await;
        let id = sent.expect(201)["deliveryId"].as_str().unwrap().to_owned();
        assert_eq!(sent.json(), json!({ "status": "processed", "deliveryId": id }));
        let path = sent.header("location").unwrap();
        let delivery = app.get(path).await.expect(200);
        assert_eq!((&delivery["id"], &delivery["event"]), (&json!(id), &json!("invitee.created")));

        let me = app.get("/api/auth/me").await.expect(200);
        let prospect = app.all("/api/prospects").await[0].clone();
        assert_eq!(prospect["id"], delivery["prospectId"]);
        assert_eq!(prospect["ownerId"], me["id"]);
        assert_eq!(prospect["status"], "new");
        assert_eq!(prospect["tracking"]["utmSource"], "bookbell-sample");
        let proposal = app.all("/api/proposals").await[0].clone();
        assert_eq!(proposal["status"], "pending");
        assert_eq!(proposal["hosts"][0]["userId"], me["id"]);
        assert_eq!((&proposal["cancelUrl"], &proposal["rescheduleUrl"]), (&Value::Null, &Value::Null));
        let start: jiff::Timestamp = proposal["startTime"].as_str().unwrap().parse().unwrap();
        let ahead_ms = start.as_millisecond() - START_MS;
        assert!((86_400_000 / 2..6 * 86_400_000).contains(&ahead_ms), "{ahead_ms}");
        let heard = app.heard(app.admin_token(), since).await;
        assert_eq!(heard, [
            ("prospect:created".to_owned(), prospect), ("proposal-created".to_owned(), proposal),
        ]);
        let told = setup(&app).await;
        assert_eq!((&told["deliveries"], &told["samples"]), (&json!(1), &json!(1)));

        // What is archived is what would have come over the network, signature and all.
        let signature = delivery["headers"]["calendly-webhook-signature"].as_str();
        let body = delivery["body"].as_str().map_or_else(|| delivery["body"].to_string(), str::to_owned);
        let again = app.post_webhook("/webhooks/calendly", signature, body.into_bytes()).await;
        assert_eq!(again.expect(200), json!({ "status": "duplicate", "deliveryId": id }));
        send(&app).await.expect(201);
        assert_eq!(app.all("/api/prospects").await.len(), 2);
    }

    async fn samples_go_and_nothing_else_does(app: TestApp) {
        let stay = others(&app).await;
        let ids = [send(&app).await, send(&app).await].map(|sent| sent.expect(201)["deliveryId"].clone());
        // A person worked on them: one lost its proposal, one got another.
        let samples = app.all("/api/prospects").await;
        let samples: Vec<_> = samples
            .iter()
            .filter(|p| p["email"].as_str().unwrap().len() > "bookbell-sample-0f@example.com".len())
            .map(|p| p["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(samples.len(), 2);
        let proposals = app.all(&format!("/api/proposals?prospectId={}", samples[0])).await;
        let path = format!("/api/proposals/{}", proposals[0]["appointmentId"].as_str().unwrap());
        app.delete(&path).await.expect(204);
        let visit = json!({
            "prospectId": samples[1], "title": "Visit", "timezone": "Europe/Warsaw",
            "startTime": "2026-12-06T10:00:00Z", "endTime": "2026-12-06T10:45:00Z",
        });
        app.post("/api/proposals", &visit).await.expect(201);

        let since = app.head().await;
        app.delete(SAMPLES).await.expect(204);
        assert_eq!(app.all("/api/prospects").await.len(), stay);
        assert_eq!(app.all("/api/proposals").await.len(), 2);
        assert_eq!(setup(&app).await["samples"], 0);
        let heard = app.heard(app.admin_token(), since).await;
        let count = |name: &str| heard.iter().filter(|(told, _)| told == name).count();
        assert_eq!((count("prospect:deleted"), count("proposal-deleted")), (2, 2), "{heard:?}");
        assert_eq!(heard.len(), 4);

        let since = app.head().await;
        for id in ids {
            let path = format!("/api/deliveries/{}/replay", id.as_str().unwrap());
            app.send(Method::POST, &path, Some(app.admin_token()), &[], None).await.expect(200);
        }
        app.delete(SAMPLES).await.expect(204);
        assert_eq!(app.all("/api/prospects").await.len(), stay, "they are not brought back");
        assert_eq!(app.heard(app.admin_token(), since).await, []);
    }

    async fn a_sample_that_somebody_made_a_real_record_of_stays(app: TestApp) {
        for change in [
            json!({ "email": "real@example.org" }),
            json!({ "tracking": { "utmSource": "newsletter" } }),
        ] {
            send(&app).await.expect(201);
            let path = format!("/api/prospects/{}", app.all("/api/prospects").await[0]["id"].as_str().unwrap());
            app.patch(&path, &change).await.expect(200);
        }
        app.delete(SAMPLES).await.expect(204);
        assert_eq!(app.all("/api/prospects").await.len(), 2);
    }

    async fn very_many_samples_go_too(app: TestApp) {
        for _ in 0..103 {
            send(&app).await.expect(201);
        }
        assert_eq!(setup(&app).await["samples"], 103);
        app.delete(SAMPLES).await.expect(204);
        assert_eq!(app.all("/api/prospects").await.len(), 0);
    }

    async fn without_a_key_no_sample_can_be_sent(app: TestApp) {
        let store = Store::open(&app.database.url).await.unwrap();
        let keyless = Settings { signing_keys: Vec::new(), ..settings() };
        let ids = Arc::new(UuidV7::new());
        let (node, _writer) = App::new(store, keyless, app.clock.clone(), ids).await.unwrap();
        let node = app.beside(node);
        send(&node).await.problem(409, "no_signing_key");
        assert_eq!(setup(&node).await["signingKeys"], 0);
    }

    async fn the_first_run_is_for_admins(app: TestApp) {
        let (_, member) = app.member("amelie@example.com", None).await;
        app.get_as(&member, "/api/setup").await.problem(403, "forbidden");
        app.post_as(&member, SAMPLES, &json!({})).await.problem(403, "forbidden");
        app.delete_as(&member, SAMPLES).await.problem(403, "forbidden");
        app.send(Method::POST, SAMPLES, None, &[], None).await.problem(401, "token_missing");
        let unknown = app.post(SAMPLES, &json!({ "email": "noor@example.org" })).await;
        assert_eq!(unknown.faults(), ["email"]);
        assert_eq!(app.all("/api/prospects").await.len(), 0);
    }
}

on_each_database![a_sample_rings];

async fn a_sample_rings(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let mut subscriber = Subscriber::start().await;
    subscriber
        .join("admin", &server.url, &admin.token, json!({}))
        .await;
    api.post(SAMPLES, &admin.token, &json!({}))
        .await
        .expect(201);
    let made = subscriber.event("admin", "prospect:created").await;
    assert_eq!(made["tracking"]["utmSource"], "bookbell-sample");
    subscriber.event("admin", "proposal-created").await;
    api.send(Method::DELETE, SAMPLES, Some(&admin.token), None)
        .await
        .expect(204);
    let gone = subscriber.event("admin", "prospect:deleted").await;
    assert_eq!(gone, json!({ "id": made["id"] }));
}
