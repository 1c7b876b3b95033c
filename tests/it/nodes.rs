//! Several nodes on one database: one log, in one order, whichever of them commits (law 3).

use std::sync::Arc;

use axum::http::Method;
use bookbell::domain::event::{Audience, NewEvent};
use bookbell::domain::ids::UuidV7;
use bookbell::store::{self, Store};
use futures_util::FutureExt;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::support::database::Database;
use crate::support::load::{expect_each_once, post};
use crate::support::on_each_database;
use crate::support::server::{PATIENCE, Server};
use crate::support::subscriber::Subscriber;

on_each_database![positions_are_commit_order_for_whoever_reads];

/// Commits without any lock around it, on as many connections as there are writers.
async fn positions_are_commit_order_for_whoever_reads(database: Database) {
    const WRITERS: usize = 16;
    const EACH: usize = 30;
    let ids = Arc::new(UuidV7::new());
    let nodes = [&database, &database].map(|database| Store::open(&database.url));
    let [one, two] = nodes;
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let node = if n % 2 == 0 { &one } else { &two };
        let (node, ids) = (node.clone(), Arc::clone(&ids));
        writers.spawn(async move {
            for k in 0..EACH {
                let event = || NewEvent::new("test", &json!({}), Audience::admins());
                let events = (0..=k % 3).map(|_| event()).collect();
                let tx = node.begin().await.unwrap();
                tx.commit(events, 0, &*ids).await.unwrap();
            }
        });
    }
    let deadline = Instant::now() + PATIENCE;
    let (mut seen, total) = (0, i64::try_from(WRITERS * EACH * 2).unwrap());
    let read = async {
        while seen < total {
            let mut reader = one.read().await.unwrap();
            let events = store::events::after(&mut reader.db(), seen, 1000).await;
            for event in events.unwrap() {
                assert_eq!(event.seq, seen + 1, "a gap, or one that came late");
                seen = event.seq;
            }
        }
    };
    timeout_at(deadline, read).await.unwrap();
    writers.join_all().await;
}

/// What a node commits it has in memory; woken by its own hints it would read all of it again.
#[tokio::test]
async fn a_node_is_told_of_what_others_commit_and_not_of_its_own() {
    let database = Database::postgres().await;
    let one = Store::open(&database.url).await.unwrap();
    let two = Store::open(&database.url).await.unwrap();
    let mut listener = one.listen().await.unwrap().unwrap();
    let commit = async |node: &Store| {
        let event = NewEvent::new("test", &json!({}), Audience::admins());
        let tx = node.begin().await.unwrap();
        let ids = UuidV7::new();
        tx.commit(vec![event], 0, &ids).await.unwrap();
    };
    for _ in 0..20 {
        commit(&one).await;
    }
    commit(&two).await;
    timeout(PATIENCE, listener.hint()).await.unwrap().unwrap();
    assert!(listener.hint().now_or_never().is_none(), "woken by its own");
}

/// A node that is alone tells nobody, which is cheaper; one that comes is known at once.
#[tokio::test]
async fn a_node_knows_whether_there_are_others() {
    let database = Database::postgres().await;
    let one = Store::open(&database.url).await.unwrap();
    let mut listener = one.listen().await.unwrap().unwrap();
    assert!(!listener.look_around().await.unwrap());
    let two = Store::open(&database.url).await.unwrap();
    let other = two.listen().await.unwrap().unwrap();
    timeout(PATIENCE, listener.hint()).await.unwrap().unwrap();
    assert!(listener.look_around().await.unwrap());
    drop(other);
    two.close(PATIENCE).await;
    let alone = async { while listener.look_around().await.unwrap() {} };
    timeout(PATIENCE, alone).await.unwrap();
}

/// Whoever waits for hints now and then only, as beside other work, learns it too.
#[tokio::test]
async fn a_listener_that_was_cut_says_so_and_does_not_go_on_unseen() {
    let database = Database::postgres().await;
    let node = Store::open(&database.url).await.unwrap();
    let mut listener = node.listen().await.unwrap().unwrap();
    database.deafen().await;
    let deadline = Instant::now() + PATIENCE;
    while !matches!(listener.hint().now_or_never(), Some(Err(_))) {
        assert!(Instant::now() < deadline, "it is never told");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_postgres_serve_one_log() {
    let one = Server::start(Database::postgres().await);
    let two = one.second_node();
    let admin = one.api().admin().await;
    let other = two.api().admin().await;
    let mut subscriber = Subscriber::start().await;
    for (node, server) in [("one", &one), ("two", &two)] {
        for transport in ["polling", "websocket"] {
            let id = format!("{node} {transport}");
            let options = json!({ "transports": [transport] });
            subscriber
                .join(&id, &server.url, &admin.token, options)
                .await;
        }
    }
    subscriber
        .join("other", &one.url, &other.token, json!({}))
        .await;
    let load = post(&[&one.api(), &two.api()], 1..=500);
    subscriber.count("one websocket", 300).await;
    // Whoever leaves a node goes on from the same position at the other.
    subscriber.tell("one websocket", "disconnect");
    subscriber.report("one websocket", "disconnect").await;
    let had = subscriber.events("one websocket");
    let options = json!({ "auth": { "since": had.last().unwrap().seq } });
    subscriber
        .join("moved", &two.url, &admin.token, options)
        .await;
    load.await.unwrap();
    // Without its listener a node still finds what others commit.
    let deafened = one.database.deafen().await;
    post(&[&two.api()], 501..=501).await.unwrap();
    one.database.until_heard(2, &deafened).await;

    for id in ["one polling", "two polling", "two websocket"] {
        subscriber.count(id, 1002).await;
    }
    let log = one.api().events(&admin.token, 0).await;
    expect_each_once(&log, 501);
    for id in ["one polling", "two polling", "two websocket"] {
        assert!(subscriber.events(id) == log, "{id}");
    }
    subscriber.count("moved", 1002 - had.len()).await;
    assert!([had, subscriber.events("moved")].concat() == log);
    let (api, path) = (two.api(), "/api/auth/logout");
    let left = api.send(Method::POST, path, Some(&other.token), None).await;
    left.expect(204);
    let ended = subscriber.event("other", "session-ended").await;
    assert_eq!(ended["code"], "logged_out");
}
