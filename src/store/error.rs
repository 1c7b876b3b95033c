//! What can go wrong in the store. A missing row is not an error.

use sqlx::error::ErrorKind;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another record has the same unique value, or somebody else changed the record first.
    #[error("the record conflicts with another one")]
    Conflict(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// A row holds what this program would never have written.
    #[error("{0} is corrupt")]
    Corrupt(&'static str),
    /// The database failed or cannot be reached.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// The embedded database failed in the writer of deliveries.
    #[error("the database failed")]
    Embedded(#[source] rusqlite::Error),
    /// The database was written by a newer version of this program.
    #[error(
        "the database was written by a newer bookbell (it has migration {0}, which this one does \
         not know); nothing was changed: start the newer version, or name another DATABASE_URL"
    )]
    Newer(i64),
    /// A migration failed; its transaction was rolled back.
    #[error("cannot bring the database up to date")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The database URL cannot be used.
    #[error("{0}")]
    Url(String),
}

impl Error {
    /// Whether trying again later may help: whether it is about the database, not about what was
    /// to be written.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default();
                // Postgres: data exceptions, integrity, program limits (appendix A of its manual).
                // SQLite: too big, constraint, mismatch, range (its result codes).
                let postgres = ["22", "23", "54"]
                    .iter()
                    .any(|class| code.starts_with(class));
                let lasting = if code.len() == 5 {
                    postgres
                } else {
                    code.parse().is_ok_and(is_lasting_sqlite)
                };
                !lasting
            }
            Self::Embedded(rusqlite::Error::SqliteFailure(error, _)) => {
                !is_lasting_sqlite(error.extended_code.unsigned_abs())
            }
            Self::Embedded(_)
            | Self::Database(sqlx::Error::Encode(_))
            | Self::Conflict(_)
            | Self::Corrupt(_) => false,
            _ => true,
        }
    }
}

impl Error {
    /// Whether it is about the database as a whole, so that nothing else could be written either:
    /// it cannot be reached, its disk is full or fails, its file is locked.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default();
                // Postgres: connection, resources, operator, system, and the codes that say that
                // it must not be written (appendix A of its manual).
                let postgres = ["08", "53", "57P", "58", "25006"]
                    .iter()
                    .any(|class| code.starts_with(class));
                if code.len() == 5 {
                    postgres
                } else {
                    code.parse().is_ok_and(is_unavailable_sqlite)
                }
            }
            Self::Embedded(rusqlite::Error::SqliteFailure(error, _)) => {
                is_unavailable_sqlite(error.extended_code.unsigned_abs())
            }
            Self::Database(
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed,
            ) => true,
            _ => false,
        }
    }
}

/// Busy, locked, read-only, I/O error, full, cannot open (SQLite's result codes). The primary
/// code is the low byte of an extended one.
fn is_unavailable_sqlite(code: u32) -> bool {
    matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14)
}

/// The primary code is the low byte of an extended one.
fn is_lasting_sqlite(code: u32) -> bool {
    matches!(code & 0xff, 18 | 19 | 20 | 25)
}

/// What the store answers.
pub type Result<T> = std::result::Result<T, Error>;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let kind = error
            .as_database_error()
            .map(sqlx::error::DatabaseError::kind);
        let table = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::table);
        let conflict = match kind {
            Some(ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation) => true,
            // Somebody came between: see `dialect::TAKE_AT_POSTGRES`.
            Some(ErrorKind::NotNullViolation) => table == Some("event_log"),
            _ => false,
        };
        if conflict {
            return Self::Conflict(Some(Box::new(error)));
        }
        super::failures::count(&error);
        Self::Database(error)
    }
}
