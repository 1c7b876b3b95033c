//! A minimal Socket.IO client: Engine.IO 4 over a WebSocket, as light as can be.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Small, because there are thousands of them.
const BUFFER_BYTES: usize = 2 << 10;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket(WebSocketStream<TcpStream>);

#[derive(Deserialize)]
struct Hello {
    seq: i64,
}

impl Socket {
    /// Connects with this token, from a position where one is given, and waits for `connected`;
    /// answers the position that events follow from, too.
    pub(crate) async fn connect(
        server: SocketAddr,
        token: &str,
        since: Option<i64>,
    ) -> anyhow::Result<(Self, i64)> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{server}/socket.io/?EIO=4&transport=websocket");
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0);
        let (stream, _) = client_async_with_config(url, stream, Some(config)).await?;
        let mut socket = Self(stream);
        let opening = socket.next_packet().await?;
        ensure!(opening.starts_with('0'), "not Engine.IO: {opening}");
        let mut auth = json!({ "token": token });
        if let Some(since) = since {
            auth["since"] = Value::from(since);
        }
        socket.send(format!("40{auth}")).await?;
        loop {
            let packet = socket.next_packet().await?;
            if let Some(refusal) = packet.strip_prefix("44") {
                bail!("connect_error {refusal}");
            }
            if let Some(event) = packet.strip_prefix("42") {
                let (name, hello): (String, Hello) =
                    serde_json::from_str(event).context("not `connected`")?;
                ensure!(name == "connected", "{name} before `connected`");
                return Ok((socket, hello.seq));
            }
        }
    }

    /// The next packet that is not a ping, which is answered.
    pub(crate) async fn next_packet(&mut self) -> anyhow::Result<String> {
        loop {
            let message = self.0.next().await.context("the socket was closed")??;
            match message {
                Message::Text(text) if text.as_str() == "2" => self.send("3".to_owned()).await?,
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Close(frame) => bail!("the server closed the socket: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Leaves properly.
    pub(crate) async fn close(mut self) {
        // The server may be gone already.
        let _ = self.0.close(None).await;
    }

    async fn send(&mut self, packet: String) -> anyhow::Result<()> {
        Ok(self.0.send(Message::text(packet)).await?)
    }
}

/// The position in a packet that carries a durable event; it stands in its last argument.
pub(crate) fn seq_in(packet: &str) -> Option<i64> {
    let (_, rest) = packet.strip_prefix("42")?.rsplit_once("\"seq\":")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..digits].parse().ok()
}
