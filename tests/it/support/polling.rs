//! A Socket.IO client that polls, by hand.

use futures_util::SinkExt;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::server::PATIENCE;

/// What stands between the packets of an answer.
const BETWEEN: char = '\u{1e}';

/// A client that polls, and answers no ping by itself.
pub struct Polling {
    client: reqwest::Client,
    path: String,
}

impl Polling {
    /// Connects, and polls until it knows and was asked whether it is there, which is at once: a
    /// server that finds no room to ask so gives the client up.
    pub async fn connect(url: &str, token: &str) -> Self {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let mut path = format!("{url}/socket.io/?EIO=4&transport=polling");
        let opened = client.get(&path).send().await.unwrap();
        let opened = opened.text().await.unwrap();
        path = format!("{path}&sid={}", opened.split('"').nth(3).unwrap());
        let polling = Self { client, path };
        let connect = format!("40{}", json!({ "token": token }));
        polling.post(&connect).await;
        let (mut knows, mut asked) = (false, false);
        while !(knows && asked) {
            for packet in polling.poll().await.split(BETWEEN) {
                knows |= packet.starts_with("42");
                asked |= packet == "2";
            }
        }
        polling
    }

    /// The answer to a poll.
    pub async fn poll(&self) -> String {
        let answer = self.client.get(&self.path).send().await.unwrap();
        answer.text().await.unwrap()
    }

    /// Posts a packet, and answers the status.
    pub async fn post(&self, packet: &str) -> u16 {
        let request = self.client.post(&self.path).body(packet.to_owned());
        request.send().await.unwrap().status().as_u16()
    }

    /// Polls on, and says that it is there, until the server knows it no more. Answers what came.
    pub async fn stay(&self) -> Vec<String> {
        let mut heard = Vec::new();
        while self.post("3").await == 200 {
            let answer = self.poll().await;
            heard.extend(answer.split(BETWEEN).map(str::to_owned));
        }
        heard
    }

    /// Asks for a WebSocket without saying how, and answers the status.
    pub async fn ask_in_vain(&self) -> u16 {
        let path = self.path.replace("=polling", "=websocket");
        self.client
            .get(path)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }

    /// Asks to go over to a WebSocket.
    pub async fn probe(&self) -> WebSocketStream<TcpStream> {
        let path = self.path.replace("=polling", "=websocket");
        let url = path.trim_start_matches("http://");
        let stream = TcpStream::connect(url.split('/').next().unwrap());
        let (mut socket, _) =
            tokio_tungstenite::client_async(format!("ws://{url}"), stream.await.unwrap())
                .await
                .unwrap();
        say(&mut socket, "2probe").await;
        socket
    }
}

/// Sends a text over a WebSocket.
pub async fn say(socket: &mut WebSocketStream<TcpStream>, text: &'static str) {
    socket.send(Message::text(text)).await.unwrap();
}
