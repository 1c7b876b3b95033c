//! What a program did to its `SQLite` files, and what a loss of power would have left of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::database::Database;
use super::preload::library;
use super::soak::Chance;

/// The database and its write-ahead log, as `disk.c` numbers them.
const FILES: [&str; 2] = ["bookbell.db", "bookbell.db-wal"];

/// The number of the database among them.
const DATABASE: usize = 0;

/// The number of the write-ahead log.
const LOG: usize = 1;

/// What a disk takes in whole or not at all, in bytes.
const SECTOR: usize = 512;

/// Where `disk.c` records.
#[derive(Debug)]
pub struct Recorder {
    library: String,
    record: PathBuf,
}

impl Recorder {
    /// Records in a folder.
    pub fn new(folder: &Path) -> Self {
        Self {
            library: library(folder, "disk"),
            record: folder.join("record"),
        }
    }

    /// With what the program is to be started.
    pub fn environment(&self) -> [(&str, &str); 2] {
        [
            ("LD_PRELOAD", &self.library),
            ("DISK_RECORD", self.record.to_str().unwrap()),
        ]
    }

    /// What was done so far.
    pub fn read(&self) -> Record {
        let bytes = std::fs::read(&self.record).unwrap();
        let mut steps = Vec::new();
        let mut ends = Vec::new();
        let mut rest = &bytes[..];
        while let Some((step, behind)) = Step::read(rest) {
            steps.push(step);
            rest = behind;
            ends.push(bytes.len() - rest.len());
        }
        Record { steps, bytes, ends }
    }

    /// Goes on from so many steps of what another program did before.
    pub fn after(&self, record: &Record, steps: usize) {
        let end = record.ends[steps - 1];
        std::fs::write(&self.record, &record.bytes[..end]).unwrap();
    }
}

/// Something that was done to one of the files.
#[derive(Debug)]
struct Step {
    file: usize,
    thread: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Written { at: usize, data: Vec<u8> },
    Truncated(usize),
    SyncBegins,
    Synced,
}

impl Step {
    /// The first one of some bytes, and what is behind it; `None` at their end, or where the
    /// program is just writing one.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, behind) = bytes.split_at_checked(32)?;
        let short = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let long = |at: usize| {
            let long = u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
            usize::try_from(long).unwrap()
        };
        let (data, rest) = behind.split_at_checked(long(24))?;
        let what = match short(0) {
            0 => What::Written {
                at: long(16),
                data: data.to_vec(),
            },
            1 => What::Truncated(long(16)),
            2 => What::SyncBegins,
            3 => What::Synced,
            other => panic!("disk.c records {other}"),
        };
        let file = usize::try_from(short(4)).unwrap();
        let thread = short(8);
        Some((Self { file, thread, what }, rest))
    }
}

/// How much of what was not synced a loss of power takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All of it.
    Everything,
    /// What chance says: some writes, and some sectors of others.
    Some,
    /// None of it: the system had written it all by itself.
    Nothing,
}

/// What a program did to its files, in order.
#[derive(Debug)]
pub struct Record {
    steps: Vec<Step>,
    /// What it was read from.
    bytes: Vec<u8>,
    /// Where each step ends there.
    ends: Vec<usize>,
}

impl Record {
    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// After how many steps the log was written and was just to be synced.
    pub fn syncs(&self) -> Vec<usize> {
        let syncs = |step: &Step| step.file == LOG && matches!(step.what, What::SyncBegins);
        (0..self.len()).filter(|n| syncs(&self.steps[*n])).collect()
    }

    /// After how many steps, at least so many, the log was written to next.
    pub fn written_after(&self, steps: usize) -> usize {
        let writes = |step: &Step| step.file == LOG && matches!(step.what, What::Written { .. });
        let more = self.steps[steps..].iter().take_while(|step| !writes(step));
        steps + more.count()
    }

    /// Where the log was begun anew.
    pub fn beginnings(&self) -> Vec<usize> {
        let begins =
            |step: &Step| step.file == LOG && matches!(step.what, What::Written { at: 0, .. });
        (0..self.len())
            .filter(|n| begins(&self.steps[*n]))
            .collect()
    }

    /// Whether all that is in the log was copied, so that the next commit begins it anew.
    pub fn is_copied(&self) -> bool {
        let last = |file: usize, is: fn(&What) -> bool| {
            let mut steps = self.steps.iter();
            steps.rposition(|step| step.file == file && is(&step.what))
        };
        let synced = last(DATABASE, |what| matches!(what, What::Synced));
        synced > last(LOG, |what| matches!(what, What::Written { .. }))
    }

    /// The database as it is found when the power went after so many steps and is back.
    pub fn found(&self, steps: usize, taken: Taken, chance: &mut Chance) -> Database {
        let folder = TempDir::new().unwrap();
        for (file, name) in FILES.iter().enumerate() {
            let left = self.left(file, steps, taken, chance);
            std::fs::write(folder.path().join(name), left).unwrap();
        }
        Database {
            url: format!("sqlite://{}", folder.path().join(FILES[DATABASE]).display()),
            folder: Arc::new(folder),
        }
    }

    /// What is left of one of the files.
    fn left(&self, file: usize, steps: usize, taken: Taken, chance: &mut Chance) -> Vec<u8> {
        let mut disk = Vec::new();
        let mut waiting: Vec<&What> = Vec::new();
        // How much waited when a thread's sync began: that is what it covers.
        let mut covers: HashMap<u32, usize> = HashMap::new();
        for step in self.steps[..steps].iter().filter(|step| step.file == file) {
            match &step.what {
                What::SyncBegins => {
                    covers.insert(step.thread, waiting.len());
                }
                What::Synced => {
                    let covered = covers.remove(&step.thread).unwrap_or_default();
                    for what in waiting.drain(..covered) {
                        take_in(&mut disk, what, |_| true);
                    }
                    // Another sync may be under way, which covers what is left of its own.
                    for covers in covers.values_mut() {
                        *covers = covers.saturating_sub(covered);
                    }
                }
                what => waiting.push(what),
            }
        }
        for what in waiting {
            // A third of them whole, a third not at all, and of the others some sectors.
            let kept = chance.below(3);
            take_in(&mut disk, what, |_| match taken {
                Taken::Everything => false,
                Taken::Nothing => true,
                Taken::Some => kept == 0 || kept == 1 && chance.below(2) == 0,
            });
        }
        disk
    }
}

/// Does to what is on disk what was done to the file, as far as each sector of it is `kept`.
fn take_in(disk: &mut Vec<u8>, what: &What, mut kept: impl FnMut(usize) -> bool) {
    match what {
        What::Written { at, data } => {
            let mut from = 0;
            while from < data.len() {
                let sector = (at + from) / SECTOR;
                let to = data.len().min((sector + 1) * SECTOR - at);
                if kept(sector) {
                    let (begin, end) = (at + from, at + to);
                    disk.resize(disk.len().max(end), 0);
                    disk[begin..end].copy_from_slice(&data[from..to]);
                }
                from = to;
            }
        }
        What::Truncated(length) if kept(0) => disk.resize(*length, 0),
        _ => {}
    }
}
