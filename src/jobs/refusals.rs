//! Writes refused requests to the database, many at once.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::error::chain;

const PERIOD: Duration = Duration::from_secs(1);

/// Writes refused requests until the program stops, and once more then.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    super::every(PERIOD, "refusals", stop, || app.flush_refusals()).await;
    if let Err(error) = app.flush_refusals().await {
        tracing::warn!(
            error = chain(&error),
            "the last refused requests were not written"
        );
    }
}
