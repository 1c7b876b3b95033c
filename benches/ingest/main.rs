//! Measures Bookbell from outside: durable webhooks a second, how soon they are answered, what
//! they cost, and how soon the socket hears of them. `benches/README.md` says how to read it.
//!
//! `cargo bench --bench ingest -- [--senders 1,16,64,256] [--seconds 5] [--rounds 3]
//! [--engine sqlite,postgres] [--postgres URL] [--json FILE]`

mod booking;
mod database;
mod figures;
mod load;
mod machine;
mod receipt;
mod report;
mod server;
mod site;
mod subscriber;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bookbell::domain::clock::{Clock as _, SystemClock};
use bookbell::domain::time::UtcMs;
use clap::{Parser, ValueEnum};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use booking::Request;
use database::Engine;
use load::Plan;
use machine::Machine;
use report::{IngestMedians, ReceiptMedians, Report, Rounds, Row};
use site::Site;

/// Senders of the load at a steady rate: enough that none waits for an answer when it is due.
const STEADY_SENDERS: u32 = 8;
/// Senders of the other loads that a subscriber listens to.
const LISTENED_SENDERS: [u32; 2] = [1, 64];

/// Measures Bookbell from outside: webhooks a second, latency, cost, and time from post to socket.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "ingest", bin_name = "cargo bench --bench ingest --")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    /// How many post at once, one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    senders: Vec<u32>,
    /// How long each measurement counts, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How long it runs before that, in seconds.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=60))]
    warmup: u64,
    /// How often all measurements are made, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// The databases; without --postgres only sqlite.
    #[arg(long, value_enum, value_delimiter = ',')]
    engine: Vec<Engine>,
    /// A Postgres server and a role that may create databases there.
    #[arg(
        long,
        value_name = "URL",
        env = "BOOKBELL_TEST_POSTGRES",
        hide_env_values = true
    )]
    #[serde(skip)]
    postgres: Option<String>,
    /// The steady load of the second part, in bookings a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Which parts to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ingest,receipt"
    )]
    part: Vec<Part>,
    /// Where to write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where databases are made; the temporary folder when not given.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Another program to measure, with the same command line and HTTP.
    #[arg(long, value_name = "PROGRAM", default_value = option_env!("CARGO_BIN_EXE_bookbell"))]
    server: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    #[serde(skip)]
    bench: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// Webhooks in: rate, latency and cost.
    Ingest,
    /// From post to socket.
    Receipt,
}

impl Settings {
    /// Where databases are made.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    fn engines(&self) -> Vec<Engine> {
        match (self.engine.as_slice(), &self.postgres) {
            ([], None) => vec![Engine::Sqlite],
            ([], Some(_)) => vec![Engine::Sqlite, Engine::Postgres],
            (chosen, _) => chosen.to_vec(),
        }
    }

    fn plan(&self, senders: u32, rate: Option<u32>, noted: bool) -> Plan {
        Plan {
            senders,
            rate,
            warmup: Duration::from_secs(self.warmup),
            measured: Duration::from_secs(self.seconds),
            noted,
        }
    }

    /// What is measured, by the name of its load.
    fn plans(&self, part: Part) -> Vec<(String, Plan)> {
        if !self.part.contains(&part) {
            return Vec::new();
        }
        let noted = part == Part::Receipt;
        let waiting = |senders: &u32| {
            let load = format!("{senders} sender{}", if *senders == 1 { "" } else { "s" });
            (load, self.plan(*senders, None, noted))
        };
        if part == Part::Ingest {
            return self.senders.iter().map(waiting).collect();
        }
        let steady = self.plan(STEADY_SENDERS, Some(self.rate), noted);
        let mut plans = vec![(format!("steady {}/s", self.rate), steady)];
        plans.extend(LISTENED_SENDERS.iter().map(waiting));
        plans
    }
}

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this too, without the argument that `cargo bench` gives.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run(&Settings::parse()) {
        Ok(code) => code,
        Err(error) => {
            for cause in error.chain() {
                eprintln!("bench: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let report = runtime.enable_all().build()?.block_on(async {
        tokio::select! {
            report = measure(settings) => report.map(Some),
            interrupted = interrupted() => interrupted.map(|()| None),
        }
    });
    let Some(report) = report? else {
        eprintln!("bench: interrupted");
        return Ok(ExitCode::from(130));
    };
    println!("{report}");
    if let Some(file) = &settings.json {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let faults = report.faults();
    for fault in &faults {
        eprintln!("bench: {fault}");
    }
    Ok(ExitCode::from(u8::from(!faults.is_empty())))
}

/// Returns when the user or the system wants an end. What was started is dropped with the work
/// under way: servers are killed, databases and folders removed.
async fn interrupted() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminated.recv() => {}
        _ = hung_up.recv() => {}
    }
    Ok(())
}

async fn measure(settings: &Settings) -> anyhow::Result<Report> {
    let date = UtcMs(SystemClock.now_ms()).to_string();
    let machine = Machine::observe(&settings.folder())?;
    let mut ingest = rounds_of(settings, Part::Ingest);
    let mut receipt = rounds_of(settings, Part::Receipt);
    let total = settings.rounds as usize * (ingest.len() + receipt.len());
    eprintln!(
        "{total} measurements of {} s",
        settings.warmup + settings.seconds
    );
    let mut engines = BTreeMap::new();
    for _ in 0..settings.rounds {
        for ((engine, load, runs), plan) in &mut ingest {
            let site = Site::open(settings, *engine).await?;
            let run = site
                .ingest(*plan)
                .await
                .with_context(|| name(*engine, load))?;
            eprintln!("{}: {:.0}/s", name(*engine, load), run.per_second);
            engines
                .entry(*engine)
                .or_insert_with(|| run.settings.clone());
            runs.push(run);
        }
        for ((engine, load, runs), plan) in &mut receipt {
            let mut site = Site::open(settings, *engine).await?;
            let run = site.within(*plan, receipt::measure).await;
            let run = run.with_context(|| name(*engine, load))?;
            eprintln!(
                "{}, socket: p50 {:.2} ms",
                name(*engine, load),
                run.receipt_ms.p50
            );
            runs.push(run);
        }
    }
    Ok(Report {
        date,
        machine,
        settings: settings.clone(),
        body_bytes: Request::new(SocketAddr::from(([127, 0, 0, 1], 0)))?.body_len(),
        engines,
        ingest: Row::all(unplanned(ingest), IngestMedians::of),
        receipt: Row::all(unplanned(receipt), ReceiptMedians::of),
    })
}

type Planned<R> = (Rounds<R>, Plan);

fn rounds_of<R>(settings: &Settings, part: Part) -> Vec<Planned<R>> {
    let mut planned = Vec::new();
    for engine in settings.engines() {
        for (load, plan) in settings.plans(part) {
            planned.push(((engine, load, Vec::new()), plan));
        }
    }
    planned
}

fn unplanned<R>(planned: Vec<Planned<R>>) -> Vec<Rounds<R>> {
    planned.into_iter().map(|(rounds, _)| rounds).collect()
}

fn name(engine: Engine, load: &str) -> String {
    format!("{}, {load}", engine.name())
}
