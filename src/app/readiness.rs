//! Whether the program can do its work, part by part.

use std::time::Duration;

use tokio::time::timeout;

use super::App;

/// How long the database may take to be called ready. Who asks gives up soon, and would be left
/// without an answer by one that is waited for.
const ANSWER: Duration = Duration::from_secs(2);

/// A part that everything depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its name on the wire.
    pub name: &'static str,
    /// What is wrong with it; `None` while it works.
    pub fault: Option<&'static str>,
}

impl App {
    /// Each part, and whether it works. Migrations run before the program listens, so that a
    /// database that can be reached is a migrated one.
    pub async fn readiness(&self) -> [Part; 3] {
        let part = |name, works: bool, fault| Part {
            name,
            fault: (!works).then_some(fault),
        };
        let (follows, writes) = (self.log.is_followed(self.now_ms()), self.queue.is_served());
        [
            Part {
                name: "database",
                fault: self.fault_of_database().await,
            },
            part("deliveryLoop", follows, "does not run"),
            part("writer", writes, "does not run"),
        ]
    }

    async fn fault_of_database(&self) -> Option<&'static str> {
        if !matches!(timeout(ANSWER, self.extent()).await, Ok(Ok(_))) {
            Some("cannot be reached")
        } else if timeout(ANSWER, self.can_write()).await != Ok(true) {
            Some("cannot be written")
        } else {
            None
        }
    }
}
