//! Processes one archived or held delivery again.

use std::collections::BTreeSet;
use std::time::Instant;

use super::folding::Folding;
use super::{Answer, App, Error, Outcome, Received, Result, read_body};
use crate::domain::delivery::DeliveryStatus;
use crate::domain::event::Event;
use crate::domain::ids::Id;
use crate::domain::world::{Context, Incomplete, Statement};
use crate::store::{self, Tx};

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
        let now_ms = self.now_ms();
        let mut tx = self.store.begin_fold().await?;
        let received = self.archived(&mut tx, id).await?;
        let key = received.delivery.dedupe_key.clone().unwrap_or_default();
        let mut standing = store::deliveries::standing(&mut tx.db(), [key.as_str()]).await?;
        // The delivery must not be taken for a duplicate of itself.
        standing.retain(|_, first| first.id != *id);
        if let Some(first) = standing.get(&key) {
            let answer = Answer {
                outcome: Outcome::Duplicate,
                delivery_id: first.id.clone(),
                reason: None,
            };
            if received.delivery.status == DeliveryStatus::Quarantined {
                let mut closed = received.delivery;
                closed.close_as_duplicate(&first.id);
                store::deliveries::settle(&mut tx.db(), &closed).await?;
                self.commit(tx, Vec::new()).await?;
            }
            return Ok(Ok((answer, Vec::new())));
        }
        let statements: Vec<&Statement> = received.statement().into_iter().collect();
        let world = store::fold::load(&mut tx.db(), &statements, complete).await?;
        let cx = Context {
            now_ms,
            ids: &*self.ids,
        };
        let mut folding = Folding::new(world, standing);
        let was_held = received.delivery.status == DeliveryStatus::Quarantined;
        let answer = match folding.take(&received, cx) {
            Ok(answer) => answer,
            Err(incomplete) => return Ok(Err(incomplete)),
        };
        if was_held && answer.outcome == Outcome::Quarantined {
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
            let detail = "its body is not kept: it was refused, or is older than bodies are kept";
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
