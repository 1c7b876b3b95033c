//! Refused requests: counted, and the last of them kept without their bodies.
//!
//! They wait in memory and are written by a job, many in one statement, so that a flood of them
//! costs the database next to nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::error::chain;
use super::{App, Result};
use crate::calendly::signature::SignatureError;
use crate::domain::delivery::{Delivery, DeliveryStatus, Reason};
use crate::domain::ids::Id;
use crate::store;

/// How many refused requests are kept.
pub const KEPT: usize = 1000;

/// How long whoever wants to read them waits for those that are not yet written.
const SOON: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<Delivery>,
    /// In one order, so that two nodes writing at once never wait for each other.
    counts: BTreeMap<&'static str, i64>,
}

/// Refused requests that are not yet written.
#[derive(Debug, Default)]
pub struct Refusals {
    waiting: Mutex<Waiting>,
    /// Those that are being written, until it is known that they are. Whoever finds none is to know
    /// that all are written.
    writing: tokio::sync::Mutex<Option<Waiting>>,
}

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(
        &self,
        id: Id,
        error: SignatureError,
        headers: BTreeMap<String, String>,
        connection_id: Option<Id>,
        received_ms: i64,
    ) {
        let reason = match error {
            SignatureError::Missing => Reason::SignatureMissing,
            SignatureError::Malformed => Reason::SignatureMalformed,
            SignatureError::Mismatch => Reason::SignatureMismatch,
        };
        let mut waiting = self.lock();
        *waiting.counts.entry(reason.name()).or_default() += 1;
        if waiting.requests.len() == KEPT {
            waiting.requests.pop_front();
        }
        waiting.requests.push_back(Delivery {
            id,
            status: DeliveryStatus::Rejected,
            reason: Some(reason),
            event: None,
            dedupe_key: None,
            duplicate_of: None,
            connection_id,
            received_ms,
            signed_ms: None,
            prospect_id: None,
            proposal_id: None,
            headers: Arc::new(headers),
            timings: None,
            body: None,
        });
    }
}

impl App {
    /// Writes the refused requests that wait, and forgets those too many.
    ///
    /// # Errors
    /// When the database fails. They are kept for the next time.
    pub async fn flush_refusals(&self) -> Result<()> {
        let mut writing = self.refusals.writing.lock().await;
        // Those that failed before by themselves, because they may have been written all the same;
        // and what waits, but not all that comes meanwhile.
        for _ in 0..2 {
            if writing.is_none() {
                let next = std::mem::take(&mut *self.refusals.lock());
                *writing = Some(next).filter(|next| !next.counts.is_empty());
            }
            let Some(batch) = &*writing else { break };
            match self.write_refusals(batch).await {
                // The answer to their commit was lost.
                Ok(()) | Err(store::Error::Conflict(_)) => *writing = None,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// As [`App::flush_refusals`] for somebody who wants to read them, and can do without those
    /// that cannot be written soon.
    pub(super) async fn show_refusals(self: &Arc<Self>) {
        let app = Arc::clone(self);
        let flushing = tokio::spawn(async move {
            if let Err(error) = app.flush_refusals().await {
                tracing::warn!(error = chain(&error), "refused requests wait to be written");
            }
        });
        let _ = timeout(SOON, flushing).await;
    }

    async fn write_refusals(&self, waiting: &Waiting) -> store::Result<()> {
        let mut tx = self.store.begin().await?;
        for (code, n) in &waiting.counts {
            store::refusals::add(&mut tx.db(), code, *n).await?;
        }
        let requests: Vec<Delivery> = waiting.requests.iter().cloned().collect();
        store::deliveries::insert(&mut tx.db(), &requests).await?;
        let kept = i64::try_from(KEPT).unwrap_or(i64::MAX);
        store::refusals::prune(&mut tx.db(), kept).await?;
        tx.commit(Vec::new(), self.now_ms(), &*self.ids).await?;
        tracing::warn!(refused = ?waiting.counts, "deliveries were refused");
        Ok(())
    }
}
