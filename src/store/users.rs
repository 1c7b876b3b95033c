//! Users in the database.

use std::collections::HashSet;

use super::error::{Error, Result};
use super::paging::{self, Found, Order, Page, SortKey};
use super::record::record;
use super::sql::{Db, Parts, Sql, args};
use crate::domain::email::Email;
use crate::domain::ids::Id;
use crate::domain::user::{Role, User};

record! {
    /// A row as the columns of [`select`] are read.
    pub(super) struct Row {
        id: String,
        email: String,
        name: String,
        role: String,
        calendly_user_uri: Option<String>,
        created_ms: i64,
        updated_ms: i64,
        version: i64,
    }
}

/// The columns a [`Row`] is read from.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, email, name, role, calendly_user_uri, created_ms, updated_ms, version \
             FROM app_user",
            $tail
        )
    };
}

impl TryFrom<Row> for User {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: Id::from_stored(row.id),
            email: Email::from_stored(row.email),
            name: row.name,
            role: Role::from_name(&row.role).ok_or(Error::Corrupt("a user"))?,
            calendly_user_uri: row.calendly_user_uri,
            created_ms: row.created_ms,
            updated_ms: row.updated_ms,
            version: row.version,
        })
    }
}

pub(super) fn parsed(rows: Vec<Row>) -> Result<Vec<User>> {
    rows.into_iter().map(User::try_from).collect()
}

/// Finds a user.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn find(db: &mut Db<'_>, id: &Id) -> Result<Option<User>> {
    let row: Option<Row> = db.fetch_one(select!(" WHERE id = $1"), args![id]).await?;
    row.map(User::try_from).transpose()
}

/// Finds a user by address, in the form that compares equal.
///
/// # Errors
/// As [`find`].
pub async fn find_by_email(db: &mut Db<'_>, email_key: &str) -> Result<Option<User>> {
    let row: Option<Row> = db
        .fetch_one(select!(" WHERE email_key = $1"), args![email_key])
        .await?;
    row.map(User::try_from).transpose()
}

/// A user's password hash, in PHC format.
///
/// # Errors
/// [`Error::Database`].
pub async fn password_hash(db: &mut Db<'_>, email_key: &str) -> Result<Option<(Id, String)>> {
    let sql = "SELECT id, password_hash FROM app_user WHERE email_key = $1";
    let row: Option<(String, String)> = db.fetch_one(sql, args![email_key]).await?;
    Ok(row.map(|(id, hash)| (Id::from_stored(id), hash)))
}

/// Keeps others from changing a user until the transaction ends, if its password is still this one;
/// answers whether it is.
///
/// # Errors
/// [`Error::Database`].
pub async fn hold(db: &mut Db<'_>, id: &Id, password_hash: &str) -> Result<bool> {
    // A look would see what is there while somebody else is about to commit another one.
    let sql = "UPDATE app_user SET password_hash = $2 WHERE id = $1 AND password_hash = $2";
    Ok(db.execute(sql, args![id, password_hash]).await? > 0)
}

/// How many users there are.
///
/// # Errors
/// [`Error::Database`].
pub async fn count(db: &mut Db<'_>) -> Result<i64> {
    db.fetch_int("SELECT CAST(COUNT(*) AS BIGINT) FROM app_user", args![])
        .await
}

/// How many admins there are.
///
/// # Errors
/// [`Error::Database`].
pub async fn count_admins(db: &mut Db<'_>) -> Result<i64> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM app_user WHERE role = 'admin'";
    db.fetch_int(sql, args![]).await
}

/// Adds a user.
///
/// # Errors
/// [`Error::Conflict`] when the address or the Calendly URI is taken.
pub async fn insert(db: &mut Db<'_>, user: &User, password_hash: &str) -> Result<()> {
    let sql = "INSERT INTO app_user (id, email, email_key, name, role, calendly_user_uri, \
        password_hash, created_ms, updated_ms, version) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let args = args![
        &user.id,
        user.email.as_str(),
        user.email.key(),
        user.name.as_str(),
        user.role.name(),
        user.calendly_user_uri.as_deref(),
        password_hash,
        user.created_ms,
        user.updated_ms,
        user.version + 1,
    ];
    db.execute(sql, args).await?;
    Ok(())
}

/// Whether another admin would remain without this user: what every statement that takes an
/// admin away requires.
const ANOTHER_ADMIN: &str =
    " AND (role <> 'admin' OR (SELECT COUNT(*) FROM app_user WHERE role = 'admin') > 1)";

/// Writes a changed user, when the row still has the version it was read with. Answers whether
/// it did; it does not when that would take the last admin away.
///
/// # Errors
/// [`Error::Conflict`] when the address or the Calendly URI is taken.
pub async fn update(db: &mut Db<'_>, user: &User, password_hash: Option<&str>) -> Result<bool> {
    let mut sql = Sql::with(
        "UPDATE app_user SET email = ?, email_key = ?, name = ?, role = ?, \
        calendly_user_uri = ?, password_hash = COALESCE(?, password_hash), updated_ms = ?, \
        version = version + 1 WHERE id = ? AND version = ?",
        args![
            user.email.as_str(),
            user.email.key(),
            user.name.as_str(),
            user.role.name(),
            user.calendly_user_uri.as_deref(),
            password_hash,
            user.updated_ms,
            &user.id,
            user.version,
        ],
    );
    if user.role != Role::Admin {
        sql.push(ANOTHER_ADMIN, args![]);
    }
    let (text, args) = sql.build();
    Ok(db.execute(text, args).await? == 1)
}

/// Keeps what a user was described as until now, when that changes.
///
/// # Errors
/// [`Error::Database`].
pub async fn note_before(db: &mut Db<'_>, before: &User, now_ms: i64) -> Result<()> {
    // Of two changes within a millisecond the first one ends what was there before.
    let sql = "INSERT INTO user_before (user_id, until_ms, email, calendly_user_uri) \
        VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, until_ms) DO NOTHING";
    let uri = before.calendly_user_uri.as_deref();
    let args = args![&before.id, now_ms, before.email.as_str(), uri];
    db.execute(sql, args).await?;
    Ok(())
}

/// Deletes a user. Answers whether it did; it does not when that would take the last admin away.
///
/// # Errors
/// [`Error::Conflict`] when the user still owns something.
pub async fn delete(db: &mut Db<'_>, id: &Id) -> Result<bool> {
    let mut sql = Sql::with("DELETE FROM app_user WHERE id = ?", args![id]);
    sql.push(ANOTHER_ADMIN, args![]);
    let (text, args) = sql.build();
    Ok(db.execute(text, args).await? == 1)
}

/// The ids of all users.
///
/// # Errors
/// [`Error::Database`].
pub async fn ids(db: &mut Db<'_>) -> Result<HashSet<Id>> {
    let rows: Vec<(String,)> = db.fetch("SELECT id FROM app_user", args![]).await?;
    Ok(rows.into_iter().map(|(id,)| Id::from_stored(id)).collect())
}

/// Lists users, oldest first.
///
/// # Errors
/// As [`find`].
pub async fn list(db: &mut Db<'_>, page: Page) -> Result<Found<User>> {
    let count = Sql::new("SELECT CAST(COUNT(*) AS BIGINT) FROM app_user");
    let total = paging::count(db, count).await?;
    let order = Order {
        behind: "(created_ms, id) > (?, ?)",
        by: " ORDER BY created_ms, id",
    };
    paging::read::<Row>(db, total, Sql::new(select!("")), order, page)
        .await?
        .parsed()
}

/// The value a user has in the list.
#[must_use]
pub fn sort_key(user: &User) -> SortKey {
    SortKey::Int(user.created_ms)
}

/// The users that any of the Calendly URIs, addresses or ids name, as texts to read them by.
pub(super) fn by_names<'k>(
    uris: Vec<&'k str>,
    email_keys: Vec<&'k str>,
    ids: Vec<&'k str>,
) -> Parts<'k> {
    vec![
        (select!(" WHERE calendly_user_uri IN {keys}"), uris),
        (select!(" WHERE email_key IN {keys}"), email_keys),
        (select!(" WHERE id IN {keys}"), ids),
    ]
}

/// The users that any of the Calendly URIs, addresses or ids name.
///
/// # Errors
/// As [`find`].
pub async fn named<'k>(
    db: &mut Db<'_>,
    uris: impl IntoIterator<Item = &'k str>,
    email_keys: impl IntoIterator<Item = &'k str>,
    ids: impl IntoIterator<Item = &'k str>,
) -> Result<Vec<User>> {
    let (uris, email_keys) = (uris.into_iter().collect(), email_keys.into_iter().collect());
    let by_names = by_names(uris, email_keys, ids.into_iter().collect());
    parsed(db.fetch_in_each(by_names).await?)
}
