//! Takes deliveries in: verify, read, queue, and commit many at once.
//!
//! One writer takes whatever waits and folds it in one transaction, so that many deliveries
//! share one fsync. They are answered after the commit. When a batch fails, each of its
//! deliveries is tried by itself, so that none suffers for its neighbours.

mod folding;
mod replay;
mod writer;

use std::collections::BTreeMap;
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
pub use writer::{Queue, Writer, queue};

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

impl Received {
    fn statement(&self) -> Option<Statement> {
        match &self.meaning {
            Some(Meaning::Statement(statement)) => Some(statement.clone()),
            _ => None,
        }
    }
}
