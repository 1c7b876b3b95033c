//! All SQL: the only place that names sqlx. One file for each group of tables.

mod busy;
mod checkpoint;
mod columns;
pub mod connections;
mod counts;
pub mod deliveries;
pub mod dialect;
pub mod embedded;
pub mod error;
pub mod events;
pub mod failures;
pub mod fold;
pub mod held;
pub mod inserts;
mod json;
pub mod line;
mod listener;
mod listing;
pub mod merged;
mod migrations;
pub mod paging;
pub mod proposals;
pub mod prospects;
pub mod record;
pub mod refusals;
pub mod search;
pub mod sessions;
pub mod settings;
mod sorting;
pub mod sql;
pub mod users;
mod vfs;

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;
use sqlx::{Postgres, Sqlite, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use error::{Error, Result};
pub use listener::Listener;
pub use sql::Db;

use crate::domain::event::{Event, NewEvent};
use crate::domain::ids::Ids;
use dialect::Pools;
use inserts::Unwritten;
use line::Line;
use sql::answered;

/// An open database.
#[derive(Debug, Clone)]
pub struct Store {
    pools: Pools,
    turn: Arc<Mutex<()>>,
}

impl Store {
    /// Opens the database that `url` names (`sqlite://path` or `postgres://…`), creates it when
    /// it is not there, and migrates it.
    ///
    /// # Errors
    /// [`Error::Url`] for a URL that cannot be used, [`Error::Newer`] for a database of a newer
    /// version, which is left as it is, [`Error::Migration`] and [`Error::Database`] else.
    pub async fn open(url: &str) -> Result<Self> {
        Ok(Self {
            pools: dialect::open(url).await?,
            turn: Arc::default(),
        })
    }

    /// A connection for reading.
    ///
    /// # Errors
    /// [`Error::Database`] when none can be had within five seconds.
    pub async fn read(&self) -> Result<Reader> {
        Ok(match &self.pools {
            Pools::Sqlite { read, .. } => Reader::Sqlite(read.acquire().await?),
            Pools::Postgres { pool, .. } => Reader::Postgres(pool.acquire().await?),
        })
    }

    /// A transaction for writing without events. Dropping it rolls it back.
    ///
    /// # Errors
    /// [`Error::Database`] when none can be begun.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(match &self.pools {
            Pools::Sqlite { write, .. } => {
                let turn = self.turn().await;
                Tx::Sqlite(write.begin_with(dialect::BEGIN_SQLITE).await?, Some(turn))
            }
            Pools::Postgres { pool, .. } => Tx::Postgres(begin(pool, "BEGIN").await?, None),
        })
    }

    /// A transaction that changes prospects and proposals, or tells events. There is one at a time, on all nodes
    /// together: a chain of reschedules may join any two deliveries, and what people change must
    /// not be overtaken by what is being folded.
    ///
    /// # Errors
    /// [`Error::Database`] when none can be begun.
    pub async fn begin_fold(&self) -> Result<Tx> {
        // Waiting in the process keeps those who wait from holding the connections of others.
        let turn = Some(self.turn_to_fold().await);
        Ok(match &self.pools {
            Pools::Sqlite { write, .. } => {
                Tx::Sqlite(write.begin_with(dialect::BEGIN_SQLITE).await?, turn)
            }
            Pools::Postgres { pool, .. } => {
                Tx::Postgres(begin(pool, dialect::BEGIN_FOLD_POSTGRES).await?, turn)
            }
        })
    }

    /// As [`Store::begin_fold`], on the connection of the writer of deliveries: on SQLite its
    /// statements block the thread.
    ///
    /// # Errors
    /// [`Error::Database`] when none can be begun.
    pub async fn begin_batch(&self) -> Result<Tx> {
        let turn = self.turn_to_fold().await;
        Ok(match &self.pools {
            Pools::Sqlite { deliveries, .. } => embedded(deliveries, turn).await?,
            Pools::Postgres {
                pool, deliveries, ..
            } => {
                let slot = Arc::clone(deliveries).lock_owned().await;
                Tx::Held(held::Transaction::begin(slot, pool).await?, turn)
            }
        })
    }

    /// Whether what is run in [`Store::begin_batch`] and [`Line::write`] blocks the thread.
    #[must_use]
    pub const fn blocks(&self) -> bool {
        matches!(self.pools, Pools::Sqlite { .. })
    }

    /// A connection on which batches are folded beside each other.
    ///
    /// # Errors
    /// [`Error::Database`] when none can be had within five seconds.
    pub async fn line(&self) -> Result<Line> {
        match &self.pools {
            Pools::Sqlite { disk, .. } => Line::on_file(disk.path(), self.clone()),
            Pools::Postgres { pool, others, .. } => Line::on_server(pool, Arc::clone(others)).await,
        }
    }

    /// A transaction of a job that writes again and again beside the writer of deliveries. On
    /// `SQLite` it has the writer's connection, whose memory of the file would have to be read
    /// anew after each change by another one; its statements block the thread.
    ///
    /// # Errors
    /// [`Error::Database`] when none can be begun.
    pub async fn begin_aside(&self) -> Result<Tx> {
        match &self.pools {
            Pools::Sqlite { deliveries, .. } => embedded(deliveries, self.turn().await).await,
            Pools::Postgres { .. } => self.begin().await,
        }
    }

    /// Has the connections that are idle forget what they remember of a `SQLite` file.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Embedded`].
    pub async fn shrink(&self) -> Result<()> {
        if let Pools::Sqlite {
            read, deliveries, ..
        } = &self.pools
        {
            // The one that was idle for longest is the next each time.
            for _ in 0..read.num_idle() {
                if let Some(mut reader) = read.try_acquire() {
                    sqlx::query(dialect::SHRINK_SQLITE)
                        .execute(&mut *reader)
                        .await?;
                }
            }
            if let Ok(mut slot) = deliveries.try_lock()
                && let Some(connection) = slot.as_mut()
            {
                connection.shrink()?;
            }
        }
        Ok(())
    }

    /// The turn to write. SQLite lets one write at a time and whoever else tries looks again
    /// after a while, which is neither quick nor fair; here they queue.
    async fn turn(&self) -> Turn {
        Turn {
            _guard: Arc::clone(&self.turn).lock_owned().await,
            folds: false,
        }
    }

    /// The turn to change prospects and proposals, or what they depend on.
    async fn turn_to_fold(&self) -> Turn {
        Turn {
            folds: true,
            ..self.turn().await
        }
    }

    /// Which database it is, for messages.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        match self.pools {
            Pools::Sqlite { .. } => "SQLite",
            Pools::Postgres { .. } => "Postgres",
        }
    }

    /// Waits until another node says that the log has grown. On SQLite there is none to say so.
    /// The hint may be lost, merged or repeated: whoever waits reads the log anyway.
    ///
    /// # Errors
    /// [`Error::Database`] when no connection can be had.
    pub async fn listen(&self) -> Result<Option<Listener>> {
        let Pools::Postgres { pool, others, .. } = &self.pools else {
            return Ok(None);
        };
        Listener::new(pool, Arc::clone(others)).await.map(Some)
    }

    /// Closes every connection, waiting at most `limit`.
    pub async fn close(&self, limit: Duration) {
        let close = async {
            match &self.pools {
                Pools::Sqlite {
                    read,
                    write,
                    deliveries,
                    checkpoint,
                    disk: _,
                } => {
                    *deliveries.lock().await = None;
                    read.close().await;
                    checkpoint.close().await;
                    write.close().await;
                }
                Pools::Postgres {
                    pool, deliveries, ..
                } => {
                    pool.close().await;
                    *deliveries.lock().await = None;
                }
            }
        };
        if tokio::time::timeout(limit, close).await.is_err() {
            tracing::warn!("the database did not close in time");
        }
    }
}

async fn begin(pool: &PgPool, sql: &'static str) -> Result<Transaction<'static, Postgres>> {
    answered(pool.begin_with(sql)).await
}

/// A connection for reading.
#[derive(Debug)]
pub enum Reader {
    /// Embedded.
    Sqlite(PoolConnection<Sqlite>),
    /// A server.
    Postgres(PoolConnection<Postgres>),
}

impl Reader {
    /// The connection, to run statements on.
    pub fn db(&mut self) -> Db<'_> {
        match self {
            Self::Sqlite(c) => Db::Sqlite(c),
            Self::Postgres(c) => Db::Postgres(c),
        }
    }
}

/// The turn of the one transaction of this node that writes (SQLite) or folds (Postgres).
#[derive(Debug)]
pub struct Turn {
    _guard: OwnedMutexGuard<()>,
    /// Whether whoever has read prospects and proposals must see that it was taken.
    folds: bool,
}

/// A transaction on the connection of the writer of deliveries to SQLite.
async fn embedded(deliveries: &Arc<Mutex<embedded::Slot>>, turn: Turn) -> Result<Tx> {
    let connection = Arc::clone(deliveries).lock_owned().await;
    Ok(Tx::Embedded(
        embedded::Transaction::begin(connection)?,
        turn,
    ))
}

/// A transaction for writing, with its turn.
#[derive(Debug)]
pub enum Tx {
    /// Embedded.
    Sqlite(Transaction<'static, Sqlite>, Option<Turn>),
    /// Embedded, on this thread.
    Embedded(embedded::Transaction, Turn),
    /// A server.
    Postgres(Transaction<'static, Postgres>, Option<Turn>),
    /// A server, on the writer's connection.
    Held(held::Transaction, Turn),
}

impl Tx {
    /// The connection, to run statements on.
    pub fn db(&mut self) -> Db<'_> {
        match self {
            Self::Sqlite(tx, _) => Db::Sqlite(tx),
            Self::Embedded(tx, _) => Db::Embedded(tx.connection()),
            Self::Postgres(tx, _) => Db::Postgres(tx),
            Self::Held(tx, _) => Db::Postgres(tx.connection()),
        }
    }

    /// Writes the events to the log and commits: the only way that a durable event comes to be.
    /// Answers them with their positions.
    ///
    /// # Errors
    /// As [`Db::execute`]; nothing is committed then.
    pub async fn commit(
        self,
        events: Vec<NewEvent>,
        now_ms: i64,
        ids: &dyn Ids,
    ) -> Result<Vec<Event>> {
        self.commit_with(Unwritten::default(), events, now_ms, ids)
            .await
    }

    /// As [`Tx::commit`], with rows to insert just before: on Postgres in the same round trip.
    ///
    /// # Errors
    /// As [`Db::insert`]; nothing is committed then.
    pub async fn commit_with(
        mut self,
        Unwritten { rows, counts }: Unwritten,
        events: Vec<NewEvent>,
        now_ms: i64,
        ids: &dyn Ids,
    ) -> Result<Vec<Event>> {
        let inserts = rows.into_iter().chain(counts).collect();
        let committed = if events.is_empty() {
            self.db().insert(inserts).await?;
            self.take_turn().await?;
            Vec::new()
        } else {
            events::append(&mut self.db(), inserts, events, now_ms, ids).await?
        };
        match self {
            Self::Sqlite(tx, _turn) => tx.commit().await?,
            Self::Embedded(tx, _turn) => tx.commit()?,
            Self::Postgres(tx, _turn) => answered(tx.commit()).await?,
            Self::Held(tx, _turn) => tx.commit().await?,
        }
        Ok(committed)
    }

    /// Ends it without a change, as dropping it does, which costs the writer of deliveries its
    /// connection to Postgres.
    pub async fn roll_back(self) {
        if let Self::Held(tx, _turn) = self {
            tx.roll_back().await;
        }
    }

    /// Whether it has the turn to fold, without which it is not to tell events.
    #[must_use]
    pub fn folds(&self) -> bool {
        let turn = match self {
            Self::Sqlite(_, turn) | Self::Postgres(_, turn) => turn.as_ref(),
            Self::Embedded(_, turn) | Self::Held(_, turn) => Some(turn),
        };
        turn.is_some_and(|turn| turn.folds)
    }

    /// Has batches that were read before and are not yet written see that something was changed,
    /// where no event does: see [`line`].
    async fn take_turn(&mut self) -> Result<()> {
        if self.folds() {
            self.db().execute(dialect::TAKE_TURN, Vec::new()).await?;
        }
        Ok(())
    }
}
