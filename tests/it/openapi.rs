//! The document that describes the API is true: its operations are those of the router, and real answers and
//! requests are as it says.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::support::app::ADMIN;
use crate::support::document::{Client, Document, METHODS, TEXT, filled};
use crate::support::on_both;
use crate::support::payload::Booking;

const ROUTES: &str = include_str!("../../src/http/mod.rs");

/// Refusals that [`refused`] knows how to earn.
const REFUSALS: [&str; 6] = ["400", "404", "412", "413", "415", "422"];

const NOWHERE: &str = "01a05bfb-7000-7b3e-9a7d-4c2f1160587e";
/// A request that is to be refused with one of [`REFUSALS`], where the operation knows it.
fn refused(status: &str, method: &Method, target: &str, token: &str) -> Request<Body> {
    let json = "application/json";
    let (suffix, kind, condition, body) = match status {
        "400" => ("", json, "*", "{".to_owned()),
        "404" => ("", json, "*", "{}".to_owned()),
        "412" => ("", json, "\"stale\"", "{}".to_owned()),
        "413" => ("", json, "*", " ".repeat((1 << 20) + 1)),
        "415" => ("", "text/plain", "*", "{}".to_owned()),
        _ => ("?nonsense=1", json, "*", "{\"nonsense\":1}".to_owned()),
    };
    let request = Request::builder()
        .method(method.clone())
        .uri(format!("{target}{suffix}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", kind)
        .header("if-match", condition);
    request.body(Body::from(body)).unwrap()
}

/// Calls `visit` with every object of the document.
fn walk<'a>(node: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    match node {
        Value::Object(fields) => {
            visit(node);
            fields.values().for_each(|inner| walk(inner, visit));
        }
        Value::Array(items) => items.iter().for_each(|inner| walk(inner, visit)),
        _ => {}
    }
}

/// An object whose every text of a described length has that many characters and `over` more; and how many those
/// are.
fn at_their_longest(document: &Document, schema: &Value, over: usize) -> (Value, usize) {
    let (mut object, mut count) = (json!({}), 0);
    let properties = document.resolve(schema)["properties"].as_object();
    for (name, property) in properties.into_iter().flatten() {
        let property = property["anyOf"].get(0).unwrap_or(property);
        let property = document.resolve(property);
        let length = property["maxLength"]
            .as_u64()
            .map(|n| usize::try_from(n).unwrap());
        let (value, texts) = match length {
            Some(length) => (json!("a".repeat(length + over)), 1),
            None => at_their_longest(document, property, over),
        };
        if texts > 0 {
            object[name] = value;
            count += texts;
        }
    }
    (object, count)
}

#[test]
fn every_route_is_described_and_no_other() {
    let routes: BTreeSet<String> = ROUTES
        .split(".route(")
        .skip(1)
        .map(|rest| rest.split('"').nth(1).unwrap().replace("{*", "{"))
        .collect();
    let document = Document::new();
    let described = document.0["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(routes, described);
}

#[test]
fn every_reference_resolves_and_every_component_is_used() {
    let document = Document::new();
    walk(&document.0, &mut |node| {
        assert!(!document.resolve(node).is_null());
    });
    for (kind, components) in document.0["components"].as_object().unwrap() {
        for name in components
            .as_object()
            .unwrap()
            .keys()
            .filter(|_| kind != "securitySchemes")
        {
            let reference = format!("\"#/components/{kind}/{name}\"");
            assert!(TEXT.contains(&reference), "{reference} is not used");
        }
    }
    let operations = document.operations();
    let ids: BTreeSet<&str> = operations
        .iter()
        .map(|(_, _, o)| o["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), operations.len());
}

#[test]
fn every_example_is_as_its_schema_says() {
    let document = Document::new();
    let mut checked = 0;
    let mut check = |schema: &Value, example: &Value| {
        assert_eq!(document.faults(schema, example), [""; 0], "{example}");
        checked += 1;
    };
    walk(&document.0, &mut |node| {
        if node["schema"].is_object() {
            if let Some(example) = node.get("example") {
                check(&node["schema"], example);
            }
            let examples = node["examples"].as_object().into_iter().flatten();
            examples.for_each(|(_, e)| check(&node["schema"], &document.resolve(e)["value"]));
        } else if let Some(examples) = node["examples"].as_array() {
            for example in examples {
                check(node, example);
            }
        }
    });
    assert!(checked > 100, "{checked}");
}

on_both! {
    async fn every_operation_is_there_and_no_other(app: TestApp) {
        let document = Document::new();
        for (path, item) in document.0["paths"].as_object().unwrap() {
            let target = filled(path, if path.starts_with("/assets") { "style.css" } else { NOWHERE });
            for method in METHODS {
                let described = item.get(method.as_str().to_lowercase()).is_some();
                let reply = app.send(method.clone(), &target, None, &[], None).await;
                if described {
                    assert!(![404, 405].contains(&reply.status.as_u16()), "{method} {path}");
                    document.check(&method, path, &reply);
                } else {
                    reply.problem(405, "method_not_allowed");
                }
            }
        }
        assert_eq!(app.get("/api/openapi.json").await.expect(200), document.0);
    }

    async fn refusals_are_as_described_and_described_ones_are_given(app: TestApp) {
        let document = Document::new();
        let (member_id, member) = app.member("amelie@example.com", None).await;
        let prospect = app.prospect(&member, "noor@example.com").await["id"].clone();
        app.deliver(&Booking::new(1, "x@example.com").created()).await.expect(200);
        let id = |items: Vec<Value>, field: &str| items[0][field].as_str().unwrap().to_owned();
        let ids = [
            ("/api/users", member_id), ("/api/prospects", prospect.as_str().unwrap().to_owned()),
            ("/api/proposals", id(app.all("/api/proposals").await, "appointmentId")),
            ("/api/deliveries", id(app.all("/api/deliveries").await, "id")),
        ];
        for (method, path, operation) in document.operations() {
            if ["/assets", "/webhooks", "/api/auth/logout"].iter().any(|p| path.starts_with(p)) {
                continue;
            }
            let known = ids.iter().find(|(list, _)| path.starts_with(list));
            let responses = &operation["responses"];
            for status in REFUSALS {
                if method == Method::DELETE && !["404", "412"].contains(&status) {
                    continue;
                }
                let id = if status == "404" { NOWHERE } else { known.map_or("", |(_, id)| id) };
                let request = refused(status, &method, &filled(path, id), app.admin_token());
                let reply = app.request(request).await;
                document.check(&method, path, &reply);
                let given = reply.status.as_str();
                assert!(given == status || responses[status].is_null(), "{method} {path} {given}");
            }
            if responses["403"]["$ref"] == "#/components/responses/AdminsOnly" {
                let target = filled(path, NOWHERE);
                let reply = app.send(method.clone(), &target, Some(&member), &[], None).await;
                reply.problem(403, "forbidden");
                document.check(&method, path, &reply);
            }
        }
    }

    async fn described_fields_and_parameters_are_those_the_program_knows(app: TestApp) {
        let document = Document::new();
        for (method, path, operation) in document.operations() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let fields = document.resolve(schema)["properties"].as_object();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let query = parameters.map(|p| document.resolve(p)).filter(|p| p["in"] == "query");
            let names: BTreeSet<String> =
                query.map(|p| p["name"].as_str().unwrap().to_owned()).collect();
            let target = filled(path, NOWHERE);
            let (names, reply) = match fields {
                Some(fields) if !path.starts_with("/webhooks") => {
                    let names: BTreeSet<String> = fields.keys().cloned().collect();
                    let body: Value = names.iter().map(|n| (n.clone(), json!([]))).collect();
                    let token = Some(app.admin_token());
                    (names, app.send(method.clone(), &target, token, &[], Some(&body)).await)
                }
                _ if !names.is_empty() => {
                    let query: Vec<String> = names.iter().map(|n| format!("{n}=%00")).collect();
                    let reply = app.get(&format!("{target}?{}", query.join("&"))).await;
                    (names, reply)
                }
                _ => continue,
            };
            assert_eq!(reply.faults().into_iter().collect::<BTreeSet<_>>(), names, "{path}");
            let told = reply.json().to_string();
            assert!(!told.contains("is not a known field"), "{method} {path}: {told}");
            document.check(&method, path, &reply);
        }
    }

    async fn described_lengths_are_those_the_program_takes(app: TestApp) {
        let document = Document::new();
        let mut checked = 0;
        for (method, path, operation) in document.operations() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            for over in [0, 1] {
                let (mut body, longest) = at_their_longest(&document, schema, over);
                if longest == 0 || path.starts_with("/webhooks") {
                    continue;
                }
                // So that no request is carried out, whatever else it holds.
                body["nonsense"] = json!(1);
                let token = Some(app.admin_token());
                let target = filled(path, NOWHERE);
                let told = app.send(method.clone(), &target, token, &[], Some(&body)).await;
                let told = told.problem(422, "validation_failed").to_string();
                assert_eq!(told.matches(" characters\"").count(), longest * over, "{path}: {told}");
                checked += longest;
            }
        }
        assert!(checked > 30, "{checked}");
    }

    async fn answers_about_sessions_and_users_are_as_described(app: TestApp) {
        let client = Client::new(&app);
        let (get, post) = (Method::GET, Method::POST);
        let right = json!({ "email": ADMIN.0, "password": ADMIN.1 });
        let session = client.send_as(None, post.clone(), "/api/auth/login", "", Some(right)).await;
        let wrong = json!({ "email": ADMIN.0, "password": "a wrong password" });
        for status in [401, 401, 401, 401, 401, 429] {
            let guess = Some(wrong.clone());
            let reply = client.send_as(None, post.clone(), "/api/auth/login", "", guess).await;
            assert_eq!(reply.status, status);
        }
        let old = json!({ "refreshToken": session.expect(200)["refreshToken"] });
        for (body, status) in [
            (None, 401), (Some(json!({ "refreshToken": "x" })), 401), (Some(old.clone()), 200),
            (Some(old), 401),
        ] {
            let reply = client.send_as(None, post.clone(), "/api/auth/refresh", "", body).await;
            assert_eq!(reply.status, status);
        }
        let mut user = json!({
            "email": "a@x.example", "name": "A", "role": "member", "password": "twelve chars",
            "calendlyUserUri": "https://calendly.example/a",
        });
        let made = client.send(post.clone(), "/api/users", "", Some(user.clone())).await.expect(201);
        client.send(post.clone(), "/api/users", "", Some(user.clone())).await.expect(409);
        user["email"] = json!("b@x.example");
        client.send(post.clone(), "/api/users", "", Some(user)).await.expect(409);
        let one = "/api/users/{id}";
        let id = made["id"].as_str().unwrap();
        let me = client.send(get.clone(), "/api/auth/me", "", None).await.expect(200);
        let last = me["id"].as_str().unwrap();
        client.send(get.clone(), "/api/users?limit=1", "", None).await.expect(200);
        client.send(get, one, id, None).await.expect(200);
        client.send(Method::PATCH, one, id, Some(json!({ "name": "B" }))).await.expect(200);
        let role = json!({ "role": "member" });
        client.send(Method::PATCH, one, last, Some(role)).await.expect(409);
        client.send(Method::DELETE, one, last, None).await.expect(409);
        client.send(Method::DELETE, one, id, None).await.expect(204);
        client.send(post, "/api/auth/logout", "", None).await.expect(204);
    }

    async fn answers_about_prospects_and_proposals_are_as_described(app: TestApp) {
        let client = Client::new(&app);
        let (get, post, change) = (Method::GET, Method::POST, Method::PATCH);
        let (list, one) = ("/api/prospects", "/api/prospects/{id}");
        let new = Some(json!({ "email": "noor@example.com", "tracking": { "utmTerm": "x" } }));
        let made = client.send(post.clone(), list, "", new.clone()).await.expect(201);
        let id = made["id"].as_str().unwrap();
        client.send(post.clone(), list, "", new).await.expect(409);
        client.send(get.clone(), one, id, None).await.expect(200);
        client.send(change.clone(), one, id, Some(json!({ "notes": "n" }))).await.expect(200);
        let (_, member) = app.member("amelie@example.com", None).await;
        let owned = Some(json!({ "email": "x@example.com", "ownerId": null }));
        client.send_as(Some(&member), post.clone(), list, "", owned).await.expect(403);
        let proposal = Some(json!({
            "prospectId": id, "title": "Visit", "timezone": "Europe/Warsaw",
            "startTime": "2026-12-06T10:00:00+02:00", "endTime": "2026-12-06T10:45:00+02:00",
            "location": { "kind": "physical" },
        }));
        client.send(post.clone(), "/api/proposals", "", proposal).await.expect(201);
        let bookings = [1, 2, 3].map(|n| Booking::new(n, "noor@example.com"));
        let (first, moved) = (bookings[0].clone().replaced_by(2), bookings[1].clone().replacing(1));
        for body in [
            bookings[0].created(), first.canceled(), moved.created(), moved.no_show(1),
            moved.no_show_removed(1), bookings[2].created(), bookings[2].canceled(),
        ] {
            app.deliver(&body).await.expect(200);
        }
        let one = "/api/proposals/{id}";
        client.send(get.clone(), "/api/prospects?limit=1&search=noor", "", None).await.expect(200);
        client.send(get.clone(), "/api/prospects/counts", "", None).await.expect(200);
        let listed = client.send(get.clone(), "/api/proposals?limit=3", "", None).await.items();
        for proposal in listed {
            let id = proposal["appointmentId"].as_str().unwrap();
            client.send(get.clone(), one, id, None).await.expect(200);
            client.send(change.clone(), one, id, Some(json!({ "title": "T" }))).await.expect(200);
            for verdict in ["accept", "accept", "reject", "reject"] {
                let path = format!("{one}/{verdict}");
                let reply = client.send(post.clone(), &path, id, None).await;
                let open = proposal["status"] == "pending";
                assert!(reply.status == 409 || open && reply.status == 200, "{}", reply.status);
            }
            client.send(Method::DELETE, one, id, None).await.expect(204);
        }
        client.send(Method::DELETE, "/api/prospects/{id}", id, None).await.expect(204);
        let events = client.send(get, "/api/events?limit=200", "", None).await.items();
        let names: BTreeSet<&str> = events.iter().map(|e| e["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 7, "{names:?}");
    }

    async fn answers_about_numbers_and_the_first_run_are_as_described(app: TestApp) {
        let client = Client::new(&app);
        let (get, post, samples) = (Method::GET, Method::POST, "/api/samples");
        client.send(get.clone(), "/api/statistics", "", None).await.expect(200);
        client.send(post.clone(), samples, "", None).await.expect(201);
        let times = Some(json!({ "samples": [31, 44.5] }));
        client.send(post, "/api/statistics/screen", "", times).await.expect(204);
        client.send(get.clone(), "/api/statistics?days=7", "", None).await.expect(200);
        client.send(get, "/api/setup", "", None).await.expect(200);
        client.send(Method::DELETE, samples, "", None).await.expect(204);
    }

    async fn answers_about_deliveries_events_and_health_are_as_described(app: TestApp) {
        let client = Client::new(&app);
        let (get, post, path) = (Method::GET, Method::POST, "/webhooks/calendly");
        let booking = Booking::new(1, "noor@example.com").created();
        let unhandled = json!({ "event": "event_type.created", "payload": { "uri": "x" } });
        let large = vec![b' '; (1 << 20) + 1];
        for (body, skew_s) in [
            (booking.to_string().into_bytes(), 0), (booking.to_string().into_bytes(), 0),
            (unhandled.to_string().into_bytes(), 0), (b"\xff".to_vec(), 0),
            (Booking::new(2, "x@example.com").created().to_string().into_bytes(), -999), (large, 0),
        ] {
            client.document.check(&post, path, &app.deliver_raw(body, skew_s).await);
        }
        for (path, signature) in [(path, None), (path, Some("x")), ("/webhooks/calendly/{connectionId}", None)] {
            let reply = app.post_webhook(&filled(path, NOWHERE), signature, Vec::new()).await;
            client.document.check(&post, path, &reply);
        }
        let one = "/api/deliveries/{id}";
        let listed = client.send(get.clone(), "/api/deliveries", "", None).await.items();
        assert_eq!(listed.len(), 7);
        for delivery in listed {
            let id = delivery["id"].as_str().unwrap();
            client.send(get.clone(), one, id, None).await.expect(200);
            client.send(post.clone(), &format!("{one}/replay"), id, None).await;
        }
        for dry_run in [true, false] {
            let body = Some(json!({ "dryRun": dry_run }));
            client.send(post.clone(), "/api/deliveries/replay", "", body).await.expect(200);
        }
        client.send(get.clone(), "/api/deliveries?limit=1", "", None).await.expect(200);
        client.send(get.clone(), "/api/deliveries/counts", "", None).await.expect(200);
        client.send(get.clone(), "/api/events?limit=1", "", None).await.expect(200);
        let events = client.send(get.clone(), "/api/events", "", None).await;
        assert!(events.items().iter().any(|event| event["name"] == "delivery-quarantined"));
        client.send(get.clone(), "/api/events?since=999", "", None).await.expect(410);
        client.send(get.clone(), "/healthz", "", None).await.expect(200);
        client.send(get.clone(), "/readyz", "", None).await.expect(200);
        app.advance_ms(11_000);
        client.send(get.clone(), "/readyz", "", None).await.expect(503);
        app.app.store.close(std::time::Duration::from_secs(5)).await;
        client.send(get, "/api/prospects", "", None).await.expect(503);
    }
}
