//! Logging: text for people, or one JSON object a line for machines. Always on stderr, so that
//! stdout stays for what the program answers.

use std::io::IsTerminal;

use anyhow::{Context, bail};
use tracing_subscriber::EnvFilter;

use crate::config::LogArgs;

/// Starts logging.
///
/// # Errors
/// When the filter or the format is none.
pub fn start(args: &LogArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log)
        .with_context(|| format!("BOOKBELL_LOG (--log): `{}` is not a filter", args.log))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match args.log_format.as_str() {
        "text" => logs.init(),
        "json" => logs.json().flatten_event(true).init(),
        other => bail!("BOOKBELL_LOG_FORMAT (--log-format): `{other}` is neither text nor json"),
    }
    Ok(())
}
