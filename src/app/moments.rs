//! When events became known here and were first handed to a socket: the last few thousand, in
//! memory. Those of this node are known as soon as they are committed.
//!
//! A delivery's row is written by the very commit whose end is wanted here, so the last two of
//! its timings cannot stand in it without a second write. They are kept here instead, for as
//! long as somebody is likely to ask.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::domain::event::Seq;
use crate::domain::ids::Id;

/// How many events are remembered.
const EVENTS: usize = 8192;

/// How many deliveries are remembered; a booking makes two events.
const DELIVERIES: usize = 4096;

/// An event. Whoever reads it looks at `seq` before and after: the slot may be taken meanwhile.
#[derive(Debug, Default)]
struct Slot {
    seq: AtomicI64,
    /// Microseconds since the epoch of [`Moments`].
    known_us: AtomicU64,
    /// The same; 0 for not yet.
    sent_us: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Delivered {
    id: u128,
    took_us: u64,
    first: Option<Seq>,
}

/// The deliveries remembered, as a ring.
#[derive(Debug)]
struct Ring {
    kept: Vec<Delivered>,
    next: usize,
}

/// When events became known and were sent.
#[derive(Debug)]
pub(super) struct Moments {
    epoch: Instant,
    slots: Box<[Slot]>,
    deliveries: Mutex<Ring>,
}

impl Default for Moments {
    fn default() -> Self {
        let ring = Ring {
            kept: Vec::with_capacity(DELIVERIES),
            next: 0,
        };
        Self {
            epoch: Instant::now(),
            slots: (0..EVENTS).map(|_| Slot::default()).collect(),
            deliveries: Mutex::new(ring),
        }
    }
}

impl Moments {
    /// Since the epoch, never 0.
    pub(super) fn now_us(&self) -> u64 {
        micros(self.epoch.elapsed()) + 1
    }

    fn slot(&self, seq: Seq) -> Option<&Slot> {
        let slot = &self.slots[usize::try_from(seq).ok()? % EVENTS];
        (slot.seq.load(Ordering::Acquire) == seq).then_some(slot)
    }

    /// Notes that an event became known. Of two at once for one slot neither is remembered for
    /// sure; the log does not do that.
    pub(super) fn known(&self, seq: Seq, now_us: u64) {
        let Ok(n) = usize::try_from(seq) else { return };
        let slot = &self.slots[n % EVENTS];
        slot.seq.store(0, Ordering::Release);
        slot.known_us.store(now_us, Ordering::Relaxed);
        slot.sent_us.store(0, Ordering::Relaxed);
        slot.seq.store(seq, Ordering::Release);
    }

    /// Notes that an event was handed to a socket, and answers how long after it became known;
    /// `None` when that is not remembered.
    pub(super) fn sent(&self, seq: Seq) -> Option<Duration> {
        let slot = self.slot(seq)?;
        let known_us = slot.known_us.load(Ordering::Relaxed);
        let now_us = self.now_us();
        if slot.sent_us.load(Ordering::Relaxed) == 0 {
            let (first, failed) = (Ordering::Relaxed, Ordering::Relaxed);
            let _ = slot.sent_us.compare_exchange(0, now_us, first, failed);
        }
        let after = Duration::from_micros(now_us.saturating_sub(known_us));
        self.slot(seq).map(|_| after)
    }

    /// How long after it became known an event was handed to the first socket.
    pub(super) fn first_sent(&self, seq: Seq) -> Option<Duration> {
        let slot = self.slot(seq)?;
        let known_us = slot.known_us.load(Ordering::Relaxed);
        let sent_us = slot.sent_us.load(Ordering::Relaxed);
        let after = sent_us.checked_sub(known_us).filter(|_| sent_us > 0)?;
        self.slot(seq).map(|_| Duration::from_micros(after))
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a delivery was committed, how long after its receipt, and its first event.
    pub(super) fn delivered(&self, id: &Id, took: Duration, first: Option<Seq>) {
        let Some(id) = number(id) else { return };
        let took_us = micros(took);
        let mut ring = self.ring();
        let delivered = Delivered { id, took_us, first };
        let next = ring.next;
        match ring.kept.get_mut(next) {
            Some(oldest) => *oldest = delivered,
            None => ring.kept.push(delivered),
        }
        ring.next = (next + 1) % DELIVERIES;
    }

    /// When a delivery was committed and when the first socket was handed its first event, both
    /// in microseconds since its receipt, where they are remembered.
    pub(super) fn of(&self, id: &Id) -> (Option<u64>, Option<u64>) {
        let id = number(id);
        let found = self.ring().kept.iter().find(|d| Some(d.id) == id).copied();
        let Some(found) = found else {
            return (None, None);
        };
        let sent = found.first.and_then(|seq| self.first_sent(seq));
        let sent_us = sent.map(|after| found.took_us.saturating_add(micros(after)));
        (Some(found.took_us), sent_us)
    }
}

/// An id without its text, so that remembering it takes no memory of its own.
fn number(id: &Id) -> Option<u128> {
    Uuid::try_parse(id.as_str()).ok().map(|id| id.as_u128())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Id {
        Id::from_stored(Uuid::from_u128(n).to_string())
    }

    #[test]
    fn the_first_socket_counts_and_those_after_it_do_not() {
        let moments = Moments::default();
        moments.known(7, moments.now_us());
        moments.known(8, moments.now_us());
        assert_eq!(moments.first_sent(7), None);
        assert!(moments.sent(7).is_some());
        let first = moments.first_sent(7);
        assert!(first.is_some());
        assert!(moments.sent(7) >= first);
        assert_eq!(moments.first_sent(7), first);
        assert_eq!(moments.first_sent(8), None);
        assert_eq!(moments.sent(9), None, "never known");
    }

    #[test]
    fn what_is_old_is_forgotten_and_not_mistaken() {
        let moments = Moments::default();
        let events = i64::try_from(EVENTS).unwrap();
        (1..=events).for_each(|seq| moments.known(seq, moments.now_us()));
        moments.sent(1);
        moments.known(events + 1, moments.now_us());
        assert_eq!((moments.sent(1), moments.first_sent(1)), (None, None));
        assert_eq!(moments.first_sent(events + 1), None);
        let took = Duration::from_micros(900);
        for n in 0..=DELIVERIES as u128 {
            moments.delivered(&id(n), took, None);
        }
        assert_eq!(moments.of(&id(0)), (None, None));
        assert_eq!(moments.of(&id(1)), (Some(900), None));
        assert_eq!(moments.of(&id(DELIVERIES as u128)), (Some(900), None));
    }
}
