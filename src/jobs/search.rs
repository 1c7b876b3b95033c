//! Keeps the search index behind the event log, in small transactions of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::app::error::chain;
use crate::app::{App, Error, Result};

/// After each step deliveries have the database for themselves, so many times as long as it took,
/// but no longer than [`LONG`].
const REST: u32 = 12;

/// The shortest rest until events are indexed again, in which more come together, and the longest,
/// which is also that after a failure. Twice as short makes each step half as long, but as many more
/// deliveries wait for one.
const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(5);

/// How long to wait before trying again to make the index, which may take somebody's permission.
const AGAIN: Duration = Duration::from_mins(10);

/// Indexes until the program stops.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    stop.run_until_cancelled(prepare_and_follow(app)).await;
}

async fn prepare_and_follow(app: Arc<App>) {
    while let Err(error) = app.prepare_search().await {
        tracing::warn!(
            error = chain(&error),
            "the search index cannot be made (it takes the extensions pg_trgm and btree_gin): \
             searches compare each prospect, and it will be tried again"
        );
        sleep(AGAIN).await;
    }
    follow(app).await;
}

async fn follow(app: Arc<App>) {
    let mut head = app.log.watch_head();
    loop {
        // What is committed from here on wakes it again.
        head.borrow_and_update();
        match step(&app).await {
            Ok(true) => {}
            Ok(false) => {
                if head.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(
                    job = "search",
                    error = chain(&error),
                    "a job failed and will be tried again"
                );
                sleep(LONG).await;
            }
        }
    }
}

/// Takes the index on, and puts it in order; answers whether there may be more to do.
async fn step(app: &Arc<App>) -> Result<bool> {
    let (indexed, rest) = aside(app, async |app| app.index_search().await).await?;
    // What is to be merged may take longer than new events may wait: then it goes on later.
    let next = Instant::now() + (2 * rest).max(SHORT);
    sleep(rest).await;
    let mut merged = true;
    while merged && Instant::now() < next {
        let rest;
        (merged, rest) = aside(app, async |app| app.merge_search().await).await?;
        sleep(rest).await;
    }
    sleep_until(next).await;
    Ok(indexed || merged)
}

/// Runs a transaction on a thread that may be blocked; answers how long to rest, too.
async fn aside<F>(app: &Arc<App>, transaction: F) -> Result<(bool, Duration)>
where
    F: AsyncFnOnce(&App) -> Result<bool> + Send + 'static,
{
    let begun = Instant::now();
    let (app, runtime) = (Arc::clone(app), Handle::current());
    let running = spawn_blocking(move || runtime.block_on(transaction(&app)));
    let done = running.await.unwrap_or(Err(Error::Busy))?;
    Ok((done, rest_after(begun.elapsed())))
}

/// How long to rest after a step that took so long. Most of a long time was spent waiting for
/// somebody else's lock.
fn rest_after(took: Duration) -> Duration {
    (took * REST).min(LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_had_to_wait_is_not_rested_for_as_long() {
        assert_eq!(
            rest_after(Duration::from_millis(10)),
            Duration::from_millis(120)
        );
        assert_eq!(rest_after(Duration::from_secs(20)), LONG);
    }
}
