//! SQLite on the caller's thread: the connection of the one writer of deliveries.
//!
//! sqlx hands each statement to a thread of its own and back, some 35 µs a statement, and looks
//! parameters up by name; a batch of deliveries is many small statements, and one delivery by
//! itself waits for some fifteen. This runs the same texts (see [`super::sql`]) through rusqlite,
//! which links the same SQLite, without leaving the thread. Everything else stays with sqlx.
//!
//! A statement blocks its thread, so only the writer, which has a thread of its own, and jobs that
//! take one use it.

use std::path::Path;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, OpenFlags, Row, params_from_iter};
use tokio::sync::{OwnedMappedMutexGuard, OwnedMutexGuard};

use super::error::{Error, Result};
use super::sql::Arg;
use super::{busy, dialect, vfs};

/// How much of the file the connection remembers, in KiB (negative, as SQLite wants it): what it
/// writes again and again. After a commit in which a page was split, SQLite 3.51 walks through all
/// it remembers (`pcache1TruncateUnsafe`), which with 32 MiB was half of what one delivery cost;
/// a page that is not remembered comes from the system's memory.
const CACHE: i64 = -4096;

/// An open file.
#[derive(Debug)]
pub struct Connection(rusqlite::Connection);

/// A row that can be read from a [`Connection`].
pub trait FromEmbedded: Sized {
    /// Reads the columns by name.
    ///
    /// # Errors
    /// When a column is missing or of another type.
    fn from_embedded(row: &Row<'_>) -> rusqlite::Result<Self>;
}

impl ToSql for Arg {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Text(value) => text(value.as_deref()),
            Self::Int(value) => value.map_or(ValueRef::Null, ValueRef::Integer),
            Self::Bool(value) => ValueRef::Integer(i64::from(*value)),
            Self::Blob(value) => value.as_deref().map_or(ValueRef::Null, ValueRef::Blob),
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

fn text(value: Option<&str>) -> ValueRef<'_> {
    value.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()))
}

impl Connection {
    /// Opens a file that is there and migrated.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        vfs::register();
        let connection = rusqlite::Connection::open_with_flags_and_vfs(path, flags, vfs::NAME)?;
        connection.busy_handler(Some(busy::look_again))?;
        connection.set_prepared_statement_cache_capacity(dialect::STATEMENT_CACHE);
        for (name, value) in dialect::PRAGMAS {
            connection.pragma_update(None, name, value)?;
        }
        // The copies of pages with which a statement can be taken back need no file.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        // A page goes into the log with its commit, never before it: see `vfs`.
        connection.pragma_update(None, "cache_spill", "OFF")?;
        Ok(Self(connection))
    }

    /// Opens it to read what others write.
    pub(super) fn open_to_read(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(busy::LIMIT)?;
        connection.set_prepared_statement_cache_capacity(dialect::STATEMENT_CACHE);
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        Ok(Self(connection))
    }

    /// Forgets what it remembers of the file, which blocks the thread for less than a millisecond.
    pub(super) fn shrink(&mut self) -> Result<()> {
        self.execute(dialect::SHRINK_SQLITE, [&[][..]])?;
        Ok(())
    }

    /// Has all reads from here on see one moment.
    pub(super) fn begin_to_read(&mut self) -> Result<()> {
        if self.0.is_autocommit() {
            self.execute("BEGIN", [&[][..]])?;
        }
        Ok(())
    }

    /// Ends that.
    pub(super) fn end_reading(&mut self) -> Result<()> {
        if !self.0.is_autocommit() {
            self.execute("COMMIT", [&[][..]])?;
        }
        Ok(())
    }

    /// Runs a statement once for each row of values and answers how many rows it changed.
    pub(super) fn execute<'a>(
        &mut self,
        sql: &str,
        rows: impl IntoIterator<Item = &'a [Arg]>,
    ) -> Result<u64> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut changed = 0;
        for row in rows {
            changed += statement.execute(params_from_iter(row))? as u64;
        }
        Ok(changed)
    }

    /// Runs a query once for each row of values and reads all its rows.
    pub(super) fn fetch<'a, T: FromEmbedded>(
        &mut self,
        sql: &str,
        rows: impl IntoIterator<Item = &'a [Arg]>,
    ) -> Result<Vec<T>> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut found = Vec::new();
        for row in rows {
            for read in statement.query_map(params_from_iter(row), |row| T::from_embedded(row))? {
                found.push(read?);
            }
        }
        Ok(found)
    }
}

/// The writer's connection; none once the store is closed.
pub(super) type Slot = Option<Connection>;

/// A transaction; dropping it rolls it back.
#[derive(Debug)]
pub struct Transaction {
    connection: OwnedMappedMutexGuard<Slot, Connection>,
    open: bool,
}

impl Transaction {
    /// Takes the write lock.
    pub(super) fn begin(slot: OwnedMutexGuard<Slot>) -> Result<Self> {
        let open = OwnedMutexGuard::try_map(slot, Option::as_mut);
        let mut connection = open.map_err(|_| sqlx::Error::PoolClosed)?;
        connection.execute(dialect::BEGIN_SQLITE, [&[][..]])?;
        Ok(Self {
            connection,
            open: true,
        })
    }

    /// The connection, to run statements on.
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Makes it durable.
    pub(super) fn commit(mut self) -> Result<()> {
        self.connection.execute("COMMIT", [&[][..]])?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // SQLite has rolled it back by itself after some errors, such as a full disk.
        if self.open
            && !self.connection.0.is_autocommit()
            && let Err(error) = self.connection.execute("ROLLBACK", [&[][..]])
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) {
            return Self::Conflict(Some(Box::new(error)));
        }
        super::failures::count_embedded(&error);
        Self::Embedded(error)
    }
}
