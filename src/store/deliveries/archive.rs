//! The archive as a whole: reading it without touching it, and the database it is moved to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::super::checkpoint::Disk;
use super::super::dialect::{Pools, is_missing_database, pool, refusal};
use super::super::error::{Error, Result};
use super::super::inserts::Insert;
use super::super::record::record;
use super::super::sql::{Arg, Db, answered, args};
use super::super::{Store, Tx, migrations, refusals};
use crate::domain::email::Email;
use crate::domain::ids::Id;

/// The tables of which a database that is rebuilt must have no row yet.
const FILLED: [&str; 9] = [
    "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT id FROM app_user LIMIT 1) AS found",
    "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT id FROM delivery LIMIT 1) AS found",
    "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT id FROM prospect LIMIT 1) AS found",
    "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT id FROM proposal LIMIT 1) AS found",
    "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT uri FROM invitee LIMIT 1) AS found",
    "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT email_key FROM routing_profile LIMIT 1) AS found",
    "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT id FROM connection LIMIT 1) AS found",
    "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT name FROM setting LIMIT 1) AS found",
    "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT seq FROM event LIMIT 1) AS found",
];

/// The setting that stands in a database while it is being rebuilt.
const UNFINISHED: &str = "rebuild";

/// What a database URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No database, or one without tables, or one of ours without a row.
    Nothing,
    /// A database of this program with something in it.
    Ours,
    /// A database with tables of somebody else's.
    Foreign,
}

/// Looks at what a URL names and changes nothing there.
///
/// # Errors
/// [`Error::Url`] for a URL that cannot be used, [`Error::Newer`] for a database of a newer
/// version, [`Error::Database`] when it cannot be reached.
pub async fn look(url: &str) -> Result<Found> {
    let Some(pools) = connect(url).await? else {
        return Ok(Found::Nothing);
    };
    let mut tx = snapshot(&pools).await?;
    let tables: BTreeSet<String> = tables(&mut tx.db()).await?;
    if tables.is_empty() {
        return Ok(Found::Nothing);
    }
    if !["_sqlx_migrations", "delivery", "setting"]
        .iter()
        .all(|name| tables.contains(*name))
    {
        return Ok(Found::Foreign);
    }
    check_version(&mut tx.db()).await?;
    let vacant = is_vacant(&mut tx.db()).await?;
    Ok(if vacant { Found::Nothing } else { Found::Ours })
}

async fn tables(db: &mut Db<'_>) -> Result<BTreeSet<String>> {
    let sql = match db {
        Db::Sqlite(_) | Db::Embedded(_) => "SELECT name FROM sqlite_master WHERE type = 'table'",
        Db::Postgres(_) => {
            "SELECT CAST(tablename AS TEXT) FROM pg_catalog.pg_tables \
             WHERE schemaname = current_schema()"
        }
    };
    let rows: Vec<(String,)> = db.fetch(sql, args![]).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

async fn check_version(db: &mut Db<'_>) -> Result<()> {
    let sql = "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM _sqlx_migrations";
    let version = db.fetch_int(sql, args![]).await?;
    let known = migrations::sqlite().iter().map(|m| m.version).max();
    if Some(version) > known {
        return Err(Error::Newer(version));
    }
    Ok(())
}

/// Whether a migrated database holds nothing at all.
///
/// # Errors
/// [`Error::Database`].
pub async fn is_vacant(db: &mut Db<'_>) -> Result<bool> {
    for sql in FILLED {
        if db.fetch_int(sql, args![]).await? > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two URLs plainly name the same database. Two spellings of one host are not seen
/// through.
///
/// # Errors
/// [`Error::Url`] for a URL that cannot be used.
pub fn is_same(one: &str, other: &str) -> Result<bool> {
    if is_sqlite(one) != is_sqlite(other) {
        return Ok(false);
    }
    if is_sqlite(one) {
        let (one, other) = (sqlite(one)?, sqlite(other)?);
        let full = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        return Ok(full(one.get_filename()) == full(other.get_filename()));
    }
    let place = |url: &str| -> Result<_> {
        let options = postgres(url)?;
        let name = options.get_database().unwrap_or(options.get_username());
        Ok((
            options.get_host().to_owned(),
            options.get_port(),
            name.to_owned(),
        ))
    };
    Ok(place(one)? == place(other)?)
}

fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

fn sqlite(url: &str) -> Result<SqliteConnectOptions> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| Error::Url(format!("not a SQLite URL: {error}")))?;
    // Whatever is asked for, the file is neither made nor written.
    let options = options
        .create_if_missing(false)
        .pragma("query_only", "true");
    Ok(options.disable_statement_logging())
}

fn postgres(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| Error::Url(format!("not a Postgres URL: {error}")))?;
    Ok(options
        .application_name("bookbell")
        .disable_statement_logging())
}

/// Connects without creating, migrating or writing; `None` when there is no such database.
async fn connect(url: &str) -> Result<Option<Pools>> {
    if is_sqlite(url) {
        let options = sqlite(url)?;
        if !options.get_filename().exists() {
            return Ok(None);
        }
        let path = options.get_filename().to_owned();
        let read = pool(2).connect_with(options).await?;
        return Ok(Some(Pools::Sqlite {
            write: read.clone(),
            checkpoint: read.clone(),
            deliveries: Arc::default(),
            disk: Arc::new(Disk::new(path)),
            read,
        }));
    }
    let options = postgres(url)?;
    match pool(2).connect_with(options.clone()).await {
        Ok(pool) => Ok(Some(Pools::Postgres {
            pool,
            deliveries: Arc::default(),
            others: Arc::default(),
        })),
        Err(error) if is_missing_database(&error) => Ok(None),
        Err(error) => Err(refusal(&options, error).await),
    }
}

/// A transaction that sees one moment of the database and writes nothing. On SQLite it begins
/// without the write lock, so that it holds up nobody.
async fn snapshot(pools: &Pools) -> Result<Tx> {
    Ok(match pools {
        Pools::Sqlite { read, .. } => Tx::Sqlite(read.begin_with("BEGIN").await?, None),
        Pools::Postgres { pool, .. } => {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            Tx::Postgres(answered(pool.begin_with(begin)).await?, None)
        }
    })
}

impl Store {
    /// Opens a database only to read it: it is not created, not migrated and not written. `None`
    /// when it is not there.
    ///
    /// # Errors
    /// As [`look`].
    pub async fn open_to_read(url: &str) -> Result<Option<Self>> {
        let pools = connect(url).await?;
        Ok(pools.map(|pools| Self {
            pools,
            turn: Arc::default(),
        }))
    }

    /// A transaction that sees the database as it is now, however long it lasts, and holds up
    /// nobody. Dropping it ends it.
    ///
    /// # Errors
    /// [`Error::Database`] when none can be begun.
    pub async fn snapshot(&self) -> Result<Tx> {
        let mut tx = snapshot(&self.pools).await?;
        // The moment is that of the first read.
        super::super::events::extent(&mut tx.db()).await?;
        Ok(tx)
    }
}

/// A user as the fold needs it: whose bookings are its own, and since when.
#[derive(Debug, Clone)]
pub struct Resident {
    /// Its id.
    pub id: Id,
    /// When it was added, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// What it is described as.
    pub now: Described,
    /// What it was described as before, and until when: the earliest first.
    pub before: Vec<(i64, Described)>,
}

/// By what bookings find a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its address.
    pub email: Email,
    /// Calendly's URI of the same person.
    pub calendly_user_uri: Option<String>,
}

impl Described {
    fn from_stored(email: String, calendly_user_uri: Option<String>) -> Self {
        Self {
            email: Email::from_stored(email),
            calendly_user_uri,
        }
    }
}

impl Resident {
    /// All it ever was described as.
    pub fn always(&self) -> impl Iterator<Item = &Described> {
        let before = self.before.iter().map(|(_, described)| described);
        before.chain([&self.now])
    }

    /// What it was described as at a time.
    #[must_use]
    pub fn at(&self, ms: i64) -> &Described {
        let then = self.before.iter().find(|(until_ms, _)| ms < *until_ms);
        then.map_or(&self.now, |(_, described)| described)
    }
}

/// The users, in the order they were added.
///
/// # Errors
/// [`Error::Database`].
pub async fn residents(db: &mut Db<'_>) -> Result<Vec<Resident>> {
    let mut before: HashMap<String, Vec<(i64, Described)>> = HashMap::new();
    for (id, until_ms, email, uri) in described_before(db).await? {
        let described = Described::from_stored(email, uri);
        before.entry(id).or_default().push((until_ms, described));
    }
    let sql = "SELECT id, email, calendly_user_uri, created_ms FROM app_user \
        ORDER BY created_ms, id";
    let rows: Vec<(String, String, Option<String>, i64)> = db.fetch(sql, args![]).await?;
    let resident = |(id, email, uri, created_ms): (String, _, _, _)| Resident {
        before: before.remove(&id).unwrap_or_default(),
        id: Id::from_stored(id),
        now: Described::from_stored(email, uri),
        created_ms,
    };
    Ok(rows.into_iter().map(resident).collect())
}

/// What users were described as, and until when, in order. An archive that is only read may be of
/// an older version, which does not know.
async fn described_before(db: &mut Db<'_>) -> Result<Vec<(String, i64, String, Option<String>)>> {
    if !tables(db).await?.contains("user_before") {
        return Ok(Vec::new());
    }
    let sql = "SELECT user_id, until_ms, email, calendly_user_uri FROM user_before \
        ORDER BY user_id, until_ms";
    db.fetch(sql, args![]).await
}

record! {
    struct UserRow {
        id: String,
        email: String,
        email_key: String,
        name: String,
        role: String,
        calendly_user_uri: Option<String>,
        password_hash: String,
        created_ms: i64,
        updated_ms: i64,
        version: i64,
    }
}

/// Takes users with their passwords, connections, settings and the count of refused requests
/// from one database to another, and marks the other as unfinished.
///
/// # Errors
/// [`Error::Database`].
pub async fn carry_over(source: &mut Db<'_>, target: &mut Db<'_>) -> Result<()> {
    carry_users(source, target).await?;
    let rows = described_before(source).await?.into_iter();
    let rows = rows.map(|(id, until_ms, email, uri)| args![id, until_ms, email, uri]);
    let head = "INSERT INTO user_before (user_id, until_ms, email, calendly_user_uri)";
    carry(target, head, rows.collect()).await?;
    let sql = "SELECT id, user_id, signing_key, created_ms FROM connection ORDER BY id";
    let rows: Vec<(String, Option<String>, String, i64)> = source.fetch(sql, args![]).await?;
    let rows = rows
        .into_iter()
        .map(|(id, user, key, at)| args![id, user, key, at]);
    let head = "INSERT INTO connection (id, user_id, signing_key, created_ms)";
    carry(target, head, rows.collect()).await?;
    let sql = "SELECT name, value FROM setting ORDER BY name";
    let rows: Vec<(String, String)> = source.fetch(sql, args![]).await?;
    let rows = rows.into_iter().filter(|(name, _)| name != UNFINISHED);
    let mark: Vec<Arg> = args![UNFINISHED, "unfinished"];
    let rows = rows.map(|(name, value)| args![name, value]).chain([mark]);
    carry(target, "INSERT INTO setting (name, value)", rows.collect()).await?;
    for (code, refused) in refusals::counts(source).await? {
        refusals::add(target, &code, refused).await?;
    }
    Ok(())
}

async fn carry_users(source: &mut Db<'_>, target: &mut Db<'_>) -> Result<()> {
    let sql = "SELECT id, email, email_key, name, role, calendly_user_uri, password_hash, \
        created_ms, updated_ms, version FROM app_user ORDER BY id";
    let rows: Vec<UserRow> = source.fetch(sql, args![]).await?;
    let row = |u: UserRow| -> Vec<Arg> {
        args![
            u.id,
            u.email,
            u.email_key,
            u.name,
            u.role,
            u.calendly_user_uri,
            u.password_hash,
            u.created_ms,
            u.updated_ms,
            u.version,
        ]
    };
    let head = "INSERT INTO app_user (id, email, email_key, name, role, calendly_user_uri, \
        password_hash, created_ms, updated_ms, version)";
    carry(target, head, rows.into_iter().map(row).collect()).await
}

async fn carry(target: &mut Db<'_>, head: &'static str, rows: Vec<Vec<Arg>>) -> Result<()> {
    let insert = Insert {
        head,
        tail: "",
        rows,
    };
    target.insert(vec![insert]).await
}

/// Whether a rebuild of this database was begun and not finished.
///
/// # Errors
/// [`Error::Database`].
pub async fn is_unfinished(db: &mut Db<'_>) -> Result<bool> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM setting WHERE name = $1";
    Ok(db.fetch_int(sql, args![UNFINISHED]).await? > 0)
}

/// Notes that the rebuild is finished.
///
/// # Errors
/// [`Error::Database`].
pub async fn finish(db: &mut Db<'_>) -> Result<()> {
    db.execute("DELETE FROM setting WHERE name = $1", args![UNFINISHED])
        .await?;
    Ok(())
}

/// The conversations with these prospects.
///
/// # Errors
/// [`Error::Database`].
pub async fn conversations(db: &mut Db<'_>, prospects: &BTreeSet<Id>) -> Result<BTreeMap<Id, Id>> {
    let sql = "SELECT id, conversation_id FROM prospect WHERE id IN {keys}";
    let rows: Vec<(String, String)> = db.fetch_in(sql, prospects.iter().map(Id::as_str)).await?;
    let pair = |(id, conversation)| (Id::from_stored(id), Id::from_stored(conversation));
    Ok(rows.into_iter().map(pair).collect())
}

/// Which of these ids prospects and proposals have already.
///
/// # Errors
/// [`Error::Database`].
pub async fn taken(db: &mut Db<'_>, ids: &BTreeSet<Id>) -> Result<BTreeSet<Id>> {
    let mut taken = BTreeSet::new();
    for sql in [
        "SELECT id FROM prospect WHERE id IN {keys}",
        "SELECT id FROM proposal WHERE id IN {keys}",
        "SELECT DISTINCT proposal_id FROM invitee WHERE proposal_id IN {keys}",
    ] {
        let rows: Vec<(String,)> = db.fetch_in(sql, ids.iter().map(Id::as_str)).await?;
        taken.extend(rows.into_iter().map(|(id,)| Id::from_stored(id)));
    }
    Ok(taken)
}
