//! Statistics.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use super::answer;
use super::extract::{Body, Query, User, number};
use super::problem::Answer;
use crate::app::statistics::ScreenTimes;
use crate::app::{App, Error};
use crate::domain::fields::Fields;
use crate::domain::statistics::{DAYS, read_screen_times};

/// The days of a period that nobody named.
const DEFAULT_DAYS: i64 = 30;

pub(super) async fn read(
    State(app): State<Arc<App>>,
    User(caller): User,
    Query(mut fields): Query,
) -> Answer {
    let days = number(&mut fields, "days", DEFAULT_DAYS, DAYS);
    let zone = time_zone(&mut fields);
    fields.finish().map_err(Error::Invalid)?;
    let read = app.statistics(&caller, days, &zone).await?;
    let mut body = answer::value(&read.record.view());
    body["days"] = json!(days);
    body["timezone"] = json!(zone);
    body["screen"] = json!(app.screen.times().map(screen));
    Ok(answer::with_seq(read.seq, Json(body).into_response()))
}

fn time_zone(fields: &mut Fields) -> String {
    let zone = match fields.time_zone("timezone") {
        Some(None) => fields.refuse("timezone", "must not be empty"),
        zone => zone.flatten(),
    };
    zone.unwrap_or_else(|| "UTC".to_owned())
}

fn screen(times: ScreenTimes) -> serde_json::Value {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({ "samples": times.samples, "p50Ms": ms(times.p50), "p95Ms": ms(times.p95) })
}

pub(super) async fn report(
    State(app): State<Arc<App>>,
    User(_): User,
    Body(fields): Body,
) -> Answer {
    let times = read_screen_times(fields).map_err(Error::Invalid)?;
    app.screen.note(&times);
    Ok(StatusCode::NO_CONTENT.into_response())
}
