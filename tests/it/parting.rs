//! How a connection ends whose socket is over: also where the client would keep it.

use axum::http::Method;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::database::Database;
use crate::support::polling::{Polling, say};
use crate::support::server::{PATIENCE, Server};
use crate::support::stuck;

/// A client that closes nothing by itself, and answers whenever it is asked whether it is there.
enum Clinging {
    Polling(Polling),
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

impl Clinging {
    /// One of each kind: that polls, that has a WebSocket, and that went over to one.
    async fn all(server: &Server, token: &str) -> [(&'static str, Self); 3] {
        let stream = TcpStream::connect(server.url.trim_start_matches("http://"));
        let websocket = stuck::websocket(stream.await.unwrap(), token).await;
        let polling = || Polling::connect(&server.url, token);
        let gone_over = polling().await;
        let mut upgraded = gone_over.probe().await;
        let probed = upgraded.next().await.unwrap().unwrap();
        assert_eq!(probed, Message::text("3probe"));
        say(&mut upgraded, "5").await;
        // It was asked while it polled.
        say(&mut upgraded, "3").await;
        // By another TCP connection, which is not the one to be closed.
        assert_eq!(gone_over.ask_in_vain().await, 400);
        [
            ("polling", Self::Polling(polling().await)),
            ("websocket", Self::WebSocket(Box::new(websocket))),
            ("upgraded", Self::WebSocket(Box::new(upgraded))),
        ]
    }

    async fn leave(&mut self) {
        match self {
            Self::Polling(client) => assert_eq!(client.post("41").await, 200),
            Self::WebSocket(client) => say(client, "41").await,
        }
    }

    /// Stays for as long as it may, and answers what it heard meanwhile.
    async fn stay(self) -> String {
        match self {
            Self::Polling(client) => client.stay().await.join("\n"),
            Self::WebSocket(client) => stay(*client).await.join("\n"),
        }
    }
}

async fn stay(mut client: WebSocketStream<TcpStream>) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(Ok(message)) = client.next().await {
        match message.to_text().unwrap() {
            "2" => client.send(Message::text("3")).await.unwrap(),
            text => heard.push(text.to_owned()),
        }
    }
    heard
}

/// Waits until all are closed, and answers what each heard.
async fn closed(clients: impl IntoIterator<Item = (&'static str, Clinging)>) -> Vec<String> {
    let stays = |(name, client): (&'static str, Clinging)| async move {
        let heard = timeout(PATIENCE, client.stay()).await;
        heard.map_err(|_| format!("{name} is never closed"))
    };
    let stayed = join_all(clients.into_iter().map(stays)).await;
    let (closed, open): (Vec<_>, Vec<_>) = stayed.into_iter().partition(Result::is_ok);
    assert!(open.is_empty(), "{open:?}");
    closed.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_closed_after_its_session_ended() {
    let server = Server::start(Database::sqlite());
    let api = server.api();
    let token = api.admin().await.token;
    let clients = Clinging::all(&server, &token).await;
    let left = api
        .send(Method::POST, "/api/auth/logout", Some(&token), None)
        .await;
    left.expect(204);
    for heard in closed(clients).await {
        let told = "42[\"session-ended\",{\"code\":\"logged_out\"}]\n41";
        assert!(heard.contains(told), "{heard}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_closed_after_its_client_left() {
    let server = Server::start(Database::sqlite());
    let token = server.api().admin().await.token;
    let mut clients = Clinging::all(&server, &token).await;
    for (_, client) in &mut clients {
        client.leave().await;
    }
    closed(clients).await;
}
