//! The real program as a process of its own, for what needs a port: sockets, signals, browsers.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
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
    /// What a shell does before it becomes the program.
    prologue: Option<&'static str>,
}

/// The program, ready for its arguments, with no setting taken from the environment.
pub fn bookbell() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bookbell"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("BOOKBELL_") || text.starts_with("OTEL_") || text == "DATABASE_URL" {
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

/// Has a server refuse to start on a database, and answers the last line it says.
pub fn refusal(database: &Database) -> String {
    let mut command = bookbell();
    command.arg("serve").env("DATABASE_URL", &database.url);
    let ended = finish(command.env("BOOKBELL_LISTEN", "127.0.0.1:0"), "");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(ended.stdout.is_empty());
    said.lines().last().unwrap().to_owned()
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
        let (process, url) = Process::start(&mut command(None), &database, &variables);
        Self {
            process,
            url,
            database,
            variables,
            prologue: None,
        }
    }

    /// Starts in a shell that does something before: what is set in it, the program inherits.
    pub fn start_after(prologue: &'static str, database: Database) -> Self {
        let mut program = command(Some(prologue));
        let (process, url) = Process::start(&mut program, &database, &[]);
        Self {
            process,
            url,
            database,
            variables: Vec::new(),
            prologue: Some(prologue),
        }
    }

    /// Begins to start, at once or after a shell did something. Where it listens is not known.
    pub fn begin(
        prologue: Option<&'static str>,
        database: Database,
        variables: &[(&str, &str)],
    ) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().map(own).collect();
        Self {
            process: Process::spawn(&mut command(prologue), &database, &variables),
            url: String::new(),
            database,
            variables,
            prologue,
        }
    }

    /// Starts, and is killed after this time, wherever it then is.
    pub fn start_and_kill(database: Database, after: Duration) -> Self {
        let mut this = Self::begin(None, database, &[]);
        std::thread::sleep(after);
        this.kill();
        this
    }

    /// Starts again with the same settings, after the process ended.
    pub fn restart(&mut self) {
        let mut program = command(self.prologue);
        (self.process, self.url) = Process::start(&mut program, &self.database, &self.variables);
    }

    /// Starts again, and is killed after this time, wherever it then is.
    pub fn restart_and_kill(&mut self, after: Duration) {
        let mut program = command(self.prologue);
        self.process = Process::spawn(&mut program, &self.database, &self.variables);
        std::thread::sleep(after);
        self.kill();
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
        std::fs::read_to_string(self.log_path()).unwrap()
    }

    /// Where that is written to.
    pub fn log_path(&self) -> PathBuf {
        self.database.folder.path().join(LOG)
    }
}

/// Sends a signal.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// The program, at once or after a shell did something.
fn command(prologue: Option<&str>) -> Command {
    let Some(prologue) = prologue else {
        return bookbell();
    };
    let program = bookbell();
    let mut shell = Command::new("bash");
    shell
        .arg("-c")
        .arg(format!("{prologue}; exec \"$0\" \"$@\""));
    shell.arg(program.get_program());
    for (name, value) in program.get_envs() {
        assert!(value.is_none(), "only removes what is in the environment");
        shell.env_remove(name);
    }
    shell
}

/// Where a server's stderr goes, in its database's folder.
const LOG: &str = "stderr.log";

struct Process {
    child: Child,
    printed: Vec<String>,
    lines: Receiver<String>,
}

impl Process {
    fn start(
        program: &mut Command,
        database: &Database,
        variables: &[(String, String)],
    ) -> (Self, String) {
        let mut this = Self::spawn(program, database, variables);
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

    fn spawn(program: &mut Command, database: &Database, variables: &[(String, String)]) -> Self {
        let child = program
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
        Self {
            child,
            printed: Vec::new(),
            lines,
        }
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
