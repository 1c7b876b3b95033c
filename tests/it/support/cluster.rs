//! A Postgres of a test's own, that it can stop and start.

use std::fs::OpenOptions;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::database::Database;
use super::server::{PATIENCE, finish, lasting_address, signal};

/// A cluster in a folder of its own. Its server ends with the test, however that ends: it is in
/// the process group of the run.
pub struct Cluster {
    programs: PathBuf,
    folder: TempDir,
    address: String,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a cluster and starts it.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        if let Some((user, group)) = owner() {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let mut this = Self {
            programs: programs(),
            folder,
            // Not a port that the system gives to clients: it is started again.
            address: lasting_address(),
            server: None,
        };
        let mut initdb = this.program("initdb");
        initdb.args(["-U", "postgres", "--auth=trust", "--no-sync"]);
        initdb.args(["--encoding=UTF8", "--locale=C.UTF-8"]);
        let made = finish(&mut initdb, "");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        this.resume().await;
        this
    }

    /// Stops it. Clients are told; with `crash` everything ends where it is.
    pub fn stop(&mut self, crash: bool) {
        let mut server = self.server.take().expect("it runs");
        signal(server.id(), if crash { "QUIT" } else { "INT" });
        let deadline = Instant::now() + PATIENCE;
        while server.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                signal(server.id(), "KILL");
                let log = std::fs::read_to_string(self.folder.path().join("log"));
                panic!("Postgres does not stop: {}", log.unwrap());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it, and waits until it answers.
    pub async fn resume(&mut self) {
        let (_, port) = self.address.split_once(':').unwrap();
        let mut server = self.program("postgres");
        server.args(["-p", port, "-c", "listen_addresses=127.0.0.1"]);
        // Nothing has to outlive the machine, so nothing waits for the disk.
        let settings = ["fsync=off", "full_page_writes=off", "shared_buffers=16MB"];
        for setting in settings.iter().chain(&["unix_socket_directories="]) {
            server.args(["-c", setting]);
        }
        let log = self.folder.path().join("log");
        let log = OpenOptions::new().create(true).append(true).open(log);
        let server = server.stdin(Stdio::null()).stdout(Stdio::null());
        self.server = Some(server.stderr(log.unwrap()).spawn().unwrap());
        let url = self.url("postgres");
        let answers = async {
            while PgConnection::connect(&url).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let answers = tokio::time::timeout(PATIENCE, answers).await;
        answers.expect("Postgres does not answer");
    }

    /// A database in it, which the program makes at its first start.
    pub fn database(&self) -> Database {
        Database {
            url: self.url("bookbell"),
            folder: Arc::new(TempDir::new().unwrap()),
        }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        if let Some((user, group)) = owner() {
            command.uid(user).gid(group);
        }
        command.arg("-D").arg(self.folder.path().join("data"));
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.stop(true);
        }
    }
}

/// Postgres refuses to run as root; then it runs as this user and group.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let named = |name: &str| {
        let user = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut ids = user.split(':').skip(2).map(|id| id.parse().unwrap());
        Some((ids.next()?, ids.next()?))
    };
    Some(named("postgres").or_else(|| named("nobody")).unwrap())
}

/// The folder of the newest server there is, unless `tests/run` says which.
fn programs() -> PathBuf {
    if let Some(given) = std::env::var_os("BOOKBELL_TEST_POSTGRES_BIN") {
        return given.into();
    }
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let versions = installed
        .flatten()
        .map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = versions.chain(std::env::split_paths(&path)).collect();
    folders.retain(|folder| folder.join("initdb").exists() && folder.join("postgres").exists());
    let newest = folders.into_iter().max();
    newest.expect("no Postgres server in /usr/lib/postgresql/*/bin or PATH: run tests/run")
}
