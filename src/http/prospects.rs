//! Prospects.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;
use serde_json::{Map, json};

use super::answer;
use super::extract::{Body, IfMatch, PathId, Query, User, page};
use super::problem::Answer;
use crate::app::{App, Error};
use crate::domain::fields::Fields;
use crate::domain::ids::Id;
use crate::domain::prospect::ProspectStatus;
use crate::domain::prospect_edit::{NewProspect, ProspectEdit};
use crate::domain::source::Source;
use crate::domain::text::search_key;
use crate::store::paging::Direction;
use crate::store::prospects::{Filter, OwnerFilter, Sort};

/// How lists can be sorted; the first is the default.
const SORTS: [(&str, Sort); 4] = [
    ("-createdAt", Sort::Created(Direction::Descending)),
    ("createdAt", Sort::Created(Direction::Ascending)),
    ("-updatedAt", Sort::Updated),
    ("name", Sort::Name),
];

pub(super) async fn list(
    State(app): State<Arc<App>>,
    User(caller): User,
    uri: Uri,
    Query(mut fields): Query,
) -> Answer {
    let filter = Filter {
        status: fields.choice("status", &ProspectStatus::ALL, |status| status.name()),
        owner: owner(&mut fields),
        visible_to: None,
        source: fields.choice("source", &Source::ALL, |source| source.name()),
        search: fields
            .text("search", 200)
            .flatten()
            .map(|text| search_key(&text)),
    };
    let sort = fields
        .choice("sort", &SORTS, |(name, _)| name)
        .unwrap_or(SORTS[0])
        .1;
    let listed = app.prospects(&caller, filter, sort, page(fields)?).await?;
    Ok(answer::list(&uri, &listed, |prospect| {
        answer::value(&prospect.view())
    }))
}

/// Takes `ownerId`: an id, or `none` for what nobody owns.
pub(super) fn owner(fields: &mut Fields) -> Option<OwnerFilter> {
    let text = fields.some_text("ownerId", 64)?;
    if text == "none" {
        return Some(OwnerFilter::Nobody);
    }
    let id = Id::parse(&text).or_else(|| fields.refuse("ownerId", "must be an id or none"));
    id.map(OwnerFilter::User)
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    User(caller): User,
    Body(fields): Body,
) -> Answer {
    let new = NewProspect::read(fields).map_err(Error::Invalid)?;
    let prospect = app.create_prospect(&caller, new).await?;
    let path = format!("/api/prospects/{}", prospect.id);
    Ok(answer::created(&path, &prospect.view(), prospect.version))
}

pub(super) async fn counts(State(app): State<Arc<App>>, User(caller): User) -> Answer {
    let counts = app.prospect_counts(&caller).await?;
    let by_status: Map<_, _> = counts
        .by_status
        .iter()
        .map(|(status, n)| ((*status).to_owned(), json!(n)))
        .collect();
    let body = json!({ "total": counts.total, "byStatus": by_status });
    Ok(answer::with_seq(counts.seq, Json(body).into_response()))
}

pub(super) async fn read(
    State(app): State<Arc<App>>,
    User(caller): User,
    PathId(id): PathId,
) -> Answer {
    let read = app.prospect(&caller, &id).await?;
    Ok(answer::read(
        &read.record.view(),
        read.record.version,
        read.seq,
    ))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    User(caller): User,
    PathId(id): PathId,
    condition: IfMatch,
    Body(fields): Body,
) -> Answer {
    let edit = ProspectEdit::read(fields).map_err(Error::Invalid)?;
    let unchanged = |version| condition.allows(version);
    let prospect = app.update_prospect(&caller, &id, edit, unchanged).await?;
    Ok(answer::changed(&prospect.view(), prospect.version))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    User(caller): User,
    PathId(id): PathId,
    condition: IfMatch,
) -> Answer {
    app.delete_prospect(&caller, &id, |version| condition.allows(version))
        .await?;
    Ok(answer::deleted())
}
