//! Which sockets events are delivered to, and how far each has got.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::event::Seq;

/// The transports a socket may have, as metrics call them.
pub const TRANSPORTS: [&str; 2] = ["polling", "websocket"];

/// Stands for the position of a socket that waits.
const WAITS: Seq = Seq::MAX;

type Transport = Box<dyn Fn() -> &'static str + Send + Sync>;

struct Place {
    reached: AtomicI64,
    transport: Transport,
}

#[derive(Default)]
struct Places {
    next: AtomicU64,
    taken: Mutex<HashMap<u64, Arc<Place>>>,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Place>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sockets that events are delivered to.
#[derive(Default)]
pub struct Attendance(Arc<Places>);

impl fmt::Debug for Attendance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendance").finish_non_exhaustive()
    }
}

/// What is to be known of the sockets at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Roll {
    /// How many there are, in the order of [`TRANSPORTS`].
    pub(super) sockets: [usize; TRANSPORTS.len()],
    /// The position of the one furthest behind; `None` when all wait, or there are none.
    pub(super) slowest: Option<Seq>,
}

impl Attendance {
    /// Counts a socket that goes on after `seq`, until what is answered is dropped. `transport`
    /// says what it is connected by at the moment.
    pub fn enter(
        &self,
        seq: Seq,
        transport: impl Fn() -> &'static str + Send + Sync + 'static,
    ) -> Attending {
        let place = Arc::new(Place {
            reached: AtomicI64::new(seq),
            transport: Box::new(transport),
        });
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.lock().insert(number, Arc::clone(&place));
        Attending {
            place,
            number,
            places: Arc::clone(&self.0),
        }
    }

    pub(super) fn roll(&self) -> Roll {
        let mut roll = Roll::default();
        for place in self.0.lock().values() {
            let transport = (place.transport)();
            if let Some(n) = TRANSPORTS.iter().position(|name| *name == transport) {
                roll.sockets[n] += 1;
            }
            let reached = place.reached.load(Ordering::Relaxed);
            if reached != WAITS {
                roll.slowest = Some(roll.slowest.map_or(reached, |slowest| slowest.min(reached)));
            }
        }
        roll
    }
}

/// One socket, counted for as long as this lives.
pub struct Attending {
    place: Arc<Place>,
    number: u64,
    places: Arc<Places>,
}

impl fmt::Debug for Attending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attending").finish_non_exhaustive()
    }
}

impl Attending {
    /// Notes how far the socket has got.
    pub fn reached(&self, seq: Seq) {
        self.place.reached.store(seq, Ordering::Relaxed);
    }

    /// Notes that there is nothing for it to hear, however far the log goes on.
    pub fn waits(&self) {
        self.reached(WAITS);
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        self.places.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_is_known_until_it_goes() {
        let attendance = Attendance::default();
        assert_eq!(attendance.roll(), Roll::default());
        let quick = attendance.enter(3, || "websocket");
        let slow = attendance.enter(3, || "polling");
        quick.reached(9);
        let roll = attendance.roll();
        assert_eq!((roll.sockets, roll.slowest), ([1, 1], Some(3)));
        drop(slow);
        let roll = attendance.roll();
        assert_eq!((roll.sockets, roll.slowest), ([0, 1], Some(9)));
        quick.waits();
        let roll = attendance.roll();
        assert_eq!((roll.sockets, roll.slowest), ([0, 1], None));
    }
}
