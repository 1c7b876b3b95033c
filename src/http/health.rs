//! What operators and tools ask: is it alive, is it ready, what does it speak.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::problem::{Answer, Problem};
use crate::app::App;

const OPENAPI: &str = include_str!("openapi.json");

pub(super) async fn alive() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Answer {
    let parts = app.readiness().await;
    let failing = parts.iter().filter_map(|part| {
        let message = part.fault?;
        Some(json!({ "field": part.name, "message": message }))
    });
    let failing: Vec<_> = failing.collect();
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
