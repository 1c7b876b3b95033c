//! How much a WebSocket was given that it has not passed on yet.
//!
//! engineioxide 0.17.9 bounds what waits for a client in packets (128), whatever they weigh: with
//! long bookings a client that reads nothing would be given tens of megabytes. The connection
//! counts what it hands to the kernel, and what is behind that is bounded in bytes here.

use crate::net::Peer;

/// How many bytes may wait for a client before the next event does.
pub(super) const MOST: u64 = 1 << 20;

/// The way of events from a WebSocket's buffer to its connection.
#[derive(Debug)]
pub(super) struct Flow {
    peer: Peer,
    /// What the connection had passed on when the bytes below were counted from.
    from: u64,
    given: u64,
}

impl Flow {
    /// The way to this connection, with nothing on it.
    pub(super) fn new(peer: Peer) -> Self {
        let from = peer.written();
        Self {
            peer,
            from,
            given: 0,
        }
    }

    /// Gives the connection up, with all that is on the way.
    pub(super) fn abandon(&self) {
        self.peer.abandon();
    }

    /// Notes that so many bytes are on the way.
    pub(super) fn give(&mut self, bytes: u64) {
        self.given += bytes;
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&mut self) -> bool {
        let passed = self.peer.written() - self.from;
        if passed >= self.given {
            // All of it, and what frames and pings add, which would count for events later.
            self.from += passed;
            self.given = 0;
        }
        self.given.saturating_sub(passed) < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_on_makes_room() {
        let peer = Peer::alone();
        let mut flow = Flow::new(peer.clone());
        flow.give(MOST - 1);
        assert!(flow.has_room());
        flow.give(1);
        assert!(!flow.has_room());
        peer.wrote(1);
        assert!(flow.has_room());
    }

    #[test]
    fn pings_do_not_add_up_to_room() {
        let peer = Peer::alone();
        let mut flow = Flow::new(peer.clone());
        peer.wrote(1000);
        assert!(flow.has_room());
        flow.give(MOST);
        assert!(!flow.has_room());
    }
}
