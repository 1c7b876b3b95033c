//! Senders: each posts over one keep-alive connection, and waits for the answer before the next.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Interval, interval_at, sleep};

use crate::common::booking::{Request, key_for};
use crate::common::wire::{Answer, Connection};

/// Latencies are counted in microseconds up to a minute, to three digits.
const LATENCY_LIMIT_US: u64 = 60_000_000;
const LATENCY_DIGITS: u8 = 3;
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// How the senders post.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How many at once.
    pub(crate) senders: u32,
    /// Bookings a second of all senders together; `None`: each as fast as it is answered.
    pub(crate) rate: Option<u32>,
    /// Before anything is counted.
    pub(crate) warmup: Duration,
    /// How long is counted.
    pub(crate) measured: Duration,
    /// Whether to note each post, to be compared with what a subscriber hears.
    pub(crate) noted: bool,
    /// The number of the first booking; two loads on one database need numbers of their own.
    pub(crate) first: u64,
    /// Whose bookings, by the index in [`HOSTS`](crate::common::booking::HOSTS); `None`: of all.
    pub(crate) host: Option<usize>,
}

impl Plan {
    /// The same load once more on the same database, with other bookings.
    pub(crate) fn continued(self) -> Self {
        Self {
            first: self.first + (1 << 32),
            ..self
        }
    }
}

/// One booking that was posted and answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Post {
    /// Which booking.
    pub(crate) key: u64,
    /// When its first byte was written.
    pub(crate) sent: Instant,
    /// When the answer was read.
    pub(crate) answered: Instant,
}

/// What the senders saw.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Bookings answered `processed`, warm-up included.
    pub(crate) processed: u64,
    /// Those of them answered in the time that counts.
    pub(crate) counted: u64,
    /// Posts that were answered anything else.
    pub(crate) refused: u64,
    /// The first of those answers.
    pub(crate) first_refusal: Option<String>,
    /// From the first byte written to the answer read, in microseconds, of what was counted.
    pub(crate) latencies_us: Histogram<u64>,
    /// Each post, when noted.
    pub(crate) posts: Vec<Post>,
}

impl Tally {
    fn new() -> Self {
        Self {
            processed: 0,
            counted: 0,
            refused: 0,
            first_refusal: None,
            latencies_us: Histogram::new_with_bounds(1, LATENCY_LIMIT_US, LATENCY_DIGITS)
                .expect("bounds that fit"),
            posts: Vec::new(),
        }
    }

    fn refuse(&mut self, answer: &Answer<'_>) {
        self.refused += 1;
        self.first_refusal.get_or_insert_with(|| {
            format!(
                "{} {}",
                answer.status,
                String::from_utf8_lossy(answer.body).trim()
            )
        });
    }

    fn accept(&mut self, post: Post, span: Span, noted: bool) {
        self.processed += 1;
        if span.counts(post.answered) {
            self.counted += 1;
            let latency = post.answered - post.sent;
            let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            self.latencies_us.saturating_record(us.max(1));
        }
        if noted {
            self.posts.push(post);
        }
    }
}

/// When a load runs, and which of its time counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    started: Instant,
    /// When the warm-up is over and counting begins.
    pub(crate) from: Instant,
    /// When it ends.
    pub(crate) until: Instant,
}

impl Span {
    /// Whether what happens at this moment counts.
    pub(crate) fn counts(self, at: Instant) -> bool {
        (self.from..self.until).contains(&at)
    }
}

/// Senders at work.
#[derive(Debug)]
pub(crate) struct Load {
    tasks: JoinSet<anyhow::Result<()>>,
    tally: Arc<Mutex<Tally>>,
    span: Span,
}

impl Load {
    /// Opens all connections, then starts posting.
    pub(crate) async fn start(plan: Plan, server: SocketAddr) -> anyhow::Result<Self> {
        let request = Request::new(server)?;
        let mut connections = Vec::new();
        for _ in 0..plan.senders {
            connections.push(Connection::open(server).await?);
        }
        let started = Instant::now();
        let from = started + plan.warmup;
        let span = Span {
            started,
            from,
            until: from + plan.measured,
        };
        let tally = Arc::new(Mutex::new(Tally::new()));
        let mut tasks = JoinSet::new();
        for (nth, connection) in (0..).zip(connections) {
            let sender = Sender {
                nth,
                plan,
                span,
                connection,
                request: request.clone(),
                tally: Arc::clone(&tally),
            };
            tasks.spawn(sender.run());
        }
        Ok(Self { tasks, tally, span })
    }

    /// The time that counts.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// Waits until a moment, unless a sender fails before.
    pub(crate) async fn wait_until(&mut self, moment: Instant) -> anyhow::Result<()> {
        let rest = sleep(moment.saturating_duration_since(Instant::now()));
        tokio::pin!(rest);
        loop {
            tokio::select! {
                () = &mut rest => return Ok(()),
                Some(ended) = self.tasks.join_next() => ended??,
            }
        }
    }

    /// Waits for the last answers.
    pub(crate) async fn finish(mut self) -> anyhow::Result<Tally> {
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(std::mem::replace(&mut *lock(&self.tally), Tally::new()))
    }
}

struct Sender {
    nth: u32,
    plan: Plan,
    span: Span,
    connection: Connection,
    request: Request,
    tally: Arc<Mutex<Tally>>,
}

impl Sender {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut pace = self.plan.rate.map(|rate| self.pace(rate));
        for round in 0.. {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            if Instant::now() >= self.span.until {
                break;
            }
            let n = self.plan.first + round * u64::from(self.plan.senders) + u64::from(self.nth);
            if !self.post(key_for(n, self.plan.host)).await? {
                sleep(PAUSE_AFTER_REFUSAL).await;
            }
        }
        Ok(())
    }

    /// The senders post in turn, evenly.
    fn pace(&self, rate: u32) -> Interval {
        let period = Duration::from_secs(1) * self.plan.senders / rate;
        interval_at(
            (self.span.started + period * self.nth / self.plan.senders).into(),
            period,
        )
    }

    /// Whether the booking was processed.
    async fn post(&mut self, key: u64) -> anyhow::Result<bool> {
        let request = self.request.write(key)?;
        let sent = Instant::now();
        let answer = self.connection.exchange(request).await?;
        let answered = Instant::now();
        let post = Post {
            key,
            sent,
            answered,
        };
        let processed = is_processed(&answer);
        let mut tally = lock(&self.tally);
        if processed {
            tally.accept(post, self.span, self.plan.noted);
        } else {
            tally.refuse(&answer);
        }
        Ok(processed)
    }
}

fn is_processed(answer: &Answer<'_>) -> bool {
    const PROCESSED: &[u8] = br#""processed""#;
    let mut windows = answer.body.windows(PROCESSED.len());
    answer.status == 200 && windows.any(|window| window == PROCESSED)
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
