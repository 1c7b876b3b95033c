//! Users as admins manage them, and what becomes of the records of one who leaves.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::{ADMIN, Reply, TestApp};
use crate::support::on_both;
use crate::support::payload::Booking;

const NOWHERE: &str = "/api/users/01a05bfb-7000-7b3e-9a7d-4c2f1160587e";
const HOST: &str = "https://api.calendly.com/users/amelie";

fn new_user(email: &str) -> Value {
    json!({ "email": email, "name": "Amélie", "role": "member", "password": "twelve chars" })
}

async fn login(app: &TestApp, email: &str, password: &str) -> Reply {
    let body = json!({ "email": email, "password": password });
    app.send(Method::POST, "/api/auth/login", None, &[], Some(&body))
        .await
}

async fn admin_path(app: &TestApp) -> String {
    let me = app.get("/api/auth/me").await.expect(200);
    format!("/api/users/{}", me["id"].as_str().unwrap())
}

on_both! {
    async fn only_admins_manage_users(app: TestApp) {
        let (id, member) = app.member("amelie@example.com", None).await;
        let path = format!("/api/users/{id}");
        for (method, path, body) in [
            (Method::GET, "/api/users", None),
            (Method::POST, "/api/users", Some(new_user("x@example.com"))),
            (Method::GET, path.as_str(), None),
            (Method::PATCH, path.as_str(), Some(json!({ "role": "admin" }))),
            (Method::DELETE, path.as_str(), None),
            (Method::GET, NOWHERE, None),
        ] {
            let reply = app.send(method.clone(), path, None, &[], body.as_ref()).await;
            reply.problem(401, "token_missing");
            let reply = app.send(method, path, Some(&member), &[], body.as_ref()).await;
            reply.problem(403, "forbidden");
        }
        assert_eq!(app.all("/api/users").await.len(), 2);
    }

    async fn a_user_that_is_not_there_is_404(app: TestApp) {
        for path in [NOWHERE, "/api/users/7", "/api/users/%00"] {
            app.get(path).await.problem(404, "not_found");
            app.patch(path, &json!({ "name": "X" })).await.problem(404, "not_found");
            app.delete(path).await.problem(404, "not_found");
        }
    }

    async fn a_user_is_made_read_changed_and_deleted(app: TestApp) {
        let mut body = new_user("Amelie@Example.com");
        body["calendlyUserUri"] = json!(HOST);
        let made = app.post("/api/users", &body).await;
        let user = made.expect(201);
        let id = user["id"].as_str().unwrap();
        assert_eq!(user, json!({
            "id": id, "email": "Amelie@Example.com", "name": "Amélie", "role": "member",
            "calendlyUserUri": HOST, "createdAt": "2026-11-20T08:00:00.000Z",
            "updatedAt": "2026-11-20T08:00:00.000Z",
        }));
        let path = made.header("location").unwrap();
        assert_eq!(path, format!("/api/users/{id}"));
        let read = app.get(path).await;
        assert_eq!(read.expect(200), user);
        assert_eq!(read.header("etag"), made.header("etag"));

        app.advance_ms(1000);
        let change = json!({ "name": "Amélie Durand", "calendlyUserUri": null });
        let changed = app.patch(path, &change).await;
        assert_ne!(changed.header("etag"), made.header("etag"));
        let changed = changed.expect(200);
        assert_eq!(changed["name"], "Amélie Durand");
        assert_eq!(changed["calendlyUserUri"], Value::Null);
        assert_eq!(changed["updatedAt"], "2026-11-20T08:00:01.000Z");
        assert_eq!(changed["createdAt"], user["createdAt"]);
        assert_eq!(app.get(path).await.expect(200), changed);

        assert_eq!(app.delete(path).await.expect(204), Value::Null);
        app.get(path).await.problem(404, "not_found");
        app.delete(path).await.problem(404, "not_found");
    }

    async fn a_password_has_12_characters_or_more_and_is_never_shown(app: TestApp) {
        let mut body = new_user("amelie@example.com");
        for wrong in [json!("eleven char"), json!(null), json!(123_456_789_012_i64), json!("")] {
            body["password"] = wrong;
            assert_eq!(app.post("/api/users", &body).await.faults(), ["password"]);
        }
        body["password"] = json!("éééééééééééé");
        let made = app.post("/api/users", &body).await;
        made.expect(201);
        assert!(!String::from_utf8_lossy(&made.bytes).contains("assword"));
        let path = made.header("location").unwrap();
        let short = app.patch(path, &json!({ "password": "eleven char" })).await;
        assert_eq!(short.faults(), ["password"]);
        login(&app, "amelie@example.com", "éééééééééééé").await.expect(200);
    }

    async fn every_fault_of_a_user_is_named(app: TestApp) {
        let faults = app.post("/api/users", &json!({ "nickname": "A" })).await.faults();
        assert_eq!(faults, ["email", "name", "nickname", "password", "role"]);
        let change = json!({ "email": "a@b@c", "name": " ", "role": "owner", "id": "x" });
        let path = admin_path(&app).await;
        assert_eq!(app.patch(&path, &change).await.faults(), ["email", "id", "name", "role"]);
    }

    async fn an_address_and_a_calendly_uri_belong_to_one_user(app: TestApp) {
        app.member("amelie@example.com", Some(HOST)).await;
        let (other, _) = app.member("kwame@example.com", None).await;
        let other = format!("/api/users/{other}");
        let twice = app.post("/api/users", &new_user("AMELIE@example.com")).await;
        twice.problem(409, "email_taken");
        let twice = app.patch(&other, &json!({ "email": "Amelie@example.com" })).await;
        twice.problem(409, "email_taken");
        let mut body = new_user("x@example.com");
        body["calendlyUserUri"] = json!(HOST);
        app.post("/api/users", &body).await.problem(409, "calendly_user_taken");
        let twice = app.patch(&other, &json!({ "calendlyUserUri": HOST })).await;
        twice.problem(409, "calendly_user_taken");
        app.patch(&other, &json!({ "email": "KWAME@example.com" })).await.expect(200);
    }

    async fn a_calendly_uri_is_an_address_on_the_web(app: TestApp) {
        let mut body = new_user("amelie@example.com");
        let long = format!("https://api.calendly.com/users/{}", "a".repeat(500));
        for wrong in ["AAAA", "api.calendly.com/users/AAAA", "https://", "http://é", "https://a b", &long] {
            body["calendlyUserUri"] = json!(wrong);
            assert_eq!(app.post("/api/users", &body).await.faults(), ["calendlyUserUri"], "{wrong}");
        }
        body["calendlyUserUri"] = json!(&long[..500]);
        app.post("/api/users", &body).await.expect(201);
    }

    async fn the_last_admin_cannot_be_removed(app: TestApp) {
        let path = admin_path(&app).await;
        app.delete(&path).await.problem(409, "last_admin");
        app.patch(&path, &json!({ "role": "member" })).await.problem(409, "last_admin");
        let mut second = new_user("second@example.com");
        second["role"] = json!("admin");
        app.post("/api/users", &second).await.expect(201);
        app.patch(&path, &json!({ "role": "member" })).await.expect(200);
        // The session goes with the rights it began with, also that of whoever asks.
        app.get("/api/users").await.problem(401, "token_invalid");
        let reply = login(&app, "second@example.com", "twelve chars").await.expect(200);
        let token = reply["token"].as_str().unwrap();
        app.delete_as(token, &path).await.expect(204);
        let me = app.get_as(token, "/api/auth/me").await.expect(200);
        let path = format!("/api/users/{}", me["id"].as_str().unwrap());
        app.delete_as(token, &path).await.problem(409, "last_admin");
    }

    async fn of_two_admins_who_remove_each_other_one_stays(app: TestApp) {
        let mut second = new_user("second@example.com");
        second["role"] = json!("admin");
        let made = app.post("/api/users", &second).await;
        let paths = [admin_path(&app).await, made.header("location").unwrap().to_owned()];
        let (a, b) = tokio::join!(app.delete(&paths[0]), app.delete(&paths[1]));
        let gone = [a, b].iter().filter(|reply| reply.status == 204).count();
        assert_eq!(gone, 1);
    }

    async fn a_new_password_ends_the_sessions_of_its_user(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", None).await;
        let body = json!({ "password": "another password" });
        app.patch(&format!("/api/users/{id}"), &body).await.expect(200);
        app.get_as(&token, "/api/auth/me").await.problem(401, "token_invalid");
        let old = login(&app, "amelie@example.com", "a member's password").await;
        old.problem(401, "invalid_credentials");
        login(&app, "amelie@example.com", "another password").await.expect(200);
    }

    async fn an_admins_own_new_password_keeps_the_session_that_asked(app: TestApp) {
        let elsewhere = app.sign_in(ADMIN.0, ADMIN.1).await;
        let path = admin_path(&app).await;
        app.patch(&path, &json!({ "password": "another password" })).await.expect(200);
        app.get("/api/auth/me").await.expect(200);
        app.get_as(&elsewhere, "/api/auth/me").await.problem(401, "token_invalid");
    }

    async fn a_new_role_ends_the_sessions_of_its_user(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", None).await;
        let path = format!("/api/users/{id}");
        app.patch(&path, &json!({ "role": "member", "name": "A" })).await.expect(200);
        app.get_as(&token, "/api/auth/me").await.expect(200);
        app.patch(&path, &json!({ "role": "admin" })).await.expect(200);
        app.get_as(&token, "/api/auth/me").await.problem(401, "token_invalid");
        let token = app.sign_in("amelie@example.com", "a member's password").await;
        app.get_as(&token, "/api/users").await.expect(200);
    }

    async fn a_deleted_user_is_signed_out(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", None).await;
        app.delete(&format!("/api/users/{id}")).await.expect(204);
        app.get_as(&token, "/api/auth/me").await.problem(401, "token_invalid");
        let gone = login(&app, "amelie@example.com", "a member's password").await;
        gone.problem(401, "invalid_credentials");
        app.member("amelie@example.com", None).await;
    }

    async fn a_user_is_changed_only_as_it_was_read(app: TestApp) {
        let made = app.post("/api/users", &new_user("amelie@example.com")).await;
        let path = made.header("location").unwrap();
        let read = [("if-match", made.header("etag").unwrap())];
        let token = Some(app.admin_token());
        let name = json!({ "name": "A" });
        app.send(Method::PATCH, path, token, &read, Some(&name)).await.expect(200);
        let stale = app.send(Method::PATCH, path, token, &read, Some(&name)).await;
        stale.problem(412, "precondition_failed");
        let stale = app.send(Method::DELETE, path, token, &read, None).await;
        stale.problem(412, "precondition_failed");
        app.send(Method::DELETE, path, token, &[("if-match", "*")], None).await.expect(204);
    }

    async fn users_are_listed_oldest_first(app: TestApp) {
        for email in ["b@example.com", "a@example.com"] {
            app.post("/api/users", &new_user(email)).await.expect(201);
        }
        let emails: Vec<Value> =
            app.all("/api/users").await.into_iter().map(|user| user["email"].clone()).collect();
        assert_eq!(emails, [ADMIN.0, "b@example.com", "a@example.com"]);
        let page = app.get("/api/users?limit=2").await.expect(200);
        assert_eq!(page["total"], 3);
        let cursor = page["nextCursor"].as_str().unwrap();
        let rest = app.get(&format!("/api/users?limit=2&cursor={cursor}")).await.expect(200);
        assert_eq!(rest["items"][0]["email"], "a@example.com");
        assert_eq!(rest["nextCursor"], Value::Null);
    }

    async fn prospects_of_a_deleted_user_become_nobodys(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", Some(HOST)).await;
        let booking = Booking::new(1, "noor@example.com").host(HOST, "x@example.com");
        app.deliver(&booking.created()).await.expect(200);
        let by_hand = app.prospect(&token, "ibrahim@example.org").await;
        let since = app.head().await;
        app.delete(&format!("/api/users/{id}")).await.expect(204);

        let prospects = app.all("/api/prospects?ownerId=none").await;
        assert_eq!(prospects.len(), 2);
        let proposals = app.all("/api/proposals?ownerId=none").await;
        assert_eq!(proposals.len(), 1);
        let heard = app.heard(app.admin_token(), since).await;
        let names: Vec<&str> = heard.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["prospect:updated", "prospect:updated"]);
        assert!(heard.iter().all(|(_, prospect)| prospect["ownerId"] == Value::Null));

        app.deliver(&booking.canceled()).await.expect(200);
        let proposals = app.all("/api/proposals").await;
        assert_eq!(proposals.len(), 1);
        assert_eq!(proposals[0]["status"], "canceled");
        assert_eq!(app.all("/api/prospects").await.len(), 2);
        app.get(&format!("/api/prospects/{}", by_hand["id"].as_str().unwrap())).await.expect(200);
    }

    async fn a_deleted_users_prospect_joins_nobodys_with_its_address(app: TestApp) {
        let (id, _) = app.member("amelie@example.com", Some(HOST)).await;
        let booking = Booking::new(1, "noor@example.com").host(HOST, "x@example.com");
        app.deliver(&booking.created()).await.expect(200);
        let left = app.all("/api/prospects").await.remove(0);
        let stays = app.prospect(app.admin_token(), "NOOR@example.com").await;
        let since = app.head().await;
        app.delete(&format!("/api/users/{id}")).await.expect(204);

        let prospects = app.all("/api/prospects").await;
        assert_eq!(prospects.len(), 1);
        assert_eq!(prospects[0]["id"], stays["id"]);
        assert_eq!(prospects[0]["email"], "NOOR@example.com");
        let proposals = app.all("/api/proposals").await;
        assert_eq!(proposals.len(), 1);
        assert_eq!(proposals[0]["prospectId"], stays["id"]);
        assert_eq!(proposals[0]["ownerId"], Value::Null);
        let heard = app.heard(app.admin_token(), since).await;
        let moved = heard.iter().find(|(name, _)| name == "proposal-updated").unwrap();
        assert_eq!(moved.1, proposals[0]);
        let gone = heard.iter().find(|(name, _)| name == "prospect:deleted").unwrap();
        assert_eq!(gone.1, json!({ "id": left["id"] }));

        app.deliver(&booking.canceled()).await.expect(200);
        let proposals = app.all("/api/proposals").await;
        assert_eq!((proposals.len(), &proposals[0]["status"]), (1, &json!("canceled")));
        assert_eq!(app.all("/api/prospects").await.len(), 1);
    }

    async fn a_joined_prospect_knows_the_latest_booking(app: TestApp) {
        let (id, _) = app.member("amelie@example.com", Some(HOST)).await;
        let booking = Booking::new(1, "noor@example.com").host(HOST, "x@example.com");
        app.deliver(&booking.created()).await.expect(200);
        let booked = app.all("/api/prospects").await[0]["lastBookingAt"].clone();
        app.prospect(app.admin_token(), "noor@example.com").await;
        app.delete(&format!("/api/users/{id}")).await.expect(204);
        assert_eq!(app.all("/api/prospects").await[0]["lastBookingAt"], booked);
    }
}
