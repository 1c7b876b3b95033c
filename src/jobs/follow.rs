//! Follows the event log: brings what other nodes commit into this node's memory.
//!
//! Hints say when to look, a slow poll looks when none came, and what is read is always the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::error::chain;
use crate::store::{self, Listener};

/// How long to wait for a hint before looking anyway.
const POLL: Duration = Duration::from_secs(1);

/// Follows the log until the program stops.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    stop.run_until_cancelled(follow(&app)).await;
}

async fn follow(app: &App) {
    let mut listener = None;
    loop {
        if let Err(error) = app.catch_up().await {
            tracing::warn!(error = chain(&error), "the event log could not be followed");
        }
        if listener.is_none() {
            listener = connect(app).await;
        }
        tokio::select! {
            () = app.log.fell_behind() => {}
            () = sleep(POLL) => if look_around(&mut listener).await.is_err() {
                listener = None;
            },
            heard = hint(&mut listener) => if heard.is_err() {
                tracing::warn!("the connection that hears from other nodes was lost; polling");
                listener = None;
            }
        }
    }
}

async fn connect(app: &App) -> Option<Listener> {
    match app.store.listen().await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(
                error = chain(&error),
                "cannot listen to other nodes; polling"
            );
            None
        }
    }
}

async fn look_around(listener: &mut Option<Listener>) -> store::Result<()> {
    match listener {
        Some(listener) => listener.look_around().await.map(drop),
        None => Ok(()),
    }
}

async fn hint(listener: &mut Option<Listener>) -> store::Result<()> {
    match listener {
        Some(listener) => listener.hint().await,
        None => std::future::pending().await,
    }
}
