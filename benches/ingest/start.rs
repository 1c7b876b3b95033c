//! How soon a program serves after a start, and what memory it takes.

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::common::figures::{in_ms, median, mib};
use crate::common::load::Plan;
use crate::common::machine::memory;
use crate::common::site::Site;

/// How often it is started on the same database.
const STARTS: usize = 3;
/// How long it is left alone before its memory is taken as idle.
const IDLE: Duration = Duration::from_secs(1);

/// One round's figures, or the medians of several.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// From its start to `listening`, where there was no database yet.
    pub(crate) fresh_ms: f64,
    /// The same on a database that was closed properly.
    pub(crate) existing_ms: f64,
    /// The same after it was killed at the end of a load.
    pub(crate) after_crash_ms: f64,
    /// What then lay in SQLite's write-ahead log, in MiB.
    pub(crate) log_mib: Option<f64>,
    /// Memory of a server that was started on a database and left alone, in MiB.
    pub(crate) idle_mib: f64,
    /// Memory at its highest, under the load, in MiB.
    pub(crate) loaded_mib: f64,
}

impl Run {
    /// The medians of these rounds.
    pub(crate) fn median_of(rounds: &[Self]) -> Self {
        let middle = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure));
        let logs = rounds.iter().filter_map(|round| round.log_mib);
        Self {
            fresh_ms: middle(|round| round.fresh_ms),
            existing_ms: middle(|round| round.existing_ms),
            after_crash_ms: middle(|round| round.after_crash_ms),
            log_mib: logs.clone().next().map(|_| median(logs)),
            idle_mib: middle(|round| round.idle_mib),
            loaded_mib: middle(|round| round.loaded_mib),
        }
    }
}

/// Loads a new server, then starts it again and again, at last after a crash.
pub(crate) async fn measure(mut site: Site, plan: Plan) -> anyhow::Result<Run> {
    let fresh_ms = in_ms(site.server.started_in());
    let load = async |site: &mut Site, plan| site.load(plan).await;
    site.within(plan, load).await?;
    let loaded_mib = mib(memory(site.server.pid(), "VmHWM")?);
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        site.server.stop().await?;
        site.start_again().await?;
        starts.push(in_ms(site.server.started_in()));
    }
    sleep(IDLE).await;
    let idle_mib = mib(memory(site.server.pid(), "VmRSS")?);
    site.within(plan.continued(), load).await?;
    site.server.kill()?;
    let log_mib = site.database.log_bytes().map(mib);
    site.start_again().await?;
    Ok(Run {
        fresh_ms,
        existing_ms: median(starts.into_iter()),
        after_crash_ms: in_ms(site.server.started_in()),
        log_mib,
        idle_mib,
        loaded_mib,
    })
}
