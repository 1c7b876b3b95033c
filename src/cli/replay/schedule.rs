//! Which file is posted when: rounds, copies, and a random order that can be repeated.

use std::num::NonZeroUsize;

/// The posts of a run, in order.
#[derive(Debug)]
pub(super) struct Schedule {
    files: usize,
    copies: usize,
    total: usize,
    shuffled: Option<Vec<usize>>,
}

/// One post of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// Index of the file.
    pub(super) file: usize,
    /// Which pass over the whole set it belongs to, from 0.
    pub(super) round: usize,
}

impl Schedule {
    /// `rounds` passes over `files` files, each sent `copies` times in a row; with a seed, all
    /// of these posts in a random order that depends on nothing but the seed and their number.
    pub(super) fn new(
        files: usize,
        copies: NonZeroUsize,
        rounds: NonZeroUsize,
        seed: Option<u64>,
    ) -> Self {
        let copies = copies.get();
        let total = files.saturating_mul(copies).saturating_mul(rounds.get());
        let shuffled = seed.map(|seed| shuffle(total, seed));
        Self {
            files,
            copies,
            total,
            shuffled,
        }
    }

    /// How many posts there are.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// The posts in order.
    pub(super) fn turns(&self) -> impl Iterator<Item = Turn> {
        (0..self.total).map(|place| {
            let number = self.shuffled.as_ref().map_or(place, |order| order[place]);
            let sent = number / self.copies;
            Turn {
                file: sent % self.files,
                round: sent / self.files,
            }
        })
    }
}

fn shuffle(total: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by_cached_key(|number| random_key(seed, *number));
    order
}

/// The `number`th output of `SplitMix64` (Steele, Lea, Flood 2014): no two numbers share a key.
fn random_key(seed: u64, number: usize) -> u64 {
    let step = (number as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = seed.wrapping_add(step);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(files: usize, copies: usize, rounds: usize, seed: Option<u64>) -> Vec<(usize, usize)> {
        let count = |n| NonZeroUsize::new(n).unwrap();
        let schedule = Schedule::new(files, count(copies), count(rounds), seed);
        let turns: Vec<_> = schedule
            .turns()
            .map(|turn| (turn.round, turn.file))
            .collect();
        assert_eq!(turns.len(), schedule.total());
        turns
    }

    #[test]
    fn copies_follow_each_other_and_rounds_repeat_the_set() {
        assert_eq!(
            turns(2, 2, 2, None),
            [
                (0, 0),
                (0, 0),
                (0, 1),
                (0, 1),
                (1, 0),
                (1, 0),
                (1, 1),
                (1, 1)
            ]
        );
    }

    #[test]
    fn a_shuffle_has_the_same_posts_in_another_order() {
        let straight = turns(20, 2, 3, None);
        let mut shuffled = turns(20, 2, 3, Some(7));
        assert_ne!(shuffled, straight);
        shuffled.sort_unstable();
        assert_eq!(shuffled, straight);
    }

    #[test]
    fn a_seed_repeats_its_order_and_another_gives_another() {
        assert_eq!(turns(20, 1, 1, Some(7)), turns(20, 1, 1, Some(7)));
        assert_ne!(turns(20, 1, 1, Some(7)), turns(20, 1, 1, Some(8)));
    }
}
