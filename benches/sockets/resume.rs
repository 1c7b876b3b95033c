//! One client comes back to a long log.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bookbell::domain::clock::{Clock as _, SystemClock};
use bookbell::domain::event::{Audience, NewEvent};
use bookbell::domain::ids::UuidV7;
use bookbell::store::Store;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::Settings;
use crate::common::figures::{in_ms, mib, real};
use crate::common::ground::Program;
use crate::common::machine::memory;
use crate::common::site::Site;
use crate::common::socket::{Socket, seq_in};

/// Events written in one transaction.
const STEP: u64 = 10_000;
/// How far behind the client is that was away for a moment only.
const BRIEFLY: u64 = 100;
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
const SILENCE_LIMIT: Duration = Duration::from_mins(1);

/// One round's figures.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// Events in the log.
    pub(crate) events: u64,
    /// A client that is a hundred events behind has them all, in milliseconds from connecting.
    pub(crate) briefly_ms: f64,
    /// A client that is behind by all of them has its first.
    pub(crate) first_ms: f64,
    /// It has all, in seconds.
    pub(crate) all_s: f64,
    /// Events a second meanwhile.
    pub(crate) per_second: f64,
    /// Memory of the server at its highest, in MiB.
    pub(crate) peak_mib: f64,
    /// Events that did not come in order, one by one.
    pub(crate) out_of_order: u64,
}

/// Writes a long log, then catches up with its end, and with the whole of it.
pub(crate) async fn measure(
    mut site: Site,
    settings: &Settings,
    program: Program,
) -> anyhow::Result<Run> {
    let address = site.server.address();
    site.server.stop().await?;
    match program {
        Program::Bookbell => write_log(&site.database.url(), settings.behind).await?,
        Program::Peer => {
            let payload = payload().to_string();
            let events = i64::try_from(settings.behind)?;
            site.database.fill_peer_log(events, &payload).await?;
        }
    }
    site.start_again().await?;
    let (socket, head) = Socket::connect(address, &site.token, None).await?;
    socket.close().await;
    let caught_up = async |behind: u64| {
        let since = head - i64::try_from(behind)?;
        catch_up(&site, since, head).await
    };
    let briefly = caught_up(BRIEFLY.min(settings.behind)).await?;
    let wholly = caught_up(settings.behind).await?;
    Ok(Run {
        events: settings.behind,
        briefly_ms: in_ms(briefly.all),
        first_ms: in_ms(wholly.first),
        all_s: wholly.all.as_secs_f64(),
        per_second: real(settings.behind) / wholly.all.as_secs_f64(),
        peak_mib: mib(memory(site.server.pid(), "VmHWM")?),
        out_of_order: briefly.out_of_order + wholly.out_of_order,
    })
}

struct CaughtUp {
    first: Duration,
    all: Duration,
    out_of_order: u64,
}

async fn catch_up(site: &Site, since: i64, head: i64) -> anyhow::Result<CaughtUp> {
    let began = Instant::now();
    let server = site.server.address();
    let (mut socket, _) = Socket::connect(server, &site.token, Some(since)).await?;
    let (mut reached, mut first, mut out_of_order) = (since, None, 0);
    while reached < head {
        let packet = timeout(SILENCE_LIMIT, socket.next_packet()).await;
        let packet = packet.with_context(|| format!("silence after {reached} of {head}"))??;
        if let Some(seq) = seq_in(&packet) {
            first.get_or_insert(began.elapsed());
            out_of_order += u64::from(seq != reached + 1);
            reached = seq;
        }
    }
    let all = began.elapsed();
    socket.close().await;
    Ok(CaughtUp {
        first: first.unwrap_or(all),
        all,
        out_of_order,
    })
}

async fn write_log(url: &str, events: u64) -> anyhow::Result<()> {
    let (store, ids) = (Store::open(url).await?, UuidV7::new());
    let payload = payload();
    let mut left = events;
    while left > 0 {
        let step = left.min(STEP);
        let event = NewEvent::new("prospect:updated", &payload, Audience::admins());
        let batch = vec![event; usize::try_from(step)?];
        let tx = store.begin().await?;
        tx.commit(batch, SystemClock.now_ms(), &ids).await?;
        left -= step;
    }
    store.close(CLOSE_LIMIT).await;
    Ok(())
}

/// As large as a prospect is.
fn payload() -> Value {
    json!({
        "id": "019a9f0e-5f2b-7c31-8d54-3f6a1c9b7e02", "firstname": "Alice", "lastname": "Abbott",
        "email": "guest.0123456789abcdef@bench.example", "phone": null, "company": "Abbott Joinery",
        "status": "new", "source": "calendly", "notes": null, "timezone": "Australia/Adelaide",
        "tracking": {"utmSource": null, "utmMedium": null, "utmCampaign": null, "utmTerm": null,
            "utmContent": null, "salesforceUuid": null},
        "ownerId": null, "createdAt": "2026-11-20T08:00:00.000Z",
        "updatedAt": "2026-11-20T08:00:00.000Z", "lastBookingAt": "2026-11-20T08:00:00.000Z",
    })
}
