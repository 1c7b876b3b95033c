//! Measures many sockets on one server, beside the peer: what one costs, how soon one event is
//! with all of them, what webhooks cost beside them that concern none, how soon all are back after
//! a restart, and how long catching up takes.
//! `benches/README.md` says how to read it.
//!
//! `cargo bench --bench sockets -- [--peer] [--clients 1000,5000,10000] [--behind 1000000]
//! [--rounds 1] [--part idle,aside,restart,resume]`

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "no benchmark uses all that they share")]
mod common;

mod aside;
mod crowd;
mod idle;
mod report;
mod restart;
mod resume;
mod targets;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde::Serialize;
use tokio::time::sleep;

use common::database::Engine;
use common::figures::mib;
use common::ground::{Ground, Program};
use common::machine::{Machine, memory};
use common::outcome::{conclude, is_asked_for};
use common::site::Site;
use report::Report;

/// Files that a process needs beside its sockets.
const OTHER_FILES: u64 = 200;
/// How long a server is left alone before its memory is taken.
const SETTLE: Duration = Duration::from_millis(1500);

/// Measures many sockets on one server.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "sockets", bin_name = "cargo bench --bench sockets --")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    #[command(flatten)]
    #[serde(flatten)]
    ground: Ground,
    /// How many sockets, in steps; the last is the number for everything else.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    clients: Vec<u64>,
    /// How many events are posted to all sockets, one after the other.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    events: u64,
    /// How many bookings each client has missed when it comes back after the restart.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    missed: u64,
    /// Webhooks a second, of nobody's bookings, while the clients come back.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How many events a client is behind that resumes.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    behind: u64,
    /// How often all measurements are made, in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Which parts to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "idle,aside,restart,resume"
    )]
    part: Vec<Part>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// Memory and processor time of sockets, and one event to all of them.
    Idle,
    /// Webhooks while all are connected and hear nothing of them.
    Aside,
    /// All come back after a restart.
    Restart,
    /// One catches up with a long log.
    Resume,
}

impl Settings {
    /// The largest number of sockets.
    pub(crate) fn crowd(&self) -> u64 {
        self.clients.iter().copied().max().unwrap_or_default()
    }
}

fn main() -> ExitCode {
    if !is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let settings = Settings::parse();
    conclude(measure(&settings), settings.ground.json.as_deref())
}

/// One program's figures, a round each.
#[derive(Debug, Serialize)]
pub(crate) struct Row<R> {
    /// The database.
    pub(crate) engine: Engine,
    /// The program.
    pub(crate) program: Program,
    /// What was found.
    pub(crate) rounds: Vec<R>,
}

fn rows<R>(settings: &Settings, part: Part) -> anyhow::Result<Vec<Row<R>>> {
    let mut rows = Vec::new();
    for engine in settings.ground.engines() {
        for program in settings.ground.programs()? {
            let rounds = Vec::new();
            rows.push(Row {
                engine,
                program,
                rounds,
            });
        }
    }
    rows.retain(|_| settings.part.contains(&part));
    Ok(rows)
}

async fn measure(settings: &Settings) -> anyhow::Result<Report> {
    raise_file_limit(settings.crowd())?;
    let machine = Machine::observe(&settings.ground.folder())?;
    let mut idle = rows(settings, Part::Idle)?;
    let mut aside = rows(settings, Part::Aside)?;
    let mut restart = rows(settings, Part::Restart)?;
    let mut resume = rows(settings, Part::Resume)?;
    for _ in 0..settings.rounds {
        for row in &mut idle {
            let site = open(settings, row, "idle sockets").await?;
            row.rounds
                .push(idle::measure(site, settings, row.program).await?);
        }
        for row in &mut aside {
            let site = open(settings, row, "sockets aside").await?;
            row.rounds.push(aside::measure(site, settings).await?);
        }
        for row in &mut restart {
            let site = open(settings, row, "a restart").await?;
            row.rounds.push(restart::measure(site, settings).await?);
        }
        for row in &mut resume {
            let site = open(settings, row, "a long way to catch up").await?;
            row.rounds
                .push(resume::measure(site, settings, row.program).await?);
        }
    }
    Ok(Report {
        machine,
        settings: settings.clone(),
        idle,
        aside,
        restart,
        resume,
    })
}

/// A server on a database with its users, started anew, so that the memory of hashing their
/// passwords is not in it.
async fn open<R>(settings: &Settings, row: &Row<R>, what: &str) -> anyhow::Result<Site> {
    eprintln!("{}, {}: {what}", row.engine.name(), row.program.name());
    let mut site = Site::open(&settings.ground, row.program, row.engine).await?;
    site.server.stop().await?;
    site.start_again().await?;
    Ok(site)
}

/// What a server holds in memory when it has been left alone for a moment, in MiB. The peer first
/// collects what it does not need any more: else that would count as well.
pub(crate) async fn held_mib(site: &Site, program: Program) -> anyhow::Result<f64> {
    sleep(SETTLE).await;
    if program == Program::Peer {
        site.server.signal(Signal::USR2)?;
        sleep(SETTLE).await;
    }
    Ok(mib(memory(site.server.pid(), "VmRSS")?))
}

/// Both ends need a file for each socket; the server inherits the limit.
fn raise_file_limit(clients: u64) -> anyhow::Result<()> {
    let needed = clients + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "{clients} sockets need {needed} open files, and only {maximum:?} are allowed: ulimit -Hn"
    );
    let raised = Rlimit {
        current: Some(needed),
        maximum,
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")
}
