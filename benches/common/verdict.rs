//! A figure held against what the project wants of itself: ratios to the peer where both were
//! measured in the same run, absolute figures where the target is one.

use serde::Serialize;

use super::database::Engine;
use super::table::Table;

/// A figure held against its target.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    engine: Engine,
    load: String,
    what: &'static str,
    bookbell: f64,
    /// The peer's figure, or that of the bare store.
    other: Option<f64>,
    /// `bookbell / other`.
    ratio: Option<f64>,
    target: Option<Target>,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Target {
    /// The figure itself, at most.
    AtMost(f64),
    /// The ratio, at least.
    RatioAtLeast(f64),
    /// The ratio, at most.
    RatioAtMost(f64),
}

impl Verdict {
    /// Of a figure and the other's, if that was measured.
    pub(crate) fn of(
        (engine, load): (Engine, &str),
        (what, bookbell): (&'static str, f64),
        other: Option<f64>,
        target: Option<Target>,
    ) -> Self {
        // Times that may be below zero have no ratio.
        let ratio = other
            .filter(|other| bookbell > 0.0 && *other > 0.0)
            .map(|other| bookbell / other);
        Self {
            engine,
            load: load.to_owned(),
            what,
            bookbell,
            other,
            ratio,
            target,
        }
    }

    /// `None` where it cannot be said, for want of a target or of the peer.
    fn is_met(&self) -> Option<bool> {
        Some(match self.target? {
            Target::AtMost(most) => self.bookbell <= most,
            Target::RatioAtLeast(least) => self.ratio? >= least,
            Target::RatioAtMost(most) => self.ratio? <= most,
        })
    }
}

/// The table of them.
pub(crate) const TABLE: Table = Table {
    title: "Targets: Bookbell beside the peer (for `of bare store`: beside that), medians of this \
            run",
    texts: 3,
    columns: &[
        ("engine", 9),
        ("load", 15),
        ("what", 20),
        ("bookbell", 10),
        ("other", 10),
        ("ratio", 8),
        ("target", 14),
        ("met", 6),
    ],
    legend: "ratio: Bookbell's figure by the other's. A target with × is one of the ratio, else of \
             the figure.",
};

/// A line of the table.
pub(crate) fn cells(verdict: &Verdict) -> Vec<String> {
    let target = verdict.target.map_or(String::new(), |target| match target {
        Target::AtMost(most) => format!("≤ {most}"),
        Target::RatioAtLeast(least) => format!("≥ {least} ×"),
        Target::RatioAtMost(most) => format!("≤ {most} ×"),
    });
    let met = verdict
        .is_met()
        .map_or("", |met| if met { "yes" } else { "no" });
    vec![
        verdict.engine.name().to_owned(),
        verdict.load.clone(),
        verdict.what.to_owned(),
        figure(verdict.bookbell),
        verdict.other.map_or("–".to_owned(), figure),
        verdict
            .ratio
            .map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
        target,
        met.to_owned(),
    ]
}

/// Large figures without decimals.
fn figure(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
