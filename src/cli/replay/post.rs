//! Posts one signed body as Calendly would, and reads what came back.

use std::error::Error;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, Url, redirect};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::report::{as_ms, printable};
use crate::calendly::signature::{SigningKey, sign};
use crate::cli::sign::now_s;

/// Calendly's own limits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(15);

/// What is read of an answer's body, in bytes; the rest would only be shown to a person.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What is kept of each text in an answer, in characters.
const MAX_TEXT_CHARS: usize = 200;

/// Signs and posts bodies to one webhook.
pub(super) struct Poster {
    client: Client,
    url: Url,
    key: SigningKey,
    skew_s: i64,
}

/// What became of one post.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    /// The file that was posted.
    pub(super) file: String,
    /// The answer's status code, when there was an answer.
    pub(super) http_status: Option<u16>,
    /// The body's `status`: `processed`, `duplicate`, …
    pub(super) status: Option<String>,
    /// The body's `reason`, or the `code` of a problem.
    pub(super) reason: Option<String>,
    /// The body's `deliveryId`.
    pub(super) delivery_id: Option<String>,
    /// From sending to the end of the answer.
    #[serde(rename = "latencyMs", serialize_with = "serialize_ms")]
    pub(super) latency: Duration,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Answer {
    /// Whether Calendly would count the delivery as done.
    pub(super) fn is_success(&self) -> bool {
        self.http_status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

impl Poster {
    /// A poster for this webhook; signing times are `skew_s` seconds off the clock.
    pub(super) fn new(url: Url, key: SigningKey, skew_s: i64) -> anyhow::Result<Self> {
        let mut builder = Client::builder()
            .user_agent(concat!("bookbell-replay/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none());
        if url.scheme() == "http" {
            // Else no client can be made on a machine without a certificate store.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().context("cannot set up the HTTP client")?;
        Ok(Self {
            client,
            url,
            key,
            skew_s,
        })
    }

    /// Signs the body as of now, posts it and reads the answer. A failure is an answer too.
    pub(super) async fn post(&self, file: String, body: Bytes) -> Answer {
        let started = Instant::now();
        let outcome = self.exchange(body).await;
        let latency = started.elapsed();
        match outcome {
            Ok((status, body)) => read_answer(file, status, &body, latency),
            Err(error) => Answer {
                file,
                latency,
                error: Some(short_cause(&error)),
                ..Answer::default()
            },
        }
    }

    async fn exchange(&self, body: Bytes) -> reqwest::Result<(u16, Vec<u8>)> {
        let signature = sign(&self.key, now_s().saturating_add(self.skew_s), &body);
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Calendly-Webhook-Signature", signature)
            .body(body);
        let mut response = request.send().await?;
        Ok((response.status().as_u16(), read_body(&mut response).await?))
    }
}

async fn read_body(response: &mut Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            break;
        }
    }
    Ok(body)
}

fn read_answer(file: String, http_status: u16, body: &[u8], latency: Duration) -> Answer {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    // A problem's own `status` is a number, and so is not taken for the delivery's.
    let text = |field: &str| body[field].as_str().map(shortened);
    Answer {
        file,
        http_status: Some(http_status),
        status: text("status"),
        reason: text("reason").or_else(|| text("code")),
        delivery_id: text("deliveryId"),
        latency,
        error: None,
    }
}

fn shortened(text: &str) -> String {
    printable(text).chars().take(MAX_TEXT_CHARS).collect()
}

/// The innermost cause, in a few words: the outer ones repeat the URL, which may hold a password.
fn short_cause(error: &reqwest::Error) -> String {
    match (error.is_timeout(), error.is_connect()) {
        (true, true) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        (true, false) => format!("no answer within {} s", TIMEOUT.as_secs()),
        _ => {
            let causes = std::iter::successors(error.source(), |error| (*error).source());
            let text = causes
                .last()
                .map_or_else(|| "request failed".to_owned(), ToString::to_string);
            let words = text.split(" (os error ").next().unwrap_or_default();
            shortened(words)
        }
    }
}

fn serialize_ms<S: Serializer>(latency: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(as_ms(*latency))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        read_answer(
            "a.json".into(),
            status,
            body.as_bytes(),
            Duration::from_micros(1234),
        )
    }

    #[test]
    fn an_answer_is_read_from_its_body() {
        let body = r#"{"status":"quarantined","deliveryId":"d1","reason":"stale_timestamp"}"#;
        let answer = answer(202, body);
        assert!(answer.is_success());
        assert_eq!(
            serde_json::to_value(&answer).unwrap(),
            serde_json::json!({
                "file": "a.json", "httpStatus": 202, "status": "quarantined",
                "reason": "stale_timestamp", "deliveryId": "d1", "latencyMs": 1.234,
            })
        );
    }

    #[test]
    fn a_problem_gives_its_code_as_the_reason() {
        let answer = answer(
            401,
            r#"{"status":401,"code":"signature_mismatch","title":"x"}"#,
        );
        assert!(!answer.is_success());
        assert_eq!(
            (answer.status, answer.reason.as_deref()),
            (None, Some("signature_mismatch"))
        );
    }

    #[test]
    fn any_other_body_is_taken_as_nothing() {
        for body in ["<html>502</html>", "", "[]", "7"] {
            assert_eq!(answer(502, body).reason, None, "{body}");
        }
    }

    #[test]
    fn a_hostile_answer_cannot_drive_the_terminal() {
        let hostile = r#"{"status":"\u001b[2Jprocessed\u0007\r\n\u009b1m\u202e"}"#;
        assert_eq!(
            answer(200, hostile).status.as_deref(),
            Some("[2Jprocessed1m")
        );
        let long = format!(r#"{{"status":"{}"}}"#, "x".repeat(5000));
        assert_eq!(answer(200, &long).status.unwrap().len(), MAX_TEXT_CHARS);
    }
}
