//! Users, for admins.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;

use super::answer;
use super::extract::{Admin, Body, IfMatch, PathId, Query, page};
use super::problem::Answer;
use crate::app::{App, Error};
use crate::domain::user_edit::{NewUser, UserEdit};

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    uri: Uri,
    Query(fields): Query,
) -> Answer {
    let listed = app.users(page(fields)?).await?;
    Ok(answer::list(&uri, &listed, |user| {
        answer::value(&user.view())
    }))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    Body(fields): Body,
) -> Answer {
    let user = app
        .create_user(NewUser::read(fields).map_err(Error::Invalid)?)
        .await?;
    Ok(answer::created(
        &format!("/api/users/{}", user.id),
        &user.view(),
        user.version,
    ))
}

pub(super) async fn read(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    PathId(id): PathId,
) -> Answer {
    let read = app.user(&id).await?;
    Ok(answer::read(
        &read.record.view(),
        read.record.version,
        read.seq,
    ))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Admin(caller): Admin,
    PathId(id): PathId,
    condition: IfMatch,
    Body(fields): Body,
) -> Answer {
    let edit = UserEdit::read(fields).map_err(Error::Invalid)?;
    let keep = Some(&caller.session_id);
    let user = app
        .update_user(&id, edit, keep, |version| condition.allows(version))
        .await?;
    Ok(answer::changed(&user.view(), user.version))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    PathId(id): PathId,
    condition: IfMatch,
) -> Answer {
    app.delete_user(&id, |version| condition.allows(version))
        .await?;
    Ok(answer::deleted())
}
