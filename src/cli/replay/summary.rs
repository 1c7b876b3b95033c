//! The end of a run: counts, rate and latency percentiles.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::post::Answer;
use super::report::as_ms;

/// The longest latency told apart, in microseconds: four times the time limit of a post.
const MAX_LATENCY_US: u64 = 60_000_000;

/// The answers so far, counted.
#[derive(Debug)]
pub(super) struct Tally {
    /// Answers that were not 2xx, and posts that got none.
    pub(super) failed: usize,
    answered: usize,
    errors: usize,
    by_http_status: BTreeMap<u16, usize>,
    by_status: BTreeMap<String, usize>,
    by_reason: BTreeMap<String, usize>,
    latency_us: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            failed: 0,
            answered: 0,
            errors: 0,
            by_http_status: BTreeMap::new(),
            by_status: BTreeMap::new(),
            by_reason: BTreeMap::new(),
            latency_us: Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)
                .expect("the bounds and the precision are within what a histogram takes"),
        }
    }
}

impl Tally {
    /// Counts one answer.
    pub(super) fn add(&mut self, answer: &Answer) {
        self.failed += usize::from(!answer.is_success());
        let Some(code) = answer.http_status else {
            self.errors += 1;
            return;
        };
        self.answered += 1;
        *self.by_http_status.entry(code).or_default() += 1;
        count(&mut self.by_status, answer.status.as_ref());
        count(&mut self.by_reason, answer.reason.as_ref());
        let latency_us = u64::try_from(answer.latency.as_micros()).unwrap_or(MAX_LATENCY_US);
        self.latency_us.saturating_record(latency_us);
    }
}

fn count(counts: &mut BTreeMap<String, usize>, text: Option<&String>) {
    if let Some(text) = text {
        *counts.entry(text.clone()).or_default() += 1;
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    /// How many posts there were to send.
    pub(super) posts: usize,
    /// How long it took.
    pub(super) elapsed: Duration,
    /// What repeats the order, when it was random.
    pub(super) seed: Option<u64>,
    /// Whether the run was cut short.
    pub(super) interrupted: bool,
    /// Posts that were under way when it was cut short.
    pub(super) unanswered: usize,
    /// What was answered.
    pub(super) tally: &'a Tally,
}

impl Summary<'_> {
    /// The summary for programs.
    pub(super) fn to_json(&self) -> Value {
        let tally = self.tally;
        let mut summary = json!({
            "posts": self.posts,
            "answered": tally.answered,
            "failed": tally.failed,
            "errors": tally.errors,
            "unanswered": self.unanswered,
            "interrupted": self.interrupted,
            "byHttpStatus": tally.by_http_status,
            "byStatus": tally.by_status,
            "byReason": tally.by_reason,
            "elapsedMs": as_ms(self.elapsed),
            "ratePerSec": self.rate_per_s(),
            "latencyMs": percentiles_ms(&tally.latency_us).map(BTreeMap::from),
        });
        if let Some(seed) = self.seed {
            summary["seed"] = seed.into();
        }
        summary
    }

    fn rate_per_s(&self) -> f64 {
        let answered = u32::try_from(self.tally.answered).unwrap_or(u32::MAX);
        let rate = f64::from(answered) / self.elapsed.as_secs_f64().max(1e-6);
        (rate * 10.0).round() / 10.0
    }
}

/// The percentiles of a histogram of microseconds, in milliseconds; none of an empty one.
fn percentiles_ms(latency_us: &Histogram<u64>) -> Option<[(&'static str, f64); 5]> {
    let ms = |us| as_ms(Duration::from_micros(us));
    let at = |quantile| ms(latency_us.value_at_quantile(quantile));
    let (min, max) = (ms(latency_us.min()), ms(latency_us.max()));
    (!latency_us.is_empty()).then(|| {
        [
            ("min", min),
            ("p50", at(0.5)),
            ("p90", at(0.9)),
            ("p99", at(0.99)),
            ("max", max),
        ]
    })
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = self.tally;
        let (posts, secs) = (plural(self.posts), self.elapsed.as_secs_f64());
        writeln!(
            f,
            "{posts}, {} failed, {secs:.2} s, {}/s",
            tally.failed,
            self.rate_per_s()
        )?;
        if self.interrupted {
            let ended = tally.answered + tally.errors;
            writeln!(
                f,
                "interrupted after {ended}, with {} under way",
                self.unanswered
            )?;
        }
        let mut codes: Vec<_> = tally
            .by_http_status
            .iter()
            .map(|(code, count)| (code.to_string(), *count))
            .collect();
        if tally.errors > 0 {
            codes.push(("no answer".to_owned(), tally.errors));
        }
        write_counts(f, "HTTP status", codes)?;
        write_counts(f, "body status", tally.by_status.clone())?;
        write_counts(f, "reason", tally.by_reason.clone())?;
        if let Some(percentiles) = percentiles_ms(&tally.latency_us) {
            let shown = percentiles.map(|(name, ms)| format!("{name} {ms:.1}"));
            writeln!(f, "{:<13}{}", "latency, ms", shown.join("  "))?;
        }
        self.seed
            .map_or(Ok(()), |seed| writeln!(f, "{:<13}--seed {seed}", "order"))
    }
}

fn plural(posts: usize) -> String {
    if posts == 1 {
        "1 post".to_owned()
    } else {
        format!("{posts} posts")
    }
}

fn write_counts(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    counts: impl IntoIterator<Item = (String, usize)>,
) -> fmt::Result {
    for (place, (name, count)) in counts.into_iter().enumerate() {
        let title = if place == 0 { title } else { "" };
        writeln!(f, "{title:<13}{name:<24}{count:>8}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(answers: &[(Option<u16>, &str, &str, u64)]) -> Tally {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut tally = Tally::default();
        for (http_status, status, reason, ms) in answers {
            tally.add(&Answer {
                http_status: *http_status,
                status: some(status),
                reason: some(reason),
                latency: Duration::from_millis(*ms),
                ..Answer::default()
            });
        }
        tally
    }

    fn summary(tally: &Tally) -> Summary<'_> {
        let elapsed = Duration::from_secs(2);
        Summary {
            posts: 4,
            elapsed,
            seed: None,
            interrupted: false,
            unanswered: 0,
            tally,
        }
    }

    fn four() -> Tally {
        tally(&[
            (Some(200), "processed", "", 10),
            (Some(202), "quarantined", "stale_timestamp", 20),
            (Some(401), "", "signature_mismatch", 30),
            (None, "", "", 15_000),
        ])
    }

    #[test]
    fn percentiles_are_those_of_the_answers() {
        let answers: Vec<_> = (1..=1000)
            .map(|ms| (Some(200), "processed", "", ms))
            .collect();
        let percentiles = percentiles_ms(&tally(&answers).latency_us).unwrap();
        for ((name, ms), expected) in percentiles.iter().zip([1.0, 500.0, 900.0, 990.0, 1000.0]) {
            assert!((ms - expected).abs() <= expected / 1000.0, "{name} {ms}");
        }
    }

    #[test]
    fn posts_without_an_answer_have_no_latency() {
        assert_eq!(
            percentiles_ms(&tally(&[(None, "", "", 15_000)]).latency_us),
            None
        );
        let json = summary(&four()).to_json();
        assert!(json["latencyMs"]["max"].as_f64().unwrap() < 31.0, "{json}");
    }

    #[test]
    fn programs_get_every_count() {
        let mut json = summary(&four()).to_json();
        json["latencyMs"].take();
        assert_eq!(
            json,
            json!({
                "posts": 4, "answered": 3, "failed": 2, "errors": 1, "unanswered": 0,
                "interrupted": false, "byHttpStatus": {"200": 1, "202": 1, "401": 1},
                "byStatus": {"processed": 1, "quarantined": 1},
                "byReason": {"stale_timestamp": 1, "signature_mismatch": 1},
                "elapsedMs": 2000.0, "ratePerSec": 1.5, "latencyMs": null,
            })
        );
    }

    #[test]
    fn people_get_a_table() {
        let tally = four();
        let cut = Summary {
            posts: 9,
            seed: Some(7),
            interrupted: true,
            unanswered: 2,
            ..summary(&tally)
        };
        assert_eq!(
            cut.to_string(),
            "\
9 posts, 2 failed, 2.00 s, 1.5/s
interrupted after 4, with 2 under way
HTTP status  200                            1
             202                            1
             401                            1
             no answer                      1
body status  processed                      1
             quarantined                    1
reason       signature_mismatch             1
             stale_timestamp                1
latency, ms  min 10.0  p50 20.0  p90 30.0  p99 30.0  max 30.0
order        --seed 7
"
        );
    }
}
