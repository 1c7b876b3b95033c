//! Connections: one Calendly account's subscription, with its own signing key.

use super::error::Result;
use super::record::record;
use super::sql::{Db, args};
use crate::domain::ids::Id;

record! {
    /// A connection, by which its deliveries are verified.
    pub struct Connection {
        /// The key its subscription signs with.
        pub signing_key: String,
        /// The user its bookings fall to when no host is known.
        pub user_id: Option<String>,
    }
}

/// Finds a connection.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn find(db: &mut Db<'_>, id: &Id) -> Result<Option<Connection>> {
    db.fetch_one(
        "SELECT signing_key, user_id FROM connection WHERE id = $1",
        args![id],
    )
    .await
}

/// Adds a connection.
///
/// # Errors
/// [`super::Error::Conflict`] when the user is not there, [`super::Error::Database`] else.
pub async fn insert(
    db: &mut Db<'_>,
    id: &Id,
    user_id: Option<&Id>,
    signing_key: &str,
    now_ms: i64,
) -> Result<()> {
    let sql =
        "INSERT INTO connection (id, user_id, signing_key, created_ms) VALUES ($1, $2, $3, $4)";
    db.execute(sql, args![id, user_id, signing_key, now_ms])
        .await?;
    Ok(())
}
