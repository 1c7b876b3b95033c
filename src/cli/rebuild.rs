//! `bookbell rebuild`: makes a database anew from the archive of another.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::user::{open, readable};
use super::{Misuse, note};
use crate::app::Error;
use crate::app::comparison::{Comparison, Tally, Unlike, compare};
use crate::app::ingest::Rebuilt;
use crate::config::{DatabaseArgs, database_url, has_scheme};
use crate::domain::difference::Change;
use crate::domain::secret::Secret;
use crate::store::deliveries::archive::{Found, is_same, is_unfinished, look};
use crate::store::deliveries::{Filter, count};
use crate::store::{Store, Tx};

const EXPLAINED: &str = "\
Reads the database that --database-url names, which must be there and may be in use: it sees one \
moment of it and changes nothing. Users with their passwords, connections, settings and every \
delivery go over; the deliveries that were processed are processed again, and the others are \
archived with the verdict they had. What is not in the archive cannot be made again: what people \
edited, decided, made by hand or deleted, sessions, and past events. Everybody signs in again, \
and clients that come with an old `since` are told to reload.

Examples:
  bookbell rebuild --into sqlite:///srv/again.db --check
  bookbell rebuild --database-url sqlite:///srv/bookbell.db --into postgres://bookbell@db/bookbell

Exit code: 0 when it went well, 1 when it failed or a check found a difference that people's \
edits do not explain, 2 when it was called wrongly.";

/// What `--database-url` is here; other commands make and migrate what it names.
const SOURCE: &str =
    "The database to read: `sqlite://path` or `postgres://…`; never made or changed";

/// How long apart lines about the progress are, where there is no bar.
const QUIET: Duration = Duration::from_secs(5);

/// Makes prospects and proposals anew from the archive of deliveries, in another database.
#[derive(Debug, Args)]
#[command(after_help = EXPLAINED, mut_arg("database_url", |url| url.help(SOURCE)))]
pub(super) struct RebuildArgs {
    /// The empty database to fill: `sqlite://path` or `postgres://…`; created when it is not there
    #[arg(long, value_name = "DATABASE_URL")]
    into: Secret,
    /// Afterwards compare both databases record by record
    #[arg(long)]
    check: bool,
    /// Only compare, with a database that was rebuilt before
    #[arg(long, conflicts_with = "check")]
    check_only: bool,
    /// One JSON object at the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Runs the command.
///
/// # Errors
/// One that says what is in the way, for one line on stderr.
pub(super) async fn run(args: RebuildArgs) -> anyhow::Result<ExitCode> {
    let from = database_url(args.database)?;
    let into = &args.into;
    check_urls(&from, into, args.check_only).await?;
    let source = Store::open_to_read(from.expose()).await?;
    let source = source.ok_or_else(|| anyhow!("the database to read is gone"))?;
    let mut archive = source.snapshot().await?;
    if is_unfinished(&mut archive.db()).await? {
        bail!("the database that --database-url names is itself a rebuild that was not finished");
    }
    let mut report = json!({});
    if !args.check_only {
        let (rebuilt, elapsed) = rebuild(&mut archive, into).await?;
        report["deliveries"] = counts(&rebuilt);
        report["seconds"] = json!(elapsed.as_secs_f64());
        if !args.json {
            tell_rebuilt(&rebuilt, elapsed)?;
        }
    }
    let mut equal = true;
    if args.check || args.check_only {
        let compared = check(&mut archive, into).await?;
        equal = compared.is_equal();
        report["equal"] = json!(equal);
        report["comparison"] = json!(compared);
        if !args.json {
            tell_compared(&compared)?;
        }
    }
    if args.json {
        writeln!(stdout(), "{report}")?;
    }
    Ok(if equal {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Refuses what could do harm before anything is opened for writing.
async fn check_urls(from: &Secret, into: &Secret, filled: bool) -> anyhow::Result<()> {
    if !has_scheme(into) {
        let message = "--into must begin with sqlite:// or postgres://";
        return Err(Misuse(message.to_owned()).into());
    }
    if is_same(from.expose(), into.expose())? {
        bail!("--into names the database that is read (--database-url); name another one");
    }
    match look(from.expose())
        .await
        .context("cannot read the database that --database-url names")?
    {
        Found::Ours => {}
        Found::Nothing => bail!("the database that --database-url names holds nothing to rebuild"),
        Found::Foreign => bail!("the database that --database-url names is not Bookbell's"),
    }
    match (
        look(into.expose())
            .await
            .context("cannot look at the database that --into names")?,
        filled,
    ) {
        (Found::Nothing, false) | (Found::Ours, true) => Ok(()),
        (_, true) => bail!("the database that --into names is not one that was rebuilt"),
        (_, false) => {
            bail!(
                "the database that --into names is not empty; nothing was changed: name a new one"
            )
        }
    }
}

async fn rebuild(archive: &mut Tx, into: &Secret) -> anyhow::Result<(Rebuilt, Duration)> {
    let started = Instant::now();
    let total = count(&mut archive.db(), &Filter::default()).await?;
    let store = Store::open(into.expose())
        .await
        .context("cannot open the database that --into names")?;
    let app = open(store.clone()).await?;
    let mut progress = Progress::new(u64::try_from(total).unwrap_or(0));
    let rebuilt = app
        .rebuild(&mut archive.db(), |done| progress.at(done))
        .await;
    progress.bar.finish_and_clear();
    store.close(Duration::from_secs(2)).await;
    let rebuilt = rebuilt.map_err(|error| match error {
        Error::Internal(cause) => {
            anyhow!(cause).context("the rebuild stopped; remove what it made before you try again")
        }
        error => readable(error),
    })?;
    Ok((rebuilt, started.elapsed()))
}

async fn check(archive: &mut Tx, into: &Secret) -> anyhow::Result<Comparison> {
    let rebuilt = Store::open_to_read(into.expose()).await?;
    let rebuilt = rebuilt.ok_or_else(|| anyhow!("the database that --into names is gone"))?;
    let mut rebuilt = rebuilt.snapshot().await?;
    if is_unfinished(&mut rebuilt.db()).await? {
        bail!("the rebuild of the database that --into names was not finished");
    }
    compare(&mut archive.db(), &mut rebuilt.db())
        .await
        .map_err(readable)
}

/// A bar, or a line once in a while where standard error is no terminal.
struct Progress {
    bar: ProgressBar,
    total: u64,
    told: Instant,
}

impl Progress {
    fn new(total: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left");
        let style = style.expect("the template is well formed");
        Self {
            bar: ProgressBar::new(total).with_style(style),
            total,
            told: Instant::now(),
        }
    }

    fn at(&mut self, done: u64) {
        self.bar.set_position(done);
        if !stderr().is_terminal() && self.told.elapsed() >= QUIET {
            self.told = Instant::now();
            note(format_args!("{done} of {} deliveries", self.total));
        }
    }
}

fn counts(rebuilt: &Rebuilt) -> Value {
    json!({
        "total": rebuilt.total(),
        "byStatus": rebuilt.by_status,
        "heldNow": rebuilt.held_now,
    })
}

fn tell_rebuilt(rebuilt: &Rebuilt, elapsed: Duration) -> anyhow::Result<()> {
    let mut out = stdout();
    let (total, seconds) = (rebuilt.total(), elapsed.as_secs_f64());
    writeln!(out, "rebuilt from {total} deliveries in {seconds:.1} s")?;
    for (status, n) in &rebuilt.by_status {
        writeln!(out, "  {status:<12} {n}")?;
    }
    for id in &rebuilt.held_now {
        writeln!(
            out,
            "  was processed, cannot be read any more and is held: {id}"
        )?;
    }
    Ok(())
}

fn tell_compared(compared: &Comparison) -> anyhow::Result<()> {
    let mut out = stdout();
    for unlike in &compared.differences {
        writeln!(out, "{}", line(unlike))?;
    }
    let total = compared.prospects.different + compared.proposals.different;
    let told = compared.differences.len() as u64;
    if total > told {
        writeln!(out, "… and {} more differences", total - told)?;
    }
    tell_tally(&mut out, "prospects", compared.prospects)?;
    tell_tally(&mut out, "proposals", compared.proposals)?;
    let verdict = if compared.is_equal() {
        "equal, people's edits aside"
    } else {
        "not equal"
    };
    writeln!(out, "{verdict}")?;
    Ok(())
}

fn tell_tally(out: &mut impl Write, what: &str, tally: Tally) -> std::io::Result<()> {
    let Tally {
        equal,
        edited,
        by_hand,
        different,
    } = tally;
    writeln!(
        out,
        "{what}: {equal} equal, {edited} edited by people, {by_hand} made by hand, \
         {different} different"
    )
}

fn line(unlike: &Unlike) -> String {
    let record = unlike.record;
    let field =
        |(name, Change { before, after }): (&String, &Change)| format!("{name} {before} → {after}");
    let fields: Vec<String> = unlike.fields.iter().map(field).collect();
    match (&unlike.id, &unlike.rebuilt_id) {
        (Some(id), Some(_)) => format!("{record} {id}: {}", fields.join(", ")),
        (Some(id), None) => format!("{record} {id}: missing from the rebuilt database"),
        (None, rebuilt) => {
            let id = rebuilt
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("{record} {id}: only in the rebuilt database")
        }
    }
}
