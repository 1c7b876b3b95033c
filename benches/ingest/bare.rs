//! The same transactions on the bare store: what the write path could reach if nothing but the
//! database took time.
//!
//! The store's own functions run in this process, one transaction after the other, each with a
//! batch of new bookings. The clock runs only while the store works: reading the bodies and
//! folding them stand outside, as do HTTP, signatures, the queue and sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use bookbell::calendly::payload;
use bookbell::calendly::statement::{Meaning, meaning};
use bookbell::domain::clock::{Clock as _, SystemClock};
use bookbell::domain::delivery::{Delivery, DeliveryStatus, Timings};
use bookbell::domain::email::Email;
use bookbell::domain::ids::{Ids as _, UuidV7};
use bookbell::domain::user::{Role, User};
use bookbell::domain::world::{Context, Statement};
use bookbell::store::deliveries::Filter;
use bookbell::store::{self, Store};
use bytes::Bytes;
use serde::Serialize;

use crate::common::booking::{HOSTS, KNOWN_HOSTS, Request, key_of};
use crate::common::database::{Database, Engine};
use crate::common::figures::{Spread, in_ms, median, real};
use crate::common::ground::Ground;
use crate::common::load::Plan;

/// Bookings in one transaction: about what waits for the writer with as many senders.
pub(crate) const BATCHES: [u32; 2] = [64, 256];

const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// One round's figures.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// Bookings a second.
    pub(crate) per_second: f64,
    /// What a transaction takes.
    pub(crate) transaction_ms: f64,
}

/// Medians of the rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BareMedians {
    pub(crate) per_second: Spread,
    pub(crate) transaction_ms: f64,
}

impl BareMedians {
    /// Of these rounds.
    pub(crate) fn of(rounds: &[Run]) -> Self {
        Self {
            per_second: Spread::of(rounds.iter().map(|round| round.per_second)),
            transaction_ms: median(rounds.iter().map(|round| round.transaction_ms)),
        }
    }
}

/// Writes batches of `plan.senders` bookings for as long as the plan says.
pub(crate) async fn measure(ground: &Ground, engine: Engine, plan: Plan) -> anyhow::Result<Run> {
    let folder = tempfile::Builder::new()
        .prefix("bookbell-bench-")
        .tempdir_in(ground.folder())?;
    let database = Database::new(engine, folder.path(), ground.postgres.as_deref()).await?;
    let url = database.url();
    // A runtime like the server's: the benchmark's own has one thread only.
    let written = tokio::task::spawn_blocking(move || {
        let work = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(write(&url, plan))
        };
        let joined = thread::spawn(work).join();
        joined.map_err(|_| anyhow!("the bare store's thread panicked"))?
    });
    written.await?
}

async fn write(url: &str, plan: Plan) -> anyhow::Result<Run> {
    let store = Store::open(url).await?;
    let mut source = Source::new()?;
    add_hosts(&store, &source.ids).await?;
    let mut in_store = Duration::ZERO;
    let mut transactions: u64 = 0;
    let started = Instant::now();
    let (mut warm, mut written) = (false, 0);
    while !warm || in_store < plan.measured {
        if !warm && started.elapsed() >= plan.warmup {
            (warm, in_store, transactions) = (true, Duration::ZERO, 0);
        }
        let batch = source.batch(plan.senders)?;
        in_store += transact(&store, &source.ids, batch).await?;
        transactions += 1;
        written += i64::from(plan.senders);
    }
    let mut reader = store.read().await?;
    let kept = store::deliveries::count(&mut reader.db(), &Filter::default()).await?;
    ensure!(kept == written, "{kept} of {written} bookings were kept");
    drop(reader);
    store.close(CLOSE_LIMIT).await;
    Ok(Run {
        per_second: real(transactions * u64::from(plan.senders)) / in_store.as_secs_f64(),
        transaction_ms: in_ms(in_store) / real(transactions),
    })
}

async fn add_hosts(store: &Store, ids: &UuidV7) -> anyhow::Result<()> {
    let now_ms = SystemClock.now_ms();
    let mut tx = store.begin().await?;
    for host in &HOSTS[..KNOWN_HOSTS] {
        let user = User {
            id: ids.new_id(now_ms),
            email: Email::parse(&host.email()).context("not an address")?,
            name: host.name.to_owned(),
            role: Role::Member,
            calendly_user_uri: Some(host.calendly_uri()),
            created_ms: now_ms,
            updated_ms: now_ms,
            version: 0,
        };
        store::users::insert(&mut tx.db(), &user, "no password").await?;
    }
    tx.commit(Vec::new(), now_ms, ids).await?;
    Ok(())
}

/// Where batches of new bookings come from.
struct Source {
    request: Request,
    ids: UuidV7,
    made: u64,
}

/// Bookings that were read, and are to be written.
struct Batch {
    deliveries: Vec<Delivery>,
    statements: Vec<Statement>,
}

impl Source {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            request: Request::new(SocketAddr::from(([127, 0, 0, 1], 0)))?,
            ids: UuidV7::new(),
            made: 0,
        })
    }

    fn batch(&mut self, size: u32) -> anyhow::Result<Batch> {
        let mut batch = Batch {
            deliveries: Vec::new(),
            statements: Vec::new(),
        };
        for _ in 0..size {
            let body = Bytes::copy_from_slice(self.request.body(key_of(self.made))?);
            self.made += 1;
            let webhook = payload::parse(&body).map_err(|fault| anyhow!("{fault:?}"))?;
            let Meaning::Statement(statement) = meaning(&webhook, None) else {
                anyhow::bail!("booking.json is nothing to act on");
            };
            batch.statements.push(statement);
            let (event, key) = (webhook.event.to_string(), webhook.dedupe_key);
            let delivery = self.delivery(event, key, body.clone());
            batch.deliveries.push(delivery);
        }
        Ok(batch)
    }

    /// As `POST /webhooks/calendly` would archive it.
    fn delivery(&self, event: String, dedupe_key: String, body: Bytes) -> Delivery {
        let received_ms = SystemClock.now_ms();
        let signature = format!("t={},v1={}", received_ms / 1000, "0".repeat(64));
        let headers = [
            ("calendly-webhook-signature", signature.as_str()),
            ("content-type", "application/json"),
            ("user-agent", "bookbell-bench"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Delivery {
            id: self.ids.new_id(received_ms),
            status: DeliveryStatus::Processed,
            reason: None,
            event: Some(event),
            dedupe_key: Some(dedupe_key),
            duplicate_of: None,
            connection_id: None,
            received_ms,
            signed_ms: Some(received_ms),
            prospect_id: None,
            proposal_id: None,
            headers: Arc::new(BTreeMap::from(headers)),
            timings: Some(Timings {
                verified_us: 50,
                taken_us: 1000,
                folded_us: 2000,
                batch_size: 64,
                ..Timings::default()
            }),
            body: Some(body),
        }
    }
}

/// Writes a batch in one transaction, as `App::fold` does; answers how long the store took.
async fn transact(store: &Store, ids: &UuidV7, mut batch: Batch) -> anyhow::Result<Duration> {
    let now_ms = SystemClock.now_ms();
    let reading = Instant::now();
    let mut tx = store.begin_batch().await?;
    let keys: BTreeSet<&str> = batch
        .deliveries
        .iter()
        .filter_map(|delivery| delivery.dedupe_key.as_deref())
        .collect();
    let keys = keys.into_iter().collect();
    let statements: Vec<&Statement> = batch.statements.iter().collect();
    let (mut db, complete) = (tx.db(), BTreeSet::new());
    let loaded = store::fold::load_and_recognize(&mut db, keys, &statements, &complete);
    let loaded = loaded.await?;
    let mut world = loaded.world;
    let read = reading.elapsed();
    ensure!(loaded.standing.is_empty(), "a booking came twice");
    let mut events = Vec::new();
    for (delivery, statement) in batch.deliveries.iter_mut().zip(batch.statements) {
        let applied = world.apply(statement, Context { now_ms, ids });
        let applied = applied.map_err(|_| anyhow!("a new booking needs an old one"))?;
        delivery.prospect_id = applied.prospect_id;
        delivery.proposal_id = applied.proposal_id;
        events.extend(applied.events);
    }
    let writing = Instant::now();
    let rows = store::fold::write(&mut tx.db(), &world, &batch.deliveries).await?;
    tx.commit_with(rows, events, now_ms, ids).await?;
    Ok(read + writing.elapsed())
}
