//! Counts, medians and percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// A distribution in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Percentiles {
    /// Half are below.
    pub(crate) p50: f64,
    /// Nine of ten are below.
    pub(crate) p90: f64,
    /// All but one of a hundred are below.
    pub(crate) p99: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Percentiles {
    /// Of these milliseconds.
    pub(crate) fn of(mut ms: Vec<f64>) -> Self {
        ms.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| {
            let index = (ms.len() * percent / 100).min(ms.len().saturating_sub(1));
            ms.get(index).copied().unwrap_or_default()
        };
        Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
            max: at(100),
        }
    }

    /// Of a histogram of microseconds.
    pub(crate) fn of_us(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| real(histogram.value_at_quantile(quantile)) / 1e3;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: real(histogram.max()) / 1e3,
        }
    }

    /// The median of each percentile over the rounds; of the maxima, the largest.
    pub(crate) fn over_rounds(rounds: impl Iterator<Item = Self> + Clone) -> Self {
        Self {
            p50: median(rounds.clone().map(|round| round.p50)),
            p90: median(rounds.clone().map(|round| round.p90)),
            p99: median(rounds.clone().map(|round| round.p99)),
            max: rounds
                .map(|round| round.max)
                .fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// A rate over the rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    /// The middle one.
    pub(crate) median: f64,
    /// The lowest.
    pub(crate) min: f64,
    /// The highest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of these rates.
    pub(crate) fn of(rates: impl Iterator<Item = f64> + Clone) -> Self {
        Self {
            median: median(rates.clone()),
            min: rates.clone().fold(f64::INFINITY, f64::min),
            max: rates.fold(0.0, f64::max),
        }
    }
}

/// The middle value; of an even number of them, the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => 0.0,
        sorted if sorted.len() % 2 == 1 => sorted[middle],
        sorted => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A count, to reckon with.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and bytes of a benchmark are far below 2^53"
)]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    real(bytes) / f64::from(1 << 20)
}

/// A time in milliseconds.
pub(crate) fn in_ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
