//! Clients that behave badly: they take in little or nothing.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::api::Api;

/// A connection whose receive buffer holds next to nothing.
pub async fn narrow(url: &str) -> TcpStream {
    let address: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(address).await.unwrap()
}

/// A Socket.IO client on a WebSocket over this connection that is connected, and reads nothing
/// more.
pub async fn websocket(stream: TcpStream, token: &str) -> WebSocketStream<TcpStream> {
    let address = "ws://bookbell.test/socket.io/?EIO=4&transport=websocket";
    let (mut socket, _) = tokio_tungstenite::client_async(address, stream)
        .await
        .unwrap();
    let connect = format!("40{}", json!({ "token": token }));
    socket.send(Message::text(connect)).await.unwrap();
    loop {
        let message = socket.next().await.unwrap().unwrap();
        match message.to_text().unwrap() {
            "2" => socket.send(Message::text("3")).await.unwrap(),
            text if text.starts_with("42") => return socket,
            _ => {}
        }
    }
}

/// A Socket.IO client that polls once more, and reads nothing of the answer.
pub async fn polling(api: &Api, token: &str) -> TcpStream {
    let path = "/socket.io/?EIO=4&transport=polling";
    let opened = api.get(path, token).await;
    let opened = String::from_utf8(opened.bytes).unwrap();
    let session = opened.split('"').nth(3).unwrap();
    let path = format!("{path}&sid={session}");
    let connect = format!("40{}", json!({ "token": token }));
    let mut stream = narrow(&api.url).await;
    let post = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n\
         {connect}",
        connect.len()
    );
    stream.write_all(post.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let n = stream.read(&mut answer).await.unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200"));
    let poll = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    // The first answers say that it is connected.
    for _ in 0..20 {
        stream.write_all(poll.as_bytes()).await.unwrap();
    }
    stream
}

/// Reads on and on, one message after the other, until the server ends it. Answers how.
pub async fn read_slowly(mut socket: WebSocketStream<TcpStream>) -> String {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) if text.as_str() == "2" => {
                if let Err(error) = socket.send(Message::text("3")).await {
                    return error.to_string();
                }
            }
            Some(Ok(Message::Close(_))) | None => return String::from("closed"),
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Takes in a little at a time, without ever saying that it is there, until the server ends it.
pub async fn trickle(socket: WebSocketStream<TcpStream>) {
    let mut stream = socket.into_inner();
    let mut little = [0; 800];
    while stream.read(&mut little).await.is_ok_and(|n| n > 0) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
