//! Clients that take nothing in: they are let go, and nobody else notices.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};
use tokio_tungstenite::WebSocketStream;

use crate::support::api::Api;
use crate::support::database::Database;
use crate::support::faults::median;
use crate::support::load::booking;
use crate::support::on_each_database;
use crate::support::process::{held, resident_mib};
use crate::support::server::Server;
use crate::support::soak::{Rounds, scaled};
use crate::support::stuck;
use crate::support::subscriber::Subscriber;

on_each_database![clients_that_take_nothing_are_let_go_and_nobody_notices];

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

/// Clients that read nothing, one that reads next to nothing, one that reads slowly, and the ports
/// of those that are to be let go.
struct Hung {
    dead: Vec<WebSocketStream<TcpStream>>,
    _polling: TcpStream,
    trickling: JoinHandle<()>,
    ports: Vec<u16>,
    slow: JoinHandle<String>,
}

async fn hang(server: &Server, token: &str) -> Hung {
    let mut dead = Vec::new();
    for _ in 0..scaled(10, 100) {
        let narrow = stuck::narrow(&server.url).await;
        dead.push(stuck::websocket(narrow, token).await);
    }
    let polling = stuck::polling(&server.api(), token).await;
    let streams = dead.iter().map(WebSocketStream::get_ref);
    let wide = || TcpStream::connect(address(server));
    let trickling = stuck::websocket(wide().await.unwrap(), token).await;
    let streams = streams.chain([&polling, trickling.get_ref()]);
    let ports = streams.map(|stream| stream.local_addr().unwrap().port());
    let ports = ports.collect();
    let slow = stuck::websocket(wide().await.unwrap(), token).await;
    Hung {
        dead,
        _polling: polling,
        trickling: tokio::spawn(stuck::trickle(trickling)),
        ports,
        slow: tokio::spawn(stuck::read_slowly(slow)),
    }
}

fn address(server: &Server) -> &str {
    server.url.trim_start_matches("http://")
}

/// Waits until the server has closed its side of all of them.
async fn let_go(server: &Server, ports: &[u16]) {
    let began = Instant::now();
    let (_, port) = address(server).split_once(':').unwrap();
    let port = port.parse().unwrap();
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        let left = held(port, ports);
        if left == 0 {
            return;
        }
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(30), "{left} are held");
        ticks.tick().await;
    }
}

async fn clients_that_take_nothing_are_let_go_and_nobody_notices(database: Database) {
    let mut server = Server::start(database);
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
        let hung = hang(&server, &token).await;
        assert!(!hung.dead.is_empty());
        let heard = median(hear(&api, &mut clients, next..next + 100).await);
        next += 100;
        let bound = 10 * quiet + Duration::from_millis(300);
        assert!(heard < bound, "{heard:?} after {quiet:?}");
        let grown = resident_mib(server.pid()).saturating_sub(memory);
        // The log's tail takes 16 MiB, and each of them one and a little more.
        assert!(grown < scaled(56, 200), "{grown} MiB more");
        let_go(&server, &hung.ports).await;
        hung.trickling.abort();
        let slow = hung.slow;
        assert!(!slow.is_finished(), "let go: {}", slow.await.unwrap());
        slow.abort();
    }
    for id in ["polling", "websocket"] {
        assert_eq!(clients.number_of(id, "disconnect"), 0, "{id}");
    }
    let _hung = hang(&server, &token).await;
    let bookings: Vec<_> = (next..next + 100).map(long_booking).collect();
    for reply in join_all(bookings.iter().map(|body| api.deliver(body))).await {
        reply.expect(200);
    }
    let (code, took) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
}
