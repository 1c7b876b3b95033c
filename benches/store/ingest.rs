//! Ingest through the product's own writer, without HTTP.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bookbell::app::App;
use bookbell::app::ingest::{Outcome, Posted};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::Settings;
use crate::common::booking::{Request, key_of};
use crate::common::figures::{Percentiles, real};

/// No booking of one measurement comes again in another.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Lets so many bookings wait at once for some seconds; answers how many were committed a second.
pub(crate) async fn measure(app: &Arc<App>, settings: &Settings, at: u64) -> anyhow::Result<f64> {
    let warm = Instant::now() + Duration::from_secs(1);
    let end = warm + Duration::from_secs(settings.seconds);
    let mut senders = JoinSet::new();
    for _ in 0..settings.senders {
        senders.spawn(send(Arc::clone(app), warm, end));
    }
    let mut ms = Vec::new();
    while let Some(sent) = senders.join_next().await {
        ms.extend(sent??);
    }
    let rate = real(ms.len() as u64) / real(settings.seconds);
    let Percentiles { p50, p99, max, .. } = Percentiles::of(ms);
    println!(
        "  at {at:>9} prospects {rate:>6.0}/s, answered in p50 {p50:.1} p99 {p99:.1} max {max:.0} ms"
    );
    Ok(rate)
}

async fn send(app: Arc<App>, warm: Instant, end: Instant) -> anyhow::Result<Vec<f64>> {
    let mut request = Request::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))?;
    let mut ms = Vec::new();
    while Instant::now() < end {
        let posted = posted(&mut request, NEXT.fetch_add(1, Ordering::Relaxed))?;
        let begun = Instant::now();
        let answer = app.receive(posted).await?;
        anyhow::ensure!(answer.outcome == Outcome::Processed, "{answer:?}");
        if begun >= warm {
            ms.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(ms)
}

/// The n-th booking as the webhook endpoint hands it on.
pub(crate) fn posted(request: &mut Request, n: u64) -> anyhow::Result<Posted> {
    let body_len = request.body_len();
    let bytes = request.write(key_of(n))?;
    let (head, body) = bytes.split_at(bytes.len() - body_len);
    let head = std::str::from_utf8(head)?;
    let signature = head.split_once("Calendly-Webhook-Signature: ");
    let signature = signature.context("the request is not signed")?.1.trim_end();
    Ok(Posted {
        connection_id: None,
        signature: Some(signature.as_bytes().to_vec()),
        headers: BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]),
        body: Bytes::copy_from_slice(body),
    })
}
