//! What was measured: tables for people, JSON for programs.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::common::figures::{Percentiles, median};
use crate::common::ground::Program;
use crate::common::machine::Machine;
use crate::common::outcome;
use crate::common::table::Table;
use crate::common::verdict;
use crate::{Row, Settings, aside, idle, restart, resume, targets};

/// Everything that one run of the benchmark found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The machine.
    pub(crate) machine: Machine,
    /// How it was asked for.
    pub(crate) settings: Settings,
    /// Idle sockets and one event to all.
    pub(crate) idle: Vec<Row<idle::Run>>,
    /// Webhooks that concern none.
    pub(crate) aside: Vec<Row<aside::Run>>,
    /// All come back.
    pub(crate) restart: Vec<Row<restart::Run>>,
    /// One catches up.
    pub(crate) resume: Vec<Row<resume::Run>>,
}

impl outcome::Report for Report {
    /// What Bookbell must never do; the peer's are shown in the tables only.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for row in ours(&self.restart) {
            for run in row.rounds.iter().filter(|run| run.failed > 0) {
                let failure = run.failure.as_deref().unwrap_or_default();
                faults.push(format!(
                    "{}: {} webhooks failed during the restart: {failure}",
                    row.engine.name(),
                    run.failed
                ));
            }
        }
        for row in ours(&self.resume) {
            for run in row.rounds.iter().filter(|run| run.out_of_order > 0) {
                faults.push(format!(
                    "{}: {} events out of order",
                    row.engine.name(),
                    run.out_of_order
                ));
            }
        }
        faults
    }
}

fn ours<R>(rows: &[Row<R>]) -> impl Iterator<Item = &Row<R>> {
    rows.iter().filter(|row| row.program == Program::Bookbell)
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "method      {} sockets, both ends on this machine; medians of {} rounds, in turn",
            self.settings.crowd(),
            self.settings.rounds
        )?;
        let memory = self
            .idle
            .iter()
            .flat_map(|row| memory_cells(row, &self.settings));
        MEMORY_TABLE.write(f, memory)?;
        IDLE_TABLE.write(f, self.idle.iter().map(idle_cells))?;
        ASIDE_TABLE.write(f, self.aside.iter().map(aside_cells))?;
        RESTART_TABLE.write(f, self.restart.iter().map(restart_cells))?;
        RESUME_TABLE.write(f, self.resume.iter().map(resume_cells))?;
        let verdicts = targets::verdicts(self);
        verdict::TABLE.write(f, verdicts.iter().map(verdict::cells))
    }
}

const MEMORY_TABLE: Table = Table {
    title: "Memory of idle sockets",
    texts: 2,
    columns: &[
        ("engine", 9),
        ("program", 10),
        ("sockets", 9),
        ("kB each", 9),
    ],
    legend: "What the server's resident memory grew by, by the number of sockets (1 kB: 1,000 \
             bytes). The peer collected its garbage before.",
};

const IDLE_TABLE: Table = Table {
    title: "Connecting all with a token, and one event to all of them",
    texts: 2,
    columns: &[
        ("engine", 9),
        ("program", 10),
        ("connect CPU s", 15),
        ("wall s", 8),
        ("first p50 ms", 14),
        ("last p50 ms", 13),
        ("last max", 10),
        ("CPU ms", 8),
        ("lost", 6),
    ],
    legend: "first, last: from post to the first and the last socket. CPU: of the server, for one \
             event to all.",
};

const ASIDE_TABLE: Table = Table {
    title: "Webhooks that concern none of the sockets, without them and beside all of them",
    texts: 2,
    columns: &[
        ("engine", 9),
        ("program", 10),
        ("webhooks/s", 12),
        ("p50 ms", 8),
        ("p99", 8),
        ("CPU µs", 8),
        ("beside/s", 11),
        ("p50 ms", 8),
        ("p99", 8),
        ("CPU µs", 8),
        ("ratio", 7),
        ("lost", 6),
    ],
    legend: "16 senders, bookings of nobody; the sockets are of a user who is no admin. CPU: of the \
             server, for each webhook. ratio: of webhooks/s.",
};

const RESTART_TABLE: Table = Table {
    title: "Restart: all come back at once by `since`, while webhooks keep coming",
    texts: 2,
    columns: &[
        ("engine", 9),
        ("program", 10),
        ("first s", 9),
        ("all s", 8),
        ("tried again", 13),
        ("CPU s", 8),
        ("peak MiB", 10),
        ("webhooks", 10),
        ("failed", 8),
        ("answer p50 ms", 15),
        ("p99", 8),
        ("max", 8),
    ],
    legend: "first, all: from `listening` until the first client, and all of them, had every event \
             they missed.",
};

const RESUME_TABLE: Table = Table {
    title: "Resume: one client behind a long log",
    texts: 2,
    columns: &[
        ("engine", 9),
        ("program", 10),
        ("events", 10),
        ("100 behind ms", 15),
        ("first ms", 10),
        ("all s", 8),
        ("events/s", 10),
        ("peak MiB", 10),
        ("out of order", 14),
    ],
    legend: "100 behind: from connecting until a client that is only so far behind has them all. \
             first, all: of one that is behind by all events.",
};

/// The middle one of the rounds.
pub(crate) fn middle<R>(row: &Row<R>, figure: impl Fn(&R) -> f64) -> f64 {
    median(row.rounds.iter().map(figure))
}

fn sum<R>(row: &Row<R>, count: impl Fn(&R) -> u64) -> String {
    row.rounds.iter().map(count).sum::<u64>().to_string()
}

fn head<R>(row: &Row<R>) -> Vec<String> {
    vec![row.engine.name().to_owned(), row.program.name().to_owned()]
}

fn memory_cells(row: &Row<idle::Run>, settings: &Settings) -> Vec<Vec<String>> {
    let steps = settings.clients.iter().enumerate();
    let line = |(nth, size): (usize, &u64)| {
        let mut cells = head(row);
        let bytes = middle(row, |run| run.bytes_per_socket[nth].1);
        cells.extend([size.to_string(), format!("{:.1}", bytes / 1e3)]);
        cells
    };
    steps.map(line).collect()
}

fn idle_cells(row: &Row<idle::Run>) -> Vec<String> {
    let over =
        |of: fn(&idle::Run) -> Percentiles| Percentiles::over_rounds(row.rounds.iter().map(of));
    let (first, last) = (over(|run| run.first_ms), over(|run| run.last_ms));
    let mut cells = head(row);
    cells.extend([
        format!("{:.2}", middle(row, |run| run.connect_cpu_s)),
        format!("{:.1}", middle(row, |run| run.connect_s)),
        format!("{:.1}", first.p50),
        format!("{:.0}", last.p50),
        format!("{:.0}", last.max),
        format!("{:.0}", middle(row, |run| run.event_cpu_ms)),
        sum(row, |run| run.lost),
    ]);
    cells
}

fn aside_cells(row: &Row<aside::Run>) -> Vec<String> {
    let mut cells = head(row);
    for of in [
        (|run: &aside::Run| &run.alone) as fn(&aside::Run) -> &aside::Webhooks,
        |run| &run.beside,
    ] {
        let answers = row.rounds.iter().map(|run| of(run).answer_ms);
        let answers = Percentiles::over_rounds(answers);
        cells.extend([
            format!("{:.0}", middle(row, |run| of(run).per_second)),
            format!("{:.2}", answers.p50),
            format!("{:.1}", answers.p99),
            format!("{:.0}", middle(row, |run| of(run).cpu_us)),
        ]);
    }
    let ratio = middle(row, |run| run.beside.per_second / run.alone.per_second);
    cells.extend([format!("{ratio:.2}"), sum(row, |run| run.lost)]);
    cells
}

fn restart_cells(row: &Row<restart::Run>) -> Vec<String> {
    let answers = Percentiles::over_rounds(row.rounds.iter().map(|run| run.answer_ms));
    let mut cells = head(row);
    cells.extend([
        format!("{:.2}", middle(row, |run| run.first_s)),
        format!("{:.2}", middle(row, |run| run.last_s)),
        sum(row, |run| run.retries),
        format!("{:.2}", middle(row, |run| run.cpu_s)),
        format!("{:.0}", middle(row, |run| run.peak_mib)),
        sum(row, |run| run.webhooks),
        sum(row, |run| run.failed),
        format!("{:.2}", answers.p50),
        format!("{:.1}", answers.p99),
        format!("{:.0}", answers.max),
    ]);
    cells
}

fn resume_cells(row: &Row<resume::Run>) -> Vec<String> {
    let mut cells = head(row);
    cells.extend([
        format!(
            "{:.0}",
            middle(row, |run| crate::common::figures::real(run.events))
        ),
        format!("{:.1}", middle(row, |run| run.briefly_ms)),
        format!("{:.1}", middle(row, |run| run.first_ms)),
        format!("{:.2}", middle(row, |run| run.all_s)),
        format!("{:.0}", middle(row, |run| run.per_second)),
        format!("{:.0}", middle(row, |run| run.peak_mib)),
        sum(row, |run| run.out_of_order),
    ]);
    cells
}
