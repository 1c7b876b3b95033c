//! The server under test: a child process on a free port of the loopback address.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::booking::{HOSTS, KNOWN_HOSTS, SIGNING_KEY};
use crate::wire::Connection;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const LOG_TAIL_LINES: usize = 15;

const ADMIN_EMAIL: &str = "admin@bench.example";
const PASSWORD: &str = "bench password of no value";

/// A running server, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts the program with this database and waits until it listens.
    pub(crate) async fn start(
        program: &Path,
        database_url: &str,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let log = folder.join("server.log");
        let mut child = command(program, database_url, folder)
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
        };
        let announced = timeout(START_LIMIT, announcement(stdout)).await;
        server.address = announced
            .context("the server did not listen in time")
            .flatten()
            .with_context(|| server.log_tail())?;
        ensure!(server.address.ip().is_loopback(), "not a loopback address");
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it wrote to stderr, to explain a failure.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(LOG_TAIL_LINES).collect();
        let tail: Vec<_> = lines.into_iter().rev().collect();
        format!("the server's last lines:\n{}", tail.join("\n"))
    }

    /// Logs the admin in, makes the known hosts users, and returns the admin's token.
    pub(crate) async fn log_in(&self) -> anyhow::Result<String> {
        let mut connection = Connection::open(self.address).await?;
        let login = json!({"email": ADMIN_EMAIL, "password": PASSWORD});
        let session = connection.post_json("/api/auth/login", None, &login);
        let session = session.await?;
        let token = session["token"].as_str().context("log-in gave no token")?;
        for host in &HOSTS[..KNOWN_HOSTS] {
            let user = json!({
                "email": host.email(), "name": host.name, "role": "member",
                "calendlyUserUri": host.calendly_uri(), "password": PASSWORD,
            });
            let made = connection.post_json("/api/users", Some(token), &user);
            made.await?;
        }
        Ok(token.to_owned())
    }

    /// Asks it to end, as an operator would, and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no process id")?, Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success(),
                    "the server ended with {status}; {}",
                    self.log_tail()
                );
                return Ok(());
            }
            sleep(Duration::from_millis(5)).await;
        }
        anyhow::bail!("the server did not end within {STOP_LIMIT:?}")
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: &Path, database_url: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    // A developer's own settings must not change what is measured.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"BOOKBELL_") {
            command.env_remove(name);
        }
    }
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        // Not an argument: it may hold a password, and any user can list arguments.
        .env("DATABASE_URL", database_url)
        .env("BOOKBELL_CALENDLY_SIGNING_KEYS", SIGNING_KEY)
        .env("BOOKBELL_ADMIN_EMAIL", ADMIN_EMAIL)
        .env("BOOKBELL_ADMIN_PASSWORD", PASSWORD)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// The address on the line that says so; the rest of stdout is read and dropped, so that the
/// server never waits for a reader.
async fn announcement(stdout: ChildStdout) -> anyhow::Result<SocketAddr> {
    let (found, address) = oneshot::channel();
    thread::spawn(move || {
        let mut found = Some(found);
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let address = line
                .trim()
                .strip_prefix("listening on http://")
                .and_then(|address| address.parse().ok());
            if let Some(address) = address
                && let Some(found) = found.take()
            {
                // Nobody waits any more once the time limit is over.
                let _ = found.send(address);
            }
        }
    });
    address.await.context("the server ended before it listened")
}
