//! Chance that can be repeated, and how long a fault is repeated: a few rounds in the suite,
//! minutes in the soak (`tests/soak`).

use std::time::{Duration, Instant};

/// The long run, for as long as this many minutes a scenario.
fn minutes() -> Option<u64> {
    let minutes = std::env::var_os("BOOKBELL_SOAK_MINUTES")?;
    let minutes = minutes.to_str().and_then(|text| text.parse().ok());
    Some(minutes.expect("BOOKBELL_SOAK_MINUTES is a number of minutes"))
}

/// One value in the suite, another in the soak.
pub fn scaled<T>(short: T, long: T) -> T {
    if minutes().is_some() { long } else { short }
}

/// How often a scenario's fault is repeated: so often, and in the soak until the time is over.
pub struct Rounds {
    left: usize,
    until: Option<Instant>,
}

impl Rounds {
    pub fn new(at_least: usize) -> Self {
        let whole = |minutes| Instant::now() + Duration::from_secs(60 * minutes);
        Self {
            left: at_least,
            until: minutes().map(whole),
        }
    }
}

impl Iterator for Rounds {
    type Item = ();

    fn next(&mut self) -> Option<()> {
        let in_time = self.until.is_some_and(|until| Instant::now() < until);
        let more = self.left > 0 || in_time;
        self.left = self.left.saturating_sub(1);
        more.then_some(())
    }
}

/// How many deliveries a second a sender makes. In the soak it is slower, so that what the
/// clients heard still fits into memory at the end.
pub fn rate() -> u64 {
    minutes().map_or(400, |minutes| {
        (20_000 / (60 * minutes.max(1))).clamp(5, 100)
    })
}

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Begins at `BOOKBELL_TEST_SEED`, or anywhere; says where, which is shown when a test fails.
    pub fn new() -> Self {
        let given = std::env::var_os("BOOKBELL_TEST_SEED");
        let given = given.and_then(|seed| seed.to_str()?.parse().ok());
        let fresh = || uuid::Uuid::now_v7().as_u64_pair().1;
        let seed = given.unwrap_or_else(fresh);
        println!("BOOKBELL_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number from 0 up to, but not, `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Some time from 0 up to this many milliseconds.
    pub fn ms_below(&mut self, end: u64) -> Duration {
        Duration::from_micros(self.below(end * 1000))
    }

    /// So many milliseconds, in two parts.
    pub fn split_ms(&mut self, ms: u64) -> (Duration, Duration) {
        let first = self.below(ms + 1);
        (
            Duration::from_millis(first),
            Duration::from_millis(ms - first),
        )
    }
}
