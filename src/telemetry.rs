//! Logging: text for people, or one JSON object a line for machines. Always on stderr, so that
//! stdout stays for what the program answers.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{InvalidSetting, LogArgs};

/// Libraries that write what passes through them, tokens and links among it, when they are asked
/// for more than this: no filter has them do so.
const DISCREET: [(&str, LevelFilter); 9] = [
    ("tungstenite", LevelFilter::INFO),
    ("tokio_tungstenite", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("reqwest", LevelFilter::INFO),
    ("sqlx", LevelFilter::WARN),
    ("opentelemetry", LevelFilter::INFO),
    ("opentelemetry_sdk", LevelFilter::INFO),
    ("opentelemetry-otlp", LevelFilter::INFO),
];

/// Reads a filter. A word alone must be a level: the library takes any other for the name of a
/// part, and then `warning` is one that says everything, while the rest of the program says nothing.
fn filter(text: &str) -> Option<EnvFilter> {
    let mut directives = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let sound = directives.all(|part| part.contains('=') || part.parse::<LevelFilter>().is_ok());
    EnvFilter::try_new(text).ok().filter(|_| sound)
}

/// Starts logging.
///
/// # Errors
/// [`InvalidSetting`] when the filter or the format is none.
pub fn start(args: &LogArgs) -> Result<(), InvalidSetting> {
    let filter = filter(&args.log).ok_or_else(|| {
        let message = format!(
            "`{}` is not a filter such as info or info,bookbell=debug; levels are off, error, \
             warn, info, debug and trace",
            args.log
        );
        InvalidSetting::new("BOOKBELL_LOG", message)
    })?;
    // A directive of the filter's own would give way to a narrower one in it.
    let most = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let discreet = Targets::new().with_default(most).with_targets(DISCREET);
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // Else a line that cannot be written, because the disk is full, is a panic: the library
        // says so on stderr, which is where the line could not be written.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match args.log_format.as_str() {
        "text" => logs.finish().with(discreet).init(),
        "json" => {
            let logs = logs.json().flatten_event(true);
            logs.finish().with(discreet).init();
        }
        other => {
            let message = format!("`{other}` is neither text nor json");
            return Err(InvalidSetting::new("BOOKBELL_LOG_FORMAT", message));
        }
    }
    Ok(())
}
