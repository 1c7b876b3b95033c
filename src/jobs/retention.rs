//! Forgets what is kept long enough: events past their retention, and sessions that are over.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::{App, Result};

const PERIOD: Duration = Duration::from_mins(10);

/// Forgets until the program stops.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    super::every(PERIOD, "retention", stop, || once(&app)).await;
}

/// Forgets whatever is due, a stretch at a time, so that writers get their turn in between.
///
/// # Errors
/// When the database fails.
pub async fn once(app: &App) -> Result<()> {
    while app.forget_events().await? > 0 {}
    app.forget_sessions().await?;
    Ok(())
}
