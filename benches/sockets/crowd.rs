//! Thousands of clients on one thread of their own, and when each of them has heard enough.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{sleep, timeout};

use crate::common::socket::{Socket, seq_in};

/// How long one client may take to connect before it tries again: as long as the server of
/// socket.io waits for it.
const CONNECT_LIMIT: Duration = Duration::from_secs(45);
/// How long a refused client waits before it tries again, at least and spread over.
const RETRY_MS: (u64, u64) = (100, 400);
/// How often is looked whether all are there.
const LOOK: Duration = Duration::from_millis(2);

/// What the clients connect with.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// The server.
    pub(crate) server: SocketAddr,
    /// Their tokens, in turn.
    pub(crate) tokens: Arc<[String]>,
    /// Where they go on from; `None`: from now on.
    pub(crate) since: Option<i64>,
    /// How many connect at once.
    pub(crate) at_once: usize,
}

/// Clients that stay connected until this is dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    runtime: Option<Runtime>,
    manner: Manner,
    gate: Arc<Semaphore>,
    seen: Arc<Seen>,
    size: u64,
}

/// What the clients have seen, together.
#[derive(Debug, Default)]
struct Seen {
    connected: AtomicU64,
    retries: AtomicU64,
    lost: AtomicU64,
    heard: AtomicU64,
    /// How many events each client is to hear, from its beginning.
    goal: AtomicU64,
    /// When the first and the last of those that have heard so many did.
    arrivals: std::sync::Mutex<Arrivals>,
    failure: Mutex<Option<String>>,
}

/// How many clients have heard enough, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Arrivals {
    /// How many.
    pub(crate) count: u64,
    /// The first of them.
    pub(crate) first: Option<Instant>,
    /// The last so far.
    pub(crate) last: Option<Instant>,
}

impl Crowd {
    /// Nobody yet; clients come by [`Crowd::grow_to`].
    pub(crate) fn new(manner: Manner) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            gate: Arc::new(Semaphore::new(manner.at_once)),
            manner,
            seen: Arc::default(),
            size: 0,
        })
    }

    /// Lets more clients come until there are so many, without waiting for them.
    pub(crate) fn call(&mut self, size: u64) {
        let Some(runtime) = &self.runtime else {
            return;
        };
        for nth in self.size..size {
            let (manner, gate, seen) = (
                self.manner.clone(),
                Arc::clone(&self.gate),
                Arc::clone(&self.seen),
            );
            runtime.spawn(async move { attend(nth, &manner, &gate, &seen).await });
        }
        self.size = self.size.max(size);
    }

    /// Waits until all that were called are connected.
    pub(crate) async fn gathered(&self, limit: Duration) -> anyhow::Result<()> {
        let all = || self.seen.connected.load(Ordering::Relaxed) >= self.size;
        self.wait(limit, all).await
    }

    /// From now on every client is to hear so many events, counted from when it first connected;
    /// more than any has heard already.
    pub(crate) fn expect(&self, events: u64) {
        *self.seen.arrivals() = Arrivals::default();
        self.seen.goal.store(events, Ordering::Release);
    }

    /// Waits until all have heard what they are to hear.
    pub(crate) async fn arrived(&self, limit: Duration) -> anyhow::Result<Arrivals> {
        let (seen, size) = (Arc::clone(&self.seen), self.size);
        self.wait(limit, || seen.arrivals().count >= size).await?;
        Ok(*self.seen.arrivals())
    }

    /// Waits until all have heard so many events, some perhaps long ago.
    pub(crate) async fn heard_by_all(&self, events: u64, limit: Duration) -> anyhow::Result<()> {
        let all = || self.seen.heard.load(Ordering::Relaxed) >= events * self.size;
        self.wait(limit, all).await
    }

    /// How often a client had to try again to connect.
    pub(crate) fn retries(&self) -> u64 {
        self.seen.retries.load(Ordering::Relaxed)
    }

    /// How many connections were lost after they had been made.
    pub(crate) fn lost(&self) -> u64 {
        self.seen.lost.load(Ordering::Relaxed)
    }

    /// Looks again and again: clients note their times themselves, so nothing depends on it.
    async fn wait(&self, limit: Duration, over: impl Fn() -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + limit;
        while !over() {
            if Instant::now() > until {
                let failure = self.seen.failure.lock().await.clone();
                bail!(
                    "after {limit:?} {} of {} clients are connected, {} have heard enough, {} \
                     tried again, {} were lost; the last trouble: {failure:?}",
                    self.seen.connected.load(Ordering::Relaxed),
                    self.size,
                    self.seen.arrivals().count,
                    self.retries(),
                    self.lost()
                );
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Seen {
    fn arrivals(&self) -> std::sync::MutexGuard<'_, Arrivals> {
        let locked = self.arrivals.lock();
        locked.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts a client that has heard `heard` events, when those are as many as it is to.
    fn arrive(&self, heard: u64) {
        if heard != self.goal.load(Ordering::Acquire) {
            return;
        }
        let now = Instant::now();
        let mut arrivals = self.arrivals();
        arrivals.count += 1;
        arrivals.first.get_or_insert(now);
        arrivals.last = Some(now);
    }
}

/// One client: connects, again and again where it must, and counts what it hears.
async fn attend(nth: u64, manner: &Manner, gate: &Semaphore, seen: &Seen) {
    let tokens = &manner.tokens;
    let token = &tokens[usize::try_from(nth).unwrap_or_default() % tokens.len()];
    let mut reached = manner.since;
    let mut heard = 0;
    let mut known = false;
    loop {
        let trouble = match connect(manner, token, reached, gate).await {
            Ok((mut socket, seq)) => {
                if !known {
                    known = true;
                    seen.connected.fetch_add(1, Ordering::Relaxed);
                }
                let reached = reached.get_or_insert(seq);
                let trouble = listen(&mut socket, reached, &mut heard, seen).await;
                seen.lost.fetch_add(1, Ordering::Relaxed);
                trouble
            }
            Err(error) => error,
        };
        *seen.failure.lock().await = Some(format!("{trouble:#}"));
        seen.retries.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(RETRY_MS.0 + nth % RETRY_MS.1)).await;
    }
}

async fn connect(
    manner: &Manner,
    token: &str,
    since: Option<i64>,
    gate: &Semaphore,
) -> anyhow::Result<(Socket, i64)> {
    let _passed = gate.acquire().await?;
    let connected = Socket::connect(manner.server, token, since);
    let connected = timeout(CONNECT_LIMIT, connected).await;
    connected.context("no `connected` in time")?
}

/// Counts events, those that are repeated apart, until the connection ends; answers why.
async fn listen(
    socket: &mut Socket,
    reached: &mut i64,
    heard: &mut u64,
    seen: &Seen,
) -> anyhow::Error {
    loop {
        match socket.next_packet().await {
            Ok(packet) => {
                if let Some(seq) = seq_in(&packet)
                    && seq > *reached
                {
                    *reached = seq;
                    *heard += 1;
                    seen.heard.fetch_add(1, Ordering::Relaxed);
                    seen.arrive(*heard);
                }
            }
            Err(error) => return error,
        }
    }
}
