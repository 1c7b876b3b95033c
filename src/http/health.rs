//! What operators and tools ask: is it alive, is it ready, what does it speak.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::timeout;

use super::problem::{Answer, Problem};
use crate::app::App;

/// How long the database may take to be called ready. Who asks gives up soon, and would be left
/// without an answer by one that is waited for.
const ANSWER: Duration = Duration::from_secs(2);

const OPENAPI: &str = include_str!("openapi.json");

pub(super) async fn alive() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Migrations run before the program listens, so that a reachable database is a migrated one.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Answer {
    let mut failing = Vec::new();
    if !matches!(timeout(ANSWER, app.extent()).await, Ok(Ok(_))) {
        failing.push(json!({ "field": "database", "message": "cannot be reached" }));
    } else if timeout(ANSWER, app.can_write()).await != Ok(true) {
        failing.push(json!({ "field": "database", "message": "cannot be written" }));
    }
    if !app.log.is_followed(app.now_ms()) {
        failing.push(json!({ "field": "deliveryLoop", "message": "does not run" }));
    }
    if !app.queue.is_served() {
        failing.push(json!({ "field": "writer", "message": "does not run" }));
    }
    if failing.is_empty() {
        return Ok(Json(json!({ "status": "ready" })).into_response());
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let problem = Problem::new(
        status,
        "not_ready",
        "the program cannot do its work; see errors",
    );
    Err(problem.with("errors", json!(failing)))
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
