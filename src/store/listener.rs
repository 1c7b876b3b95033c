//! Hearing from other nodes that the log has grown, by Postgres' `LISTEN` and `NOTIFY`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgListener, PgPool};

use super::dialect;
use super::error::Result;
use super::sql::answered;

/// Hears from other nodes.
#[derive(Debug)]
pub struct Listener {
    hints: PgListener,
    node: Option<String>,
    others: Arc<AtomicBool>,
}

impl Listener {
    /// Listens to those on the same database; `others` says from then on whether there may be any.
    pub(super) async fn new(pool: &PgPool, others: Arc<AtomicBool>) -> Result<Self> {
        let (hints, node) = answered(hear(pool)).await?;
        Ok(Self {
            hints,
            node,
            others,
        })
    }

    /// Looks whether other nodes listen. While there are none, deliveries are committed without a
    /// hint to them, which costs one by itself a tenth more: each hint wakes this node's own
    /// connection too. A node that comes greets the others, so they need not look to find it.
    ///
    /// # Errors
    /// [`super::Error::Database`] when the connection is lost.
    pub async fn look_around(&mut self) -> Result<bool> {
        let others = sqlx::query_scalar(dialect::OTHERS_POSTGRES);
        let others = answered(others.fetch_one(&mut self.hints)).await?;
        self.others.store(others, Ordering::Relaxed);
        Ok(others)
    }

    /// Waits for the next hint of another node; an error means that the connection was lost, and
    /// hints with it. What this one commits it knows without, and would read for nothing.
    ///
    /// # Errors
    /// [`super::Error::Database`] when the connection is lost.
    pub async fn hint(&mut self) -> Result<()> {
        loop {
            let hint = self.hints.try_recv().await?;
            let hint = hint.ok_or(sqlx::Error::WorkerCrashed)?;
            if self.node.as_deref() != Some(hint.payload()) {
                self.others.store(true, Ordering::Relaxed);
                return Ok(());
            }
        }
    }
}

/// Who does not hear cannot know who there is.
impl Drop for Listener {
    fn drop(&mut self) {
        self.others.store(true, Ordering::Relaxed);
    }
}

/// Listens, and answers the node's own name. The connection is not of the pool: a listener that is
/// dropped talks to the database once more, without a limit, and would keep the place of another.
async fn hear(pool: &PgPool) -> sqlx::Result<(PgListener, Option<String>)> {
    let options = (*pool.connect_options()).clone();
    let own = PoolOptions::new().max_connections(1);
    let mut listener = PgListener::connect_with(&own.connect_lazy_with(options)).await?;
    // Else it connects anew before it says that the connection was lost, and whoever stops waiting
    // meanwhile never learns it: the new one has not greeted, and no other node tells it anything.
    listener.eager_reconnect(false);
    let node = sqlx::query_scalar(dialect::WHICH_NODE);
    let node = node.fetch_one(&mut listener).await?;
    listener.listen(dialect::EVENTS_CHANNEL).await?;
    let greet = sqlx::query(dialect::GREET_POSTGRES);
    greet.execute(&mut listener).await?;
    Ok((listener, node))
}
