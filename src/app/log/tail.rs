//! The events that the log has in memory: the last so many, or as many bytes of them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::event::{Event, Seq};

/// How many events the tail holds.
pub(super) const TAIL_EVENTS: usize = 8192;

/// How many bytes of payload the tail holds.
pub(super) const TAIL_BYTES: usize = 16 << 20;

/// The events in memory, without gaps.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) events: VecDeque<Arc<Event>>,
    pub(super) bytes: usize,
    /// The last position the tail knows of.
    pub(super) head: Seq,
    /// The last position that is no longer kept, as far as was heard.
    pub(super) floor: Seq,
    /// How many events came, and bytes of payload, since everybody was to read it last.
    pub(super) unread: (usize, usize),
    /// Whether any came, or came back, since it was last asked whether the log rests.
    pub(super) stirred: bool,
    /// Whether another event was committed at the position of one that is known.
    pub(super) strayed: bool,
}

impl Tail {
    /// The position before the first event the tail holds.
    pub(super) fn start(&self) -> Seq {
        self.events.front().map_or(self.head, |event| event.seq - 1)
    }

    /// Whether another event is known at its position.
    pub(super) fn has_another(&self, event: &Event) -> bool {
        let at = usize::try_from(event.seq - self.start() - 1).ok();
        let known = at.and_then(|at| self.events.get(at));
        known.is_some_and(|known| known.id != event.id)
    }

    /// Takes the next event.
    pub(super) fn push(&mut self, event: Event) {
        self.head = event.seq;
        self.bytes += event.payload.len();
        self.unread.0 += 1;
        self.unread.1 += event.payload.len();
        self.stirred = true;
        self.events.push_back(Arc::new(event));
        while self.events.len() > TAIL_EVENTS || self.bytes > TAIL_BYTES {
            self.drop_oldest();
        }
    }

    /// Whether everybody is to read on, whoever the events are for: before the tail ceases to
    /// reach back to those who have heard nothing for long. They would have to read the database.
    pub(super) fn is_to_be_read_by_all(&mut self) -> bool {
        let (events, bytes) = self.unread;
        let due = events > TAIL_EVENTS / 2 || bytes > TAIL_BYTES / 2;
        if due {
            self.unread = (0, 0);
        }
        due
    }

    /// Takes an event that lies right before the tail, where there is room for it.
    pub(super) fn push_front(&mut self, event: Event) -> bool {
        let room =
            self.events.len() < TAIL_EVENTS && self.bytes + event.payload.len() <= TAIL_BYTES;
        let takes = room && event.seq == self.start() && event.seq > self.floor;
        if takes {
            self.bytes += event.payload.len();
            self.stirred = true;
            self.events.push_front(Arc::new(event));
        }
        takes
    }

    /// Makes room.
    pub(super) fn drop_oldest(&mut self) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.payload.len();
        }
    }

    /// Answers what it no longer holds.
    pub(super) fn drop_all_but_the_last(&mut self) -> VecDeque<Arc<Event>> {
        let last = self.events.split_off(self.events.len().saturating_sub(1));
        self.bytes = last.iter().map(|event| event.payload.len()).sum();
        std::mem::replace(&mut self.events, last)
    }
}
