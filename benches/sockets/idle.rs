//! What sockets cost that only listen, and how soon one event is with all of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use crate::common::booking::{Request, key_of};
use crate::common::figures::{Percentiles, in_ms, real};
use crate::common::ground::Program;
use crate::common::machine::cpu_time;
use crate::common::site::Site;
use crate::common::wire::Connection;
use crate::crowd::{Crowd, Manner};
use crate::{Settings, held_mib};

/// How many connect at once.
pub(crate) const AT_ONCE: usize = 64;
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_mins(3);
const EVENT_LIMIT: Duration = Duration::from_secs(30);
/// A booking of a new person is two events: the prospect and the proposal.
pub(crate) const EVENTS_OF_BOOKING: u64 = 2;

/// One round's figures.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// Memory of the server without sockets, in MiB.
    pub(crate) bare_mib: f64,
    /// How many sockets, and what each then held, in bytes.
    pub(crate) bytes_per_socket: Vec<(u64, f64)>,
    /// Processor time of the server for all connects with their token check, in seconds.
    pub(crate) connect_cpu_s: f64,
    /// How long those took, in seconds.
    pub(crate) connect_s: f64,
    /// From post to the first socket.
    pub(crate) first_ms: Percentiles,
    /// From post to the last socket.
    pub(crate) last_ms: Percentiles,
    /// Processor time of the server for each event, in milliseconds.
    pub(crate) event_cpu_ms: f64,
    /// Connections lost meanwhile.
    pub(crate) lost: u64,
}

/// Connects ever more sockets, then posts events to all.
pub(crate) async fn measure(
    site: Site,
    settings: &Settings,
    program: Program,
) -> anyhow::Result<Run> {
    let pid = site.server.pid();
    let mut crowd = Crowd::new(Manner {
        server: site.server.address(),
        tokens: [site.token.clone()].into(),
        since: None,
        at_once: AT_ONCE,
    })?;
    let bare_mib = held_mib(&site, program).await?;
    let (mut bytes_per_socket, mut cpu, mut took) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    for size in &settings.clients {
        let (cpu_before, started) = (cpu_time(pid)?, Instant::now());
        crowd.call(*size);
        let gathered = crowd.gathered(CONNECT_LIMIT).await;
        gathered.with_context(|| site.server.log_tail())?;
        took += started.elapsed();
        cpu += cpu_time(pid)?.saturating_sub(cpu_before);
        let grown_mib = held_mib(&site, program).await? - bare_mib;
        bytes_per_socket.push((*size, grown_mib * f64::from(1 << 20) / real(*size)));
    }
    let cpu_before = cpu_time(pid)?;
    let (first_ms, last_ms) = post_to_all(&site, &crowd, settings.events).await?;
    let event_cpu = cpu_time(pid)?.saturating_sub(cpu_before);
    let events = settings.events * EVENTS_OF_BOOKING;
    Ok(Run {
        bare_mib,
        bytes_per_socket,
        connect_cpu_s: cpu.as_secs_f64(),
        connect_s: took.as_secs_f64(),
        first_ms,
        last_ms,
        event_cpu_ms: in_ms(event_cpu) / real(events),
        lost: crowd.lost(),
    })
}

/// Posts one booking after the other; how long until the first and the last socket had its first
/// event. Waits for its second before the next.
async fn post_to_all(
    site: &Site,
    crowd: &Crowd,
    bookings: u64,
) -> anyhow::Result<(Percentiles, Percentiles)> {
    let server = site.server.address();
    let mut connection = Connection::open(server).await?;
    let mut request = Request::new(server)?;
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    for n in 0..bookings {
        crowd.expect(n * EVENTS_OF_BOOKING + 1);
        let request = request.write(key_of(n))?;
        let posted = Instant::now();
        let answer = connection.exchange(request).await?;
        ensure!(answer.status == 200, "answered {}", answer.status);
        let arrived = crowd.arrived(EVENT_LIMIT).await?;
        let since_post =
            |at: Option<Instant>| at.map(|at| in_ms(at.saturating_duration_since(posted)));
        firsts.extend(since_post(arrived.first));
        lasts.extend(since_post(arrived.last));
        let events = (n + 1) * EVENTS_OF_BOOKING;
        crowd.heard_by_all(events, EVENT_LIMIT).await?;
    }
    Ok((Percentiles::of(firsts), Percentiles::of(lasts)))
}
