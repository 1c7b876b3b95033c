//! Folds deliveries in one transaction: decides what becomes of each, and writes what changed.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use serde_json::json;

use super::observe::Marks;
use super::{Answer, App, Outcome, Received, Result, micros_since};
use crate::calendly::statement::Meaning;
use crate::domain::delivery::{Delivery, DeliveryStatus, Reason, Standing};
use crate::domain::event::{Audience, Event, NewEvent};
use crate::domain::ids::Id;
use crate::domain::world::{Context, Incomplete, Statement, World};
use crate::store::fold::Loaded;
use crate::store::{self, Db, Tx};

impl App {
    /// Folds deliveries in one transaction and answers each, in order.
    pub(super) async fn fold(&self, batch: &[Received]) -> Result<Vec<Answer>> {
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
        let mut tx = self.store.begin_batch().await?;
        let loaded = load(&mut tx.db(), batch, complete).await?;
        let cx = Context {
            now_ms,
            ids: &*self.ids,
        };
        let folded = match Folded::of(batch, loaded, cx) {
            Ok(folded) => folded,
            Err(incomplete) => {
                tx.roll_back().await;
                return Ok(Err(incomplete));
            }
        };
        let events = if folded.folding.has_news() {
            let events = self.write(tx, folded.folding, now_ms).await?;
            self.writes.succeeded();
            events
        } else {
            tx.roll_back().await;
            Vec::new()
        };
        self.observe(batch, &folded.answers, &folded.marks, &events);
        Ok(Ok((folded.answers, events)))
    }

    pub(super) async fn write(
        &self,
        mut tx: Tx,
        folding: Folding,
        now_ms: i64,
    ) -> Result<Vec<Event>> {
        let mut db = tx.db();
        for (held, by) in &folding.closed {
            store::deliveries::close_as_duplicate(&mut db, held, by).await?;
        }
        let rows = store::fold::write(&mut db, &folding.world, &folding.archived).await?;
        let committed = tx.commit_with(rows, folding.events, now_ms, &*self.ids);
        Ok(committed.await?)
    }
}

/// Reads what is known of what the deliveries concern.
pub(super) async fn load(
    db: &mut Db<'_>,
    batch: &[Received],
    complete: &BTreeSet<Id>,
) -> store::Result<Loaded> {
    let keys: BTreeSet<&str> = batch.iter().filter_map(Received::key).collect();
    let statements: Vec<&Statement> = batch.iter().filter_map(Received::statement).collect();
    store::fold::load_and_recognize(db, keys.into_iter().collect(), &statements, complete).await
}

/// A batch that is folded and not yet written.
pub(super) struct Folded {
    pub(super) folding: Folding,
    pub(super) answers: Vec<Answer>,
    pub(super) marks: Marks,
}

impl Folded {
    /// Decides what becomes of each delivery.
    pub(super) fn of(
        batch: &[Received],
        loaded: Loaded,
        cx: Context<'_>,
    ) -> std::result::Result<Self, Incomplete> {
        let mut folding = Folding::new(loaded.world, loaded.standing);
        let mut answers = Vec::with_capacity(batch.len());
        let mut marks = Marks::default();
        for received in batch {
            marks.before.push(folding.events.len());
            answers.push(folding.take(received, cx)?);
        }
        marks.folded = Some(Instant::now());
        Ok(Self {
            folding,
            answers,
            marks,
        })
    }
}

/// A batch being folded.
#[derive(Default)]
pub(super) struct Folding {
    pub(super) world: World,
    standing: HashMap<String, Standing>,
    pub(super) archived: Vec<Delivery>,
    closed: Vec<(Id, Id)>,
    pub(super) events: Vec<NewEvent>,
}

impl Folding {
    /// Whether there is anything to write: not where all were known.
    fn has_news(&self) -> bool {
        !self.archived.is_empty()
    }

    /// Whether all it takes to write it is inserts.
    pub(super) fn only_inserts(&self) -> bool {
        self.closed.is_empty() && !self.world.lacks_any()
    }

    pub(super) fn new(world: World, standing: HashMap<String, Standing>) -> Self {
        Self {
            world,
            standing,
            ..Self::default()
        }
    }

    /// Decides what becomes of one delivery, and folds it when it is to be.
    pub(super) fn take(
        &mut self,
        received: &Received,
        cx: Context<'_>,
    ) -> std::result::Result<Answer, Incomplete> {
        let key = received.delivery.dedupe_key.clone().unwrap_or_default();
        match self.standing.get(&key).cloned() {
            Some(first) if first.held.is_none() => {
                return Ok(Answer {
                    outcome: Outcome::Duplicate,
                    delivery_id: first.id,
                    reason: None,
                });
            }
            // Held, and this one is no better: the first stands for both.
            Some(first) if !received.timely || received.meaning.is_err() => {
                let outcome = Outcome::Quarantined;
                return Ok(Answer {
                    outcome,
                    delivery_id: first.id,
                    reason: first.held,
                });
            }
            Some(held) => self.close(&held.id, &received.delivery.id),
            None => {}
        }
        let mut delivery = received.delivery.clone();
        let outcome = self.settle(&mut delivery, received, cx)?;
        let held = delivery.reason.filter(|_| outcome == Outcome::Quarantined);
        let answer = Answer {
            outcome,
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

    /// Closes a held delivery because the same event came again in time: where it is kept, or
    /// in this batch.
    fn close(&mut self, held: &Id, by: &Id) {
        match self
            .archived
            .iter_mut()
            .find(|delivery| delivery.id == *held)
        {
            Some(delivery) => delivery.close_as_duplicate(by),
            None => self.closed.push((held.clone(), by.clone())),
        }
    }

    /// Sets the delivery's outcome.
    fn settle(
        &mut self,
        delivery: &mut Delivery,
        received: &Received,
        cx: Context<'_>,
    ) -> std::result::Result<Outcome, Incomplete> {
        let (outcome, status, reason) = match &received.meaning {
            Err(reason) => held(*reason),
            Ok(_) if !received.timely => held(Reason::StaleTimestamp),
            Ok(Meaning::FormWithoutEmail) => ignored(Reason::NoEmail),
            Ok(Meaning::Unhandled) => ignored(Reason::UnhandledEvent),
            Ok(Meaning::Statement(statement)) => {
                let applied = self.world.apply(statement.clone(), cx)?;
                delivery.prospect_id = applied.prospect_id;
                delivery.proposal_id = applied.proposal_id;
                self.events.extend(applied.events);
                (Outcome::Processed, DeliveryStatus::Processed, None)
            }
        };
        delivery.status = status;
        delivery.reason = reason;
        if outcome == Outcome::Quarantined {
            self.events.push(quarantined(delivery));
        }
        Ok(outcome)
    }
}

fn held(reason: Reason) -> (Outcome, DeliveryStatus, Option<Reason>) {
    (
        Outcome::Quarantined,
        DeliveryStatus::Quarantined,
        Some(reason),
    )
}

fn ignored(reason: Reason) -> (Outcome, DeliveryStatus, Option<Reason>) {
    (Outcome::Ignored, DeliveryStatus::Ignored, Some(reason))
}

fn quarantined(delivery: &Delivery) -> NewEvent {
    let payload = json!({
        "deliveryId": delivery.id,
        "reason": delivery.reason,
        "event": delivery.event,
    });
    NewEvent::new("delivery-quarantined", &payload, Audience::admins())
}
