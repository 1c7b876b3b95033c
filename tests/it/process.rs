//! The program as its operator knows it: it starts, says where it is, stops, and keeps secrets.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Value, json};
use tokio::time::interval;

use crate::support::api::{Api, JWT_SECRET, PASSWORD};
use crate::support::app::{ADMIN, KEY};
use crate::support::database::Database;
use crate::support::load::post_long;
use crate::support::on_each_database;
use crate::support::payload::Booking;
use crate::support::server::{PATIENCE, Server, bookbell, finish, lasting_address, refusal};
use crate::support::subscriber::Subscriber;

on_each_database![
    the_greeting_says_where_it_is_and_what_is_to_do,
    a_generated_password_is_shown_once,
    a_generated_password_is_shown_as_json_where_the_log_is,
    a_second_start_goes_on_where_the_first_stopped,
    a_new_secret_ends_tokens_and_no_session,
    a_database_of_a_newer_version_is_refused_and_left_alone,
    sigterm_ends_it_whoever_is_connected_and_clients_come_back,
    what_is_refused_while_it_stops_is_counted,
    nothing_secret_is_logged,
];

async fn the_greeting_says_where_it_is_and_what_is_to_do(database: Database) {
    let engine = match database.url.split(':').next() {
        Some("sqlite") => "SQLite",
        _ => "Postgres",
    };
    let nothing_set = [("BOOKBELL_CALENDLY_SIGNING_KEYS", "")];
    let mut server = Server::start_with(database, &nothing_set);
    for path in ["/healthz", "/readyz"] {
        let reply = server.api().send(Method::GET, path, None, None).await;
        reply.expect(200);
    }
    let body = Booking::new(1, "noor@example.org").created();
    let refused = server.api().deliver(&body).await;
    refused.problem(401, "signature_mismatch");
    server.terminate();
    let url = server.url.clone();
    assert!(!url.ends_with(":0"));
    let greeting = server.greeting();
    assert_eq!(greeting[0], format!("listening on {url}"));
    let said = greeting.join("\n");
    for part in [&url, "/webhooks/calendly", engine] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for variable in ["BOOKBELL_CALENDLY_SIGNING_KEYS", "BOOKBELL_PUBLIC_URL"] {
        assert!(said.contains(&format!("set {variable}")), "{said}");
    }

    let all_set = [("BOOKBELL_PUBLIC_URL", "https://bookbell.example.com/")];
    let mut server = Server::start_with(server.database.clone(), &all_set);
    server.terminate();
    let said = server.greeting().join("\n");
    assert!(said.contains(" https://bookbell.example.com/webhooks/calendly"));
    assert!(!said.contains("to do"), "{said}");
}

async fn a_generated_password_is_shown_once(database: Database) {
    let unset = [
        ("BOOKBELL_ADMIN_PASSWORD", ""),
        ("BOOKBELL_ADMIN_EMAIL", "admin@bookbell.local"),
    ];
    let mut server = Server::start_with(database, &unset);
    let log = server.log();
    let (_, after) = log.split_once("with the password ").unwrap();
    let password = after.split_whitespace().next().unwrap();
    assert!(password.len() >= 12);
    server.api().sign_in("admin@bookbell.local", password).await;
    server.terminate();
    assert!(!server.greeting().join("\n").contains(password));
    server.restart();
    server.api().sign_in("admin@bookbell.local", password).await;
    server.terminate();
    assert_eq!(server.log().matches(password).count(), 1);
}

async fn a_generated_password_is_shown_as_json_where_the_log_is(database: Database) {
    let variables = [
        ("BOOKBELL_ADMIN_PASSWORD", ""),
        ("BOOKBELL_LOG_FORMAT", "json"),
        // It is no matter of what is logged.
        ("BOOKBELL_LOG", "error"),
    ];
    let mut server = Server::start_with(database, &variables);
    let log = server.log();
    let lines: Result<Vec<Value>, _> = log.lines().map(serde_json::from_str).collect();
    let lines = lines.unwrap_or_else(|error| panic!("{error}: {log}"));
    let shown: Vec<&Value> = lines.iter().filter(|l| l["password"].is_string()).collect();
    assert_eq!(shown.len(), 1, "{log}");
    let (email, password) = (&shown[0]["email"], &shown[0]["password"]);
    let (email, password) = (email.as_str().unwrap(), password.as_str().unwrap());
    assert!(
        shown[0]["message"]
            .as_str()
            .unwrap()
            .contains("only this once")
    );
    assert_eq!(log.matches(password).count(), 1);
    server.api().sign_in(email, password).await;
    server.terminate();
}

#[test]
fn an_invalid_setting_is_one_line_and_exit_code_2() {
    let wrong = [
        ("DATABASE_URL", "mysql://localhost/bookbell"),
        ("DATABASE_URL", "sqlite::memory:"),
        ("DATABASE_URL", "postgres://localhost:no-port/bookbell"),
        ("BOOKBELL_LISTEN", "everywhere"),
        ("BOOKBELL_PUBLIC_URL", "bookbell.example.com"),
        ("BOOKBELL_PUBLIC_URL", "https://example.com/bookbell"),
        (
            "BOOKBELL_PUBLIC_URL",
            "https://me:secret-of-mine@bookbell.example.com",
        ),
        ("BOOKBELL_JWT_SECRET", "too short to be a secret"),
        ("BOOKBELL_SIGNATURE_TOLERANCE_SECS", "three minutes"),
        ("BOOKBELL_SIGNATURE_TOLERANCE_SECS", "-1"),
        ("BOOKBELL_ADMIN_EMAIL", "admin"),
        ("BOOKBELL_ADMIN_PASSWORD", "tooshort"),
        ("BOOKBELL_CORS_ORIGINS", "https://a.example.com,nonsense"),
        ("BOOKBELL_CORS_ORIGINS", "https://*.example.com"),
        ("BOOKBELL_CORS_ORIGINS", "ftp://a.example.com"),
        ("BOOKBELL_SOCKET_PATH", "no-slash"),
        ("BOOKBELL_SOCKET_PATH", "/webhooks"),
        ("BOOKBELL_SOCKET_PATH", "/webhooks/calendly"),
        ("BOOKBELL_SOCKET_PATH", "/api/auth"),
        ("BOOKBELL_SOCKET_PATH", "/api/socketio/live"),
        ("BOOKBELL_SOCKET_PATH", "/metrics/live"),
        ("BOOKBELL_EVENT_RETENTION_DAYS", "0"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("BOOKBELL_LOG", "bookbell=loud=er"),
        ("BOOKBELL_LOG", "warning"),
        ("BOOKBELL_LOG", "info,bookbell"),
        ("BOOKBELL_LOG_FORMAT", "xml"),
    ];
    let folder = tempfile::TempDir::new().unwrap();
    let name_of = |variable: &str| {
        let name = variable.strip_prefix("BOOKBELL_").unwrap_or(variable);
        format!("--{}", name.to_lowercase().replace('_', "-"))
    };
    for (variable, value) in wrong {
        let flag = name_of(variable);
        let mut by_variable = bookbell();
        by_variable.arg("serve").env(variable, value);
        let mut by_flag = bookbell();
        by_flag.args(["serve", &format!("{flag}={value}")]);
        for mut command in [by_variable, by_flag] {
            let ended = finish(command.current_dir(folder.path()), "");
            let said = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(2), "{variable}={value}: {said}");
            assert_eq!(said.lines().count(), 1, "{variable}={value}: {said}");
            assert!(said.contains(variable), "{variable}={value}: {said}");
            assert!(ended.stdout.is_empty());
            let secret = ["BOOKBELL_JWT_SECRET", "BOOKBELL_ADMIN_PASSWORD"].contains(&variable);
            assert!(!secret || !said.contains(value), "{said}");
            assert!(!said.contains("secret-of-mine"), "{said}");
        }
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "something was made for nothing");
}

/// What README.md says of ending all sessions.
async fn a_new_secret_ends_tokens_and_no_session(database: Database) {
    let another = "another secret of thirty-two bytes or more";
    let mut server = Server::start_with(database, &[("BOOKBELL_JWT_SECRET", JWT_SECRET)]);
    let old = server.api().admin().await;
    server.terminate();
    let set = [("BOOKBELL_JWT_SECRET", another)];
    let mut server = Server::start_with(server.database.clone(), &set);
    let me = server.api().get("/api/auth/me", &old.token).await;
    me.problem(401, "token_invalid");
    let refresh = async |api: Api, token: &str| {
        let body = json!({ "refreshToken": token });
        let path = "/api/auth/refresh";
        api.send(Method::POST, path, None, Some(&body)).await
    };
    let new = refresh(server.api(), &old.refresh_token).await.expect(200);
    let (token, refresh_token) = (&new["token"], &new["refreshToken"]);
    let (token, refresh_token) = (token.as_str().unwrap(), refresh_token.as_str().unwrap());
    server.terminate();
    let end_all = "UPDATE session SET ended_ms = 1 WHERE ended_ms IS NULL";
    assert!(include_str!("../../README.md").contains(end_all));
    server.database.execute(end_all).await;
    server.restart();
    let me = server.api().get("/api/auth/me", token).await;
    me.problem(401, "token_invalid");
    refresh(server.api(), refresh_token).await.expect(401);
}

async fn a_second_start_goes_on_where_the_first_stopped(database: Database) {
    let mut server = Server::start(database);
    let admin = server.api().admin().await;
    let body = Booking::new(1, "noor@example.org").created();
    let first = server.api().deliver(&body).await.expect(200);
    assert_eq!(server.terminate().0, Some(0));
    server.restart();
    let api = server.api();
    // The secret of tokens was kept, so nobody has to sign in again.
    api.get("/api/auth/me", &admin.token).await.expect(200);
    let again = api.deliver(&body).await.expect(200);
    assert_eq!(again["status"], "duplicate");
    assert_eq!(again["deliveryId"], first["deliveryId"]);
    assert_eq!(api.events(&admin.token, 0).await.len(), 2);

    let address = server.url.trim_start_matches("http://");
    let url = format!(
        "sqlite://{}/other.db",
        server.database.folder.path().display()
    );
    let mut taken = bookbell();
    taken.args(["serve", "--listen", address, "--database-url", &url]);
    let ended = finish(&mut taken, "");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(said.lines().last().unwrap().contains(address), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_waits_stops_when_it_is_told_to() {
    let database = Database::sqlite();
    let folder = File::open(database.folder.path()).unwrap();
    folder.lock().unwrap();
    let mut server = Server::begin(None, database, &[]);
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(20));
    while !server.log().contains("waiting for it") {
        assert!(began.elapsed() < PATIENCE, "{}", server.log());
        ticks.tick().await;
    }
    assert_eq!(server.terminate().0, Some(0), "{}", server.log());
}

/// Its stdout is a disk that is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_to_read_what_it_prints() {
    let address = lasting_address();
    let listen = [("BOOKBELL_LISTEN", address.as_str())];
    let database = Database::sqlite();
    let mut server = Server::begin(Some("exec >/dev/full"), database, &listen);
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(20));
    while TcpStream::connect(&address).is_err() {
        assert!(began.elapsed() < PATIENCE, "{}", server.log());
        ticks.tick().await;
    }
    let api = Api::new(&format!("http://{address}"));
    let ready = api.send(Method::GET, "/readyz", None, None).await;
    ready.expect(200);
    assert_eq!(server.terminate().0, Some(0), "{}", server.log());
}

async fn a_database_of_a_newer_version_is_refused_and_left_alone(database: Database) {
    let mut server = Server::start(database);
    let admin = server.api().admin().await;
    let body = Booking::new(1, "noor@example.org").created();
    server.api().deliver(&body).await.expect(200);
    server.terminate();
    let database = server.database.clone();
    let newer = "INSERT INTO _sqlx_migrations \
        (version, description, success, checksum, execution_time) \
        SELECT 9999, 'from the future', success, checksum, 0 FROM _sqlx_migrations LIMIT 1";
    database.execute(newer).await;
    let file = database.folder.path().join("bookbell.db");
    let before = std::fs::read(&file).ok();

    let said = refusal(&database);
    assert!(said.contains("newer") && said.contains("9999"), "{said}");
    assert!(std::fs::read(&file).ok() == before);
    let undo = "DELETE FROM _sqlx_migrations WHERE version = 9999";
    database.execute(undo).await;
    server.restart();
    assert_eq!(server.api().events(&admin.token, 0).await.len(), 2);
}

#[test]
fn a_database_that_cannot_be_reached_is_said_to_be_so() {
    let mut database = Database::sqlite();
    // Nobody listens there.
    "postgres://bookbell@127.0.0.1:1/bookbell".clone_into(&mut database.url);
    let said = refusal(&database);
    assert_eq!(said.matches("refused").count(), 1, "{said}");
    assert!(said.starts_with("bookbell: the database failed"), "{said}");
}

async fn sigterm_ends_it_whoever_is_connected_and_clients_come_back(database: Database) {
    let mut server = Server::start_to_restart(database);
    let api = server.api();
    let admin = api.admin().await;
    let mut subscriber = Subscriber::start().await;
    let clients = [
        ("idle", "websocket"),
        ("polling", "polling"),
        ("stuck", "websocket"),
    ];
    for (id, transport) in clients {
        let options = json!({ "transports": [transport], "resume": true });
        subscriber
            .join(id, &server.url, &admin.token, options)
            .await;
    }
    subscriber.tell("stuck", "pause");
    post_long(&api, 100).await;
    for id in ["idle", "polling"] {
        subscriber.count(id, 200).await;
    }
    // And somebody who never finishes a request.
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut slow = TcpStream::connect(&address).unwrap();
    let half = b"POST /webhooks/calendly HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{";
    slow.write_all(half).unwrap();

    let (code, took) = server.terminate();
    assert_eq!(code, Some(0), "{}", server.log());
    assert!(took < Duration::from_secs(10), "{took:?}");
    server.restart();
    subscriber.tell("stuck", "unpause");
    let body = Booking::new(101, "noor@example.org").created();
    api.deliver(&body).await.expect(200);
    let log = api.events(&admin.token, 0).await;
    for (id, _) in clients {
        subscriber.count(id, 202).await;
        assert!(subscriber.events(id) == log, "{id}");
        let gone = subscriber.reports(id, "disconnect");
        assert!(!gone.is_empty(), "{id}");
        for gone in gone {
            assert_ne!(gone["reason"], "io server disconnect", "{id}");
        }
    }
}

/// A request that was under way when it was told to stop is finished, and counts as any other.
async fn what_is_refused_while_it_stops_is_counted(database: Database) {
    let mut server = Server::start_to_restart(database);
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let head = b"POST /webhooks/calendly HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\
        Expect: 100-continue\r\n\r\n";
    stream.write_all(head).unwrap();
    // It says so once it has begun to read the body.
    let mut begun = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut begun).unwrap();
    stream.write_all(b"{").unwrap();
    let answer = std::thread::spawn({
        let log = server.log_path();
        move || {
            // It takes no more connections then, and waits for this one.
            let deadline = Instant::now() + PATIENCE;
            while !std::fs::read_to_string(&log).unwrap().contains("stopping") {
                assert!(Instant::now() < deadline);
                std::thread::sleep(Duration::from_millis(5));
            }
            stream.write_all(b"}").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        }
    });
    let (code, _) = server.terminate();
    assert_eq!(code, Some(0), "{}", server.log());
    let answer = answer.join().unwrap();
    assert!(answer.contains("signature_missing"), "{answer}");
    server.restart();
    let api = server.api();
    let token = api.admin().await.token;
    let counts = api.get("/api/deliveries/counts", &token).await.expect(200);
    assert_eq!(counts["refused"]["signature_missing"], 1);
}

/// Sends requests that name people and secrets, good ones and bad ones.
async fn provoke(api: &Api, token: &str, refresh_token: &str, email: &str) {
    let requests = [
        (
            Method::POST,
            "/api/auth/login",
            json!({ "email": email, "password": "a-wrong-password" }),
        ),
        (
            Method::POST,
            "/api/auth/refresh",
            json!({ "refreshToken": refresh_token }),
        ),
        (
            Method::POST,
            "/api/auth/refresh",
            json!({ "refreshToken": refresh_token }),
        ),
        (Method::POST, "/api/prospects", json!({ "email": email })),
        (Method::POST, "/api/prospects", json!({ "email": email })),
        (
            Method::POST,
            "/api/prospects",
            json!({ "email": email, email: 1 }),
        ),
        (
            Method::GET,
            "/api/prospects?search=noor@example.org",
            Value::Null,
        ),
        (Method::GET, "/api/noor@example.org", Value::Null),
    ];
    for (method, path, body) in requests {
        let body = Some(&body).filter(|body| !body.is_null());
        api.send(method, path, Some(token), body).await;
    }
}

async fn nothing_secret_is_logged(database: Database) {
    let settings = [
        // As much as can be asked for, also by name of what sees everything.
        (
            "BOOKBELL_LOG",
            "trace,tungstenite::protocol=trace,hyper::proto=trace,sqlx::query=trace",
        ),
        ("BOOKBELL_LOG_FORMAT", "json"),
        ("BOOKBELL_JWT_SECRET", JWT_SECRET),
    ];
    let mut server = Server::start_with(database, &settings);
    let api = server.api();
    let admin = api.admin().await;
    let member = api.member(&admin, "amelie@example.com").await;
    let mut subscriber = Subscriber::start().await;
    for transport in ["polling", "websocket"] {
        let options = json!({ "transports": [transport] });
        subscriber
            .join(transport, &server.url, &admin.token, options)
            .await;
        let wrong = json!({ "auth": { "token": "a-wrong-token" }, "transports": [transport] });
        let id = format!("{transport} refused");
        subscriber.open(&id, &server.url, wrong);
        subscriber.report(&id, "connect_error").await;
    }
    let email = "noor@example.org";
    let body = Booking::new(1, email).created();
    let no_uri = json!({ "event": "invitee.created", "payload": { "email": email } });
    api.deliver(&body).await.expect(200);
    api.deliver(&no_uri).await.expect(202);
    let unsigned = api.signed_with("a-wrong-key", body.to_string().into_bytes());
    Api::try_send(unsigned).await.unwrap().expect(401);
    provoke(&api, &admin.token, &member.refresh_token, email).await;
    api.get("/api/auth/me", "a-wrong-token").await.expect(401);
    // From here on nothing works any more, and the log says why.
    server.database.execute("DROP TABLE event").await;
    let body = Booking::new(2, email).created();
    for _ in 0..2 {
        let failed = api.deliver(&body).await;
        assert!(failed.status.is_server_error());
        let said = String::from_utf8(failed.bytes).unwrap();
        assert!(!said.contains("event\""), "{said}");
    }
    api.get("/api/events?since=0", &admin.token).await;
    server.terminate();

    let log = server.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for level in ["DEBUG", "ERROR"] {
        assert!(lines.iter().any(|line| line["level"] == level), "{log}");
    }
    let secrets = [
        KEY,
        "a-wrong-key",
        ADMIN.1,
        PASSWORD,
        "a-wrong-password",
        JWT_SECRET,
        &admin.token,
        &admin.refresh_token,
        &member.token,
        &member.refresh_token,
        "a-wrong-token",
        "v1=",
        email,
        "calendly.com/cancellations",
        "calendly.com/reschedulings",
        "Fietsfabriek",
    ];
    for secret in secrets {
        let shown: Vec<&str> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(shown.is_empty(), "{secret}: {shown:#?}");
    }
}
