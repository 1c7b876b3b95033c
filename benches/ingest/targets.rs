//! What the project wants of itself, and whether a run shows it: ratios to the peer where both
//! were measured in the same run, absolute figures where the target is one.

use serde::Serialize;

use crate::common::database::Engine;
use crate::common::ground::Program;
use crate::common::table::Table;
use crate::report::{IngestRow, Report};

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
enum Target {
    /// The figure itself, at most.
    AtMost(f64),
    /// The ratio, at least.
    RatioAtLeast(f64),
    /// The ratio, at most.
    RatioAtMost(f64),
}

impl Verdict {
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

/// Everything in a report that there is a target for, or a peer beside.
pub(crate) fn verdicts(report: &Report) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for row in report
        .ingest
        .iter()
        .filter(|row| row.program == Program::Bookbell)
    {
        ingest_verdicts(report, row, &mut verdicts);
    }
    for row in report
        .receipt
        .iter()
        .filter(|row| row.program == Program::Bookbell)
    {
        let peer = row.twin(&report.receipt, Program::Peer);
        let after = row.medians.after_answer_ms;
        let others = peer.map(|peer| peer.medians.after_answer_ms);
        let line = |what, ours, other, target| {
            row_verdict(row.engine, &row.load, what, ours, other, Some(target))
        };
        verdicts.push(line(
            "socket after p50 ms",
            after.p50,
            others.map(|it| it.p50),
            Target::AtMost(0.1),
        ));
        verdicts.push(line(
            "socket after p99 ms",
            after.p99,
            others.map(|it| it.p99),
            Target::AtMost(2.0),
        ));
    }
    for row in report
        .start
        .iter()
        .filter(|row| row.program == Program::Bookbell)
    {
        let peer = row
            .twin(&report.start, Program::Peer)
            .map(|peer| &peer.medians);
        let ours = &row.medians;
        let line = |what, ours, other, most| {
            row_verdict(
                row.engine,
                "start",
                what,
                ours,
                other,
                Some(Target::AtMost(most)),
            )
        };
        verdicts.push(line(
            "listening ms",
            ours.existing_ms,
            peer.map(|it| it.existing_ms),
            20.0,
        ));
        verdicts.push(line(
            "after a crash ms",
            ours.after_crash_ms,
            peer.map(|it| it.after_crash_ms),
            150.0,
        ));
        verdicts.push(line(
            "idle MiB",
            ours.idle_mib,
            peer.map(|it| it.idle_mib),
            20.0,
        ));
        verdicts.push(line(
            "under load MiB",
            ours.loaded_mib,
            peer.map(|it| it.loaded_mib),
            100.0,
        ));
    }
    verdicts
}

fn ingest_verdicts(report: &Report, row: &IngestRow, verdicts: &mut Vec<Verdict>) {
    let peer = row
        .twin(&report.ingest, Program::Peer)
        .map(|peer| &peer.medians);
    let ours = &row.medians;
    let line =
        |what, ours, other, target| row_verdict(row.engine, &row.load, what, ours, other, target);
    let steady = row.load.starts_with("steady");
    let p99 = ours.answer_ms.p99;
    let peer_p99 = peer.map(|it| it.answer_ms.p99);
    if steady {
        let peer_p50 = peer.map(|it| it.answer_ms.p50);
        let at_1000 = row.load == "steady 1000/s";
        let target = |most| at_1000.then_some(Target::AtMost(most));
        verdicts.push(line(
            "answer p50 ms",
            ours.answer_ms.p50,
            peer_p50,
            target(0.5),
        ));
        verdicts.push(line("answer p99 ms", p99, peer_p99, target(2.5)));
        return;
    }
    let rate = ours.per_second.median;
    let peer_rate = peer.map(|it| it.per_second.median);
    verdicts.push(line(
        "webhooks/s",
        rate,
        peer_rate,
        rate_target(row.engine, &row.load),
    ));
    let at_64 = row.load == "64 senders";
    let most = if at_64 { 0.2 } else { 0.5 };
    verdicts.push(line(
        "answer p99 ms",
        p99,
        peer_p99,
        Some(Target::RatioAtMost(most)),
    ));
    if at_64 {
        let most = if row.engine == Engine::Sqlite {
            120.0
        } else {
            60.0
        };
        let peer_cpu = peer.map(|it| it.server_cpu_us);
        let target = Some(Target::AtMost(most));
        verdicts.push(line("CPU µs", ours.server_cpu_us, peer_cpu, target));
    }
    let batches = row.load.replace(" senders", "");
    let batches = format!("batches of {batches}");
    let bare = report
        .bare
        .iter()
        .find(|bare| bare.engine == row.engine && bare.load == batches);
    if let Some(bare) = bare {
        let other = Some(bare.medians.per_second.median);
        let target = Some(Target::RatioAtLeast(0.6));
        verdicts.push(line("of bare store", rate, other, target));
    }
}

/// How many times the peer's webhooks a second are wanted.
fn rate_target(engine: Engine, load: &str) -> Option<Target> {
    let (on_sqlite, on_postgres) = match load {
        "1 sender" => (1.3, 2.5),
        "16 senders" => (4.5, 5.0),
        "64 senders" => (6.0, 7.0),
        "256 senders" => (7.0, 9.0),
        _ => return None,
    };
    let wanted = match engine {
        Engine::Sqlite => on_sqlite,
        Engine::Postgres => on_postgres,
    };
    Some(Target::RatioAtLeast(wanted))
}

fn row_verdict(
    engine: Engine,
    load: &str,
    what: &'static str,
    bookbell: f64,
    other: Option<f64>,
    target: Option<Target>,
) -> Verdict {
    Verdict {
        engine,
        load: load.to_owned(),
        what,
        bookbell,
        other,
        // Times that may be below zero have none.
        ratio: other
            .map(|other| bookbell / other)
            .filter(|ratio| bookbell > 0.0 && ratio.is_finite() && *ratio > 0.0),
        target,
    }
}
