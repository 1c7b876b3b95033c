//! What webhooks cost while thousands of sockets are connected that hear nothing of them.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::Settings;
use crate::common::booking::{HOSTS, KNOWN_HOSTS};
use crate::common::figures::{Percentiles, real};
use crate::common::load::Plan;
use crate::common::machine::cpu_time;
use crate::common::site::Site;
use crate::crowd::{Crowd, Manner};
use crate::idle::{AT_ONCE, CONNECT_LIMIT};

const SENDERS: u32 = 16;
const WARMUP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);

/// One round's figures.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// Without the sockets.
    pub(crate) alone: Webhooks,
    /// With them.
    pub(crate) beside: Webhooks,
    /// Connections lost meanwhile.
    pub(crate) lost: u64,
}

/// What a load of webhooks found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Webhooks {
    pub(crate) per_second: f64,
    pub(crate) answer_ms: Percentiles,
    /// Processor time of the server for each.
    pub(crate) cpu_us: f64,
}

/// Posts nobody's bookings, alone and then beside all sockets of a user who owns none.
pub(crate) async fn measure(mut site: Site, settings: &Settings) -> anyhow::Result<Run> {
    let plan = Plan {
        senders: SENDERS,
        rate: None,
        warmup: WARMUP,
        measured: MEASURED,
        noted: false,
        first: 0,
        host: Some(KNOWN_HOSTS),
    };
    let alone = post(&mut site, plan).await?;
    let mut crowd = Crowd::new(Manner {
        server: site.server.address(),
        tokens: [site.server.log_in_as(&HOSTS[0].email()).await?].into(),
        since: None,
        at_once: AT_ONCE,
    })?;
    crowd.call(settings.crowd());
    let gathered = crowd.gathered(CONNECT_LIMIT).await;
    gathered.with_context(|| site.server.log_tail())?;
    let beside = post(&mut site, plan.continued()).await?;
    Ok(Run {
        alone,
        beside,
        lost: crowd.lost(),
    })
}

async fn post(site: &mut Site, plan: Plan) -> anyhow::Result<Webhooks> {
    let pid = site.server.pid();
    let cpu_before = cpu_time(pid)?;
    let loaded = site.within(plan, async |site, plan| site.load(plan).await);
    let tally = loaded.await?.tally;
    let cpu = cpu_time(pid)?.saturating_sub(cpu_before);
    Ok(Webhooks {
        per_second: real(tally.counted) / plan.measured.as_secs_f64(),
        answer_ms: Percentiles::of_us(&tally.latencies_us),
        cpu_us: cpu.as_secs_f64() * 1e6 / real(tally.processed),
    })
}
