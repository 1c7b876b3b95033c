//! The first run: what is set up, and sample bookings.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::answer;
use super::extract::{Admin, OptionalBody};
use super::problem::Answer;
use super::webhooks::receipt;
use crate::app::{App, Error};

pub(super) async fn read(State(app): State<Arc<App>>, Admin(_): Admin) -> Answer {
    let read = app.setup().await?;
    let body = json!({
        "webhookUrl": app.webhook_url(),
        "signingKeys": app.settings.signing_keys.len(),
        "deliveries": read.record.deliveries,
        "samples": read.record.samples,
    });
    Ok(answer::with_seq(read.seq, Json(body).into_response()))
}

pub(super) async fn send_sample(
    State(app): State<Arc<App>>,
    Admin(caller): Admin,
    OptionalBody(fields): OptionalBody,
) -> Answer {
    fields.finish().map_err(Error::Invalid)?;
    let answer = app.send_sample(&caller).await?;
    let location = [(
        header::LOCATION,
        format!("/api/deliveries/{}", answer.delivery_id),
    )];
    Ok((StatusCode::CREATED, location, Json(receipt(&answer))).into_response())
}

pub(super) async fn remove_samples(State(app): State<Arc<App>>, Admin(_): Admin) -> Answer {
    app.remove_samples().await?;
    Ok(answer::deleted())
}
