//! Background work, one file for each job.

pub mod checkpoint;
pub mod follow;
pub mod refusals;
pub mod rest;
pub mod retention;
pub mod search;
pub mod traces;

use crate::app::error::chain;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Runs `work` again and again until the program stops; failures are logged and tried again.
async fn every<F, E>(
    period: Duration,
    name: &'static str,
    stop: CancellationToken,
    mut work: impl FnMut() -> F,
) where
    F: Future<Output = Result<(), E>>,
    E: std::error::Error + 'static,
{
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = work().await {
            tracing::warn!(
                job = name,
                error = chain(&error),
                "a job failed and will be tried again"
            );
        }
    }
}
