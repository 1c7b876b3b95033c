//! Processes archived and held deliveries again.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use super::folding::Folding;
use super::{Answer, App, Error, Outcome, Received, Result, read_body};
use crate::domain::delivery::{Delivery, DeliveryStatus, Standing};
use crate::domain::event::Event;
use crate::domain::ids::Id;
use crate::domain::world::{Context, Incomplete, Statement};
use crate::store::{self, Db, Tx};

impl App {
    /// Processes one archived or held delivery again, as if it had come in time.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] for one whose body is not kept.
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
        let mut tx = self.store.begin_fold().await?;
        let found = store::deliveries::find(&mut tx.db(), id).await?;
        let delivery = found.ok_or(Error::NotFound)?;
        if delivery.body.is_none() {
            let detail = "its body is not kept: it was refused, or is older than bodies are kept";
            return Err(Error::conflict("not_replayable", detail));
        }
        match self.replay_in(tx, vec![delivery], complete).await? {
            Ok((mut answers, events)) => {
                let answer = answers.pop();
                Ok(Ok((answer.ok_or(Error::NotFound)?, events)))
            }
            Err(incomplete) => Ok(Err(incomplete)),
        }
    }

    /// Processes deliveries with bodies again in a transaction, and commits it. Answers each, in
    /// order.
    pub(super) async fn replay_in(
        &self,
        mut tx: Tx,
        deliveries: Vec<Delivery>,
        complete: &BTreeSet<Id>,
    ) -> Result<std::result::Result<(Vec<Answer>, Vec<Event>), Incomplete>> {
        let now_ms = self.now_ms();
        let batch = Batch::read(&mut tx.db(), deliveries).await?;
        let world = store::fold::load(&mut tx.db(), &batch.statements(), complete).await?;
        let mut folding = Folding::new(world, HashMap::new());
        let cx = Context {
            now_ms,
            ids: &*self.ids,
        };
        let answers = match batch.fold(&mut folding, cx) {
            Ok(answers) => answers,
            Err(incomplete) => return Ok(Err(incomplete)),
        };
        for delivery in batch.settled(&mut folding) {
            store::deliveries::settle(&mut tx.db(), &delivery).await?;
        }
        let events = self.write(tx, folding, now_ms).await?;
        Ok(Ok((answers, events)))
    }
}

/// Deliveries of the archive, read to be processed again together.
pub(super) struct Batch {
    stored: Vec<Delivery>,
    received: Vec<Received>,
    /// The deliveries that stand for the same events, by natural key.
    pub(super) standing: HashMap<String, Standing>,
}

impl Batch {
    pub(super) async fn read(db: &mut Db<'_>, deliveries: Vec<Delivery>) -> Result<Self> {
        let mut users = HashMap::new();
        let mut received = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            let user = connection_user(db, &mut users, delivery).await?;
            received.push(read_again(delivery, user.as_ref()));
        }
        let keys: BTreeSet<&str> = received
            .iter()
            .filter_map(|r: &Received| r.delivery.dedupe_key.as_deref())
            .collect();
        let standing = store::deliveries::standing(db, keys).await?;
        Ok(Self {
            stored: deliveries,
            received,
            standing,
        })
    }

    pub(super) fn statements(&self) -> Vec<&Statement> {
        self.received
            .iter()
            .filter_map(Received::statement)
            .collect()
    }

    /// Decides anew what becomes of each delivery.
    pub(super) fn fold(
        &self,
        folding: &mut Folding,
        cx: Context<'_>,
    ) -> std::result::Result<Vec<Answer>, Incomplete> {
        self.received
            .iter()
            .map(|received| self.fold_one(folding, received, cx))
            .collect()
    }

    fn fold_one(
        &self,
        folding: &mut Folding,
        received: &Received,
        cx: Context<'_>,
    ) -> std::result::Result<Answer, Incomplete> {
        let delivery = &received.delivery;
        let key = delivery.dedupe_key.as_deref().unwrap_or_default();
        // A delivery must not be taken for a duplicate of itself.
        let first = self
            .standing
            .get(key)
            .filter(|first| first.id != delivery.id);
        let was_held = delivery.status == DeliveryStatus::Quarantined;
        let told = folding.events.len();
        let answer = match first {
            Some(first) => Answer {
                outcome: Outcome::Duplicate,
                delivery_id: first.id.clone(),
                reason: None,
            },
            None => folding.take(received, cx)?,
        };
        if was_held && answer.outcome == Outcome::Duplicate {
            let mut closed = delivery.clone();
            closed.close_as_duplicate(&answer.delivery_id);
            folding.archived.push(closed);
        }
        if was_held && answer.outcome == Outcome::Quarantined {
            // Admins were told when it was held first.
            folding.events.truncate(told);
        }
        Ok(answer)
    }

    /// The deliveries that come to stand for an event under another key than they did.
    pub(super) fn rekeyed(&self, folding: &Folding) -> Vec<(String, Standing)> {
        let stored = |d: &Delivery| self.stored.iter().find(|stored| stored.id == d.id);
        let moved = |d: &&Delivery| {
            let stands = d.duplicate_of.is_none();
            stands && stored(d).is_some_and(|stored| stored.dedupe_key != d.dedupe_key)
        };
        let standing = |d: &Delivery| {
            let held = d.reason.filter(|_| d.status == DeliveryStatus::Quarantined);
            let id = d.id.clone();
            Some((d.dedupe_key.clone()?, Standing { id, held }))
        };
        let archived = folding.archived.iter().filter(moved);
        archived.filter_map(standing).collect()
    }

    /// Takes out the deliveries whose rows are to be written: those about which something else
    /// is known now.
    pub(super) fn settled(&self, folding: &mut Folding) -> Vec<Delivery> {
        let mut settled = std::mem::take(&mut folding.archived);
        settled.retain_mut(|delivery| {
            let stored = self.stored.iter().find(|stored| stored.id == delivery.id);
            let Some(stored) = stored else { return true };
            if [stored.status, delivery.status] == [DeliveryStatus::Processed; 2] {
                keep_records(stored, delivery);
            }
            !says_the_same(stored, delivery)
        });
        settled
    }
}

/// Keeps the records that a delivery made or found before, where it finds none now because they
/// were deleted: a rebuild gives records the ids that deliveries name.
fn keep_records(stored: &Delivery, delivery: &mut Delivery) {
    let keep = |stored: &Option<Id>, place: &mut Option<Id>| {
        *place = place.take().or_else(|| stored.clone());
    };
    keep(&stored.prospect_id, &mut delivery.prospect_id);
    keep(&stored.proposal_id, &mut delivery.proposal_id);
}

fn says_the_same(stored: &Delivery, delivery: &Delivery) -> bool {
    let verdict = |d: &Delivery| (d.status, d.reason, d.duplicate_of.clone());
    let named = |d: &Delivery| (d.event.clone(), d.dedupe_key.clone());
    let records = |d: &Delivery| (d.prospect_id.clone(), d.proposal_id.clone());
    verdict(stored) == verdict(delivery)
        && named(stored) == named(delivery)
        && records(stored) == records(delivery)
}

/// Whose connection a delivery came by, read once for each connection.
pub(super) async fn connection_user(
    db: &mut Db<'_>,
    known: &mut HashMap<Id, Option<Id>>,
    delivery: &Delivery,
) -> Result<Option<Id>> {
    let Some(id) = &delivery.connection_id else {
        return Ok(None);
    };
    if let Some(user) = known.get(id) {
        return Ok(user.clone());
    }
    let found = store::connections::find(db, id).await?;
    let user = found.and_then(|connection| connection.user_id);
    let user = user.map(Id::from_stored);
    known.insert(id.clone(), user.clone());
    Ok(user)
}

/// A delivery of the archive, read as the present program reads it.
pub(super) fn read_again(delivery: &Delivery, connection_user: Option<&Id>) -> Received {
    let read = read_body(
        delivery.body.as_deref().unwrap_or_default(),
        connection_user,
    );
    Received {
        delivery: Delivery {
            event: read.event,
            dedupe_key: Some(read.dedupe_key),
            ..delivery.clone()
        },
        meaning: read.meaning,
        timely: true,
        started: Instant::now(),
        verified_us: 0,
    }
}
