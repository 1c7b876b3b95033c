//! What an operator can set, by flag or by environment variable; the flag wins.

use std::net::SocketAddr;

use axum::http::HeaderValue;
use clap::Args;

use crate::calendly::signature::SigningKey;
use crate::domain::email::Email;
use crate::domain::secret::Secret;
use crate::domain::user_edit::PASSWORD;
use crate::realtime::{FIXED_PATH, is_within};

/// The shortest secret for tokens, in bytes: as long as the hash it keys (RFC 7518, 3.2).
const SECRET_BYTES: usize = 32;

/// Paths of the program's own: these, and what is below them, are not for sockets, but for
/// [`FIXED_PATH`].
const TAKEN: [&str; 7] = [
    "/api",
    "/webhooks",
    "/assets",
    "/healthz",
    "/readyz",
    "/docs",
    "/metrics",
];

/// Which database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// Database: `sqlite://path` or `postgres://…`; created and migrated at start
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        default_value = "sqlite://bookbell.db",
        hide_env_values = true
    )]
    pub database_url: Secret,
}

/// How the program logs.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// What is logged: a level, or a filter such as `info,bookbell=debug`
    #[arg(long, env = "BOOKBELL_LOG", default_value = "info")]
    pub log: String,
    /// How it is logged: `text`, or `json` for one object a line
    #[arg(long, env = "BOOKBELL_LOG_FORMAT", default_value = "text")]
    pub log_format: String,
}

/// The settings of `bookbell serve`, as given.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  bookbell serve\n  \
    BOOKBELL_CALENDLY_SIGNING_KEYS=KEY bookbell serve --listen 0.0.0.0:8080 \\\n    \
    --public-url https://bookbell.example.com --database-url postgres://bookbell@db/bookbell")]
pub struct ServeArgs {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Address to listen on; port 0 picks one
    #[arg(long, env = "BOOKBELL_LISTEN", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Where the program is reached from outside, for the webhook URL and links [default: the
    /// listen address]
    #[arg(long, env = "BOOKBELL_PUBLIC_URL")]
    public_url: Option<String>,
    /// Secret of tokens (HS256), 32 bytes or more [default: made at first start and kept in the
    /// database]
    #[arg(long, env = "BOOKBELL_JWT_SECRET", hide_env_values = true)]
    jwt_secret: Option<Secret>,
    /// Keys that verify POST /webhooks/calendly, separated by commas; any of them verifies.
    /// Without one every delivery is refused
    #[arg(long, env = "BOOKBELL_CALENDLY_SIGNING_KEYS", hide_env_values = true)]
    calendly_signing_keys: Option<Secret>,
    /// How far a signature's time may be from now, in seconds, on both sides
    #[arg(long, env = "BOOKBELL_SIGNATURE_TOLERANCE_SECS", default_value = "180")]
    signature_tolerance_secs: String,
    /// E-mail address of the first admin, made when there is no user
    #[arg(
        long,
        env = "BOOKBELL_ADMIN_EMAIL",
        default_value = "admin@bookbell.local"
    )]
    admin_email: String,
    /// Password of the first admin, 12 characters or more [default: generated, printed once]
    #[arg(long, env = "BOOKBELL_ADMIN_PASSWORD", hide_env_values = true)]
    admin_password: Option<Secret>,
    /// Origins whose pages may call the API and connect sockets, separated by commas [default:
    /// the same origin only]
    #[arg(long, env = "BOOKBELL_CORS_ORIGINS")]
    cors_origins: Option<String>,
    /// Path of Socket.IO; /api/socketio always works too
    #[arg(long, env = "BOOKBELL_SOCKET_PATH", default_value = "/socket.io")]
    socket_path: String,
    /// How many days events can be replayed
    #[arg(long, env = "BOOKBELL_EVENT_RETENTION_DAYS", default_value = "30")]
    event_retention_days: String,
    /// How many days the bodies and headers of deliveries are kept; what they said stays, and the
    /// same event is still a duplicate [default: for ever]
    #[arg(long, env = "BOOKBELL_DELIVERY_RETENTION_DAYS")]
    delivery_retention_days: Option<String>,
    /// Where to export traces by OTLP over HTTP (protobuf), such as `http://localhost:4318` [default:
    /// none are made]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    otel_exporter_otlp_endpoint: Option<Secret>,
    /// The same for traces alone, as the whole URL; goes before the other
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        hide_env_values = true
    )]
    otel_exporter_otlp_traces_endpoint: Option<Secret>,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The settings of `bookbell serve`, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The database's URL, which may hold a password.
    pub database_url: Secret,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Where the program is reached from outside, without a slash at the end; `None` for the
    /// address it listens on.
    pub public_url: Option<String>,
    /// The secret of tokens; `None` for the one in the database.
    pub jwt_secret: Option<Secret>,
    /// Keys that verify deliveries.
    pub signing_keys: Vec<SigningKey>,
    /// How far a signature's time may be from now, in seconds.
    pub signature_tolerance_s: u64,
    /// The first admin's address.
    pub admin_email: String,
    /// The first admin's password; `None` to generate one.
    pub admin_password: Option<Secret>,
    /// Origins allowed to call from pages.
    pub cors_origins: Vec<HeaderValue>,
    /// The path of Socket.IO.
    pub socket_path: String,
    /// How long events are kept, in milliseconds.
    pub event_retention_ms: i64,
    /// How long the bodies and headers of deliveries are kept, in milliseconds; `None` for ever.
    pub delivery_retention_ms: Option<i64>,
    /// Where traces are posted, which may hold a password; `None` to make none.
    pub traces_url: Option<Secret>,
    /// Whether what goes to stderr is one JSON object a line.
    pub log_json: bool,
}

/// A setting that cannot be used, said in one line that never shows a secret.
#[derive(Debug, thiserror::Error)]
#[error("{variable} (--{flag}): {message}")]
pub struct InvalidSetting {
    variable: &'static str,
    flag: String,
    message: String,
}

impl InvalidSetting {
    /// Says what is wrong with a variable, and names its flag beside it.
    pub fn new(variable: &'static str, message: impl Into<String>) -> Self {
        let name = variable.strip_prefix("BOOKBELL_").unwrap_or(variable);
        let flag = name.to_lowercase().replace('_', "-");
        Self {
            variable,
            flag,
            message: message.into(),
        }
    }
}

fn invalid(variable: &'static str, message: impl Into<String>) -> InvalidSetting {
    InvalidSetting::new(variable, message)
}

impl TryFrom<ServeArgs> for Config {
    type Error = InvalidSetting;

    fn try_from(args: ServeArgs) -> Result<Self, InvalidSetting> {
        Ok(Self {
            database_url: database_url(args.database)?,
            listen: listen(&args.listen)?,
            public_url: public_url(given(args.public_url).as_deref())?,
            jwt_secret: jwt_secret(set(args.jwt_secret))?,
            signing_keys: signing_keys(args.calendly_signing_keys.as_ref()),
            signature_tolerance_s: number(
                "BOOKBELL_SIGNATURE_TOLERANCE_SECS",
                &args.signature_tolerance_secs,
                86_400,
            )?,
            admin_email: admin_email(args.admin_email)?,
            admin_password: admin_password(set(args.admin_password))?,
            cors_origins: cors_origins(args.cors_origins.as_deref())?,
            socket_path: socket_path(&args.socket_path)?,
            event_retention_ms: retention_ms(
                "BOOKBELL_EVENT_RETENTION_DAYS",
                &args.event_retention_days,
            )?,
            delivery_retention_ms: given(args.delivery_retention_days)
                .map(|days| retention_ms("BOOKBELL_DELIVERY_RETENTION_DAYS", &days))
                .transpose()?,
            traces_url: traces_url(
                set(args.otel_exporter_otlp_endpoint),
                set(args.otel_exporter_otlp_traces_endpoint),
            )?,
            log_json: args.log.log_format == "json",
        })
    }
}

/// The URL of the database, checked as far as it can be without opening it.
///
/// # Errors
/// [`InvalidSetting`] for a scheme that is neither SQLite's nor Postgres'.
pub fn database_url(args: DatabaseArgs) -> Result<Secret, InvalidSetting> {
    let url = args.database_url;
    if has_scheme(&url) {
        return Ok(url);
    }
    let message = "must begin with sqlite:// or postgres://";
    Err(invalid("DATABASE_URL", message))
}

/// Whether a database's URL begins as one of SQLite's or Postgres' does.
pub(crate) fn has_scheme(url: &Secret) -> bool {
    let schemes = ["sqlite:", "postgres://", "postgresql://"];
    schemes
        .iter()
        .any(|scheme| url.expose().starts_with(scheme))
}

fn set(secret: Option<Secret>) -> Option<Secret> {
    secret.filter(|secret| !secret.expose().trim().is_empty())
}

/// A variable that is set to nothing counts as not set.
fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.trim().is_empty())
}

fn listen(text: &str) -> Result<SocketAddr, InvalidSetting> {
    text.parse().map_err(|_| {
        let message = format!("`{text}` is not an address with a port, such as 127.0.0.1:8080");
        invalid("BOOKBELL_LISTEN", message)
    })
}

fn public_url(text: Option<&str>) -> Result<Option<String>, InvalidSetting> {
    let Some(text) = text else { return Ok(None) };
    let url = text.trim().trim_end_matches('/');
    let parsed = reqwest::Url::parse(url).ok();
    let usable = parsed.is_some_and(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if usable {
        return Ok(Some(url.to_owned()));
    }
    // Not as it is: it may hold a password.
    let message =
        "must be a URL such as https://bookbell.example.com, without a user, a path or a query";
    Err(invalid("BOOKBELL_PUBLIC_URL", message))
}

/// The signal's own URL is taken as it is; to the common one its path is added (the standard's
/// "OTLP exporter configuration").
fn traces_url(
    common: Option<Secret>,
    own: Option<Secret>,
) -> Result<Option<Secret>, InvalidSetting> {
    let (variable, url) = match (own, common) {
        (Some(own), _) => (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            own.expose().trim().to_owned(),
        ),
        (None, Some(common)) => {
            let base = common.expose().trim().trim_end_matches('/');
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{base}/v1/traces"))
        }
        (None, None) => return Ok(None),
    };
    let parsed = reqwest::Url::parse(&url).ok();
    if parsed.is_some_and(|url| ["http", "https"].contains(&url.scheme())) {
        return Ok(Some(Secret::new(url)));
    }
    let message = "must be a URL such as http://localhost:4318";
    Err(invalid(variable, message))
}

fn jwt_secret(secret: Option<Secret>) -> Result<Option<Secret>, InvalidSetting> {
    match secret {
        Some(secret) if secret.expose().len() < SECRET_BYTES => {
            let message = format!("must have {SECRET_BYTES} bytes or more");
            Err(invalid("BOOKBELL_JWT_SECRET", message))
        }
        secret => Ok(secret),
    }
}

fn signing_keys(list: Option<&Secret>) -> Vec<SigningKey> {
    let list = list.map_or("", Secret::expose);
    list.split(',').filter_map(SigningKey::new).collect()
}

fn number(variable: &'static str, text: &str, max: u64) -> Result<u64, InvalidSetting> {
    let number = text
        .trim()
        .parse()
        .ok()
        .filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| {
        invalid(
            variable,
            format!("`{text}` is not a whole number from 1 to {max}"),
        )
    })
}

fn retention_ms(variable: &'static str, text: &str) -> Result<i64, InvalidSetting> {
    let days = number(variable, text, 36_500)?;
    Ok(i64::try_from(days).unwrap_or(36_500) * 24 * 60 * 60 * 1000)
}

fn admin_email(text: String) -> Result<String, InvalidSetting> {
    match Email::parse_bare(&text) {
        Some(_) => Ok(text),
        None => Err(invalid(
            "BOOKBELL_ADMIN_EMAIL",
            format!("`{text}` is not an e-mail address"),
        )),
    }
}

fn admin_password(password: Option<Secret>) -> Result<Option<Secret>, InvalidSetting> {
    let (min, max) = PASSWORD;
    match password {
        Some(text) if !(min..=max).contains(&text.expose().chars().count()) => {
            let message = format!("must have {min} to {max} characters");
            Err(invalid("BOOKBELL_ADMIN_PASSWORD", message))
        }
        password => Ok(password),
    }
}

fn cors_origins(list: Option<&str>) -> Result<Vec<HeaderValue>, InvalidSetting> {
    let origins = list.unwrap_or_default().split(',').map(str::trim);
    let origin = |text: &str| {
        let url = reqwest::Url::parse(text).ok();
        let is_origin = url.is_some_and(|url| {
            ["http", "https"].contains(&url.scheme())
                && url.origin().ascii_serialization() == text
                && !text.contains('*')
        });
        let value = HeaderValue::from_str(text).ok().filter(|_| is_origin);
        value.ok_or_else(|| {
            let message = format!("`{text}` is not an origin such as https://app.example.com");
            invalid("BOOKBELL_CORS_ORIGINS", message)
        })
    };
    origins
        .filter(|text| !text.is_empty())
        .map(origin)
        .collect()
}

fn socket_path(text: &str) -> Result<String, InvalidSetting> {
    let refuse = |message| Err(invalid("BOOKBELL_SOCKET_PATH", message));
    let path = text.trim_end_matches('/');
    let plain = path
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    if !path.starts_with('/') || !plain || path.contains("//") {
        return refuse(format!("`{text}` is not a path such as /socket.io"));
    }
    match TAKEN.iter().find(|taken| is_within(path, taken)) {
        Some(taken) if path != FIXED_PATH => refuse(format!(
            "`{text}` is, or is below, {taken}, a path of the program's own"
        )),
        _ => Ok(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_sockets_beside_those_that_are_taken_is_taken_as_it_is() {
        for path in [
            "/socket.io",
            "/api/socketio",
            "/live/ring",
            "/metrics-live",
            "/metric",
            "/a",
        ] {
            assert_eq!(socket_path(path).unwrap(), path);
        }
    }

    #[test]
    fn a_path_of_sockets_that_is_taken_is_refused_with_what_has_it() {
        let said = |path: &str| socket_path(path).unwrap_err().to_string();
        for (path, taken) in [
            ("/api", "/api"),
            ("/api/auth", "/api"),
            ("/api/socketio/live", "/api"),
            ("/webhooks/", "/webhooks"),
            ("/metrics/live", "/metrics"),
        ] {
            let named = format!("below, {taken}, a path of the program's own");
            assert!(said(path).contains(&named), "{}", said(path));
        }
        for path in ["/", "", "no-slash", "/a//b", "/a?b"] {
            assert!(said(path).contains("is not a path"), "{}", said(path));
        }
    }
}
