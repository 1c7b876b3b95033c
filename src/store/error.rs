//! What can go wrong in the store. A missing row is not an error.

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another record has the same unique value, or somebody else changed the record first.
    #[error("the record conflicts with another one")]
    Conflict(#[source] Option<sqlx::Error>),
    /// A row holds what this program would never have written.
    #[error("{0} is corrupt")]
    Corrupt(&'static str),
    /// The database failed or cannot be reached.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
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

/// What the store answers.
pub type Result<T> = std::result::Result<T, Error>;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let kind = error
            .as_database_error()
            .map(sqlx::error::DatabaseError::kind);
        match kind {
            Some(
                sqlx::error::ErrorKind::UniqueViolation
                | sqlx::error::ErrorKind::ForeignKeyViolation,
            ) => Self::Conflict(Some(error)),
            _ => Self::Database(error),
        }
    }
}
