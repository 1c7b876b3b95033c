//! The server under test: a child process on a free port of the loopback address.

use std::fs::OpenOptions;
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

use crate::common::booking::{HOSTS, KNOWN_HOSTS, SIGNING_KEY};
use crate::common::wire::Connection;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const LOG_TAIL_LINES: usize = 15;

const ADMIN_EMAIL: &str = "admin@bench.example";
const PASSWORD: &str = "bench password of no value";
/// Given, so that tokens outlive a restart of any program.
const JWT_SECRET: &str = "bench secret of no value, 32 bytes or more";

/// A running server, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    started_in: Duration,
    log: PathBuf,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its database.
    pub(crate) database_url: String,
    /// Its working folder, where its log goes.
    pub(crate) folder: PathBuf,
    /// Where it is to listen; port 0 for any free one.
    pub(crate) listen: SocketAddr,
}

impl Start {
    /// On any free port of the loopback address.
    pub(crate) fn anywhere(program: &Path, database_url: String, folder: &Path) -> Self {
        Self {
            // It runs in another folder, where a relative path would lead nowhere.
            program: program
                .canonicalize()
                .unwrap_or_else(|_| program.to_owned()),
            database_url,
            folder: folder.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

impl Server {
    /// Starts the program and waits until it listens.
    pub(crate) async fn start(with: &Start) -> anyhow::Result<Self> {
        let log = with.folder.join("server.log");
        let stderr = OpenOptions::new().append(true).create(true).open(&log)?;
        let started = Instant::now();
        let mut child = command(with)
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {}", with.program.display()))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut server = Self {
            child,
            address: with.listen,
            started_in: Duration::ZERO,
            log,
        };
        let announced = timeout(START_LIMIT, announcement(stdout)).await;
        let (address, at) = announced
            .context("the server did not listen in time")
            .flatten()
            .with_context(|| server.log_tail())?;
        ensure!(address.ip().is_loopback(), "not a loopback address");
        server.address = address;
        server.started_in = at - started;
        Ok(server)
    }

    /// From its start to the line that it listens.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
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
        let token = self.log_in_as(ADMIN_EMAIL).await?;
        let mut connection = Connection::open(self.address).await?;
        for host in &HOSTS[..KNOWN_HOSTS] {
            let user = json!({
                "email": host.email(), "name": host.name, "role": "member",
                "calendlyUserUri": host.calendly_uri(), "password": PASSWORD,
            });
            let made = connection.post_json("/api/users", Some(&token), &user);
            made.await?;
        }
        Ok(token)
    }

    /// A token of the user with this address.
    pub(crate) async fn log_in_as(&self, email: &str) -> anyhow::Result<String> {
        let mut connection = Connection::open(self.address).await?;
        let login = json!({"email": email, "password": PASSWORD});
        let session = connection.post_json("/api/auth/login", None, &login);
        let session = session.await?;
        let token = session["token"].as_str().context("log-in gave no token")?;
        Ok(token.to_owned())
    }

    /// Ends it at once, as a crash would, and waits until it has.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no process id")?, signal)?;
        Ok(())
    }

    /// Asks it to end, as an operator would, and waits until it has.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
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

fn command(with: &Start) -> Command {
    let mut command = Command::new(&with.program);
    // A developer's own settings must not change what is measured.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"BOOKBELL_") {
            command.env_remove(name);
        }
    }
    command
        .args(["serve", "--listen", &with.listen.to_string()])
        // Not an argument: it may hold a password, and any user can list arguments.
        .env("DATABASE_URL", &with.database_url)
        .env("BOOKBELL_CALENDLY_SIGNING_KEYS", SIGNING_KEY)
        .env("BOOKBELL_JWT_SECRET", JWT_SECRET)
        .env("BOOKBELL_ADMIN_EMAIL", ADMIN_EMAIL)
        .env("BOOKBELL_ADMIN_PASSWORD", PASSWORD)
        .current_dir(&with.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// The address on the line that says so, and when it came; the rest of stdout is read and dropped, so that the
/// server never waits for a reader.
async fn announcement(stdout: ChildStdout) -> anyhow::Result<(SocketAddr, Instant)> {
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
                let _ = found.send((address, Instant::now()));
            }
        }
    });
    address.await.context("the server ended before it listened")
}
