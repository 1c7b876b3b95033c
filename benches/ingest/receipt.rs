//! From post to socket: what was posted, held against what a subscriber heard.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::common::figures::{Percentiles, real};
use crate::common::load::{Plan, Post};
use crate::common::site::{Loaded, Site, share_of_all};
use crate::subscriber::{Heard, Receipt, Subscriber};

/// How long the socket may be silent while events are missing.
const SILENCE_LIMIT: Duration = Duration::from_secs(15);

/// The receipts of one run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// Bookings a second, answered in the time that counts.
    pub(crate) per_second: f64,
    /// From post to answer.
    pub(crate) answer_ms: Percentiles,
    /// From post to `prospect:created`.
    pub(crate) receipt_ms: Percentiles,
    /// From the answer to `prospect:created`, below zero when the socket was first.
    pub(crate) after_answer_ms: Percentiles,
    /// How long after the last answer the last event came.
    pub(crate) backlog_ms: f64,
    /// The part of the processor time that went to anybody else.
    pub(crate) others_share: f64,
    /// Whether everything arrived, once and in order.
    #[serde(flatten)]
    pub(crate) check: Check,
}

/// Whether the socket told the truth.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Check {
    posted: u64,
    refused: u64,
    heard: u64,
    missing: u64,
    twice: u64,
    unknown: u64,
    out_of_order: u64,
    proposals: u64,
}

impl Check {
    /// What is wrong, when something is.
    pub(crate) fn fault(&self) -> Option<String> {
        let good = Self {
            posted: self.posted,
            heard: self.posted,
            proposals: self.posted,
            ..Self::default()
        };
        (*self != good).then(|| format!("{self:?}"))
    }

    /// How many bookings or events were not as they should be.
    pub(crate) fn wrong(&self) -> u64 {
        let proposals = self.proposals.abs_diff(self.posted);
        self.refused + self.missing + self.twice + self.unknown + self.out_of_order + proposals
    }
}

/// Posts while a subscriber listens.
pub(crate) async fn measure(site: &mut Site, plan: Plan) -> anyhow::Result<Run> {
    let server = site.server.address();
    let subscriber = Subscriber::connect(server, &site.token).await?;
    let loaded = site.load(plan).await?;
    let expected = loaded.tally.processed * 2;
    let heard = subscriber.finish(expected, SILENCE_LIMIT).await?;
    Ok(compare(&loaded, &heard, plan))
}

fn compare(loaded: &Loaded, heard: &Heard, plan: Plan) -> Run {
    let tally = &loaded.tally;
    let mut check = Check {
        posted: tally.processed,
        refused: tally.refused,
        out_of_order: heard.out_of_order,
        proposals: heard.proposals,
        ..Check::default()
    };
    let received = first_receipts(&heard.receipts, &mut check);
    let (mut answers, mut receipts, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    let mut known = 0;
    for post in &tally.posts {
        let Some(received) = received.get(&post.key) else {
            check.missing += 1;
            continue;
        };
        known += 1;
        if loaded.span.counts(post.answered) {
            answers.push(ms_between(post.sent, post.answered));
            receipts.push(ms_between(post.sent, *received));
            differences.push(ms_between(post.answered, *received));
        }
    }
    check.unknown = check.heard - known;
    Run {
        per_second: real(tally.counted) / plan.measured.as_secs_f64(),
        answer_ms: Percentiles::of(answers),
        receipt_ms: Percentiles::of(receipts),
        after_answer_ms: Percentiles::of(differences),
        backlog_ms: backlog_ms(&tally.posts, &heard.receipts),
        others_share: share_of_all(loaded.used.others(), plan),
        check,
    }
}

fn first_receipts(receipts: &[Receipt], check: &mut Check) -> HashMap<u64, Instant> {
    let mut first = HashMap::with_capacity(receipts.len());
    for receipt in receipts {
        if first.insert(receipt.key, receipt.received).is_some() {
            check.twice += 1;
        }
    }
    check.heard = first.len() as u64;
    first
}

fn backlog_ms(posts: &[Post], receipts: &[Receipt]) -> f64 {
    let answered = posts.iter().map(|post| post.answered).max();
    let received = receipts.iter().map(|receipt| receipt.received).max();
    match (answered, received) {
        (Some(answered), Some(received)) => ms_between(answered, received).max(0.0),
        _ => 0.0,
    }
}

/// Below zero when the second moment was first.
fn ms_between(from: Instant, until: Instant) -> f64 {
    let after = until.saturating_duration_since(from).as_secs_f64();
    let before = from.saturating_duration_since(until).as_secs_f64();
    (after - before) * 1e3
}
