//! Requests that were refused: how many of each kind, and the last of them.

use super::counts::Change;
use super::error::Result;
use super::sql::{Db, args};
use crate::domain::delivery::DeliveryStatus;

/// Adds to the count of refused requests with a code.
///
/// # Errors
/// [`Error::Database`](super::error::Error::Database).
pub async fn add(db: &mut Db<'_>, code: &str, n: i64) -> Result<()> {
    let sql = "INSERT INTO refusal_count (code, refused) VALUES ($1, $2) \
        ON CONFLICT (code) DO UPDATE SET refused = refusal_count.refused + excluded.refused";
    db.execute(sql, args![code, n]).await?;
    Ok(())
}

/// How many requests were refused, by code.
///
/// # Errors
/// [`Error::Database`](super::error::Error::Database).
pub async fn counts(db: &mut Db<'_>) -> Result<Vec<(String, i64)>> {
    db.fetch(
        "SELECT code, refused FROM refusal_count ORDER BY code",
        args![],
    )
    .await
}

/// Forgets all refused requests but the last `keep`.
///
/// # Errors
/// [`Error::Database`](super::error::Error::Database).
pub async fn prune(db: &mut Db<'_>, keep: i64) -> Result<u64> {
    let sql = "DELETE FROM delivery WHERE status = $1 AND status <> 'processed' AND id NOT IN \
        (SELECT id FROM delivery WHERE status = $1 AND status <> 'processed' \
        ORDER BY id DESC LIMIT $2)";
    let rejected = DeliveryStatus::Rejected.name();
    let gone = db.execute(sql, args![rejected, keep]).await?;
    let mut change = Change::default();
    change.lose_deliveries(rejected, gone);
    change.write(db).await?;
    Ok(gone)
}
