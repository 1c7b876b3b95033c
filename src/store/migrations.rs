//! The migrations, built into the binary.

use std::borrow::Cow;

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Database, Pool, SqlSafeStr};

use super::error::{Error, Result};

/// Version, name, and the text for each database.
const MIGRATIONS: &[(i64, &str, &str, &str)] = &[
    (
        1,
        "start",
        include_str!("../../migrations/sqlite/0001_start.sql"),
        include_str!("../../migrations/postgres/0001_start.sql"),
    ),
    (
        2,
        "counts_and_search",
        include_str!("../../migrations/sqlite/0002_counts_and_search.sql"),
        include_str!("../../migrations/postgres/0002_counts_and_search.sql"),
    ),
    (
        3,
        "write_path",
        include_str!("../../migrations/sqlite/0003_write_path.sql"),
        include_str!("../../migrations/postgres/0003_write_path.sql"),
    ),
    (
        4,
        "fewer_indexes",
        include_str!("../../migrations/sqlite/0004_fewer_indexes.sql"),
        include_str!("../../migrations/postgres/0004_fewer_indexes.sql"),
    ),
    (
        5,
        "turns",
        include_str!("../../migrations/sqlite/0005_turns.sql"),
        include_str!("../../migrations/postgres/0005_turns.sql"),
    ),
    (
        6,
        "runs",
        include_str!("../../migrations/sqlite/0006_runs.sql"),
        include_str!("../../migrations/postgres/0006_runs.sql"),
    ),
    (
        7,
        "names",
        include_str!("../../migrations/sqlite/0007_names.sql"),
        include_str!("../../migrations/postgres/0007_names.sql"),
    ),
    (
        8,
        "turns_on_sqlite",
        include_str!("../../migrations/sqlite/0008_turns_on_sqlite.sql"),
        include_str!("../../migrations/postgres/0008_turns_on_sqlite.sql"),
    ),
    (
        9,
        "plain_letters",
        include_str!("../../migrations/sqlite/0009_plain_letters.sql"),
        include_str!("../../migrations/postgres/0009_plain_letters.sql"),
    ),
    (
        10,
        "merged",
        include_str!("../../migrations/sqlite/0010_merged.sql"),
        include_str!("../../migrations/postgres/0010_merged.sql"),
    ),
    (
        11,
        "search_of_an_owner",
        include_str!("../../migrations/sqlite/0011_search_of_an_owner.sql"),
        include_str!("../../migrations/postgres/0011_search_of_an_owner.sql"),
    ),
    (
        12,
        "search_in_pieces",
        include_str!("../../migrations/sqlite/0012_search_in_pieces.sql"),
        include_str!("../../migrations/postgres/0012_search_in_pieces.sql"),
    ),
    (
        13,
        "hidden_events",
        include_str!("../../migrations/sqlite/0013_hidden_events.sql"),
        include_str!("../../migrations/postgres/0013_hidden_events.sql"),
    ),
    (
        14,
        "users_before",
        include_str!("../../migrations/sqlite/0014_users_before.sql"),
        include_str!("../../migrations/postgres/0014_users_before.sql"),
    ),
];

/// Where a database keeps which it has had: sqlx's own name.
const APPLIED: &str = "_sqlx_migrations";

/// The migrations for SQLite.
pub(super) fn sqlite() -> Migrator {
    migrator(|(version, name, sqlite, _)| (*version, *name, *sqlite))
}

/// The migrations for Postgres.
pub(super) fn postgres() -> Migrator {
    migrator(|(version, name, _, postgres)| (*version, *name, *postgres))
}

/// Brings a database up to date. One that has had some migrations may hold much, and the next can
/// take minutes before anything is served: each is announced.
///
/// # Errors
/// [`Error::Newer`] for a database of a newer version, else [`Error::Migration`].
pub(super) async fn run<DB>(migrator: Migrator, pool: &Pool<DB>) -> Result<()>
where
    DB: Database,
    DB::Connection: Migrate,
{
    // A new database has no table of them. Whatever else fails here fails below too.
    let applied = applied(pool).await.unwrap_or_default();
    if is_up_to_date(&migrator, &applied) {
        // To have sqlx find that out takes another connection, and 4 ms of a start.
        return Ok(());
    }
    let last = applied.iter().map(|migration| migration.version).max();
    let last = last.unwrap_or(i64::MAX);
    for migration in migrator.iter().filter(|m| m.version > last) {
        let (version, name) = (migration.version, &*migration.description);
        tracing::info!(
            version,
            name,
            "migrating the database; with a million records that can take minutes"
        );
        checked(migrator.run_to(version, pool).await)?;
    }
    checked(migrator.run(pool).await)
}

/// The migrations a database has had, in order.
async fn applied<DB>(pool: &Pool<DB>) -> std::result::Result<Vec<AppliedMigration>, MigrateError>
where
    DB: Database,
    DB::Connection: Migrate,
{
    let mut connection = pool.acquire().await?;
    connection.list_applied_migrations(APPLIED).await
}

/// Whether they are just ours, with the same texts.
fn is_up_to_date(migrator: &Migrator, applied: &[AppliedMigration]) -> bool {
    let ours = migrator.iter().map(|m| (m.version, &*m.checksum));
    ours.eq(applied.iter().map(|m| (m.version, &*m.checksum)))
}

type Entry = (i64, &'static str, &'static str, &'static str);

fn migrator(pick: impl Fn(&Entry) -> (i64, &'static str, &'static str)) -> Migrator {
    let migration = |entry| {
        let (version, name, sql) = pick(entry);
        let kind = MigrationType::Simple;
        Migration::new(
            version,
            Cow::Borrowed(name),
            kind,
            sql.into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}

/// Tells a database of a newer version from one that failed.
fn checked(result: std::result::Result<(), MigrateError>) -> Result<()> {
    result.map_err(|error| match error {
        MigrateError::VersionMissing(version) => Error::Newer(version),
        error => Error::Migration(error),
    })
}
