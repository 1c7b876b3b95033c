//! Processes all deliveries that match a filter again, a batch at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::foreseen::Changes;
use super::{Answer, App, Error, Outcome, Result};
use crate::app::error::chain;
use crate::domain::delivery::{Delivery, DeliveryStatus, Reason};
use crate::domain::ids::Id;
use crate::domain::world::Incomplete;
use crate::store::deliveries::{Filter, stretch};

/// How many deliveries are told one by one.
const TOLD: usize = 200;

/// What became of deliveries that were processed again, or would become of them.
#[derive(Debug, Default)]
pub struct Replayed {
    /// How many deliveries matched.
    pub matched: u64,
    /// How many came to what; refused ones are `skipped`, and `failed` is a fault of ours that
    /// left the delivery as it was.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// The first two hundred, in the order they were received.
    pub deliveries: Vec<ReplayedDelivery>,
    /// What would change; `None` when it did.
    pub changes: Option<Changes>,
    /// Whether a dry run stopped before the end, because so much would change.
    pub stopped: bool,
}

/// What became of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedDelivery {
    /// Its id.
    pub id: Id,
    /// What had become of it before.
    pub was: DeliveryStatus,
    /// What becomes of it now: an outcome's name, or `failed`.
    pub status: &'static str,
    /// Why it was not processed.
    pub reason: Option<Reason>,
    /// The delivery that stands for the same event.
    pub duplicate_of: Option<Id>,
}

impl Replayed {
    /// The names under which deliveries are counted.
    pub const OUTCOMES: [&'static str; 6] = [
        Outcome::Processed.name(),
        Outcome::Duplicate.name(),
        Outcome::Ignored.name(),
        Outcome::Quarantined.name(),
        "skipped",
        "failed",
    ];

    /// Whether there is more than is told one by one.
    #[must_use]
    pub fn has_more(&self) -> bool {
        let skipped = self.outcomes.get("skipped").copied().unwrap_or(0);
        let told = self.deliveries.len() as u64;
        self.matched - skipped > told || self.changes.as_ref().is_some_and(Changes::has_more)
    }

    fn count(&mut self, outcome: &'static str) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    /// Takes the refused ones out, which have no body.
    pub(super) fn skip(&mut self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        self.matched += deliveries.len() as u64;
        let (kept, refused): (Vec<_>, Vec<_>) =
            deliveries.into_iter().partition(|d| d.body.is_some());
        *self.outcomes.entry("skipped").or_default() += refused.len() as u64;
        kept
    }

    pub(super) fn add(&mut self, was: &Seen, answer: &Result<Answer>) {
        let duplicate = |a: &&Answer| a.outcome == Outcome::Duplicate;
        let answer = answer.as_ref().ok();
        let told = ReplayedDelivery {
            id: was.id.clone(),
            was: was.status,
            status: answer.map_or("failed", |answer| answer.outcome.name()),
            reason: answer.and_then(|answer| answer.reason),
            duplicate_of: answer.filter(duplicate).map(|a| a.delivery_id.clone()),
        };
        self.count(told.status);
        if self.deliveries.len() < TOLD {
            self.deliveries.push(told);
        }
    }
}

/// A delivery as it was before it was processed again.
pub(super) struct Seen {
    id: Id,
    status: DeliveryStatus,
}

impl From<&Delivery> for Seen {
    fn from(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id.clone(),
            status: delivery.status,
        }
    }
}

/// Where the next batch begins: behind this delivery.
pub(super) type Last = Option<Id>;

impl App {
    /// Processes all deliveries that match again, as if they had come in time, in the order they
    /// were received. Each batch is a transaction of its own, so that bookings keep coming in
    /// meanwhile; cut short, it can be asked for again.
    ///
    /// # Errors
    /// When the database fails; what was done before stays.
    pub async fn replay_all(&self, filter: &Filter) -> Result<Replayed> {
        let filter = self.until_now(filter);
        let (mut replayed, mut last) = (Replayed::default(), None);
        while self.replay_some(&filter, &mut last, &mut replayed).await? {}
        Ok(replayed)
    }

    /// Deliveries that come in meanwhile are processed anyway.
    pub(super) fn until_now(&self, filter: &Filter) -> Filter {
        let now_ms = self.now_ms() + 1;
        Filter {
            until_ms: Some(filter.until_ms.map_or(now_ms, |until| until.min(now_ms))),
            ..filter.clone()
        }
    }

    /// Processes a batch again and answers whether there was one.
    async fn replay_some(
        &self,
        filter: &Filter,
        last: &mut Last,
        replayed: &mut Replayed,
    ) -> Result<bool> {
        let tried = AssertUnwindSafe(self.replay_stretch(filter, last)).catch_unwind();
        let tried = tried
            .await
            .unwrap_or_else(|_| Err(Error::Internal("folding panicked".into())));
        let (deliveries, answers) = match tried {
            Ok((deliveries, answers)) => (deliveries, answers.map(Ok).collect::<Vec<_>>()),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                tracing::warn!(error = chain(&error), "a batch of a replay failed");
                self.replay_apart(filter, last).await?
            }
        };
        let Some(end) = deliveries.last() else {
            return Ok(false);
        };
        *last = Some(end.id.clone());
        let seen = replayed.skip(deliveries);
        for (delivery, answer) in seen.iter().zip(&answers) {
            replayed.add(&Seen::from(delivery), answer);
        }
        Ok(true)
    }

    async fn replay_stretch(
        &self,
        filter: &Filter,
        last: &Last,
    ) -> Result<(Vec<Delivery>, std::vec::IntoIter<Answer>)> {
        let mut complete = BTreeSet::new();
        loop {
            let mut tx = self.store.begin_fold().await?;
            let deliveries = stretch(&mut tx.db(), filter, last.as_ref()).await?;
            let with_body = deliveries.iter().filter(|d| d.body.is_some());
            let with_body: Vec<Delivery> = with_body.cloned().collect();
            match self.replay_in(tx, with_body, &complete).await? {
                Ok((answers, events)) => {
                    self.log.offer(events);
                    return Ok((deliveries, answers.into_iter()));
                }
                Err(Incomplete(prospect)) => complete.insert(prospect),
            };
        }
    }

    /// Processes a batch that failed again one by one, so that none suffers for its neighbours.
    async fn replay_apart(
        &self,
        filter: &Filter,
        last: &Last,
    ) -> Result<(Vec<Delivery>, Vec<Result<Answer>>)> {
        let mut reader = self.store.read().await?;
        let deliveries = stretch(&mut reader.db(), filter, last.as_ref()).await?;
        drop(reader);
        let mut answers = Vec::with_capacity(deliveries.len());
        for delivery in deliveries.iter().filter(|d| d.body.is_some()) {
            let answer = AssertUnwindSafe(self.replay(&delivery.id)).catch_unwind();
            let answer = answer
                .await
                .unwrap_or_else(|_| Err(Error::Internal("folding panicked".into())));
            if let Err(error) = &answer {
                tracing::error!(error = chain(error), delivery = %delivery.id, "cannot be replayed");
            }
            answers.push(answer);
        }
        Ok((deliveries, answers))
    }
}
