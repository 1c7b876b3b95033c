//! What can go wrong in an operation, in the terms of those who asked for it.

use crate::domain::fields::Fault;
use crate::domain::ids::Id;
use crate::store;

/// An error of an operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request's values do not fit.
    #[error("the request is not valid")]
    Invalid(Vec<Fault>),
    /// Nobody we know, with the reason's code.
    #[error("not authenticated: {0}")]
    Unauthenticated(&'static str),
    /// Somebody we know, without the right.
    #[error("forbidden: {0}")]
    Forbidden(&'static str),
    /// No such record, or none the caller may see.
    #[error("not found")]
    NotFound,
    /// The state does not allow it.
    #[error("conflict: {code}")]
    Conflict {
        /// The stable code.
        code: &'static str,
        /// For a person.
        detail: String,
        /// The record in the way.
        existing_id: Option<Id>,
    },
    /// The record is not at the version the caller named.
    #[error("the record was changed meanwhile")]
    Stale,
    /// Too many failed attempts; seconds until the next may be made.
    #[error("too many attempts")]
    TooManyAttempts(u64),
    /// More is waiting than can be taken; try again.
    #[error("busy")]
    Busy,
    /// Our own fault. Logged with its chain, never told.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What an operation answers.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A conflict without a record to point at.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict {
            code,
            detail: detail.into(),
            existing_id: None,
        }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Internal(source) => source
                .downcast_ref::<store::Error>()
                .is_some_and(store::Error::is_transient),
            _ => true,
        }
    }

    /// Whether it is about the database as a whole, so that nothing else could be written either.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Internal(source) => source
                .downcast_ref::<store::Error>()
                .is_some_and(store::Error::is_unavailable),
            // It said nothing in time.
            Self::Busy => true,
            _ => false,
        }
    }

    /// A single fault.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault {
            field: field.to_owned(),
            message: message.into(),
        }])
    }
}

/// An error of the store that an operation did not expect. Conflicts that have a meaning are
/// matched where they arise.
impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Internal(Box::new(error))
    }
}

/// An error with its causes, as one line for a person. A cause that was said already, because
/// whoever passed it on said it too, is not said again.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        let cause = cause.to_string();
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}
