//! The event log over HTTP: the same events, in the same order, as over sockets.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::answer;
use super::extract::{Query, User, page};
use super::problem::{Answer, Problem};
use crate::app::{App, Error, Listed};
use crate::domain::event::Event;
use crate::domain::ids::Id;
use crate::domain::time::UtcMs;

#[derive(Serialize)]
struct EventView<'a> {
    seq: i64,
    id: &'a Id,
    at: UtcMs,
    name: &'a str,
    payload: &'a RawValue,
}

impl<'a> EventView<'a> {
    fn new(event: &'a Event) -> Result<Self, Error> {
        let payload = serde_json::from_str(&event.payload);
        let payload = payload.map_err(|error| Error::Internal(Box::new(error)))?;
        Ok(Self {
            seq: event.seq,
            id: &event.id,
            at: UtcMs(event.at_ms),
            name: &event.name,
            payload,
        })
    }
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    User(caller): User,
    uri: Uri,
    Query(mut fields): Query,
) -> Answer {
    let since = fields.some_text("since", 30);
    let since = since.map(|text| text.parse().ok().filter(|since| *since >= 0));
    if since == Some(None) {
        fields.fault(
            "since",
            "must be a position in the log: a whole number, not negative",
        );
    }
    let query = page(fields)?;
    match app.events(&caller, since.flatten(), query).await? {
        Ok(listed) => {
            let items = listed.items.iter().map(|event| EventView::new(event));
            let items = items.collect::<Result<Vec<_>, _>>()?;
            let Listed {
                next_cursor,
                total,
                seq,
                ..
            } = listed;
            let views = Listed {
                items,
                next_cursor,
                total,
                seq,
            };
            Ok(answer::list(&uri, &views, answer::value))
        }
        Err(seq) => Err(gone(seq)),
    }
}

/// The log does not serve that position: the client reloads its lists and goes on from the head.
fn gone(seq: i64) -> Problem {
    let detail = "the log does not reach back, or forward, that far; reload and go on from seq";
    Problem::new(StatusCode::GONE, "resync", detail).with("seq", json!(seq))
}
