//! Copies SQLite's write-ahead log into the file, beside the writes.
//!
//! SQLite would do it inline, in whichever commit finds the log long, and that commit and those
//! behind it wait. Here the pages are copied while others write, and writers wait only for what
//! was written meanwhile.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::dialect::Pools;
use super::error::Result;
use super::{Store, vfs};

/// How far the write-ahead log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalExtent {
    /// Pages in the log.
    pub pages: i64,
    /// Those of them that are in the file too.
    pub copied: i64,
}

/// Copies what no reader needs where it is, and waits for nobody.
const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// Copies all of it, and waits for readers so that it can be begun anew, and whoever wants to write
/// waits too: as long as [`PATIENCE`].
const RESTART: &str = "PRAGMA wal_checkpoint(RESTART)";

/// How often the log is copied beside the writes, at most, before they are held up for the rest.
const APPROACHES: usize = 8;

/// So many pages are copied while writers wait: in a millisecond or two.
const LITTLE: i64 = 400;

/// A log of so many pages (640 MB) is too long to go on without waiting for those who read it, and
/// again whenever it has grown by a tenth of that: a reader that stays for minutes, such as a copy
/// of the file, is not to stop everybody who writes for as long.
const TOO_LONG: i64 = 160_000;

/// How long it waits for them: longer than a request reads.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// So much of the file is on its way to the disk at once, in bytes. A commit waits for whatever
/// is on its way before it; with all of a copied log there, it did so for many milliseconds. Half
/// as much gained a single sender nothing more.
const SLICE: u64 = 512 << 10;

/// So much is, where the log grows by more than [`FAST`] pages while it is copied once: with less,
/// what is left would hardly become less each time, and everybody waits for that in the end.
const LARGE: u64 = 4 << 20;

/// Many senders come to that, and not a single one, whose commits would wait for [`LARGE`] slices.
const FAST: i64 = 8_000;

/// A large file goes in so many larger slices: most of it has not changed.
const SLICES: u64 = 1024;

/// The file itself, to have the disk take in what was copied. It is opened when it is first needed
/// and then never closed: closing any handle of a file drops the locks that the whole process has
/// on it, and with them SQLite's.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    file: OnceLock<ManuallyDrop<File>>,
    /// How long the log may get before readers are waited for, in pages.
    bound: AtomicI64,
}

impl Disk {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: OnceLock::new(),
            bound: AtomicI64::new(TOO_LONG),
        }
    }

    /// Whether to wait for readers now that the log has so many pages. To be asked with the turn.
    fn is_too_long(&self, pages: i64) -> bool {
        let bound = self.bound.load(Ordering::Relaxed);
        let too_long = pages > bound;
        let next = if too_long {
            pages + TOO_LONG / 10
        } else if pages <= TOO_LONG {
            TOO_LONG
        } else {
            bound
        };
        self.bound.store(next, Ordering::Relaxed);
        too_long
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    async fn sync(self: &Arc<Self>, slice: u64) -> Result<()> {
        let disk = Arc::clone(self);
        let synced = spawn_blocking(move || disk.sync_slices(slice)).await;
        let synced = synced.map_err(io::Error::other).flatten();
        synced.map_err(|error| sqlx::Error::Io(error).into())
    }

    fn sync_slices(&self, slice: u64) -> io::Result<()> {
        let file = self.opened()?;
        let length = file.metadata()?.len();
        let slice = slice.max(length / SLICES);
        for n in 0..length.div_ceil(slice) {
            vfs::write_out(file, n * slice, slice)?;
        }
        file.sync_data()
    }

    fn opened(&self) -> io::Result<&File> {
        if self.file.get().is_none() {
            // One that another thread opened meanwhile stays, and this one is not closed either.
            let _ = self.file.set(ManuallyDrop::new(File::open(&self.path)?));
        }
        let file = self.file.get().map(|file| &**file);
        file.ok_or_else(|| io::Error::other("it was set"))
    }
}

/// Has the disk take in what a process that was killed had written to the log of a file and not yet
/// synced. SQLite finds it good when it opens the file, and from then on it may be told of: a retry
/// of a delivery that is there is answered without a write, and so without a sync.
///
/// # Errors
/// [`super::Error::Database`].
pub(super) fn sync_log(path: &Path) -> Result<()> {
    let synced = path.canonicalize().and_then(|path| {
        // SQLite keeps it beside the file itself, not beside a link to it.
        let mut log = path.into_os_string();
        log.push("-wal");
        File::open(log)
    });
    let synced = match synced {
        Ok(log) => log.sync_data(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    synced.map_err(|error| sqlx::Error::Io(error).into())
}

impl Store {
    /// How long the write-ahead log is; `None` on Postgres, which keeps its own.
    ///
    /// # Errors
    /// [`super::Error::Database`].
    pub async fn wal(&self) -> Result<Option<WalExtent>> {
        self.wal_checkpoint("PRAGMA wal_checkpoint(NOOP)").await
    }

    /// Copies the whole log into the file, so that the next write begins it anew, if nobody reads
    /// it just then.
    ///
    /// # Errors
    /// [`super::Error::Database`].
    pub async fn checkpoint(&self) -> Result<()> {
        let Pools::Sqlite { disk, .. } = &self.pools else {
            return Ok(());
        };
        // What is there now, while others go on writing, then what they wrote meanwhile, which is
        // less each time; and with the turn the little that is left. While others write SQLite
        // leaves it to the last to have the disk take in all of it, so that is done here before.
        let mut before = -1;
        let mut slice = SLICE;
        for _ in 0..APPROACHES {
            let copied = self.wal_checkpoint(PASSIVE);
            let copied = copied.await?.map_or(0, |wal| wal.copied);
            let left = self.left(copied).await?;
            if left < 0 {
                // All of it was, and somebody has begun it anew.
                return Ok(());
            }
            // All of it; or no more than before, because somebody reads.
            if left == 0 || copied == before {
                break;
            }
            before = copied;
            disk.sync(slice).await?;
            let left = self.left(copied).await?;
            if left < LITTLE {
                break;
            }
            if left > FAST {
                slice = LARGE;
            }
        }
        let _turn = self.turn().await;
        let too_long = disk.is_too_long(self.left(0).await?);
        self.wal_checkpoint(if too_long { RESTART } else { PASSIVE })
            .await?;
        Ok(())
    }

    /// How many pages the log has beyond those that were copied.
    async fn left(&self, copied: i64) -> Result<i64> {
        Ok(self.wal().await?.map_or(0, |wal| wal.pages - copied))
    }

    async fn wal_checkpoint(&self, sql: &'static str) -> Result<Option<WalExtent>> {
        let Pools::Sqlite { checkpoint, .. } = &self.pools else {
            return Ok(None);
        };
        let mut connection = checkpoint.acquire().await?;
        let (_busy, pages, copied): (i64, i64, i64) =
            sqlx::query_as(sql).fetch_one(&mut *connection).await?;
        Ok(Some(WalExtent { pages, copied }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_stay_are_waited_for_only_as_the_log_grows() {
        let disk = Disk::new(PathBuf::new());
        let asked = [
            (TOO_LONG, false),
            (TOO_LONG + 1, true),
            (TOO_LONG + 2, false),
            (TOO_LONG * 11 / 10 + 1, false),
            (TOO_LONG * 11 / 10 + 2, true),
            (TOO_LONG * 11 / 10 + 3, false),
            // They went, and the log was begun anew.
            (100, false),
            (TOO_LONG + 1, true),
        ];
        for (n, (pages, expected)) in asked.into_iter().enumerate() {
            assert_eq!(disk.is_too_long(pages), expected, "{n}");
        }
    }
}
