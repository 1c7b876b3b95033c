//! The database of one measurement: new, and gone when it is over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _, query, query_scalar, raw_sql,
};

use crate::common::machine::{cpu_time, process_name};

const DROP_LIMIT: Duration = Duration::from_secs(20);

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// A file in a temporary folder.
    Sqlite,
    /// A database on the server that `--postgres` names.
    Postgres,
}

impl Engine {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A database made for one measurement.
#[derive(Debug)]
pub(crate) enum Database {
    /// The file and those beside it, which go with their folder.
    Sqlite(PathBuf),
    /// One on a Postgres server.
    Postgres(Box<PostgresDatabase>),
}

/// A database on a Postgres server, dropped with this.
#[derive(Debug)]
pub(crate) struct PostgresDatabase {
    options: PgConnectOptions,
    name: String,
    admin: PgConnection,
}

impl Database {
    /// A new file in this folder, or a new database on the server that the URL names.
    pub(crate) async fn new(
        engine: Engine,
        folder: &Path,
        postgres: Option<&str>,
    ) -> anyhow::Result<Self> {
        match engine {
            Engine::Sqlite => Ok(Self::Sqlite(folder.join("bench.db"))),
            Engine::Postgres => Self::postgres(postgres.context("no --postgres")?).await,
        }
    }

    async fn postgres(url: &str) -> anyhow::Result<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let nth = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("bookbell_bench_{}_{nth}", process::id());
        let options = PgConnectOptions::from_str(url).context("--postgres: not a usable URL")?;
        let mut admin = options.connect().await.context("cannot reach Postgres")?;
        let create = format!("CREATE DATABASE {name}");
        raw_sql(AssertSqlSafe(create)).execute(&mut admin).await?;
        Ok(Self::Postgres(Box::new(PostgresDatabase {
            options,
            name,
            admin,
        })))
    }

    /// What the server under test is given.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite://{}", file.display()),
            Self::Postgres(database) => {
                let options = database.options.clone().database(&database.name);
                options.to_url_lossy().to_string()
            }
        }
    }

    /// The size of the write-ahead log beside a file, in bytes; none on Postgres.
    pub(crate) fn log_bytes(&self) -> Option<u64> {
        let Self::Sqlite(file) = self else {
            return None;
        };
        let mut log = file.clone().into_os_string();
        log.push("-wal");
        Some(std::fs::metadata(log).map_or(0, |log| log.len()))
    }

    /// Its size in bytes, a write-ahead log beside it included.
    pub(crate) async fn bytes(&mut self) -> anyhow::Result<u64> {
        let log_bytes = self.log_bytes().unwrap_or_default();
        match self {
            Self::Sqlite(file) => Ok(std::fs::metadata(file)?.len() + log_bytes),
            Self::Postgres(database) => {
                let PostgresDatabase { name, admin, .. } = &mut **database;
                let size = query_scalar::<_, i64>("SELECT pg_database_size($1)");
                Ok(u64::try_from(size.bind(&*name).fetch_one(admin).await?)?)
            }
        }
    }

    /// The processor time of each Postgres process that serves this database, by its id; empty
    /// on a file, and when Postgres runs elsewhere.
    pub(crate) async fn backends(&mut self) -> anyhow::Result<BTreeMap<u32, Duration>> {
        let Self::Postgres(database) = self else {
            return Ok(BTreeMap::new());
        };
        let PostgresDatabase { name, admin, .. } = &mut **database;
        let pids = "SELECT pid FROM pg_stat_activity WHERE datname = $1";
        let pids = query_scalar::<_, i32>(pids).bind(&*name);
        let pids = pids.fetch_all(admin).await?;
        let pids = pids.into_iter().filter_map(|pid| u32::try_from(pid).ok());
        let local =
            pids.filter(|pid| process_name(*pid).is_some_and(|is| is.starts_with("postgres")));
        Ok(local
            .filter_map(|pid| Some((pid, cpu_time(pid).ok()?)))
            .collect())
    }

    /// Writes events into the peer's log, as many alike; its server must not run.
    pub(crate) async fn fill_peer_log(&mut self, events: i64, payload: &str) -> anyhow::Result<()> {
        let numbers = match self {
            Self::Sqlite(_) => {
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
                 SELECT i FROM n"
            }
            Self::Postgres(_) => "SELECT i FROM GENERATE_SERIES(1, $2) AS n (i)",
        };
        let insert = format!(
            "INSERT INTO event (id, at_ms, name, payload, user_id) \
             SELECT 'event-' || i, 1795161600000, 'prospect:updated', $1, NULL FROM ({numbers}) AS n"
        );
        match self {
            Self::Sqlite(file) => {
                let mut connection = SqliteConnectOptions::new().filename(file).connect().await?;
                query(AssertSqlSafe(insert))
                    .bind(payload)
                    .bind(events)
                    .execute(&mut connection)
                    .await?;
            }
            Self::Postgres(database) => {
                let options = database.options.clone().database(&database.name);
                let mut connection = options.connect().await?;
                query(AssertSqlSafe(insert))
                    .bind(payload)
                    .bind(events)
                    .execute(&mut connection)
                    .await?;
            }
        }
        Ok(())
    }

    /// The engine's version and the settings that decide what a commit costs.
    pub(crate) async fn settings(&mut self) -> anyhow::Result<String> {
        match self {
            Self::Sqlite(file) => sqlite_settings(file).await,
            Self::Postgres(database) => postgres_settings(&mut database.admin).await,
        }
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let options = self.options.clone();
        // A thread with a runtime of its own: this one's may be ending, and cannot be waited for.
        let dropped = thread::spawn(move || run_alone(&options, drop)).join();
        if !matches!(dropped, Ok(Ok(()))) {
            eprintln!("could not drop the database {}: {dropped:?}", self.name);
        }
    }
}

fn run_alone(options: &PgConnectOptions, statement: String) -> anyhow::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build()?.block_on(async {
        let work = async {
            let mut connection = options.connect().await?;
            raw_sql(AssertSqlSafe(statement))
                .execute(&mut connection)
                .await
        };
        tokio::time::timeout(DROP_LIMIT, work).await??;
        Ok(())
    })
}

async fn sqlite_settings(file: &Path) -> anyhow::Result<String> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await?;
    let version: String = query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut connection)
        .await?;
    let journal: String = query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await?;
    let page: i64 = query_scalar("PRAGMA page_size")
        .fetch_one(&mut connection)
        .await?;
    // `synchronous` belongs to the server's connection and cannot be seen from here.
    Ok(format!(
        "SQLite {version}, journal_mode {journal}, page_size {page}"
    ))
}

async fn postgres_settings(admin: &mut PgConnection) -> anyhow::Result<String> {
    let settings = "SELECT name, current_setting(name) FROM pg_settings WHERE name IN
        ('fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size')
        ORDER BY name";
    let version: String = query_scalar("SELECT current_setting('server_version')")
        .fetch_one(&mut *admin)
        .await?;
    let mut text = format!("Postgres {version}");
    let mut unsafe_settings = Vec::new();
    for row in query(settings).fetch_all(admin).await? {
        let (name, value): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if value == "off" {
            unsafe_settings.push(name.clone());
        }
        text = format!("{text}, {name} {value}");
    }
    if !unsafe_settings.is_empty() {
        let names = unsafe_settings.join(" and ");
        text = format!("{text}\n            NOT DURABLE ({names} off): these rows flatter it");
    }
    Ok(text)
}
