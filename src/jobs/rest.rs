//! Gives back the memory that a burst has left behind.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::memory;

/// How often. What was freed goes back to the system each time, and what is kept to be quick is let
/// go of where nothing was committed meanwhile.
const PERIOD: Duration = Duration::from_secs(10);

/// Gives memory back until the program stops.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut head = app.log.watch_head();
    let rest = || {
        let quiet = !head.has_changed().unwrap_or_default();
        head.mark_unchanged();
        let app = Arc::clone(&app);
        async move {
            if quiet {
                app.let_go().await?;
            }
            memory::give_back();
            crate::app::Result::Ok(())
        }
    };
    super::every(PERIOD, "rest", stop, rest).await;
}
