//! Follows the event log: brings what other nodes commit into this node's memory.
//!
//! Hints say when to look, a slow poll looks when none came, and what is read is always the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::error::chain;
use crate::store::{self, Listener};

/// How long to wait for a hint before looking anyway.
const POLL: Duration = Duration::from_secs(1);

/// How long the connection that hears from other nodes may take to answer: the log is not followed
/// meanwhile, and where another node has committed something, nothing is delivered.
const PATIENCE: Duration = Duration::from_secs(5);

/// Follows the log until the program stops.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    stop.run_until_cancelled(follow(&app)).await;
}

async fn follow(app: &App) {
    let mut listener = None;
    let mut connecting = Box::pin(connect(app));
    loop {
        if let Err(error) = app.catch_up().await {
            tracing::warn!(error = chain(&error), "the event log could not be followed");
        }
        tokio::select! {
            () = app.log.fell_behind() => {}
            // Beside the rest, however long it takes.
            connected = &mut connecting, if listener.is_none() => {
                listener = connected;
                connecting = Box::pin(connect(app));
            }
            () = sleep(POLL) => if !look_around(&mut listener).await {
                listener = None;
            },
            heard = hint(&mut listener) => if heard.is_err() {
                tracing::warn!("the connection that hears from other nodes was lost; polling");
                listener = None;
            }
        }
    }
}

/// Connects; after a failure it takes a moment to say so.
async fn connect(app: &App) -> Option<Listener> {
    match app.store.listen().await {
        Ok(Some(listener)) => Some(listener),
        Ok(None) => std::future::pending().await,
        Err(error) => {
            tracing::warn!(
                error = chain(&error),
                "cannot listen to other nodes; polling"
            );
            sleep(POLL).await;
            None
        }
    }
}

/// Answers whether the listener is of use.
async fn look_around(listener: &mut Option<Listener>) -> bool {
    match listener {
        Some(listener) => matches!(timeout(PATIENCE, listener.look_around()).await, Ok(Ok(_))),
        None => true,
    }
}

async fn hint(listener: &mut Option<Listener>) -> store::Result<()> {
    match listener {
        Some(listener) => listener.hint().await,
        None => std::future::pending().await,
    }
}
