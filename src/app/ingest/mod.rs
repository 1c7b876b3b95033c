//! Takes deliveries in: verify, read, queue, and commit many at once.
//!
//! One writer takes whatever waits and folds it in one transaction, so that many deliveries
//! share one fsync. They are answered after the commit. When a batch fails, each of its
//! deliveries is tried by itself, so that none suffers for its neighbours.

mod beside;
mod bulk;
mod dry_run;
mod folding;
mod foreseen;
mod observe;
mod rebuild;
mod recalled;
mod replay;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{App, Error, Result};
use crate::calendly::payload;
use crate::calendly::signature::{Signature, SignatureError, SigningKey};
use crate::calendly::statement::{Meaning, meaning};
use crate::domain::delivery::{Delivery, DeliveryStatus, Reason};
use crate::domain::ids::Id;
use crate::domain::world::Statement;
use crate::store;
pub use bulk::{Replayed, ReplayedDelivery};
pub use foreseen::{Changes, RecordChange};
pub use rebuild::Rebuilt;
pub use writer::{Queue, Writer, queue};

/// A verified delivery, read and ready to fold.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its row in the archive, as it stands before folding.
    pub delivery: Delivery,
    /// What it says, or why it cannot be folded.
    pub meaning: std::result::Result<Meaning, Reason>,
    /// Whether its signature's time is within the tolerance.
    pub timely: bool,
    started: Instant,
    verified_us: u64,
}

/// What is answered to Calendly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of it.
    pub outcome: Outcome,
    /// The delivery that stands for the event.
    pub delivery_id: Id,
    /// Why it was not processed.
    pub reason: Option<Reason>,
}

/// What became of a delivery that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It changed the state, or said what was known.
    Processed,
    /// The same event came before.
    Duplicate,
    /// It is nothing we act on.
    Ignored,
    /// It is held until somebody looks at it.
    Quarantined,
}

impl Outcome {
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
        let taken = self.take_in(posted).await;
        taken.inspect_err(|error| self.metrics.count_lost(error))
    }

    async fn take_in(&self, posted: Posted) -> Result<Answer> {
        let started = Instant::now();
        let received_ms = self.now_ms();
        let door = self.door(posted.connection_id.as_deref()).await?;
        let received = self.verified(posted, door, received_ms, started)?;
        self.queue.put(received).await
    }

    /// Verifies and reads what was posted. In a box, because what a body says has a few kilobytes,
    /// which would be copied from future to future and into the queue.
    fn verified(
        &self,
        posted: Posted,
        door: Door,
        received_ms: i64,
        started: Instant,
    ) -> Result<Box<Received>> {
        let signature = match verify(posted.signature.as_deref(), &posted.body, &door.keys) {
            Ok(signature) => signature,
            Err(error) => {
                let (id, connection) = (self.ids.new_id(received_ms), door.connection_id);
                self.refusals
                    .note(id, error, posted.headers, connection, received_ms);
                return Err(Error::Unauthenticated(error.code()));
            }
        };
        let tolerance_s = self.settings.signature_tolerance_s;
        let timely = signature.is_timely(received_ms.div_euclid(1000), tolerance_s);
        let read = read_body(&posted.body, door.user_id.as_ref());
        let id = self.ids.new_id(received_ms);
        let mut delivery = archived(id, posted, door, signature.signed_at_s, received_ms);
        delivery.event = read.event;
        delivery.dedupe_key = Some(read.dedupe_key);
        Ok(Box::new(Received {
            delivery,
            meaning: read.meaning,
            timely,
            started,
            verified_us: micros_since(started),
        }))
    }

    /// The keys a path verifies with, and the connection. An unknown connection has no key, so
    /// that nothing it is posted is accepted.
    async fn door(&self, connection_id: Option<&str>) -> Result<Door> {
        let Some(text) = connection_id else {
            let keys = self.settings.signing_keys.clone();
            return Ok(Door {
                keys,
                ..Door::default()
            });
        };
        let Some(id) = Id::parse(text) else {
            return Ok(Door::default());
        };
        let found = store::connections::find(&mut self.store.read().await?.db(), &id).await?;
        Ok(found.map_or_else(Door::default, |connection| Door {
            keys: SigningKey::new(&connection.signing_key)
                .into_iter()
                .collect(),
            connection_id: Some(id),
            user_id: connection.user_id.map(Id::from_stored),
        }))
    }
}

/// A webhook path: what opens it, and whose it is.
#[derive(Default)]
struct Door {
    keys: Vec<SigningKey>,
    connection_id: Option<Id>,
    user_id: Option<Id>,
}

/// The row of a delivery that was verified and read.
fn archived(id: Id, posted: Posted, door: Door, signed_at_s: i64, received_ms: i64) -> Delivery {
    Delivery {
        id,
        status: DeliveryStatus::Quarantined,
        reason: None,
        event: None,
        dedupe_key: None,
        duplicate_of: None,
        connection_id: door.connection_id,
        received_ms,
        signed_ms: Some(signed_at_s.saturating_mul(1000)),
        prospect_id: None,
        proposal_id: None,
        headers: Arc::new(posted.headers),
        timings: None,
        body: Some(posted.body),
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
    pub(super) meaning: std::result::Result<Meaning, Reason>,
}

pub(super) fn read_body(body: &[u8], connection_user: Option<&Id>) -> ReadBody {
    match payload::parse(body) {
        Ok(webhook) => ReadBody {
            event: Some(webhook.event.to_string()),
            meaning: Ok(meaning(&webhook, connection_user)),
            dedupe_key: webhook.dedupe_key,
        },
        Err(_) => ReadBody {
            event: payload::event_name(body),
            dedupe_key: payload::body_key(body),
            meaning: Err(Reason::MalformedPayload),
        },
    }
}

fn micros_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl Received {
    /// The natural key of its event.
    fn key(&self) -> Option<&str> {
        self.delivery.dedupe_key.as_deref()
    }

    fn statement(&self) -> Option<&Statement> {
        match &self.meaning {
            Ok(Meaning::Statement(statement)) => Some(statement),
            _ => None,
        }
    }
}
