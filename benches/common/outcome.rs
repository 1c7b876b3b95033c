//! How a benchmark runs and ends: its report, the file of figures, the exit code.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

/// What a benchmark found.
pub(crate) trait Report: Display + Serialize {
    /// What went wrong, a line each.
    fn faults(&self) -> Vec<String>;
}

/// Whether this is `cargo bench`; `cargo test --all-targets` runs benchmarks too, without the
/// argument that says so.
pub(crate) fn is_asked_for() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Runs a measurement, shows its report, and writes it as JSON where a file is named.
pub(crate) fn conclude<R: Report>(
    measurement: impl Future<Output = anyhow::Result<R>>,
    json: Option<&Path>,
) -> ExitCode {
    match run(measurement, json) {
        Ok(code) => code,
        Err(error) => {
            for cause in error.chain() {
                eprintln!("bench: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run<R: Report>(
    measurement: impl Future<Output = anyhow::Result<R>>,
    json: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let report = runtime.enable_all().build()?.block_on(async {
        tokio::select! {
            report = measurement => report.map(Some),
            interrupted = interrupted() => interrupted.map(|()| None),
        }
    });
    let Some(report) = report? else {
        eprintln!("bench: interrupted");
        return Ok(ExitCode::from(130));
    };
    println!("{report}");
    if let Some(file) = json {
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
