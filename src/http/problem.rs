//! Errors as clients see them: problem documents (RFC 9457). The one place that turns errors of
//! operations into status codes.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::Error;
use crate::app::error::chain;
use crate::domain::fields::Fault;
use crate::domain::ids::Id;

/// A problem document.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    extra: Vec<(&'static str, Value)>,
    headers: Vec<(header::HeaderName, String)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            extra: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.extra.push((name, value));
        self
    }

    fn header(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:bookbell:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        for (name, value) in self.extra {
            body[name] = value;
        }
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, body.to_string()).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// What a handler answers.
pub(super) type Answer = Result<Response, Problem>;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let unavailable = error.is_unavailable();
        match error {
            Error::Invalid(faults) => invalid(&faults),
            Error::Unauthenticated(code) => {
                let problem = Self::new(StatusCode::UNAUTHORIZED, code, unauthenticated(code));
                // A 401 has to say what it wants (RFC 9110, 15.5.2), and that is no token here.
                let wanted = match code.strip_prefix("signature_") {
                    Some(_) => "Calendly-Webhook-Signature",
                    None => "Bearer",
                };
                problem.header(header::WWW_AUTHENTICATE, wanted)
            }
            Error::Forbidden(detail) => Self::new(StatusCode::FORBIDDEN, "forbidden", detail),
            Error::NotFound => not_found("there is no such record, or none you may see"),
            Error::Conflict {
                code,
                detail,
                existing_id,
            } => conflict(code, detail, existing_id),
            Error::Stale => {
                let detail = "the record has changed since you read it; read it again";
                Self::new(
                    StatusCode::PRECONDITION_FAILED,
                    "precondition_failed",
                    detail,
                )
            }
            Error::TooManyAttempts(seconds) => {
                let detail = format!("too many attempts; wait {seconds} s");
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", detail)
                    .header(header::RETRY_AFTER, seconds.to_string())
            }
            Error::Busy => {
                let detail = "this cannot be taken just now; try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
                    .header(header::RETRY_AFTER, "1")
            }
            Error::Internal(source) => {
                tracing::error!(error = chain(&*source), "a request failed");
                if unavailable {
                    return Error::Busy.into();
                }
                let detail =
                    "the request could not be carried out; the cause is in the server's log";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            }
        }
    }
}

fn invalid(faults: &[Fault]) -> Problem {
    let named: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    let detail = format!("not valid: {}", named.join(", "));
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "validation_failed",
        detail,
    )
    .with("errors", json!(faults))
}

fn conflict(code: &'static str, detail: String, existing_id: Option<Id>) -> Problem {
    let problem = Problem::new(StatusCode::CONFLICT, code, detail);
    let Some(id) = existing_id else {
        return problem;
    };
    problem
        .header(header::LOCATION, format!("/api/prospects/{id}"))
        .with("existingId", json!(id))
}

fn unauthenticated(code: &str) -> &'static str {
    match code {
        "token_missing" => "send an access token: Authorization: Bearer <token>",
        "token_expired" => "the access token has expired; refresh it",
        "token_invalid" => "the access token is not valid, or its session has ended",
        "invalid_credentials" => "the e-mail address or the password is wrong",
        "refresh_token_missing" => "send refreshToken, or the cookie from the same origin",
        "refresh_token_invalid" => "the refresh token is not valid, or its session has ended",
        "refresh_token_reused" => "the refresh token was used before; the session has ended",
        "signature_missing" => "the Calendly-Webhook-Signature header is missing",
        "signature_malformed" => "the Calendly-Webhook-Signature header cannot be read",
        "signature_mismatch" => "no signing key made this signature for this body",
        _ => "not authenticated",
    }
}

pub(super) fn not_found(detail: &'static str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

pub(super) async fn no_such_path() -> Problem {
    not_found("there is nothing at this path")
}

pub(super) async fn no_such_method() -> Problem {
    let detail = "this path does not take this method; see the Allow header";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Logs each request by its route: paths carry ids and queries carry what people search for.
pub(super) async fn log_requests(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    let status = response.status().as_u16();
    let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(%method, route, status, elapsed_us, "request");
    response
}
