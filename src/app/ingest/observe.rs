//! Notes what became of deliveries, once they are committed.

use super::{Answer, App, Received};
use crate::domain::event::Event;

impl App {
    /// Notes a committed batch. `first` says for each delivery how many of the batch's events
    /// came before its own.
    pub(super) fn observe(
        &self,
        batch: &[Received],
        answers: &[Answer],
        first: &[usize],
        events: &[Event],
    ) {
        self.metrics.note_batch(batch.len());
        let ends = first.iter().skip(1).copied().chain([events.len()]);
        let spans = first.iter().copied().zip(ends);
        for ((received, answer), (start, end)) in batch.iter().zip(answers).zip(spans) {
            self.metrics.count_taken(answer.outcome, answer.reason);
            if answer.delivery_id != received.delivery.id {
                continue;
            }
            let seq = events[..end].get(start).map(|event| event.seq);
            let took = received.started.elapsed();
            self.metrics.note_receipt(took);
            self.log.moments.delivered(&answer.delivery_id, took, seq);
        }
    }
}
