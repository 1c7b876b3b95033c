//! What the program measures of itself: counters and histograms that are atomics, made once, so
//! that the hot path pays nanoseconds for them.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::Error;
use super::attendance::Attendance;
use super::ingest::Outcome;
use crate::domain::delivery::Reason;

/// Every verdict with its reason, so that each is there, at 0, from the first scrape on. The
/// usual ones stand first: they are looked for in this order.
const VERDICTS: [(&str, &str); 12] = [
    ("processed", ""),
    ("duplicate", ""),
    ("refused", "signature_mismatch"),
    ("refused", "signature_missing"),
    ("refused", "signature_malformed"),
    ("ignored", "unhandled_event"),
    ("ignored", "no_email"),
    ("quarantined", "stale_timestamp"),
    ("quarantined", "malformed_payload"),
    ("quarantined", "processing_failed"),
    ("failed", "busy"),
    ("failed", "internal"),
];

/// Buckets of the time from receipt to commit, in seconds.
const COMMIT_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Buckets of the time from commit to socket, in seconds.
const SOCKET_BUCKETS: [f64; 14] = [
    0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0,
];

/// Buckets of how many deliveries share a commit.
const BATCH_BUCKETS: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// Why a connection was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The head of a request did not come in time.
    Head,
    /// The body of a request did not come in time.
    Body,
    /// It was not used for long.
    Idle,
    /// There were too many.
    Full,
    /// It took in too little of what its socket was sent, did not say that it was there, or stayed
    /// when its socket was over.
    Stuck,
}

/// The names of [`Cut`], in its order.
const CUTS: [&str; 5] = ["head", "body", "idle", "full", "stuck"];

/// The connections there are, and those that were cut off.
#[derive(Debug, Clone)]
pub struct Connections {
    strangers: IntGauge,
    known: IntGauge,
    cut: [IntCounter; CUTS.len()],
}

impl Connections {
    fn new(registry: &Registry) -> Self {
        let help = "TCP connections, by whether one of their requests was authenticated.";
        let open = IntGaugeVec::new(Opts::new("bookbell_connections", help), &["peer"]);
        let open = register(registry, open.expect("the label is a name"));
        let help = "Connections cut off: a request's head or body was too slow, it was idle, or \
            there were too many, or the client of a socket took too little in.";
        let cut = Opts::new("bookbell_connections_cut_total", help);
        let cut = IntCounterVec::new(cut, &["reason"]).expect("the label is a name");
        let cut = register(registry, cut);
        Self {
            strangers: open.with_label_values(&["stranger"]),
            known: open.with_label_values(&["known"]),
            cut: CUTS.map(|reason| cut.with_label_values(&[reason])),
        }
    }

    /// Notes how many connections there are.
    pub fn set(&self, strangers: usize, known: usize) {
        self.strangers
            .set(i64::try_from(strangers).unwrap_or(i64::MAX));
        self.known.set(i64::try_from(known).unwrap_or(i64::MAX));
    }

    /// Counts a connection that was cut off.
    pub fn cut(&self, reason: Cut) {
        self.cut[reason as usize].inc();
    }
}

/// What is measured while it happens. Everything else is read when somebody asks (`scrape.rs`).
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    verdicts: [IntCounter; VERDICTS.len()],
    receipt_to_commit: Histogram,
    commit_to_socket: Histogram,
    batch: Histogram,
    overtaken: IntCounter,
    /// The sockets that events are delivered to.
    pub attendance: Attendance,
    /// The connections of this node.
    pub connections: Connections,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let verdicts = verdicts(&registry);
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = Histogram::with_opts(opts).expect("the buckets ascend");
            register(&registry, histogram)
        };
        let help = "Batches of deliveries folded again because somebody else changed something \
            before they were committed.";
        let overtaken = IntCounter::new("bookbell_batches_overtaken_total", help);
        let overtaken = register(&registry, overtaken.expect("the name is one"));
        Self {
            verdicts,
            overtaken,
            receipt_to_commit: histogram(
                "bookbell_receipt_to_commit_seconds",
                "Time from a delivery's last byte to its commit, just before it is answered.",
                &COMMIT_BUCKETS,
            ),
            commit_to_socket: histogram(
                "bookbell_commit_to_socket_seconds",
                "Time from an event's commit, or from when this node learned of another's, to each socket that was connected by then.",
                &SOCKET_BUCKETS,
            ),
            batch: histogram(
                "bookbell_batch_deliveries",
                "How many deliveries shared a commit.",
                &BATCH_BUCKETS,
            ),
            connections: Connections::new(&registry),
            registry,
            attendance: Attendance::default(),
        }
    }
}

fn verdicts(registry: &Registry) -> [IntCounter; VERDICTS.len()] {
    let opts = Opts::new(
        "bookbell_deliveries_total",
        "Requests to the webhook paths by what became of them, and why.",
    );
    let counters = IntCounterVec::new(opts, &["verdict", "reason"]).expect("the labels are names");
    let counters = register(registry, counters);
    VERDICTS.map(|(verdict, reason)| counters.with_label_values(&[verdict, reason]))
}

fn register<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, c: C) -> C {
    let registered = registry.register(Box::new(c.clone()));
    registered.expect("every name is registered once");
    c
}

impl Metrics {
    /// The registry of what is measured while it happens.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    fn count(&self, verdict: &str, reason: &str) {
        let known = VERDICTS.iter().position(|name| *name == (verdict, reason));
        if let Some(n) = known {
            self.verdicts[n].inc();
        }
    }

    /// Counts a delivery that was committed, or known already.
    pub(super) fn count_taken(&self, outcome: Outcome, reason: Option<Reason>) {
        self.count(outcome.name(), reason.map_or("", Reason::name));
    }

    /// Counts a delivery that was not taken.
    pub(super) fn count_lost(&self, error: &Error) {
        match error {
            Error::Unauthenticated(code) => self.count("refused", code),
            Error::Busy => self.count("failed", "busy"),
            _ => self.count("failed", "internal"),
        }
    }

    /// Notes how many deliveries shared a commit.
    pub(super) fn note_batch(&self, deliveries: usize) {
        self.batch.observe(float(deliveries));
    }

    /// Counts a batch that somebody else overtook.
    pub(super) fn count_overtaken(&self) {
        self.overtaken.inc();
    }

    /// Notes how long a delivery took from its receipt to its commit.
    pub(super) fn note_receipt(&self, took: Duration) {
        self.receipt_to_commit.observe(took.as_secs_f64());
    }

    /// Notes how long an event took from its commit to a socket.
    pub(super) fn note_sent(&self, took: Duration) {
        self.commit_to_socket.observe(took.as_secs_f64());
    }
}

/// A count as Prometheus has it.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus' numbers are doubles; counts stay exact up to 2^53"
)]
pub(super) fn float(count: usize) -> f64 {
    count as f64
}
