//! What tests share: databases, the running product, requests, payloads, clients.

pub mod api;
pub mod app;
pub mod cluster;
pub mod database;
pub mod disk;
pub mod document;
pub mod faults;
pub mod load;
pub mod payload;
pub mod polling;
pub mod preload;
pub mod process;
pub mod proxy;
pub mod scrape;
pub mod sender;
pub mod server;
pub mod soak;
pub mod stuck;
pub mod subscriber;

/// Runs each test on SQLite and on Postgres.
///
/// ```ignore
/// on_both! {
///     async fn a_booking_makes_a_prospect(app: TestApp) { … }
/// }
/// ```
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($app:ident: TestApp) $body:block)+) => {
        $(
            mod $name {
                #[allow(unused_imports)]
                use super::*;

                async fn run($app: $crate::support::app::TestApp) $body

                $(#[$meta])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite() {
                    run($crate::support::app::TestApp::sqlite().await).await;
                }

                $(#[$meta])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_postgres() {
                    run($crate::support::app::TestApp::postgres().await).await;
                }
            }
        )+
    };
}
pub(crate) use on_both;

/// Runs functions that take a [`database::Database`] as tests, on SQLite and on Postgres.
///
/// ```ignore
/// on_each_database![a_second_start_works];
/// async fn a_second_start_works(database: Database) { … }
/// ```
macro_rules! on_each_database {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                use $crate::support::database::Database;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite() {
                    super::$name(Database::sqlite()).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_postgres() {
                    super::$name(Database::postgres().await).await;
                }
            }
        )+
    };
}
pub(crate) use on_each_database;

/// A variable that `tests/run` sets.
pub fn variable(name: &str) -> String {
    let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
    value.unwrap_or_else(|| panic!("{name} is not set: run the tests with tests/run"))
}
