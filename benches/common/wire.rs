//! HTTP/1.1 over one keep-alive connection, with no more work than the load needs.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const READ_BYTES: usize = 4096;

/// A connection to the server.
#[derive(Debug)]
pub(crate) struct Connection {
    server: SocketAddr,
    stream: TcpStream,
    read: Vec<u8>,
}

/// What the server said.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// The whole body.
    pub(crate) body: &'a [u8],
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server)
            .await
            .context("cannot connect to the server")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            server,
            stream,
            read: Vec::with_capacity(READ_BYTES),
        })
    }

    /// Sends one request as it stands and reads its answer to the end.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.read.clear();
        let (status, body_at, end) = loop {
            self.read_more().await?;
            if let Some(head) = read_head(&self.read)? {
                break head;
            }
        };
        while self.read.len() < end {
            self.read_more().await?;
        }
        ensure!(self.read.len() == end, "more came than one answer");
        Ok(Answer {
            status,
            body: &self.read[body_at..],
        })
    }

    /// Posts JSON and returns the JSON of a 2xx answer.
    pub(crate) async fn post_json(
        &mut self,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let body = body.to_string();
        let bearer = token.map_or(String::new(), |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{bearer}\
             Content-Length: {}\r\n\r\n{body}",
            self.server,
            body.len()
        );
        let answer = self.exchange(request.as_bytes()).await?;
        ensure!(
            (200..300).contains(&answer.status),
            "POST {path} was answered {}: {}",
            answer.status,
            String::from_utf8_lossy(answer.body)
        );
        serde_json::from_slice(answer.body).with_context(|| format!("POST {path}: not JSON"))
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        let count = self.stream.read_buf(&mut self.read).await?;
        ensure!(count > 0, "the server closed the connection");
        Ok(())
    }
}

/// The status, where the body begins and where it ends; `None` while the head is incomplete.
fn read_head(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let Some(head_len) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..head_len])?;
    let status = head
        .strip_prefix("HTTP/1.1 ")
        .and_then(|line| line.get(..3)?.parse().ok())
        .context("not an HTTP/1.1 answer")?;
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .context("an answer without Content-Length")?;
    let body_at = head_len + 4;
    Ok(Some((status, body_at, body_at + length)))
}
