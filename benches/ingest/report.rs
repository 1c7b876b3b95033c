//! What was measured: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::Serialize;

use crate::database::Engine;
use crate::figures::{Percentiles, Spread, median};
use crate::machine::Machine;
use crate::{Settings, receipt, site};

/// Everything that one run of the benchmark found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// When it was begun, in UTC.
    pub(crate) date: String,
    /// The machine.
    pub(crate) machine: Machine,
    /// How it was asked for.
    pub(crate) settings: Settings,
    /// The size of a webhook's body.
    pub(crate) body_bytes: usize,
    /// The engines' versions and settings.
    pub(crate) engines: BTreeMap<Engine, String>,
    /// Webhooks in, by engine and number of senders.
    pub(crate) ingest: Vec<Row<IngestMedians, site::Run>>,
    /// From post to socket, by engine and kind of load.
    pub(crate) receipt: Vec<Row<ReceiptMedians, receipt::Run>>,
}

/// One line of a table and the rounds that it stands for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row<M, R> {
    engine: Engine,
    load: String,
    medians: M,
    rounds: Vec<R>,
}

/// A load on Bookbell with its rounds.
pub(crate) type Rounds<R> = (Engine, String, Vec<R>);

impl<M, R> Row<M, R> {
    /// A line for each load, its medians found by `reckon`.
    pub(crate) fn all(rounds: Vec<Rounds<R>>, reckon: impl Fn(&[R]) -> M) -> Vec<Self> {
        let rows = rounds.into_iter().map(|(engine, load, rounds)| Self {
            engine,
            load,
            medians: reckon(&rounds),
            rounds,
        });
        rows.collect()
    }
}

/// Medians of one load's rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IngestMedians {
    per_second: Spread,
    answer_ms: Percentiles,
    server_cpu_us: f64,
    database_cpu_us: Option<f64>,
    load_cpu_us: f64,
    load_share: f64,
    others_share: f64,
    start_mib: f64,
    idle_mib: f64,
    peak_mib: f64,
    bytes_per_booking: f64,
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
    per_second: Spread,
    answer_ms: Percentiles,
    receipt_ms: Percentiles,
    after_answer_ms: Percentiles,
    backlog_ms: f64,
    others_share: f64,
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

impl Report {
    /// What went wrong, a line each: answers other than `processed`, events not as promised.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for row in &self.ingest {
            for run in &row.rounds {
                if let Some(first) = &run.first_refusal {
                    let name = row.engine.name();
                    faults.push(format!(
                        "{name}, {}: {} posts were not processed, the first: {first}",
                        row.load, run.refused
                    ));
                }
            }
        }
        for row in &self.receipt {
            for fault in row.rounds.iter().filter_map(|run| run.check.fault()) {
                let name = row.engine.name();
                faults.push(format!("{name}, {}, at the socket: {fault}", row.load));
            }
        }
        faults
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "date        {}", self.date)?;
        writeln!(f, "{}", self.machine)?;
        for (engine, settings) in &self.engines {
            writeln!(f, "{:<11} {settings}", engine.name())?;
        }
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
        let ingest = self.ingest.iter().map(ingest_cells).collect();
        INGEST_TABLE.write(f, ingest)?;
        let receipt = self.receipt.iter().map(receipt_cells).collect();
        RECEIPT_TABLE.write(f, receipt)
    }
}

struct Table {
    title: &'static str,
    /// Headings and widths; the first two columns are text.
    columns: &'static [(&'static str, usize)],
    legend: &'static str,
}

const INGEST_TABLE: Table = Table {
    title: "Ingest: each answered after its commit; a sender waits for the answer before it posts \
            again",
    columns: &[
        ("engine", 9),
        ("load", 13),
        ("webhooks/s", 11),
        ("min–max", 14),
        ("p50 ms", 8),
        ("p90", 7),
        ("p99", 7),
        ("max", 7),
        ("CPU µs", 8),
        ("db µs", 6),
        ("load µs", 12),
        ("others", 8),
        ("RSS MiB", 12),
        ("bytes", 7),
    ],
    legend: "CPU: of the server, for each webhook. db: of Postgres's processes for this database. \
             load: of this program (its part\nof all cores). others: what anybody else took of \
             them; above a few per cent the row is disturbed. RSS: after start, after\nlog-in, \
             highest. bytes: what the database grew by, for each booking.",
};

const RECEIPT_TABLE: Table = Table {
    title: "Post to socket: an admin's WebSocket hears each booking as `prospect:created`; ms",
    columns: &[
        ("engine", 9),
        ("load", 13),
        ("webhooks/s", 11),
        ("answer p50", 12),
        ("p99", 7),
        ("socket p50", 12),
        ("p99", 7),
        ("max", 7),
        ("after p50", 11),
        ("p99", 7),
        ("max", 7),
        ("backlog", 9),
        ("others", 8),
        ("check", 22),
    ],
    legend: "socket: from post to event. after: from the answer to the event, below zero when the \
             socket was first. backlog: from the\nlast answer to the last event. check: every \
             booking that was answered was heard, once, with ascending `seq`.",
};

impl Table {
    fn write(&self, f: &mut fmt::Formatter<'_>, rows: Vec<Vec<String>>) -> fmt::Result {
        if rows.is_empty() {
            return Ok(());
        }
        let headings = self
            .columns
            .iter()
            .map(|(heading, _)| (*heading).to_owned());
        writeln!(f, "\n{}", self.title)?;
        for row in std::iter::once(headings.collect()).chain(rows) {
            for (nth, (cell, (_, width))) in row.iter().zip(self.columns).enumerate() {
                match nth {
                    0 | 1 => write!(f, "{cell:<width$}")?,
                    _ => write!(f, "{cell:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        writeln!(f, "{}", self.legend)
    }
}

fn ingest_cells(row: &Row<IngestMedians, site::Run>) -> Vec<String> {
    let medians = &row.medians;
    let Spread { median, min, max } = medians.per_second;
    let database = medians.database_cpu_us;
    vec![
        row.engine.name().to_owned(),
        row.load.clone(),
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
    ]
}

fn receipt_cells(row: &Row<ReceiptMedians, receipt::Run>) -> Vec<String> {
    let medians = &row.medians;
    let faulty = row.rounds.iter().any(|run| run.check.fault().is_some());
    let check = if faulty {
        "FAULTY"
    } else {
        "all, once, in order"
    };
    vec![
        row.engine.name().to_owned(),
        row.load.clone(),
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
        check.to_owned(),
    ]
}
