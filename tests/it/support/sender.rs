//! A sender that behaves like Calendly: several posts at once, out of order, some of them twice,
//! and each again until it is answered 2xx. Some are such as are held, or that nobody knows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, RwLock, RwLockWriteGuard};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use super::api::{Api, calendly_uri, now_s};
use super::app::{KEY, Reply};
use super::payload::{Booking, routing_form};
use super::server::PATIENCE;
use super::soak::Chance;

/// How many posts are under way at once, where a test does not say.
pub const WORKERS: usize = 24;

/// How long one post waits for its answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The members whose bookings the story is about, beside those of nobody we know.
pub const HOSTS: [&str; 2] = ["amelie@example.com", "kwame@example.com"];

/// What must become of a delivery: its status and why, as in the answer to it and in the archive.
pub type Fate = (&'static str, Option<&'static str>);

/// What must become of most.
pub const PROCESSED: Fate = ("processed", None);

/// How old the signature of one is that is held for it, in seconds.
const STALE_S: i64 = 600;

/// A delivery of the story.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub body: Arc<Value>,
    pub fate: Fate,
}

impl Delivery {
    fn new(body: Value, fate: Fate) -> Self {
        let body = Arc::new(body);
        Self { body, fate }
    }

    /// One that is kept and changes nothing.
    fn odd(n: u32, kind: u64) -> Self {
        let mut booking = Booking::new(500_000 + n, &format!("odd{n}@example.org")).created();
        match kind {
            0 => Self::new(booking, ("quarantined", Some("stale_timestamp"))),
            1 => {
                booking["payload"].as_object_mut().unwrap().remove("uri");
                Self::new(booking, ("quarantined", Some("malformed_payload")))
            }
            _ => {
                booking["event"] = json!("invitee.teleported");
                Self::new(booking, ("ignored", Some("unhandled_event")))
            }
        }
    }

    /// When it is signed, each time that it is posted.
    fn signed_at_s(&self) -> i64 {
        let stale = self.fate.1 == Some("stale_timestamp");
        now_s() - if stale { STALE_S } else { 0 }
    }

    /// Checks an answer of 2xx, and answers which delivery it is said to be.
    fn expect_fate(&self, reply: &Reply) -> String {
        let said = reply.json();
        let fate = (said["status"].as_str().unwrap(), said["reason"].as_str());
        let is_held = self.fate.0 == "quarantined";
        // Its first answer may have been lost, and it be known since.
        let known = !is_held && fate == ("duplicate", None);
        assert!(known || fate == self.fate, "{said}, not {:?}", self.fate);
        let status = if is_held { 202 } else { 200 };
        assert_eq!(reply.status.as_u16(), status, "{said}");
        said["deliveryId"].as_str().unwrap().to_owned()
    }
}

/// One delivery of the story, and what came of it.
#[derive(Debug)]
struct Sent {
    delivery: Delivery,
    /// Which deliveries it was answered to be: one, however often it was posted.
    ids: HashSet<String>,
}

/// What is to come, and what came of what was sent.
#[derive(Debug)]
struct Story {
    chance: Chance,
    /// Whether most who book are new and do nothing more.
    newcomers: bool,
    bookings: u32,
    waiting: Vec<usize>,
    sent: Vec<Sent>,
    answered: usize,
    /// Answers that were not 2xx, by status; 0 where there was none.
    failed: BTreeMap<u16, usize>,
}

impl Story {
    /// The next delivery to post: any of some dozens that wait, so that no chain comes in order.
    fn next(&mut self) -> (usize, Delivery) {
        while self.waiting.len() < 40 {
            for body in self.chain() {
                self.add(Delivery::new(body, PROCESSED));
                // Of eight deliveries one is odd.
                if self.chance.below(7) == 0 {
                    let n = u32::try_from(self.sent.len()).unwrap();
                    let odd = Delivery::odd(n, self.chance.below(3));
                    self.add(odd);
                }
            }
        }
        let at = usize::try_from(self.chance.below(40)).unwrap();
        let index = self.waiting[at];
        // One in six comes again, some time later or at the same moment.
        if self.chance.below(6) > 0 {
            self.waiting.swap_remove(at);
        }
        (index, self.sent[index].delivery.clone())
    }

    fn add(&mut self, delivery: Delivery) {
        self.waiting.push(self.sent.len());
        let ids = HashSet::new();
        self.sent.push(Sent { delivery, ids });
    }

    /// What one person does: books, moves, cancels, does not come.
    fn chain(&mut self) -> Vec<Value> {
        let first = self.bookings + 1;
        if self.newcomers && self.chance.below(200) > 0 {
            self.bookings = first;
            return vec![Booking::new(first, &format!("new{first}@example.org")).created()];
        }
        let moves = u32::try_from(self.chance.below(3)).unwrap();
        let last = first + moves;
        self.bookings = last;
        let person = self.chance.below(u64::from(first).min(400));
        let email = format!("guest{person}@example.org");
        let host = self.chance.below(3);
        let mut bodies = Vec::new();
        for n in first..=last {
            let mut booking = Booking::new(n, &email);
            if let Some(host) = usize::try_from(host).ok().and_then(|host| HOSTS.get(host)) {
                booking = booking.host(&calendly_uri(host), host);
            }
            booking.old = Some(n - 1).filter(|_| n > first);
            bodies.push(booking.created());
            if n < last {
                bodies.push(booking.replaced_by(n + 1).canceled());
                continue;
            }
            match self.chance.below(4) {
                0 => bodies.push(booking.canceled()),
                1 => bodies.push(booking.no_show(0)),
                2 => bodies.extend([booking.no_show(0), booking.no_show_removed(0)]),
                _ => {}
            }
        }
        if self.chance.below(10) == 0 {
            bodies.push(routing_form(first, &email));
        }
        bodies
    }
}

/// A sender at work.
pub struct Sender {
    story: Arc<Mutex<Story>>,
    stopping: Arc<AtomicBool>,
    progress: Arc<Notify>,
    /// Whoever posts has it in common with the others; whoever holds them up has it alone.
    gate: Arc<RwLock<()>>,
    workers: JoinSet<()>,
}

impl Sender {
    /// Begins to post to these servers, so many deliveries a second.
    pub fn start(apis: &[Api], chance: &Chance, rate: u64) -> Self {
        let period = Duration::from_micros(1_000_000 / rate);
        Self::at_work(apis, chance, WORKERS, period, false)
    }

    /// Begins to post as fast as it can, so many at once, most of them first bookings.
    pub fn rush(api: Api, chance: &Chance, workers: usize) -> Self {
        Self::at_work(&[api], chance, workers, Duration::from_micros(100), true)
    }

    fn at_work(
        apis: &[Api],
        chance: &Chance,
        workers: usize,
        period: Duration,
        newcomers: bool,
    ) -> Self {
        let story = Arc::new(Mutex::new(Story {
            chance: chance.clone(),
            newcomers,
            bookings: 0,
            waiting: Vec::new(),
            sent: Vec::new(),
            answered: 0,
            failed: BTreeMap::new(),
        }));
        let mut this = Self {
            story,
            stopping: Arc::default(),
            progress: Arc::default(),
            gate: Arc::default(),
            workers: JoinSet::new(),
        };
        for n in 0..workers {
            let (api, story) = (apis[n % apis.len()].clone(), Arc::clone(&this.story));
            let (stopping, progress) = (Arc::clone(&this.stopping), Arc::clone(&this.progress));
            let gate = Arc::clone(&this.gate);
            let mut pace = interval(period * u32::try_from(workers).unwrap());
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            this.workers.spawn(async move {
                while !stopping.load(Ordering::Relaxed) {
                    let open = gate.read().await;
                    let (index, delivery) = story.lock().unwrap().next();
                    post_at_last(&api, &story, index, &delivery).await;
                    progress.notify_waiters();
                    drop(open);
                    pace.tick().await;
                }
            });
        }
        this
    }

    /// How many answers were 2xx so far.
    pub fn answered(&self) -> usize {
        self.story.lock().unwrap().answered
    }

    /// The answers that were not 2xx so far, by status; 0 for none.
    pub fn failed(&self) -> BTreeMap<u16, usize> {
        self.story.lock().unwrap().failed.clone()
    }

    /// The deliveries that were answered 2xx so far.
    pub fn acknowledged(&self) -> HashSet<String> {
        let story = self.story.lock().unwrap();
        story
            .sent
            .iter()
            .flat_map(|sent| sent.ids.clone())
            .collect()
    }

    /// Waits until all that was begun is answered 2xx, and has nothing be posted until what it
    /// answers is dropped.
    pub async fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        let held = timeout(PATIENCE, self.gate.write()).await;
        held.unwrap_or_else(|_| panic!("not answered 2xx: {:?}", self.failed()))
    }

    /// Waits until so many more answers were 2xx.
    pub async fn advance(&self, answers: usize) {
        let goal = self.answered() + answers;
        self.until(|story| story.answered >= goal).await;
    }

    /// Waits until so many more posts were refused or got no answer.
    pub async fn fail(&self, posts: usize) {
        let goal = self.failed().values().sum::<usize>() + posts;
        self.until(|story| story.failed.values().sum::<usize>() >= goal)
            .await;
    }

    async fn until(&self, reached: impl Fn(&Story) -> bool) {
        let reach = async {
            while !reached(&self.story.lock().unwrap()) {
                let _ = timeout(Duration::from_millis(20), self.progress.notified()).await;
            }
        };
        let reached = timeout(PATIENCE, reach).await;
        let (answered, failed) = (self.answered(), self.failed());
        assert!(reached.is_ok(), "stuck at {answered}; failed: {failed:?}");
    }

    /// Begins nothing new, waits until all that was begun is answered 2xx, and answers what it
    /// was, by the names it was answered to have.
    pub async fn finish(mut self) -> HashMap<String, Delivery> {
        self.stopping.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        let mut finished = true;
        while let Ok(Some(worker)) = timeout_at(deadline, self.workers.join_next()).await {
            worker.unwrap();
        }
        finished &= self.workers.is_empty();
        assert!(finished, "not answered 2xx: {:?}", self.failed());
        let story = self.story.lock().unwrap();
        let posted = story.sent.iter().filter(|sent| !sent.ids.is_empty());
        let mut named = HashMap::new();
        for sent in posted {
            assert_eq!(sent.ids.len(), 1, "one delivery under two names");
            let id = sent.ids.iter().next().unwrap().clone();
            let before = named.insert(id, sent.delivery.clone());
            assert!(before.is_none(), "two deliveries under one name");
        }
        named
    }
}

/// Posts until the answer is 2xx, as Calendly does, only sooner.
async fn post_at_last(api: &Api, story: &Mutex<Story>, index: usize, delivery: &Delivery) {
    loop {
        let body = delivery.body.to_string().into_bytes();
        let post = api.signed_at(delivery.signed_at_s(), KEY, body);
        let reply = Api::try_send(post.timeout(ANSWER)).await;
        let status = reply.as_ref().map_or(0, |reply| reply.status.as_u16());
        if let Ok(reply) = reply
            && reply.status.is_success()
        {
            let id = delivery.expect_fate(&reply);
            let mut story = story.lock().unwrap();
            story.sent[index].ids.insert(id);
            story.answered += 1;
            return;
        }
        assert!(status == 0 || status >= 500, "answered {status}");
        *story.lock().unwrap().failed.entry(status).or_default() += 1;
        // A sender's pause, so that it does not spin while nobody listens.
        sleep(Duration::from_millis(20)).await;
    }
}
