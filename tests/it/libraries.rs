//! What socketioxide and engineioxide do wrong, each shown by a bare server of theirs. A test that
//! fails here says that a newer version does it no longer: then what the test names in `src/` can
//! go, and the test with it. (`many.rs` has one more, of what is kept of a request.)

use std::time::Duration;

use axum::Router;
use futures_util::StreamExt;
use serde_json::json;
use socketioxide::extract::SocketRef;
use socketioxide::{SendError, SocketError, SocketIo, SocketIoBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::polling::{Polling, say};
use crate::support::stuck;

/// As long as nothing has to come for nothing to come at all.
const A_WHILE: Duration = Duration::from_secs(1);

/// A server of the library alone, and the sockets that connect.
struct Bare {
    url: String,
    io: SocketIo,
    connected: mpsc::UnboundedReceiver<SocketRef>,
    disconnected: mpsc::UnboundedReceiver<()>,
}

impl Bare {
    async fn start(set: impl FnOnce(SocketIoBuilder) -> SocketIoBuilder) -> Self {
        let (layer, io) = set(SocketIo::builder()).build_layer();
        let (connect, connected) = mpsc::unbounded_channel();
        let (disconnect, disconnected) = mpsc::unbounded_channel();
        io.ns("/", async move |socket: SocketRef| {
            let disconnect = disconnect.clone();
            socket.on_disconnect(async move || disconnect.send(()).unwrap());
            socket.emit("hello", &()).unwrap();
            connect.send(socket).unwrap();
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().layer(layer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            io,
            connected,
            disconnected,
        }
    }

    async fn connected(&mut self) -> SocketRef {
        self.connected.recv().await.unwrap()
    }
}

async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Message {
    socket.next().await.unwrap().unwrap()
}

async fn client(bare: &Bare) -> WebSocketStream<TcpStream> {
    stuck::websocket(stuck::narrow(&bare.url).await, "").await
}

/// `realtime/outlet.rs`: `put` tries again, `BETWEEN_POLLS` and `wait_for_poll` keep away from it.
#[tokio::test]
async fn what_does_not_fit_a_buffer_of_packets_is_refused() {
    let mut bare = Bare::start(|io| io).await;
    let _polling = Polling::connect(&bare.url, "").await;
    let socket = bare.connected().await;
    let emitted = (0..1000).map(|n| socket.emit("n", &n));
    let refused = emitted.enumerate().find(|(_, emitted)| emitted.is_err());
    let (n, error) = refused.expect("something is refused");
    assert!(
        matches!(
            error,
            Err(SendError::Socket(SocketError::InternalChannelFull))
        ),
        "{error:?}"
    );
    assert!(n <= 128, "{n}");
}

/// `realtime/flow.rs` bounds it in bytes.
#[tokio::test]
async fn what_waits_for_a_client_is_not_bounded_in_bytes() {
    let mut bare = Bare::start(|io| io).await;
    let _reads_nothing = client(&bare).await;
    let socket = bare.connected().await;
    let long = "x".repeat(1 << 20);
    for _ in 0..100 {
        socket.emit("long", &long).unwrap();
    }
}

/// `UNACKNOWLEDGED` in `net/accept.rs`, `part` in `realtime/outlet.rs`, and the limit of time
/// around `SocketIo::close`.
#[tokio::test]
async fn who_reads_nothing_is_never_let_go_and_holds_up_the_end() {
    // Long enough to be stuck before it is missed.
    let (often, patient) = (Duration::from_millis(100), Duration::from_secs(3));
    let mut bare = Bare::start(|io| io.ping_interval(often).ping_timeout(patient)).await;
    let _reads_nothing = client(&bare).await;
    let stuck = bare.connected().await;
    let long = "x".repeat(1 << 20);
    for _ in 0..100 {
        stuck.emit("long", &long).unwrap();
    }
    // One that came later, and reads but does not answer, is missed.
    let mut silent = client(&bare).await;
    let socket = bare.connected().await;
    while socket.connected() {
        let _ = timeout(often, silent.next()).await;
    }
    bare.disconnected.recv().await.unwrap();
    assert!(timeout(A_WHILE, bare.disconnected.recv()).await.is_err());
    assert!(timeout(A_WHILE, bare.io.close()).await.is_err());
}

/// `OUTGOING` in `realtime/mod.rs`.
#[tokio::test]
async fn what_an_answer_to_a_poll_has_no_room_for_is_lost_on_the_way_to_a_websocket() {
    let mut bare = Bare::start(|io| io.max_payload(1000)).await;
    let polling = Polling::connect(&bare.url, "").await;
    let socket = bare.connected().await;
    for letter in ["a", "b", "c"] {
        socket.emit("long", &letter.repeat(600)).unwrap();
    }
    let heard = polling.poll().await;
    assert!(heard.contains("aaa") && !heard.contains("bbb"), "{heard}");
    let mut websocket = polling.probe().await;
    assert_eq!(hear(&mut websocket).await, Message::text("3probe"));
    say(&mut websocket, "5").await;
    let next = hear(&mut websocket).await;
    let expected = format!("42{}", json!(["long", "c".repeat(600)]));
    assert_eq!(next, Message::text(expected), "b is lost");
}

/// `wait_for_poll` in `realtime/outlet.rs`.
#[tokio::test]
async fn who_has_a_full_buffer_cannot_go_over_to_a_websocket() {
    let mut bare = Bare::start(|io| io).await;
    let polling = Polling::connect(&bare.url, "").await;
    let socket = bare.connected().await;
    while socket.emit("n", &0).is_ok() {}
    let mut websocket = polling.probe().await;
    assert!(timeout(A_WHILE, hear(&mut websocket)).await.is_err());
    // And what it has cannot be fetched any more.
    assert_eq!(polling.poll().await, "6");
}

/// `realtime/exit.rs`, and `part` in `realtime/outlet.rs`.
#[tokio::test]
async fn a_connection_outlives_its_socket() {
    let (often, soon) = (Duration::from_millis(50), Duration::from_secs(1));
    let set = |io: SocketIoBuilder| io.ping_interval(often).connect_timeout(soon);
    let mut bare = Bare::start(set).await;
    let polling = Polling::connect(&bare.url, "").await;
    bare.connected().await.disconnect().unwrap();
    let over = Instant::now();
    while over.elapsed() < 2 * soon {
        assert_eq!(polling.post("3").await, 200);
        polling.poll().await;
    }
}
