//! What holds for every call: pages, conditions, problem documents, limits, health.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::timeout;

use crate::support::app::{Reply, TestApp};
use crate::support::document::{Document, filled};
use crate::support::on_both;
use crate::support::payload::Booking;

const LISTS: [&str; 5] = [
    "/api/users",
    "/api/prospects",
    "/api/proposals",
    "/api/deliveries",
    "/api/events",
];

const NOWHERE: &str = "01a05bfb-7000-7b3e-9a7d-4c2f1160587e";

/// The largest body, in bytes.
const MIB: usize = 1 << 20;

/// Sends a raw body as the admin.
async fn send_raw(app: &TestApp, method: Method, path: &str, body: Vec<u8>) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", app.admin_token()));
    app.request(request.body(Body::from(body)).unwrap()).await
}

async fn if_match(app: &TestApp, method: Method, path: &str, tag: &str) -> Reply {
    let body = (method == Method::PATCH).then(|| json!({ "notes": tag }));
    let token = Some(app.admin_token());
    app.send(method, path, token, &[("if-match", tag)], body.as_ref())
        .await
}

/// Seven prospects of one and the same millisecond, two of them with the same name.
async fn seven(app: &TestApp) {
    for (n, name) in ["Émile", "Bo", "Bo", "Zoé", "", "Åsa", "al"]
        .iter()
        .enumerate()
    {
        let body = json!({ "email": format!("{n}@example.com"), "firstname": name });
        app.post("/api/prospects", &body).await.expect(201);
    }
}

/// The `Link: <…>; rel="next"` of a page.
fn next(reply: &Reply) -> Option<String> {
    let link = reply.header("link")?;
    let target = link
        .strip_prefix('<')
        .unwrap()
        .strip_suffix(">; rel=\"next\"")
        .unwrap();
    Some(target.to_owned())
}

on_both! {
    async fn pages_show_each_record_once_also_where_times_are_equal(app: TestApp) {
        seven(&app).await;
        for sort in ["-createdAt", "createdAt", "-updatedAt", "name"] {
            let whole = app.get(&format!("/api/prospects?sort={sort}")).await.items();
            assert_eq!(whole.len(), 7);
            for limit in [1, 2, 3, 6] {
                let mut path = format!("/api/prospects?sort={sort}&limit={limit}");
                let mut paged = Vec::new();
                loop {
                    let page = app.get(&path).await.expect(200);
                    assert_eq!(page["total"], 7);
                    paged.extend(page["items"].as_array().unwrap().clone());
                    let Some(cursor) = page["nextCursor"].as_str() else { break };
                    path = format!("/api/prospects?sort={sort}&limit={limit}&cursor={cursor}");
                }
                assert_eq!(paged, whole, "{sort} {limit}");
            }
        }
    }

    async fn a_record_made_meanwhile_moves_no_page(app: TestApp) {
        seven(&app).await;
        let whole = app.get("/api/prospects").await.items();
        let first = app.get("/api/prospects?limit=3").await;
        app.prospect(app.admin_token(), "new@example.com").await;
        let second = app.get(&next(&first).unwrap()).await;
        assert_eq!([first.items(), second.items()].concat(), whole[..6]);
    }

    async fn the_link_to_the_next_page_can_be_followed(app: TestApp) {
        for n in 1..=5 {
            app.deliver(&Booking::new(n, &format!("{n}@example.com")).created()).await.expect(200);
        }
        for (list, total) in [
            ("/api/prospects?search=%40example.com&sort=name&limit=2", 5),
            ("/api/proposals?from=2026-01-01T00%3A00%3A00%2B01%3A00&sort=startTime&limit=2", 5),
            ("/api/deliveries?event=invitee.created&limit=2", 5),
            ("/api/users?limit=1", 1), ("/api/events?since=0&limit=3", 10),
        ] {
            let whole = app.all(&list[..list.find("limit").unwrap()]).await;
            assert_eq!(whole.len(), total);
            let (mut path, mut items) = (Some(list.to_owned()), Vec::new());
            while let Some(at) = path {
                let page = app.get(&at).await;
                items.extend(page.items());
                path = next(&page);
                assert_eq!(path.is_some(), page.json()["nextCursor"].is_string());
            }
            assert_eq!(items, whole, "{list}");
        }
    }

    async fn a_cursor_of_another_list_is_refused(app: TestApp) {
        let (_, member) = app.member("amelie@example.com", None).await;
        seven(&app).await;
        for n in 0..2 {
            app.prospect(&member, &format!("{n}@example.com")).await;
        }
        let page = app.get("/api/prospects?limit=1").await.expect(200);
        let cursor = page["nextCursor"].as_str().unwrap();
        for list in LISTS.iter().filter(|list| **list != "/api/prospects") {
            assert_eq!(app.get(&format!("{list}?cursor={cursor}")).await.faults(), ["cursor"]);
        }
        for filter in ["sort=createdAt", "status=new", "search=x", "ownerId=none"] {
            let reply = app.get(&format!("/api/prospects?{filter}&cursor={cursor}")).await;
            assert_eq!(reply.faults(), ["cursor"], "{filter}");
        }
        let theirs = app.get_as(&member, &format!("/api/prospects?cursor={cursor}")).await;
        assert_eq!(theirs.faults(), ["cursor"]);
        app.get(&format!("/api/prospects?limit=7&cursor={cursor}")).await.expect(200);
    }

    async fn a_tampered_cursor_is_refused(app: TestApp) {
        seven(&app).await;
        let page = app.get("/api/prospects?limit=1").await.expect(200);
        let cursor = page["nextCursor"].as_str().unwrap();
        let mut forged: Vec<String> = (0..cursor.len())
            .map(|n| {
                let other = if &cursor[n..=n] == "A" { "B" } else { "A" };
                format!("{}{other}{}", &cursor[..n], &cursor[n + 1..])
            })
            .collect();
        forged.extend(["", "AAAA", "%00", "2", "e30", "%F0%9F%9A%B2"].map(str::to_owned));
        forged.extend([format!("{cursor}A"), format!("{cursor}=="), cursor[1..].to_owned()]);
        for cursor in forged {
            let reply = app.get(&format!("/api/prospects?cursor={cursor}")).await;
            assert_eq!(reply.faults(), ["cursor"], "{cursor}");
        }
    }

    async fn a_cursor_behind_a_long_name_is_taken(app: TestApp) {
        for n in 0..2 {
            let body = json!({
                "email": format!("{n}@example.com"), "firstname": "한".repeat(200),
                "lastname": "글".repeat(200),
            });
            app.post("/api/prospects", &body).await.expect(201);
        }
        let page = app.get("/api/prospects?sort=name&limit=1").await;
        assert_eq!(app.get(&next(&page).unwrap()).await.items().len(), 1);
    }

    async fn limits_are_1_to_200_and_50_unless_given(app: TestApp) {
        for n in 0..51 {
            app.prospect(app.admin_token(), &format!("{n}@example.com")).await;
        }
        assert_eq!(app.get("/api/prospects").await.items().len(), 50);
        assert_eq!(app.get("/api/prospects?limit=1").await.items().len(), 1);
        assert_eq!(app.get("/api/prospects?limit=200").await.items().len(), 51);
        for list in LISTS {
            for limit in ["0", "201", "-1", "1.5", "ten", "", "%20", "99999999999999999999"] {
                let reply = app.get(&format!("{list}?limit={limit}")).await;
                assert_eq!(reply.faults(), ["limit"], "{list} {limit}");
            }
        }
    }

    async fn an_unknown_or_repeated_parameter_is_named(app: TestApp) {
        for list in LISTS {
            let reply = app.get(&format!("{list}?page=2&limit=0&x=")).await;
            assert_eq!(reply.faults(), ["limit", "page", "x"], "{list}");
            let reply = app.get(&format!("{list}?limit=1&limit=2")).await;
            assert_eq!(reply.faults(), ["limit"], "{list}");
        }
        for (query, field) in [
            ("status=open", "status"), ("status=NEW", "status"), ("status=", "status"),
            ("source=web", "source"), ("sort=-name", "sort"), ("sort=email", "sort"),
            ("ownerId=me", "ownerId"), ("search=%00", "search"), ("Status=new", "Status"),
        ] {
            assert_eq!(app.get(&format!("/api/prospects?{query}")).await.faults(), [field]);
        }
    }

    async fn what_takes_no_parameters_names_one_that_is_given(app: TestApp) {
        let document = Document::new();
        let mut seen = 0;
        for (method, path, operation) in document.operations() {
            let is_page = ["/webhooks", "/assets", "/api/openapi.json"].iter().any(|p| path.starts_with(p));
            if is_page || !path.starts_with("/api/") {
                continue;
            }
            let target = format!("{}?nonsense=1", filled(path, NOWHERE));
            let reply = app.send(method.clone(), &target, Some(app.admin_token()), &[], None).await;
            assert_eq!(reply.faults(), ["nonsense"], "{method} {path}");
            document.check(&method, path, &reply);
            let reply = app.send(method.clone(), &target, None, &[], None).await;
            let open = operation["security"] == json!([]);
            reply.expect(if open { 422 } else { 401 });
            seen += 1;
        }
        assert!(seen > 30, "{seen}");
        // What is not JSON, or for machines, takes what comes.
        for path in ["/healthz", "/metrics", "/", "/api/openapi.json"] {
            let reply = app.get(&format!("{path}?nonsense=1")).await;
            assert_eq!(reply.status.as_u16(), 200, "{path}");
        }
        app.get("/api/setup?").await.expect(200);
    }

    async fn every_list_and_read_tells_the_head_of_the_log(app: TestApp) {
        let receipt = app.deliver(&Booking::new(1, "noor@example.com").created()).await.expect(200);
        let first = |items: Vec<Value>, id: &str| items[0][id].as_str().unwrap().to_owned();
        let mut paths: Vec<String> = LISTS.iter().map(|list| (*list).to_owned()).collect();
        paths.extend(["/api/prospects/counts", "/api/deliveries/counts", "/api/auth/me"].map(Into::into));
        for (list, id) in [("users", "id"), ("prospects", "id"), ("proposals", "appointmentId")] {
            let items = app.all(&format!("/api/{list}")).await;
            paths.push(format!("/api/{list}/{}", first(items, id)));
        }
        paths.push(format!("/api/deliveries/{}", receipt["deliveryId"].as_str().unwrap()));
        for path in paths {
            let reply = app.get(&path).await;
            reply.expect(200);
            assert_eq!(reply.header("bookbell-seq"), Some("2"), "{path}");
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        }
    }

    async fn a_change_is_made_only_to_what_was_read(app: TestApp) {
        let made = app.prospect(app.admin_token(), "noor@example.com").await;
        let path = format!("/api/prospects/{}", made["id"].as_str().unwrap());
        let old = app.get(&path).await.header("etag").unwrap().to_owned();
        assert!(old.starts_with('"') && old.ends_with('"'), "{old}");
        let changed = if_match(&app, Method::PATCH, &path, &old).await;
        changed.expect(200);
        let new = changed.header("etag").unwrap().to_owned();
        assert_ne!(new, old);
        assert_eq!(app.get(&path).await.header("etag"), Some(new.as_str()));
        for stale in [old.clone(), format!("W/{new}"), new.trim_matches('"').to_owned(), "x".into()] {
            for method in [Method::PATCH, Method::DELETE] {
                let reply = if_match(&app, method, &path, &stale).await;
                reply.problem(412, "precondition_failed");
            }
        }
        assert_eq!(app.get(&path).await.json()["notes"], old);
        if_match(&app, Method::PATCH, &path, &format!("{old}, {new}")).await.expect(200);
        if_match(&app, Method::PATCH, &path, "*").await.expect(200);
        let last = app.get(&path).await.header("etag").unwrap().to_owned();
        if_match(&app, Method::DELETE, &path, &last).await.expect(204);
        if_match(&app, Method::DELETE, &path, "*").await.problem(404, "not_found");
    }

    async fn every_if_match_line_counts(app: TestApp) {
        let made = app.prospect(app.admin_token(), "noor@example.com").await;
        let path = format!("/api/prospects/{}", made["id"].as_str().unwrap());
        let tag = app.get(&path).await.header("etag").unwrap().to_owned();
        let headers = [("if-match", "\"another\""), ("if-match", &tag)];
        let token = Some(app.admin_token());
        app.send(Method::DELETE, &path, token, &headers, None).await.expect(204);
    }

    async fn a_proposal_is_decided_and_deleted_only_as_it_was_read(app: TestApp) {
        app.deliver(&Booking::new(1, "noor@example.com").created()).await.expect(200);
        let id = app.all("/api/proposals").await[0]["appointmentId"].as_str().unwrap().to_owned();
        let path = format!("/api/proposals/{id}");
        let read = app.get(&path).await.header("etag").unwrap().to_owned();
        app.patch(&path, &json!({ "title": "Call" })).await.expect(200);
        for (method, path) in [
            (Method::POST, format!("{path}/accept")), (Method::POST, format!("{path}/reject")),
            (Method::DELETE, path.clone()),
        ] {
            if_match(&app, method, &path, &read).await.problem(412, "precondition_failed");
        }
        let now = app.get(&path).await.header("etag").unwrap().to_owned();
        if_match(&app, Method::POST, &format!("{path}/accept"), &now).await.expect(200);
    }

    async fn json_that_is_no_object_is_422(app: TestApp) {
        for body in [&b"[]"[..], b"null", b"\"text\"", b"7"] {
            let reply = send_raw(&app, Method::POST, "/api/prospects", body.to_vec()).await;
            let problem = reply.problem(422, "validation_failed");
            assert_eq!(problem["errors"][0]["field"], "body");
        }
    }

    async fn malformed_json_is_400_and_tells_nothing_of_the_content(app: TestApp) {
        for body in [
            &b"{\"email\": \"secret@example.com\","[..], b"", b"  ", b"{'email': 1}", b"\xff\xfe",
            b"{\"email\":\"\xff@example.com\"}", b"{\"notes\":\"\\ud800\"}", b"{} {}", b"nonsense",
        ] {
            let reply = send_raw(&app, Method::POST, "/api/prospects", body.to_vec()).await;
            let problem = reply.problem(400, "malformed_json");
            assert!(!problem.to_string().contains("secret"), "{problem}");
        }
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        let deep = [&b"{\"notes\":"[..], &deep, b"}"].concat();
        let reply = send_raw(&app, Method::POST, "/api/prospects", deep).await;
        reply.problem(400, "malformed_json");
    }

    async fn every_fault_of_a_body_is_named_at_once(app: TestApp) {
        let body = json!({
            "email": "no address", "firstname": 7, "status": "open", "timezone": "Mars/Olympus",
            "notes": "a\u{0}b", "phone": "x".repeat(201), "ownerId": "me", "nickname": "N",
            "tracking": { "utmSource": 1, "utm_medium": "x" }, "id": "1", "company": "\u{1b}[2J",
        });
        let faults = app.post("/api/prospects", &body).await.faults();
        assert_eq!(faults, [
            "company", "email", "firstname", "id", "nickname", "notes", "ownerId", "phone",
            "status", "timezone", "tracking.utmSource", "tracking.utm_medium",
        ]);
        let made = app.prospect(app.admin_token(), "noor@example.com").await;
        let path = format!("/api/prospects/{}", made["id"].as_str().unwrap());
        let body = json!({ "email": null, "status": null, "source": "import", "a\u{0}b": 1 });
        let faults = app.patch(&path, &body).await.faults();
        assert_eq!(faults, ["a\u{0}b", "email", "source", "status"]);
        assert_eq!(app.get(&path).await.expect(200), made);
    }

    async fn of_very_many_unknown_fields_a_few_are_named(app: TestApp) {
        let many: serde_json::Map<_, _> = (0..50_000).map(|n| (format!("f{n}{}", "x".repeat(n % 200)), json!(1))).collect();
        let body = Value::from(many).to_string().into_bytes();
        assert!(body.len() > 1 << 20);
        let body = |bytes: usize| [&body[..bytes], b"\":1}"].concat();
        for path in ["/api/auth/login", "/api/auth/refresh"] {
            let reply = send_raw(&app, Method::POST, path, body(17 << 10)).await;
            reply.problem(413, "payload_too_large");
        }
        let reply = send_raw(&app, Method::POST, "/api/prospects", body(1_000_000)).await;
        let problem = reply.problem(422, "validation_failed");
        assert!(reply.bytes.len() < 16 << 10, "{}", reply.bytes.len());
        let faults = problem["errors"].as_array().unwrap();
        // And `email`, which is missing.
        assert_eq!(faults.len(), 21);
        assert!(faults[20]["message"].as_str().unwrap().contains("more"));
    }

    async fn what_is_blank_is_named(app: TestApp) {
        let prospect = app.prospect(app.admin_token(), "noor@example.com").await;
        let whole = json!({
            "prospectId": prospect["id"], "title": "Call", "timezone": "Europe/Amsterdam",
            "startTime": "2026-12-01T10:00:00Z", "endTime": "2026-12-01T10:30:00Z",
        });
        for field in ["prospectId", "title", "timezone", "startTime", "endTime"] {
            let mut blank = whole.clone();
            blank[field] = json!(" ");
            assert_eq!(app.post("/api/proposals", &blank).await.faults(), [field]);
        }
        for filter in [
            "prospects?status", "prospects?ownerId", "prospects?source", "prospects?sort",
            "proposals?status", "proposals?prospectId", "proposals?ownerId", "proposals?from",
            "proposals?to", "proposals?sort", "deliveries?status", "deliveries?event",
            "deliveries?since", "deliveries?until",
        ] {
            let name = filter.split_once('?').unwrap().1;
            assert_eq!(app.get(&format!("/api/{filter}=")).await.faults(), [name], "{filter}");
        }
    }

    async fn what_is_not_there_is_a_problem_too(app: TestApp) {
        for path in ["/api", "/api/nothing", "/nothing", "/assets/nothing.js", "/api/prospects/"] {
            app.get(path).await.problem(404, "not_found");
        }
        for path in ["/api/prospects/7", "/api/prospects/%00", "/api/prospects/%ff", "/api/proposals/x"] {
            app.get(path).await.problem(404, "not_found");
        }
        for (method, path, allowed) in [
            (Method::PUT, "/api/prospects", "GET HEAD POST"),
            (Method::DELETE, "/api/users", "GET HEAD POST"),
            (Method::GET, "/api/auth/login", "POST"),
            (Method::GET, "/webhooks/calendly", "POST"),
            (Method::POST, "/api/events", "GET HEAD"),
            (Method::PUT, "/api/proposals/x", "DELETE GET HEAD PATCH"),
        ] {
            let reply = app.send(method, path, Some(app.admin_token()), &[], None).await;
            reply.problem(405, "method_not_allowed");
            let allow = reply.header("allow").unwrap();
            let named: BTreeSet<&str> = allow.split(',').map(str::trim).collect();
            assert_eq!(named.into_iter().collect::<Vec<_>>().join(" "), allowed, "{path}");
        }
    }

    async fn a_body_of_1_mib_is_taken_and_a_byte_more_is_not(app: TestApp) {
        let mut body = json!({ "email": "noor@example.com" }).to_string().into_bytes();
        body.resize(MIB, b' ');
        send_raw(&app, Method::POST, "/api/prospects", body.clone()).await.expect(201);
        body.push(b' ');
        let reply = send_raw(&app, Method::POST, "/api/prospects", body).await;
        reply.problem(413, "payload_too_large");
        let mut body = Booking::new(1, "x@example.com").created().to_string().into_bytes();
        body.resize(MIB, b' ');
        assert_eq!(app.deliver_raw(body.clone(), 0).await.expect(200)["status"], "processed");
        body.push(b' ');
        app.deliver_raw(body, 0).await.problem(413, "payload_too_large");
        assert_eq!(app.all("/api/deliveries").await.len(), 1);
    }

    async fn a_body_of_another_kind_is_415(app: TestApp) {
        let token = app.admin_token();
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
            let request = Request::post("/api/prospects")
                .header("content-type", kind)
                .header("authorization", format!("Bearer {token}"));
            let reply = app.request(request.body(Body::from("{}")).unwrap()).await;
            reply.problem(415, "unsupported_media_type");
        }
        let request = Request::post("/api/prospects")
            .header("content-type", "Application/JSON; charset=utf-8")
            .header("authorization", format!("bearer {token}"));
        let body = json!({ "email": "noor@example.com" }).to_string();
        app.request(request.body(Body::from(body)).unwrap()).await.expect(201);
    }

    async fn an_internal_failure_tells_nothing_of_its_cause(app: TestApp) {
        app.database.execute("ALTER TABLE record_count RENAME TO gone").await;
        let ours = app.get("/api/prospects").await.problem(500, "internal");
        app.app.store.close(Duration::from_secs(5)).await;
        // A database that is away is nobody's mistake, and may be back soon.
        let reply = app.get("/api/events?since=0").await;
        assert_eq!(reply.header("retry-after"), Some("1"));
        for problem in [ours, reply.problem(503, "busy")] {
            let text = problem.to_string().to_lowercase();
            for word in ["pool", "sql", "closed", "postgres", "database", "count"] {
                assert!(!text.contains(word), "{text}");
            }
        }
        let body = Booking::new(1, "noor@example.com").created();
        assert!(app.deliver(&body).await.status.is_server_error());
    }

    async fn health_is_told_part_by_part(app: TestApp) {
        let get = |path: &'static str| app.send(Method::GET, path, None, &[], None);
        assert_eq!(get("/healthz").await.expect(200), json!({ "status": "ok" }));
        assert_eq!(get("/readyz").await.expect(200), json!({ "status": "ready" }));
        app.advance_ms(11_000);
        let loop_stands = get("/readyz").await;
        assert_eq!(loop_stands.problem(503, "not_ready")["errors"][0]["field"], "deliveryLoop");
        app.app.catch_up().await.unwrap();
        get("/readyz").await.expect(200);
        app.app.store.close(Duration::from_secs(5)).await;
        let database_gone = get("/readyz").await.problem(503, "not_ready");
        assert_eq!(database_gone["errors"][0]["field"], "database");
        assert_eq!(database_gone["errors"].as_array().unwrap().len(), 1);
        get("/healthz").await.expect(200);
    }
}

/// Answers a read that waits for a table, while the log goes on without touching it, and the head
/// of the log before.
async fn read_while_the_log_goes_on(app: &TestApp, table: &str, path: &str) -> (Reply, i64) {
    let head = app.head().await;
    let mut side = PgConnection::connect(&app.database.url).await.unwrap();
    let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
    let lock = sqlx::raw_sql(AssertSqlSafe(lock));
    lock.execute(&mut side).await.unwrap();
    let mut reading = pin!(app.get(path));
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while app.database.numbers(waiting).await != [1] {
        let answered = timeout(Duration::from_millis(20), &mut reading).await;
        assert!(answered.is_err(), "{path} does not read {table}");
    }
    let commit = "UPDATE event_log SET head_seq = head_seq + 1";
    app.database.execute(commit).await;
    sqlx::raw_sql("COMMIT").execute(&mut side).await.unwrap();
    (reading.await, head)
}

/// Else what is committed in between is neither in the answer nor after its number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_is_taken_before_what_it_stands_for_is_read() {
    let app = TestApp::postgres().await;
    let body = Booking::new(1, "noor@example.com").created();
    let receipt = app.deliver(&body).await.expect(200);
    let prospect = app.all("/api/prospects").await[0]["id"].clone();
    let proposal = app.all("/api/proposals").await[0]["appointmentId"].clone();
    let at = |path: &str, id: &Value| format!("{path}/{}", id.as_str().unwrap());
    for (table, path) in [
        ("prospect", "/api/prospects".to_owned()),
        ("prospect", at("/api/prospects", &prospect)),
        ("proposal", "/api/proposals".to_owned()),
        ("proposal", at("/api/proposals", &proposal)),
        ("proposal", "/api/statistics".to_owned()),
        ("delivery", "/api/deliveries".to_owned()),
        ("delivery", at("/api/deliveries", &receipt["deliveryId"])),
        ("record_count", "/api/prospects/counts".to_owned()),
        ("record_count", "/api/deliveries/counts".to_owned()),
        ("record_count", "/api/setup".to_owned()),
    ] {
        let (reply, head) = read_while_the_log_goes_on(&app, table, &path).await;
        reply.expect(200);
        let told = reply.header("bookbell-seq").unwrap();
        assert_eq!(told, head.to_string(), "{path}");
    }
}
