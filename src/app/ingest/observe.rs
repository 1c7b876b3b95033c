//! Notes what became of deliveries, once they are committed.

use std::time::Instant;

use super::{Answer, App, Received};
use crate::app::trips::Trip;
use crate::domain::delivery::Timings;
use crate::domain::event::{Event, Seq};

/// What is noted of a batch while it is folded.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// For each delivery, how many of the batch's events came before its own.
    pub(super) before: Vec<usize>,
    /// When it was folded and about to be committed.
    pub(super) folded: Option<Instant>,
}

impl Marks {
    /// The first event of each delivery, where it has one.
    fn firsts<'e>(&'e self, events: &'e [Event]) -> impl Iterator<Item = Option<Seq>> + 'e {
        let ends = self.before.iter().skip(1).copied().chain([events.len()]);
        let spans = self.before.iter().copied().zip(ends);
        spans.map(|(start, end)| events.get(start..end)?.first().map(|event| event.seq))
    }
}

impl App {
    /// Notes a committed batch.
    pub(super) fn observe(
        &self,
        batch: &[Received],
        answers: &[Answer],
        marks: &Marks,
        events: &[Event],
    ) {
        self.metrics.note_batch(batch.len());
        let firsts = marks.firsts(events);
        for ((received, answer), first) in batch.iter().zip(answers).zip(firsts) {
            self.metrics.count_taken(answer.outcome, answer.reason);
            if answer.delivery_id != received.delivery.id {
                continue;
            }
            let took = received.started.elapsed();
            self.metrics.note_receipt(took);
            self.log.moments.delivered(&answer.delivery_id, took, first);
            self.trips.note(|| {
                let committed_us = u64::try_from(took.as_micros()).ok();
                received.trip(answer, marks, committed_us, first)
            });
        }
    }
}

impl Received {
    fn trip(
        &self,
        answer: &Answer,
        marks: &Marks,
        committed_us: Option<u64>,
        first: Option<Seq>,
    ) -> Trip {
        let noted = self.delivery.timings.unwrap_or_default();
        let folded = marks.folded.map(|at| at.duration_since(self.started));
        let folded_us = folded.and_then(|took| u64::try_from(took.as_micros()).ok());
        Trip {
            id: answer.delivery_id.clone(),
            event: self.delivery.event.clone(),
            outcome: answer.outcome,
            reason: answer.reason,
            received_ms: self.delivery.received_ms,
            timings: Timings {
                folded_us: folded_us.unwrap_or(noted.folded_us),
                committed_us,
                ..noted
            },
            first,
        }
    }
}
