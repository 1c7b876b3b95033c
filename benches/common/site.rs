//! One measurement's surroundings: a new database, a server that has just started, a folder.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::common::database::{Database, Engine};
use crate::common::figures::{Percentiles, mib, real};
use crate::common::ground::{Ground, Program};
use crate::common::load::{Load, Plan, Span, Tally};
use crate::common::machine::{busy_time, cores, cpu_time, memory};
use crate::common::server::{Server, Start};

/// Added to the time a load is meant to take, before it is given up.
const LOAD_LIMIT: Duration = Duration::from_mins(1);

/// A running server and what belongs to it; dropped in this order.
#[derive(Debug)]
pub(crate) struct Site {
    /// The server.
    pub(crate) server: Server,
    /// An admin's token.
    pub(crate) token: String,
    /// Its database.
    pub(crate) database: Database,
    start_bytes: u64,
    start: Start,
    _folder: TempDir,
}

/// The figures of one load.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// Durable webhooks a second.
    pub(crate) per_second: f64,
    /// From the first byte written to the answer read.
    pub(crate) answer_ms: Percentiles,
    /// Processor time of the server for each.
    pub(crate) server_cpu_us: f64,
    /// Processor time of Postgres's processes for this database for each; none on a file.
    pub(crate) database_cpu_us: Option<f64>,
    /// Processor time of the load itself for each.
    pub(crate) load_cpu_us: f64,
    /// The load's part of all the processor time there was, 0 to 1.
    pub(crate) load_share: f64,
    /// The part that processes used which are none of the server, its database and the load.
    pub(crate) others_share: f64,
    /// Memory of the server when it has just started, in MiB.
    pub(crate) start_mib: f64,
    /// The same after the passwords of the log-in and three users were hashed, before the load.
    pub(crate) idle_mib: f64,
    /// Memory of the server at its highest, in MiB.
    pub(crate) peak_mib: f64,
    /// What the database grew by for each booking.
    pub(crate) bytes_per_booking: f64,
    /// The engine's version and settings.
    #[serde(skip)]
    pub(crate) settings: String,
    /// Posts that were not answered `processed`.
    pub(crate) refused: u64,
    /// The first such answer.
    pub(crate) first_refusal: Option<String>,
}

/// What a load did.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What the senders saw.
    pub(crate) tally: Tally,
    /// When they posted.
    pub(crate) span: Span,
    /// The processor time used meanwhile.
    pub(crate) used: Usage,
}

/// Processor time used, until a moment or between two.
#[derive(Debug)]
pub(crate) struct Usage {
    server: Duration,
    load: Duration,
    everybody: Duration,
    backends: BTreeMap<u32, Duration>,
}

impl Site {
    /// Makes the database and starts the program on it.
    pub(crate) async fn open(
        ground: &Ground,
        program: Program,
        engine: Engine,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("bookbell-bench-")
            .tempdir_in(ground.folder())?;
        let database = Database::new(engine, folder.path(), ground.postgres.as_deref()).await?;
        let start = Start::anywhere(ground.path_of(program), database.url(), folder.path());
        let server = Server::start(&start).await?;
        let start_bytes = memory(server.pid(), "VmRSS")?;
        let token = server.log_in().await;
        let token = token.with_context(|| server.log_tail())?;
        Ok(Self {
            server,
            token,
            database,
            start_bytes,
            start,
            _folder: folder,
        })
    }

    /// Starts the server, which has ended, again where it listened before.
    pub(crate) async fn start_again(&mut self) -> anyhow::Result<()> {
        self.start.listen = self.server.address();
        self.server = Server::start(&self.start).await?;
        Ok(())
    }

    /// Carries out a measurement within its time, and explains a failure by the server's log.
    pub(crate) async fn within<T>(
        &mut self,
        plan: Plan,
        measure: impl AsyncFnOnce(&mut Self, Plan) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let limit = plan.warmup + plan.measured + LOAD_LIMIT;
        let measured = timeout(limit, measure(self, plan)).await;
        let measured = measured.with_context(|| format!("not over within {limit:?}"));
        measured.flatten().with_context(|| {
            let ended = self.server.ended();
            let ended = ended.map_or(String::new(), |status| format!("it ended with {status}; "));
            ended + &self.server.log_tail()
        })
    }

    /// Posts, and watches what it costs; then stops the server, so that all is in its file.
    pub(crate) async fn ingest(mut self, plan: Plan) -> anyhow::Result<Run> {
        let idle = memory(self.server.pid(), "VmRSS")?;
        let bytes_before = self.database.bytes().await?;
        let loaded = self.within(plan, async |site, plan| site.load(plan).await);
        let Loaded { tally, used, .. } = loaded.await?;
        let peak = memory(self.server.pid(), "VmHWM")?;
        self.server.stop().await?;
        let bytes_after = self.database.bytes().await?;
        ensure!(tally.counted > 0, "nothing was answered in time");
        let each_us = |used: Duration| used.as_secs_f64() * 1e6 / real(tally.counted);
        Ok(Run {
            per_second: real(tally.counted) / plan.measured.as_secs_f64(),
            answer_ms: Percentiles::of_us(&tally.latencies_us),
            server_cpu_us: each_us(used.server),
            database_cpu_us: used.backends().map(each_us),
            load_cpu_us: each_us(used.load),
            load_share: share_of_all(used.load, plan),
            others_share: share_of_all(used.others(), plan),
            start_mib: mib(self.start_bytes),
            idle_mib: mib(idle),
            peak_mib: mib(peak),
            bytes_per_booking: real(bytes_after.saturating_sub(bytes_before))
                / real(tally.processed),
            settings: self.database.settings().await?,
            refused: tally.refused,
            first_refusal: tally.first_refusal,
        })
    }

    /// Posts, and watches what processor time goes where.
    pub(crate) async fn load(&mut self, plan: Plan) -> anyhow::Result<Loaded> {
        let mut load = Load::start(plan, self.server.address()).await?;
        let span = load.span();
        load.wait_until(span.from).await?;
        let before = self.usage().await?;
        load.wait_until(span.until).await?;
        let used = self.usage().await?.since(&before);
        let tally = load.finish().await?;
        Ok(Loaded { tally, span, used })
    }

    async fn usage(&mut self) -> anyhow::Result<Usage> {
        Ok(Usage {
            server: cpu_time(self.server.pid())?,
            load: cpu_time(std::process::id())?,
            everybody: busy_time()?,
            backends: self.database.backends().await?,
        })
    }
}

impl Usage {
    fn since(&self, before: &Self) -> Self {
        let backends = self.backends.iter().map(|(pid, used)| {
            let before = before.backends.get(pid).copied().unwrap_or_default();
            (*pid, used.saturating_sub(before))
        });
        Self {
            server: self.server.saturating_sub(before.server),
            load: self.load.saturating_sub(before.load),
            everybody: self.everybody.saturating_sub(before.everybody),
            backends: backends.collect(),
        }
    }

    /// `None` where there are no such processes to be seen.
    fn backends(&self) -> Option<Duration> {
        (!self.backends.is_empty()).then(|| self.backends.values().sum())
    }

    /// By processes that are none of the server, its database and the load.
    pub(crate) fn others(&self) -> Duration {
        let ours = self.server + self.load + self.backends().unwrap_or_default();
        self.everybody.saturating_sub(ours)
    }
}

/// What part of the processor time there was, 0 to 1.
pub(crate) fn share_of_all(used: Duration, plan: Plan) -> f64 {
    used.as_secs_f64() / (real(cores() as u64) * plan.measured.as_secs_f64())
}
