//! The table of connections: what each is doing, since when, and whose it is.
//!
//! A connection is a stranger's until one of its requests was authenticated, and again when none
//! was for as long as it may be idle: a token may have ended meanwhile. Where there are too many, the
//! stranger who came first has to go: whoever means well has been known long since.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use super::Limits;
use crate::app::metrics::{Connections, Cut};

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// It sends the head of a request, or is new and has yet to.
    Head,
    /// It sends the body of a request.
    Body,
    /// We are at it.
    Busy,
    /// It may send another request.
    Idle,
    /// It is no HTTP any more; whoever took it over looks after it.
    Upgraded,
}

/// One connection.
#[derive(Debug)]
struct State {
    number: u64,
    phase: AtomicU8,
    /// When the phase began, in milliseconds of the table's clock.
    since_ms: AtomicU64,
    /// When bytes last came.
    read_ms: AtomicU64,
    /// How many bytes the kernel has taken.
    written: AtomicU64,
    /// How many bytes of a body were handed on that has not come whole.
    arrived: AtomicU64,
    /// And how many of them are kept: where it is cut off, until its task has run.
    held: AtomicU64,
    known: AtomicBool,
    /// When one of its requests was authenticated last.
    proven_ms: AtomicU64,
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    table: Arc<Table>,
}

/// A connection as those see it who serve it.
#[derive(Debug, Clone)]
pub struct Peer(Arc<State>);

/// The connections there are.
#[derive(Debug, Default)]
struct Rooms {
    next: u64,
    strangers: BTreeMap<u64, Arc<State>>,
    known: BTreeMap<u64, Arc<State>>,
}

/// All connections of a listener.
#[derive(Debug)]
pub(super) struct Table {
    limits: Limits,
    epoch: Instant,
    /// As of the last sweep: exact enough, and free to read.
    now_ms: AtomicU64,
    /// The bytes of all bodies that have not come whole and still may.
    arriving: AtomicU64,
    /// And of those that are kept.
    held: AtomicU64,
    rooms: Mutex<Rooms>,
    counts: Connections,
}

impl Table {
    pub(super) fn new(limits: Limits, counts: Connections) -> Arc<Self> {
        Arc::new(Self {
            limits,
            epoch: Instant::now(),
            now_ms: AtomicU64::new(0),
            arriving: AtomicU64::new(0),
            held: AtomicU64::new(0),
            rooms: Mutex::default(),
            counts,
        })
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// How often to sweep: often enough for the shortest limit to mean something.
    pub(super) fn period(&self) -> Duration {
        let limits = &self.limits;
        let shortest = limits.head.min(limits.body_pause).min(limits.idle);
        (shortest / 10).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// Takes in a new connection; `None` when there is no room and nobody who could make some.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Peer> {
        let mut rooms = self.rooms();
        let full = rooms.strangers.len() + rooms.known.len() >= self.limits.connections;
        if (full || rooms.strangers.len() >= self.limits.strangers) && !self.evict(&mut rooms) {
            self.counts.cut(Cut::Full);
            return None;
        }
        let number = rooms.next;
        rooms.next += 1;
        let now_ms = self.now_ms();
        let state = Arc::new(State {
            number,
            phase: AtomicU8::new(Phase::Head as u8),
            since_ms: AtomicU64::new(now_ms),
            read_ms: AtomicU64::new(now_ms),
            written: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            held: AtomicU64::new(0),
            known: AtomicBool::new(false),
            proven_ms: AtomicU64::new(now_ms),
            cut: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            table: Arc::clone(self),
        });
        rooms.strangers.insert(number, Arc::clone(&state));
        self.count(&rooms);
        Some(Peer(state))
    }

    /// Cuts off the stranger who came first.
    pub(super) fn make_room(&self) {
        self.evict(&mut self.rooms());
    }

    fn evict(&self, rooms: &mut Rooms) -> bool {
        let Some((_, oldest)) = rooms.strangers.pop_first() else {
            return false;
        };
        oldest.cut_off();
        self.counts.cut(Cut::Full);
        true
    }

    /// Cuts off who has been sending a body for longest, a stranger if there is one.
    fn shed(&self) {
        let rooms = self.rooms();
        let all = rooms.strangers.values().chain(rooms.known.values());
        let slowest = all
            .filter(|state| state.arrived.load(Ordering::Relaxed) > 0)
            .min_by_key(|state| {
                let known = state.known.load(Ordering::Relaxed);
                (known, state.since_ms.load(Ordering::Relaxed))
            });
        if let Some(slowest) = slowest {
            slowest.let_go();
            if slowest.cut_off() {
                self.counts.cut(Cut::Full);
            }
        }
    }

    fn has(&self, number: u64) -> bool {
        let rooms = self.rooms();
        rooms.known.contains_key(&number) || rooms.strangers.contains_key(&number)
    }

    fn count(&self, rooms: &Rooms) {
        self.counts.set(rooms.strangers.len(), rooms.known.len());
    }

    fn leave(&self, number: u64) {
        let mut rooms = self.rooms();
        if rooms.strangers.remove(&number).is_none() {
            rooms.known.remove(&number);
        }
        self.count(&rooms);
    }

    /// Cuts off who took too long, and forgets who has long proven nothing.
    pub(super) fn sweep(&self) {
        let now_ms = millis(self.epoch.elapsed());
        self.now_ms.store(now_ms, Ordering::Relaxed);
        let mut rooms = self.rooms();
        self.forget(&mut rooms, now_ms);
        for state in rooms.strangers.values().chain(rooms.known.values()) {
            if let Some(cut) = state.overdue(now_ms, &self.limits)
                && state.cut_off()
            {
                self.counts.cut(cut);
            }
        }
    }

    fn forget(&self, rooms: &mut Rooms, now_ms: u64) {
        let idle_ms = millis(self.limits.idle);
        let forgotten = |state: &State| state.is_idle_unproven(now_ms, idle_ms);
        let forgotten = rooms.known.extract_if(.., |_, state| forgotten(state));
        for (number, state) in forgotten {
            state.known.store(false, Ordering::Relaxed);
            rooms.strangers.insert(number, state);
        }
        self.count(rooms);
    }
}

impl State {
    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    fn enter(&self, phase: Phase) {
        self.since_ms.store(self.table.now_ms(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn read(&self) {
        self.read_ms.store(self.table.now_ms(), Ordering::Relaxed);
    }

    /// Whether it waits for a request, and has not had one that proved anything for so long.
    fn is_idle_unproven(&self, now_ms: u64, idle_ms: u64) -> bool {
        let proven_ms = self.proven_ms.load(Ordering::Relaxed);
        self.is(Phase::Idle) && now_ms.saturating_sub(proven_ms) > idle_ms
    }

    /// What it is to be cut off for.
    fn overdue(&self, now_ms: u64, limits: &Limits) -> Option<Cut> {
        let longer = |since_ms: &AtomicU64, limit: Duration| {
            now_ms.saturating_sub(since_ms.load(Ordering::Relaxed)) > millis(limit)
        };
        if self.is(Phase::Head) && longer(&self.since_ms, limits.head) {
            Some(Cut::Head)
        } else if self.is(Phase::Idle) && longer(&self.since_ms, limits.idle) {
            Some(Cut::Idle)
        } else if self.is(Phase::Body)
            && (longer(&self.since_ms, limits.body) || longer(&self.read_ms, limits.body_pause))
        {
            Some(Cut::Body)
        } else {
            None
        }
    }

    /// Its body is whole, or nobody waits for it any more.
    fn let_go(&self) {
        let bytes = self.arrived.swap(0, Ordering::Relaxed);
        self.table.arriving.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Answers whether it was not cut off already.
    fn cut_off(&self) -> bool {
        let first = !self.cut.swap(true, Ordering::AcqRel);
        self.reader.wake();
        self.writer.wake();
        first
    }
}

impl Peer {
    /// A connection without a listener.
    #[cfg(test)]
    pub(crate) fn alone() -> Self {
        let counts = crate::app::metrics::Metrics::default().connections;
        let table = Table::new(Limits::with_files(1000), counts);
        table.admit().expect("there is room for the first")
    }

    /// Whether somebody known is at the other end.
    #[cfg(test)]
    pub(crate) fn is_known(&self) -> bool {
        self.0.known.load(Ordering::Relaxed)
    }

    /// How many bytes of its body count as those of one that has not come whole.
    #[cfg(test)]
    pub(super) fn arrived(&self) -> u64 {
        self.0.arrived.load(Ordering::Relaxed)
    }

    /// Notes that somebody known is at the other end.
    pub fn prove(&self) {
        let Self(state) = self;
        let now_ms = state.table.now_ms();
        state.proven_ms.store(now_ms, Ordering::Relaxed);
        if state.known.load(Ordering::Relaxed) || state.known.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut rooms = state.table.rooms();
        if let Some(state) = rooms.strangers.remove(&state.number) {
            rooms.known.insert(state.number, state);
            self.0.table.count(&rooms);
        }
    }

    /// How many bytes were sent so far, or wait for it in the kernel.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Notes that the kernel took so many bytes more.
    pub(crate) fn wrote(&self, bytes: u64) {
        self.0.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that a request has begun, and whether a body is to come.
    pub(super) fn request(&self, body: bool) {
        if body {
            self.0.read();
        }
        self.0.enter(if body { Phase::Body } else { Phase::Busy });
    }

    /// Notes that so many bytes of a body were handed on that has not come whole.
    pub(super) fn took(&self, bytes: u64) {
        let Self(state) = self;
        state.held.fetch_add(bytes, Ordering::Relaxed);
        state.table.held.fetch_add(bytes, Ordering::Relaxed);
        state.arrived.fetch_add(bytes, Ordering::Relaxed);
        let before = state.table.arriving.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > state.table.limits.bodies {
            state.table.shed();
        }
    }

    /// Whether the rest of a body has to wait, because there are too many and some that were cut
    /// off are still there. One of which nothing was handed on does not: most come in one piece.
    pub(super) fn is_to_wait(&self) -> bool {
        let Self(state) = self;
        let held = state.table.held.load(Ordering::Relaxed);
        held > state.table.limits.bodies
            && held > state.table.arriving.load(Ordering::Relaxed)
            && state.held.load(Ordering::Relaxed) > 0
            && !self.is_cut()
    }

    /// Notes that a request is here as a whole, or that nobody wants the rest.
    pub(super) fn received(&self) {
        let Self(state) = self;
        state.let_go();
        let bytes = state.held.swap(0, Ordering::Relaxed);
        state.table.held.fetch_sub(bytes, Ordering::Relaxed);
        if self.0.is(Phase::Body) {
            self.0.enter(Phase::Busy);
        }
    }

    /// Notes that a request was answered.
    pub(super) fn answered(&self) {
        if !self.0.is(Phase::Upgraded) {
            self.0.enter(Phase::Idle);
        }
    }

    /// Notes that the connection is no HTTP any more.
    pub(super) fn upgraded(&self) {
        self.0.enter(Phase::Upgraded);
    }

    /// Notes that bytes came.
    pub(super) fn read(&self) {
        self.0.read();
        if self.0.is(Phase::Idle) {
            self.0.enter(Phase::Head);
        }
    }

    /// Cuts off a connection whose socket is over, if it is still open: somebody may be at the other
    /// end who takes in so little that it would stay for minutes.
    pub fn abandon(&self) {
        let Self(state) = self;
        if state.table.has(state.number) && state.cut_off() {
            state.table.counts.cut(Cut::Stuck);
        }
    }

    /// Whether the connection was cut off. Whoever waits for bytes, or for room, is woken then.
    pub(super) fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::Acquire)
    }

    /// Whether it was, by who had taken it over. An answer of HTTP may still be written.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_cut() && self.0.is(Phase::Upgraded)
    }

    /// Whom to wake when it is cut off: who waits for bytes.
    pub(super) fn reads_with(&self, waker: &Waker) {
        self.0.reader.register(waker);
    }

    /// And who waits for room.
    pub(super) fn writes_with(&self, waker: &Waker) {
        self.0.writer.register(waker);
    }

    /// Notes that the connection is closed.
    pub(super) fn leave(&self) {
        self.0.table.leave(self.0.number);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::metrics::Metrics;

    #[test]
    fn who_has_handed_on_a_piece_waits_until_what_was_cut_off_has_left_memory() {
        let limits = Limits {
            bodies: 100,
            ..Limits::default()
        };
        let table = Table::new(limits, Metrics::default().connections);
        let [slow, next, new] = [(); 3].map(|()| table.admit().unwrap());
        slow.took(60);
        next.took(40);
        assert!(!next.is_to_wait());
        next.took(10);
        assert!(slow.is_cut() && !next.is_cut());
        assert!(next.is_to_wait());
        // Those whose turn is to leave, and those that most likely come whole, go on.
        assert!(!slow.is_to_wait() && !new.is_to_wait());
        slow.received();
        assert!(!next.is_to_wait());
        // Nor does anybody wait where nobody leaves, though it may still be too much.
        next.took(20);
        new.took(40);
        assert!(next.is_cut() && !new.is_cut());
        let [small, large] = [(); 2].map(|()| table.admit().unwrap());
        next.received();
        new.received();
        small.took(5);
        large.took(120);
        assert!(small.is_cut() && large.is_to_wait());
        small.received();
        assert!(!large.is_to_wait());
    }
}
