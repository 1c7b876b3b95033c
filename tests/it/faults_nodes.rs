//! Three nodes on one Postgres: one of them dies, hints are lost, one stands still.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::api::Api;
use crate::support::database::Database;
use crate::support::faults::{Audience, People, expect_nothing_lost};
use crate::support::load::booking;
use crate::support::proxy::Proxy;
use crate::support::sender::Sender;
use crate::support::server::{PATIENCE, Server, signal};
use crate::support::soak::{Chance, Rounds, rate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_serve_one_log_whichever_of_them_dies() {
    let mut chance = Chance::new();
    let first = Server::start_to_restart(Database::postgres().await);
    let another = || Server::start_to_restart(first.database.clone());
    let (second, third) = (another(), another());
    let people = People::of(&first.api()).await;
    let mut nodes = [first, second, third];
    let apis = nodes.each_ref().map(Server::api);
    // What stands before the nodes, and leads their clients to one that lives.
    let mut doors = Vec::new();
    for node in &nodes {
        let proxy = Proxy::start(&node.url).await;
        let audience = Audience::join(&proxy.url, &people).await;
        doors.push((proxy, audience));
    }
    let sender = Sender::start(&apis, &chance, rate());
    for () in Rounds::new(4) {
        sender.advance(40).await;
        let dies = usize::try_from(chance.below(3)).unwrap();
        let lives = (dies + 1) % 3;
        doors[dies].0.lead_to(&nodes[lives].url);
        let before = doors[dies].1.connects();
        nodes[dies].kill();
        let deafened = nodes[lives].database.deafen().await;
        sender.advance(40).await;
        doors[dies].1.all_connect_after(&before).await;
        nodes[dies].restart();
        nodes[lives].database.until_heard(3, &deafened).await;
        // Back to where they belong.
        doors[dies].0.lead_to(&nodes[dies].url);
        let before = doors[dies].1.connects();
        let moment = Duration::from_millis(50);
        doors[dies].0.cut(Duration::ZERO, moment).await;
        doors[dies].1.all_connect_after(&before).await;
    }
    sender.advance(40).await;
    let mut doors = doors.into_iter();
    let (_proxy, mut audience) = doors.next().unwrap();
    let (_proxies, others): (Vec<_>, Vec<_>) = doors.unzip();
    expect_nothing_lost(sender, &nodes[0], &people, &mut audience).await;
    for (mut audience, api) in others.into_iter().zip(&apis) {
        audience.heard_everything(api).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_hint_was_given_of_is_heard_all_the_same() {
    let server = Server::start(Database::postgres().await);
    let api = server.api();
    let people = People::of(&api).await;
    let mut audience = Audience::join(&server.url, &people).await;
    // A commit whose hint is lost, made behind the program's back.
    let silently = "INSERT INTO event (seq, id, at_ms, name, payload, user_id, admins) \
        SELECT head_seq + 1, '0197-silent', 0, 'prospect:deleted', '{\"id\":\"x\"}', NULL, TRUE \
        FROM event_log; UPDATE event_log SET head_seq = head_seq + 1";
    server.database.execute(silently).await;
    let last = api.head(&people.admin.token).await;
    for id in ["polling", "websocket", "default"] {
        audience.clients.reach(id, last).await;
        let heard = audience.clients.events(id);
        assert_eq!(heard.last().unwrap().payload, json!({ "id": "x" }));
    }
}

/// Posts until the node takes it: it has to wait until the one that stands still has lost its turn.
async fn take_over(api: &Api, n: u32) {
    let deadline = Instant::now() + PATIENCE;
    let body = booking(n);
    while !api.deliver(&body).await.status.is_success() {
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_does_not_hold_up_the_others() {
    let chance = Chance::new();
    let one = Server::start(Database::postgres().await);
    let two = one.second_node();
    let people = People::of(&one.api()).await;
    let mut audience = Audience::join(&two.url, &people).await;
    let sender = Sender::start(&[one.api()], &chance, rate());
    // Until it stands still in the midst of a transaction that folds.
    let mid_fold = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND state = 'idle in transaction'";
    sender.advance(20).await;
    for tries in 0.. {
        assert!(tries < 300, "it is never in the midst of folding");
        signal(one.pid(), "STOP");
        // What it has sent by then is answered, and waits for it.
        sleep(Duration::from_millis(20)).await;
        if two.database.numbers(mid_fold).await != [0] {
            break;
        }
        signal(one.pid(), "CONT");
        sender.advance(1).await;
    }
    take_over(&two.api(), 1_000_000).await;
    signal(one.pid(), "CONT");
    sender.advance(40).await;
    let answered = sender.finish().await;
    audience.heard_everything(&two.api()).await;
    let kept = two.api().all("/api/deliveries", &people.admin.token).await;
    assert_eq!(kept.len(), answered.len() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_connections_to_postgres_are_forgotten_makes_new_ones() {
    let chance = Chance::new();
    let one = Server::start(Database::postgres().await);
    let people = People::of(&one.api()).await;
    let (_, address) = one.database.url.split_once('@').unwrap();
    let (address, _) = address.split_once('/').unwrap();
    let line = Proxy::start(address).await;
    let through = line.url.trim_start_matches("http://");
    let two = Server::start(Database {
        url: one.database.url.replace(address, through),
        ..one.database.clone()
    });
    let mut audience = Audience::join(&two.url, &people).await;
    let sender = Sender::start(&[one.api(), two.api()], &chance, rate());
    sender.advance(40).await;
    line.forget();
    // An edit has the turn of all others, and so has to end too.
    let path = format!("/api/users/{}", people.admin.id);
    let name = json!({ "name": "Ada" });
    let rename = || async { two.api().patch(&path, &people.admin.token, &name).await };
    let deadline = Instant::now() + PATIENCE;
    while rename().await.status != 200 {
        assert!(Instant::now() < deadline, "nothing can be edited any more");
    }
    sender.advance(40).await;
    expect_nothing_lost(sender, &one, &people, &mut audience).await;
    // Whoever takes a connection that was forgotten finds that out, and a probe does not wait so long.
    let deadline = Instant::now() + PATIENCE;
    while two.api().get("/readyz", "").await.status != 200 {
        assert!(Instant::now() < deadline, "it is never ready again");
    }
}
