//! Counts that are kept with the records: whatever is done, and on whichever node, they say what
//! counting the rows would say.

use std::collections::BTreeMap;

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::on_both;
use crate::support::payload::{Booking, routing_form};

type Counts = BTreeMap<(String, String, String, String), i64>;

async fn read(app: &TestApp, sql: &'static str) -> Counts {
    let mut reader = app.app.store.read().await.unwrap();
    let rows: Vec<(String, String, String, String, i64)> =
        reader.db().fetch(sql, Vec::new()).await.unwrap();
    rows.into_iter()
        .map(|(a, b, c, d, n)| ((a, b, c, d), n))
        .collect()
}

/// How many kinds of things are done.
const KINDS: u32 = 12;

/// Compares every count with the rows it stands for.
async fn check(app: &TestApp) {
    let kept = "SELECT record, owner_key, status, kind, n FROM record_count WHERE n <> 0";
    let counted = "SELECT 'prospect', COALESCE(owner_id, ''), status, source, \
         CAST(COUNT(*) AS BIGINT) FROM prospect GROUP BY COALESCE(owner_id, ''), status, source \
         UNION ALL SELECT 'prospect', '*', status, source, CAST(COUNT(*) AS BIGINT) \
         FROM prospect GROUP BY status, source \
         UNION ALL SELECT 'proposal', COALESCE(owner_id, ''), status, '', \
         CAST(COUNT(*) AS BIGINT) FROM proposal GROUP BY COALESCE(owner_id, ''), status \
         UNION ALL SELECT 'proposal', '*', status, '', CAST(COUNT(*) AS BIGINT) \
         FROM proposal GROUP BY status \
         UNION ALL SELECT 'delivery', '*', status, COALESCE(event, ''), \
         CAST(COUNT(*) AS BIGINT) FROM delivery GROUP BY status, COALESCE(event, '')";
    assert_eq!(read(app, kept).await, read(app, counted).await);
    // The runs by which lists are read say the same as what they are made of.
    let astray = "SELECT id, run, owner_run, status, CAST(1 AS BIGINT) FROM prospect \
         WHERE run <> status || '/' || source \
         OR owner_run <> COALESCE(owner_id, '') || '/' || status || '/' || source";
    assert_eq!(read(app, astray).await, Counts::new());
}

/// Something that people or Calendly do, by a number. Answers which it was of [`KINDS`], and
/// whether it was done: it may be refused, or find nothing to be done to.
async fn act(app: &TestApp, n: u32, owners: &[Value]) -> (u32, bool) {
    let email = format!("p{}@example.com", n % 13);
    let owner = &owners[n as usize % owners.len()];
    let hosted = |booking: Booking| match n % 3 {
        0 => booking,
        _ => booking.host("https://x.example", &format!("m{}@example.com", n % 2)),
    };
    let booking = hosted(Booking::new(n % 17, &email));
    let any = async |list: &str, id: &str| {
        let items = app.all(list).await;
        let picked = items.get(n as usize % items.len().max(1))?;
        Some(format!("{list}/{}", picked[id].as_str().unwrap()))
    };
    let post_to = async |path: String| {
        let token = Some(app.admin_token());
        app.send(Method::POST, &path, token, &[], None).await
    };
    let reply = match n % KINDS {
        0 | 1 => Some(app.deliver(&booking.created()).await),
        2 => Some(app.deliver(&booking.canceled()).await),
        3 => Some(app.deliver(&booking.replacing(n % 5).created()).await),
        4 => Some(app.deliver(&booking.no_show(1)).await),
        5 => Some(app.deliver(&routing_form(n % 999, &email)).await),
        6 => {
            let stale = Booking::new(n % 999, &email).created();
            Some(app.deliver_at(&stale, -1000).await)
        }
        7 => {
            let body = json!({ "email": email, "ownerId": owner, "status": "won" });
            Some(app.post("/api/prospects", &body).await)
        }
        8 => match any("/api/prospects", "id").await {
            Some(path) => {
                let body = json!({ "ownerId": owner, "status": "contacted" });
                Some(app.patch(&path, &body).await)
            }
            None => None,
        },
        9 => match any("/api/proposals", "appointmentId").await {
            Some(path) => Some(post_to(format!("{path}/accept")).await),
            None => None,
        },
        10 => {
            let list = ["/api/prospects", "/api/proposals"][n as usize / 12 % 2];
            let id = ["id", "appointmentId"][n as usize / 12 % 2];
            match any(list, id).await {
                Some(path) => Some(app.delete(&path).await),
                None => None,
            }
        }
        _ => {
            let path = "/webhooks/calendly";
            let refused = app.post_webhook(path, None, b"{}".to_vec()).await;
            refused.problem(401, "signature_missing");
            app.app.flush_refusals().await.unwrap();
            match any("/api/deliveries", "id").await {
                Some(path) => Some(post_to(format!("{path}/replay")).await),
                None => None,
            }
        }
    };
    let done = reply.is_some_and(|reply| reply.status.is_success());
    (n % KINDS, done)
}

on_both! {
    async fn counts_are_what_counting_says_whatever_is_done(app: TestApp) {
        let mut owners = vec![Value::Null];
        for n in 0..2 {
            owners.push(json!(app.member(&format!("m{n}@example.com"), None).await.0));
        }
        let other = app.second_node().await;
        let (mut n, mut done) = (7_u32, BTreeMap::<u32, usize>::new());
        for round in 0..12 {
            let some = (0..10).map(|k| {
                n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                act(if k % 2 == 0 { &app } else { &other }, n >> 8, &owners)
            });
            for (kind, is_done) in join_all(some.collect::<Vec<_>>()).await {
                *done.entry(kind).or_default() += usize::from(is_done);
            }
            app.advance_ms(1000);
            check(&app).await;
            if round == 9 {
                let path = format!("/api/users/{}", owners[1].as_str().unwrap());
                app.delete(&path).await.expect(204);
                check(&app).await;
            }
        }
        // Of what is done at once, all that could be accepted may have gone before it was.
        app.deliver(&Booking::new(1000, "late@example.com").created()).await.expect(200);
        let pending = app.all("/api/proposals?status=pending").await;
        let id = pending[0]["appointmentId"].as_str().unwrap();
        let accept = format!("/api/proposals/{id}/accept");
        app.send(Method::POST, &accept, Some(app.admin_token()), &[], None).await.expect(200);
        check(&app).await;
        *done.entry(9).or_default() += 1;
        // Of each kind some were done, and most of all.
        assert!(done.values().all(|n| *n > 0), "{done:?}");
        assert!(done.values().sum::<usize>() >= 80, "{done:?}");
        let total = app.get("/api/prospects").await.expect(200)["total"].as_i64();
        assert_eq!(total, Some(i64::try_from(app.all("/api/prospects").await.len()).unwrap()));
    }

    async fn totals_are_of_what_the_filters_show(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", None).await;
        for (n, status) in ["new", "won", "won"].into_iter().enumerate() {
            let body = json!({ "email": format!("p{n}@x.example"), "status": status, "ownerId": id });
            app.post("/api/prospects", &body).await.expect(201);
        }
        app.deliver(&Booking::new(1, "d@x.example").created()).await.expect(200);
        for (path, total) in [
            ("/api/prospects".to_owned(), 4), ("/api/prospects?status=won".to_owned(), 2),
            ("/api/prospects?source=calendly".to_owned(), 1),
            ("/api/prospects?ownerId=none".to_owned(), 1),
            (format!("/api/prospects?ownerId={id}&status=new&source=manual"), 1),
            ("/api/prospects?status=lost".to_owned(), 0),
            ("/api/proposals".to_owned(), 1), ("/api/proposals?status=accepted".to_owned(), 0),
            ("/api/proposals?ownerId=none&status=pending".to_owned(), 1),
            ("/api/deliveries?status=processed&event=invitee.created".to_owned(), 1),
            ("/api/deliveries?event=invitee.canceled".to_owned(), 0),
        ] {
            assert_eq!(app.get(&path).await.expect(200)["total"], total, "{path}");
        }
        assert_eq!(app.get_as(&token, "/api/prospects").await.expect(200)["total"], 3);
        assert_eq!(app.get_as(&token, "/api/proposals").await.expect(200)["total"], 0);
    }
}
