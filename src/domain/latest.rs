//! Join-semilattices: values that merge to the same result in any order and with any repeats.

use serde::{Deserialize, Serialize, Serializer};

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "Stored<T>")]
pub struct Latest<T> {
    stamp: Stamp,
    value: T,
}

/// How a value is stored: a booking has some ten of them, nearly all of one moment, and named
/// fields made up half of what is kept of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored<T> {
    /// Stated when the booking was made.
    AtBooking(T, i64),
    /// The value and its stamp.
    Later(T, i64, i64, u8),
    /// As it was stored at first.
    Named { stamp: Stamp, value: T },
}

impl<T> From<Stored<T>> for Latest<T> {
    fn from(stored: Stored<T>) -> Self {
        let of = |booked_us, at_us, rank| Stamp {
            booked_us,
            at_us,
            rank,
        };
        match stored {
            Stored::AtBooking(value, us) => Self {
                stamp: of(us, us, 0),
                value,
            },
            Stored::Later(value, booked_us, at_us, rank) => Self {
                stamp: of(booked_us, at_us, rank),
                value,
            },
            Stored::Named { stamp, value } => Self { stamp, value },
        }
    }
}

impl<T: Serialize> Serialize for Latest<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Stamp {
            booked_us,
            at_us,
            rank,
        } = self.stamp;
        if (at_us, rank) == (booked_us, 0) {
            (&self.value, booked_us).serialize(serializer)
        } else {
            (&self.value, booked_us, at_us, rank).serialize(serializer)
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_reads_back_in_every_form() {
        let stamps = [(7, 7, 0), (7, 9, 0), (7, 7, 2)];
        for (booked_us, at_us, rank) in stamps {
            let stamp = Stamp {
                booked_us,
                at_us,
                rank,
            };
            let value = Latest::new(stamp, vec!["a".to_owned()]);
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Latest<_>>(&text).unwrap(), value);
            let named = format!(
                r#"{{"stamp":{{"booked_us":{booked_us},"at_us":{at_us},"rank":{rank}}},"value":["a"]}}"#
            );
            assert_eq!(serde_json::from_str::<Latest<_>>(&named).unwrap(), value);
        }
    }
}
