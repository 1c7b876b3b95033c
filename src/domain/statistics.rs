//! Numbers worth a look: what became of the bookings of the last days, and how quickly people saw
//! them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use serde_json::Value;

use super::fields::{Fault, Fields};
use super::proposal::ProposalStatus;

/// How many days a period may have.
pub const DAYS: RangeInclusive<i64> = 1..=366;

/// How many sources and titles are told at most: whoever books can invent new ones.
const RANKED: usize = 100;

/// How many times a browser may report at once.
const REPORTED: RangeInclusive<usize> = 1..=100;

/// The longest time that a browser may report, in milliseconds.
const LONGEST_MS: f64 = 600_000.0;

/// A day somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Its date.
    pub date: Date,
    /// When it begins, in milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// When the next one begins.
    pub until_ms: i64,
}

/// The last `days` days in an IANA time zone, the oldest first; `now_ms` is within the last.
/// `None` when there is no such zone, or no such days in the calendar.
#[must_use]
pub fn last_days(now_ms: i64, days: i64, zone: &str) -> Option<Vec<Day>> {
    let zone = TimeZone::get(zone).ok()?;
    let now = Timestamp::from_millisecond(now_ms).ok()?;
    let today = now.to_zoned(zone.clone()).date();
    let begin = |ago: i64| {
        let date = today.checked_sub(ago.days()).ok()?;
        // Where clocks are put forward at midnight, the day begins at one.
        let at = date.to_zoned(zone.clone()).ok()?;
        Some((date, at.timestamp().as_millisecond()))
    };
    let begins: Option<Vec<_>> = (-1..days).rev().map(begin).collect();
    let day = |pair: &[(Date, i64)]| Day {
        date: pair[0].0,
        from_ms: pair[0].1,
        until_ms: pair[1].1,
    };
    Some(begins?.windows(2).map(day).collect())
}

/// Bookings that are alike, made on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Where they stand now.
    pub status: ProposalStatus,
    /// What they are about.
    pub title: Option<String>,
    /// The `utm_source` they came from.
    pub source: Option<String>,
    /// How many there are.
    pub bookings: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    booked: i64,
    canceled: i64,
    no_show: i64,
}

impl Count {
    fn add(&mut self, status: ProposalStatus, bookings: i64) {
        self.booked += bookings;
        match status {
            ProposalStatus::Canceled => self.canceled += bookings,
            ProposalStatus::NoShow => self.no_show += bookings,
            ProposalStatus::Pending | ProposalStatus::Accepted | ProposalStatus::Rejected => {}
        }
    }
}

/// What became of the bookings of a period.
#[derive(Debug, Default)]
pub struct Statistics {
    days: Vec<(Date, Count)>,
    all: Count,
    by_source: HashMap<Option<String>, i64>,
    by_title: HashMap<Option<String>, i64>,
}

impl Statistics {
    /// Adds the next day.
    pub fn add(&mut self, day: &Day, tallies: impl IntoIterator<Item = Tally>) {
        let mut count = Count::default();
        for tally in tallies {
            count.add(tally.status, tally.bookings);
            self.all.add(tally.status, tally.bookings);
            *self.by_source.entry(tally.source).or_default() += tally.bookings;
            *self.by_title.entry(tally.title).or_default() += tally.bookings;
        }
        self.days.push((day.date, count));
    }

    /// The numbers as clients see them.
    #[must_use]
    pub fn view(&self) -> StatisticsView<'_> {
        let day = |(date, count): &(Date, Count)| DayView {
            date: date.to_string(),
            booked: count.booked,
            canceled: count.canceled,
            no_show: count.no_show,
        };
        let source = |(source, bookings)| SourceView { source, bookings };
        let title = |(title, bookings)| EventTypeView { title, bookings };
        StatisticsView {
            bookings: self.days.iter().map(day).collect(),
            by_source: ranked(&self.by_source).map(source).collect(),
            by_event_type: ranked(&self.by_title).map(title).collect(),
            rates: RatesView {
                bookings: self.all.booked,
                canceled: self.all.canceled,
                no_show: self.all.no_show,
                cancellation_rate: share(self.all.canceled, self.all.booked),
                no_show_rate: share(self.all.no_show, self.all.booked),
            },
        }
    }
}

/// The most frequent first.
fn ranked<K: Hash + Ord>(
    counts: &HashMap<Option<K>, i64>,
) -> impl Iterator<Item = (Option<&K>, i64)> {
    let mut ranked: Vec<_> = counts.iter().map(|(key, n)| (key.as_ref(), *n)).collect();
    ranked.sort_by_key(|(key, n)| (Reverse(*n), *key));
    ranked.into_iter().take(RANKED)
}

/// A part of a whole, 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts stay exact up to 2^53")]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// What became of the bookings of a period, as clients see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsView<'a> {
    bookings: Vec<DayView>,
    by_source: Vec<SourceView<'a>>,
    by_event_type: Vec<EventTypeView<'a>>,
    rates: RatesView,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DayView {
    date: String,
    booked: i64,
    canceled: i64,
    no_show: i64,
}

#[derive(Debug, Serialize)]
struct SourceView<'a> {
    source: Option<&'a String>,
    bookings: i64,
}

#[derive(Debug, Serialize)]
struct EventTypeView<'a> {
    title: Option<&'a String>,
    bookings: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RatesView {
    bookings: i64,
    canceled: i64,
    no_show: i64,
    cancellation_rate: f64,
    no_show_rate: f64,
}

/// Reads the times that a browser reports.
///
/// # Errors
/// Every fault.
pub fn read_screen_times(mut fields: Fields) -> Result<Vec<Duration>, Vec<Fault>> {
    let samples = fields.take("samples");
    let times = samples.as_ref().and_then(Value::as_array).and_then(|list| {
        let times: Option<Vec<_>> = list.iter().map(screen_time).collect();
        times.filter(|times| REPORTED.contains(&times.len()))
    });
    if times.is_none() {
        fields.fault(
            "samples",
            "must be 1 to 100 numbers of milliseconds from 0 to 600000",
        );
    }
    fields.finish()?;
    Ok(times.unwrap_or_default())
}

fn screen_time(value: &Value) -> Option<Duration> {
    let ms = value
        .as_f64()
        .filter(|ms| (0.0..=LONGEST_MS).contains(ms))?;
    Some(Duration::from_secs_f64(ms / 1000.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn hours(now: &str, days: i64, zone: &str) -> Vec<(String, i64)> {
        let days = last_days(at(now), days, zone).unwrap();
        let gaps = days
            .windows(2)
            .all(|pair| pair[0].until_ms == pair[1].from_ms);
        assert!(gaps, "{days:?}");
        let hours = |day: &Day| (day.until_ms - day.from_ms) / HOUR_MS;
        days.iter()
            .map(|day| (day.date.to_string(), hours(day)))
            .collect()
    }

    #[test]
    fn a_day_is_as_long_as_it_is_there() {
        let day = |date: &str, hours| (date.to_owned(), hours);
        assert_eq!(
            hours("2026-03-29T22:30:00Z", 3, "Europe/Paris"),
            [
                day("2026-03-28", 24),
                day("2026-03-29", 23),
                day("2026-03-30", 24)
            ]
        );
        assert_eq!(
            hours("2026-10-25T12:00:00Z", 1, "Europe/Paris"),
            [day("2026-10-25", 25)]
        );
        // Midnight itself is left out in Beirut, and comes twice in Havana.
        assert_eq!(
            hours("2026-03-29T12:00:00Z", 1, "Asia/Beirut"),
            [day("2026-03-29", 23)]
        );
        assert_eq!(
            hours("2026-11-01T12:00:00Z", 1, "America/Havana"),
            [day("2026-11-01", 25)]
        );
        assert_eq!(
            last_days(at("2026-03-29T12:00:00Z"), 366, "UTC")
                .unwrap()
                .len(),
            366
        );
        assert_eq!(last_days(0, 1, "Mars/Olympus"), None);
    }

    #[test]
    fn of_nothing_the_rates_are_zero() {
        let view = json!(Statistics::default().view());
        assert_eq!(view["rates"]["cancellationRate"], 0.0);
        assert_eq!(view["rates"]["noShowRate"], 0.0);
    }

    #[test]
    fn the_most_frequent_come_first_and_not_all_come() {
        let mut statistics = Statistics::default();
        let tally = |n: i64| Tally {
            status: ProposalStatus::Pending,
            title: None,
            source: Some(format!("s{n}")),
            bookings: n,
        };
        let day = last_days(0, 1, "UTC").unwrap()[0];
        statistics.add(&day, (0..150).map(tally));
        let view = json!(statistics.view());
        assert_eq!(view["bySource"].as_array().unwrap().len(), RANKED);
        assert_eq!(
            view["bySource"][0],
            json!({ "source": "s149", "bookings": 149 })
        );
        assert_eq!(view["byEventType"][0]["title"], Value::Null);
    }
}
