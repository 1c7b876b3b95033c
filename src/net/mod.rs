//! Connections in: accepts them, cuts off those that dawdle, and makes room for new ones when
//! there are too many.
//!
//! Nothing here costs a request a timer: a connection notes what it is doing in an atomic, and
//! one task looks at all of them once in a while. See `table`.

mod accept;
mod stream;
mod table;

use std::time::Duration;

pub use accept::{listen, serve};
pub use table::Peer;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors left for everything that is no connection: the database, the log, reading
/// the machine's state.
const RESERVED: usize = 128;

/// What a connection may take, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a new connection may be silent, and how long the head of a request may take from
    /// its first byte.
    pub head: Duration,
    /// How long the body of a request may take, all in all.
    pub body: Duration,
    /// How long nothing may come of a body that is not all there.
    pub body_pause: Duration,
    /// How many bytes of bodies may be there that have not come whole, beside the buffers of some
    /// 60 KiB with which each is read. When there are more, who has been at it for longest has to
    /// go: a body that is meant to arrive takes moments.
    pub bodies: u64,
    /// How long a connection may be kept between requests. Longer than proxies keep theirs (60 s
    /// is usual), so that none is closed as it is used again.
    pub idle: Duration,
    /// How many connections there may be.
    pub connections: usize,
    /// How many of them may belong to nobody known.
    pub strangers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_mins(1),
            body_pause: Duration::from_secs(10),
            bodies: 128 << 20,
            idle: Duration::from_secs(75),
            connections: usize::MAX,
            strangers: 16_384,
        }
    }
}

impl Limits {
    /// The limits of a process that may have so many files open.
    #[must_use]
    pub fn with_files(files: usize) -> Self {
        let reserved = RESERVED.min(files / 4);
        Self {
            connections: files - reserved,
            ..Self::default()
        }
    }
}

/// Raises the number of files that may be open as far as the system lets us, for each connection
/// is one, and answers it.
#[must_use]
pub fn raise_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current
        .and_then(|files| usize::try_from(files).ok())
        .unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_left_for_the_rest() {
        assert_eq!(Limits::with_files(1024).connections, 896);
        assert_eq!(Limits::with_files(64).connections, 48);
    }
}
