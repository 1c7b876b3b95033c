//! `bookbell sign`: signs one body as Calendly would, for a request made by hand.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use reqwest::Url;

use crate::calendly::signature::{SigningKey, sign};
use crate::domain::clock::{Clock, SystemClock};

/// Where a server that runs with its defaults takes webhooks.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:8080/webhooks/calendly";

const EXAMPLE: &str = "\
Examples:
  bookbell sign fixtures/events/invitee.created.json --key my-signing-key
  bookbell sign booking.json --key my-signing-key --skew -600 \\
    --url https://bookbell.example.com/webhooks/calendly
  cat booking.json | BOOKBELL_CALENDLY_SIGNING_KEYS=my-signing-key bookbell sign -

The signed request is good for as long as the server's tolerance, 180 seconds by default.";

/// Prints the signature header of a webhook body, and the curl line that sends it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct SignArgs {
    /// The body to sign, taken byte for byte; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    key: KeyArgs,

    /// Sign as of this Unix time instead of now
    #[arg(long, value_name = "UNIX_SECS", allow_negative_numbers = true)]
    at: Option<i64>,

    /// Shift the time of signing, to try what the server makes of a clock that is off
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    skew: i64,

    /// Where the curl line posts to
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL, value_parser = webhook_url)]
    url: Url,
}

/// The key of the commands that sign. It is never shown, in help, errors or debug output.
#[derive(clap::Args)]
pub(super) struct KeyArgs {
    /// Signing key of the webhook; of a comma-separated list the first is used
    ///
    /// Other users of the machine can see flags: prefer the variable.
    #[arg(
        long,
        value_name = "KEY",
        env = "BOOKBELL_CALENDLY_SIGNING_KEYS",
        hide_env_values = true,
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    key: String,
}

impl KeyArgs {
    /// The key to sign with; fails when there is only white space or commas.
    pub(super) fn signing_key(&self) -> anyhow::Result<SigningKey> {
        let first = self
            .key
            .split(',')
            .map(str::trim)
            .find(|key| !key.is_empty());
        first
            .and_then(SigningKey::new)
            .context("--key holds no signing key")
    }
}

impl fmt::Debug for KeyArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyArgs")
    }
}

/// Signs the file and prints the header and the curl line.
///
/// # Errors
/// When the file cannot be read or there is no usable key.
pub(super) fn run(args: SignArgs) -> anyhow::Result<()> {
    let SignArgs {
        file,
        key,
        at,
        skew,
        url,
    } = args;
    let key = key.signing_key()?;
    let body = read_body(&file)?;
    let signed_at_s = at.unwrap_or_else(now_s).saturating_add(skew);
    let header = format!(
        "Calendly-Webhook-Signature: {}",
        sign(&key, signed_at_s, &body)
    );
    let text = format!("{header}\n\n{}", curl_line(&file, &url, &header));
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// Now in seconds since the Unix epoch.
pub(super) fn now_s() -> i64 {
    SystemClock.now_ms().div_euclid(1000)
}

/// Reads a URL that can be posted to.
pub(super) fn webhook_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err("a webhook URL begins with http:// or https://".to_owned()),
    }
}

fn read_body(file: &Path) -> anyhow::Result<Vec<u8>> {
    if !is_stdin(file) {
        return std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    }
    let mut body = Vec::new();
    io::stdin()
        .read_to_end(&mut body)
        .context("cannot read standard input")?;
    Ok(body)
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn curl_line(file: &Path, url: &Url, header: &str) -> String {
    let note = if is_stdin(file) {
        "# give curl the same bytes on its standard input (@-)\n"
    } else {
        ""
    };
    let arguments = [
        "curl",
        "-sS",
        "-X",
        "POST",
        url.as_str(),
        "-H",
        "Content-Type: application/json",
        "-H",
        header,
        "--data-binary",
        &format!("@{}", file.display()),
    ];
    format!("{note}{}\n", arguments.map(shell_quoted).join(" "))
}

/// One word of a POSIX shell command.
fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_args(key: &str) -> KeyArgs {
        KeyArgs {
            key: key.to_owned(),
        }
    }

    #[test]
    fn plain_words_stay_and_others_are_quoted() {
        assert_eq!(shell_quoted("@a/b-c_1.json"), "@a/b-c_1.json");
        assert_eq!(shell_quoted("@my file.json"), "'@my file.json'");
        assert_eq!(shell_quoted("@it's"), r"'@it'\''s'");
        assert_eq!(shell_quoted("$(rm)`x`\"&"), "'$(rm)`x`\"&'");
        assert_eq!(shell_quoted(""), "''");
    }

    #[test]
    fn a_shell_reads_quoted_words_back_unchanged() {
        for word in [
            "it's",
            "a b",
            "$HOME",
            "two\nlines",
            "'",
            "\\",
            "é*?[x]~#",
            "!x",
        ] {
            let script = format!("printf %s {}", shell_quoted(word));
            let output = std::process::Command::new("sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn the_curl_line_sends_the_file() {
        let url = webhook_url("http://localhost:1/hook?a=1&b=2").unwrap();
        assert_eq!(
            curl_line(Path::new("a b.json"), &url, "H: t=1,v1=00"),
            "curl -sS -X POST 'http://localhost:1/hook?a=1&b=2' \
             -H 'Content-Type: application/json' -H 'H: t=1,v1=00' --data-binary '@a b.json'\n"
        );
    }

    #[test]
    fn the_curl_line_for_standard_input_says_so() {
        let url = webhook_url(DEFAULT_URL).unwrap();
        let text = curl_line(Path::new("-"), &url, "H: x");
        assert!(text.starts_with("# give curl the same bytes"), "{text}");
        assert!(text.ends_with("--data-binary @-\n"), "{text}");
    }

    #[test]
    fn the_first_key_of_a_list_signs() {
        let first = sign(&key_args(" ,one , two").signing_key().unwrap(), 1, b"{}");
        assert_eq!(
            first,
            sign(&key_args("one").signing_key().unwrap(), 1, b"{}")
        );
        assert_ne!(
            first,
            sign(&key_args("two").signing_key().unwrap(), 1, b"{}")
        );
        assert!(key_args(" , ").signing_key().is_err());
    }

    #[test]
    fn the_key_does_not_show_in_debug_output() {
        assert!(!format!("{:?}", key_args("s3cret")).contains("s3cret"));
    }

    #[test]
    fn only_web_addresses_are_urls_to_post_to() {
        assert!(webhook_url("https://example.com/x").is_ok());
        assert!(webhook_url("localhost:8080").is_err());
        assert!(webhook_url("/webhooks/calendly").is_err());
    }
}
