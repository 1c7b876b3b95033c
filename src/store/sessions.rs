//! Sessions and the refresh tokens that prolong them.

use std::collections::HashMap;

use super::error::Result;
use super::record::record;
use super::sql::{Db, args};
use crate::domain::ids::Id;

record! {
    /// A live session's user.
    #[derive(Debug, Clone)]
    pub struct Live {
        /// The user.
        pub user_id: String,
        /// Its address.
        pub email: String,
        /// What it may do now, whatever it might when it signed in.
        pub role: String,
    }
}

record! {
    struct Row {
        id: String,
        expires_ms: i64,
        user_id: String,
        email: String,
        role: String,
    }
}

impl Row {
    fn named(self) -> (String, Live) {
        let live = Live {
            user_id: self.user_id,
            email: self.email,
            role: self.role,
        };
        (self.id, live)
    }
}

/// Begins a session.
///
/// # Errors
/// [`super::Error::Conflict`] when the user is gone, [`super::Error::Database`] else.
pub async fn insert(
    db: &mut Db<'_>,
    id: &Id,
    user_id: &Id,
    now_ms: i64,
    expires_ms: i64,
) -> Result<()> {
    let sql = "INSERT INTO session (id, user_id, created_ms, expires_ms) VALUES ($1, $2, $3, $4)";
    db.execute(sql, args![id, user_id, now_ms, expires_ms])
        .await?;
    Ok(())
}

/// Finds the user of a session that has neither ended nor expired.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn live(db: &mut Db<'_>, id: &Id, now_ms: i64) -> Result<Option<Live>> {
    let sql = "SELECT session.user_id, app_user.email, app_user.role FROM session \
        JOIN app_user ON app_user.id = session.user_id \
        WHERE session.id = $1 AND session.ended_ms IS NULL AND session.expires_ms > $2";
    db.fetch_one(sql, args![id, now_ms]).await
}

/// Finds the users of those sessions that have neither ended nor expired, by the session's id.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn live_of(db: &mut Db<'_>, ids: &[Id], now_ms: i64) -> Result<HashMap<String, Live>> {
    let sql = "SELECT session.id, session.expires_ms, session.user_id, app_user.email, \
        app_user.role FROM session JOIN app_user ON app_user.id = session.user_id \
        WHERE session.ended_ms IS NULL AND session.id IN {keys}";
    let rows: Vec<Row> = db.fetch_in(sql, ids.iter().map(Id::as_str)).await?;
    let live = rows.into_iter().filter(|row| row.expires_ms > now_ms);
    Ok(live.map(Row::named).collect())
}

/// Ends a session; answers whether it was live.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn end(db: &mut Db<'_>, id: &Id, now_ms: i64) -> Result<bool> {
    let sql = "UPDATE session SET ended_ms = $1 WHERE id = $2 AND ended_ms IS NULL";
    Ok(db.execute(sql, args![now_ms, id]).await? == 1)
}

/// Ends all sessions of a user but `keep`; answers which were live.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn end_all(
    db: &mut Db<'_>,
    user_id: &Id,
    keep: Option<&Id>,
    now_ms: i64,
) -> Result<Vec<Id>> {
    let keep = keep.map_or("", Id::as_str);
    let sql = "UPDATE session SET ended_ms = $1 \
        WHERE user_id = $2 AND ended_ms IS NULL AND id <> $3 RETURNING id";
    let rows: Vec<(String,)> = db.fetch(sql, args![now_ms, user_id, keep]).await?;
    Ok(rows.into_iter().map(|(id,)| Id::from_stored(id)).collect())
}

/// Lets a session live longer; answers whether it is live.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn prolong(db: &mut Db<'_>, id: &Id, now_ms: i64, expires_ms: i64) -> Result<bool> {
    let sql = "UPDATE session SET expires_ms = $1 \
        WHERE id = $2 AND ended_ms IS NULL AND expires_ms > $3";
    let changed = db.execute(sql, args![expires_ms, id, now_ms]).await?;
    Ok(changed == 1)
}

/// Adds a refresh token, of which only a hash is kept.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn insert_token(db: &mut Db<'_>, hash: &str, session: &Id, now_ms: i64) -> Result<()> {
    let sql = "INSERT INTO refresh_token (hash, session_id, created_ms) VALUES ($1, $2, $3)";
    db.execute(sql, args![hash, session, now_ms]).await?;
    Ok(())
}

/// Finds the session of a refresh token; `None` when the token is not ours.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn of_token(db: &mut Db<'_>, hash: &str) -> Result<Option<Id>> {
    let sql = "SELECT session_id FROM refresh_token WHERE hash = $1";
    let row: Option<(String,)> = db.fetch_one(sql, args![hash]).await?;
    Ok(row.map(|(id,)| Id::from_stored(id)))
}

/// Uses a refresh token; answers whether it was its first use. Of two at once, only one is.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn use_token(db: &mut Db<'_>, hash: &str, now_ms: i64) -> Result<bool> {
    let sql = "UPDATE refresh_token SET used_ms = $1 WHERE hash = $2 AND used_ms IS NULL";
    Ok(db.execute(sql, args![now_ms, hash]).await? == 1)
}

/// Forgets sessions that ended or expired before `before_ms`, with their tokens.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn forget(db: &mut Db<'_>, before_ms: i64) -> Result<u64> {
    db.execute(
        "DELETE FROM session WHERE expires_ms < $1 OR ended_ms < $1",
        args![before_ms],
    )
    .await
}
