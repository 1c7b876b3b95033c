//! Durable delivery: every event once and in order, whatever dies in between (law 4).

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::api::Api;
use crate::support::database::Database;
use crate::support::load::{booking, expect_each_once, expect_same, post};
use crate::support::on_each_database;
use crate::support::server::{PATIENCE, Server};
use crate::support::subscriber::Subscriber;

on_each_database![
    what_was_missed_comes_once_and_before_what_is_newer,
    a_position_that_cannot_be_served_is_answered_with_resync,
    a_burst_reaches_every_transport_while_it_happens,
    going_over_to_websocket_amid_a_replay_loses_nothing,
    dropped_transports_lose_nothing_and_repeat_nothing,
    what_was_answered_2xx_outlives_kill_9,
    what_was_answered_2xx_outlives_sigterm,
    identical_posts_at_the_same_time_count_once,
];

const TRANSPORTS: [(&str, &[&str]); 3] = [
    ("polling", &["polling"]),
    ("websocket", &["websocket"]),
    ("default", &["polling", "websocket"]),
];

/// Connects a resuming client on every transport, each under the transport's name.
async fn join_all(subscriber: &mut Subscriber, server: &Server, token: &str) {
    for (id, transports) in TRANSPORTS {
        let options = json!({ "transports": transports, "resume": true });
        subscriber.join(id, &server.url, token, options).await;
    }
}

async fn what_was_missed_comes_once_and_before_what_is_newer(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let mut subscriber = Subscriber::start().await;
    join_all(&mut subscriber, &server, &admin.token).await;
    post(&[&api], 1..=20).await.unwrap();
    for (id, _) in TRANSPORTS {
        subscriber.count(id, 40).await;
        subscriber.tell(id, "disconnect");
        subscriber.report(id, "disconnect").await;
    }
    post(&[&api], 21..=320).await.unwrap();
    let newer = post(&[&api], 321..=620);
    for (id, _) in TRANSPORTS {
        subscriber.tell(id, "connect");
        let hello = subscriber.connected(id).await;
        assert_eq!(hello["seq"], subscriber.events(id)[39].seq);
    }
    newer.await.unwrap();
    let log = api.events(&admin.token, 0).await;
    expect_each_once(&log, 620);
    for (id, _) in TRANSPORTS {
        subscriber.count(id, 1240).await;
        expect_same(id, &subscriber.events(id), &log);
    }
}

async fn a_position_that_cannot_be_served_is_answered_with_resync(database: Database) {
    let kept_for = [("BOOKBELL_EVENT_RETENTION_DAYS", "1")];
    let mut server = Server::start_with(database, &kept_for);
    let admin = server.api().admin().await;
    post(&[&server.api()], 1..=5).await.unwrap();
    // The first four events grow older than they are kept; a start forgets such at once.
    let age = "UPDATE event SET at_ms = at_ms - 2 * 86400000 WHERE seq <= 4";
    server.database.execute(age).await;
    server.terminate();
    server.restart();
    let api = server.api();
    let path = "/api/events?since=0";
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let forgotten = async {
        while api.get(path, &admin.token).await.status != 410 {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.unwrap();

    let mut subscriber = Subscriber::start().await;
    let wrong = json!([-1, "x", "7", 1.5, true, [], 11, 1e300, 0, 3]);
    for since in wrong.as_array().unwrap() {
        let id = format!("since {since}");
        let options = json!({ "auth": { "since": since } });
        let hello = subscriber
            .join(&id, &server.url, &admin.token, options)
            .await;
        assert_eq!(hello["seq"], 10, "{id}");
        let resync = subscriber.event(&id, "resync").await;
        assert_eq!(resync, json!({ "seq": 10 }), "{id}");
    }
    for since in [4, 10] {
        let id = format!("served {since}");
        let options = json!({ "auth": { "since": since } });
        let hello = subscriber
            .join(&id, &server.url, &admin.token, options)
            .await;
        assert_eq!(hello["seq"], since);
    }
    post(&[&api], 6..=6).await.unwrap();
    for since in wrong.as_array().unwrap() {
        let id = format!("since {since}");
        subscriber.reach(&id, 12).await;
        assert!(subscriber.events(&id) == api.events(&admin.token, 10).await);
    }
    for since in [4, 10] {
        let id = format!("served {since}");
        subscriber.reach(&id, 12).await;
        assert!(subscriber.events(&id) == api.events(&admin.token, since).await);
        assert_eq!(
            subscriber.reports(&id, "event")[1]["meta"]["seq"],
            since + 1
        );
    }
}

async fn a_burst_reaches_every_transport_while_it_happens(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let mut subscriber = Subscriber::start().await;
    join_all(&mut subscriber, &server, &admin.token).await;
    let burst = post(&[&api], 1..=2500);
    for (id, _) in TRANSPORTS {
        subscriber.count(id, 100).await;
    }
    let late = json!({ "transports": ["polling"], "auth": { "since": 0 } });
    subscriber
        .join("late", &server.url, &admin.token, late)
        .await;
    assert!(!burst.is_finished(), "it was over before it was heard of");
    burst.await.unwrap();
    let log = api.events(&admin.token, 0).await;
    expect_each_once(&log, 2500);
    for id in ["polling", "websocket", "default", "late"] {
        subscriber.count(id, 5000).await;
        expect_same(id, &subscriber.events(id), &log);
        assert!(subscriber.reports(id, "disconnect").is_empty(), "{id}");
    }
}

async fn going_over_to_websocket_amid_a_replay_loses_nothing(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    post(&[&api], 1..=300).await.unwrap();
    let log = api.events(&admin.token, 0).await;
    expect_each_once(&log, 300);
    let mut subscriber = Subscriber::start().await;
    let ids: Vec<String> = (1..=30).map(|n| format!("default {n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        let auth = json!({ "token": admin.token, "since": 0 });
        let options = json!({ "auth": auth, "upgradeAfter": 10 + 12 * n });
        subscriber.open(id, &server.url, options);
    }
    for id in &ids {
        subscriber.report(id, "upgrade").await;
        subscriber.count(id, 600).await;
        expect_same(id, &subscriber.events(id), &log);
        assert!(subscriber.reports(id, "disconnect").is_empty(), "{id}");
    }
}

async fn dropped_transports_lose_nothing_and_repeat_nothing(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let mut subscriber = Subscriber::start().await;
    join_all(&mut subscriber, &server, &admin.token).await;
    let burst = post(&[&api], 1..=1000);
    for round in 1..=8 {
        for (id, _) in TRANSPORTS {
            subscriber.count(id, round * 150).await;
            subscriber.tell(id, "drop");
            subscriber.report(id, "disconnect").await;
            subscriber.connected(id).await;
        }
    }
    burst.await.unwrap();
    let log = api.events(&admin.token, 0).await;
    expect_each_once(&log, 1000);
    for (id, _) in TRANSPORTS {
        subscriber.count(id, 2000).await;
        expect_same(id, &subscriber.events(id), &log);
    }
}

async fn what_was_answered_2xx_outlives_kill_9(database: Database) {
    end_amid_load(database, Server::kill).await;
}

async fn what_was_answered_2xx_outlives_sigterm(database: Database) {
    let stop = |server: &mut Server| {
        let (code, _) = server.terminate();
        assert_eq!(code, Some(0));
    };
    end_amid_load(database, stop).await;
}

/// Ends the server twice while it is posted to, each time with clients that resume.
async fn end_amid_load(database: Database, end: impl Fn(&mut Server)) {
    let mut server = Server::start_to_restart(database);
    let api = server.api();
    let admin = api.admin().await;
    let mut subscriber = Subscriber::start().await;
    join_all(&mut subscriber, &server, &admin.token).await;
    let load = post(&[&api], 1..=2000);
    for events in [400, 1000] {
        subscriber.count("websocket", events).await;
        end(&mut server);
        server.restart();
    }
    assert!(!load.is_finished(), "it was never ended amid the load");
    let answered = load.await.unwrap();
    assert_eq!(answered.len(), 2000);

    let log = api.events(&admin.token, 0).await;
    expect_each_once(&log, 2000);
    let kept = api
        .all("/api/deliveries?status=processed", &admin.token)
        .await;
    let kept = kept.iter().map(|kept| kept["id"].as_str().unwrap());
    assert_eq!(
        kept.map(ToOwned::to_owned).collect::<HashSet<_>>(),
        answered
    );
    for list in ["prospects", "proposals"] {
        let records = api.all(&format!("/api/{list}"), &admin.token).await;
        assert_eq!(records.len(), 2000, "{list}");
    }
    for (id, _) in TRANSPORTS {
        subscriber.count(id, 4000).await;
        expect_same(id, &subscriber.events(id), &log);
        for gone in subscriber.reports(id, "disconnect") {
            assert_ne!(gone["reason"], "io server disconnect");
        }
    }
}

async fn identical_posts_at_the_same_time_count_once(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let mut subscriber = Subscriber::start().await;
    join_all(&mut subscriber, &server, &admin.token).await;
    let mut posts = JoinSet::new();
    for _ in 0..50 {
        let request = api.signed(&booking(1));
        posts.spawn(async move { Api::try_send(request).await.unwrap().expect(200) });
    }
    let answers = posts.join_all().await;
    let ids: HashSet<_> = answers.iter().map(|answer| &answer["deliveryId"]).collect();
    assert_eq!(ids.len(), 1);
    let as_first = answers
        .iter()
        .filter(|answer| answer["status"] == "processed");
    assert_eq!(as_first.count(), 1);
    let as_again = answers
        .iter()
        .filter(|answer| answer["status"] == "duplicate");
    assert_eq!(as_again.count(), 49);

    post(&[&api], 2..=2).await.unwrap();
    let log = api.events(&admin.token, 0).await;
    expect_each_once(&log, 2);
    for list in ["prospects", "proposals", "deliveries"] {
        let records = api.all(&format!("/api/{list}"), &admin.token).await;
        assert_eq!(records.len(), 2, "{list}");
    }
    for (id, _) in TRANSPORTS {
        subscriber.count(id, 4).await;
        expect_same(id, &subscriber.events(id), &log);
    }
}
