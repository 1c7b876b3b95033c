//! Keeps SQLite's write-ahead log short: when it is long, and whenever writing pauses.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::error::chain;
use crate::store;

/// How often to look while deliveries are written.
const PACE: Duration = Duration::from_millis(200);

/// How often to look while nothing happens.
const LOOK: Duration = Duration::from_secs(5);

/// How long the log may get before it is copied while deliveries are still being written, in
/// pages of 4 KiB: 48 MB. A longer log is copied more cheaply, because pages that change again and
/// again are copied once; but commits wait for the disk while it writes what was copied, and this
/// is about the length at which both were best together.
const LONG: i64 = 12_000;

/// Copies the log until the program stops.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    stop.run_until_cancelled(keep_short(&app)).await;
}

async fn keep_short(app: &App) {
    let mut head = app.log.watch_head();
    // Not every write is an event: refusals are written, and what is forgotten.
    while timeout(LOOK, head.changed())
        .await
        .unwrap_or(Ok(()))
        .is_ok()
    {
        loop {
            sleep(PACE).await;
            let written = head.has_changed().unwrap_or_default();
            head.mark_unchanged();
            if let Err(error) = once(app, !written).await {
                tracing::warn!(error = chain(&error), "the write-ahead log was not copied");
            }
            if !written {
                break;
            }
        }
    }
}

/// Copies the log into the file when it is long, or whatever its length when nothing is being
/// written.
///
/// # Errors
/// When the database fails.
pub async fn once(app: &App, quiet: bool) -> store::Result<()> {
    match app.store.wal().await? {
        Some(wal) if wal.pages > LONG || quiet && wal.copied < wal.pages => {
            app.store.checkpoint().await
        }
        _ => Ok(()),
    }
}
