//! Foresees what processing deliveries again would change, without changing anything.
//!
//! It folds in memory, over one moment of the database: no lock is held, bookings keep coming
//! in, and each batch sees what those before it would have changed.

use std::collections::{BTreeSet, HashMap};

use super::bulk::{Replayed, Seen};
use super::folding::Folding;
use super::foreseen::Foreseen;
use super::replay::Batch;
use super::{Answer, App, Result};
use crate::domain::delivery::{Delivery, Standing};
use crate::domain::user::Directory;
use crate::domain::world::{Context, Incomplete};
use crate::store::deliveries::{Filter, archive, stretch};
use crate::store::{self, Db};

/// What is known while a dry run goes on.
struct Run {
    foreseen: Foreseen,
    /// Deliveries that would come to be known by another key than now.
    rekeyed: HashMap<String, Standing>,
    directory: Directory,
}

impl App {
    /// What [`App::replay_all`] would do to the database as it is now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn foresee_replay(&self, filter: &Filter) -> Result<Replayed> {
        let filter = self.until_now(filter);
        // One at a time: each holds a connection for as long as it reads, and others need them too.
        let _turn = self.foreseeing.lock().await;
        let mut snapshot = self.store.snapshot().await?;
        let mut db = snapshot.db();
        let users = archive::residents(&mut db).await?;
        let users = users
            .into_iter()
            .map(|u| (u.id, u.now.email, u.now.calendly_user_uri));
        let mut run = Run {
            foreseen: Foreseen::default(),
            rekeyed: HashMap::new(),
            directory: Directory::new(users),
        };
        let (mut replayed, mut last) = (Replayed::default(), None);
        while !replayed.stopped {
            let deliveries = stretch(&mut db, &filter, last.as_ref()).await?;
            let Some(end) = deliveries.last() else { break };
            last = Some(end.id.clone());
            let deliveries = replayed.skip(deliveries);
            let seen: Vec<Seen> = deliveries.iter().map(Seen::from).collect();
            let answers = self.foresee_batch(&mut db, &mut run, deliveries).await?;
            for (seen, answer) in seen.iter().zip(answers) {
                replayed.add(seen, &Ok(answer));
            }
            replayed.stopped = run.foreseen.is_full();
        }
        replayed.changes = Some(run.foreseen.changes(&mut db).await?);
        Ok(replayed)
    }

    async fn foresee_batch(
        &self,
        db: &mut Db<'_>,
        run: &mut Run,
        deliveries: Vec<Delivery>,
    ) -> Result<Vec<Answer>> {
        let mut batch = Batch::read(db, deliveries).await?;
        batch.standing.extend(run.rekeyed.clone());
        let statements = batch.statements();
        let mut complete = BTreeSet::new();
        loop {
            let mut world = store::fold::load(db, &statements, &complete).await?;
            world.directory = run.directory.clone();
            run.foreseen.lay_over(&mut world);
            let mut folding = Folding::new(world, HashMap::new());
            let cx = Context {
                now_ms: self.now_ms(),
                ids: &*self.ids,
            };
            match batch.fold(&mut folding, cx) {
                Ok(answers) => {
                    run.rekeyed.extend(batch.rekeyed(&folding));
                    run.foreseen.absorb(folding.world);
                    return Ok(answers);
                }
                Err(Incomplete(prospect)) => complete.insert(prospect),
            };
        }
    }
}
