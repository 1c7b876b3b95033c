//! What Prometheus scrapes: exact numbers after known traffic, and an answer whatever happens.

#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "the values are counts, which doubles hold exactly"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::app::TestApp;
use crate::support::database::Database;
use crate::support::payload::Booking;
use crate::support::scrape::Scrape;
use crate::support::server::{PATIENCE, Server};
use crate::support::subscriber::Subscriber;
use crate::support::{on_both, on_each_database};

/// Older than a reading from the database is used.
const STALE_MS: i64 = 6000;

pub(crate) async fn scrape(app: &TestApp) -> Scrape {
    let reply = app.send(Method::GET, "/metrics", None, &[], None).await;
    assert_eq!(reply.status, StatusCode::OK);
    let kind = reply.header("content-type").unwrap();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let text = String::from_utf8(reply.bytes).unwrap();
    assert!(!text.contains('@') && !text.contains("example."), "{text}");
    Scrape::read(&text)
}

fn verdict(verdict: &str, reason: &str) -> String {
    format!("bookbell_deliveries_total{{reason=\"{reason}\",verdict=\"{verdict}\"}}")
}

/// Two bookings, one of them again, one stale, one not readable twice, one we do not act on, and
/// three that nobody signed.
async fn traffic(app: &TestApp) {
    let bookings = [1, 2].map(|n| Booking::new(n, "noor@example.com").created());
    for body in [&bookings[0], &bookings[1], &bookings[0]] {
        app.deliver(body).await.expect(200);
    }
    let stale = Booking::new(3, "noor@example.com").created();
    app.deliver_at(&stale, -1000).await.expect(202);
    for _ in 0..2 {
        app.deliver_raw(b"{".to_vec(), 0).await.expect(202);
    }
    let unknown = json!({ "event": "event_type.created", "payload": { "uri": "x" } });
    app.deliver(&unknown).await.expect(200);
    for signature in [None, None, Some("x")] {
        let reply = app.post_webhook("/webhooks/calendly", signature, b"{}".to_vec());
        assert_eq!(reply.await.status, 401);
    }
}

on_both! {
    async fn known_traffic_is_counted_exactly(app: TestApp) {
        let before = scrape(&app).await;
        before.expect(&[
            (&verdict("processed", ""), 0.0), ("bookbell_quarantined_deliveries", 0.0),
            ("bookbell_log_head", 0.0), ("bookbell_batch_deliveries_count", 0.0),
        ]);
        traffic(&app).await;
        app.advance_ms(STALE_MS);
        let after = scrape(&app).await;
        after.expect(&[
            (&verdict("processed", ""), 2.0), (&verdict("duplicate", ""), 1.0),
            (&verdict("ignored", "unhandled_event"), 1.0), (&verdict("ignored", "no_email"), 0.0),
            (&verdict("quarantined", "stale_timestamp"), 1.0),
            (&verdict("quarantined", "malformed_payload"), 2.0),
            (&verdict("quarantined", "processing_failed"), 0.0),
            (&verdict("refused", "signature_missing"), 2.0),
            (&verdict("refused", "signature_malformed"), 1.0),
            (&verdict("refused", "signature_mismatch"), 0.0),
            (&verdict("failed", "busy"), 0.0), (&verdict("failed", "internal"), 0.0),
            ("bookbell_quarantined_deliveries", 2.0), ("bookbell_database_up", 1.0),
            // Duplicates share a commit, but only what was archived has a time of receipt.
            ("bookbell_batch_deliveries_count", 7.0), ("bookbell_batch_deliveries_sum", 7.0),
            ("bookbell_receipt_to_commit_seconds_count", 5.0),
            ("bookbell_log_head", app.head().await as f64), ("bookbell_queue_deliveries", 0.0),
            ("bookbell_socket_lag_events", 0.0),
            ("bookbell_sockets{transport=\"websocket\"}", 0.0),
            ("process_start_time_seconds", 1_795_161_600.0),
        ]);
        assert!(after.value("bookbell_receipt_to_commit_seconds_sum") > 0.0);
        for positive in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
            assert!(after.value(positive) > 0.0, "{positive}");
        }
        let engine = app.app.store.engine();
        let version = env!("CARGO_PKG_VERSION");
        let build = format!("bookbell_build_info{{database=\"{engine}\",version=\"{version}\"}}");
        after.expect(&[(&build, 1.0)]);
    }

    async fn what_was_counted_by_a_clock_that_was_ahead_is_counted_again(app: TestApp) {
        let held = "bookbell_quarantined_deliveries";
        scrape(&app).await.expect(&[(held, 0.0)]);
        app.advance_ms(-3_600_000);
        app.deliver_raw(b"{}".to_vec(), 0).await.expect(202);
        scrape(&app).await.expect(&[(held, 1.0)]);
    }

    async fn a_scrape_is_answered_while_the_database_is_away(app: TestApp) {
        traffic(&app).await;
        scrape(&app).await.expect(&[("bookbell_database_up", 1.0)]);
        app.app.store.close(Duration::from_secs(5)).await;
        let errors = "bookbell_database_errors_total{kind=\"connection\"}";
        // What was just read is not asked for again.
        let fresh = scrape(&app).await;
        fresh.expect(&[("bookbell_database_up", 1.0), ("bookbell_quarantined_deliveries", 2.0)]);
        app.advance_ms(STALE_MS);
        let down = scrape(&app).await;
        down.expect(&[("bookbell_database_up", 0.0), (&verdict("processed", ""), 2.0)]);
        assert_eq!(down.get("bookbell_quarantined_deliveries"), None);
        assert!(down.value(errors) > fresh.value(errors));
        let body = Booking::new(9, "noor@example.com").created();
        app.deliver(&body).await.problem(503, "busy");
        scrape(&app).await.expect(&[(&verdict("failed", "busy"), 1.0)]);
    }

    async fn what_could_not_be_taken_is_counted_by_whose_fault_it_is(app: TestApp) {
        app.database.execute("ALTER TABLE delivery RENAME TO gone").await;
        let body = Booking::new(1, "noor@example.com").created();
        for _ in 0..2 {
            app.deliver(&body).await.problem(500, "internal");
        }
        scrape(&app).await.expect(&[
            (&verdict("failed", "internal"), 2.0), (&verdict("failed", "busy"), 0.0),
        ]);
    }

    async fn readiness_is_told_part_by_part(app: TestApp) {
        let expect = async |of: [f64; 3]| {
            let parts = ["database", "deliveryLoop", "writer"];
            let scraped = scrape(&app).await;
            for (part, works) in parts.into_iter().zip(of) {
                scraped.expect(&[(&format!("bookbell_ready{{part=\"{part}\"}}"), works)]);
            }
        };
        expect([1.0, 1.0, 1.0]).await;
        app.advance_ms(11_000);
        expect([1.0, 0.0, 1.0]).await;
        app.app.catch_up().await.unwrap();
        app.app.store.close(Duration::from_secs(5)).await;
        expect([0.0, 1.0, 1.0]).await;
    }

    async fn the_readme_names_each_metric_and_no_other(app: TestApp) {
        let readme = include_str!("../../README.md");
        let (_, section) = readme.split_once("### Metrics").unwrap();
        let (section, _) = section.split_once("\n### ").unwrap();
        let words = section.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        let ours = |word: &&str| word.starts_with("bookbell_") || word.starts_with("process_");
        let named: BTreeSet<String> = words
            .map(|word| word.trim_end_matches("_bucket"))
            .filter(ours)
            .map(ToOwned::to_owned)
            .collect();
        assert_eq!(named, scrape(&app).await.families);
    }

    async fn only_its_own_path_is_taken(app: TestApp) {
        for path in ["/metrics/", "/metrics/x", "/api/metrics"] {
            app.get(path).await.problem(404, "not_found");
        }
        let reply = app.post("/metrics", &json!({})).await;
        reply.problem(405, "method_not_allowed");
    }
}

on_each_database![sockets_and_their_times_are_seen];

/// Scrapes until it is as expected.
async fn until(server: &Server, expected: impl Fn(&Scrape) -> bool) -> Scrape {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = server.api().send(Method::GET, "/metrics", None, None).await;
        let scraped = Scrape::read(std::str::from_utf8(&reply.bytes).unwrap());
        if expected(&scraped) {
            return scraped;
        }
        let said = String::from_utf8_lossy(&reply.bytes);
        assert!(Instant::now() < deadline, "{said}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn sockets_and_their_times_are_seen(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let old = Booking::new(1, "noor@example.org").created();
    let first = api.deliver(&old).await.expect(200);
    let path_of = |receipt: &serde_json::Value| {
        format!(
            "/api/deliveries/{}",
            receipt["deliveryId"].as_str().unwrap()
        )
    };
    let read = api.get(&path_of(&first), &admin.token).await.expect(200);
    assert!(read["timings"]["committedUs"].as_u64() >= read["timings"]["foldedUs"].as_u64());
    assert!(read["timings"].get("socketUs").is_none(), "{read}");

    let mut subscriber = Subscriber::start().await;
    for transport in ["websocket", "polling"] {
        // They catch up with what was booked before, which is not measured as slowness.
        let options = json!({ "transports": [transport], "auth": { "since": 0 } });
        subscriber
            .join(transport, &server.url, &admin.token, options)
            .await;
        subscriber.count(transport, 2).await;
    }
    let body = Booking::new(2, "noor@example.org").created();
    let second = api.deliver(&body).await.expect(200);
    subscriber.count("websocket", 3).await;
    subscriber.count("polling", 3).await;
    let scraped = until(&server, |s| s.value("bookbell_socket_lag_events") == 0.0).await;
    let head = scraped.value("bookbell_log_head");
    scraped.expect(&[
        ("bookbell_sockets{transport=\"websocket\"}", 1.0),
        ("bookbell_sockets{transport=\"polling\"}", 1.0),
        ("bookbell_socket_slowest", head),
        (
            "bookbell_commit_to_socket_seconds_count",
            2.0 * (head - 2.0),
        ),
    ]);
    let timings = api.get(&path_of(&second), &admin.token).await.expect(200)["timings"].clone();
    let at = |name: &str| timings[name].as_u64().unwrap();
    assert!(at("foldedUs") <= at("committedUs"), "{timings}");
    assert!(at("committedUs") <= at("socketUs"), "{timings}");
    let late = api.get(&path_of(&first), &admin.token).await.expect(200);
    assert!(
        late["timings"]["socketUs"].is_u64(),
        "heard by those who came later: {late}"
    );

    // It may have opened one connection more than it then needed, which nobody ever got to know.
    drop(api);
    // They are known by whatever connection they came; only the scrape's own is a stranger's.
    let options = json!({ "transports": ["polling", "websocket"] });
    subscriber
        .join("upgraded", &server.url, &admin.token, options)
        .await;
    let websockets = "bookbell_sockets{transport=\"websocket\"}";
    until(&server, |s| s.value(websockets) == 2.0).await;
    let strangers = "bookbell_connections{peer=\"stranger\"}";
    until(&server, |s| s.value(strangers) <= 1.0).await;

    subscriber.tell("websocket", "disconnect");
    subscriber.tell("upgraded", "disconnect");
    until(&server, |s| {
        s.value("bookbell_sockets{transport=\"websocket\"}") == 0.0
    })
    .await;
}
