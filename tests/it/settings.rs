//! What an operator sets does what README.md says of it.

use std::time::Duration;

use axum::http::Method;
use bookbell::domain::ids::Id;
use tokio::time::{Instant, sleep};

use crate::support::api::{Api, now_s};
use crate::support::app::KEY;
use crate::support::database::Database;
use crate::support::payload::Booking;
use crate::support::server::{PATIENCE, Server, bookbell, finish};

#[test]
fn a_flag_goes_before_its_variable() {
    let folder = tempfile::TempDir::new().unwrap();
    let told = |flag: &str, variable: &str| {
        let mut command = bookbell();
        command.args(["serve", "--listen", flag]);
        // What is looked at next is wrong too, so that it ends in any case.
        command.env("BOOKBELL_LISTEN", variable);
        command.args(["--public-url", "nonsense"]);
        let ended = finish(command.current_dir(folder.path()), "");
        String::from_utf8(ended.stderr).unwrap()
    };
    let wrong_flag = told("everywhere", "127.0.0.1:0");
    assert!(wrong_flag.contains("`everywhere`"), "{wrong_flag}");
    let wrong_variable = told("127.0.0.1:0", "everywhere");
    assert!(
        wrong_variable.contains("BOOKBELL_PUBLIC_URL"),
        "{wrong_variable}"
    );
}

/// The headers that tell a browser whether a page of this origin may have the answer.
async fn allowed(api: &Api, method: Method, path: &str, origin: &str) -> [Option<String>; 2] {
    let mut request = api.request(method.clone(), path).header("Origin", origin);
    if method == Method::OPTIONS {
        request = request.header("Access-Control-Request-Method", "PATCH");
        request = request.header("Access-Control-Request-Headers", "authorization,if-match");
    }
    let reply = Api::try_send(request).await.unwrap();
    assert!(reply.status.is_success(), "{path}: {}", reply.status);
    let header = |name: &str| reply.header(name).map(ToOwned::to_owned);
    [
        header("access-control-allow-origin"),
        header("access-control-allow-credentials"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_pages_of_the_origins_that_are_set_may_call() {
    const OURS: &str = "https://app.example.com";
    let set = [(
        "BOOKBELL_CORS_ORIGINS",
        "https://app.example.com, http://b.test:81",
    )];
    let server = Server::start_with(Database::sqlite(), &set);
    let nothing_set = Server::start(Database::sqlite());
    let calls = [
        (Method::OPTIONS, "/api/prospects"),
        (Method::GET, "/healthz"),
        (Method::GET, "/socket.io/?EIO=4&transport=polling"),
        (Method::GET, "/api/socketio/?EIO=4&transport=polling"),
    ];
    for (method, path) in calls {
        let api = server.api();
        for origin in [OURS, "http://b.test:81"] {
            let [told, credentials] = allowed(&api, method.clone(), path, origin).await;
            assert_eq!(told.as_deref(), Some(origin), "{method} {path}");
            assert_eq!(credentials.as_deref(), Some("true"), "{method} {path}");
        }
        for origin in ["https://evil.example.com", "http://app.example.com", "null"] {
            let [told, _] = allowed(&api, method.clone(), path, origin).await;
            assert_eq!(told, None, "{method} {path} {origin}");
        }
        if method == Method::GET {
            let [told, _] = allowed(&nothing_set.api(), method, path, OURS).await;
            assert_eq!(told, None, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_may_be_as_old_as_is_set() {
    let set = [("BOOKBELL_SIGNATURE_TOLERANCE_SECS", "5")];
    let narrow = Server::start_with(Database::sqlite(), &set);
    let set = [("BOOKBELL_SIGNATURE_TOLERANCE_SECS", "3600")];
    let wide = Server::start_with(Database::sqlite(), &set);
    let body = Booking::new(1, "noor@example.org").created();
    for (server, age_s, status) in [(narrow, 10, 202), (wide, 1000, 200)] {
        let body = body.to_string().into_bytes();
        let signed = server.api().signed_at(now_s() - age_s, KEY, body);
        Api::try_send(signed).await.unwrap().expect(status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_bodies_are_kept_as_long_as_is_set() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let set = [
        ("BOOKBELL_EVENT_RETENTION_DAYS", "3"),
        ("BOOKBELL_DELIVERY_RETENTION_DAYS", "5"),
    ];
    let mut server = Server::start_with(Database::sqlite(), &set);
    let database = server.database.clone();
    let now_ms = now_s() * 1000;
    let id_of = |days: i64| {
        let bound = Id::bound(now_ms - days * DAY_MS);
        format!("{bound}-7000-8000-000000000001")
    };
    for (n, days) in [(1, 6), (2, 4), (3, 2)] {
        let body = Booking::new(n, &format!("{n}@example.org")).created();
        let receipt = server.api().deliver(&body).await.expect(200);
        let delivery = receipt["deliveryId"].as_str().unwrap();
        let age = format!(
            "UPDATE event SET at_ms = at_ms - {} WHERE seq > {};
             UPDATE delivery SET id = '{}' WHERE id = '{delivery}'",
            days * DAY_MS,
            2 * (n - 1),
            id_of(days),
        );
        database.execute(&age).await;
    }
    server.terminate();
    server.restart();
    let admin = server.api().admin().await;
    let body = async |days: i64| {
        let path = format!("/api/deliveries/{}", id_of(days));
        server.api().get(&path, &admin.token).await.expect(200)["body"].clone()
    };
    let deadline = Instant::now() + PATIENCE;
    while body(6).await.is_string() {
        assert!(Instant::now() < deadline, "nothing is forgotten");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(body(4).await.is_string() && body(2).await.is_string());
    let kept = database.numbers("SELECT seq FROM event ORDER BY seq").await;
    assert_eq!(kept, [5, 6]);
}
