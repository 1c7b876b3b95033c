//! Counts what databases fail of, in the whole process, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// The kinds, by what an operator would do about them.
const KINDS: [&str; 5] = ["busy", "connection", "full", "pool_timeout", "other"];

static COUNTS: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];

/// How often the database failed since the process started, by kind.
pub fn counted() -> impl Iterator<Item = (&'static str, u64)> {
    let counts = COUNTS.iter().map(|count| count.load(Ordering::Relaxed));
    KINDS.into_iter().zip(counts)
}

pub(super) fn count(error: &sqlx::Error) {
    count_kind(kind(error));
}

/// Counts what the writer's own connection to SQLite fails of.
pub(super) fn count_embedded(error: &rusqlite::Error) {
    count_kind(match error {
        rusqlite::Error::SqliteFailure(error, _) => of_code(&error.extended_code.to_string()),
        _ => "other",
    });
}

fn count_kind(kind: &'static str) {
    if let Some(n) = KINDS.iter().position(|name| *name == kind) {
        COUNTS[n].fetch_add(1, Ordering::Relaxed);
    }
}

fn kind(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::PoolTimedOut => "pool_timeout",
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => "connection",
        sqlx::Error::Database(error) => of_code(&error.code().unwrap_or_default()),
        _ => "other",
    }
}

/// Codes of Postgres have five characters (appendix A of its manual); those of SQLite are
/// numbers, the primary one in the low byte.
fn of_code(code: &str) -> &'static str {
    if code.len() == 5 {
        return match code {
            // Deadlock, serialization, lock not available.
            "40P01" | "40001" | "55P03" => "busy",
            // Out of disk or memory, too many connections.
            "53100" | "53200" => "full",
            // Connection exceptions; shut down, crashed, starting up; too many connections.
            "57P01" | "57P02" | "57P03" | "53300" => "connection",
            code if code.starts_with("08") => "connection",
            _ => "other",
        };
    }
    match code.parse::<u32>().map(|code| code & 0xff) {
        // SQLITE_BUSY, SQLITE_LOCKED.
        Ok(5 | 6) => "busy",
        // SQLITE_FULL.
        Ok(13) => "full",
        // SQLITE_IOERR, SQLITE_CANTOPEN.
        Ok(10 | 14) => "connection",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        for (code, expected) in [
            ("5", "busy"),
            ("517", "busy"),
            ("13", "full"),
            ("1", "other"),
            ("", "other"),
            ("40P01", "busy"),
            ("53100", "full"),
            ("53300", "connection"),
            ("08006", "connection"),
            ("57P01", "connection"),
            ("42P01", "other"),
        ] {
            assert_eq!(of_code(code), expected, "{code}");
        }
        assert_eq!(kind(&sqlx::Error::PoolTimedOut), "pool_timeout");
    }
}
