//! Folding batches beside each other.
//!
//! While one batch is being written, the next is read and folded, on a connection of its own.
//! Nothing keeps others from changing something meanwhile: who writes finds out whether somebody came
//! between, another process or a person. All who change state take a turn at the counter of the log; a
//! batch names the turn in which it is to be committed, and comes to nothing in any other.
//!
//! On Postgres each batch is one statement to read and one to write, without a transaction around
//! both, and the next is written beside it too; only its commit waits for the other's. On SQLite it is
//! read there and written by the one connection that writes deliveries.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::{PgConnection, PgPool};

use super::Store;
use super::columns::{self, Append};
use super::dialect;
use super::embedded;
use super::error::{Error, Result};
use super::events::{self, Expected};
use super::held;
use super::inserts::Unwritten;
use super::sql::{Db, answered, args};
use crate::domain::event::{Event, NewEvent};
use crate::domain::ids::{Id, Ids};

/// A connection of the writer's. Dropping it closes it; so does whoever cannot tell what state it
/// is in.
#[derive(Debug)]
pub struct Line(Kind);

#[derive(Debug)]
enum Kind {
    File(OnFile),
    Server(OnServer),
}

/// A connection that reads a file, and what it is written with.
#[derive(Debug)]
struct OnFile {
    reader: embedded::Connection,
    store: Store,
}

/// A connection to a server.
#[derive(Debug)]
struct OnServer {
    connection: PgConnection,
    /// What it holds for its next batch, so that one behind that can wait for it from the moment
    /// on that it is sent.
    lock: i64,
    pool: PgPool,
    others: Arc<AtomicBool>,
}

impl Line {
    pub(super) fn on_file(path: &Path, store: Store) -> Result<Self> {
        let reader = embedded::Connection::open_to_read(path)?;
        Ok(Self(Kind::File(OnFile { reader, store })))
    }

    pub(super) async fn on_server(pool: &PgPool, others: Arc<AtomicBool>) -> Result<Self> {
        let mut connection = held::connect(pool).await?;
        // A number that nobody else has does for a lock as well.
        let lock = events::own_turn();
        let take = sqlx::query(dialect::LOCK_POSTGRES).bind(lock);
        answered(take.execute(&mut connection)).await?;
        let pool = pool.clone();
        Ok(Self(Kind::Server(OnServer {
            connection,
            lock,
            pool,
            others,
        })))
    }

    /// The connection, to read on. On SQLite it goes on seeing what it saw first, until
    /// [`Line::end_reading`].
    ///
    /// # Errors
    /// [`Error::Database`] when the store is closed.
    pub fn db(&mut self) -> Result<Db<'_>> {
        match &mut self.0 {
            Kind::File(line) => {
                line.reader.begin_to_read()?;
                Ok(Db::Embedded(&mut line.reader))
            }
            Kind::Server(line) if line.pool.is_closed() => Err(sqlx::Error::PoolClosed.into()),
            Kind::Server(line) => Ok(Db::Postgres(&mut line.connection)),
        }
    }

    /// Ends what is being read: the next read sees what is there then.
    ///
    /// # Errors
    /// [`Error::Embedded`].
    pub fn end_reading(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::File(line) => line.reader.end_reading(),
            Kind::Server(_) => Ok(()),
        }
    }

    /// The lock of its next batch, by which one behind it waits for it on Postgres.
    #[must_use]
    pub const fn lock(&self) -> i64 {
        match &self.0 {
            Kind::File(_) => 0,
            Kind::Server(line) => line.lock,
        }
    }

    /// Inserts rows, appends events to the log and commits, all or nothing. Answers the events
    /// with their positions. On SQLite it blocks the thread.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else changed something since it was read, or the
    /// batch before it was not committed: read again. After any other error the line must go.
    pub async fn write(
        &mut self,
        unwritten: Unwritten,
        events: Vec<NewEvent>,
        expected: Expected,
        now: (i64, &dyn Ids),
    ) -> Result<Vec<Event>> {
        match &mut self.0 {
            Kind::File(line) => {
                let mut tx = line.store.begin_batch().await?;
                if events::position(&mut tx.db()).await? != expected.position {
                    return Err(Error::Conflict(None));
                }
                let before = args![expected.turn - 1];
                tx.db().execute(dialect::BEGIN_TURN, before).await?;
                tx.commit_with(unwritten, events, now.0, now.1).await
            }
            Kind::Server(line) => line.write(unwritten, events, expected, now).await,
        }
    }
}

impl OnServer {
    async fn write(
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
