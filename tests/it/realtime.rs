//! Sockets as the official client sees them: who is let in, who hears what, and how it ends.

use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::api::{JWT_SECRET, PASSWORD, calendly_uri, now_s, resigned};
use crate::support::app::ADMIN;
use crate::support::database::Database;
use crate::support::load::post_long;
use crate::support::on_each_database;
use crate::support::payload::Booking;
use crate::support::process::open_sockets;
use crate::support::server::{PATIENCE, Server};
use crate::support::subscriber::Subscriber;

on_each_database![
    every_transport_path_and_place_for_the_token_connects,
    a_custom_path_stands_beside_the_fixed_one,
    strangers_are_refused_with_a_code,
    events_reach_the_owner_and_admins_and_nobody_else,
    a_socket_ends_when_its_token_expires,
    signing_out_ends_the_sockets_of_that_session_only,
    a_new_password_ends_the_users_sockets,
    a_reused_refresh_token_ends_the_sessions_sockets,
    what_a_client_may_send_is_bounded,
    a_client_that_stops_reading_holds_up_nobody_and_is_let_go,
];

/// The ways to connect, with the transport each ends on.
fn transports() -> [(&'static str, Value, &'static str); 3] {
    [
        ("polling", json!(["polling"]), "polling"),
        ("websocket", json!(["websocket"]), "websocket"),
        ("default", Value::Null, "websocket"),
    ]
}

fn without_nulls(mut options: Value) -> Value {
    let fields = options.as_object_mut().unwrap();
    fields.retain(|_, value| !value.is_null());
    options
}

/// A booking with this member.
fn booking_of(n: u32, member: &str) -> Value {
    let guest = format!("guest{n}@example.org");
    let booking = Booking::new(n, &guest).host(&calendly_uri(member), member);
    booking.created()
}

async fn every_transport_path_and_place_for_the_token_connects(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let head = api.head(&admin.token).await;
    let expected = json!({
        "userId": admin.id, "email": ADMIN.0, "role": "admin", "seq": head,
    });
    let mut subscriber = Subscriber::start().await;
    for path in [Value::Null, json!("/api/socketio")] {
        for (name, transports, last) in transports() {
            for in_header in [false, true] {
                let id = format!("{name} {path} {in_header}");
                let bearer = json!({ "Authorization": format!("Bearer {}", admin.token) });
                let options = without_nulls(json!({
                    "path": path,
                    "transports": transports,
                    "auth": if in_header { json!({}) } else { json!({ "token": admin.token }) },
                    "extraHeaders": if in_header { bearer } else { Value::Null },
                }));
                subscriber.open(&id, &server.url, options);
                let reached = subscriber
                    .wait(&id, "connection", |report| {
                        report["type"] == "connect" || report["type"] == "upgrade"
                    })
                    .await;
                if reached["type"] == "connect" && reached["transport"] != last {
                    let upgrade = subscriber.report(&id, "upgrade").await;
                    assert_eq!(upgrade["transport"], last);
                }
                // The upgrade may come before `connected` or after it.
                while subscriber.reports(&id, "event").is_empty() {
                    subscriber.connected(&id).await;
                }
                assert_eq!(subscriber.reports(&id, "event")[0]["payload"], expected);
            }
        }
    }
}

async fn a_custom_path_stands_beside_the_fixed_one(database: Database) {
    let server = Server::start_with(database, &[("BOOKBELL_SOCKET_PATH", "/live/ring")]);
    let admin = server.api().admin().await;
    let mut subscriber = Subscriber::start().await;
    for path in ["/live/ring", "/api/socketio"] {
        for (name, transports, _) in transports() {
            let options = without_nulls(json!({ "path": path, "transports": transports }));
            let id = format!("{name} {path}");
            subscriber
                .join(&id, &server.url, &admin.token, options)
                .await;
        }
    }
}

async fn strangers_are_refused_with_a_code(database: Database) {
    let server = Server::start_with(database, &[("BOOKBELL_JWT_SECRET", JWT_SECRET)]);
    let api = server.api();
    let (admin, gone) = (api.admin().await, api.admin().await);
    let left = api
        .send(Method::POST, "/api/auth/logout", Some(&gone.token), None)
        .await;
    left.expect(204);
    let past = resigned(&admin.token, |claims| claims["exp"] = json!(now_s() - 1));
    let nobody = resigned(&admin.token, |claims| claims["sid"] = json!("nobody"));
    let mut forged = admin.token.clone();
    forged.replace_range(..forged.find('.').unwrap(), "eyJhbGciOiJub25lIn0");
    let header = |token: &str| json!({ "extraHeaders": { "Authorization": token } });
    let cases = [
        (json!({}), "token_missing"),
        (json!({ "auth": { "token": null } }), "token_missing"),
        (header("Basic YTpi"), "token_missing"),
        (json!({ "auth": { "token": "nonsense" } }), "token_invalid"),
        (json!({ "auth": { "token": 7 } }), "token_invalid"),
        (json!({ "auth": { "token": forged } }), "token_invalid"),
        (json!({ "auth": { "token": nobody } }), "token_invalid"),
        (json!({ "auth": { "token": gone.token } }), "token_invalid"),
        (header("Bearer nonsense"), "token_invalid"),
        (json!({ "auth": { "token": past } }), "token_expired"),
        (header(&format!("Bearer {past}")), "token_expired"),
    ];
    let mut subscriber = Subscriber::start().await;
    for (options, code) in &cases {
        for (name, transports, _) in transports() {
            let id = format!("{name} {options}");
            let mut options = options.clone();
            options["transports"] = transports;
            subscriber.open(&id, &server.url, without_nulls(options));
            let refused = subscriber.report(&id, "connect_error").await;
            assert_eq!(refused["message"], *code, "{id}");
            // The stock client takes it for final.
            assert_eq!(refused["willRetry"], false, "{id}");
            assert!(subscriber.reports(&id, "event").is_empty(), "{id}");
        }
    }
}

async fn events_reach_the_owner_and_admins_and_nobody_else(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let amelie = api.member(&admin, "amelie@example.com").await;
    let kwame = api.member(&admin, "kwame@example.com").await;
    let mut subscriber = Subscriber::start().await;
    for (id, user) in [("admin", &admin), ("amelie", &amelie), ("kwame", &kwame)] {
        let hello = subscriber
            .join(id, &server.url, &user.token, json!({}))
            .await;
        assert_eq!(hello["userId"], user.id);
    }
    api.deliver(&booking_of(1, "amelie@example.com"))
        .await
        .expect(200);
    api.deliver(&Booking::new(2, "noor@example.org").created())
        .await
        .expect(200);
    let malformed = json!({ "event": "invitee.created", "payload": {} });
    api.deliver(&malformed).await.expect(202);
    api.deliver(&booking_of(3, "kwame@example.com"))
        .await
        .expect(200);
    let head = api.head(&admin.token).await;
    subscriber.reach("admin", head).await;
    subscriber.count("amelie", 2).await;
    subscriber.count("kwame", 2).await;

    let names = |id: &str| -> Vec<String> {
        let events = subscriber.events(id).into_iter();
        events.map(|event| event.name).collect()
    };
    let made = ["prospect:created", "proposal-created"];
    assert_eq!(names("amelie"), made);
    assert_eq!(names("kwame"), made);
    let all = [&made[..], &made, &["delivery-quarantined"], &made].concat();
    assert_eq!(names("admin"), all);
    // What is sent is what the log says, down to the id and the time, and nothing beside it.
    for (id, user) in [("admin", &admin), ("amelie", &amelie), ("kwame", &kwame)] {
        let events = subscriber.events(id);
        assert_eq!(events, api.events(&user.token, 0).await);
        assert!(events.iter().all(|event| event.at.ends_with('Z')));
        let reports = subscriber.reports(id, "event");
        assert!(reports.iter().all(|report| report["rest"].is_null()));
    }
    let sent = subscriber.events("amelie")[0].payload.clone();
    let path = format!("/api/prospects/{}", sent["id"].as_str().unwrap());
    assert_eq!(sent, api.get(&path, &amelie.token).await.expect(200));
}

/// Waits for the end of a client's session, and checks that it is told before it is cut off.
async fn session_ends(subscriber: &mut Subscriber, id: &str, code: &str) {
    let ended = subscriber.event(id, "session-ended").await;
    assert_eq!(ended, json!({ "code": code }), "{id}");
    let gone = subscriber.report(id, "disconnect").await;
    assert_eq!(gone["reason"], "io server disconnect", "{id}");
}

/// Connects on both transports.
async fn join_both(subscriber: &mut Subscriber, server: &Server, name: &str, token: &str) {
    for transport in ["polling", "websocket"] {
        let id = format!("{name} {transport}");
        let options = json!({ "transports": [transport] });
        subscriber.join(&id, &server.url, token, options).await;
    }
}

async fn both_end(subscriber: &mut Subscriber, name: &str, code: &str) {
    for transport in ["polling", "websocket"] {
        session_ends(subscriber, &format!("{name} {transport}"), code).await;
    }
}

async fn a_socket_ends_when_its_token_expires(database: Database) {
    let server = Server::start_with(database, &[("BOOKBELL_JWT_SECRET", JWT_SECRET)]);
    let admin = server.api().admin().await;
    let expires_s = now_s() + 3;
    let short = resigned(&admin.token, |claims| claims["exp"] = json!(expires_s));
    let mut subscriber = Subscriber::start().await;
    join_both(&mut subscriber, &server, "short", &short).await;
    join_both(&mut subscriber, &server, "long", &admin.token).await;
    both_end(&mut subscriber, "short", "token_expired").await;
    assert!(now_s() >= expires_s, "it ended before its time");
    subscriber.tell("short polling", "connect");
    let refused = subscriber.report("short polling", "connect_error").await;
    assert_eq!(refused["message"], "token_expired");
    assert!(
        subscriber
            .reports("long websocket", "disconnect")
            .is_empty()
    );
}

async fn signing_out_ends_the_sockets_of_that_session_only(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let (here, there) = (api.admin().await, api.admin().await);
    let mut subscriber = Subscriber::start().await;
    join_both(&mut subscriber, &server, "here", &here.token).await;
    join_both(&mut subscriber, &server, "there", &there.token).await;
    let left = api
        .send(Method::POST, "/api/auth/logout", Some(&here.token), None)
        .await;
    left.expect(204);
    both_end(&mut subscriber, "here", "logged_out").await;
    subscriber.tell("here websocket", "connect");
    let refused = subscriber.report("here websocket", "connect_error").await;
    assert_eq!(refused["message"], "token_invalid");

    api.deliver(&Booking::new(1, "noor@example.org").created())
        .await
        .expect(200);
    for id in ["there polling", "there websocket"] {
        subscriber.count(id, 2).await;
    }
    assert!(subscriber.events("here polling").is_empty());
}

async fn a_new_password_ends_the_users_sockets(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let member = api.member(&admin, "amelie@example.com").await;
    let mut subscriber = Subscriber::start().await;
    join_both(&mut subscriber, &server, "admin", &admin.token).await;
    join_both(&mut subscriber, &server, "member", &member.token).await;
    let changed = json!({ "password": "a password that is new" });
    let path = format!("/api/users/{}", member.id);
    api.patch(&path, &admin.token, &changed).await.expect(200);
    both_end(&mut subscriber, "member", "session_revoked").await;
    assert!(subscriber.reports("admin polling", "disconnect").is_empty());

    let again = api
        .sign_in("amelie@example.com", "a password that is new")
        .await;
    join_both(&mut subscriber, &server, "again", &again.token).await;
    let gone = api
        .send(Method::DELETE, &path, Some(&admin.token), None)
        .await;
    gone.expect(204);
    both_end(&mut subscriber, "again", "session_revoked").await;
}

async fn a_reused_refresh_token_ends_the_sessions_sockets(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let member = api.member(&admin, "amelie@example.com").await;
    let elsewhere = api.sign_in("amelie@example.com", PASSWORD).await;
    let mut subscriber = Subscriber::start().await;
    join_both(&mut subscriber, &server, "stolen", &member.token).await;
    join_both(&mut subscriber, &server, "elsewhere", &elsewhere.token).await;
    let body = json!({ "refreshToken": member.refresh_token });
    let refresh = || api.send(Method::POST, "/api/auth/refresh", None, Some(&body));
    let renewed = refresh().await.expect(200);
    refresh().await.problem(401, "refresh_token_reused");
    both_end(&mut subscriber, "stolen", "session_revoked").await;
    let token = renewed["token"].as_str().unwrap();
    let me = api.get("/api/auth/me", token).await;
    me.problem(401, "token_invalid");
    let untouched = subscriber.reports("elsewhere polling", "disconnect");
    assert!(untouched.is_empty());
}

async fn what_a_client_may_send_is_bounded(database: Database) {
    let server = Server::start(database);
    let admin = server.api().admin().await;
    let mut subscriber = Subscriber::start().await;
    for transport in ["polling", "websocket"] {
        let options = json!({ "transports": [transport], "reconnection": false });
        subscriber
            .join(transport, &server.url, &admin.token, options)
            .await;
        subscriber.emit(transport, "much", &json!(["much".repeat(20_000)]));
        subscriber.report(transport, "disconnect").await;
    }
}

async fn a_client_that_stops_reading_holds_up_nobody_and_is_let_go(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let mut subscriber = Subscriber::start().await;
    join_both(&mut subscriber, &server, "reader", &admin.token).await;
    let before = open_sockets(server.pid());
    let options = json!({ "transports": ["websocket"], "resume": true });
    subscriber
        .join("stuck", &server.url, &admin.token, options)
        .await;
    let held: Vec<String> = open_sockets(server.pid())
        .difference(&before)
        .cloned()
        .collect();
    assert_eq!(held.len(), 1);
    subscriber.tell("stuck", "pause");
    post_long(&api, 150).await;
    let posted = Instant::now();
    for id in ["reader polling", "reader websocket"] {
        subscriber.count(id, 300).await;
    }
    // They have everything while the stuck one is still waited for.
    assert!(
        held.iter()
            .all(|one| open_sockets(server.pid()).contains(one))
    );

    // Nothing reports that a file was closed but the list of them.
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while held
        .iter()
        .any(|one| open_sockets(server.pid()).contains(one))
    {
        assert!(posted.elapsed() < PATIENCE, "{held:?} are still open");
        ticks.tick().await;
    }
    assert!(posted.elapsed() < Duration::from_secs(30));
    subscriber.tell("stuck", "unpause");
    subscriber.count("stuck", 300).await;
    assert_eq!(
        subscriber.events("stuck"),
        api.events(&admin.token, 0).await
    );
    let reasons = subscriber.reports("stuck", "disconnect");
    assert_ne!(reasons[0]["reason"], "io server disconnect");
}
