//! The real program as a process of its own, for what needs a port: sockets, signals, browsers.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::api::Api;
use super::app::{ADMIN, KEY};
use super::database::Database;

/// How long anything may take before a test gives up on it. A bound, never a wait.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A running `bookbell serve`.
pub struct Server {
    process: Process,
    pub url: String,
    pub database: Database,
    variables: Vec<(String, String)>,
}

/// The program, ready for its arguments, with no setting taken from the environment.
pub fn bookbell() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bookbell"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("BOOKBELL_") || text == "DATABASE_URL" {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end, with this text on its standard input.
pub fn finish(command: &mut Command, stdin: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    // It may end without reading it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let (sender, output) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    output.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        signal(pid, "KILL");
        panic!("it does not end: {command:?}")
    })
}

/// An address to listen on again after a restart. Not one of those the system gives to clients:
/// another could be given it in between.
pub fn lasting_address() -> String {
    let seed = uuid::Uuid::now_v7().as_u128();
    let ports = (0..).map(|n| 10_000 + (seed + n) % 20_000);
    let mut addresses = ports.map(|port| format!("127.0.0.1:{port}"));
    addresses
        .find(|address| TcpListener::bind(address).is_ok())
        .unwrap()
}

impl Server {
    /// Starts on a database, on a free port, with the tests' key and admin.
    pub fn start(database: Database) -> Self {
        Self::start_with(database, &[])
    }

    /// Starts on an address that it can be started on again.
    pub fn start_to_restart(database: Database) -> Self {
        Self::start_with(database, &[("BOOKBELL_LISTEN", &lasting_address())])
    }

    /// Starts with more settings. An empty one counts as not set.
    pub fn start_with(database: Database, variables: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().map(own).collect();
        let (process, url) = Process::start(&database, &variables);
        Self {
            process,
            url,
            database,
            variables,
        }
    }

    /// Starts again with the same settings, after the process ended.
    pub fn restart(&mut self) {
        (self.process, self.url) = Process::start(&self.database, &self.variables);
    }

    /// Starts a second node on the same database, on a free port.
    pub fn second_node(&self) -> Self {
        Self::start(self.database.clone())
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
    }

    /// Asks the process to stop and answers its exit code and how long it took.
    pub fn terminate(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        signal(self.pid(), "TERM");
        self.process.read_to_end();
        let status = self.process.child.wait().unwrap();
        (status.code(), started.elapsed())
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Requests to it.
    pub fn api(&self) -> Api {
        Api::new(&self.url)
    }

    /// What it printed on stdout, once it was stopped.
    pub fn greeting(&self) -> &[String] {
        &self.process.printed
    }

    /// What it wrote to stderr so far, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.database.folder.path().join(LOG)).unwrap()
    }
}

/// Sends a signal.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Where a server's stderr goes, in its database's folder.
const LOG: &str = "stderr.log";

struct Process {
    child: Child,
    printed: Vec<String>,
    lines: Receiver<String>,
}

impl Process {
    fn start(database: &Database, variables: &[(String, String)]) -> (Self, String) {
        let child = bookbell()
            .arg("serve")
            .env("DATABASE_URL", &database.url)
            .env("BOOKBELL_LISTEN", "127.0.0.1:0")
            .env("BOOKBELL_CALENDLY_SIGNING_KEYS", KEY)
            .env("BOOKBELL_ADMIN_EMAIL", ADMIN.0)
            .env("BOOKBELL_ADMIN_PASSWORD", ADMIN.1)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(database.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file(database))
            .spawn();
        let mut child = child.unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        // Read to the end, so that the program never waits for a reader.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut this = Self {
            child,
            printed: Vec::new(),
            lines,
        };
        let first = this.lines.recv_timeout(PATIENCE).unwrap_or_default();
        this.printed.push(first);
        let Some(url) = this.printed[0].strip_prefix("listening on ") else {
            let log = database.folder.path().join(LOG);
            let log = std::fs::read_to_string(log).unwrap();
            panic!("it did not start: {:?} {log}", this.printed);
        };
        let url = url.to_owned();
        (this, url)
    }

    /// Reads stdout to its end, which comes with the process'.
    fn read_to_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.printed.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it does not stop"),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_file(database: &Database) -> File {
    let path = database.folder.path().join(LOG);
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}
