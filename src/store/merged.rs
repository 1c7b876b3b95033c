//! Records that turned out to be one with another: which one stayed.

use super::error::Result;
use super::sql::{Db, args};
use crate::domain::ids::Id;

/// Notes for each pair that the first record is gone and the second stands for it, and for what
/// the first stood for: one look-up finds what stays of any.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn note<'i>(
    db: &mut Db<'_>,
    pairs: impl IntoIterator<Item = (&'i Id, &'i Id)>,
) -> Result<()> {
    for (gone, kept) in pairs {
        let sql = "UPDATE merged SET into_id = $1 WHERE into_id = $2";
        db.execute(sql, args![kept, gone]).await?;
        let sql = "INSERT INTO merged (id, into_id) VALUES ($1, $2) \
            ON CONFLICT (id) DO UPDATE SET into_id = excluded.into_id";
        db.execute(sql, args![gone, kept]).await?;
    }
    Ok(())
}
