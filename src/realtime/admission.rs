//! What stands before a router with sockets: requests pass it before anybody looks at their path.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::Either;
use tower::Service;

use super::Sockets;

/// A router behind [`Sockets::admit`].
#[derive(Debug, Clone)]
pub struct Admitting<S> {
    pub(super) sockets: Sockets,
    pub(super) router: S,
}

impl<S> Service<Request> for Admitting<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.router.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.sockets.admit(request) {
            Ok(request) => Either::Left(self.router.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_response()))),
        }
    }
}
