//! `bookbell replay`: signs files and posts them to a webhook, as Calendly would.

mod files;
mod fresh_ids;
mod post;
mod report;
mod schedule;
mod summary;

use std::future::pending;
use std::io::{Write, stdout};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use reqwest::Url;
use tokio::task::JoinSet;
use tokio::time::{Interval, interval};

use super::note;
use super::sign::{DEFAULT_URL, KeyArgs, webhook_url};
use files::Fixture;
use fresh_ids::FreshIds;
use post::{Answer, Poster};
use report::Report;
use schedule::{Schedule, Turn};

/// What a shell expects of a program that Ctrl-C ended: 128 and the signal's number.
const EXIT_INTERRUPTED: u8 = 130;

const EXAMPLE: &str = "\
Examples:
  bookbell replay fixtures --key my-signing-key
  bookbell replay fixtures --key my-signing-key --fresh-ids --times 50 --concurrency 8 --rate 100
  bookbell replay booking.json --key my-signing-key --duplicate 3 --skew -600 --json

Exit code: 0 when every answer was 2xx, 1 when any was not, 130 after Ctrl-C.";

/// Signs and posts webhook files or whole folders, and reports each answer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct ReplayArgs {
    /// Files, or folders whose .json files are sent sorted by path
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,

    /// Where to post
    #[arg(long, value_name = "WEBHOOK_URL", default_value = DEFAULT_URL, value_parser = webhook_url)]
    url: Url,

    #[command(flatten)]
    key: KeyArgs,

    /// Posts per second, on average; without it the next goes out as soon as one is answered
    ///
    /// Raise --concurrency too where answers take longer than the time between two posts.
    #[arg(long, value_name = "N", value_parser = period)]
    rate: Option<Duration>,

    /// How many posts may be under way at once; above 1 they may overtake each other
    #[arg(long, value_name = "N", default_value = "1")]
    concurrency: NonZeroUsize,

    /// Send each file N times in all, one right after the other
    #[arg(long, value_name = "N", default_value = "1")]
    duplicate: NonZeroUsize,

    /// Send the whole set N times; with --fresh-ids each round makes new bookings
    #[arg(long, value_name = "N", default_value = "1")]
    times: NonZeroUsize,

    /// Send in random order
    #[arg(long)]
    shuffle: bool,

    /// Repeat the order of an earlier --shuffle
    #[arg(long, value_name = "N", requires = "shuffle")]
    seed: Option<u64>,

    /// Sign with a clock that is off by so many seconds
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    skew: i64,

    /// Give bookings and invitees new ids and addresses, so that old files make new bookings
    ///
    /// An id is replaced by the same new one in all files of a round, so that the two halves of
    /// a reschedule still fit, and invitees' addresses get a tag: ada+r1a2b3c4d5e@example.com.
    /// Hosts, guests and event types stay. The JSON is written anew; without this flag bodies
    /// are sent byte for byte.
    #[arg(long)]
    fresh_ids: bool,

    /// Print one JSON object a line for each answer, and a summary as the last
    #[arg(long)]
    json: bool,
}

/// Posts everything and reports it. The exit code tells whether every answer was 2xx.
///
/// # Errors
/// When a path cannot be read, there is no usable key, or the report cannot be written.
pub(super) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let replay = Arc::new(Replay::new(&args)?);
    let seed = args
        .shuffle
        .then(|| args.seed.map_or_else(random_seed, Ok))
        .transpose()?;
    let schedule = Schedule::new(replay.fixtures.len(), args.duplicate, args.times, seed);
    replay.warn_of_unchanged();
    if let Some(seed) = seed {
        note(format_args!("bookbell: shuffled with --seed {seed}"));
    }
    let mut report = Report::new(stdout(), schedule.total(), args.json, seed);
    let cut_off = post_all(&replay, &schedule, &args, &mut report).await?;
    let tally = report.finish(cut_off)?;
    Ok(match (cut_off, tally.failed) {
        (Some(_), _) => ExitCode::from(EXIT_INTERRUPTED),
        (None, 0) => ExitCode::SUCCESS,
        (None, _) => ExitCode::FAILURE,
    })
}

/// Posts what the schedule says, at the pace asked. When Ctrl-C comes it stops, and gives how
/// many posts were under way.
async fn post_all<W: Write>(
    replay: &Arc<Replay>,
    schedule: &Schedule,
    args: &ReplayArgs,
    report: &mut Report<W>,
) -> anyhow::Result<Option<usize>> {
    let mut pace = args.rate.map(interval);
    let mut turns = schedule.turns().peekable();
    let mut under_way = JoinSet::new();
    let mut interruption = pin!(interruption());
    while turns.peek().is_some() || !under_way.is_empty() {
        let may_post = turns.peek().is_some() && under_way.len() < args.concurrency.get();
        tokio::select! {
            biased;
            () = &mut interruption => return Ok(Some(under_way.len())),
            Some(answer) = under_way.join_next() => report.answered(&answer?)?,
            () = next_slot(&mut pace), if may_post => {
                if let Some(turn) = turns.next() {
                    let replay = Arc::clone(replay);
                    under_way.spawn(async move { replay.post(turn).await });
                }
            }
        }
    }
    Ok(None)
}

/// Waits until the pace allows the next post. After a stall it catches up, so that the rate
/// holds on average.
async fn next_slot(pace: &mut Option<Interval>) {
    if let Some(pace) = pace {
        pace.tick().await;
    }
}

/// Waits for Ctrl-C; for ever where the system does not tell of it.
async fn interruption() {
    if tokio::signal::ctrl_c().await.is_err() {
        pending::<()>().await;
    }
}

/// What every post of a run needs.
struct Replay {
    fixtures: Vec<Fixture>,
    poster: Poster,
    /// Makes this run's ids differ from every other's, when they shall be fresh.
    salt: Option<[u8; 16]>,
}

impl Replay {
    fn new(args: &ReplayArgs) -> anyhow::Result<Self> {
        let key = args.key.signing_key()?;
        let fixtures = files::read(&args.paths)?;
        let poster = Poster::new(args.url.clone(), key, args.skew)?;
        let salt = args.fresh_ids.then(random_salt).transpose()?;
        Ok(Self {
            fixtures,
            poster,
            salt,
        })
    }

    async fn post(&self, turn: Turn) -> Answer {
        let fixture = &self.fixtures[turn.file];
        self.poster
            .post(fixture.label.clone(), self.body(fixture, turn.round))
            .await
    }

    fn body(&self, fixture: &Fixture, round: usize) -> Bytes {
        let fresh = self
            .salt
            .and_then(|salt| FreshIds::new(&salt, round).rewrite(&fixture.body));
        fresh.map_or_else(|| fixture.body.clone(), Bytes::from)
    }

    /// Says which files cannot have fresh ids.
    fn warn_of_unchanged(&self) {
        let Some(salt) = self.salt else { return };
        let ids = FreshIds::new(&salt, 0);
        for fixture in self
            .fixtures
            .iter()
            .filter(|f| ids.rewrite(&f.body).is_none())
        {
            note(format_args!(
                "bookbell: {} is not JSON and is sent without fresh ids",
                fixture.label
            ));
        }
    }
}

/// The time between posts at a rate per second.
fn period(rate: &str) -> Result<Duration, String> {
    let rate: f64 = rate.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.001..=100_000.0).contains(&rate) {
        return Err("a rate is between 0.001 and 100000 per second".to_owned());
    }
    Ok(Duration::from_secs_f64(1.0 / rate))
}

fn random_salt() -> anyhow::Result<[u8; 16]> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| anyhow!("no random numbers: {error}"))?;
    Ok(salt)
}

/// A seed short enough to type again.
fn random_seed() -> anyhow::Result<u64> {
    let seed = getrandom::u32().map_err(|error| anyhow!("no random numbers: {error}"))?;
    Ok(seed.into())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        replay: ReplayArgs,
    }

    fn parse(line: &str) -> Result<ReplayArgs, clap::Error> {
        let words = "replay --key k3y".split(' ').chain(line.split(' '));
        Line::try_parse_from(words).map(|line| line.replay)
    }

    #[test]
    fn a_command_line_is_read() {
        let args = parse("a b --rate 4 --skew -600 --shuffle --seed 7 --duplicate 3").unwrap();
        assert_eq!(args.paths, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(args.rate, Some(Duration::from_millis(250)));
        assert_eq!(
            (args.skew, args.seed, args.duplicate.get()),
            (-600, Some(7), 3)
        );
        assert_eq!(args.url.as_str(), DEFAULT_URL);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "a --rate 0",
            "a --rate nan",
            "a --duplicate 0",
            "a --seed 7",
            "a --url x",
            "--json",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn help_and_debug_output_do_not_show_the_key() {
        assert!(!format!("{:?}", parse("a").unwrap()).contains("k3y"));
        let command = Line::command();
        let key = command
            .get_arguments()
            .find(|argument| argument.get_id() == "key");
        assert!(key.unwrap().is_hide_env_values_set());
    }
}
