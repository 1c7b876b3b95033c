//! Folds a batch while the one before it is being written.
//!
//! Two batches are under way at most. The second is read before the first is committed, so it is
//! folded beside it only when it has nothing in common with it; else, and whenever somebody else
//! came between, it waits and is folded by itself, which keeps all others away.
//!
//! On Postgres the second is written beside the first, and only its commit waits. SQLite lets one
//! write at a time and its statements block the thread, so batches are written on a thread of
//! their own there, one after the other.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::folding::{Folded, Folding, load};
use super::writer::{Batch, caught};
use super::{App, Received, Result};
use crate::app::error::chain;
use crate::domain::world::Context;
use crate::store::events::{Expected, Position, own_turn};
use crate::store::line::Line;
use crate::store::{self, fold};

/// How many batches are under way at once, at most.
const LANES: usize = 2;

/// Up to so many deliveries are folded by themselves on SQLite while none are being written: two
/// smaller batches cost more together than one, and what a second connection has read of the file
/// is void after each commit of the first.
const FEW: usize = 64;

/// How many batches are folded by themselves after one that was overtaken: what such a one wrote
/// was for nothing, and another node that is as busy would soon overtake the next.
const CAUTIOUS: u32 = 16;

/// Where batches are written.
pub(super) struct Writes {
    runtime: Handle,
    /// Ends the thread of it, when it has one.
    _thread: Option<oneshot::Sender<()>>,
    few: usize,
}

impl Writes {
    /// Where they are folded, each beside the one before, whatever its size.
    pub(super) const fn here(runtime: Handle) -> Self {
        Self {
            runtime,
            _thread: None,
            few: 0,
        }
    }

    /// On a thread of their own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn on_a_thread() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (thread, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("writes".to_owned())
            .spawn(move || runtime.block_on(ended))?;
        Ok(Self {
            runtime: handle,
            _thread: Some(thread),
            few: FEW,
        })
    }
}

/// The batches under way, and the connections they are folded on.
pub(super) struct Lanes {
    app: Arc<App>,
    writes: Writes,
    idle: Vec<Line>,
    under_way: VecDeque<UnderWay>,
    /// How many are to be folded by themselves from now on.
    cautious: u32,
    hasher: RandomState,
}

/// A batch that is being written.
struct UnderWay {
    size: usize,
    /// Hashes of all names by which another batch may have to do with it.
    names: HashSet<u64>,
    /// Where the log is before it and after it.
    before: Position,
    after: Position,
    /// Its lock in the database, which tells those behind it when it is committed.
    lock: i64,
    /// Done when it is answered, or given up.
    ended: CancellationToken,
    task: JoinHandle<Ended>,
}

/// What is left of a batch.
enum Ended {
    /// It was committed; the line is good for another one.
    Committed(Line),
    /// It was overtaken, and folded by itself.
    Overtaken(Line),
    /// It failed, and its line with it.
    Failed,
}

/// A batch that is folded and can be written beside the one before it.
struct Prepared {
    folded: Folded,
    now_ms: i64,
    unwritten: store::inserts::Unwritten,
    names: HashSet<u64>,
    expected: Expected,
}

impl Lanes {
    pub(super) fn new(app: Arc<App>, writes: Writes) -> Self {
        Self {
            app,
            writes,
            idle: Vec::new(),
            under_way: VecDeque::new(),
            cautious: 0,
            hasher: RandomState::new(),
        }
    }

    /// Waits until another batch can be taken.
    pub(super) async fn have_room(&mut self) {
        let is_over = |first: &UnderWay| first.ended.is_cancelled();
        while self.under_way.len() >= LANES || self.under_way.front().is_some_and(is_over) {
            self.first_ended().await;
        }
    }

    /// Waits until all are answered.
    pub(super) async fn finish(&mut self) {
        while !self.under_way.is_empty() {
            self.first_ended().await;
        }
    }

    async fn first_ended(&mut self) {
        let Some(first) = self.under_way.pop_front() else {
            return;
        };
        // A task that panicked has closed its line.
        match first.task.await.unwrap_or(Ended::Failed) {
            Ended::Committed(line) => self.idle.push(line),
            Ended::Overtaken(line) => {
                self.idle.push(line);
                self.cautious = CAUTIOUS;
            }
            Ended::Failed => {}
        }
    }

    /// How large the last batch under way is, and when it has ended.
    pub(super) fn under_way(&self) -> Option<(usize, CancellationToken)> {
        let last = self.under_way.back();
        let last = last.filter(|last| !last.ended.is_cancelled());
        last.map(|last| (last.size, last.ended.clone()))
    }

    /// Has a batch committed and answered: beside the one before it, or by itself.
    pub(super) async fn take(&mut self, batch: Batch) {
        self.have_room().await;
        if self.under_way.is_empty() && batch.received.len() <= self.writes.few {
            return self.app.write_batch(batch).await;
        }
        match caught(self.prepare(&batch.received)).await {
            Ok(Some((line, prepared))) => return self.start(line, batch, prepared),
            Ok(None) => {}
            Err(error) if error.is_unavailable() => {
                let answers = self.app.refuse(&batch.received, &error);
                return batch.answer(answers);
            }
            // Whatever it is, it is met again, and handled, by the batch by itself.
            Err(error) => tracing::debug!(error = chain(&error), "a batch is folded by itself"),
        }
        self.finish().await;
        self.app.write_batch(batch).await;
    }

    /// Reads and folds; nothing when it must be done by itself.
    async fn prepare(&mut self, batch: &[Received]) -> Result<Option<(Line, Prepared)>> {
        if self.cautious > 0 {
            self.cautious -= 1;
            return Ok(None);
        }
        if let Some(kept) = self.idle.pop() {
            match self.prepare_on(kept, batch).await {
                Ok(prepared) => return Ok(prepared),
                // It may have died since; a new one tells whether the database has.
                Err(error) => tracing::debug!(error = chain(&error), "a line is given up"),
            }
            self.idle.clear();
        }
        let line = self.app.store.line().await?;
        self.prepare_on(line, batch).await
    }

    async fn prepare_on(
        &mut self,
        mut line: Line,
        batch: &[Received],
    ) -> Result<Option<(Line, Prepared)>> {
        let prepared = self.folded(&mut line, batch).await?;
        line.end_reading()?;
        if prepared.is_none() {
            self.idle.push(line);
            return Ok(None);
        }
        Ok(prepared.map(|prepared| (line, prepared)))
    }

    async fn folded(&mut self, line: &mut Line, batch: &[Received]) -> Result<Option<Prepared>> {
        let now_ms = self.app.now_ms();
        let ids = &*self.app.ids;
        let mut complete = BTreeSet::new();
        let (position, folded) = loop {
            line.end_reading()?;
            let loaded = load(&mut line.db()?, batch, &complete).await?;
            let position = loaded.position;
            match Folded::of(batch, loaded, Context { now_ms, ids }) {
                Ok(folded) => break (position, folded),
                Err(incomplete) => complete.insert(incomplete.0),
            };
        };
        let Folding {
            world, archived, ..
        } = &folded.folding;
        let keys = batch.iter().filter_map(Received::key);
        let names = world.names().chain(keys.map(Cow::Borrowed));
        let hash = |name: Cow<'_, str>| self.hasher.hash_one(&*name);
        let names: HashSet<u64> = names.map(hash).collect();
        let expected = position.and_then(|position| self.expected(position, &names));
        let expected = expected.filter(|_| folded.folding.only_inserts() && !archived.is_empty());
        let Some(expected) = expected else {
            return Ok(None);
        };
        let unwritten = fold::write(&mut line.db()?, world, archived).await?;
        Ok(Some(Prepared {
            folded,
            now_ms,
            unwritten,
            names,
            expected,
        }))
    }

    /// Where the log must be for a batch to be committed that was read when it was at `position`.
    fn expected(&self, position: Position, names: &HashSet<u64>) -> Option<Expected> {
        let turn = own_turn();
        let expected = |position, behind| Expected {
            position,
            behind,
            turn,
        };
        let Some(last) = self.under_way.back() else {
            return Some(expected(position, None));
        };
        if position == last.after {
            return Some(expected(position, None));
        }
        let apart = position == last.before && last.names.is_disjoint(names);
        apart.then(|| expected(last.after, Some(last.lock)))
    }

    fn start(&mut self, line: Line, batch: Batch, prepared: Prepared) {
        let Prepared {
            names, expected, ..
        } = &prepared;
        let ended = CancellationToken::new();
        let before = self.under_way.back().map(|last| last.ended.clone());
        let under_way = UnderWay {
            size: batch.received.len(),
            names: names.clone(),
            before: expected.position,
            after: expected
                .position
                .after(prepared.folded.folding.events.len(), expected.turn),
            lock: line.lock(),
            ended: ended.clone(),
            task: self
                .writes
                .runtime
                .spawn(Arc::clone(&self.app).write_beside(line, batch, prepared, (before, ended))),
        };
        self.under_way.push_back(under_way);
    }
}

impl App {
    /// Commits a batch and answers it, after the one before it is answered.
    async fn write_beside(
        self: Arc<Self>,
        mut line: Line,
        batch: Batch,
        prepared: Prepared,
        (before, ended): (Option<CancellationToken>, CancellationToken),
    ) -> Ended {
        let _ended = ended.drop_guard();
        let Prepared {
            folded,
            now_ms,
            unwritten,
            expected,
            ..
        } = prepared;
        let now = (now_ms, &*self.ids);
        let events = folded.folding.events;
        let written = line.write(unwritten, events, expected, now);
        let written = caught(Box::pin(async { Ok(written.await) })).await;
        if let Some(before) = before {
            before.cancelled().await;
        }
        let error = match written {
            Ok(Ok(events)) => {
                self.writes.succeeded();
                self.observe(&batch.received, &folded.answers, &folded.marks, &events);
                self.log.offer(events);
                batch.answer(folded.answers.into_iter().map(Ok));
                return Ended::Committed(line);
            }
            // Somebody came between.
            Ok(Err(store::Error::Conflict(_))) => {
                self.metrics.count_overtaken();
                self.write_batch(batch).await;
                return Ended::Overtaken(line);
            }
            Ok(Err(error)) => error.into(),
            Err(error) => error,
        };
        if error.is_unavailable() {
            let answers = self.refuse(&batch.received, &error);
            batch.answer(answers);
        } else {
            self.write_batch(batch).await;
        }
        Ended::Failed
    }
}
