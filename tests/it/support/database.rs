//! A fresh database for each test.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::time::{Instant, interval};

use super::server::PATIENCE;

/// A node that listens shows it by a lock, as long as it does (`GREET_POSTGRES` in the store).
const LISTENERS: &str = "SELECT pid::BIGINT FROM pg_locks \
    WHERE locktype = 'advisory' AND classid = 1651339115 AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// A database that nobody else uses. Its folder goes with it; `tests/run` throws the whole
/// PostgreSQL away.
#[derive(Clone)]
pub struct Database {
    pub url: String,
    pub folder: Arc<TempDir>,
}

impl Database {
    pub fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("bookbell.db").display());
        Self {
            url,
            folder: Arc::new(folder),
        }
    }

    pub async fn postgres() -> Self {
        let server = super::variable("BOOKBELL_TEST_POSTGRES");
        let name = format!("bookbell_{}", uuid::Uuid::now_v7().simple());
        let options: sqlx::postgres::PgConnectOptions = server.parse().unwrap();
        let mut connection: PgConnection = options.clone().connect().await.unwrap();
        // Template0 and C make a new database quick to copy, whatever the template holds.
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let url = options.database(&name).to_url_lossy().to_string();
        Self {
            url,
            folder: Arc::new(TempDir::new().unwrap()),
        }
    }

    /// Another one on the same engine.
    pub async fn another(&self) -> Self {
        if self.is_sqlite() {
            Self::sqlite()
        } else {
            Self::postgres().await
        }
    }

    pub fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    /// All numbers that a query answers, read behind the program's back.
    pub async fn numbers(&self, sql: &str) -> Vec<i64> {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_sqlite() {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            let numbers = sqlx::query_scalar(sql).fetch_all(&mut connection).await;
            connection.close().await.unwrap();
            numbers.unwrap()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            let numbers = sqlx::query_scalar(sql).fetch_all(&mut connection).await;
            connection.close().await.unwrap();
            numbers.unwrap()
        }
    }

    /// The connections, by their processes, on which nodes on Postgres hear from each other.
    pub async fn listeners(&self) -> Vec<i64> {
        self.numbers(LISTENERS).await
    }

    /// Ends those, and answers which they were.
    pub async fn deafen(&self) -> Vec<i64> {
        let deafened = self.listeners().await;
        assert!(!deafened.is_empty(), "nobody listens");
        let terminate =
            format!("SELECT pg_terminate_backend(pid::INT) FROM ({LISTENERS}) AS l (pid)");
        self.execute(&terminate).await;
        deafened
    }

    /// Waits until so many nodes listen, on other connections than these.
    pub async fn until_heard(&self, nodes: usize, deafened: &[i64]) {
        let deadline = Instant::now() + PATIENCE;
        let mut ticks = interval(Duration::from_millis(20));
        loop {
            let listeners = self.listeners().await;
            let anew = listeners.iter().all(|pid| !deafened.contains(pid));
            if anew && listeners.len() == nodes {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{listeners:?} after {deafened:?}"
            );
            ticks.tick().await;
        }
    }

    /// All texts that a query of a SQLite file answers.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
        let texts = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
        let texts = texts.fetch_all(&mut connection).await;
        connection.close().await.unwrap();
        texts.unwrap()
    }

    /// Runs SQL behind the program's back.
    pub async fn execute(&self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        if self.is_sqlite() {
            let options: SqliteConnectOptions = self.url.parse().unwrap();
            let options = options.create_if_missing(true);
            let mut connection = options.connect().await.unwrap();
            sql.execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sql.execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}
