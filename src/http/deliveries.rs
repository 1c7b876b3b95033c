//! Deliveries, for admins.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::answer;
use super::extract::{Admin, OptionalBody, PathId, Query, page};
use super::problem::Answer;
use super::webhooks::receipt;
use crate::app::ingest::{Replayed, ReplayedDelivery};
use crate::app::{App, Error};
use crate::domain::delivery::{Delivery, DeliveryStatus, Reason};
use crate::domain::fields::Fields;
use crate::store::deliveries::Filter;

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    uri: Uri,
    Query(mut fields): Query,
) -> Answer {
    let filter = filter(&mut fields);
    let listed = app.deliveries(&filter, page(fields)?).await?;
    Ok(answer::list(&uri, &listed, Delivery::summary))
}

fn filter(fields: &mut Fields) -> Filter {
    Filter {
        status: fields.choice("status", &DeliveryStatus::ALL, |status| status.name()),
        event: fields.some_text("event", 200),
        since_ms: fields.time("since").map(|at| at.0),
        until_ms: fields.time("until").map(|at| at.0),
    }
}

pub(super) async fn counts(State(app): State<Arc<App>>, Admin(_): Admin) -> Answer {
    let counts = app.delivery_counts().await?;
    let by_status = DeliveryStatus::ALL.map(DeliveryStatus::name);
    let by_status = numbers(&by_status, &counts.by_status);
    let codes = Reason::REFUSALS.map(Reason::name);
    let body = json!({ "byStatus": by_status, "refused": numbers(&codes, &counts.refused) });
    Ok(answer::with_seq(counts.seq, Json(body).into_response()))
}

/// Each name with its number, also where that is 0.
fn numbers(names: &[&str], rows: &[(String, i64)]) -> Map<String, Value> {
    let number = |name: &&str| {
        let row = rows.iter().find(|(found, _)| found == name);
        ((*name).to_owned(), json!(row.map_or(0, |(_, n)| *n)))
    };
    names.iter().map(number).collect()
}

pub(super) async fn read(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    PathId(id): PathId,
) -> Answer {
    let read = app.delivery(&id).await?;
    Ok(answer::read_tagged(&read.record.view(), read.seq))
}

pub(super) async fn replay(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    PathId(id): PathId,
    OptionalBody(fields): OptionalBody,
) -> Answer {
    fields.finish().map_err(Error::Invalid)?;
    let answer = app.replay(&id).await?;
    Ok(Json(receipt(&answer)).into_response())
}

pub(super) async fn replay_all(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    OptionalBody(mut fields): OptionalBody,
) -> Answer {
    let filter = filter(&mut fields);
    let dry_run = fields.flag("dryRun").unwrap_or(false);
    fields.finish().map_err(Error::Invalid)?;
    let replayed = if dry_run {
        app.foresee_replay(&filter).await?
    } else {
        app.replay_all(&filter).await?
    };
    Ok(Json(replayed_view(&replayed, dry_run)).into_response())
}

fn replayed_view(replayed: &Replayed, dry_run: bool) -> Value {
    let number = |name: &&str| {
        let n = replayed.outcomes.get(name).copied().unwrap_or(0);
        ((*name).to_owned(), json!(n))
    };
    let outcomes: Map<String, Value> = Replayed::OUTCOMES.iter().map(number).collect();
    let delivery = |d: &ReplayedDelivery| {
        json!({
            "deliveryId": d.id, "was": d.was, "status": d.status, "reason": d.reason,
            "duplicateOf": d.duplicate_of,
        })
    };
    json!({
        "dryRun": dry_run,
        "matched": replayed.matched,
        "outcomes": outcomes,
        "deliveries": replayed.deliveries.iter().map(delivery).collect::<Vec<_>>(),
        "changes": replayed.changes,
        "complete": !replayed.stopped,
        "more": replayed.has_more(),
    })
}
