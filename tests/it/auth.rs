//! Signing in and out: sessions, their tokens, the refresh cookie, and guessing slowed down.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bookbell::app::{App, Settings};
use bookbell::domain::ids::UuidV7;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use tower::ServiceExt;

use crate::support::app::{ADMIN, Reply, TestApp};
use crate::support::on_both;
use crate::support::server::PATIENCE;

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;

async fn login(app: &TestApp, email: &str, password: &str) -> Reply {
    let body = json!({ "email": email, "password": password });
    app.send(Method::POST, "/api/auth/login", None, &[], Some(&body))
        .await
}

async fn session(app: &TestApp) -> (String, String) {
    let body = login(app, ADMIN.0, ADMIN.1).await.expect(200);
    (text(&body["token"]), text(&body["refreshToken"]))
}

async fn refresh(app: &TestApp, token: &str) -> Reply {
    let body = json!({ "refreshToken": token });
    app.send(Method::POST, "/api/auth/refresh", None, &[], Some(&body))
        .await
}

/// A refresh with the cookie and these headers, without a body.
async fn refresh_by_cookie(app: &TestApp, cookie: &str, headers: &[(&str, &str)]) -> Reply {
    let cookie = format!("theme=dark; bookbell_refresh={cookie}");
    let headers = [&[("cookie", cookie.as_str())], headers].concat();
    app.send(Method::POST, "/api/auth/refresh", None, &headers, None)
        .await
}

/// A wrong guess from an address.
async fn guess_from(app: &TestApp, email: &str, address: [u8; 4]) -> Reply {
    guess_by(app, email, address, &[]).await
}

/// A wrong guess by way of others, as each line of `X-Forwarded-For` has it.
async fn guess_by(app: &TestApp, email: &str, peer: [u8; 4], forwarded: &[&str]) -> Reply {
    let mut request = login_request(email, "a wrong password", peer);
    for line in forwarded {
        let line = line.parse().unwrap();
        request.headers_mut().append("x-forwarded-for", line);
    }
    app.request(request).await
}

/// The admin signs in from an address.
async fn admin_from(app: &TestApp, address: [u8; 4]) -> Reply {
    app.request(login_request(ADMIN.0, ADMIN.1, address)).await
}

fn login_request(email: &str, password: &str, peer: [u8; 4]) -> Request<Body> {
    let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::from(peer)), 40_000);
    let body = json!({ "email": email, "password": password }).to_string();
    Request::post("/api/auth/login")
        .header("content-type", "application/json")
        .extension(ConnectInfo(peer))
        .body(Body::from(body))
        .unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

on_both! {
    async fn signing_in_answers_tokens_and_the_user(app: TestApp) {
        let reply = login(&app, "ADMIN@Example.com", ADMIN.1).await;
        let body = reply.expect(200);
        let mut keys: Vec<&String> = body.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["expiresAt", "refreshToken", "token", "user"]);
        assert_eq!(body["expiresAt"], "2026-11-20T09:00:00.000Z");
        assert_eq!(body["user"]["email"], ADMIN.0);
        assert_eq!(body["user"]["role"], "admin");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let me = app.get_as(body["token"].as_str().unwrap(), "/api/auth/me").await;
        assert_eq!(me.expect(200), body["user"]);
        assert!(me.header("etag").is_some() && me.header("bookbell-seq").is_some());
    }

    async fn a_known_and_an_unknown_address_get_the_same_answer(app: TestApp) {
        let known = login(&app, ADMIN.0, "a wrong password").await;
        let unknown = login(&app, "nobody@example.com", "a wrong password").await;
        known.problem(401, "invalid_credentials");
        assert_eq!(known.bytes, unknown.bytes);
        assert_eq!(known.headers, unknown.headers);
    }

    async fn a_log_in_names_every_fault(app: TestApp) {
        let post = |body: Value| {
            let app = &app;
            async move { app.send(Method::POST, "/api/auth/login", None, &[], Some(&body)).await }
        };
        assert_eq!(post(json!({ "otp": "1" })).await.faults(), ["email", "otp", "password"]);
        let body = json!({ "email": null, "password": 12 });
        assert_eq!(post(body).await.faults(), ["email", "password"]);
    }

    async fn a_password_is_taken_as_it_is_spaces_and_all(app: TestApp) {
        let password = "  spaces around\tand a tab within \u{1} ";
        let body = json!({
            "email": "noor@example.com", "name": "Noor", "role": "member", "password": password,
        });
        app.post("/api/users", &body).await.expect(201);
        login(&app, "noor@example.com", password.trim()).await.problem(401, "invalid_credentials");
        login(&app, "noor@example.com", password).await.expect(200);
    }

    async fn the_refresh_token_is_also_a_strict_http_only_cookie(app: TestApp) {
        let reply = login(&app, ADMIN.0, ADMIN.1).await;
        let cookie = reply.header("set-cookie").unwrap().to_owned();
        let mut parts: Vec<&str> = cookie.split("; ").collect();
        let value = format!("bookbell_refresh={}", text(&reply.json()["refreshToken"]));
        assert_eq!(parts.remove(0), value);
        assert_eq!(parts, ["Path=/api/auth", "Max-Age=2592000", "HttpOnly", "SameSite=Strict"]);
        let again = refresh(&app, &text(&reply.json()["refreshToken"])).await;
        let value = format!("bookbell_refresh={};", text(&again.expect(200)["refreshToken"]));
        assert!(again.header("set-cookie").unwrap().starts_with(&value));
    }

    async fn the_cookie_is_secure_behind_https(app: TestApp) {
        let public_url = "https://bookbell.example".to_owned();
        let settings = Settings { public_url, ..app.app.settings.clone() };
        let (store, clock) = (app.app.store.clone(), app.clock.clone());
        let node = App::new(store, settings, clock, std::sync::Arc::new(UuidV7::new())).await;
        let body = json!({ "email": ADMIN.0, "password": ADMIN.1 }).to_string();
        let request = Request::post("/api/auth/login").body(Body::from(body)).unwrap();
        let reply = bookbell::http::router(node.unwrap().0).oneshot(request).await.unwrap();
        let cookie = reply.headers()["set-cookie"].to_str().unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    }

    async fn tokens_of_one_moment_differ(app: TestApp) {
        let (token, refresh_token) = session(&app).await;
        let second = refresh(&app, &refresh_token).await.expect(200);
        assert_ne!(text(&second["token"]), token);
        // Both are of the one session, and one of an earlier version is too.
        let mut earlier = claims(&token);
        earlier.as_object_mut().unwrap().remove("jti").unwrap();
        let key = EncodingKey::from_secret(app.app.settings.jwt_secret.expose().as_bytes());
        let earlier = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &earlier, &key).unwrap();
        for token in [token, earlier, text(&second["token"])] {
            app.get_as(&token, "/api/auth/me").await.expect(200);
        }
    }

    async fn refreshing_rotates_the_tokens(app: TestApp) {
        let (_, first) = session(&app).await;
        app.advance_ms(1000);
        let second = refresh(&app, &first).await.expect(200);
        assert_ne!(second["refreshToken"], first);
        assert_eq!(second["user"]["email"], ADMIN.0);
        assert_eq!(second["expiresAt"], "2026-11-20T09:00:01.000Z");
        app.get_as(&text(&second["token"]), "/api/auth/me").await.expect(200);
        refresh(&app, &text(&second["refreshToken"])).await.expect(200);
    }

    async fn a_reused_refresh_token_ends_the_session(app: TestApp) {
        let (_, first) = session(&app).await;
        let second = refresh(&app, &first).await.expect(200);
        refresh(&app, &first).await.problem(401, "refresh_token_reused");
        let me = app.get_as(&text(&second["token"]), "/api/auth/me").await;
        me.problem(401, "token_invalid");
        let dead = refresh(&app, &text(&second["refreshToken"])).await;
        dead.problem(401, "refresh_token_invalid");
        app.get("/api/auth/me").await.expect(200);
    }

    async fn of_two_refreshes_at_once_one_wins(app: TestApp) {
        let (_, token) = session(&app).await;
        let (a, b) = tokio::join!(refresh(&app, &token), refresh(&app, &token));
        let mut statuses = [a.status.as_u16(), b.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401]);
    }

    async fn refresh_takes_the_cookie_from_the_same_origin_only(app: TestApp) {
        let (_, token) = session(&app).await;
        let ours = ("host", "bookbell.test");
        for foreign in [
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
            vec![ours, ("origin", "https://evil.example")],
            vec![ours, ("origin", "http://bookbell.test.evil.example")],
            vec![ours, ("origin", "null")],
        ] {
            let reply = refresh_by_cookie(&app, &token, &foreign).await;
            reply.problem(401, "refresh_token_missing");
        }
        let mut token = token;
        for same in [
            vec![("sec-fetch-site", "same-origin")],
            vec![ours, ("origin", "http://bookbell.test")],
            vec![],
        ] {
            let reply = refresh_by_cookie(&app, &token, &same).await;
            token = text(&reply.expect(200)["refreshToken"]);
        }
    }

    async fn the_body_comes_before_the_cookie(app: TestApp) {
        let (_, good) = session(&app).await;
        let cookie = format!("bookbell_refresh={good}");
        let body = json!({ "refreshToken": "not one of ours" });
        let headers = [("cookie", cookie.as_str())];
        let path = "/api/auth/refresh";
        let reply = app.send(Method::POST, path, None, &headers, Some(&body)).await;
        reply.problem(401, "refresh_token_invalid");
        let reply = app.send(Method::POST, path, None, &headers, Some(&json!({}))).await;
        reply.expect(200);
    }

    async fn refreshing_without_a_token_is_refused(app: TestApp) {
        let reply = app.send(Method::POST, "/api/auth/refresh", None, &[], None).await;
        reply.problem(401, "refresh_token_missing");
        let body = json!({ "refreshToken": 7, "token": "x" });
        let reply = app.send(Method::POST, "/api/auth/refresh", None, &[], Some(&body)).await;
        assert_eq!(reply.faults(), ["refreshToken", "token"]);
    }

    async fn logging_out_ends_this_session_and_no_other(app: TestApp) {
        let (token, refresh_token) = session(&app).await;
        let reply = app.send(Method::POST, "/api/auth/logout", Some(&token), &[], None).await;
        assert_eq!(reply.expect(204), Value::Null);
        let cookie = reply.header("set-cookie").unwrap();
        assert!(cookie.starts_with("bookbell_refresh=; "), "{cookie}");
        assert!(cookie.contains("; Max-Age=0;"), "{cookie}");
        app.get_as(&token, "/api/auth/me").await.problem(401, "token_invalid");
        refresh(&app, &refresh_token).await.problem(401, "refresh_token_invalid");
        app.get("/api/auth/me").await.expect(200);
    }

    async fn a_call_without_a_token_is_token_missing(app: TestApp) {
        for header in [None, Some("Basic YWRtaW46eA=="), Some("Bearer "), Some("Bearer")] {
            let headers: Vec<_> = header.iter().map(|value| ("authorization", *value)).collect();
            let reply = app.send(Method::GET, "/api/auth/me", None, &headers, None).await;
            reply.problem(401, "token_missing");
            assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
        let reply = app.send(Method::POST, "/api/auth/logout", None, &[], None).await;
        reply.problem(401, "token_missing");
    }

    async fn a_token_that_is_not_ours_is_token_invalid(app: TestApp) {
        let real = app.admin_token();
        let claims = claims(real);
        let secret = app.app.settings.jwt_secret.expose().as_bytes();
        let sign = |algorithm, secret: &[u8], claims: &Value| {
            let key = EncodingKey::from_secret(secret);
            jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
        };
        let mut stranger = claims.clone();
        stranger["sub"] = json!("01a05bfb-7000-7b3e-9a7d-4c2f1160587e");
        let mut other_session = claims.clone();
        other_session["sid"] = json!("01a05bfb-7000-7b3e-9a7d-4c2f1160587e");
        let mut endless = claims.clone();
        endless.as_object_mut().unwrap().remove("exp");
        let parts: Vec<&str> = real.split('.').collect();
        let none = URL_SAFE_NO_PAD.encode(br#"{"alg":"none","typ":"JWT"}"#);
        let forged = [
            "garbage".to_owned(),
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            sign(Algorithm::HS256, b"another secret of thirty-two bytes", &claims),
            sign(Algorithm::HS256, b"", &claims),
            sign(Algorithm::HS512, secret, &claims),
            sign(Algorithm::HS256, secret, &stranger),
            sign(Algorithm::HS256, secret, &other_session),
            sign(Algorithm::HS256, secret, &endless),
        ];
        for token in forged {
            app.get_as(&token, "/api/auth/me").await.problem(401, "token_invalid");
        }
        let same = sign(Algorithm::HS256, secret, &claims);
        app.get_as(&same, "/api/auth/me").await.expect(200);
    }

    async fn an_expired_token_is_told_apart_and_can_be_refreshed(app: TestApp) {
        let (token, refresh_token) = session(&app).await;
        app.advance_ms(HOUR_MS - 1);
        app.get_as(&token, "/api/auth/me").await.expect(200);
        app.advance_ms(1);
        app.get_as(&token, "/api/auth/me").await.problem(401, "token_expired");
        let fresh = refresh(&app, &refresh_token).await.expect(200);
        app.get_as(&text(&fresh["token"]), "/api/auth/me").await.expect(200);
    }

    async fn a_session_lasts_30_days_after_its_last_refresh(app: TestApp) {
        let (_, mut token) = session(&app).await;
        for _ in 0..2 {
            app.advance_ms(30 * DAY_MS - 1);
            token = text(&refresh(&app, &token).await.expect(200)["refreshToken"]);
        }
        app.advance_ms(30 * DAY_MS);
        refresh(&app, &token).await.problem(401, "refresh_token_invalid");
    }

    async fn guessing_an_account_is_slowed_whether_it_is_there_or_not(app: TestApp) {
        let mut answers = Vec::new();
        for email in [ADMIN.0, "nobody@example.com"] {
            for n in 0..5 {
                let guess = guess_from(&app, email, [10, 0, 0, n]).await;
                guess.problem(401, "invalid_credentials");
            }
            let slowed = guess_from(&app, &email.to_uppercase(), [10, 0, 0, 9]).await;
            slowed.problem(429, "too_many_attempts");
            assert_eq!(slowed.header("retry-after"), Some("1"));
            answers.push(slowed.bytes);
        }
        assert_eq!(answers[0], answers[1]);
        login(&app, ADMIN.0, ADMIN.1).await.problem(429, "too_many_attempts");
    }

    async fn whoever_waits_may_try_again_and_a_success_forgives(app: TestApp) {
        for _ in 0..5 {
            login(&app, ADMIN.0, "a wrong password").await.problem(401, "invalid_credentials");
        }
        login(&app, ADMIN.0, ADMIN.1).await.problem(429, "too_many_attempts");
        app.advance_ms(1000);
        login(&app, ADMIN.0, "a wrong password").await.problem(401, "invalid_credentials");
        let longer = login(&app, ADMIN.0, ADMIN.1).await;
        longer.problem(429, "too_many_attempts");
        assert_eq!(longer.header("retry-after"), Some("2"));
        app.advance_ms(2000);
        login(&app, ADMIN.0, ADMIN.1).await.expect(200);
        login(&app, ADMIN.0, "a wrong password").await.problem(401, "invalid_credentials");
    }

    async fn who_guesses_keeps_nobody_out_of_where_they_signed_in_before(app: TestApp) {
        let (home, other) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        admin_from(&app, home).await.expect(200);
        for n in 0..5 {
            let guess = guess_from(&app, ADMIN.0, [10, 0, 1, n]).await;
            guess.problem(401, "invalid_credentials");
        }
        admin_from(&app, other).await.problem(429, "too_many_attempts");
        admin_from(&app, home).await.expect(200);
        // Which forgives nothing that was guessed elsewhere.
        admin_from(&app, other).await.problem(429, "too_many_attempts");
    }

    async fn guessing_from_an_address_is_slowed_whatever_the_accounts(app: TestApp) {
        for n in 0..20 {
            let email = format!("{n}@example.com");
            let guess = guess_from(&app, &email, [10, 0, 0, 1]).await;
            guess.problem(401, "invalid_credentials");
        }
        let slowed = guess_from(&app, ADMIN.0, [10, 0, 0, 1]).await;
        slowed.problem(429, "too_many_attempts");
        assert!(slowed.header("retry-after").is_some());
        let elsewhere = guess_from(&app, ADMIN.0, [10, 0, 0, 2]).await;
        elsewhere.problem(401, "invalid_credentials");
    }

    async fn behind_a_proxy_who_guesses_is_whom_the_proxy_names_last(app: TestApp) {
        for (proxy, near) in [([127, 0, 0, 1], 1), ([192, 168, 7, 7], 2), ([172, 16, 0, 1], 3)] {
            let by = |n: u32, last: String| {
                let (spoofed, email) = (format!("9.9.9.{n}"), format!("{near}-{n}@example.com"));
                let app = &app;
                // What stands before the last was written by the client, in one line or several.
                let lines = if n.is_multiple_of(2) {
                    vec![format!("{spoofed}, {last}")]
                } else {
                    vec![spoofed, last]
                };
                async move {
                    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                    guess_by(app, &email, proxy, &lines).await
                }
            };
            for n in 0..20 {
                by(n, format!("8.8.8.{near}")).await.problem(401, "invalid_credentials");
            }
            by(20, format!("8.8.8.{near}")).await.problem(429, "too_many_attempts");
            by(21, format!("8.8.8.{near}:1024")).await.problem(429, "too_many_attempts");
            by(22, format!("8.8.4.{near}")).await.problem(401, "invalid_credentials");
            by(23, format!("8.8.4.{near}:1024")).await.problem(401, "invalid_credentials");
            by(24, format!("[2001:db8::{near}]:1024")).await.problem(401, "invalid_credentials");
        }
    }

    async fn from_anywhere_else_nobody_is_believed_to_stand_behind(app: TestApp) {
        for (peer, n) in [([203, 0, 113, 1], 1), ([172, 32, 0, 1], 2)] {
            for guess in 0..20 {
                let (email, other) = (format!("{n}-{guess}@example.com"), format!("8.8.{n}.{guess}"));
                let reply = guess_by(&app, &email, peer, &[&other]).await;
                reply.problem(401, "invalid_credentials");
            }
            let slowed = guess_by(&app, "last@example.com", peer, &["8.8.8.8"]).await;
            slowed.problem(429, "too_many_attempts");
        }
    }

    async fn who_comes_when_too_many_sign_in_is_turned_away_and_has_not_guessed(app: TestApp) {
        let late = "late@example.com";
        let crowd = (0..64).map(|n| format!("{n}@example.com"));
        let all = crowd.chain(std::iter::repeat_n(late.to_owned(), 6));
        let guesses = all.map(|email| {
            let app = &app;
            async move { login(app, &email, "a wrong password").await }
        });
        let replies = futures_util::future::join_all(guesses).await;
        let (crowd, turned_away) = replies.split_at(64);
        for reply in crowd {
            reply.problem(401, "invalid_credentials");
        }
        for reply in turned_away {
            reply.problem(503, "busy");
        }
        for _ in 0..5 {
            login(&app, late, "a wrong password").await.problem(401, "invalid_credentials");
        }
    }

    async fn many_guesses_at_once_do_not_slip_through(app: TestApp) {
        let guesses = (0..12).map(|_| login(&app, "nobody@example.com", "a wrong password"));
        let replies = futures_util::future::join_all(guesses).await;
        let tried = replies.iter().filter(|reply| reply.status == 401).count();
        assert_eq!(tried, 5);
        assert!(replies.iter().all(|reply| [401, 429].contains(&reply.status.as_u16())));
    }
}

#[tokio::test]
async fn who_signs_in_while_the_password_is_being_changed_is_not_let_in() {
    let app = TestApp::postgres().await;
    let mut change = PgConnection::connect(&app.database.url).await.unwrap();
    let begin = "BEGIN; UPDATE app_user SET password_hash = 'another'";
    sqlx::raw_sql(begin).execute(&mut change).await.unwrap();
    let mut signing_in = pin!(login(&app, ADMIN.0, ADMIN.1));
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while app.database.numbers(waiting).await != [1] {
        let moment = Duration::from_millis(20);
        let answered = timeout(moment, &mut signing_in).await;
        assert!(answered.is_err(), "it waits for nobody");
    }
    sqlx::raw_sql("COMMIT").execute(&mut change).await.unwrap();
    signing_in.await.problem(401, "invalid_credentials");
}

#[tokio::test]
async fn a_made_up_refresh_token_waits_for_nobody_who_writes() {
    let app = TestApp::sqlite().await;
    let writing = app.app.store.begin().await.unwrap();
    let refused = timeout(PATIENCE, refresh(&app, "not one of ours")).await;
    refused.unwrap().problem(401, "refresh_token_invalid");
    drop(writing);
}
