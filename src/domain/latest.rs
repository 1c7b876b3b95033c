//! Join-semilattices: values that merge to the same result in any order and with any repeats.

use serde::{Deserialize, Serialize};

/// Says which of two statements about the same thing is the younger one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// When the booking that says it was made, in microseconds since the Unix epoch: what an old
    /// booking says of a person, however late, is older than what a new one says.
    pub booked_us: i64,
    /// When Calendly last changed the thing, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// Breaks a tie: the later an event comes in a booking's life, the higher.
    pub rank: u8,
}

/// A value that merges by keeping the youngest; equal stamps keep the greater value, so that the
/// result never depends on which came first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Latest<T> {
    stamp: Stamp,
    value: T,
}

impl<T: Ord> Latest<T> {
    /// A value as it was stated at `stamp`.
    pub fn new(stamp: Stamp, value: T) -> Self {
        Self { stamp, value }
    }

    /// The value.
    pub fn get(&self) -> &T {
        &self.value
    }
}

/// The value, where one was stated.
#[must_use]
pub fn value_of<T: Ord + Clone>(latest: Option<&Latest<T>>) -> Option<T> {
    latest.map(|latest| latest.value.clone())
}

/// Merges `other` into `mine`, keeping the greater (of two [`Latest`], the younger); a value wins
/// over none.
pub fn join_max<T: Ord>(mine: &mut Option<T>, other: Option<T>) {
    if other > *mine {
        *mine = other;
    }
}

/// Merges `other` into `mine`, keeping the smaller (of two [`Latest`], the older); a value wins
/// over none.
pub fn join_min<T: Ord>(mine: &mut Option<T>, other: Option<T>) {
    if mine.is_none() || (other.is_some() && other < *mine) {
        *mine = other;
    }
}
