//! The one writer: takes whatever waits and commits it together.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::beside::{Lanes, Writes};
use super::{Answer, App, Error, Received, Result, micros_since};
use crate::app::error::chain;
use crate::domain::delivery::{Reason, Timings};

/// How many deliveries may wait for the writer; more are answered "busy", and Calendly retries.
const QUEUE: usize = 4096;

/// How many deliveries share a commit at most.
const BATCH: usize = 256;

/// How many bytes of bodies share a commit at most.
const BATCH_BYTES: usize = 8 << 20;

/// How long a commit may take; Calendly waits 15 s for an answer.
const LIMIT: Duration = Duration::from_secs(10);

/// How often a delivery is tried by itself before it is given up and left to Calendly's retry.
const ATTEMPTS: usize = 3;

/// Deliveries on their way to the writer.
#[derive(Debug)]
pub struct Queue {
    jobs: mpsc::Sender<Job>,
    wanted: Arc<Wanted>,
}

#[derive(Debug)]
struct Job {
    received: Box<Received>,
    reply: oneshot::Sender<Result<Answer>>,
}

/// How many the writer waits for, when it can wait for many: to be woken for each, which is what
/// the channel does, takes longer than to take them.
#[derive(Debug)]
struct Wanted {
    many: AtomicUsize,
    there: Notify,
}

/// The one writer of deliveries on this node.
#[derive(Debug)]
pub struct Writer {
    jobs: mpsc::Receiver<Job>,
    wanted: Arc<Wanted>,
}

/// A queue and its writer.
#[must_use]
pub fn queue() -> (Queue, Writer) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let wanted = Arc::new(Wanted {
        many: AtomicUsize::new(usize::MAX),
        there: Notify::new(),
    });
    let queue = Queue {
        jobs: sender,
        wanted: Arc::clone(&wanted),
    };
    let writer = Writer {
        jobs: receiver,
        wanted,
    };
    (queue, writer)
}

impl Queue {
    /// Whether the writer is there to take deliveries.
    #[must_use]
    pub fn is_served(&self) -> bool {
        !self.jobs.is_closed()
    }

    /// How many deliveries wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }

    /// Hands a delivery to the writer and waits until it is committed. It is committed also when
    /// the caller goes away meanwhile.
    pub(super) async fn put(&self, received: Box<Received>) -> Result<Answer> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .try_send(Job { received, reply })
            .map_err(|_| Error::Busy)?;
        // The writer says how many it wants before it looks how many there are.
        fence(Ordering::SeqCst);
        if self.waiting() >= self.wanted.many.load(Ordering::Relaxed) {
            self.wanted.there.notify_one();
        }
        answer.await.map_err(|_| Error::Busy)?
    }
}

impl Writer {
    /// Runs on threads of its own, because on SQLite its statements block them, and on a runtime of
    /// its own, so that on Postgres it hears its connection itself; else another thread would, and
    /// wake it for each answer. The answer comes when it has stopped.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        self,
        app: Arc<App>,
        stop: oneshot::Receiver<()>,
    ) -> std::io::Result<oneshot::Receiver<()>> {
        let (stopped, done) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let writes = if app.store.blocks() {
            Writes::on_a_thread()?
        } else {
            Writes::here(runtime.handle().clone())
        };
        let run = move || {
            runtime.block_on(self.serve(Lanes::new(app, writes), stop));
            let _ = stopped.send(());
        };
        std::thread::Builder::new()
            .name("deliveries".to_owned())
            .spawn(run)?;
        Ok(done)
    }

    /// Folds what comes until the queue is closed and empty, or `stop` is given and it is empty.
    /// It does so on the caller's runtime, whose thread it blocks on SQLite, and folds each batch
    /// beside the one before, however small; the program has threads for it ([`Writer::start`]).
    pub async fn run(self, app: Arc<App>, stop: oneshot::Receiver<()>) {
        let writes = Writes::here(Handle::current());
        self.serve(Lanes::new(app, writes), stop).await;
    }

    async fn serve(mut self, mut lanes: Lanes, mut stop: oneshot::Receiver<()>) {
        let mut jobs = Vec::with_capacity(BATCH);
        loop {
            lanes.have_room().await;
            let more = tokio::select! {
                biased;
                n = self.jobs.recv_many(&mut jobs, BATCH) => n > 0,
                _ = &mut stop => false,
            };
            if !more {
                return lanes.finish().await;
            }
            self.gather(&mut jobs, lanes.under_way()).await;
            while !jobs.is_empty() {
                lanes.take(Batch::of(bounded(&mut jobs))).await;
            }
        }
    }

    /// Waits for more while a batch is under way, which this one has to wait for anyway: until it
    /// is as large as that, or that is done.
    async fn gather(&mut self, jobs: &mut Vec<Job>, under_way: Option<(usize, CancellationToken)>) {
        let Some((size, ended)) = under_way else {
            return;
        };
        let missing = size.saturating_sub(jobs.len());
        ended.run_until_cancelled(self.many(missing)).await;
        self.wanted.many.store(usize::MAX, Ordering::Relaxed);
        while jobs.len() < BATCH {
            let Ok(job) = self.jobs.try_recv() else {
                return;
            };
            jobs.push(job);
        }
    }

    /// Waits until so many are in the queue.
    async fn many(&self, many: usize) {
        self.wanted.many.store(many, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while self.jobs.len() < many {
            self.wanted.there.notified().await;
        }
    }
}

/// Takes from the front what fits into one commit; always at least one.
fn bounded(jobs: &mut Vec<Job>) -> Vec<Job> {
    let mut bytes = 0;
    let overflows = |job: &Job| {
        bytes += job.received.delivery.body.as_ref().map_or(0, Bytes::len);
        bytes > BATCH_BYTES
    };
    let fitting = jobs.iter().position(overflows).unwrap_or(jobs.len());
    jobs.drain(..fitting.max(1)).collect()
}

/// Deliveries that are committed together, and who waits for each.
pub(super) struct Batch {
    pub(super) received: Vec<Received>,
    replies: Vec<oneshot::Sender<Result<Answer>>>,
}

impl Batch {
    fn of(jobs: Vec<Job>) -> Self {
        let size = jobs.len();
        let taken = |job: Job| {
            let mut received = *job.received;
            let taken_us = micros_since(received.started);
            received.delivery.timings = Some(Timings {
                verified_us: received.verified_us,
                taken_us,
                folded_us: taken_us,
                batch_size: size as u64,
                ..Timings::default()
            });
            (received, job.reply)
        };
        let (received, replies) = jobs.into_iter().map(taken).unzip();
        Self { received, replies }
    }

    pub(super) fn answer(self, answers: impl IntoIterator<Item = Result<Answer>>) {
        for (reply, answer) in self.replies.into_iter().zip(answers) {
            // Whoever hung up learns the outcome from its retry.
            let _ = reply.send(answer);
        }
    }
}

impl App {
    /// Commits a batch by itself and answers it.
    pub(super) async fn write_batch(&self, batch: Batch) {
        let received = &batch.received;
        let answers = match self.fold_caught(received).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if error.is_unavailable() => self.refuse(received, &error),
            Err(error) => self.fold_one_by_one(received, error).await,
        };
        batch.answer(answers);
    }

    /// Leaves a batch to Calendly's retry at once. Trying each by itself would take the database's
    /// time limit for each, while more and more wait behind them.
    pub(super) fn refuse(&self, batch: &[Received], error: &Error) -> Vec<Result<Answer>> {
        self.writes.failed();
        tracing::error!(
            deliveries = batch.len(),
            error = chain(error),
            "the database takes no deliveries; they are refused, and Calendly will retry"
        );
        batch.iter().map(|_| Err(Error::Busy)).collect()
    }

    async fn fold_one_by_one(&self, batch: &[Received], error: Error) -> Vec<Result<Answer>> {
        tracing::warn!(
            deliveries = batch.len(),
            error = chain(&error),
            "a batch failed"
        );
        let mut answers = Vec::with_capacity(batch.len());
        for received in batch {
            answers.push(self.fold_alone(received).await);
        }
        answers
    }

    /// Tries a delivery by itself. One that fails because the database does is left to
    /// Calendly's retry; one that no retry would help is held, so that it is neither lost nor
    /// posted until the subscription is given up.
    async fn fold_alone(&self, received: &Received) -> Result<Answer> {
        let mut attempt = 1;
        loop {
            match self.fold_caught(std::slice::from_ref(received)).await {
                Ok(mut answers) => return answers.pop().ok_or(Error::Busy),
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    tracing::error!(
                        error = chain(&error),
                        "a delivery cannot be folded; it is held"
                    );
                    return self.hold(received).await;
                }
            }
        }
    }

    async fn hold(&self, received: &Received) -> Result<Answer> {
        let held = Received {
            meaning: Err(Reason::ProcessingFailed),
            ..received.clone()
        };
        let mut answers = self.fold_caught(std::slice::from_ref(&held)).await?;
        answers.pop().ok_or(Error::Busy)
    }

    /// Folds, and takes a panic or a database that says nothing for a failure: the writer must
    /// outlive any delivery and any line.
    async fn fold_caught(&self, batch: &[Received]) -> Result<Vec<Answer>> {
        caught(self.fold(batch)).await
    }
}

/// Takes a panic or a database that says nothing for a failure.
pub(super) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match AssertUnwindSafe(timeout(LIMIT, work)).catch_unwind().await {
        Ok(done) => done.unwrap_or(Err(Error::Busy)),
        Err(_) => Err(Error::Internal("folding panicked".into())),
    }
}
