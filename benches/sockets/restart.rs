//! All clients come back at once after a restart, with what they missed to be made up for, while
//! webhooks keep coming.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use crate::Settings;
use crate::common::booking::{HOSTS, KNOWN_HOSTS, Request, key_for};
use crate::common::figures::{Percentiles, mib};
use crate::common::load::{Load, Plan, Post, Tally};
use crate::common::machine::{cpu_time, memory};
use crate::common::site::Site;
use crate::common::socket::Socket;
use crate::common::wire::Connection;
use crate::crowd::{Crowd, Manner};
use crate::idle::EVENTS_OF_BOOKING;

/// Senders of the webhooks meanwhile.
const SENDERS: u32 = 8;
/// How long webhooks come at least, and how long all may take to catch up.
const WEBHOOKS: Duration = Duration::from_secs(10);
const CAUGHT_UP_LIMIT: Duration = Duration::from_mins(5);

/// One round's figures.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// From `listening` until the first client had all that it missed, in seconds.
    pub(crate) first_s: f64,
    /// The same of the last client.
    pub(crate) last_s: f64,
    /// How often a client had to try again.
    pub(crate) retries: u64,
    /// Processor time of the server until then, in seconds.
    pub(crate) cpu_s: f64,
    /// Memory of the server at its highest, in MiB.
    pub(crate) peak_mib: f64,
    /// Webhooks answered meanwhile, and those that were not processed.
    pub(crate) webhooks: u64,
    pub(crate) failed: u64,
    /// Why the first of those was not, or why posting ended.
    pub(crate) failure: Option<String>,
    /// How long those waited for their answers that were posted before all had caught up.
    pub(crate) answer_ms: Percentiles,
}

/// Lets clients miss some bookings, restarts the server, and lets all come at once.
pub(crate) async fn measure(mut site: Site, settings: &Settings) -> anyhow::Result<Run> {
    let mut tokens = Vec::new();
    for host in &HOSTS[..KNOWN_HOSTS] {
        tokens.push(site.server.log_in_as(&host.email()).await?);
    }
    let address = site.server.address();
    let (socket, since) = Socket::connect(address, &tokens[0], None).await?;
    socket.close().await;
    book_with_each_host(&site, settings.missed).await?;
    site.server.stop().await?;
    let mut crowd = Crowd::new(Manner {
        server: address,
        tokens: tokens.into(),
        since: Some(since),
        at_once: usize::try_from(settings.crowd())?,
    })?;
    crowd.expect(settings.missed * EVENTS_OF_BOOKING);
    site.start_again().await?;
    let started = Instant::now();
    crowd.call(settings.crowd());
    let load = Load::start(webhooks(settings), address).await?;
    let arrivals = crowd.arrived(CAUGHT_UP_LIMIT).await;
    let arrivals = arrivals.with_context(|| site.server.log_tail())?;
    let cpu = cpu_time(site.server.pid())?;
    let seconds = |at: Option<Instant>| at.map_or(f64::NAN, |at| (at - started).as_secs_f64());
    let run = Run {
        first_s: seconds(arrivals.first),
        last_s: seconds(arrivals.last),
        retries: crowd.retries(),
        cpu_s: cpu.as_secs_f64(),
        peak_mib: mib(memory(site.server.pid(), "VmHWM")?),
        webhooks: 0,
        failed: 0,
        failure: None,
        answer_ms: Percentiles::default(),
    };
    let last = arrivals.last.unwrap_or_else(Instant::now);
    Ok(run.with(load.finish().await, last))
}

impl Run {
    /// With what the senders saw; how long they waited, until the last client had caught up.
    fn with(self, senders: anyhow::Result<Tally>, last: Instant) -> Self {
        let waits_ms = |posts: &[Post]| {
            let meanwhile = posts.iter().filter(|post| post.sent <= last);
            let waits = meanwhile.map(|post| post.answered - post.sent);
            waits.map(|wait| wait.as_secs_f64() * 1e3).collect()
        };
        match senders {
            Ok(tally) => Self {
                webhooks: tally.processed,
                failed: tally.refused,
                failure: tally.first_refusal,
                answer_ms: Percentiles::of(waits_ms(&tally.posts)),
                ..self
            },
            Err(error) => Self {
                failed: 1,
                failure: Some(format!("{error:#}")),
                ..self
            },
        }
    }
}

/// Of nobody's bookings, so that the clients have only to catch up.
fn webhooks(settings: &Settings) -> Plan {
    Plan {
        senders: SENDERS,
        rate: Some(settings.rate),
        warmup: Duration::ZERO,
        measured: WEBHOOKS,
        noted: true,
        first: 0,
        host: Some(KNOWN_HOSTS),
    }
}

async fn book_with_each_host(site: &Site, bookings: u64) -> anyhow::Result<()> {
    let server = site.server.address();
    let mut connection = Connection::open(server).await?;
    let mut request = Request::new(server)?;
    for host in 0..KNOWN_HOSTS {
        for n in 0..bookings {
            let request = request.write(key_for(n, Some(host)))?;
            let answer = connection.exchange(request).await?;
            ensure!(answer.status == 200, "answered {}", answer.status);
        }
    }
    Ok(())
}
