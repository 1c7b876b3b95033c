//! A scrape: what was measured, and what is read at that moment.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Gauge, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use tokio::sync::Mutex;

use super::attendance::TRANSPORTS;
use super::metrics::float;
use super::readiness::Part;
use super::{App, Result};
use crate::store;

/// How old what was read from the database may be, in milliseconds.
const FRESH_MS: i64 = 5000;

/// How long a scrape waits for the database; a scraper waits ten seconds by default.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far held deliveries are counted: more of them make no difference to whoever is told.
const COUNTED: i64 = 10_000;

/// What was last read from the database.
#[derive(Debug, Default)]
pub(super) struct Reading(Mutex<Option<Read>>);

#[derive(Debug, Clone, Copy)]
struct Read {
    at_ms: i64,
    /// `None` when the database could not be asked.
    quarantined: Option<i64>,
}

/// Values that are read when somebody asks.
struct Page(Registry);

impl Page {
    fn add(&self, collector: impl Collector + 'static) {
        let added = self.0.register(Box::new(collector));
        added.expect("every name is used once");
    }

    fn gauge(&self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::new(name, help).expect("the name is one");
        gauge.set(value);
        self.add(gauge);
    }

    fn counter<'a>(
        &self,
        (name, help): (&str, &str),
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        let counters = IntCounterVec::new(Opts::new(name, help), &[label]);
        let counters = counters.expect("the names are names");
        for (value, count) in values {
            counters.with_label_values(&[value]).inc_by(count);
        }
        self.add(counters);
    }

    fn info(&self, name: &str, help: &str, labels: [(&str, &str); 2]) {
        let gauges = IntGaugeVec::new(Opts::new(name, help), &labels.map(|(label, _)| label));
        let gauges = gauges.expect("the names are names");
        gauges.with_label_values(&labels.map(|(_, v)| v)).set(1);
        self.add(gauges);
    }
}

impl App {
    /// Everything measured, in Prometheus' text format. It answers also while the database does
    /// not; what had to be read from it is then left out.
    ///
    /// # Errors
    /// When a value cannot be written, which would be a fault of ours.
    pub async fn metrics_text(&self) -> Result<String> {
        let (quarantined, parts) = tokio::join!(self.quarantined(), self.readiness());
        let page = Page(Registry::new());
        self.add_state(&page);
        self.add_sockets(&page);
        let up = u8::from(quarantined.is_some());
        let help = "Whether the database answered the last time it was asked (at most 5 s ago).";
        page.gauge("bookbell_database_up", help, up.into());
        if let Some(count) = quarantined {
            let help = "Deliveries held until somebody looks at them; counted up to 10000.";
            page.gauge("bookbell_quarantined_deliveries", help, position(count));
        }
        add_readiness(&page, &parts);
        add_process(&page);
        let mut families = self.metrics.registry().gather();
        families.extend(page.0.gather());
        let written = TextEncoder::new().encode_to_string(&families);
        written.map_err(|error| super::Error::Internal(Box::new(error)))
    }

    fn add_state(&self, page: &Page) {
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("database", self.store.engine()),
        ];
        page.info("bookbell_build_info", "Always 1: what runs.", labels);
        let help = "Start time of the process, in seconds since the Unix epoch.";
        let started = position(self.started_ms) / 1000.0;
        page.gauge("process_start_time_seconds", help, started);
        let help = "Deliveries that wait for the writer; at most 4096.";
        page.gauge(
            "bookbell_queue_deliveries",
            help,
            float(self.queue.waiting()),
        );
        let errors = (
            "bookbell_database_errors_total",
            "Failures of the database, by kind.",
        );
        page.counter(errors, "kind", store::failures::counted());
    }

    fn add_sockets(&self, page: &Page) {
        let head = self.log.head();
        let help = "The last position of the event log that this node knows.";
        page.gauge("bookbell_log_head", help, position(head));
        let roll = self.metrics.attendance.roll();
        let slowest = roll.slowest.unwrap_or(head);
        let help = "The position that the slowest socket has reached; the head without sockets.";
        page.gauge("bookbell_socket_slowest", help, position(slowest));
        let help = "How many positions the slowest socket is behind the head of the log.";
        page.gauge("bookbell_socket_lag_events", help, position(head - slowest));
        let sockets = "Sockets that events are delivered to, by transport.";
        let sockets = IntGaugeVec::new(Opts::new("bookbell_sockets", sockets), &["transport"]);
        let sockets = sockets.expect("the names are names");
        for (transport, count) in TRANSPORTS.iter().zip(roll.sockets) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            sockets.with_label_values(&[*transport]).set(count);
        }
        page.add(sockets);
    }

    /// How many deliveries are held, as of some seconds ago at most; `None` when the database
    /// does not say. Of several scrapes at once one asks.
    async fn quarantined(&self) -> Option<i64> {
        let mut known = self.reading.0.lock().await;
        let now_ms = self.now_ms();
        // What was read later than now, by a clock that has been set back since, is as good as old.
        let fresh = |read: &Read| (0..FRESH_MS).contains(&(now_ms - read.at_ms));
        if let Some(read) = known.filter(fresh) {
            return read.quarantined;
        }
        let asked = tokio::time::timeout(PATIENCE, self.count_quarantined()).await;
        let quarantined = asked.ok().and_then(Result::ok);
        *known = Some(Read {
            at_ms: now_ms,
            quarantined,
        });
        quarantined
    }

    async fn count_quarantined(&self) -> Result<i64> {
        let mut reader = self.store.read().await?;
        Ok(store::deliveries::quarantined(&mut reader.db(), COUNTED).await?)
    }
}

/// What `/readyz` would answer.
fn add_readiness(page: &Page, parts: &[Part]) {
    let help = "Whether each part works that all depends on: what /readyz answers.";
    let ready = IntGaugeVec::new(Opts::new("bookbell_ready", help), &["part"]);
    let ready = ready.expect("the names are names");
    for part in parts {
        let works = i64::from(part.fault.is_none());
        ready.with_label_values(&[part.name]).set(works);
    }
    page.add(ready);
}

/// What operators expect of any process, as far as the system tells.
fn add_process(page: &Page) {
    let memory = "Resident memory, in bytes.";
    if let Some(pages) = number_in("/proc/self/statm", 1) {
        let bytes = pages.saturating_mul(rustix::param::page_size());
        page.gauge("process_resident_memory_bytes", memory, float(bytes));
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // One of them is this folder.
        let open = files.count().saturating_sub(1);
        page.gauge("process_open_fds", "Open file descriptors.", float(open));
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) {
        let help = "How many file descriptors may be open.";
        page.gauge("process_max_fds", help, float(limit));
    }
    if let Some(ticks) = cpu_ticks() {
        let per_second = rustix::param::clock_ticks_per_second();
        let per_second = usize::try_from(per_second).unwrap_or(100);
        let seconds = float(ticks) / float(per_second.max(1));
        let help = "CPU time used, user and system, in seconds.";
        let cpu = prometheus::Counter::new("process_cpu_seconds_total", help);
        let cpu = cpu.expect("the name is one");
        cpu.inc_by(seconds);
        page.add(cpu);
    }
}

fn position(value: i64) -> f64 {
    float(usize::try_from(value).unwrap_or(0))
}

fn number_in(path: &str, field: usize) -> Option<usize> {
    let text = std::fs::read_to_string(path).ok()?;
    text.split_whitespace().nth(field)?.parse().ok()
}

/// User and system time (fields 14 and 15 of `proc_pid_stat(5)`; the second holds the name in
/// parentheses, which may have spaces in it).
fn cpu_ticks() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind_name) = text.rsplit_once(')')?;
    let times = behind_name.split_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<usize>().ok()).sum()
}
