//! A connection's bytes, and the bodies that pass over it: both tell the table what is going on.

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use futures_util::ready;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::table::Peer;

/// So many bytes are read at once: one less than hyper's buffer has room for at first. Each time one
/// read fills it hyper makes it twice as large, up to 64 KiB, which in a flood of large bodies all
/// connections would keep.
const AT_ONCE: u64 = (8 << 10) - 1;

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

    fn note(&self, cx: &Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => self.peer.wrote(bytes as u64),
            Poll::Ready(Err(_)) => return written,
            Poll::Pending => self.peer.writes_with(cx.waker()),
        }
        if self.peer.is_abandoned() {
            return Poll::Ready(Err(cut()));
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
        let mut tcp = (&mut self.tcp).take(AT_ONCE);
        let read = Pin::new(&mut tcp).poll_read(cx, buf);
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
        self.note(cx, written)
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
        self.note(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

/// So many bytes of a body are handed on at once, unless they are the last. It is the largest
/// size that the allocator packs: of anything larger it takes a page more, and leaves holes.
const PIECE: usize = 14 << 10;

/// The body of a request. While it is asked for, it must come.
///
/// Each piece that hyper hands out holds the whole buffer it was read into, 8 KiB and more. A body
/// that comes a byte at a time would take as much for each, so pieces are copied together here,
/// into buffers of one size: what bodies take is what the table counts.
#[derive(Debug)]
pub(super) struct Arriving<B = Incoming> {
    body: B,
    peer: Peer,
    /// What hyper read and has no room in the piece. Empty whenever hyper is waited for.
    read: Bytes,
    gathered: Vec<u8>,
}

impl<B> Arriving<B>
where
    B: hyper::body::Body<Data = Bytes>,
{
    pub(super) fn new(body: B, peer: Peer) -> Self {
        Self {
            body,
            peer,
            read: Bytes::new(),
            gathered: Vec::new(),
        }
    }

    /// Takes of what was read as much as the piece has room for; answers whether it is full.
    fn gather(&mut self) -> bool {
        if self.gathered.capacity() == 0 {
            let to_come = self.body.size_hint().upper().unwrap_or(u64::MAX);
            let to_come = usize::try_from(to_come).unwrap_or(PIECE);
            let room = to_come.saturating_add(self.read.len()).min(PIECE);
            self.gathered.reserve_exact(room);
        }
        let room = self.gathered.capacity() - self.gathered.len();
        let taken = self.read.split_to(room.min(self.read.len()));
        self.gathered.extend_from_slice(&taken);
        taken.len() == room
    }

    fn hand_on(&mut self) -> Frame<Bytes> {
        Frame::data(Bytes::from(mem::take(&mut self.gathered)))
    }
}

impl<B> hyper::body::Body for Arriving<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if !self.is_end_stream() && self.peer.is_to_wait() {
            // Behind the tasks of those that were cut off, which are in the queue.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if !self.read.is_empty() && self.gather() {
                let bytes = self.gathered.len() as u64;
                let piece = self.hand_on();
                // One that has come whole is not to wait any more, nor to be cut off.
                if !self.is_end_stream() {
                    self.peer.took(bytes);
                }
                return Poll::Ready(Some(Ok(piece)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    // All of it at once, as most are: nothing waits for more.
                    Ok(data) if self.gathered.is_empty() && self.body.is_end_stream() => {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Ok(data) => self.read = data,
                    // Nobody asks for trailers.
                    Err(_trailers) => {}
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if self.gathered.is_empty() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Ok(self.hand_on()))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.gathered.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let gathered = (self.gathered.len() + self.read.len()) as u64;
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + gathered);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + gathered);
        }
        hint
    }
}

impl<B> Drop for Arriving<B> {
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[tokio::test]
    async fn a_body_that_comes_a_byte_at_a_time_is_handed_on_in_few_pieces() {
        let text: Vec<u8> = (0..40_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let bytes = text.iter().map(|byte| Bytes::from(vec![*byte]));
        let frames = bytes.map(|byte| Ok::<_, io::Error>(Frame::data(byte)));
        let peer = Peer::alone();
        let mut body = Arriving::new(StreamBody::new(stream::iter(frames)), peer.clone());
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(pieces.len(), 3);
        assert_eq!(peer.arrived(), 2 * PIECE as u64, "the last has come whole");
        assert_eq!(pieces.concat(), text);
    }

    /// A body that knows how much of it is to come.
    struct Known(VecDeque<Bytes>);

    impl hyper::body::Body for Known {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.iter().map(|data| data.len() as u64).sum())
        }
    }

    #[tokio::test]
    async fn a_body_that_has_come_whole_is_not_counted_as_one_that_has_not() {
        let text = vec![7; PIECE + 1000];
        let frames = text.chunks(5000).map(Bytes::copy_from_slice).collect();
        let peer = Peer::alone();
        let mut body = Arriving::new(Known(frames), peer.clone());
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            whole.extend(frame.unwrap().into_data().unwrap());
            assert_eq!(peer.arrived(), PIECE as u64);
        }
        assert_eq!(whole, text);
    }
}
