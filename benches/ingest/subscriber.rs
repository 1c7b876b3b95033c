//! A Socket.IO client that notes when each booking is heard. It has a thread of its own, so that the senders do not delay it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::common::booking::key_in;
use crate::common::socket::Socket;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);
/// How long to listen on for events that should not come.
const AFTERMATH: Duration = Duration::from_millis(300);

/// One booking that was heard of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receipt {
    /// Which booking.
    pub(crate) key: u64,
    /// When its event was read.
    pub(crate) received: Instant,
}

/// What the subscriber heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Every `prospect:created`, in the order of arrival.
    pub(crate) receipts: Vec<Receipt>,
    /// How many `proposal-created` there were.
    pub(crate) proposals: u64,
    /// How many events had a `seq` that was not above the one before.
    pub(crate) out_of_order: u64,
    last_seq: i64,
}

/// A connected subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    thread: JoinHandle<anyhow::Result<Heard>>,
    stop: oneshot::Sender<()>,
    events: Arc<AtomicU64>,
}

impl Subscriber {
    /// Connects with this token, and returns when the server has said `connected`.
    pub(crate) async fn connect(server: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let (ready, connected) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let events = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&events);
        let token = token.to_owned();
        let thread = thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build()?.block_on(async {
                let connected = Socket::connect(server, &token, None);
                let connected = timeout(CONNECT_LIMIT, connected).await;
                let (socket, _) = connected.context("no `connected` in time")??;
                // Nobody waits when the measurement has been given up.
                let _ = ready.send(());
                listen(socket, &counter, stopped).await
            })
        });
        match connected.await {
            Ok(()) => Ok(Self {
                thread,
                stop,
                events,
            }),
            Err(_) => Err(joined(thread).err().context("the subscriber ended early")?),
        }
    }

    /// Listens until this many events have come, or until none has for the time limit; then a
    /// moment longer, for any that should not come.
    pub(crate) async fn finish(self, expected: u64, limit: Duration) -> anyhow::Result<Heard> {
        let mut last = (0, Instant::now());
        while !self.thread.is_finished() {
            let events = self.events.load(Ordering::Relaxed);
            if events > last.0 {
                last = (events, Instant::now());
            }
            if events >= expected || last.1.elapsed() > limit {
                break;
            }
            sleep(POLL).await;
        }
        sleep(AFTERMATH).await;
        // It fails when the subscriber has ended by itself; the next line says why.
        let _ = self.stop.send(());
        joined(self.thread)
    }
}

fn joined(thread: JoinHandle<anyhow::Result<Heard>>) -> anyhow::Result<Heard> {
    let joined = thread.join();
    joined.unwrap_or_else(|_| bail!("the subscriber panicked"))
}

async fn listen(
    mut socket: Socket,
    events: &AtomicU64,
    mut stopped: oneshot::Receiver<()>,
) -> anyhow::Result<Heard> {
    let mut heard = Heard::default();
    loop {
        tokio::select! {
            // Also when the other end was dropped: the measurement has been given up.
            _ = &mut stopped => break,
            packet = socket.next_packet() => {
                heard.note(&packet?, Instant::now())?;
                events.store(heard.events(), Ordering::Relaxed);
            }
        }
    }
    socket.close().await;
    Ok(heard)
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    email: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Meta {
    seq: i64,
}

impl Heard {
    fn events(&self) -> u64 {
        self.receipts.len() as u64 + self.proposals
    }

    fn note(&mut self, packet: &str, received: Instant) -> anyhow::Result<()> {
        let Some(event) = packet.strip_prefix("42") else {
            return Ok(());
        };
        let (name, payload, meta): (Cow<'_, str>, Payload<'_>, Meta) =
            serde_json::from_str(event).with_context(|| format!("not a durable event: {event}"))?;
        if meta.seq <= self.last_seq {
            self.out_of_order += 1;
        }
        self.last_seq = meta.seq;
        match &*name {
            "prospect:created" => {
                let key = payload.email.as_deref().and_then(key_in);
                let key = key.with_context(|| format!("an unknown prospect: {event}"))?;
                self.receipts.push(Receipt { key, received });
            }
            "proposal-created" => self.proposals += 1,
            _ => {}
        }
        Ok(())
    }
}
