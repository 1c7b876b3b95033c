//! Ids of records: UUIDv7 strings made by the program.

use std::fmt;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use uuid::{ContextV7, Timestamp, Uuid};

/// The id of a record: a UUID in its lower-case text form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// Reads an id as a client sent it; `None` when it is not a UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        Some(Self(uuid.as_hyphenated().to_string()))
    }

    /// Takes an id that the program itself wrote, such as one read from the database.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// What comes before every id made at `at_ms` (milliseconds since the Unix epoch) or later, and
    /// after every earlier one: a UUIDv7 begins with its time (RFC 9562, section 5.7).
    #[must_use]
    pub fn bound(at_ms: i64) -> String {
        let at_ms = at_ms.clamp(0, (1 << 48) - 1);
        format!("{:08x}-{:04x}", at_ms >> 16, at_ms & 0xffff)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A source of new ids. It is told what an id is for, so that a rebuild can give a record the one
/// it had.
pub trait Ids: fmt::Debug + Send + Sync {
    /// A new id made at `now_ms` (milliseconds since the Unix epoch).
    fn new_id(&self, now_ms: i64) -> Id;

    /// The id of a prospect that is being made.
    fn prospect_id(&self, now_ms: i64) -> Id {
        self.new_id(now_ms)
    }

    /// The id of the conversation with a prospect that is being made.
    fn conversation_id(&self, _prospect: &Id, now_ms: i64) -> Id {
        self.new_id(now_ms)
    }

    /// The id of a proposal that is being made.
    fn proposal_id(&self, now_ms: i64) -> Id {
        self.new_id(now_ms)
    }
}

/// UUIDv7 ids that ascend in the order they were made, also within one millisecond, so that
/// lists sorted by time and id show records in the order they came.
#[derive(Debug)]
pub struct UuidV7 {
    context: Mutex<ContextV7>,
}

impl UuidV7 {
    /// A generator with a fresh random counter.
    #[must_use]
    pub fn new() -> Self {
        Self {
            context: Mutex::new(ContextV7::new()),
        }
    }
}

impl Default for UuidV7 {
    fn default() -> Self {
        Self::new()
    }
}

impl Ids for UuidV7 {
    fn new_id(&self, now_ms: i64) -> Id {
        let now_ms = u64::try_from(now_ms).unwrap_or(0);
        let nanos = u32::try_from(now_ms % 1000).unwrap_or(0) * 1_000_000;
        let context = self
            .context
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = Timestamp::from_unix(&*context, now_ms / 1000, nanos);
        Id(Uuid::new_v7(at).as_hyphenated().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_stands_between_the_ids_before_and_those_from_then_on() {
        let ids = UuidV7::new();
        for at_ms in [1, 0xffff, 0x1_0000, 1_795_000_000_123] {
            let bound = Id::bound(at_ms);
            assert!(ids.new_id(at_ms - 1).as_str() < bound.as_str(), "{at_ms}");
            assert!(ids.new_id(at_ms).as_str() > bound.as_str(), "{at_ms}");
        }
    }
}
