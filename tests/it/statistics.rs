//! Statistics: what they count, on which day, for whom, and what browsers report.

use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::app::{START_MS, TestApp};
use crate::support::on_both;
use crate::support::payload::Booking;

/// Sets the clock.
fn at(app: &TestApp, time: &str) {
    let to = time.parse::<Timestamp>().unwrap().as_millisecond();
    app.advance_ms(to - app.app.now_ms());
}

async fn take(app: &TestApp, time: &str, body: &Value) {
    at(app, time);
    app.deliver(body).await.expect(200);
    app.advance_ms(START_MS - app.app.now_ms());
}

fn day(date: &str, booked: i64, canceled: i64, no_show: i64) -> Value {
    json!({ "date": date, "booked": booked, "canceled": canceled, "noShow": no_show })
}

/// Bookings around midnight in Paris (23:00 UTC): two of a member's, three of nobody's.
async fn book(app: &TestApp, member: &str) {
    let of = |n: u32| Booking::new(n, &format!("p{n}@example.org"));
    let hosted = |n: u32| of(n).host("https://x.example", member);
    take(app, "2026-11-18T22:59:59.999Z", &of(1).created()).await;
    take(app, "2026-11-18T23:00:00Z", &hosted(2).created()).await;
    take(app, "2026-11-19T22:59:59.999Z", &of(3).created()).await;
    take(app, "2026-11-19T23:00:00Z", &hosted(4).created()).await;
    let mut tour = of(5).created();
    tour["payload"]["tracking"]["utm_source"] = Value::Null;
    tour["payload"]["scheduled_event"]["name"] = json!("Product tour");
    take(app, "2026-11-20T07:00:00Z", &tour).await;
    // What happens later is told on the day of the booking.
    app.deliver(&of(3).canceled()).await.expect(200);
    app.deliver(&hosted(4).no_show(1)).await.expect(200);
    app.deliver(&hosted(2).replaced_by(7).canceled())
        .await
        .expect(200);
    let moved = Booking {
        email: "p2@example.org".to_owned(),
        ..hosted(7).replacing(2)
    };
    app.deliver(&moved.created()).await.expect(200);
}

on_both! {
    async fn bookings_count_on_their_day_in_the_zone_asked_for(app: TestApp) {
        book(&app, "amelie@example.com").await;
        let reply = app.get("/api/statistics?days=2&timezone=Europe/Paris").await;
        assert_eq!(reply.expect(200), json!({
            "days": 2, "timezone": "Europe/Paris",
            "bookings": [day("2026-11-19", 2, 1, 0), day("2026-11-20", 2, 0, 1)],
            "bySource": [
                { "source": "newsletter", "bookings": 3 }, { "source": null, "bookings": 1 },
            ],
            "byEventType": [
                { "title": "Discovery call", "bookings": 3 },
                { "title": "Product tour", "bookings": 1 },
            ],
            "rates": {
                "bookings": 4, "canceled": 1, "noShow": 1,
                "cancellationRate": 0.25, "noShowRate": 0.25,
            },
            "screen": null,
        }));
        assert_eq!(reply.header("bookbell-seq").unwrap(), app.head().await.to_string());
        let utc = app.get("/api/statistics?days=4").await.expect(200);
        assert_eq!(utc["timezone"], "UTC");
        assert_eq!(utc["bookings"], json!([
            day("2026-11-17", 0, 0, 0), day("2026-11-18", 2, 0, 0), day("2026-11-19", 2, 1, 1),
            day("2026-11-20", 1, 0, 0),
        ]));
        // Fourteen hours ahead, the day began at 10:00 UTC.
        let path = "/api/statistics?days=1&timezone=Pacific/Kiritimati";
        let ahead = app.get(path).await.expect(200);
        assert_eq!(ahead["bookings"], json!([day("2026-11-20", 3, 1, 1)]));
    }

    async fn members_get_numbers_of_what_they_own(app: TestApp) {
        let (_, member) = app.member("amelie@example.com", None).await;
        let (_, other) = app.member("benoit@example.com", None).await;
        book(&app, "amelie@example.com").await;
        let path = "/api/statistics?days=2&timezone=Europe/Paris";
        let mine = app.get_as(&member, path).await.expect(200);
        assert_eq!(
            mine["bookings"],
            json!([day("2026-11-19", 1, 0, 0), day("2026-11-20", 1, 0, 1)])
        );
        assert_eq!(mine["bySource"], json!([{ "source": "newsletter", "bookings": 2 }]));
        assert_eq!(mine["rates"]["noShowRate"], 0.5);
        let none = app.get_as(&other, path).await.expect(200);
        assert_eq!(none["byEventType"], json!([]));
        assert_eq!(none["rates"]["cancellationRate"], 0.0);
        assert_eq!(none["bookings"].as_array().unwrap().len(), 2);
    }

    async fn proposals_by_hand_and_deleted_ones_do_not_count(app: TestApp) {
        app.deliver(&Booking::new(1, "noor@example.org").created()).await.expect(200);
        let prospect = app.all("/api/prospects").await[0]["id"].clone();
        let by_hand = json!({
            "prospectId": prospect, "title": "Visit", "timezone": "Europe/Warsaw",
            "startTime": "2026-12-06T10:00:00Z", "endTime": "2026-12-06T10:45:00Z",
        });
        app.post("/api/proposals", &by_hand).await.expect(201);
        let counted = async || {
            app.get("/api/statistics").await.expect(200)["rates"]["bookings"].clone()
        };
        assert_eq!(counted().await, 1);
        app.delete(&format!("/api/prospects/{}", prospect.as_str().unwrap())).await.expect(204);
        assert_eq!(counted().await, 0);
    }

    async fn parameters_that_do_not_fit_are_named(app: TestApp) {
        for (query, field) in [
            ("days=0", "days"), ("days=367", "days"), ("days=x", "days"), ("days=", "days"),
            ("timezone=Mars/Olympus", "timezone"), ("timezone=", "timezone"),
            ("since=2026-11-20", "since"),
        ] {
            let reply = app.get(&format!("/api/statistics?{query}")).await;
            assert_eq!(reply.faults(), [field], "{query}");
        }
        let year = app.get("/api/statistics?days=366&timezone=Asia/Calcutta").await.expect(200);
        assert_eq!(year["bookings"].as_array().unwrap().len(), 366);
        assert_eq!(app.get("/api/statistics").await.expect(200)["days"], 30);
    }

    async fn what_browsers_report_is_told_to_all(app: TestApp) {
        let (_, member) = app.member("amelie@example.com", None).await;
        let path = "/api/statistics/screen";
        let many = vec![1; 101];
        for wrong in [
            json!({}), json!({ "samples": null }), json!({ "samples": [] }),
            json!({ "samples": many }), json!({ "samples": [-1] }), json!({ "samples": [600_001] }),
            json!({ "samples": ["1"] }), json!({ "samples": [1, null] }), json!({ "samples": 7 }),
        ] {
            assert_eq!(app.post(path, &wrong).await.faults(), ["samples"], "{wrong}");
        }
        let unknown = json!({ "samples": [1], "page": "/" });
        assert_eq!(app.post(path, &unknown).await.faults(), ["page"]);
        let screen = async || app.get("/api/statistics").await.expect(200)["screen"].clone();
        assert_eq!(screen().await, Value::Null);
        let times: Vec<u32> = (1..=100).collect();
        app.post_as(&member, path, &json!({ "samples": times })).await.expect(204);
        assert_eq!(screen().await, json!({ "samples": 100, "p50Ms": 50, "p95Ms": 95 }));
        let more = json!({ "samples": [0, 600_000, 12.7] });
        app.post(path, &more).await.expect(204);
        assert_eq!(screen().await["samples"], 103);
    }

    async fn strangers_get_and_report_nothing(app: TestApp) {
        let (get, post) = (Method::GET, Method::POST);
        let report = json!({ "samples": [1] });
        let reply = app.send(post, "/api/statistics/screen", None, &[], Some(&report)).await;
        reply.problem(401, "token_missing");
        let reply = app.send(get, "/api/statistics", None, &[], None).await;
        reply.problem(401, "token_missing");
        assert_eq!(app.app.screen.times(), None);
    }
}
