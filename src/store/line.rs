//! Folding batches beside each other, on Postgres.
//!
//! While one batch is being written, the next is read and folded, and written on a connection of its
//! own beside it; only its commit waits for the other's. Each is one statement to read and one to
//! write, without a transaction around both. Instead of keeping others from it meanwhile, the
//! statement that writes finds out whether somebody came between: another node, or a person who
//! changed something. All who change state take a turn at the counter of the log; a batch names the
//! turn in which it is to be committed, and comes to nothing in any other.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::{PgConnection, PgPool};

use super::columns::{self, Append};
use super::dialect;
use super::error::Result;
use super::events::{self, Expected};
use super::held;
use super::inserts::Unwritten;
use super::sql::Db;
use crate::domain::event::{Event, NewEvent};
use crate::domain::ids::{Id, Ids};

/// A connection of the writer's. Dropping it closes it; so does whoever cannot tell what state it
/// is in.
#[derive(Debug)]
pub struct Line {
    connection: PgConnection,
    /// What it holds for its next batch, so that one behind that can wait for it from the moment
    /// on that it is sent.
    lock: i64,
    pool: PgPool,
    others: Arc<AtomicBool>,
}

impl Line {
    pub(super) async fn open(pool: &PgPool, others: Arc<AtomicBool>) -> Result<Self> {
        let mut connection = held::connect(pool).await?;
        // As good as any other that nobody else has.
        let lock = RandomState::new().hash_one(()).cast_signed() >> 1;
        sqlx::query(dialect::LOCK_POSTGRES)
            .bind(lock)
            .execute(&mut connection)
            .await?;
        Ok(Self {
            connection,
            lock,
            pool: pool.clone(),
            others,
        })
    }

    /// The connection, to read on.
    ///
    /// # Errors
    /// [`super::Error::Database`] when the store is closed.
    pub fn db(&mut self) -> Result<Db<'_>> {
        if self.pool.is_closed() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        Ok(Db::Postgres(&mut self.connection))
    }

    /// The lock of its next batch, by which one behind it waits for it.
    #[must_use]
    pub const fn lock(&self) -> i64 {
        self.lock
    }

    /// Inserts rows, appends events to the log and commits, all or nothing. Answers the events
    /// with their positions.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when somebody else changed something since it was read, or the
    /// batch before it was not committed: read again. After any other error the line must go.
    pub async fn write(
        &mut self,
        unwritten: Unwritten,
        events: Vec<NewEvent>,
        expected: Expected,
        (now_ms, ids): (i64, &dyn Ids),
    ) -> Result<Vec<Event>> {
        let ids: Vec<Id> = events.iter().map(|_| ids.new_id(now_ms)).collect();
        let append = Append {
            at_ms: now_ms,
            rows: events::rows_of(&events, &ids).collect(),
        };
        let hint = self.others.load(Ordering::Relaxed);
        let lock = self.lock;
        self.lock += 1;
        let c = &mut self.connection;
        columns::write_at(c, unwritten, append, expected, (lock, hint)).await?;
        Ok(events::numbered(
            events,
            ids,
            expected.position.head,
            now_ms,
        ))
    }
}
