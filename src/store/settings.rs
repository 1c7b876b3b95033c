//! Settings the program keeps for itself, such as the secret it made at its first start.

use super::error::{Error, Result};
use super::sql::{Db, args};

/// Keeps `value` under `name` unless there is one already; answers the one that is kept.
///
/// # Errors
/// [`Error::Database`].
pub async fn keep_first(db: &mut Db<'_>, name: &str, value: &str) -> Result<String> {
    let insert = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    db.execute(insert, args![name, value]).await?;
    let row = db
        .fetch_one("SELECT value FROM setting WHERE name = $1", args![name])
        .await?;
    row.map(|(value,): (String,)| value)
        .ok_or(Error::Corrupt("a setting"))
}

/// Writes a setting, over the one that is there.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn put(db: &mut Db<'_>, name: &str, value: &str) -> Result<()> {
    let put = "INSERT INTO setting (name, value) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET value = $2";
    db.execute(put, args![name, value]).await?;
    Ok(())
}
