//! Measures Bookbell from outside, beside what a Node team would write: durable webhooks a
//! second, how soon they are answered, what they cost, and how soon the socket hears of them.
//! `benches/README.md` says how to read it.
//!
//! `cargo bench --bench ingest -- [--peer] [--senders 1,16,64,256] [--seconds 5] [--rounds 3]
//! [--engine sqlite,postgres] [--postgres URL] [--part ingest,receipt,bare,start] [--json FILE]`

mod bare;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "no benchmark uses all that they share")]
mod common;
mod receipt;
mod report;
mod start;
mod subscriber;
mod targets;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use serde::Serialize;

use bare::BareMedians;
use common::booking::Request;
use common::database::Engine;
use common::figures::mib;
use common::ground::{Ground, Program};
use common::load::Plan;
use common::machine::Machine;
use common::outcome::{conclude, is_asked_for};
use common::site::{self, Site};
use report::{IngestMedians, ReceiptMedians, Report, Row};

/// Senders of a load at a steady rate: enough that none waits for an answer when it is due.
const STEADY_SENDERS: u32 = 32;
/// Senders of the other loads that a subscriber listens to.
const LISTENED_SENDERS: [u32; 3] = [1, 16, 64];
/// Senders of the load that comes before a start.
const START_SENDERS: u32 = 64;

/// Measures Bookbell from outside: webhooks a second, latency, cost, and time from post to socket.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "ingest", bin_name = "cargo bench --bench ingest --")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    #[command(flatten)]
    #[serde(flatten)]
    ground: Ground,
    /// How many post at once, one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    senders: Vec<u32>,
    /// How long each measurement counts, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How long it runs before that, in seconds; long enough for a peer to be compiled.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=60))]
    warmup: u64,
    /// How often all measurements are made, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// A steady load beside the senders of the first part, in bookings a second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    steady: u32,
    /// The steady load of the second part, in bookings a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Which parts to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ingest,receipt,bare,start"
    )]
    part: Vec<Part>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// Webhooks in: rate, latency and cost.
    Ingest,
    /// From post to socket.
    Receipt,
    /// The same transactions on the bare store, without HTTP.
    Bare,
    /// How soon it serves after a start, and the memory it takes.
    Start,
}

impl Settings {
    fn plan(&self, senders: u32, rate: Option<u32>, noted: bool) -> Plan {
        Plan {
            senders,
            rate,
            warmup: Duration::from_secs(self.warmup),
            measured: Duration::from_secs(self.seconds),
            noted,
            first: 0,
            host: None,
        }
    }

    /// What is measured in a part, by the name of its load.
    fn plans(&self, part: Part) -> Vec<(String, Plan)> {
        if !self.part.contains(&part) {
            return Vec::new();
        }
        let noted = part == Part::Receipt;
        let waiting = |senders: &u32| {
            let plan = self.plan(*senders, None, noted);
            (name_of_senders(*senders), plan)
        };
        let steady = |rate: u32| {
            let plan = self.plan(STEADY_SENDERS, Some(rate), noted);
            (format!("steady {rate}/s"), plan)
        };
        match part {
            Part::Ingest => {
                let mut plans: Vec<_> = self.senders.iter().map(waiting).collect();
                plans.push(steady(self.steady));
                plans
            }
            Part::Receipt => {
                let mut plans = vec![steady(self.rate)];
                plans.extend(LISTENED_SENDERS.iter().map(waiting));
                plans
            }
            Part::Bare => bare::BATCHES
                .map(|batch| (format!("batches of {batch}"), self.plan(batch, None, false)))
                .into(),
            Part::Start => vec![waiting(&START_SENDERS)],
        }
    }
}

/// What a load of so many senders is called.
fn name_of_senders(senders: u32) -> String {
    format!("{senders} sender{}", if senders == 1 { "" } else { "s" })
}

fn main() -> ExitCode {
    if !is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let settings = Settings::parse();
    conclude(measure(&settings), settings.ground.json.as_deref())
}

/// A load on a program, and what its rounds found.
struct Cell<R> {
    engine: Engine,
    program: Program,
    load: String,
    plan: Plan,
    rounds: Vec<R>,
}

impl<R> Cell<R> {
    /// Keeps what a round found, and says it.
    fn note(&mut self, run: anyhow::Result<R>, say: impl Fn(&R) -> String) -> anyhow::Result<()> {
        let (engine, program) = (self.engine.name(), self.program.name());
        let name = format!("{engine}, {program}, {}", self.load);
        let run = run.with_context(|| name.clone())?;
        eprintln!("{name}: {}", say(&run));
        self.rounds.push(run);
        Ok(())
    }
}

/// The cells of one part, in the order of measuring: programs in turn on each load.
fn cells_of<R>(settings: &Settings, part: Part) -> anyhow::Result<Vec<Cell<R>>> {
    let mut cells = Vec::new();
    for engine in settings.ground.engines() {
        for (load, plan) in settings.plans(part) {
            for program in settings.ground.programs()? {
                // The bare store is that of this project.
                if part == Part::Bare && program == Program::Peer {
                    continue;
                }
                let load = load.clone();
                cells.push(Cell {
                    engine,
                    program,
                    load,
                    plan,
                    rounds: Vec::new(),
                });
            }
        }
    }
    Ok(cells)
}

async fn measure(settings: &Settings) -> anyhow::Result<Report> {
    let ground = &settings.ground;
    let machine = Machine::observe(&ground.folder())?;
    let mut ingest = cells_of::<site::Run>(settings, Part::Ingest)?;
    let mut receipt = cells_of::<receipt::Run>(settings, Part::Receipt)?;
    let mut bare = cells_of::<bare::Run>(settings, Part::Bare)?;
    let mut start = cells_of::<start::Run>(settings, Part::Start)?;
    let cells = ingest.len() + receipt.len() + bare.len() + 2 * start.len();
    eprintln!(
        "{} measurements of {} s",
        settings.rounds as usize * cells,
        settings.warmup + settings.seconds
    );
    for round in 0..settings.rounds {
        eprintln!("round {} of {}", round + 1, settings.rounds);
        for cell in &mut ingest {
            let site = Site::open(ground, cell.program, cell.engine).await?;
            let run = site.ingest(cell.plan).await;
            cell.note(run, |run| format!("{:.0}/s", run.per_second))?;
        }
        for cell in &mut bare {
            let run = bare::measure(ground, cell.engine, cell.plan).await;
            cell.note(run, |run| format!("{:.0}/s", run.per_second))?;
        }
        for cell in &mut receipt {
            let mut site = Site::open(ground, cell.program, cell.engine).await?;
            let run = site.within(cell.plan, receipt::measure).await;
            cell.note(run, |run| {
                format!("at the socket after {:.2} ms", run.receipt_ms.p50)
            })?;
        }
        for cell in &mut start {
            let site = Site::open(ground, cell.program, cell.engine).await?;
            let run = start::measure(site, cell.plan).await;
            cell.note(run, |run| format!("listening in {:.1} ms", run.existing_ms))?;
        }
    }
    Ok(Report {
        machine,
        settings: settings.clone(),
        body_bytes: Request::new(SocketAddr::from(([127, 0, 0, 1], 0)))?.body_len(),
        program_mib: mib(std::fs::metadata(ground.path_of(Program::Bookbell))?.len()),
        engines: engines_of(&ingest),
        ingest: Row::all(ingest, IngestMedians::of),
        receipt: Row::all(receipt, ReceiptMedians::of),
        bare: Row::all(bare, BareMedians::of),
        start: Row::all(start, start::Run::median_of),
    })
}

/// The engines' versions and settings, as the first part saw them.
fn engines_of(cells: &[Cell<site::Run>]) -> BTreeMap<Engine, String> {
    let settings = |cell: &Cell<site::Run>| {
        let run = cell.rounds.first()?;
        Some((cell.engine, run.settings.clone()))
    };
    cells.iter().filter_map(settings).collect()
}
