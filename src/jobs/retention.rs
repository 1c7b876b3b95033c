//! Forgets what is kept long enough: events and raw deliveries past their retention, and sessions
//! that are over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Result};
use crate::domain::ids::Id;

const PERIOD: Duration = Duration::from_mins(10);

/// After each step whoever writes has the database for themselves, so many times as long as it took,
/// and at least so long.
const REST: u32 = 4;
const BREATH: Duration = Duration::from_millis(20);

/// How often all old deliveries are looked at, and not only those that grew old since: one that
/// was held may have been processed.
const PASSES: u32 = 6 * 24;

/// Forgets until the program stops.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let emptied = Mutex::new((0, None));
    let pass = || async {
        let (passes, emptied) = &mut *emptied.lock().await;
        if *passes % PASSES == 0 {
            *emptied = None;
        }
        *passes += 1;
        once(&app, emptied).await
    };
    // A pass over a large archive takes minutes, and may end in the middle.
    let passes = super::every(PERIOD, "retention", stop.clone(), pass);
    stop.run_until_cancelled(passes).await;
}

/// Forgets whatever is due, a stretch at a time, so that writers get their turn in between.
/// Deliveries up to `emptied` are known to be empty.
///
/// # Errors
/// When the database fails.
pub async fn once(app: &App, emptied: &mut Option<Id>) -> Result<()> {
    let mut begun = Instant::now();
    while app.forget_events().await? > 0 {
        rest(&mut begun).await;
    }
    while let Some(last) = app.forget_bodies(emptied.as_ref()).await? {
        *emptied = Some(last);
        rest(&mut begun).await;
    }
    app.forget_sessions().await?;
    Ok(())
}

async fn rest(begun: &mut Instant) {
    sleep((begun.elapsed() * REST).max(BREATH)).await;
    *begun = Instant::now();
}
