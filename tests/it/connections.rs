//! What connections may take: the slow are cut off, the idle make room, and the others do not
//! notice.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::routing::get;
use bookbell::calendly::signature::{SigningKey, sign};
use bookbell::domain::clock::Clock;
use bookbell::net::{self, Limits, Peer};
use bookbell::realtime::Sockets;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::app::{KEY, TestApp};
use crate::support::payload::Booking;
use crate::support::polling::{Polling, say};
use crate::support::scrape::Scrape;
use crate::support::server::PATIENCE;

/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(400);

/// The product behind the program's own accept loop, in this process.
struct Site {
    app: TestApp,
    sockets: Sockets,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Site {
    async fn start(limits: Limits) -> Self {
        let app = TestApp::sqlite().await;
        let router = bookbell::http::router(app.app.clone());
        Self::serve(app, router, limits).await
    }

    async fn serve(app: TestApp, router: Router, limits: Limits) -> Self {
        Self::serve_patiently(app, router, limits, SHORT).await
    }

    /// Serves with this time for sockets to authenticate.
    async fn serve_patiently(
        app: TestApp,
        router: Router,
        limits: Limits,
        connect: Duration,
    ) -> Self {
        let path = "/socket.io";
        let sockets = Sockets::with_limits(app.app.clone(), path, connect, limits.strangers);
        let service = sockets.before(sockets.add_to(router));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let counts = app.app.metrics.connections.clone();
        let serving = net::serve(listener, service, limits, counts, stop.clone());
        let serving = tokio::spawn(serving);
        Self {
            app,
            sockets,
            address,
            stop,
            serving,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A signed booking as a request.
    fn booking(&self, n: u32) -> Vec<u8> {
        let body = Booking::new(n, "noor@example.org").created().to_string();
        self.signed(body.as_bytes())
    }

    fn signed(&self, body: &[u8]) -> Vec<u8> {
        let at_s = self.app.clock.now_ms() / 1000;
        let signature = sign(&SigningKey::new(KEY).unwrap(), at_s, body);
        let head = format!(
            "POST /webhooks/calendly HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\
             Calendly-Webhook-Signature: {signature}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    /// Posts a booking over a connection of its own.
    async fn post(&self, n: u32) {
        let mut stream = self.connect().await;
        assert_eq!(ask(&mut stream, &self.booking(n)).await, Some(200));
    }

    async fn scrape(&self) -> Scrape {
        let reply = self.app.get("/metrics").await;
        Scrape::read(std::str::from_utf8(&reply.bytes).unwrap())
    }

    async fn until(&self, sample: &str, expected: impl Fn(f64) -> bool) {
        let reached = async {
            while !expected(self.scrape().await.value(sample)) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let reached = timeout(PATIENCE, reached).await;
        assert!(
            reached.is_ok(),
            "{sample}: {}",
            self.scrape().await.value(sample)
        );
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }
}

const KNOWN: &str = "bookbell_connections{peer=\"known\"}";

fn cut(reason: &str) -> String {
    format!("bookbell_connections_cut_total{{reason=\"{reason}\"}}")
}

/// Sends a request and answers the status; `None` when the connection is closed instead.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<u16> {
    // It may be answered, or closed, before it is all sent.
    let _ = stream.write_all(request).await;
    answer(stream).await
}

/// Reads an answer whole, so that the next can be read.
async fn answer(stream: &mut TcpStream) -> Option<u16> {
    let mut said = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&said);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines().map(str::to_lowercase);
            let length = lines.find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() == length.unwrap_or(0) {
                return head.split(' ').nth(1)?.parse().ok();
            }
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut said)).await;
        let read = read.expect("neither answered nor closed");
        if !matches!(read, Ok(1..)) {
            return None;
        }
    }
}

/// Sends a byte again and again until the connection is closed.
async fn drip(mut stream: TcpStream, head: &[u8]) {
    stream.write_all(head).await.unwrap();
    let dripping = async {
        while stream.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = timeout(PATIENCE, dripping).await;
    assert!(closed.is_ok(), "it is never cut off");
}

fn short(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_are_cut_off_and_good_posts_go_on() {
    let site = Site::start(short(|limits| limits.head = SHORT)).await;
    let mut silent = site.connect().await;
    let slow = tokio::spawn(drip(
        site.connect().await,
        b"POST /webhooks/calendly HTTP/1.1\r\nx:",
    ));
    for n in 1..=20 {
        site.post(n).await;
    }
    assert_eq!(answer(&mut silent).await, None);
    slow.await.unwrap();
    site.until(&cut("head"), |n| n >= 2.0).await;
    site.post(21).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_are_cut_off_and_good_posts_go_on() {
    let head = b"POST /webhooks/calendly HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{";
    let paused = Site::start(short(|limits| limits.body_pause = SHORT)).await;
    let mut stream = paused.connect().await;
    // Whoever is cut off may be told why first.
    assert!(matches!(ask(&mut stream, head).await, None | Some(400)));
    paused.until(&cut("body"), |n| n >= 1.0).await;
    paused.end().await;

    let slow = Site::start(short(|limits| {
        (limits.body, limits.head) = (SHORT, SHORT);
    }));
    let slow = slow.await;
    let dripping = tokio::spawn(drip(slow.connect().await, head));
    for n in 1..=20 {
        slow.post(n).await;
    }
    dripping.await.unwrap();
    slow.until(&cut("body"), |n| n >= 1.0).await;
    slow.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let app = TestApp::sqlite().await;
    let release = CancellationToken::new();
    let released = release.clone();
    let wait = get(async move || released.cancelled().await);
    let router = bookbell::http::router(app.app.clone()).route("/wait", wait);
    let limits = short(|limits| {
        (limits.head, limits.idle, limits.body) = (SHORT, SHORT, SHORT);
        limits.body_pause = SHORT;
    });
    let site = Site::serve(app, router, limits).await;
    let mut busy = site.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // Begun later, it is over its time only when the other is as well.
    let mut idle = site.connect().await;
    assert_eq!(ask(&mut idle, &site.booking(1)).await, Some(200));
    assert_eq!(ask(&mut idle, &site.booking(2)).await, Some(200));
    assert_eq!(answer(&mut idle).await, None);
    site.until(&cut("idle"), |n| n >= 1.0).await;
    release.cancel();
    assert_eq!(answer(&mut busy).await, Some(200));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_make_room_for_those_who_come_after_and_the_known_stay() {
    let site = Site::start(short(|limits| limits.strangers = 4)).await;
    let mut known = site.connect().await;
    assert_eq!(ask(&mut known, &site.booking(1)).await, Some(200));
    let mut strangers = Vec::new();
    for n in 2..=20 {
        strangers.push(site.connect().await);
        site.post(n).await;
    }
    site.until(&cut("full"), |n| n >= 15.0).await;
    assert_eq!(answer(&mut strangers[0]).await, None);
    let strangers_now = "bookbell_connections{peer=\"stranger\"}";
    assert!(site.scrape().await.value(strangers_now) <= 4.0);
    // A request that proves nothing does not help.
    let last = strangers.last_mut().unwrap();
    assert_eq!(
        ask(last, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await,
        Some(200)
    );
    let more = [(); 4].map(|()| site.connect());
    let _more = futures_util::future::join_all(more).await;
    assert_eq!(answer(last).await, None);
    assert_eq!(ask(&mut known, &site.booking(21)).await, Some(200));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_proves_nothing_for_long_is_a_stranger_again() {
    let site = Site::start(short(|limits| limits.idle = SHORT)).await;
    let mut used = site.connect().await;
    let mut n = 0;
    let proving = async {
        for known in [true, false, true, false] {
            while (site.scrape().await.value(KNOWN) > 0.0) != known {
                n += 1;
                let idle = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
                let request = if known { site.booking(n) } else { idle };
                assert_eq!(ask(&mut used, &request).await, Some(200));
                sleep(Duration::from_millis(10)).await;
            }
        }
    };
    assert!(
        timeout(PATIENCE, proving).await.is_ok(),
        "it is known still"
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_are_known_one_too_many_is_refused() {
    let site = Site::start(short(|limits| limits.connections = 3)).await;
    let mut known = Vec::new();
    for n in 1..=3 {
        let mut stream = site.connect().await;
        assert_eq!(ask(&mut stream, &site.booking(n)).await, Some(200));
        known.push(stream);
    }
    assert_eq!(answer(&mut site.connect().await).await, None);
    for (n, stream) in known.iter_mut().enumerate() {
        let booking = site.booking(10 + u32::try_from(n).unwrap());
        assert_eq!(ask(stream, &booking).await, Some(200));
    }
    known.pop();
    site.until(KNOWN, |n| n < 3.0).await;
    site.post(20).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_a_mebibyte_are_taken_and_larger_ones_are_not() {
    let site = Site::start(Limits::default()).await;
    let mut stream = site.connect().await;
    let mut body = vec![b' '; 1 << 20];
    for _ in 0..3 {
        assert_eq!(ask(&mut stream, &site.signed(&body)).await, Some(202));
    }
    body.push(b' ');
    assert_eq!(ask(&mut stream, &site.signed(&body)).await, Some(413));
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let refused = ask(&mut site.connect().await, long.as_bytes()).await;
    assert!(matches!(refused, None | Some(431)), "{refused:?}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_never_authenticate_are_closed() {
    let site = Site::start(Limits::default()).await;
    let mut stream = site.connect().await;
    let upgrade = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade).await.unwrap();
    let mut said = Vec::new();
    // Connected as far as Engine.IO goes, and then shown out.
    // Sooner than for a ping that goes unanswered, which takes ten seconds.
    let limit = Duration::from_secs(8);
    let closed = timeout(limit, stream.read_to_end(&mut said)).await;
    assert!(closed.is_ok(), "{}", String::from_utf8_lossy(&said));
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        said.starts_with("HTTP/1.1 101") && said.contains("\"sid\""),
        "{said}"
    );
    let open = "bookbell_connections{peer=\"stranger\"}";
    site.until(open, |n| n == 0.0).await;
    site.end().await;
}

/// Begins to poll, and answers the status.
async fn begin(stream: &mut TcpStream) -> Option<u16> {
    let open = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n";
    ask(stream, open).await
}

/// Begins to poll again and again, until this is the answer.
async fn begin_until(stream: &mut TcpStream, status: u16) {
    let begun = async {
        while begin(stream).await != Some(status) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let begun = timeout(PATIENCE, begun).await;
    assert!(begun.is_ok(), "it is never answered {status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_poll_are_not_more_than_there_may_be() {
    let site = Site::start(short(|limits| limits.strangers = 10)).await;
    let mut stream = site.connect().await;
    begin_until(&mut stream, 503).await;
    // Other requests by the same connection are none of this.
    assert_eq!(ask(&mut stream, &site.booking(1)).await, Some(200));
    let beside = b"GET /socket.io-admin?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(ask(&mut stream, beside).await, Some(404));
    // Their time is over soon.
    begin_until(&mut stream, 200).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_polls_and_is_known_makes_room_for_strangers() {
    let app = TestApp::sqlite().await;
    let token = app.admin_token().to_owned();
    let router = bookbell::http::router(app.app.clone());
    let limits = short(|limits| limits.strangers = 2);
    let site = Site::serve_patiently(app, router, limits, PATIENCE).await;
    let url = format!("http://{}", site.address);
    // More than may be strangers, one after the other.
    let mut known = Vec::new();
    for _ in 0..5 {
        known.push(Polling::connect(&url, &token).await);
    }
    for client in known {
        assert_eq!(client.post("3").await, 200);
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_bodies_take_too_much_room_who_began_first_has_to_go() {
    let site = Site::start(Limits {
        bodies: 200 << 10,
        ..Limits::default()
    })
    .await;
    let large = site.signed(&vec![b' '; 80 << 10]);
    let (most, rest) = large.split_at(70 << 10);
    let mut all = Vec::new();
    for _ in 0..4 {
        let mut stream = site.connect().await;
        stream.write_all(most).await.unwrap();
        all.push(stream);
    }
    site.until(&cut("full"), |n| n >= 1.0).await;
    let mut all = all.into_iter();
    assert_ne!(answer(&mut all.next().unwrap()).await, Some(202));
    for mut stream in all {
        stream.write_all(rest).await.unwrap();
        assert_eq!(answer(&mut stream).await, Some(202));
    }
    // What has come whole takes no room any more.
    for n in 0..4 {
        site.post(n).await;
        let mut stream = site.connect().await;
        assert_eq!(ask(&mut stream, &large).await, Some(202));
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_given_up_is_counted_once() {
    let app = TestApp::sqlite().await;
    let give_up = async |Extension(peer): Extension<Peer>| {
        peer.abandon();
        peer.abandon();
    };
    let router = bookbell::http::router(app.app.clone());
    let router = router.route("/given-up", get(give_up));
    let site = Site::serve(app, router, Limits::default()).await;
    let request = b"GET /given-up HTTP/1.1\r\nHost: x\r\n\r\n";
    for n in [1.0, 2.0] {
        ask(&mut site.connect().await, request).await;
        site.scrape().await.expect(&[(&cut("stuck"), n)]);
    }
    site.end().await;
}

/// One thread, so that what is kept of the WebSocket is gone when its connection is.
#[tokio::test]
async fn who_left_by_a_websocket_has_no_other_connection_cut() {
    let app = TestApp::sqlite().await;
    let token = app.admin_token().to_owned();
    let router = bookbell::http::router(app.app.clone());
    let site = Site::serve_patiently(app, router, Limits::default(), PATIENCE).await;
    let polling = Polling::connect(&format!("http://{}", site.address), &token).await;
    let mut websocket = polling.probe().await;
    websocket.next().await.unwrap().unwrap();
    say(&mut websocket, "5").await;
    let delivered_to = "bookbell_sockets{transport=\"websocket\"}";
    site.until(delivered_to, |n| n >= 1.0).await;
    say(&mut websocket, "41").await;
    site.until(delivered_to, |n| n == 0.0).await;
    websocket.close(None).await.unwrap();
    site.until(KNOWN, |n| n <= 1.0).await;
    // It waits for none that left any more.
    site.sockets.drain(PATIENCE).await;
    site.scrape()
        .await
        .expect(&[(KNOWN, 1.0), (&cut("stuck"), 0.0)]);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_finishes_what_runs_and_waits_for_nobody_who_says_nothing() {
    let app = TestApp::sqlite().await;
    let (started, release) = (CancellationToken::new(), CancellationToken::new());
    let (begun, released) = (started.clone(), release.clone());
    let wait = get(async move || {
        begun.cancel();
        released.cancelled().await;
        Body::from("done")
    });
    let router = bookbell::http::router(app.app.clone()).route("/wait", wait);
    let site = Site::serve(app, router, Limits::default()).await;
    let _silent = site.connect().await;
    let mut used = site.connect().await;
    assert_eq!(ask(&mut used, &site.booking(1)).await, Some(200));
    let mut running = site.connect().await;
    running
        .write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    started.cancelled().await;
    site.stop.cancel();
    assert_eq!(answer(&mut used).await, None);
    release.cancel();
    assert_eq!(answer(&mut running).await, Some(200));
    timeout(Duration::from_secs(5), site.serving)
        .await
        .unwrap()
        .unwrap();
}
