//! Gives back the memory that a burst has left behind.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Result};
use crate::memory;

const PERIOD: Duration = Duration::from_secs(10);

/// Gives memory back until the program stops.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    super::every(PERIOD, "rest", stop, || once(&app)).await;
}

/// Lets go of what is kept to be quick, where nothing happens, and gives the system back what was
/// freed, whatever happens.
async fn once(app: &App) -> Result<()> {
    let rested = app.rest().await;
    // Behind a large burst that takes some milliseconds.
    let _ = spawn_blocking(memory::give_back).await;
    rested
}
