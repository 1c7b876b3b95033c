//! What was measured: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::Serialize;

use crate::bare::{self, BareMedians};
use crate::common::database::Engine;
use crate::common::figures::{Percentiles, Spread, median};
use crate::common::ground::Program;
use crate::common::machine::Machine;
use crate::common::outcome;
use crate::common::table::Table;
use crate::common::verdict;
use crate::{Cell, Settings, receipt, site, start, targets};

/// Everything that one run of the benchmark found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The machine.
    pub(crate) machine: Machine,
    /// How it was asked for.
    pub(crate) settings: Settings,
    /// The size of a webhook's body.
    pub(crate) body_bytes: usize,
    /// The size of the program in MiB.
    pub(crate) program_mib: f64,
    /// The engines' versions and settings.
    pub(crate) engines: BTreeMap<Engine, String>,
    /// Webhooks in.
    pub(crate) ingest: Vec<IngestRow>,
    /// From post to socket.
    pub(crate) receipt: Vec<ReceiptRow>,
    /// The same transactions on the bare store.
    pub(crate) bare: Vec<BareRow>,
    /// Starts and memory.
    pub(crate) start: Vec<StartRow>,
}

/// A line of the first table.
pub(crate) type IngestRow = Row<IngestMedians, site::Run>;
/// A line of the table from post to socket.
pub(crate) type ReceiptRow = Row<ReceiptMedians, receipt::Run>;
/// A line of the bare store's table.
pub(crate) type BareRow = Row<BareMedians, bare::Run>;
/// A line of the table of starts.
pub(crate) type StartRow = Row<start::Run, start::Run>;

/// One line of a table and the rounds that it stands for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row<M, R> {
    /// The database.
    pub(crate) engine: Engine,
    /// The program.
    pub(crate) program: Program,
    /// What was done to it.
    pub(crate) load: String,
    /// What it comes to.
    pub(crate) medians: M,
    rounds: Vec<R>,
}

impl<M, R> Row<M, R> {
    /// A line for each load, its medians found by `reckon`.
    pub(crate) fn all(cells: Vec<Cell<R>>, reckon: impl Fn(&[R]) -> M) -> Vec<Self> {
        let rows = cells.into_iter().map(|cell| Self {
            engine: cell.engine,
            program: cell.program,
            load: cell.load,
            medians: reckon(&cell.rounds),
            rounds: cell.rounds,
        });
        rows.collect()
    }

    /// The line of another program with the same load.
    pub(crate) fn twin<'r>(&self, rows: &'r [Self], program: Program) -> Option<&'r Self> {
        let alike = |row: &&Self| row.engine == self.engine && row.load == self.load;
        rows.iter().filter(alike).find(|row| row.program == program)
    }

    fn name(&self) -> String {
        let (engine, program) = (self.engine.name(), self.program.name());
        format!("{engine}, {program}, {}", self.load)
    }

    /// The cells that every table begins with.
    fn head(&self) -> Vec<String> {
        vec![
            self.engine.name().to_owned(),
            self.program.name().to_owned(),
            self.load.clone(),
        ]
    }
}

/// Medians of one load's rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IngestMedians {
    pub(crate) per_second: Spread,
    pub(crate) answer_ms: Percentiles,
    pub(crate) server_cpu_us: f64,
    pub(crate) database_cpu_us: Option<f64>,
    pub(crate) load_cpu_us: f64,
    pub(crate) load_share: f64,
    pub(crate) others_share: f64,
    pub(crate) start_mib: f64,
    pub(crate) idle_mib: f64,
    pub(crate) peak_mib: f64,
    pub(crate) bytes_per_booking: f64,
}

impl IngestMedians {
    /// Of these rounds.
    pub(crate) fn of(rounds: &[site::Run]) -> Self {
        let middle = |figure: fn(&site::Run) -> f64| median(rounds.iter().map(figure));
        let database = rounds.iter().filter_map(|round| round.database_cpu_us);
        Self {
            per_second: Spread::of(rounds.iter().map(|round| round.per_second)),
            answer_ms: Percentiles::over_rounds(rounds.iter().map(|round| round.answer_ms)),
            server_cpu_us: middle(|round| round.server_cpu_us),
            database_cpu_us: database.clone().next().map(|_| median(database)),
            load_cpu_us: middle(|round| round.load_cpu_us),
            load_share: middle(|round| round.load_share),
            others_share: middle(|round| round.others_share),
            start_mib: middle(|round| round.start_mib),
            idle_mib: middle(|round| round.idle_mib),
            peak_mib: middle(|round| round.peak_mib),
            bytes_per_booking: middle(|round| round.bytes_per_booking),
        }
    }
}

/// Medians of one load's rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReceiptMedians {
    pub(crate) per_second: Spread,
    pub(crate) answer_ms: Percentiles,
    pub(crate) receipt_ms: Percentiles,
    pub(crate) after_answer_ms: Percentiles,
    pub(crate) backlog_ms: f64,
    pub(crate) others_share: f64,
}

impl ReceiptMedians {
    /// Of these rounds.
    pub(crate) fn of(rounds: &[receipt::Run]) -> Self {
        let over_rounds = |figure: fn(&receipt::Run) -> Percentiles| {
            Percentiles::over_rounds(rounds.iter().map(figure))
        };
        Self {
            per_second: Spread::of(rounds.iter().map(|round| round.per_second)),
            answer_ms: over_rounds(|round| round.answer_ms),
            receipt_ms: over_rounds(|round| round.receipt_ms),
            after_answer_ms: over_rounds(|round| round.after_answer_ms),
            backlog_ms: median(rounds.iter().map(|round| round.backlog_ms)),
            others_share: median(rounds.iter().map(|round| round.others_share)),
        }
    }
}

impl outcome::Report for Report {
    /// Answers of Bookbell other than `processed`, events not as promised. The peer's are shown
    /// in the tables only: it is measured, not tested.
    fn faults(&self) -> Vec<String> {
        let ours = Program::Bookbell;
        let mut faults = Vec::new();
        for row in self.ingest.iter().filter(|row| row.program == ours) {
            for run in &row.rounds {
                if let Some(first) = &run.first_refusal {
                    let (name, refused) = (row.name(), run.refused);
                    faults.push(format!(
                        "{name}: {refused} posts were not processed, the first: {first}"
                    ));
                }
            }
        }
        for row in self.receipt.iter().filter(|row| row.program == ours) {
            for fault in row.rounds.iter().filter_map(|run| run.check.fault()) {
                faults.push(format!("{}, at the socket: {fault}", row.name()));
            }
        }
        faults
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        for (engine, settings) in &self.engines {
            writeln!(f, "{:<11} {settings}", engine.name())?;
        }
        writeln!(f, "program     {:.1} MiB", self.program_mib)?;
        let Settings {
            rounds, seconds, ..
        } = self.settings;
        writeln!(
            f,
            "method      bodies of {} bytes; medians of {rounds} rounds of {seconds} s, in turn; \
             a new database and server each time",
            self.body_bytes
        )?;
        writeln!(
            f,
            "            on a shared machine ratios between rows of one run mean more than \
             absolute numbers"
        )?;
        INGEST_TABLE.write(f, self.ingest.iter().map(ingest_cells))?;
        BARE_TABLE.write(f, self.bare.iter().map(bare_cells))?;
        RECEIPT_TABLE.write(f, self.receipt.iter().map(receipt_cells))?;
        START_TABLE.write(f, self.start.iter().map(start_cells))?;
        let verdicts = targets::verdicts(self);
        verdict::TABLE.write(f, verdicts.iter().map(verdict::cells))
    }
}

const INGEST_TABLE: Table = Table {
    title: "Ingest: each answered after its commit; a sender waits for the answer before it posts \
            again",
    texts: 3,
    columns: &[
        ("engine", 9),
        ("program", 10),
        ("load", 15),
        ("webhooks/s", 11),
        ("min–max", 14),
        ("p50 ms", 9),
        ("p90", 9),
        ("p99", 9),
        ("max", 8),
        ("CPU µs", 8),
        ("db µs", 6),
        ("load µs", 12),
        ("others", 8),
        ("RSS MiB", 13),
        ("bytes", 7),
    ],
    legend: "CPU: of the server, for each webhook. db: of Postgres's processes for this database. \
             load: of this program (its part\nof all cores). others: what anybody else took of \
             them; above a few per cent the row is disturbed. RSS: after start, after\nlog-in, \
             highest. bytes: what the database grew by, for each booking.",
};

const RECEIPT_TABLE: Table = Table {
    title: "Post to socket: an admin's WebSocket hears each booking as `prospect:created`; ms",
    texts: 3,
    columns: &[
        ("engine", 9),
        ("program", 10),
        ("load", 15),
        ("webhooks/s", 11),
        ("answer p50", 12),
        ("p99", 9),
        ("socket p50", 12),
        ("p99", 9),
        ("max", 8),
        ("after p50", 11),
        ("p99", 9),
        ("max", 8),
        ("backlog", 9),
        ("others", 8),
        ("check", 22),
    ],
    legend: "socket: from post to event. after: from the answer to the event, below zero when the \
             socket was first. backlog: from the\nlast answer to the last event. check: every \
             booking that was answered was heard, once,\nwith ascending `seq`; else how many \
             were not.",
};

const BARE_TABLE: Table = Table {
    title: "Bare store: the same transactions in process, without HTTP, signatures, folding and \
            sockets",
    texts: 3,
    columns: &[
        ("engine", 9),
        ("program", 10),
        ("load", 15),
        ("bookings/s", 11),
        ("min–max", 14),
        ("transaction ms", 16),
    ],
    legend: "One transaction after the other; only the time in the store counts.",
};

const START_TABLE: Table = Table {
    title: "Start: from its start to `listening`, and memory",
    texts: 3,
    columns: &[
        ("engine", 9),
        ("program", 10),
        ("load", 15),
        ("new ms", 8),
        ("existing ms", 13),
        ("after crash ms", 16),
        ("log MiB", 9),
        ("idle MiB", 10),
        ("loaded MiB", 12),
    ],
    legend: "new: there was no database. existing: it was closed properly. after crash: killed at \
             the end of the load; log: what then lay\nin SQLite's write-ahead log. idle: a second \
             after a start on the existing database. loaded: the highest under the load.",
};

fn ingest_cells(row: &IngestRow) -> Vec<String> {
    let medians = &row.medians;
    let Spread { median, min, max } = medians.per_second;
    let database = medians.database_cpu_us;
    let mut cells = row.head();
    cells.extend([
        format!("{median:.0}"),
        format!("{min:.0}–{max:.0}"),
        format!("{:.2}", medians.answer_ms.p50),
        format!("{:.2}", medians.answer_ms.p90),
        format!("{:.2}", medians.answer_ms.p99),
        format!("{:.1}", medians.answer_ms.max),
        format!("{:.0}", medians.server_cpu_us),
        database.map_or("–".to_owned(), |us| format!("{us:.0}")),
        format!(
            "{:.0} ({:.0} %)",
            medians.load_cpu_us,
            medians.load_share * 100.0
        ),
        format!("{:.0} %", medians.others_share * 100.0),
        format!(
            "{:.0}–{:.0}–{:.0}",
            medians.start_mib, medians.idle_mib, medians.peak_mib
        ),
        format!("{:.0}", medians.bytes_per_booking),
    ]);
    cells
}

fn bare_cells(row: &BareRow) -> Vec<String> {
    let Spread { median, min, max } = row.medians.per_second;
    let mut cells = row.head();
    cells.extend([
        format!("{median:.0}"),
        format!("{min:.0}–{max:.0}"),
        format!("{:.1}", row.medians.transaction_ms),
    ]);
    cells
}

fn start_cells(row: &StartRow) -> Vec<String> {
    let medians = &row.medians;
    let mut cells = row.head();
    cells.extend([
        format!("{:.1}", medians.fresh_ms),
        format!("{:.1}", medians.existing_ms),
        format!("{:.1}", medians.after_crash_ms),
        medians
            .log_mib
            .map_or("–".to_owned(), |mib| format!("{mib:.0}")),
        format!("{:.1}", medians.idle_mib),
        format!("{:.0}", medians.loaded_mib),
    ]);
    cells
}

fn receipt_cells(row: &ReceiptRow) -> Vec<String> {
    let medians = &row.medians;
    let wrong: u64 = row.rounds.iter().map(|run| run.check.wrong()).sum();
    let check = match wrong {
        0 => "all, once, in order".to_owned(),
        wrong => format!("FAULTY: {wrong}"),
    };
    let mut cells = row.head();
    cells.extend([
        format!("{:.0}", medians.per_second.median),
        format!("{:.2}", medians.answer_ms.p50),
        format!("{:.2}", medians.answer_ms.p99),
        format!("{:.2}", medians.receipt_ms.p50),
        format!("{:.2}", medians.receipt_ms.p99),
        format!("{:.1}", medians.receipt_ms.max),
        format!("{:.2}", medians.after_answer_ms.p50),
        format!("{:.2}", medians.after_answer_ms.p99),
        format!("{:.1}", medians.after_answer_ms.max),
        format!("{:.0}", medians.backlog_ms),
        format!("{:.0} %", medians.others_share * 100.0),
        check,
    ]);
    cells
}
