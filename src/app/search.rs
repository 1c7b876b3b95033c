//! Keeping the search index behind the event log.

use super::{App, Result};
use crate::store;

/// How many events, or prospects while the index is first filled, one step takes at most: few
/// enough that deliveries wait for some milliseconds only.
const STEP: i64 = 500;

impl App {
    /// Makes the search index ready to be filled.
    ///
    /// # Errors
    /// When the database does not allow it. Searches then compare each prospect.
    pub async fn prepare_search(&self) -> Result<()> {
        let mut tx = self.store.begin().await?;
        store::search::prepare(&mut tx.db()).await?;
        self.commit(tx, Vec::new()).await
    }

    /// Takes the search index on by a step; answers whether there may be more to do. On `SQLite`
    /// its statements block the thread.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn index_search(&self) -> Result<bool> {
        let mut reader = self.store.read().await?;
        // Beside whoever writes, who waits for the rest only.
        let work = store::search::look(&mut reader.db(), STEP).await?;
        drop(reader);
        let Some(work) = work else {
            return Ok(false);
        };
        let mut tx = self.store.begin_aside().await?;
        store::search::index(&mut tx.db(), &work).await?;
        self.commit(tx, Vec::new()).await?;
        Ok(true)
    }

    /// Puts a piece of the search index in order; answers whether there was any to. On `SQLite` its
    /// statements block the thread; Postgres does that by itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn merge_search(&self) -> Result<bool> {
        if !self.store.blocks() {
            return Ok(false);
        }
        let mut tx = self.store.begin_aside().await?;
        let merged = store::search::merge(&mut tx.db()).await?;
        self.commit(tx, Vec::new()).await?;
        Ok(merged)
    }
}
