//! Postgres on a connection that the writer of deliveries keeps.
//!
//! A pool asks a connection whether it lives when it is taken and when it is given back; each
//! question costs a writer with one delivery to commit about as much as the commit itself.

use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection, Executor};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::dialect;
use super::error::Result;
use super::sql::answered;

/// The writer's statements are few and look rows up by index. Planned anew each time, as Postgres
/// would because it sees the arrays' lengths, they take twice as long; and a plan made for an
/// empty table must still be right when it has grown.
const SETTINGS: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
];

/// Has the process behind the connection keep the memory that a statement needs for the next one.
/// glibc's `malloc` gives the end of its heap back to the system whenever 128 KiB of it are free, at
/// the end of each of these statements, and a tenth of the database's time went into having it
/// again. Once a large piece was freed it keeps twice as much (`M_TRIM_THRESHOLD` in mallopt(3)).
const KEEP_MEMORY: &str = "SELECT length(repeat('x', 4194304))";

/// A connection beside those of the pool.
pub(super) async fn connect(pool: &PgPool) -> Result<PgConnection> {
    if pool.is_closed() {
        return Err(sqlx::Error::PoolClosed.into());
    }
    let options = (*pool.connect_options()).clone().options(SETTINGS);
    let connect = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        connection.execute(KEEP_MEMORY).await?;
        Ok(connection)
    };
    let connected: std::result::Result<_, sqlx::Error> = timeout(dialect::ACQUIRE, connect)
        .await
        .map_err(|_| sqlx::Error::PoolTimedOut)?;
    Ok(connected?)
}

/// The writer's connection; none before the first batch, and after a failure.
pub(super) type Slot = Option<PgConnection>;

/// A transaction on the kept connection, which has the turn to fold. Dropping it closes the
/// connection, which rolls it back.
#[derive(Debug)]
pub struct Transaction {
    slot: OwnedMutexGuard<Slot>,
    connection: Option<PgConnection>,
}

impl Transaction {
    /// Begins, and waits for the turn to fold among the nodes.
    pub(super) async fn begin(mut slot: OwnedMutexGuard<Slot>, pool: &PgPool) -> Result<Self> {
        if pool.is_closed() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        // A kept connection may have died since; a new one tells whether the database has.
        if let Some(mut kept) = slot.take()
            && begin(&mut kept).await.is_ok()
        {
            let connection = Some(kept);
            return Ok(Self { slot, connection });
        }
        let mut fresh = connect(pool).await?;
        begin(&mut fresh).await?;
        let connection = Some(fresh);
        Ok(Self { slot, connection })
    }

    /// The connection, to run statements on.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.connection
            .as_mut()
            .expect("it is taken by what ends the transaction alone, and takes that too")
    }

    /// Undoes it and keeps the connection for the next one, if it answers.
    pub(super) async fn roll_back(mut self) {
        if answered(self.connection().execute("ROLLBACK"))
            .await
            .is_ok()
        {
            *self.slot = self.connection.take();
        }
    }

    /// Makes it durable and keeps the connection for the next one.
    pub(super) async fn commit(mut self) -> Result<()> {
        answered(self.connection().execute("COMMIT")).await?;
        *self.slot = self.connection.take();
        Ok(())
    }
}

async fn begin(connection: &mut PgConnection) -> Result<()> {
    answered(connection.execute(dialect::BEGIN_FOLD_POSTGRES)).await?;
    Ok(())
}
