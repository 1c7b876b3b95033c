//! The event log over HTTP: who hears what, in which order, and from where it is served.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::{Reply, TestApp};
use crate::support::on_both;
use crate::support::payload::Booking;

const HOST: &str = "https://api.calendly.com/users/amelie";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

async fn events(app: &TestApp, query: &str) -> Reply {
    app.get(&format!("/api/events?{query}")).await
}

/// Makes `n` events that only admins hear.
async fn make(app: &TestApp, n: usize) {
    for k in 0..n {
        app.prospect(app.admin_token(), &format!("{k}@example.com"))
            .await;
    }
}

fn seqs(items: &[Value]) -> Vec<i64> {
    items
        .iter()
        .map(|item| item["seq"].as_i64().unwrap())
        .collect()
}

on_both! {
    async fn events_are_listed_in_commit_order(app: TestApp) {
        let first = app.prospect(app.admin_token(), "noor@example.com").await;
        app.advance_ms(1234);
        let path = format!("/api/prospects/{}", first["id"].as_str().unwrap());
        let second = app.patch(&path, &json!({ "status": "won" })).await.expect(200);
        let page = events(&app, "since=0").await.expect(200);
        let items = page["items"].as_array().unwrap();
        let id = |n: usize| items[n]["id"].clone();
        assert_eq!(page["items"], json!([
            { "seq": 1, "id": id(0), "at": "2026-11-20T08:00:00.000Z", "name": "prospect:created",
              "payload": first },
            { "seq": 2, "id": id(1), "at": "2026-11-20T08:00:01.234Z", "name": "prospect:updated",
              "payload": second },
        ]));
        assert_ne!(id(0), id(1));
        assert_eq!((&page["total"], &page["nextCursor"]), (&json!(2), &Value::Null));
        assert_eq!(events(&app, "").await.expect(200)["items"], page["items"]);
    }

    async fn owners_hear_of_their_records_and_admins_of_all(app: TestApp) {
        let (_, amelie) = app.member("amelie@example.com", Some(HOST)).await;
        let (_, kwame) = app.member("kwame@example.com", None).await;
        let booking = Booking::new(1, "noor@example.com").host(HOST, "x@example.com");
        app.deliver(&booking.created()).await.expect(200);
        app.deliver(&booking.canceled()).await.expect(200);
        make(&app, 1).await;
        app.prospect(&kwame, "ibrahim@example.org").await;
        let hers = app.get_as(&amelie, "/api/events?since=0").await.items();
        let names: Vec<&Value> = hers.iter().map(|event| &event["name"]).collect();
        assert_eq!(names, [
            "prospect:created", "proposal-created", "proposal-updated", "proposal-status-changed",
        ]);
        assert_eq!(hers[3]["payload"]["reason"], "a train strike");
        let his = app.get_as(&kwame, "/api/events?since=0").await;
        assert_eq!(his.expect(200)["total"], 1);
        assert_eq!(his.items()[0]["payload"]["email"], "ibrahim@example.org");
        let all = events(&app, "since=0").await.items();
        assert_eq!(seqs(&all), [1, 2, 3, 4, 5, 6]);
        app.send(Method::GET, "/api/events", None, &[], None).await.problem(401, "token_missing");
    }

    async fn the_total_is_what_the_caller_may_hear_of(app: TestApp) {
        let (_, amelie) = app.member("amelie@example.com", None).await;
        let (kwame_id, kwame) = app.member("kwame@example.com", None).await;
        let prospect = app.prospect(&amelie, "noor@example.com").await;
        let path = format!("/api/prospects/{}", prospect["id"].as_str().unwrap());
        // Admins hear of one change, the two owners of what went and what came.
        app.patch(&path, &json!({ "ownerId": kwame_id })).await.expect(200);
        make(&app, 1).await;
        for (token, heard) in [(app.admin_token(), 3), (&amelie, 2), (&kwame, 1)] {
            let page = app.get_as(token, "/api/events?since=0").await;
            assert_eq!((page.items().len(), &page.json()["total"]), (heard, &json!(heard)));
        }
        assert_eq!(events(&app, "since=4").await.expect(200)["total"], 1);
    }

    async fn what_a_wrong_clock_dated_too_late_goes_with_what_came_after_it(app: TestApp) {
        let booked = async |n| app.deliver(&Booking::new(n, "noor@example.com").created()).await;
        app.advance_ms(400 * DAY_MS);
        booked(1).await.expect(200);
        app.advance_ms(-400 * DAY_MS);
        booked(2).await.expect(200);
        let all = app.head().await;
        assert_eq!(app.app.forget_events().await.unwrap(), 0);
        app.advance_ms(31 * DAY_MS);
        assert_eq!(app.app.forget_events().await.unwrap(), u64::try_from(all).unwrap());
    }

    async fn what_is_for_the_programs_own_nodes_is_never_listed(app: TestApp) {
        let (_, token) = app.member("amelie@example.com", None).await;
        let before = app.head().await;
        app.send(Method::POST, "/api/auth/logout", Some(&token), &[], None).await.expect(204);
        assert!(app.head().await > before);
        let page = events(&app, &format!("since={before}")).await.expect(200);
        assert_eq!(page, json!({ "items": [], "nextCursor": null, "total": 0 }));
    }

    async fn a_caller_goes_on_from_the_last_seq(app: TestApp) {
        make(&app, 3).await;
        assert_eq!(seqs(&events(&app, "since=1").await.items()), [2, 3]);
        let end = events(&app, "since=3").await;
        assert_eq!(end.items(), [] as [Value; 0]);
        assert_eq!(end.header("bookbell-seq"), Some("3"));
        app.prospect(app.admin_token(), "later@example.com").await;
        assert_eq!(seqs(&events(&app, "since=3").await.items()), [4]);
    }

    async fn pages_follow_each_other_and_end(app: TestApp) {
        make(&app, 6).await;
        let mut path = "/api/events?since=1&limit=2".to_owned();
        let mut heard = Vec::new();
        let mut pages = 0;
        loop {
            let page = app.get(&path).await;
            heard.extend(seqs(&page.items()));
            pages += 1;
            assert_eq!(page.header("link").is_some(), page.json()["nextCursor"].is_string());
            let Some(link) = page.header("link") else { break };
            assert!(link.ends_with(">; rel=\"next\""), "{link}");
            link[1..link.find('>').unwrap()].clone_into(&mut path);
        }
        assert_eq!(heard, [2, 3, 4, 5, 6]);
        assert_eq!(pages, 3);
    }

    async fn the_last_page_has_no_next_also_when_it_is_full(app: TestApp) {
        make(&app, 2).await;
        assert_eq!(events(&app, "since=0&limit=2").await.expect(200)["nextCursor"], Value::Null);
    }

    async fn the_total_is_that_of_all_pages_on_each(app: TestApp) {
        make(&app, 5).await;
        let first = events(&app, "since=0&limit=2").await.expect(200);
        let cursor = first["nextCursor"].as_str().unwrap();
        let second = events(&app, &format!("since=0&limit=2&cursor={cursor}")).await.expect(200);
        assert_eq!((&first["total"], &second["total"]), (&json!(5), &json!(5)));
    }

    /// Another node committed it, or this one just now: memory has it a moment later.
    async fn what_memory_does_not_have_yet_is_read_as_far_as_the_head(app: TestApp) {
        make(&app, 2).await;
        app.database.execute("UPDATE event_log SET head_seq = 3; \
            INSERT INTO event (seq, id, at_ms, name, payload, admins) \
            VALUES (3, 'third', 0, 'prospect:deleted', '{}', TRUE)").await;
        for since in [0, 2] {
            let page = events(&app, &format!("since={since}")).await;
            let last = page.items().pop().unwrap()["seq"].to_string();
            assert_eq!(page.header("bookbell-seq"), Some(last.as_str()));
            assert_eq!(page.json()["nextCursor"], Value::Null);
        }
    }

    async fn beside_a_cursor_since_is_within_the_log(app: TestApp) {
        make(&app, 3).await;
        let first = events(&app, "since=0&limit=1").await.expect(200);
        let cursor = first["nextCursor"].as_str().unwrap();
        let total = async |since: &str| {
            let page = events(&app, &format!("since={since}&limit=1&cursor={cursor}")).await;
            page.expect(200)["total"].clone()
        };
        assert_eq!(total("1000000").await, 0);
        assert_eq!(total(&i64::MAX.to_string()).await, 0);
        app.database.execute("DELETE FROM event WHERE seq = 1").await;
        app.database.execute("UPDATE event_log SET floor_seq = 1").await;
        assert_eq!(total("0").await, 2);
    }

    async fn the_head_of_the_log_comes_with_every_page(app: TestApp) {
        make(&app, 5).await;
        for query in ["since=0", "since=0&limit=2", "since=4"] {
            assert_eq!(events(&app, query).await.header("bookbell-seq"), Some("5"), "{query}");
        }
    }

    async fn a_position_that_is_no_position_is_refused(app: TestApp) {
        make(&app, 1).await;
        for since in ["-1", "1.5", "abc", "", "99999999999999999999", "1e3"] {
            assert_eq!(events(&app, &format!("since={since}")).await.faults(), ["since"], "{since}");
        }
        for limit in ["0", "201", "-1", "x"] {
            assert_eq!(events(&app, &format!("limit={limit}")).await.faults(), ["limit"]);
        }
        assert_eq!(events(&app, "cursor=AAAA").await.faults(), ["cursor"]);
        assert_eq!(events(&app, "name=x&since=-1").await.faults(), ["name", "since"]);
    }

    async fn a_position_beyond_the_head_asks_for_a_reload(app: TestApp) {
        make(&app, 2).await;
        for since in ["3", "9223372036854775807"] {
            let problem = events(&app, &format!("since={since}")).await.problem(410, "resync");
            assert_eq!(problem["seq"], 2);
        }
    }

    async fn a_forgotten_position_asks_for_a_reload(app: TestApp) {
        make(&app, 2).await;
        app.advance_ms(31 * DAY_MS);
        let token = app.sign_in(crate::support::app::ADMIN.0, crate::support::app::ADMIN.1).await;
        app.prospect(&token, "later@example.com").await;
        assert_eq!(app.app.forget_events().await.unwrap(), 2);
        for since in [0, 1] {
            let reply = app.get_as(&token, &format!("/api/events?since={since}")).await;
            assert_eq!(reply.problem(410, "resync")["seq"], 3);
        }
        for query in ["", "?since=2"] {
            let page = app.get_as(&token, &format!("/api/events{query}")).await;
            assert_eq!(seqs(&page.items()), [3]);
            assert_eq!(page.json()["total"], 1);
        }
    }

    async fn a_node_that_starts_later_serves_the_same_log(app: TestApp) {
        make(&app, 3).await;
        let ids = std::sync::Arc::new(bookbell::domain::ids::UuidV7::new());
        let (store, settings) = (app.app.store.clone(), app.app.settings.clone());
        let node = bookbell::app::App::new(store, settings, app.clock.clone(), ids).await.unwrap();
        let request = axum::http::Request::get("/api/events?since=1&limit=1")
            .header("authorization", format!("Bearer {}", app.admin_token()));
        let request = request.body(axum::body::Body::empty()).unwrap();
        let router = bookbell::http::router(node.0);
        let reply = tower::ServiceExt::oneshot(router, request).await.unwrap();
        let bytes = http_body_util::BodyExt::collect(reply.into_body()).await.unwrap().to_bytes();
        let page: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(page["items"], events(&app, "since=1&limit=1").await.json()["items"]);
        assert_eq!(page["total"], 2);
    }
}
