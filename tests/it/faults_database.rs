//! The database in trouble: what cannot be kept is not answered 2xx, the operator is told, and
//! all goes on by itself once the trouble is over.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Method;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tokio::time::{Instant, interval, sleep, timeout};

use crate::support::api::{Api, now_s};
use crate::support::app::{ADMIN, KEY, Reply};
use crate::support::cluster::Cluster;
use crate::support::database::Database;
use crate::support::faults::{Audience, People, expect_nothing_lost};
use crate::support::load::booking;
use crate::support::on_each_database;
use crate::support::preload::library;
use crate::support::proxy::Proxy;
use crate::support::scrape::Scrape;
use crate::support::sender::{Sender, WORKERS};
use crate::support::server::{PATIENCE, Server, refusal};
use crate::support::soak::{Chance, Rounds, rate};
use crate::support::subscriber::{Script, Subscriber};
use crate::support::variable;

on_each_database![a_migration_that_fails_half_way_leaves_nothing_behind];

async fn readiness(server: &Server) -> Reply {
    server.api().send(Method::GET, "/readyz", None, None).await
}

/// Waits until the server says that it is ready, or that it is not.
async fn until_ready(server: &Server, ready: bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = interval(Duration::from_millis(50));
    loop {
        let reply = readiness(server).await;
        if (reply.status == 200) == ready {
            return reply.json();
        }
        assert!(Instant::now() < deadline, "{}", reply.json());
        ticks.tick().await;
    }
}

/// What the trouble must look like from outside: nothing is answered 2xx, and that is said.
async fn expect_trouble(server: &Server, sender: &Sender) {
    sender.fail(WORKERS).await;
    let said = until_ready(server, false).await;
    assert_eq!(said["code"], "not_ready");
    assert_eq!(said["errors"][0]["field"], "database");
    let scraped = server.api().get("/metrics", "").await;
    Scrape::read(std::str::from_utf8(&scraped.bytes).unwrap())
        .expect(&[("bookbell_ready{part=\"database\"}", 0.0)]);
    let before = sender.acknowledged();
    sender.fail(WORKERS).await;
    // What was kept before is still said to be.
    assert_eq!(sender.acknowledged(), before, "something new was taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_restarted_under_load_loses_nothing() {
    let mut cluster = Cluster::start().await;
    let mut chance = Chance::new();
    let server = Server::start(cluster.database());
    let people = People::of(&server.api()).await;
    let mut audience = Audience::join(&server.url, &people).await;
    let sender = Sender::start(&[server.api()], &chance, rate());
    for () in Rounds::new(2) {
        sender
            .advance(40 + usize::try_from(chance.below(40)).unwrap())
            .await;
        cluster.stop(chance.below(2) == 0);
        expect_trouble(&server, &sender).await;
        cluster.resume().await;
        until_ready(&server, true).await;
    }
    sender.advance(40).await;
    expect_nothing_lost(sender, &server, &people, &mut audience).await;
    expect_said(
        &server,
        &[
            "shutting down",
            "administrator command",
            "refused",
            "closed",
            "reset",
            "Broken pipe",
            "not yet accepting",
            "starting up",
        ],
    );
}

/// The operator is told, in one line for each batch, what it is about and why.
#[track_caller]
fn expect_said(server: &Server, causes: &[&str]) {
    let log = server.log();
    let said = log.lines().filter(|line| line.contains("ERROR"));
    let said: Vec<&str> = said
        .filter(|line| line.contains("takes no deliveries"))
        .collect();
    let names_one = |line: &&str| {
        let error = line.split_once(" error=");
        error.is_some_and(|(_, error)| causes.iter().any(|cause| error.contains(cause)))
    };
    assert!(said.iter().any(names_one), "{log}");
    assert!(
        said.iter().all(|line| line.contains("deliveries=")),
        "{log}"
    );
}

/// A limit on the size of files stands for a full disk: beyond it, nothing can be written. The
/// database is larger than it from the first table on.
fn limit_files(server: &Server, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_deliveries_until_there_is_room() {
    let mut chance = Chance::new();
    // Else the first write past the limit ends the process.
    let server = Server::start_after("trap '' XFSZ", Database::sqlite());
    let people = People::of(&server.api()).await;
    let mut audience = Audience::join(&server.url, &people).await;
    let sender = Sender::start(&[server.api()], &chance, rate());
    let mut limits = [64 << 10, 0].into_iter().cycle();
    for () in Rounds::new(2) {
        sender
            .advance(40 + usize::try_from(chance.below(40)).unwrap())
            .await;
        // At first there is room for the log, then for nothing at all.
        limit_files(&server, Some(limits.next().unwrap()));
        expect_trouble(&server, &sender).await;
        limit_files(&server, None);
        until_ready(&server, true).await;
    }
    sender.advance(40).await;
    expect_nothing_lost(sender, &server, &people, &mut audience).await;
    expect_said(&server, &["disk I/O error", "disk is full"]);
}

/// A server whose disk has no room while there is a file of the name that is answered.
fn start_on_a_disk() -> (Server, PathBuf) {
    let database = Database::sqlite();
    let folder = database.folder.path().to_owned();
    let (library, full) = (library(&folder, "full"), folder.join("full"));
    let preload = [
        ("LD_PRELOAD", library.as_str()),
        ("FULL_WHILE", full.to_str().unwrap()),
    ];
    (Server::start_with(database, &preload), full)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_what_is_known_is_a_duplicate_and_deliveries_are_listed() {
    let (server, full) = start_on_a_disk();
    let api = server.api();
    let token = api.admin().await.token;
    let first = api.deliver(&booking(1)).await.expect(200)["deliveryId"].clone();
    let stale = async || {
        let body = booking(3).to_string().into_bytes();
        Api::try_send(api.signed_at(now_s() - 600, KEY, body))
            .await
            .unwrap()
    };
    stale().await.expect(202);
    std::fs::write(&full, "").unwrap();
    api.deliver(&booking(2)).await.problem(503, "busy");
    let again = api.deliver(&booking(1)).await.expect(200);
    assert_eq!(again, json!({ "status": "duplicate", "deliveryId": first }));
    stale().await.expect(202);
    // Neither needed room, so neither says that there is some.
    assert_eq!(readiness(&server).await.status, 503);
    // Waits to be written, and must not keep anybody from reading.
    let refused = api.post("/webhooks/calendly", "", &json!({})).await;
    refused.problem(401, "signature_missing");
    let listed = api.all("/api/deliveries", &token).await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    std::fs::remove_file(&full).unwrap();
    let listed = api.all("/api/deliveries?status=rejected", &token).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_room_is_said_to_be_full() {
    let chance = Chance::new();
    let (server, full) = start_on_a_disk();
    let people = People::of(&server.api()).await;
    let mut audience = Audience::join(&server.url, &people).await;
    let sender = Sender::start(&[server.api()], &chance, rate());
    for () in Rounds::new(1) {
        sender.advance(60).await;
        std::fs::write(&full, "").unwrap();
        expect_trouble(&server, &sender).await;
        let edit = server.api();
        let prospect = json!({ "email": "noor@example.org" });
        let edit = edit.post("/api/prospects", &people.admin.token, &prospect);
        edit.await.problem(503, "busy");
        std::fs::remove_file(&full).unwrap();
        until_ready(&server, true).await;
    }
    sender.advance(40).await;
    expect_nothing_lost(sender, &server, &people, &mut audience).await;
    expect_said(&server, &["database or disk is full"]);
    let scraped = server.api().get("/metrics", "").await;
    let failed = Scrape::read(std::str::from_utf8(&scraped.bytes).unwrap())
        .value("bookbell_database_errors_total{kind=\"full\"}");
    assert!(failed > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_file_refuses_deliveries_until_it_is_let_go() {
    let chance = Chance::new();
    let server = Server::start(Database::sqlite());
    let people = People::of(&server.api()).await;
    let mut audience = Audience::join(&server.url, &people).await;
    let sender = Sender::start(&[server.api()], &chance, rate());
    for () in Rounds::new(1) {
        sender.advance(60).await;
        let mut other = SqliteConnection::connect(&server.database.url)
            .await
            .unwrap();
        sqlx::raw_sql("PRAGMA busy_timeout = 60000; BEGIN EXCLUSIVE")
            .execute(&mut other)
            .await
            .unwrap();
        expect_trouble(&server, &sender).await;
        // Sooner than SQLite gives up waiting for the lock, which is five seconds.
        let said = timeout(Duration::from_secs(4), readiness(&server)).await;
        assert_eq!(said.expect("it is not said in time").status, 503);
        let prospect = json!({ "email": "noor@example.org" });
        let api = server.api();
        let edit = api.post("/api/prospects", &people.admin.token, &prospect);
        edit.await.problem(503, "busy");
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        until_ready(&server, true).await;
    }
    sender.advance(40).await;
    expect_nothing_lost(sender, &server, &people, &mut audience).await;
    expect_said(&server, &["database is locked"]);
}

/// Writes again and again, as another process would whose disk takes its time.
async fn write_without_pause(url: String) {
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    loop {
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut other)
            .await
            .unwrap();
        sleep(Duration::from_millis(120)).await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_writes_without_pause_does_not_keep_others_out() {
    let server = Server::start(Database::sqlite());
    let people = People::of(&server.api()).await;
    let other = tokio::spawn(write_without_pause(server.database.url.clone()));
    for n in 1..=6 {
        server.api().deliver(&booking(n)).await.expect(200);
        let prospect = json!({ "email": format!("x{n}@example.org") });
        let api = server.api();
        let edit = api.post("/api/prospects", &people.admin.token, &prospect);
        edit.await.expect(201);
    }
    assert!(!other.is_finished());
    other.abort();
}

const TRANSPORTS: [&str; 2] = ["websocket", "polling"];

/// The client of README.md, which is said to go on after the last number it kept.
fn sample_client(folder: &Path, url: &str) -> Script {
    let readme = include_str!("../../README.md");
    let (_, code) = readme.split_once("```js\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let mut code = code.to_owned();
    let place = folder.join("seq.txt");
    for (theirs, ours) in [
        ("http://127.0.0.1:8080", url),
        ("admin@bookbell.local", ADMIN.0),
        ("ring the bell twice", ADMIN.1),
        ("seq.txt", place.to_str().unwrap()),
    ] {
        assert!(code.contains(theirs), "{theirs} is not in {code}");
        code = code.replace(theirs, ours);
    }
    let modules = Path::new(&variable("BOOKBELL_TEST_CLIENT_DIR")).join("node_modules");
    symlink(modules, folder.join("node_modules")).unwrap();
    let file = folder.join("listen.mjs");
    std::fs::write(&file, code).unwrap();
    Script::start(file.to_str().unwrap(), &[])
}

/// Waits until a program prints a line with one of these in it.
async fn until_said(script: &mut Script, words: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = script.next(&format!("{words:?}"), deadline).await;
        let said = said.expect("it ended").to_string();
        if words.iter().any(|word| said.contains(word)) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_while_the_database_is_away_comes_back() {
    let mut cluster = Cluster::start().await;
    let server = Server::start(cluster.database());
    let admin = server.api().admin().await;
    let line = Proxy::start(&server.url).await;
    let mut sample = sample_client(server.database.folder.path(), &line.url);
    until_said(&mut sample, &["hears what comes after"]).await;
    server.api().deliver(&booking(1)).await.expect(200);
    until_said(&mut sample, &["2 proposal-created"]).await;

    cluster.stop(true);
    let mut clients = Subscriber::start().await;
    for transport in TRANSPORTS {
        let auth = json!({ "token": admin.token });
        let options = json!({ "auth": auth, "transports": [transport] });
        clients.open(transport, &server.url, options);
    }
    line.cut(Duration::ZERO, Duration::from_millis(50)).await;
    for transport in TRANSPORTS {
        clients.report(transport, "disconnect").await;
        assert!(clients.reports(transport, "connect_error").is_empty());
    }
    // It cannot even sign in.
    let refusals = ["not connected: token_missing", "not connected: unavailable"];
    until_said(&mut sample, &refusals).await;
    cluster.resume().await;
    until_ready(&server, true).await;
    server.api().deliver(&booking(2)).await.expect(200);
    until_said(&mut sample, &["4 proposal-created"]).await;
    for transport in TRANSPORTS {
        clients.connected(transport).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_while_the_database_fails_is_refused_as_not_at_fault() {
    let server = Server::start(Database::sqlite());
    let admin = server.api().admin().await;
    let rename = async |from: &str, to: &str| {
        let rename = format!("ALTER TABLE {from} RENAME TO {to}");
        server.database.execute(&rename).await;
    };
    rename("session", "gone").await;
    let mut clients = Subscriber::start().await;
    for transport in TRANSPORTS {
        let auth = json!({ "token": admin.token });
        let options = json!({ "auth": auth, "transports": [transport] });
        clients.open(transport, &server.url, options);
    }
    for transport in TRANSPORTS {
        let refused = clients.report(transport, "connect_error").await;
        assert_eq!(refused["message"], "unavailable", "{refused}");
        // What README.md says of every refusal.
        assert_eq!(refused["willRetry"], false, "{refused}");
    }
    rename("gone", "session").await;
    for transport in TRANSPORTS {
        clients.tell(transport, "connect");
        clients.connected(transport).await;
    }
}

async fn a_migration_that_fails_half_way_leaves_nothing_behind(database: Database) {
    // The first migration makes this table last of all.
    database.execute("CREATE TABLE event_log (id BIGINT)").await;
    for _ in 0..2 {
        let said = refusal(&database);
        assert!(said.contains("event_log"), "{said}");
    }
    let tables = if database.is_sqlite() {
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name <> '_sqlx_migrations'"
    } else {
        "SELECT COUNT(*) FROM pg_tables \
         WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'"
    };
    assert_eq!(database.numbers(tables).await, [1], "half of it stayed");
    database.execute("DROP TABLE event_log").await;
    let server = Server::start(database);
    server.api().deliver(&booking(1)).await.expect(200);
}
