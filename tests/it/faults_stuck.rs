//! Clients that take nothing in: they are let go, and nobody else notices.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

use crate::support::api::Api;
use crate::support::database::Database;
use crate::support::faults::median;
use crate::support::load::booking;
use crate::support::process::{open_sockets, resident_mib};
use crate::support::server::Server;
use crate::support::soak::{Rounds, scaled};
use crate::support::stuck;
use crate::support::subscriber::Subscriber;

/// A booking whose events fill the buffers of who does not read: some forty kilobytes each.
fn long_booking(n: u32) -> serde_json::Value {
    let mut body = booking(n);
    let answers = &mut body["payload"]["questions_and_answers"];
    answers[0]["answer"] = json!("long ".repeat(8000));
    body
}

/// Posts bookings one by one, and answers how long each took to be heard.
async fn hear(api: &Api, clients: &mut Subscriber, numbers: std::ops::Range<u32>) -> Vec<Duration> {
    let mut took = Vec::new();
    for n in numbers {
        let started = Instant::now();
        api.deliver(&long_booking(n)).await.expect(200);
        for id in ["polling", "websocket"] {
            clients.count(id, 2 * n as usize).await;
        }
        took.push(started.elapsed());
    }
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_nothing_are_let_go_and_nobody_notices() {
    let mut server = Server::start(Database::sqlite());
    let api = server.api();
    let token = api.admin().await.token;
    let mut clients = Subscriber::start().await;
    for id in ["polling", "websocket"] {
        let options = json!({ "transports": [id] });
        clients.join(id, &server.url, &token, options).await;
    }
    let mut next = 1;
    let quiet = median(hear(&api, &mut clients, next..next + 20).await);
    next += 20;
    for () in Rounds::new(1) {
        let memory = resident_mib(server.pid());
        let before = open_sockets(server.pid());
        let mut dead = Vec::new();
        for _ in 0..scaled(10, 100) {
            let narrow = stuck::narrow(&server.url).await;
            dead.push(stuck::websocket(narrow, &token).await);
        }
        let poll = stuck::polling(&api, &token).await;
        let address = server.url.trim_start_matches("http://");
        let wide = TcpStream::connect(address).await.unwrap();
        let slow = stuck::websocket(wide, &token).await;
        let slow = tokio::spawn(stuck::read_slowly(slow));
        let hung = median(hear(&api, &mut clients, next..next + 100).await);
        next += 100;
        let posted = Instant::now();
        assert!(
            hung < 10 * quiet + Duration::from_millis(300),
            "{hung:?} after {quiet:?}"
        );
        println!("{hung:?} instead of {quiet:?}");
        let grown = resident_mib(server.pid()).saturating_sub(memory);
        println!("{grown} MiB more");
        assert!(grown < scaled(160, 800), "{grown} MiB more");

        // The slow one is still there, and the readers' own: they may have changed theirs.
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            let open = open_sockets(server.pid());
            if open.difference(&before).count() <= 3 {
                break;
            }
            assert!(
                posted.elapsed() < Duration::from_secs(30),
                "{} too many",
                open.len()
            );
            ticks.tick().await;
        }
        if slow.is_finished() {
            panic!("who reads slowly was let go: {}", slow.await.unwrap());
        }
        slow.abort();
        drop((dead, poll));
    }
    for id in ["polling", "websocket"] {
        assert_eq!(clients.number_of(id, "disconnect"), 0, "{id}");
    }
    let narrow = stuck::narrow(&server.url).await;
    let _dead = stuck::websocket(narrow, &token).await;
    let bookings: Vec<_> = (next..next + 100).map(long_booking).collect();
    for reply in join_all(bookings.iter().map(|body| api.deliver(body))).await {
        reply.expect(200);
    }
    let (code, took) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
}
