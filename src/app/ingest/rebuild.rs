//! Feeds the archive of one database into another, empty one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::folding::Folding;
use super::recalled::Recalled;
use super::replay::{connection_user, read_again};
use super::{App, Error, Outcome, Received, Result};
use crate::domain::delivery::{Delivery, DeliveryStatus};
use crate::domain::ids::Id;
use crate::domain::proposal::ProposalHost;
use crate::domain::user::Directory;
use crate::domain::world::{Context, Incomplete, Statement};
use crate::store::deliveries::archive::{self, Described, Resident};
use crate::store::deliveries::{Filter, stretch};
use crate::store::{self, Db, Tx};

/// What was fed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Deliveries by what had become of them, each with its number.
    pub by_status: BTreeMap<&'static str, u64>,
    /// Deliveries that were processed before and could not be now; they are held.
    pub held_now: Vec<Id>,
}

impl Rebuilt {
    /// How many deliveries there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_status.values().sum()
    }

    fn add(&mut self, fed: &[Turn], outcomes: &[Delivery]) {
        for (turn, after) in fed.iter().zip(outcomes) {
            let before = &turn.received.delivery;
            *self.by_status.entry(before.status.name()).or_default() += 1;
            if before.status == DeliveryStatus::Processed && after.status != before.status {
                self.held_now.push(after.id.clone());
            }
        }
    }
}

/// What is known of the source besides its deliveries.
struct Source {
    /// By the time they were added.
    residents: Vec<Resident>,
    /// When any of them was described otherwise, in order.
    changes_ms: Vec<i64>,
    connection_users: HashMap<Id, Option<Id>>,
}

/// A delivery of the archive, and who could own what when it was processed.
struct Turn {
    received: Received,
    /// How many users there were when it came in, and how often any had been described otherwise.
    users: (usize, usize),
    /// Those of its booking, as owner or hosts, who were added later or described otherwise: it may
    /// have been processed again since.
    late: Vec<Id>,
}

impl Source {
    fn new(residents: Vec<Resident>) -> Self {
        let changes = residents.iter().flat_map(|user| user.before.iter());
        let mut changes_ms: Vec<i64> = changes.map(|(until_ms, _)| *until_ms).collect();
        changes_ms.sort_unstable();
        Self {
            residents,
            changes_ms,
            connection_users: HashMap::new(),
        }
    }

    /// The users there were at a delivery's turn, as they were described then: what was booked
    /// before a user was added, or known by an address, stays where it was, unless it was
    /// processed again since.
    fn directory(&self, turn: &Turn) -> Directory {
        let at_ms = turn.received.delivery.received_ms;
        let known = self.residents[..turn.users.0].iter();
        let known = known.map(|user| (user, user.at(at_ms)));
        let late = self
            .residents
            .iter()
            .filter(|user| turn.late.contains(&user.id));
        let late = late.flat_map(|user| user.always().map(move |described| (user, described)));
        let described = |(user, described): (&Resident, &Described)| {
            let Described {
                email,
                calendly_user_uri,
            } = described.clone();
            (user.id.clone(), email, calendly_user_uri)
        };
        // Of two who were described alike at different times, who was so then comes last and counts.
        Directory::new(late.chain(known).map(described))
    }

    async fn turns(&mut self, db: &mut Db<'_>, deliveries: &[Delivery]) -> Result<Vec<Turn>> {
        let mut turns = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let user = connection_user(db, &mut self.connection_users, delivery).await?;
            // The key stays: no two deliveries of the archive stand for one event.
            let mut received = read_again(delivery, user.as_ref());
            received.delivery = delivery.clone();
            let at_ms = delivery.received_ms;
            let users = self.residents.partition_point(|u| u.created_ms <= at_ms);
            let changes = self.changes_ms.partition_point(|ms| *ms <= at_ms);
            let users = (users, changes);
            let late = Vec::new();
            turns.push(Turn {
                received,
                users,
                late,
            });
        }
        let uris: BTreeSet<String> = turns.iter().filter_map(booking).collect();
        let users = users_of(db, &uris).await?;
        for turn in &mut turns {
            let Some(users) = booking(turn).and_then(|uri| users.get(&uri)) else {
                continue;
            };
            let at_ms = turn.received.delivery.received_ms;
            let unknown = |user: &&Resident| user.created_ms > at_ms || !user.before.is_empty();
            let its = self
                .residents
                .iter()
                .filter(|user| users.contains(&user.id));
            turn.late = its.filter(unknown).map(|user| user.id.clone()).collect();
        }
        Ok(turns)
    }
}

/// The users that bookings have, as owner or as hosts, by invitee.
async fn users_of(
    db: &mut Db<'_>,
    uris: &BTreeSet<String>,
) -> Result<HashMap<String, BTreeSet<Id>>> {
    let places = store::fold::places(db, uris.iter().map(String::as_str)).await?;
    let chains = places.iter().filter_map(|place| place.proposal_id.clone());
    let chains: BTreeSet<Id> = chains.map(Id::from_stored).collect();
    let proposals = store::proposals::by_ids(db, &chains).await?;
    let hosts: HashMap<&str, &[ProposalHost]> = proposals
        .iter()
        .map(|proposal| (proposal.id.as_str(), &*proposal.appointment.hosts))
        .collect();
    let users = places.into_iter().map(|place| {
        let hosts = place.proposal_id.as_deref().and_then(|id| hosts.get(id));
        let hosts = hosts.into_iter().flat_map(|hosts| hosts.iter());
        let hosts = hosts.filter_map(|host| host.user_id.clone());
        let users = hosts.chain(place.owner_id.map(Id::from_stored));
        (place.uri, users.collect())
    });
    Ok(users.collect())
}

/// The invitee that a delivery is about.
fn booking(turn: &Turn) -> Option<String> {
    match turn.received.statement()? {
        Statement::Invitee { uri, .. } if is_folded(&turn.received.delivery) => Some(uri.0.clone()),
        _ => None,
    }
}

impl App {
    /// Feeds every delivery of `source` into this, empty database, in the order they were
    /// received: those that were processed are folded as if they had come in just now, all are
    /// archived as they were. Users, connections and settings go before them. `tell` hears how
    /// many deliveries are done, after each batch.
    ///
    /// The event log begins behind any position that a client can know, without events: whoever
    /// knew the other database is told to reload.
    ///
    /// # Errors
    /// [`Error::Conflict`] `not_empty`; a delivery that cannot be folded is named. What was fed
    /// until then stays, marked as unfinished.
    pub async fn rebuild(&self, source: &mut Db<'_>, mut tell: impl FnMut(u64)) -> Result<Rebuilt> {
        self.begin_rebuild(source).await?;
        let mut known = Source::new(archive::residents(source).await?);
        let (mut rebuilt, mut last) = (Rebuilt::default(), None);
        loop {
            let deliveries = stretch(source, &Filter::default(), last.as_ref()).await?;
            let Some(end) = deliveries.last() else { break };
            last = Some(end.id.clone());
            let turns = known.turns(source, &deliveries).await?;
            for batch in turns.chunk_by(|a, b| (a.users, &a.late) == (b.users, &b.late)) {
                let outcomes = self.feed(source, known.directory(&batch[0]), batch).await?;
                rebuilt.add(batch, &outcomes);
            }
            tell(rebuilt.total());
        }
        let mut tx = self.store.begin_fold().await?;
        archive::finish(&mut tx.db()).await?;
        self.commit(tx, Vec::new()).await?;
        Ok(rebuilt)
    }

    async fn begin_rebuild(&self, source: &mut Db<'_>) -> Result<()> {
        // Past what any client of the source or of another rebuild has heard.
        let head = store::events::extent(source).await?.head;
        let begins = self.past(head);
        let mut tx = self.store.begin_fold().await?;
        if !archive::is_vacant(&mut tx.db()).await? {
            return Err(Error::conflict("not_empty", "the database is not empty"));
        }
        archive::carry_over(source, &mut tx.db()).await?;
        store::events::begin_at(&mut tx.db(), begins).await?;
        self.commit(tx, Vec::new()).await?;
        self.log.restart(begins);
        Ok(())
    }

    /// Feeds a batch. When it fails, each of its deliveries is tried by itself, to name the one
    /// that is at fault.
    async fn feed(
        &self,
        source: &mut Db<'_>,
        directory: Directory,
        batch: &[Turn],
    ) -> Result<Vec<Delivery>> {
        let prospects = batch
            .iter()
            .filter_map(|t| t.received.delivery.prospect_id.clone());
        let conversations = archive::conversations(source, &prospects.collect()).await?;
        if let Ok(outcomes) = self.feed_once(batch, &directory, &conversations).await {
            return Ok(outcomes);
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        for one in batch.chunks(1) {
            let fed = self.feed_once(one, &directory, &conversations).await;
            outcomes.extend(fed.map_err(|error| stopped(&one[0].received.delivery, error))?);
        }
        Ok(outcomes)
    }

    async fn feed_once(
        &self,
        batch: &[Turn],
        directory: &Directory,
        conversations: &BTreeMap<Id, Id>,
    ) -> Result<Vec<Delivery>> {
        let statements: Vec<&Statement> = batch
            .iter()
            .filter(|turn| is_folded(&turn.received.delivery))
            .filter_map(|turn| turn.received.statement())
            .collect();
        let mut complete = BTreeSet::new();
        loop {
            let mut tx = self.store.begin_fold().await?;
            let mut world = store::fold::load(&mut tx.db(), &statements, &complete).await?;
            world.directory = directory.clone();
            let recalled = self.recalled(&mut tx, batch, conversations).await?;
            let mut folding = Folding::new(world, HashMap::new());
            match fold_again(&mut folding, batch, &recalled) {
                Ok(()) => {
                    // Nobody listens yet, and the log begins after all of this.
                    folding.events.clear();
                    let outcomes = folding.archived.clone();
                    self.write(tx, folding, self.now_ms()).await?;
                    return Ok(outcomes);
                }
                Err(Incomplete(prospect)) => complete.insert(prospect),
            };
        }
    }

    async fn recalled<'a>(
        &'a self,
        tx: &mut Tx,
        batch: &[Turn],
        conversations: &'a BTreeMap<Id, Id>,
    ) -> Result<Recalled<'a>> {
        let named = batch.iter().flat_map(|turn| {
            let delivery = &turn.received.delivery;
            [delivery.prospect_id.clone(), delivery.proposal_id.clone()]
        });
        let named: BTreeSet<Id> = named.flatten().collect();
        let taken = archive::taken(&mut tx.db(), &named).await?;
        Ok(Recalled::new(&*self.ids, conversations, taken))
    }
}

/// Whether a delivery had a part in the state. The others keep the verdict they have: what was
/// too old stays held.
fn is_folded(delivery: &Delivery) -> bool {
    delivery.status == DeliveryStatus::Processed
}

/// Folds a batch at the times its deliveries were received, so that records are as old as they
/// were.
fn fold_again(
    folding: &mut Folding,
    batch: &[Turn],
    recalled: &Recalled<'_>,
) -> std::result::Result<(), Incomplete> {
    for Turn { received, .. } in batch {
        let delivery = &received.delivery;
        if !is_folded(delivery) {
            folding.archived.push(delivery.clone());
            continue;
        }
        recalled.recall(delivery);
        let cx = Context {
            now_ms: delivery.received_ms,
            ids: recalled,
        };
        let answer = folding.take(received, cx)?;
        debug_assert_ne!(
            answer.outcome,
            Outcome::Duplicate,
            "one delivery stands for an event"
        );
        if let Some(archived) = folding.archived.last_mut() {
            archived.timings = delivery.timings;
        }
    }
    Ok(())
}

/// The delivery that a rebuild stopped at.
#[derive(Debug, thiserror::Error)]
#[error("delivery {id} cannot be folded")]
struct Stopped {
    id: Id,
    source: Error,
}

fn stopped(delivery: &Delivery, source: Error) -> Error {
    let id = delivery.id.clone();
    Error::Internal(Box::new(Stopped { id, source }))
}
