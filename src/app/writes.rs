//! Whether the database takes what is written: a disk can be full, or a file locked, while reading
//! goes on as ever.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

use super::{App, Result};
use crate::store;

/// What the last write came to.
#[derive(Debug, Default)]
pub struct Writes {
    failing: AtomicBool,
    trying: Mutex<()>,
}

impl Writes {
    /// Notes that something was committed.
    pub(super) fn succeeded(&self) {
        self.failing.store(false, Ordering::Relaxed);
    }

    /// Notes that nothing could be committed.
    pub(super) fn failed(&self) {
        self.failing.store(true, Ordering::Relaxed);
    }
}

impl App {
    /// Whether deliveries can be written, as far as is known. After one that could not, a small
    /// write finds out whether the trouble is over: whoever asks may be the one who decides that
    /// deliveries come here again.
    pub async fn can_write(&self) -> bool {
        if !self.writes.failing.load(Ordering::Relaxed) {
            return true;
        }
        // One at a time: who asks often must not burden a database in trouble.
        let Ok(_trying) = self.writes.trying.try_lock() else {
            return false;
        };
        let written = self.try_write().await;
        if written.is_ok() {
            self.writes.succeeded();
        }
        written.is_ok()
    }

    async fn try_write(&self) -> Result<()> {
        let mut tx = self.store.begin().await?;
        // Another value each time: SQLite does not write a row that stays as it is.
        let now_ms = self.now_ms().to_string();
        store::settings::put(&mut tx.db(), "written_ms", &now_ms).await?;
        self.commit(tx, Vec::new()).await
    }
}
