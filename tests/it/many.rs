//! Thousands of clients at once: what a connection must not hold on to, and room for all who come
//! back after a restart.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Uri, header};
use bookbell::app::App;
use bookbell::app::events::{Most, Served};
use bookbell::domain::ids::{Id, UuidV7};
use bookbell::domain::user::{Caller, Role};
use bookbell::net;
use bookbell::realtime::Sockets;
use bookbell::store::Store;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::support::app::{TestApp, settings};
use crate::support::on_both;
use crate::support::server::PATIENCE;

/// A request as hyper hands it on: slices of the buffer that it was read into.
fn read_into(buffer: &Bytes) -> Request<Body> {
    let slice = |text: &str| {
        let at = std::str::from_utf8(buffer).unwrap().find(text).unwrap();
        buffer.slice(at..at + text.len())
    };
    let uri = Uri::from_maybe_shared(slice("/socket.io/?EIO=4&transport=polling")).unwrap();
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    for (name, value) in [
        (header::AUTHORIZATION, "Bearer abc"),
        (header::ACCEPT, "*/*"),
    ] {
        let value = HeaderValue::from_maybe_shared(slice(value)).unwrap();
        request.headers_mut().insert(name, value);
    }
    request
}

#[tokio::test]
async fn a_connection_does_not_hold_the_buffer_that_its_request_was_read_into() {
    let app = TestApp::sqlite().await;
    let sockets = Sockets::new(app.app.clone(), "/socket.io");
    let router = sockets.add_to(Router::new());
    let buffer = || {
        Bytes::from(String::from(
            "/socket.io/?EIO=4&transport=polling Bearer abc */*",
        ))
    };
    let (as_it_came, admitted) = (buffer(), buffer());
    let answer = router.clone().oneshot(read_into(&as_it_came)).await;
    assert_eq!(answer.unwrap().status(), 200);
    assert!(
        !as_it_came.is_unique(),
        "engineioxide keeps no more of a request than it needs: realtime/request.rs can go"
    );
    let answer = sockets.before(router).oneshot(read_into(&admitted)).await;
    assert_eq!(answer.unwrap().status(), 200);
    assert!(admitted.is_unique(), "something still points into it");
}

#[tokio::test]
async fn hundreds_may_wait_to_be_accepted() {
    let listener = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let all = async {
        for _ in 0..400 {
            waiting.push(TcpStream::connect(address).await.unwrap());
        }
    };
    // Who finds no room would try again and again, for nobody accepts.
    timeout(PATIENCE, all).await.unwrap();
}

on_both! {
    async fn what_was_missed_is_read_into_memory_once_for_all(app: TestApp) {
        for n in 0..5 {
            let body = json!({ "email": format!("p{n}@example.com") });
            app.post("/api/prospects", &body).await.expect(201);
        }
        let store = Store::open(&app.database.url).await.unwrap();
        let (node, _writer) =
            App::new(store, settings(), app.clock.clone(), Arc::new(UuidV7::new())).await.unwrap();
        let id = || Id::from_stored("01900000-0000-7000-8000-000000000001".to_owned());
        let caller = Caller { user_id: id(), role: Role::Admin, session_id: id() };
        let read = async |since| match node.events_after(since, Most { events: 64, payload: None }, &caller).await.unwrap() {
            Served::Stretch(stretch) => {
                let events = stretch.events.iter().map(|event| event.seq).collect::<Vec<_>>();
                Ok((events, stretch.upto))
            }
            Served::Resync(head) => Err(head),
        };
        assert!(!node.log.holds(3), "a node starts with nothing in memory");
        assert_eq!(node.begin_after(Some(3)).await.unwrap(), Ok(3));
        assert!(node.log.holds(3) && !node.log.holds(2));
        assert_eq!(read(3).await, Ok((vec![4, 5], 5)));
        assert_eq!(read(0).await, Ok((vec![1, 2, 3, 4, 5], 5)));
        assert!(node.log.holds(0));
        assert_eq!(node.begin_after(None).await.unwrap(), Ok(5));
        assert_eq!(node.begin_after(Some(6)).await.unwrap(), Err(5));

        // What is no longer kept does not come back.
        app.database.execute("DELETE FROM event WHERE seq <= 2").await;
        app.database.execute("UPDATE event_log SET floor_seq = 2").await;
        node.log.forget(2);
        assert_eq!(node.begin_after(Some(1)).await.unwrap(), Err(5));
        assert_eq!(read(1).await, Err(5));
        assert_eq!(read(2).await, Ok((vec![3, 4, 5], 5)));
    }
}
