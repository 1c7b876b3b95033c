//! `bookbell user`: users without the API, for the first ones and for lost passwords.

use std::io::{self, Read, Write, stdout};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Misuse;
use crate::app::cursor::{LIMITS, PageQuery};
use crate::app::{App, Error, Settings};
use crate::config::{DatabaseArgs, database_url};
use crate::domain::clock::SystemClock;
use crate::domain::fields::{Fault, Fields};
use crate::domain::ids::UuidV7;
use crate::domain::secret::Secret;
use crate::domain::user::User;
use crate::domain::user_edit::{NewUser, UserEdit};
use crate::store::Store;
use crate::store::deliveries::archive::{Found, look};

/// Manage users.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bookbell user list\n  \
    bookbell user list --database-url sqlite:///srv/bookbell.db")]
pub(super) struct UserArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user
    #[command(
        after_help = "Example:\n  echo 'a long passphrase' | bookbell user add \
        --email ada@example.com \\\n    --name 'Ada Example' --role member --password-stdin"
    )]
    Add(AddArgs),
    /// List users
    #[command(after_help = "Example:\n  bookbell user list --json")]
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Give a user a new password; this signs it out everywhere
    #[command(
        after_help = "Example:\n  echo 'a long passphrase' | bookbell user passwd \
        --email ada@example.com --password-stdin"
    )]
    Passwd {
        /// The user's address
        #[arg(long)]
        email: String,
        /// Read the password from standard input
        #[arg(long, required = true)]
        password_stdin: bool,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The address to sign in with
    #[arg(long)]
    email: String,
    /// The name shown to others
    #[arg(long)]
    name: String,
    /// `admin` or `member`
    #[arg(long)]
    role: String,
    /// Calendly's URI of the same person, by which bookings find their owner
    #[arg(long, value_name = "URI")]
    calendly_user: Option<String>,
    /// Read the password from standard input
    #[arg(long, required = true)]
    password_stdin: bool,
}

impl AddArgs {
    fn request(&self) -> Value {
        json!({
            "email": self.email, "name": self.name, "role": self.role,
            "calendlyUserUri": self.calendly_user,
        })
    }

    /// Refuses arguments that do not fit, before a database is made or a password read.
    fn check(&self) -> Result<(), Misuse> {
        let read = UserEdit::read(fields(&self.request()));
        read.map(drop).map_err(|faults| Misuse(named(&faults)))
    }
}

/// Runs the command.
///
/// # Errors
/// One that says what did not fit, for one line on stderr.
pub(super) async fn run(args: UserArgs) -> anyhow::Result<ExitCode> {
    let url = database_url(args.database)?;
    if let Action::Add(add) = &args.action {
        add.check()?;
    }
    // A mistyped path would otherwise be a new, empty database, and the answer a wrong one.
    let makes = matches!(args.action, Action::Add(_));
    if !makes && look(url.expose()).await? == Found::Nothing {
        bail!("the database that --database-url names holds nothing yet");
    }
    let store = Store::open(url.expose()).await?;
    let app = open(store.clone()).await?;
    match args.action {
        Action::Add(user) => add(&app, user.request(), &password()?).await?,
        Action::List { json } => list(&app, json).await?,
        Action::Passwd { email, .. } => passwd(&app, &email, &password()?).await?,
    }
    store.close(std::time::Duration::from_secs(2)).await;
    Ok(ExitCode::SUCCESS)
}

/// The product without keys or secrets: enough for users, and for a rebuild.
pub(super) async fn open(store: Store) -> anyhow::Result<Arc<App>> {
    let settings = Settings {
        signing_keys: Vec::new(),
        signature_tolerance_s: 0,
        jwt_secret: Secret::new(String::new()),
        delivery_retention_ms: None,
        event_retention_ms: i64::MAX,
        public_url: String::new(),
    };
    let (app, _) = App::new(
        store,
        settings,
        Arc::new(SystemClock),
        Arc::new(UuidV7::new()),
    )
    .await?;
    Ok(app)
}

fn fields(request: &Value) -> Fields {
    Fields::new(request.as_object().cloned().unwrap_or_default())
}

async fn add(app: &App, mut request: Value, password: &str) -> anyhow::Result<()> {
    request["password"] = json!(password);
    let new = NewUser::read(fields(&request)).map_err(|faults| explained(&faults))?;
    let user = app.create_user(new).await.map_err(readable)?;
    writeln!(
        stdout(),
        "added {} {} ({})",
        user.role.name(),
        user.email.as_str(),
        user.id
    )?;
    Ok(())
}

async fn passwd(app: &App, email: &str, password: &str) -> anyhow::Result<()> {
    let user = app.user_by_email(&email.trim().to_lowercase()).await;
    let user = user.map_err(|error| match error {
        Error::NotFound => anyhow!("there is no user with the address {email}"),
        error => readable(error),
    })?;
    let edit = UserEdit::read(fields(&json!({ "password": password })));
    let edit = edit.map_err(|faults| explained(&faults))?;
    app.update_user(&user.id, edit, None, |_| true)
        .await
        .map_err(readable)?;
    writeln!(
        stdout(),
        "changed the password of {} and ended its sessions",
        user.email.as_str()
    )?;
    Ok(())
}

async fn list(app: &App, json: bool) -> anyhow::Result<()> {
    let mut cursor = None;
    loop {
        let page = app
            .users(PageQuery {
                limit: LIMITS.1,
                cursor,
            })
            .await
            .map_err(readable)?;
        page.items.iter().try_for_each(|user| print(user, json))?;
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn print(user: &User, json: bool) -> io::Result<()> {
    if json {
        return writeln!(stdout(), "{}", json!(user.view()));
    }
    let uri = user.calendly_user_uri.as_deref().unwrap_or("-");
    writeln!(
        stdout(),
        "{}  {:6}  {}  {}  {uri}",
        user.id,
        user.role.name(),
        user.email.as_str(),
        user.name
    )
}

/// The first line of standard input.
fn password() -> anyhow::Result<String> {
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(10_000);
    input
        .read_to_string(&mut text)
        .context("cannot read the password from standard input")?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        bail!("standard input holds no password");
    }
    Ok(password.to_owned())
}

/// An error in words for one line.
pub(super) fn readable(error: Error) -> anyhow::Error {
    match error {
        Error::Invalid(faults) => explained(&faults),
        Error::Conflict { detail, .. } => anyhow!(detail),
        error => anyhow!(error),
    }
}

fn explained(faults: &[Fault]) -> anyhow::Error {
    anyhow!(named(faults))
}

fn named(faults: &[Fault]) -> String {
    let each: Vec<String> = faults
        .iter()
        .map(|fault| format!("{} {}", fault.field, fault.message))
        .collect();
    each.join("; ")
}
