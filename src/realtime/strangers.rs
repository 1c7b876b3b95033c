//! How many clients that poll may be connected who have not said who they are.
//!
//! What engineioxide keeps of one lives until its time to authenticate is over, whether or not the
//! TCP connection does that its request came by, and one of those can bring any number of them. So
//! they are counted here, beside the connections that `net` counts.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for so many of them.
#[derive(Debug, Clone)]
pub(super) struct Strangers(Arc<Semaphore>);

impl Strangers {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// A place for one more; `None` when all are taken.
    pub(super) fn take_place(&self) -> Option<Place> {
        let place = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Place(Arc::new(Mutex::new(Some(place)))))
    }
}

/// The place of one of them. It is kept with the request that its client began with, and free again
/// when that goes.
#[derive(Debug, Clone)]
pub(super) struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Place {
    /// Makes room for another: this client is no stranger any more.
    pub(super) fn leave(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
