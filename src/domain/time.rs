//! Times on the wire: RFC 3339 in UTC with milliseconds.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The first moment of the year 0. Before it a year takes more than four digits, which RFC 3339 has not.
const YEAR_0_MS: i64 = -62_167_219_200_000;

/// A moment in milliseconds since the Unix epoch, written as `2026-11-20T08:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UtcMs(pub i64);

impl UtcMs {
    /// Turns Calendly's microseconds into milliseconds, towards the past.
    #[must_use]
    pub fn from_us(us: i64) -> Self {
        Self(us.div_euclid(1000))
    }

    /// A moment that somebody else names, where it can be written: from the year 0 up to 9999.
    #[must_use]
    pub fn within_reach(ms: i64) -> Option<Self> {
        let writable = ms >= YEAR_0_MS && Timestamp::from_millisecond(ms).is_ok();
        writable.then_some(Self(ms))
    }

    /// Reads an RFC 3339 time with any offset; `None` when it is not one, or in UTC is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let at = text
            .parse::<Timestamp>()
            .ok()
            .filter(|_| is_rfc_3339(text))?;
        Self::within_reach(at.as_millisecond())
    }
}

/// Whether a text has the form of RFC 3339, 5.6. The parser takes more than that.
fn is_rfc_3339(text: &str) -> bool {
    let fits = |text: &str, form: &str| {
        let same = |(c, f): (u8, u8)| {
            if f == b'0' {
                c.is_ascii_digit()
            } else {
                c.eq_ignore_ascii_case(&f)
            }
        };
        text.len() == form.len() && text.bytes().zip(form.bytes()).all(same)
    };
    let Some((date_time, rest)) = text.split_at_checked("0000-00-00T00:00:00".len()) else {
        return false;
    };
    let offset = match rest.strip_prefix('.') {
        Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset_fits = ["Z", "+00:00", "-00:00"]
        .iter()
        .any(|form| fits(offset, form));
    fits(date_time, "0000-00-00T00:00:00") && offset_fits && !rest.starts_with(".Z")
}

impl fmt::Display for UtcMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Timestamp::from_millisecond(self.0).unwrap_or_default();
        write!(f, "{at:.3}")
    }
}

impl Serialize for UtcMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let at: Timestamp = String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)?;
        Ok(Self(at.as_millisecond()))
    }
}

/// Whether `name` is a time zone of the IANA database, old aliases included.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_three_decimals() {
        assert_eq!(
            UtcMs(1_795_161_600_000).to_string(),
            "2026-11-20T08:00:00.000Z"
        );
        assert_eq!(UtcMs(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_too_far_to_be_written_is_no_moment() {
        let late = 253_402_128_000_000;
        assert_eq!(UtcMs::within_reach(late), Some(UtcMs(late)));
        assert_eq!(UtcMs(late).to_string(), "9999-12-30T00:00:00.000Z");
        let year_0 = UtcMs(YEAR_0_MS);
        assert_eq!(year_0.to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(UtcMs::within_reach(YEAR_0_MS), Some(year_0));
        assert_eq!(UtcMs::within_reach(YEAR_0_MS - 1), None);
        let year_10_000 = 253_402_300_800_000;
        assert_eq!(UtcMs::within_reach(year_10_000), None);
        assert_eq!(UtcMs::within_reach(i64::MAX), None);
    }

    /// What was taken before such times were refused.
    #[test]
    fn a_stored_moment_is_read_however_early() {
        let early = UtcMs(YEAR_0_MS - 1);
        let text = serde_json::to_string(&early).unwrap();
        assert_eq!(serde_json::from_str::<UtcMs>(&text).unwrap(), early);
    }

    #[test]
    fn offsets_are_converted_to_utc() {
        assert_eq!(
            UtcMs::parse("2026-11-20T09:00:00+01:00"),
            Some(UtcMs(1_795_161_600_000))
        );
        for wrong in [
            "2026-11-20",
            "2026-11-20T08:00Z",
            "-000044-03-15T12:00:00Z",
            "2026-11-20T08:00:00.Z",
            "0000-01-01T00:00:00+01:00",
        ] {
            assert_eq!(UtcMs::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn old_time_zone_aliases_are_known() {
        assert!(is_time_zone("Asia/Calcutta"));
        assert!(!is_time_zone("Mars/Olympus"));
    }
}
