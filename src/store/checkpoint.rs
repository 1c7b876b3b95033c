//! Copies SQLite's write-ahead log into the file, beside the writes.
//!
//! SQLite would do it inline, in whichever commit finds the log long, and that commit and those
//! behind it wait. Here the pages are copied while others write, and writers wait only for what
//! was written meanwhile.

use super::Store;
use super::dialect::Pools;
use super::error::Result;

/// How far the write-ahead log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalExtent {
    /// Pages in the log.
    pub pages: i64,
    /// Those of them that are in the file too.
    pub copied: i64,
}

impl Store {
    /// How long the write-ahead log is; `None` on Postgres, which keeps its own.
    ///
    /// # Errors
    /// [`super::Error::Database`].
    pub async fn wal(&self) -> Result<Option<WalExtent>> {
        self.wal_checkpoint("PRAGMA wal_checkpoint(NOOP)").await
    }

    /// Copies the whole log into the file, so that the next write begins it anew.
    ///
    /// # Errors
    /// [`super::Error::Database`].
    pub async fn checkpoint(&self) -> Result<()> {
        // What is there now, while others go on writing; then, with the turn, the little that
        // they wrote meanwhile. It also waits for readers of the log, so that it can be reset.
        self.wal_checkpoint("PRAGMA wal_checkpoint(PASSIVE)")
            .await?;
        let _turn = self.turn().await;
        self.wal_checkpoint("PRAGMA wal_checkpoint(RESTART)")
            .await?;
        Ok(())
    }

    async fn wal_checkpoint(&self, sql: &'static str) -> Result<Option<WalExtent>> {
        let Pools::Sqlite { checkpoint, .. } = &self.pools else {
            return Ok(None);
        };
        let mut connection = checkpoint.acquire().await?;
        let (_busy, pages, copied): (i64, i64, i64) =
            sqlx::query_as(sql).fetch_one(&mut *connection).await?;
        Ok(Some(WalExtent { pages, copied }))
    }
}
