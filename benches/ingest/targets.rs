//! What the project wants of webhooks and starts, and whether a run shows it.

use crate::common::database::Engine;
use crate::common::ground::Program;
use crate::common::verdict::{Target, Verdict};
use crate::report::{BareRow, IngestRow, ReceiptRow, Report, Row, StartRow};
use crate::start;

/// Everything in a report that there is a target for, or a peer beside.
pub(crate) fn verdicts(report: &Report) -> Vec<Verdict> {
    let ingest = ours(&report.ingest).flat_map(|row| {
        let steady = row.load.starts_with("steady");
        let verdicts = if steady {
            steady_verdicts
        } else {
            ingest_verdicts
        };
        verdicts(report, row)
    });
    let receipt = ours(&report.receipt).flat_map(|row| receipt_verdicts(report, row));
    let start = ours(&report.start).flat_map(|row| start_verdicts(report, row));
    ingest.chain(receipt).chain(start).collect()
}

fn ours<M, R>(rows: &[Row<M, R>]) -> impl Iterator<Item = &Row<M, R>> {
    rows.iter().filter(|row| row.program == Program::Bookbell)
}

fn ingest_verdicts(report: &Report, row: &IngestRow) -> Vec<Verdict> {
    let peer = row.twin(&report.ingest, Program::Peer);
    let peer = peer.map(|peer| &peer.medians);
    let ours = &row.medians;
    let at_64 = row.load == "64 senders";
    let rate = ("webhooks/s", ours.per_second.median);
    let p99 = ("answer p99 ms", ours.answer_ms.p99);
    let most = Target::RatioAtMost(if at_64 { 0.2 } else { 0.5 });
    let wanted = rate_target(row.engine, &row.load);
    let mut verdicts = vec![
        row.verdict(rate, peer.map(|it| it.per_second.median), wanted),
        row.verdict(p99, peer.map(|it| it.answer_ms.p99), Some(most)),
    ];
    if at_64 {
        let most = match row.engine {
            Engine::Sqlite => 120.0,
            Engine::Postgres => 60.0,
        };
        let cpu = ("CPU µs", ours.server_cpu_us);
        let target = Some(Target::AtMost(most));
        verdicts.push(row.verdict(cpu, peer.map(|it| it.server_cpu_us), target));
    }
    let batches = format!("batches of {}", row.load.trim_end_matches(" senders"));
    let alike = |bare: &&BareRow| bare.engine == row.engine && bare.load == batches;
    if let Some(bare) = report.bare.iter().find(alike) {
        let rate = ("of bare store", ours.per_second.median);
        let target = Some(Target::RatioAtLeast(0.6));
        verdicts.push(row.verdict(rate, Some(bare.medians.per_second.median), target));
    }
    verdicts
}

fn steady_verdicts(report: &Report, row: &IngestRow) -> Vec<Verdict> {
    let ours = row.medians.answer_ms;
    let peer = row.twin(&report.ingest, Program::Peer);
    let peer = peer.map(|peer| peer.medians.answer_ms);
    let at_1000 = row.load == "steady 1000/s";
    let target = |most| at_1000.then_some(Target::AtMost(most));
    let p50 = ("answer p50 ms", ours.p50);
    let p99 = ("answer p99 ms", ours.p99);
    vec![
        row.verdict(p50, peer.map(|it| it.p50), target(0.5)),
        row.verdict(p99, peer.map(|it| it.p99), target(2.5)),
    ]
}

fn receipt_verdicts(report: &Report, row: &ReceiptRow) -> Vec<Verdict> {
    let ours = row.medians.after_answer_ms;
    let peer = row.twin(&report.receipt, Program::Peer);
    let peer = peer.map(|peer| peer.medians.after_answer_ms);
    let p50 = ("socket after p50 ms", ours.p50);
    let p99 = ("socket after p99 ms", ours.p99);
    vec![
        row.verdict(p50, peer.map(|it| it.p50), Some(Target::AtMost(0.1))),
        row.verdict(p99, peer.map(|it| it.p99), Some(Target::AtMost(2.0))),
    ]
}

fn start_verdicts(report: &Report, row: &StartRow) -> Vec<Verdict> {
    let peer = row.twin(&report.start, Program::Peer);
    let verdict = |what, of: fn(&start::Run) -> f64, most| {
        let figure = (what, of(&row.medians));
        let other = peer.map(|peer| of(&peer.medians));
        row.verdict(figure, other, Some(Target::AtMost(most)))
    };
    vec![
        verdict("listening ms", |run| run.existing_ms, 20.0),
        verdict("after a crash ms", |run| run.after_crash_ms, 150.0),
        verdict("idle MiB", |run| run.idle_mib, 20.0),
        verdict("under load MiB", |run| run.loaded_mib, 100.0),
    ]
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

impl<M, R> Row<M, R> {
    fn verdict(
        &self,
        figure: (&'static str, f64),
        other: Option<f64>,
        target: Option<Target>,
    ) -> Verdict {
        Verdict::of((self.engine, &self.load), figure, other, target)
    }
}
