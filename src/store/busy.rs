//! Waiting for another process that writes to the same SQLite file.
//!
//! SQLite lets one write at a time, and whoever else tries looks again after a while. Its own wait
//! (`sqlite3_busy_timeout`) soon looks every tenth of a second only. Beside a process that writes
//! without pause to a slow disk it then may never come at the moment between two transactions, and
//! gives up. This looks often enough to meet one of the first.
#![expect(unsafe_code, reason = "SQLite calls it through C")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::ffi;
use sqlx::SqliteConnection;

/// How long a transaction waits for another process.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// How long it sleeps before it looks again: about as long as a busy writer leaves the file free.
const PAUSE: Duration = Duration::from_micros(250);

thread_local! {
    /// When this thread began to wait.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Sleeps; answers whether to look again. `looks` is how often that was done before in the same
/// wait, as SQLite counts it.
pub(super) fn look_again(looks: i32) -> bool {
    if looks == 0 {
        SINCE.set(Some(Instant::now()));
    }
    thread::sleep(PAUSE);
    SINCE.get().is_some_and(|since| since.elapsed() < LIMIT)
}

/// Has a connection of sqlx wait so.
///
/// # Errors
/// When the connection's thread is gone.
pub(super) async fn wait_so(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut handle = connection.lock_handle().await?;
    // SAFETY: the handle is open, nobody else uses it while it is locked, and the function takes
    // nothing from where the null pointer points. Without memory SQLite could not open it either.
    unsafe {
        ffi::sqlite3_busy_handler(
            handle.as_raw_handle().as_ptr(),
            Some(called),
            ptr::null_mut(),
        );
    }
    Ok(())
}

unsafe extern "C" fn called(_: *mut c_void, looks: c_int) -> c_int {
    c_int::from(look_again(looks))
}
