//! What became of the bookings of the last days, and how quickly browsers showed them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{App, Error, Read, Result, head};
use crate::domain::statistics::{Statistics, last_days};
use crate::domain::user::Caller;
use crate::store;

/// How many times are remembered.
const KEPT: usize = 1000;

/// The times from a webhook to the screen that browsers reported last, to this node since its
/// start.
#[derive(Debug, Default)]
pub struct Screen(Mutex<VecDeque<Duration>>);

/// How quickly browsers showed what came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScreenTimes {
    /// How many times that is of.
    pub samples: usize,
    /// Half of them are no longer than this.
    pub p50: Duration,
    /// 95 of 100 are no longer than this.
    pub p95: Duration,
}

impl Screen {
    /// Remembers times, and forgets the oldest for them.
    pub fn note(&self, times: &[Duration]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(times);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }

    /// What was reported last; `None` when there was nothing yet.
    pub fn times(&self) -> Option<ScreenTimes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<Duration> = kept.iter().copied().collect();
        drop(kept);
        sorted.sort_unstable();
        let rank = |percent: usize| (sorted.len() * percent).div_ceil(100).checked_sub(1);
        Some(ScreenTimes {
            samples: sorted.len(),
            p50: sorted[rank(50)?],
            p95: sorted[rank(95)?],
        })
    }
}

impl App {
    /// Counts what became of the bookings of the last days that a caller may see; the days are
    /// those of an IANA time zone.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a zone there is not.
    pub async fn statistics(
        &self,
        caller: &Caller,
        days: i64,
        zone: &str,
    ) -> Result<Read<Statistics>> {
        let days = last_days(self.now_ms(), days, zone)
            .ok_or_else(|| Error::invalid("timezone", "must be an IANA time zone"))?;
        let owner = (!caller.is_admin()).then_some(&caller.user_id);
        // One at a time: it may read very many rows, and others need the connections too.
        let _turn = self.counting.lock().await;
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let mut record = Statistics::default();
        // Day by day, so that no more than a day's tallies are in memory at once.
        for day in &days {
            let (from_ms, until_ms) = (day.from_ms, day.until_ms);
            let tallies =
                store::proposals::tally(&mut reader.db(), owner, from_ms..until_ms).await?;
            record.add(day, tallies);
        }
        Ok(Read { record, seq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_and_ninety_five_of_a_hundred_are_told() {
        let screen = Screen::default();
        assert_eq!(screen.times(), None);
        let times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        screen.note(&times);
        let ms = Duration::from_millis;
        let told = |samples, p50, p95| {
            Some(ScreenTimes {
                samples,
                p50: ms(p50),
                p95: ms(p95),
            })
        };
        assert_eq!(screen.times(), told(100, 50, 95));
        screen.note(&[ms(7); KEPT]);
        assert_eq!(screen.times(), told(KEPT, 7, 7), "the oldest are forgotten");
    }
}
