//! A fresh database for each test.

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;

/// A database that nobody else uses. Its folder goes with it; `tests/run` throws the whole
/// PostgreSQL away.
pub struct Database {
    pub url: String,
    pub folder: TempDir,
}

impl Database {
    pub fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("bookbell.db").display());
        Self { url, folder }
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
            folder: TempDir::new().unwrap(),
        }
    }
}
