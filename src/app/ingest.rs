//! Takes deliveries in: verify, read, queue, and commit many at once.
//!
//! One writer takes whatever waits and folds it in one transaction, so that many deliveries
//! share one fsync. They are answered after the commit. When a batch fails, each of its
//! deliveries is tried by itself, so that none suffers for its neighbours.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{App, Error, Result};
use crate::calendly::payload;
use crate::calendly::signature::{Signature, SignatureError, SigningKey};
use crate::calendly::statement::{Meaning, meaning};
use crate::domain::delivery::{Delivery, DeliveryStatus, Reason, Standing, Timings};
use crate::domain::event::{Audience, Event, NewEvent};
use crate::domain::ids::Id;
use crate::domain::world::{Context, Incomplete, Statement, World};
use crate::store::{self, Tx};

/// How many deliveries may wait for the writer; more are answered "busy", and Calendly retries.
const QUEUE: usize = 4096;

/// How many deliveries share a commit at most.
const BATCH: usize = 256;

/// How many bytes of bodies share a commit at most.
const BATCH_BYTES: usize = 8 << 20;

/// How often a delivery is tried by itself before it is given up and left to Calendly's retry.
const ATTEMPTS: usize = 3;

/// Deliveries on their way to the writer.
#[derive(Debug)]
pub struct Queue(mpsc::Sender<Job>);

#[derive(Debug)]
struct Job {
    received: Received,
    reply: oneshot::Sender<Result<Answer>>,
}

/// The one writer of deliveries on this node.
#[derive(Debug)]
pub struct Writer(mpsc::Receiver<Job>);

/// A queue and its writer.
#[must_use]
pub fn queue() -> (Queue, Writer) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Queue(sender), Writer(receiver))
}

/// A verified delivery, read and ready to fold.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its row in the archive, as it stands before folding.
    pub delivery: Delivery,
    /// What it says; `None` when it cannot be read.
    pub meaning: Option<Meaning>,
    /// Whether its signature's time is within the tolerance.
    pub timely: bool,
    started: Instant,
    verified_us: u64,
}

/// What is answered to Calendly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of it.
    pub verdict: Verdict,
    /// The delivery that stands for the event.
    pub delivery_id: Id,
    /// Why it was not processed.
    pub reason: Option<Reason>,
}

/// What became of a delivery that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It changed the state, or said what was known.
    Processed,
    /// The same event came before.
    Duplicate,
    /// It is nothing we act on.
    Ignored,
    /// It is held until somebody looks at it.
    Quarantined,
}

impl Verdict {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Quarantined => "quarantined",
        }
    }
}

/// A request to a webhook path.
#[derive(Debug)]
pub struct Posted {
    /// The connection in the path; `None` for the path without one.
    pub connection_id: Option<String>,
    /// The signature header, raw.
    pub signature: Option<Vec<u8>>,
    /// The headers to keep, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The raw body.
    pub body: Bytes,
}

impl App {
    /// Takes a delivery in and answers once it is committed.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] with the signature error's code, [`Error::Busy`] when too many
    /// wait, [`Error::Internal`] when it could not be committed. Nothing is kept of it then but
    /// the refusal.
    pub async fn receive(&self, posted: Posted) -> Result<Answer> {
        let started = Instant::now();
        let received_ms = self.now_ms();
        let (keys, connection) = self.keys_for(posted.connection_id.as_deref()).await?;
        let verified = verify(posted.signature.as_deref(), &posted.body, &keys);
        let signature = match verified {
            Ok(signature) => signature,
            Err(error) => {
                let connection_id = connection.map(|(id, _)| id);
                self.refusals.note(
                    self.new_id(),
                    error,
                    posted.headers,
                    connection_id,
                    received_ms,
                );
                return Err(Error::Unauthenticated(error.code()));
            }
        };
        let tolerance_s = self.settings.signature_tolerance_s;
        let timely = signature.is_timely(received_ms.div_euclid(1000), tolerance_s);
        let received = self.read(posted, connection, &signature, timely, received_ms, started);
        self.queue.put(received).await
    }

    /// The keys a path verifies with, and the connection with its user. An unknown connection
    /// has no key, so that nothing it is posted is accepted.
    async fn keys_for(
        &self,
        connection_id: Option<&str>,
    ) -> Result<(Vec<SigningKey>, Option<(Id, Option<Id>)>)> {
        let Some(text) = connection_id else {
            return Ok((self.settings.signing_keys.clone(), None));
        };
        let Some(id) = Id::parse(text) else {
            return Ok((Vec::new(), None));
        };
        let found = store::connections::find(&mut self.store.read().await?.db(), &id).await?;
        Ok(found.map_or((Vec::new(), None), |connection| {
            let key = SigningKey::new(&connection.signing_key);
            (
                key.into_iter().collect(),
                Some((id, connection.user_id.map(Id::from_stored))),
            )
        }))
    }

    fn read(
        &self,
        posted: Posted,
        connection: Option<(Id, Option<Id>)>,
        signature: &Signature,
        timely: bool,
        received_ms: i64,
        started: Instant,
    ) -> Received {
        let (connection_id, user) = connection.unzip();
        let read = read_body(&posted.body, user.flatten().as_ref());
        let delivery = Delivery {
            id: self.ids.new_id(received_ms),
            status: DeliveryStatus::Quarantined,
            reason: None,
            event: read.event,
            dedupe_key: Some(read.dedupe_key),
            duplicate_of: None,
            connection_id,
            received_ms,
            signed_ms: Some(signature.signed_at_s.saturating_mul(1000)),
            prospect_id: None,
            proposal_id: None,
            headers: posted.headers,
            timings: None,
            body: Some(posted.body),
        };
        let verified_us = micros_since(started);
        Received {
            delivery,
            meaning: read.meaning,
            timely,
            started,
            verified_us,
        }
    }
}

fn verify(
    header: Option<&[u8]>,
    body: &[u8],
    keys: &[SigningKey],
) -> std::result::Result<Signature, SignatureError> {
    let signature = Signature::parse(header)?;
    signature.verify(body, keys)?;
    Ok(signature)
}

/// A body as far as it can be read.
pub(super) struct ReadBody {
    pub(super) event: Option<String>,
    pub(super) dedupe_key: String,
    pub(super) meaning: Option<Meaning>,
}

pub(super) fn read_body(body: &[u8], connection_user: Option<&Id>) -> ReadBody {
    match payload::parse(body) {
        Ok(webhook) => ReadBody {
            event: Some(webhook.event.to_string()),
            meaning: Some(meaning(&webhook, connection_user)),
            dedupe_key: webhook.dedupe_key,
        },
        Err(_) => ReadBody {
            event: payload::event_name(body),
            dedupe_key: payload::body_key(body),
            meaning: None,
        },
    }
}

fn micros_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl Queue {
    /// Hands a delivery to the writer and waits until it is committed. It is committed also when
    /// the caller goes away meanwhile.
    async fn put(&self, received: Received) -> Result<Answer> {
        let (reply, answer) = oneshot::channel();
        self.0
            .try_send(Job { received, reply })
            .map_err(|_| Error::Busy)?;
        answer.await.map_err(|_| Error::Busy)?
    }
}

impl Writer {
    /// Folds what comes until the queue is closed and empty, or `stop` is given and it is empty.
    pub async fn run(mut self, app: Arc<App>, mut stop: oneshot::Receiver<()>) {
        let mut jobs = Vec::with_capacity(BATCH);
        loop {
            let more = tokio::select! {
                biased;
                n = self.0.recv_many(&mut jobs, BATCH) => n > 0,
                _ = &mut stop => false,
            };
            if !more {
                return;
            }
            while !jobs.is_empty() {
                let batch = bounded(&mut jobs);
                app.write_batch(batch).await;
            }
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

impl App {
    async fn write_batch(&self, jobs: Vec<Job>) {
        let (mut batch, replies): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .map(|job| (job.received, job.reply))
            .unzip();
        let size = batch.len();
        for received in &mut batch {
            let taken_us = micros_since(received.started);
            received.delivery.timings = Some(Timings {
                verified_us: received.verified_us,
                taken_us,
                folded_us: taken_us,
                batch_size: size as u64,
            });
        }
        let answers = match self.fold(&batch).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) => self.fold_one_by_one(&batch, error).await,
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            // Whoever hung up learns the outcome from its retry.
            let _ = reply.send(answer);
        }
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

    async fn fold_alone(&self, received: &Received) -> Result<Answer> {
        let mut attempt = 1;
        loop {
            match self.fold(std::slice::from_ref(received)).await {
                Ok(mut answers) => return answers.pop().ok_or(Error::Busy),
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// Folds deliveries in one transaction and answers each, in order.
    async fn fold(&self, batch: &[Received]) -> Result<Vec<Answer>> {
        let mut complete = BTreeSet::new();
        loop {
            match self.try_fold(batch, &complete).await? {
                Ok((answers, events)) => {
                    self.log.offer(events);
                    return Ok(answers);
                }
                Err(Incomplete(prospect)) => complete.insert(prospect),
            };
        }
    }

    async fn try_fold(
        &self,
        batch: &[Received],
        complete: &BTreeSet<Id>,
    ) -> Result<std::result::Result<(Vec<Answer>, Vec<Event>), Incomplete>> {
        let now_ms = self.now_ms();
        let mut tx = self.begin().await?;
        let keys: BTreeSet<&str> = batch
            .iter()
            .filter_map(|r| r.delivery.dedupe_key.as_deref())
            .collect();
        let standing = store::deliveries::standing(&mut tx.db(), keys).await?;
        let statements: Vec<Statement> = batch.iter().filter_map(Received::statement).collect();
        let world = store::fold::load(&mut tx.db(), &statements, complete).await?;
        let cx = Context {
            now_ms,
            ids: &*self.ids,
        };
        let mut folding = Folding {
            world,
            standing,
            ..Folding::default()
        };
        let mut answers = Vec::with_capacity(batch.len());
        for received in batch {
            match folding.take(received, cx) {
                Ok(answer) => answers.push(answer),
                Err(incomplete) => return Ok(Err(incomplete)),
            }
        }
        let events = self.write(tx, folding, now_ms).await?;
        Ok(Ok((answers, events)))
    }

    async fn write(&self, mut tx: Tx, folding: Folding, now_ms: i64) -> Result<Vec<Event>> {
        let mut db = tx.db();
        for (held, by) in &folding.closed {
            store::deliveries::close_as_duplicate(&mut db, held, by).await?;
        }
        store::deliveries::insert(&mut db, &folding.archived).await?;
        store::fold::write(&mut db, &folding.world).await?;
        Ok(tx.commit(folding.events, now_ms, &*self.ids).await?)
    }
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Received {
    fn statement(&self) -> Option<Statement> {
        match &self.meaning {
            Some(Meaning::Statement(statement)) => Some(statement.clone()),
            _ => None,
        }
    }
}

/// A batch being folded.
#[derive(Default)]
struct Folding {
    world: World,
    standing: HashMap<String, Standing>,
    archived: Vec<Delivery>,
    closed: Vec<(Id, Id)>,
    events: Vec<NewEvent>,
}

impl Folding {
    /// Decides what becomes of one delivery, and folds it when it is to be.
    fn take(
        &mut self,
        received: &Received,
        cx: Context<'_>,
    ) -> std::result::Result<Answer, Incomplete> {
        let key = received.delivery.dedupe_key.clone().unwrap_or_default();
        match self.standing.get(&key).cloned() {
            Some(first) if first.held.is_none() => {
                return Ok(Answer {
                    verdict: Verdict::Duplicate,
                    delivery_id: first.id,
                    reason: None,
                });
            }
            // Held, and this one is no better: the first stands for both.
            Some(first) if !received.timely || received.meaning.is_none() => {
                let verdict = Verdict::Quarantined;
                return Ok(Answer {
                    verdict,
                    delivery_id: first.id,
                    reason: first.held,
                });
            }
            Some(held) => self.closed.push((held.id, received.delivery.id.clone())),
            None => {}
        }
        let mut delivery = received.delivery.clone();
        let verdict = self.settle(&mut delivery, received, cx)?;
        let held = delivery.reason.filter(|_| verdict == Verdict::Quarantined);
        let answer = Answer {
            verdict,
            delivery_id: delivery.id.clone(),
            reason: delivery.reason,
        };
        self.standing.insert(
            key,
            Standing {
                id: delivery.id.clone(),
                held,
            },
        );
        if let Some(timings) = &mut delivery.timings {
            timings.folded_us = micros_since(received.started);
        }
        self.archived.push(delivery);
        Ok(answer)
    }

    /// Sets the delivery's outcome.
    fn settle(
        &mut self,
        delivery: &mut Delivery,
        received: &Received,
        cx: Context<'_>,
    ) -> std::result::Result<Verdict, Incomplete> {
        let (verdict, status, reason) = match &received.meaning {
            None => held(Reason::MalformedPayload),
            Some(_) if !received.timely => held(Reason::StaleTimestamp),
            Some(Meaning::FormWithoutEmail) => ignored(Reason::NoEmail),
            Some(Meaning::Unhandled) => ignored(Reason::UnhandledEvent),
            Some(Meaning::Statement(statement)) => {
                let applied = self.world.apply(statement.clone(), cx)?;
                delivery.prospect_id = applied.prospect_id;
                delivery.proposal_id = applied.proposal_id;
                self.events.extend(applied.events);
                (Verdict::Processed, DeliveryStatus::Processed, None)
            }
        };
        delivery.status = status;
        delivery.reason = reason;
        if verdict == Verdict::Quarantined {
            self.events.push(quarantined(delivery));
        }
        Ok(verdict)
    }
}

fn held(reason: Reason) -> (Verdict, DeliveryStatus, Option<Reason>) {
    (
        Verdict::Quarantined,
        DeliveryStatus::Quarantined,
        Some(reason),
    )
}

fn ignored(reason: Reason) -> (Verdict, DeliveryStatus, Option<Reason>) {
    (Verdict::Ignored, DeliveryStatus::Ignored, Some(reason))
}

fn quarantined(delivery: &Delivery) -> NewEvent {
    let payload = json!({
        "deliveryId": delivery.id,
        "reason": delivery.reason,
        "event": delivery.event,
    });
    NewEvent::new("delivery-quarantined", &payload, Audience::admins())
}

impl App {
    /// Processes one archived or held delivery again, as if it had come in time.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] for a refused one, whose body was not kept.
    pub async fn replay(&self, id: &Id) -> Result<Answer> {
        let mut complete = BTreeSet::new();
        loop {
            match self.try_replay(id, &complete).await? {
                Ok((answer, events)) => {
                    self.log.offer(events);
                    return Ok(answer);
                }
                Err(Incomplete(prospect)) => complete.insert(prospect),
            };
        }
    }

    async fn try_replay(
        &self,
        id: &Id,
        complete: &BTreeSet<Id>,
    ) -> Result<std::result::Result<(Answer, Vec<Event>), Incomplete>> {
        let now_ms = self.now_ms();
        let mut tx = self.begin().await?;
        let received = self.archived(&mut tx, id).await?;
        let key = received.delivery.dedupe_key.clone().unwrap_or_default();
        let mut standing = store::deliveries::standing(&mut tx.db(), [key.as_str()]).await?;
        // The delivery must not be taken for a duplicate of itself.
        standing.retain(|_, first| first.id != *id);
        if let Some(first) = standing.get(&key) {
            let verdict = Verdict::Duplicate;
            let answer = Answer {
                verdict,
                delivery_id: first.id.clone(),
                reason: None,
            };
            return Ok(Ok((answer, Vec::new())));
        }
        let statements: Vec<Statement> = received.statement().into_iter().collect();
        let world = store::fold::load(&mut tx.db(), &statements, complete).await?;
        let cx = Context {
            now_ms,
            ids: &*self.ids,
        };
        let mut folding = Folding {
            world,
            standing,
            ..Folding::default()
        };
        let was_held = received.delivery.status == DeliveryStatus::Quarantined;
        let answer = match folding.take(&received, cx) {
            Ok(answer) => answer,
            Err(incomplete) => return Ok(Err(incomplete)),
        };
        if was_held && answer.verdict == Verdict::Quarantined {
            folding.events.clear();
        }
        let settled = std::mem::take(&mut folding.archived);
        for delivery in &settled {
            store::deliveries::settle(&mut tx.db(), delivery).await?;
        }
        let events = self.write(tx, folding, now_ms).await?;
        Ok(Ok((answer, events)))
    }

    async fn archived(&self, tx: &mut Tx, id: &Id) -> Result<Received> {
        let found = store::deliveries::find(&mut tx.db(), id).await?;
        let mut delivery = found.ok_or(Error::NotFound)?;
        let Some(body) = delivery.body.clone() else {
            let detail = "a refused request is kept without its body and cannot be replayed";
            return Err(Error::conflict("not_replayable", detail));
        };
        let connection = match &delivery.connection_id {
            Some(id) => store::connections::find(&mut tx.db(), id).await?,
            None => None,
        };
        let user = connection
            .and_then(|connection| connection.user_id)
            .map(Id::from_stored);
        let read = read_body(&body, user.as_ref());
        delivery.event = read.event;
        delivery.dedupe_key = Some(read.dedupe_key);
        let started = Instant::now();
        Ok(Received {
            delivery,
            meaning: read.meaning,
            timely: true,
            started,
            verified_us: 0,
        })
    }
}
