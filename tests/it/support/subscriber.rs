//! The programs in `tests/client` as child processes: official Socket.IO clients, and Chromium.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use super::server::PATIENCE;

/// A program of `tests/client` that reports one JSON object a line.
pub struct Script {
    child: Child,
    stdin: ChildStdin,
    reports: UnboundedReceiver<Value>,
}

impl Script {
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let folder = super::variable("BOOKBELL_TEST_CLIENT_DIR");
        let mut child = Command::new("node")
            .arg(Path::new(&folder).join(name))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, reports) = unbounded_channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let report = serde_json::from_str(&line).unwrap_or_else(|_| json!(line));
                if sender.send(report).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take().unwrap();
        Self {
            child,
            stdin,
            reports,
        }
    }

    fn write(&mut self, command: &Value) {
        writeln!(self.stdin, "{command}").unwrap();
    }

    /// The next report; `None` when the program ended.
    pub async fn next(&mut self, what: &str, deadline: Instant) -> Option<Value> {
        let next = timeout_at(deadline, self.reports.recv()).await;
        next.unwrap_or_else(|_| panic!("{what} did not happen within {PATIENCE:?}"))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A durable event as a client received it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub seq: i64,
    pub id: String,
    pub at: String,
    pub name: String,
    pub payload: Value,
}

impl Event {
    /// The event in a report or in an item of `GET /api/events`.
    pub fn read(meta: &Value, of: &Value) -> Option<Self> {
        Some(Self {
            seq: meta["seq"].as_i64()?,
            id: meta["id"].as_str()?.to_owned(),
            at: meta["at"].as_str()?.to_owned(),
            name: of["name"].as_str()?.to_owned(),
            payload: of["payload"].clone(),
        })
    }
}

/// What one client reported, and how far a test has read it.
#[derive(Default)]
struct Story {
    reports: Vec<Value>,
    read: usize,
    events: usize,
    position: i64,
    /// How many reports there are of each type.
    kinds: HashMap<String, usize>,
}

/// Any number of official Socket.IO clients, each under a name.
pub struct Subscriber {
    script: Script,
    stories: HashMap<String, Story>,
}

impl Subscriber {
    pub async fn start() -> Self {
        let mut script = Script::start("subscriber.mjs", &[]);
        let deadline = Instant::now() + PATIENCE;
        let ready = script.next("a subscriber's start", deadline).await;
        assert_eq!(ready, Some(json!({ "type": "ready" })));
        Self {
            script,
            stories: HashMap::new(),
        }
    }

    /// Opens a client. `options` are those of `connect` in `tests/README.md`.
    pub fn open(&mut self, id: &str, url: &str, mut options: Value) {
        options["cmd"] = json!("connect");
        options["id"] = json!(id);
        options["url"] = json!(url);
        self.script.write(&options);
    }

    /// Opens a client of the token's owner, and waits until it is connected. Answers `connected`.
    pub async fn join(&mut self, id: &str, url: &str, token: &str, mut options: Value) -> Value {
        options["auth"]["token"] = json!(token);
        self.open(id, url, options);
        self.connected(id).await
    }

    /// Gives a command about a client: `disconnect`, `drop`, `pause`, …
    pub fn tell(&mut self, id: &str, command: &str) {
        self.script.write(&json!({ "cmd": command, "id": id }));
    }

    /// Makes a client send an event.
    pub fn emit(&mut self, id: &str, event: &str, args: &Value) {
        let command = json!({ "cmd": "emit", "id": id, "event": event, "args": args });
        self.script.write(&command);
    }

    /// The client's next report that is wanted, after those that were waited for before.
    pub async fn wait(&mut self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let story = self.story(id);
            while story.read < story.reports.len() {
                story.read += 1;
                if wanted(&story.reports[story.read - 1]) {
                    return story.reports[story.read - 1].clone();
                }
            }
            self.pump(id, what, deadline).await;
        }
    }

    fn story(&mut self, id: &str) -> &mut Story {
        self.stories.entry(id.to_owned()).or_default()
    }

    /// Takes in one report, of whichever client.
    async fn pump(&mut self, id: &str, what: &str, deadline: Instant) {
        let Ok(Some(report)) = timeout_at(deadline, self.script.reports.recv()).await else {
            let Story { reports, .. } = self.story(id);
            let last = reports.iter().rev().take(5);
            let brief = |report: &Value| report.to_string().chars().take(300).collect();
            let last: Vec<String> = last.map(brief).collect();
            panic!("{id}: no {what}; the last of {}: {last:#?}", reports.len());
        };
        self.take(report);
    }

    fn take(&mut self, report: Value) {
        let Some(of) = report["id"].as_str() else {
            panic!("the clients' program failed: {report}");
        };
        let story = self.story(of);
        if let Some(seq) = report["meta"]["seq"].as_i64() {
            story.events += 1;
            story.position = story.position.max(seq);
        }
        let kind = report["type"].as_str().unwrap_or_default();
        *story.kinds.entry(kind.to_owned()).or_default() += 1;
        story.reports.push(report);
    }

    /// The client's next report of this type.
    pub async fn report(&mut self, id: &str, kind: &str) -> Value {
        self.wait(id, kind, |report| report["type"] == kind).await
    }

    /// The payload of the client's next event of this name.
    pub async fn event(&mut self, id: &str, name: &str) -> Value {
        let is_it = |report: &Value| report["type"] == "event" && report["name"] == name;
        self.wait(id, name, is_it).await["payload"].clone()
    }

    /// The payload of `connected`.
    pub async fn connected(&mut self, id: &str) -> Value {
        self.event(id, "connected").await
    }

    /// Waits until the client has the event at this position, or a later one.
    pub async fn reach(&mut self, id: &str, seq: i64) {
        let deadline = Instant::now() + PATIENCE;
        while self.story(id).position < seq {
            self.pump(id, &format!("the event at {seq}"), deadline)
                .await;
        }
    }

    /// Waits until the client has this many durable events.
    pub async fn count(&mut self, id: &str, events: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.story(id).events < events {
            self.pump(id, &format!("event {events}"), deadline).await;
        }
    }

    /// Takes in what has been reported already.
    pub fn catch_up(&mut self) {
        while let Ok(report) = self.script.reports.try_recv() {
            self.take(report);
        }
    }

    /// How many reports of this type the client has made, of those that were taken in.
    pub fn number_of(&self, id: &str, kind: &str) -> usize {
        let story = self.stories.get(id);
        let number = story.and_then(|story| story.kinds.get(kind));
        number.copied().unwrap_or_default()
    }

    /// Waits until the client has made more than so many reports of this type.
    pub async fn more_than(&mut self, before: usize, id: &str, kind: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.number_of(id, kind) <= before {
            self.pump(id, kind, deadline).await;
        }
    }

    /// All durable events that the client has received, in the order it did.
    pub fn events(&self, id: &str) -> Vec<Event> {
        let reports = self.stories.get(id).map_or(&[][..], |story| &story.reports);
        let events = reports.iter().filter(|report| report["type"] == "event");
        events
            .filter_map(|report| Event::read(&report["meta"], report))
            .collect()
    }

    /// How many reports of this type the client has made.
    pub fn reports(&self, id: &str, kind: &str) -> Vec<Value> {
        let reports = self.stories.get(id).map_or(&[][..], |story| &story.reports);
        let of_kind = reports.iter().filter(|report| report["type"] == kind);
        of_kind.cloned().collect()
    }
}
