//! Measures the store at a million prospects: pages, counts and searches as the product reads
//! them, and ingest as its writer commits, at ten thousand and at all. `benches/README.md` says
//! how to read it.
//!
//! `cargo bench --bench store -- [--prospects 1000000] [--postgres URL] [--seconds 5] [--dir DIR]`

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "no benchmark uses all that they share")]
mod common;
mod fill;
mod ingest;
mod reads;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use bookbell::app::{App, Settings as AppSettings};
use bookbell::calendly::signature::SigningKey;
use bookbell::domain::clock::SystemClock;
use bookbell::domain::ids::UuidV7;
use bookbell::domain::secret::Secret;
use bookbell::jobs;
use bookbell::store::Store;
use clap::Parser;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use common::database::{Database, Engine};
use common::machine::Machine;
use common::{booking, figures};

/// How many prospects there are when ingest is measured for the first time.
const SMALL: u64 = 10_000;

/// Measures the store at a million prospects, a quarter of them one owner's.
#[derive(Debug, Parser)]
#[command(name = "store", bin_name = "cargo bench --bench store --")]
struct Settings {
    /// How many prospects.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(60_000..=90_000_000))]
    prospects: u64,
    /// A Postgres server and a role that may create databases there; else `SQLite` is measured.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// How long each measurement of ingest counts, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many bookings wait for an answer at once.
    #[arg(long, default_value_t = 64)]
    senders: u64,
    /// How often each page and search is read.
    #[arg(long, default_value_t = 30)]
    repeats: usize,
    /// Where `SQLite`'s file is made and removed [default: the temporary folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// What cargo passes on.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let parent = settings.dir.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::tempdir_in(parent).context("cannot make a folder")?;
    print!("{}", Machine::observe(folder.path())?);
    let mut database = database(&settings, folder.path()).await?;
    println!(
        "            {}",
        database.settings().await.unwrap_or_default()
    );
    let node = Node::start(&database.url()).await?;
    println!(
        "\nIngest: {} wait for an answer at once, the search job runs beside",
        settings.senders
    );
    fill::template(&node.app).await?;
    fill::up_to(&database.url(), 1, SMALL).await?;
    let small = ingest::measure(&node.app, &settings, SMALL).await?;
    let begun = Instant::now();
    fill::up_to(&database.url(), SMALL + 1, settings.prospects).await?;
    println!("  (filled up in {:.0} s)", begun.elapsed().as_secs_f64());
    let large = ingest::measure(&node.app, &settings, settings.prospects).await?;
    println!(
        "  slower by {:.0} % (target: at most 45 %)",
        100.0 * (1.0 - large / small)
    );
    node.stop().await;
    let store = Store::open(&database.url()).await?;
    reads::index(&store).await?;
    reads::measure(&store, settings.prospects, settings.repeats).await?;
    println!(
        "\n{:.0} MB on disk",
        figures::real(database.bytes().await?) / 1e6
    );
    Ok(())
}

async fn database(settings: &Settings, folder: &Path) -> anyhow::Result<Database> {
    let engine = match settings.postgres {
        Some(_) => Engine::Postgres,
        None => Engine::Sqlite,
    };
    Database::new(engine, folder, settings.postgres.as_deref()).await
}

/// The product in this process, with the jobs that run beside its writer.
struct Node {
    app: Arc<App>,
    stop: CancellationToken,
    stop_writer: oneshot::Sender<()>,
    writer: oneshot::Receiver<()>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Node {
    async fn start(url: &str) -> anyhow::Result<Self> {
        let key = SigningKey::new(booking::SIGNING_KEY).context("no key")?;
        let settings = AppSettings {
            signing_keys: vec![key],
            signature_tolerance_s: 180,
            jwt_secret: Secret::new("a secret of thirty-two bytes or more".to_owned()),
            event_retention_ms: 30 * 24 * 60 * 60 * 1000,
            delivery_retention_ms: None,
            public_url: "http://bench.example".to_owned(),
        };
        let store = Store::open(url).await?;
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(UuidV7::new()));
        let (app, writer) = App::new(store, settings, clock, ids).await?;
        app.prepare_search().await?;
        let (stop_writer, stopped) = oneshot::channel();
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(jobs::search::run(Arc::clone(&app), stop.clone())),
            tokio::spawn(jobs::checkpoint::run(Arc::clone(&app), stop.clone())),
        ];
        let writer = writer.start(Arc::clone(&app), stopped)?;
        Ok(Self {
            app,
            stop,
            stop_writer,
            writer,
            tasks,
        })
    }

    async fn stop(self) {
        self.stop.cancel();
        let _ = self.stop_writer.send(());
        let _ = self.writer.await;
        for task in self.tasks {
            let _ = task.await;
        }
        self.app
            .store
            .close(std::time::Duration::from_secs(10))
            .await;
    }
}
