//! Trips: what a trace tells of one delivery, handed over once it is committed. Nobody asks for
//! them unless traces are exported, and then nothing is made.

use std::sync::OnceLock;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::ingest::Outcome;
use crate::domain::delivery::{Reason, Timings};
use crate::domain::event::Seq;
use crate::domain::ids::Id;

/// How many trips may wait; more are dropped, for a trace is worth no delivery's time.
const WAITING: usize = 8192;

/// One delivery, from its receipt to its commit.
#[derive(Debug, Clone)]
pub struct Trip {
    /// The delivery.
    pub id: Id,
    /// Calendly's name of the event.
    pub event: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was not processed.
    pub reason: Option<Reason>,
    /// When its last byte arrived, in milliseconds since the Unix epoch.
    pub received_ms: i64,
    /// How long its steps took; `committed_us` is there.
    pub timings: Timings,
    /// The position of its first event, if it has any.
    pub first: Option<Seq>,
}

/// Where trips go.
#[derive(Debug, Default)]
pub struct Trips(OnceLock<Sender<Trip>>);

impl Trips {
    /// Asks for trips from now on; `None` when somebody does already.
    #[must_use]
    pub fn follow(&self) -> Option<Receiver<Trip>> {
        let (sender, receiver) = channel(WAITING);
        self.0.set(sender).ok().map(|()| receiver)
    }

    /// Hands over a trip, which is made only when somebody wants it.
    pub(super) fn note(&self, trip: impl FnOnce() -> Trip) {
        if let Some(sender) = self.0.get() {
            let _ = sender.try_send(trip());
        }
    }
}
