//! What the machine is, what its disk can do, and what a process has used of it.

use std::fmt::Display;
use std::fs::{File, read_to_string};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bookbell::domain::clock::{Clock as _, SystemClock};
use bookbell::domain::time::UtcMs;
use rustix::param::clock_ticks_per_second;
use serde::Serialize;

use crate::common::figures::{Percentiles, real};

const BLOCK_BYTES: usize = 4096;
const SYNC_FILE_BLOCKS: usize = 1024;
const SYNC_TIME: Duration = Duration::from_secs(1);

/// Facts without which no figure can be compared with another.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    /// When it was looked at, in UTC.
    date: String,
    cores: usize,
    processor: String,
    memory_mib: u64,
    kernel: String,
    load_before: String,
    file_system: String,
    fdatasync: Syncs,
}

/// What a bare 4 KiB write and fdatasync takes: the floor of a commit by one sender.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Syncs {
    per_second: f64,
    latency_ms: Percentiles,
}

impl Machine {
    /// Looks at the machine, and tries the disk of this folder for a second.
    pub(crate) fn observe(folder: &Path) -> anyhow::Result<Self> {
        let memory_kib = field_of("/proc/meminfo", "MemTotal").unwrap_or_default();
        let memory_kib = memory_kib.trim_end_matches(" kB").parse::<u64>();
        let load = read_to_string("/proc/loadavg").unwrap_or_default();
        let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            date: UtcMs(SystemClock.now_ms()).to_string(),
            cores: cores(),
            processor: field_of("/proc/cpuinfo", "model name").unwrap_or_default(),
            memory_mib: memory_kib.unwrap_or_default() / 1024,
            kernel: kernel.trim().to_owned(),
            load_before: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            file_system: file_system_of(folder)?,
            fdatasync: try_syncs(folder).context("cannot try the disk")?,
        })
    }
}

impl Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Percentiles { p50, p99, max, .. } = self.fdatasync.latency_ms;
        writeln!(f, "date        {}", self.date)?;
        writeln!(
            f,
            "machine     {} cores ({}), {} MiB, Linux {}, load before {}",
            self.cores, self.processor, self.memory_mib, self.kernel, self.load_before
        )?;
        write!(
            f,
            "disk        {}: 4 KiB write + fdatasync {:.0}/s, p50 {p50:.2} p99 {p99:.2} max {max:.2} ms",
            self.file_system, self.fdatasync.per_second
        )?;
        if self.file_system.starts_with("tmpfs") {
            write!(
                f,
                "\n            memory, not a disk: choose another folder by --dir"
            )?;
        }
        Ok(())
    }
}

/// The number of processor cores this program may use.
pub(crate) fn cores() -> usize {
    available_parallelism().map_or(1, Into::into)
}

/// The processor time that a process has used so far, all its threads together.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).context("the process has ended")?;
    let after_name = stat.rsplit_once(')').context("/proc/PID/stat: no name")?.1;
    let ticks = |index| -> Option<u64> { after_name.split_whitespace().nth(index)?.parse().ok() };
    // Fields 14 and 15 of proc_pid_stat(5), the first after the name being the third.
    let user = ticks(11).context("/proc/PID/stat: no utime")?;
    let system = ticks(12).context("/proc/PID/stat: no stime")?;
    in_time(user + system)
}

/// The processor time that everybody has used so far, what the host took away included.
pub(crate) fn busy_time() -> anyhow::Result<Duration> {
    let stat = read_to_string("/proc/stat")?;
    let total = stat.lines().next().context("/proc/stat is empty")?;
    let ticks = total.split_whitespace().skip(1).enumerate();
    // Fields 4 and 5 of proc_stat(5) are idle; those from 9 on are in the first two already.
    let busy = ticks
        .filter(|(field, _)| !matches!(field, 3 | 4 | 8..))
        .map(|(_, ticks)| ticks.parse::<u64>())
        .sum::<Result<u64, _>>()?;
    in_time(busy)
}

fn in_time(ticks: u64) -> anyhow::Result<Duration> {
    Ok(Duration::from_secs(ticks) / u32::try_from(clock_ticks_per_second())?)
}

/// A size from `/proc/PID/status` in bytes: `VmRSS` now, `VmHWM` at its highest.
pub(crate) fn memory(pid: u32, name: &str) -> anyhow::Result<u64> {
    let text = field_of(&format!("/proc/{pid}/status"), name)
        .with_context(|| format!("/proc/PID/status: no {name}"))?;
    let kib: u64 = text.trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// The name of a process, when it runs on this machine.
pub(crate) fn process_name(pid: u32) -> Option<String> {
    let name = read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}

fn field_of(path: &str, name: &str) -> Option<String> {
    let text = read_to_string(path).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| field.trim() == name)?;
    Some(value.trim().to_owned())
}

/// The type of the file system that a folder is on, and where that is mounted.
fn file_system_of(folder: &Path) -> anyhow::Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = read_to_string("/proc/mounts")?;
    let mut best = ("unknown", "");
    for mount in mounts.lines() {
        let mut fields = mount.split(' ').skip(1);
        let (at, kind) = (fields.next(), fields.next());
        if let (Some(at), Some(kind)) = (at, kind)
            && folder.starts_with(at)
            && at.len() >= best.1.len()
        {
            best = (kind, at);
        }
    }
    Ok(format!("{} at {}", best.0, best.1))
}

/// Writes over a file that is there already, as a database does with its log.
fn try_syncs(folder: &Path) -> anyhow::Result<Syncs> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path)?;
    let block = [0x5a; BLOCK_BYTES];
    for _ in 0..SYNC_FILE_BLOCKS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let mut latencies_ms = Vec::new();
    let started = Instant::now();
    while started.elapsed() < SYNC_TIME {
        let at = latencies_ms.len() % SYNC_FILE_BLOCKS * BLOCK_BYTES;
        let write_started = Instant::now();
        file.seek(SeekFrom::Start(at as u64))?;
        file.write_all(&block)?;
        file.sync_data()?;
        latencies_ms.push(write_started.elapsed().as_secs_f64() * 1e3);
    }
    let elapsed = started.elapsed();
    std::fs::remove_file(&path)?;
    Ok(Syncs {
        per_second: real(latencies_ms.len() as u64) / elapsed.as_secs_f64(),
        latency_ms: Percentiles::of(latencies_ms),
    })
}
