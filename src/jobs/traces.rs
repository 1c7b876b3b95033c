//! Makes a trace of each delivery, from its receipt to the first socket, after the fact: the
//! spans are put together here, off the path of the deliveries, from times they have anyway.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Span, SpanBuilder, SpanKind, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::trips::Trip;

/// How long a delivery waits for its first socket before its trace ends with the commit.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many wait at most; the oldest then do so no longer.
const WAITING: usize = 8192;

/// How often to look for sockets that were reached.
const PERIOD: Duration = Duration::from_millis(200);

/// How many trips are taken at a time.
const STRETCH: usize = 256;

/// How long the last spans may take to be exported when the program stops.
const FLUSH: Duration = Duration::from_millis(1500);

/// Exports traces until the program stops, and those that wait then.
pub async fn run(
    app: Arc<App>,
    provider: SdkTracerProvider,
    mut trips: Receiver<Trip>,
    stop: CancellationToken,
) {
    let tracer = provider.tracer("bookbell");
    let mut waiting = VecDeque::new();
    let follow = follow(&app, &tracer, &mut trips, &mut waiting);
    stop.run_until_cancelled(follow).await;
    while let Ok(trip) = trips.try_recv() {
        waiting.push_back((trip, Instant::now()));
    }
    for (trip, _) in waiting {
        let socket = trip.first.and_then(|seq| app.first_sent(seq));
        record(&tracer, &trip, socket);
    }
    let flush = move || provider.shutdown_with_timeout(FLUSH);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(flush).await {
        tracing::warn!(%error, "the last traces were not exported");
    }
}

async fn follow(
    app: &App,
    tracer: &SdkTracer,
    trips: &mut Receiver<Trip>,
    waiting: &mut VecDeque<(Trip, Instant)>,
) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut taken = Vec::with_capacity(STRETCH);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = trips.recv_many(&mut taken, STRETCH) => {}
        }
        let now = Instant::now();
        waiting.extend(taken.drain(..).map(|trip| (trip, now)));
        let mut excess = waiting.len().saturating_sub(WAITING);
        waiting.retain(|(trip, since)| {
            let socket = trip.first.and_then(|seq| app.first_sent(seq));
            let hopeless = trip.first.is_none() || now - *since >= PATIENCE || excess > 0;
            excess = excess.saturating_sub(1);
            let ended = socket.is_some() || hopeless;
            if ended {
                record(tracer, trip, socket);
            }
            !ended
        });
    }
}

/// A step of a trip: its name, and from and until when, in microseconds since the receipt.
type Step = (&'static str, u64, u64);

fn steps(trip: &Trip, socket: Option<Duration>) -> Vec<Step> {
    let timings = &trip.timings;
    let (verified, taken) = (timings.verified_us, timings.taken_us);
    let committed = timings.committed_us.unwrap_or(timings.folded_us);
    let mut steps = vec![
        ("verify", 0, verified),
        ("queue", verified, taken),
        ("fold", taken, timings.folded_us),
        ("commit", timings.folded_us, committed),
    ];
    if let Some(after) = socket {
        let after = u64::try_from(after.as_micros()).unwrap_or(0);
        steps.push(("socket", committed, committed.saturating_add(after)));
    }
    steps
}

/// Writes down one trip: a span of its own, and one for each step below it.
fn record(tracer: &SdkTracer, trip: &Trip, socket: Option<Duration>) {
    let received = Duration::from_millis(u64::try_from(trip.received_ms).unwrap_or(0));
    let at = |us: u64| UNIX_EPOCH + received + Duration::from_micros(us);
    let steps = steps(trip, socket);
    let end = steps.last().map_or(0, |(_, _, end)| *end);
    let whole = SpanBuilder::from_name("delivery")
        .with_kind(SpanKind::Server)
        .with_attributes(attributes(trip))
        .with_start_time(at(0));
    let whole = Context::new().with_span(tracer.build_with_context(whole, &Context::new()));
    for (name, from, until) in steps {
        let span = SpanBuilder::from_name(name).with_start_time(at(from));
        let mut span = tracer.build_with_context(span, &whole);
        span.end_with_timestamp(at(until));
    }
    let end: SystemTime = at(end);
    whole.span().end_with_timestamp(end);
}

/// Ids, names and numbers: nothing that anybody typed.
fn attributes(trip: &Trip) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("bookbell.delivery.id", trip.id.to_string()),
        KeyValue::new("bookbell.delivery.verdict", trip.outcome.name()),
        KeyValue::new(
            "bookbell.batch.deliveries",
            i64::try_from(trip.timings.batch_size).unwrap_or(i64::MAX),
        ),
    ];
    if let Some(reason) = trip.reason {
        attributes.push(KeyValue::new("bookbell.delivery.reason", reason.name()));
    }
    if let Some(event) = &trip.event {
        attributes.push(KeyValue::new("bookbell.delivery.event", event.clone()));
    }
    if let Some(seq) = trip.first {
        attributes.push(KeyValue::new("bookbell.event.seq", seq));
    }
    attributes
}
