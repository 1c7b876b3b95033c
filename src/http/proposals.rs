//! Proposals.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;

use super::answer;
use super::extract::{Body, IfMatch, OptionalBody, PathId, Query, User, page};
use super::problem::Answer;
use super::prospects::owner;
use crate::app::{App, Error};
use crate::domain::ids::Id;
use crate::domain::proposal::{ProposalStatus, Verdict};
use crate::domain::proposal_edit::{NewProposal, ProposalEdit, read_reason};
use crate::domain::user::Caller;
use crate::store::paging::Direction;
use crate::store::proposals::{Filter, Sort};

/// How lists can be sorted; the first is the default.
const SORTS: [(&str, Sort); 5] = [
    ("-createdAt", Sort::Created(Direction::Descending)),
    ("createdAt", Sort::Created(Direction::Ascending)),
    ("-updatedAt", Sort::Updated),
    ("startTime", Sort::Start(Direction::Ascending)),
    ("-startTime", Sort::Start(Direction::Descending)),
];

pub(super) async fn list(
    State(app): State<Arc<App>>,
    User(caller): User,
    uri: Uri,
    Query(mut fields): Query,
) -> Answer {
    let filter = Filter {
        status: fields.choice("status", &ProposalStatus::ALL, |status| status.name()),
        prospect_id: fields.some_id("prospectId"),
        owner: owner(&mut fields),
        visible_to: None,
        from: fields.time("from"),
        to: fields.time("to"),
    };
    let sort = fields
        .choice("sort", &SORTS, |(name, _)| name)
        .unwrap_or(SORTS[0])
        .1;
    let listed = app.proposals(&caller, filter, sort, page(fields)?).await?;
    Ok(answer::list(&uri, &listed, |proposal| {
        answer::value(&proposal.view())
    }))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    User(caller): User,
    Body(fields): Body,
) -> Answer {
    let new = NewProposal::read(fields).map_err(Error::Invalid)?;
    let proposal = app.create_proposal(&caller, new).await?;
    let path = format!("/api/proposals/{}", proposal.id);
    Ok(answer::created(&path, &proposal.view(), proposal.version))
}

pub(super) async fn read(
    State(app): State<Arc<App>>,
    User(caller): User,
    PathId(id): PathId,
) -> Answer {
    let read = app.proposal(&caller, &id).await?;
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
    let edit = ProposalEdit::read(fields).map_err(Error::Invalid)?;
    let unchanged = |version| condition.allows(version);
    let proposal = app.update_proposal(&caller, &id, edit, unchanged).await?;
    Ok(answer::changed(&proposal.view(), proposal.version))
}

pub(super) async fn accept(
    State(app): State<Arc<App>>,
    User(caller): User,
    PathId(id): PathId,
    condition: IfMatch,
    OptionalBody(fields): OptionalBody,
) -> Answer {
    fields.finish().map_err(Error::Invalid)?;
    decide(&app, &caller, &id, Verdict::Accepted, None, &condition).await
}

pub(super) async fn reject(
    State(app): State<Arc<App>>,
    User(caller): User,
    PathId(id): PathId,
    condition: IfMatch,
    OptionalBody(fields): OptionalBody,
) -> Answer {
    let reason = read_reason(fields).map_err(Error::Invalid)?;
    decide(&app, &caller, &id, Verdict::Rejected, reason, &condition).await
}

async fn decide(
    app: &App,
    caller: &Caller,
    id: &Id,
    verdict: Verdict,
    reason: Option<String>,
    condition: &IfMatch,
) -> Answer {
    let unchanged = |version| condition.allows(version);
    let proposal = app
        .decide_proposal(caller, id, verdict, reason, unchanged)
        .await?;
    Ok(answer::changed(&proposal.view(), proposal.version))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    User(caller): User,
    PathId(id): PathId,
    condition: IfMatch,
) -> Answer {
    app.delete_proposal(&caller, &id, |version| condition.allows(version))
        .await?;
    Ok(answer::deleted())
}
