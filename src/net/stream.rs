//! A connection's bytes, and the bodies that pass over it: both tell the table what is going on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::table::Peer;

/// A TCP connection, in the table for as long as it is open, whoever has taken it over.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: TcpStream,
    peer: Peer,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, peer: Peer) -> Self {
        Self { tcp, peer }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.peer.wrote(bytes as u64);
        }
        written
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.peer.leave();
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the connection was cut off")
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, buf);
        match read {
            Poll::Ready(_) if buf.filled().len() > before => self.peer.read(),
            Poll::Ready(_) => return read,
            Poll::Pending => self.peer.reads_with(cx.waker()),
        }
        if self.peer.is_cut() {
            return Poll::Ready(Err(cut()));
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

/// The body of a request. While it is asked for, it must come.
#[derive(Debug)]
pub(super) struct Arriving {
    body: Incoming,
    peer: Peer,
}

impl Arriving {
    pub(super) fn new(body: Incoming, peer: Peer) -> Self {
        Self { body, peer }
    }
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    /// Read to its end, or nobody wants the rest.
    fn drop(&mut self) {
        self.peer.received();
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Leaving {
    body: Body,
    peer: Peer,
}

impl Leaving {
    pub(super) fn new(body: Body, peer: Peer) -> Self {
        Self { body, peer }
    }
}

impl hyper::body::Body for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.peer.answered();
    }
}
