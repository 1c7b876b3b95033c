//! What the product does: one function for each operation, shared by HTTP, sockets, jobs and the
//! command line.

pub mod attendance;
pub mod auth;
pub mod comparison;
pub mod cursor;
pub mod deliveries;
pub mod error;
pub mod events;
pub mod guard;
pub mod ingest;
pub mod log;
pub mod metrics;
mod moments;
pub mod password;
pub mod proposals;
pub mod prospects;
pub mod readiness;
pub mod refusals;
mod scrape;
mod search;
pub mod setup;
pub mod statistics;
mod together;
pub mod trips;
pub mod users;
mod watches;
pub mod writes;

use std::sync::Arc;

use crate::calendly::signature::SigningKey;
use crate::domain::clock::Clock;
use crate::domain::event::{NewEvent, Seq};
use crate::domain::ids::{Id, Ids};
use crate::domain::secret::Secret;
use crate::store::{self, Store, Tx};
pub use error::{Error, Result};
use together::Together;

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Keys that verify `POST /webhooks/calendly`; any of them does.
    pub signing_keys: Vec<SigningKey>,
    /// How far a signature's time may be from now, in seconds, on both sides.
    pub signature_tolerance_s: u64,
    /// The secret of tokens and cursors.
    pub jwt_secret: Secret,
    /// How long events are kept, in milliseconds.
    pub event_retention_ms: i64,
    /// How long the bodies and headers of deliveries are kept, in milliseconds; `None` for ever.
    pub delivery_retention_ms: Option<i64>,
    /// Where the program is reached from outside, without a slash at the end.
    pub public_url: String,
}

/// The running product.
#[derive(Debug)]
pub struct App {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn Ids>,
    /// What the operator decided.
    pub settings: Settings,
    /// The live end of the event log.
    pub log: log::Log,
    /// Deliveries on their way to the writer.
    pub queue: ingest::Queue,
    /// Refused requests on their way to the database.
    pub refusals: refusals::Refusals,
    /// What traces are made of, where they are wanted.
    pub trips: trips::Trips,
    /// What is measured.
    pub metrics: metrics::Metrics,
    /// How quickly browsers showed what came in.
    pub screen: statistics::Screen,
    /// Whether the database takes what is written.
    pub writes: writes::Writes,
    /// Slows the guessing of passwords.
    pub guard: guard::Guard,
    /// Signs tokens and cursors.
    pub tokens: auth::Tokens,
    passwords: password::Passwords,
    sessions: auth::Sessions,
    extents: Together<(), store::events::Extent>,
    reading: scrape::Reading,
    counting: tokio::sync::Mutex<()>,
    foreseeing: tokio::sync::Mutex<()>,
    started_ms: i64,
}

impl App {
    /// Puts the product together; the writer is to be run beside it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn new(
        store: Store,
        settings: Settings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<(Arc<Self>, ingest::Writer)> {
        let head = store::events::extent(&mut store.read().await?.db())
            .await?
            .head;
        let (queue, writer) = ingest::queue();
        password::warm_up();
        let app = Self {
            log: log::Log::new(head),
            queue,
            refusals: refusals::Refusals::default(),
            trips: trips::Trips::default(),
            metrics: metrics::Metrics::default(),
            screen: statistics::Screen::default(),
            writes: writes::Writes::default(),
            guard: guard::Guard::default(),
            tokens: auth::Tokens::new(settings.jwt_secret.expose().as_bytes()),
            passwords: password::Passwords::default(),
            sessions: auth::Sessions::default(),
            extents: Together::default(),
            reading: scrape::Reading::default(),
            counting: tokio::sync::Mutex::default(),
            foreseeing: tokio::sync::Mutex::default(),
            started_ms: clock.now_ms(),
            store,
            clock,
            ids,
            settings,
        };
        Ok((Arc::new(app), writer))
    }

    /// The present, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn new_id(&self) -> Id {
        self.ids.new_id(self.now_ms())
    }

    /// Commits with its events and lets the sockets know.
    async fn commit(&self, tx: Tx, events: Vec<NewEvent>) -> Result<()> {
        // Batches that are written beside each other take positions of the log before its counter:
        // one of them and who took the counter first would wait for each other.
        debug_assert!(
            events.is_empty() || tx.folds(),
            "told without the turn to fold"
        );
        let committed = tx.commit(events, self.now_ms(), &*self.ids).await?;
        self.log.offer(committed);
        Ok(())
    }

    /// Lets the log begin past all that clients may have heard. The database has lost what was
    /// committed last, as by a failover to a copy that was behind, and would give the same
    /// positions to other events; those who have heard the first ones would miss them.
    async fn begin_log_anew(&self, known: Seq, strayed: bool) -> Result<()> {
        let mut tx = self.store.begin_fold().await?;
        // Another node may have noticed too; or what was read was a copy that is behind.
        let store::events::Extent { head, floor } = store::events::extent(&mut tx.db()).await?;
        if floor > known || !strayed && head >= known {
            return Ok(());
        }
        store::events::begin_at(&mut tx.db(), self.past(known.max(head))).await?;
        self.commit(tx, Vec::new()).await?;
        tracing::error!(
            head,
            known,
            "the database has lost events that were committed; all clients are told to reload"
        );
        Ok(())
    }

    /// Whether the database has other events where some are known: it may have lost them, and grown
    /// past them before anybody looked.
    async fn has_strayed(&self, db: &mut store::Db<'_>) -> Result<bool> {
        let Some(last) = self.log.last() else {
            return Ok(false);
        };
        let there = store::events::id_at(db, last.seq).await?;
        Ok(self.log.has_strayed() || there.is_some_and(|id| id != last.id.as_str()))
    }

    /// A position past what any client has heard that may know of `seq`: a log grows by far less
    /// than an event a millisecond.
    fn past(&self, seq: Seq) -> Seq {
        seq.saturating_add(1_000_000).max(self.now_ms())
    }

    /// Lets go of what is kept in memory to be quick while much happens, and is to be had from the
    /// database, where no event came since this was asked last.
    ///
    /// # Errors
    /// When the database fails; then all is kept that it might not give.
    pub async fn rest(&self) -> Result<()> {
        self.extent().await?;
        if self.log.rest() {
            self.store.shrink().await?;
        }
        Ok(())
    }

    /// Reads the part of the log that is not in memory yet; the follower calls it whenever the
    /// log may have grown.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn catch_up(&self) -> Result<()> {
        const STEP: i64 = 1000;
        // Asked first: what is known here was committed before.
        let known = self.log.head();
        let mut reader = self.store.read().await?;
        let mut extent = store::events::extent(&mut reader.db()).await?;
        let strayed = self.has_strayed(&mut reader.db()).await?;
        if extent.head < known || strayed {
            self.begin_log_anew(known, strayed).await?;
            extent = store::events::extent(&mut reader.db()).await?;
        }
        if self.log.head() < extent.floor {
            // This node slept longer than events are kept; its sockets are told to reload.
            self.log.restart(extent.floor);
        }
        loop {
            let head = self.log.head();
            let events = store::events::after(&mut reader.db(), head, STEP).await?;
            let last = i64::try_from(events.len()).unwrap_or(STEP) < STEP;
            self.log.offer(events);
            if last {
                self.log.note_followed(self.now_ms());
                return Ok(());
            }
            if self.log.head() == head {
                // What comes next was forgotten meanwhile: the next look begins behind that.
                return Ok(());
            }
        }
    }
}

/// The head of the log as the database has it, for answers that a client subscribes from.
///
/// # Errors
/// When the database cannot be read.
async fn head(db: &mut store::Db<'_>) -> Result<Seq> {
    Ok(store::events::extent(db).await?.head)
}

/// A list's page as it is answered.
#[derive(Debug)]
pub struct Listed<T> {
    /// The records.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next_cursor: Option<String>,
    /// How many records there are on all pages.
    pub total: i64,
    /// The head of the log before the list was read.
    pub seq: Seq,
}

/// A record with the head of the log before it was read.
#[derive(Debug)]
pub struct Read<T> {
    /// The record.
    pub record: T,
    /// The head of the log before it was read.
    pub seq: Seq,
}
