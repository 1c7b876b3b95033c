//! What the project wants of sockets, and whether a run shows it.

use crate::common::figures::{Percentiles, real};
use crate::common::ground::Program;
use crate::common::verdict::{Target, Verdict};
use crate::report::{Report, middle};
use crate::{Row, idle, restart};

/// So many sockets the targets are of.
const CROWD: u64 = 10_000;

/// Everything in a report that there is a target for.
pub(crate) fn verdicts(report: &Report) -> Vec<Verdict> {
    if report.settings.crowd() != CROWD {
        return Vec::new();
    }
    let idle = ours(&report.idle).flat_map(|(row, peer)| idle_verdicts(row, peer));
    let restart = ours(&report.restart).flat_map(|(row, peer)| restart_verdicts(row, peer));
    idle.chain(restart).collect()
}

/// Bookbell's rows, each with the peer's.
fn ours<R>(rows: &[Row<R>]) -> impl Iterator<Item = (&Row<R>, Option<&Row<R>>)> {
    let of = |program| {
        rows.iter()
            .filter(move |row: &&Row<R>| row.program == program)
    };
    of(Program::Bookbell).map(move |row| {
        let peer = of(Program::Peer).find(|peer| peer.engine == row.engine);
        (row, peer)
    })
}

fn verdict<R>(
    (row, peer): (&Row<R>, Option<&Row<R>>),
    (load, what): (&str, &'static str),
    figure: impl Fn(&Row<R>) -> f64,
    target: Target,
) -> Verdict {
    let figures = ((what, figure(row)), peer.map(&figure));
    Verdict::of((row.engine, load), figures.0, figures.1, Some(target))
}

fn idle_verdicts(row: &Row<idle::Run>, peer: Option<&Row<idle::Run>>) -> Vec<Verdict> {
    // The steps go up to the crowd, and each has its figure.
    let of_all = |run: &idle::Run| {
        run.bytes_per_socket
            .iter()
            .find(|(size, _)| *size == CROWD)
            .map_or(0.0, |(_, bytes)| bytes / 1e3)
    };
    let last = |row: &Row<idle::Run>| {
        Percentiles::over_rounds(row.rounds.iter().map(|run| run.last_ms)).p50
    };
    let rows = (row, peer);
    vec![
        verdict(
            rows,
            ("10,000 idle", "kB each"),
            |row| middle(row, of_all),
            Target::AtMost(20.0),
        ),
        verdict(
            rows,
            ("10,000 connect", "CPU s"),
            |row| middle(row, |run| run.connect_cpu_s),
            Target::AtMost(2.0),
        ),
        verdict(
            rows,
            ("one to 10,000", "last p50 ms"),
            last,
            Target::RatioAtMost(1.0),
        ),
    ]
}

fn restart_verdicts(row: &Row<restart::Run>, peer: Option<&Row<restart::Run>>) -> Vec<Verdict> {
    let rows = (row, peer);
    let failed = |row: &Row<restart::Run>| real(row.rounds.iter().map(|run| run.failed).sum());
    vec![
        verdict(
            rows,
            ("10,000 resume", "caught up s"),
            |row| middle(row, |run| run.last_s),
            Target::AtMost(10.0),
        ),
        verdict(
            rows,
            ("10,000 resume", "webhooks failed"),
            failed,
            Target::AtMost(0.0),
        ),
    ]
}
