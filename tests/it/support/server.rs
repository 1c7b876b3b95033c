//! The real program as a process of its own, for what needs a port: sockets, signals, browsers.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::app::{ADMIN, KEY};
use super::database::Database;

/// How long anything may take before a test gives up on it. A bound, never a wait.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `bookbell serve`.
pub struct Server {
    child: Child,
    pub url: String,
    /// The lines it printed on stdout up to the last of its greeting.
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

impl Server {
    /// Starts on a database, on a free port, with the tests' key and admin.
    pub fn start(database: Database) -> Self {
        Self::start_with(database, &[])
    }

    /// Starts with more settings.
    pub fn start_with(database: Database, variables: &[(&str, &str)]) -> Self {
        let variables: Vec<_> = variables
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        let (child, url) = spawn(&database, "127.0.0.1:0", &variables);
        Self {
            child,
            url,
            database,
            variables,
        }
    }

    /// Starts again on the same address and database, after the process ended.
    pub fn restart(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        let (child, url) = spawn(&self.database, &address, &self.variables);
        self.child = child;
        self.url = url;
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to stop and answers its exit code and how long it took.
    pub fn terminate(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), started.elapsed());
            }
            assert!(started.elapsed() < PATIENCE, "it does not stop");
            std::thread::yield_now();
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(database: &Database, listen: &str, variables: &[(String, String)]) -> (Child, String) {
    let mut command = bookbell();
    command
        .arg("serve")
        .env("DATABASE_URL", &database.url)
        .env("BOOKBELL_LISTEN", listen)
        .env("BOOKBELL_CALENDLY_SIGNING_KEYS", KEY)
        .env("BOOKBELL_ADMIN_EMAIL", ADMIN.0)
        .env("BOOKBELL_ADMIN_PASSWORD", ADMIN.1)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(database.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let Some(url) = first.trim().strip_prefix("listening on ") else {
        let status = child.wait().unwrap();
        panic!("it did not start ({status}): {first}");
    };
    // The rest is read so that the program never waits for a reader.
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = lines.read_to_end(&mut rest);
    });
    (child, url.to_owned())
}
