//! Where the two databases must differ: opening them, their transactions, the batch lock, and
//! telling other nodes. Everything else is one text for both.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sqlx::migrate::MigrateDatabase;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{ConnectOptions, Connection, Postgres, Sqlite};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::busy;
use super::checkpoint::{self, Disk};
use super::embedded;
use super::error::{Error, Result};
use super::held;
use super::migrations;
use super::sql::ANSWER;
use crate::domain::ids::{Ids, UuidV7};

/// Takes `$1` positions of the event log. It stands last but for the events themselves, so that
/// the row's lock is short and `seq` is commit order. Nobody else can write between the two: for
/// `RETURNING` SQLite makes and drops a table.
pub(super) const TAKE_SEQ_SQLITE: [&str; 2] = [
    "UPDATE event_log SET head_seq = head_seq + $1, turn = turn + 1 WHERE id = 1",
    "SELECT head_seq FROM event_log WHERE id = 1",
];

/// The same on Postgres, as parts of a `WITH` that append the events, made at `$2`, in the same round
/// trip, so that other nodes wait for the counter's row only until the commit that follows. They
/// are told once it is committed.
pub(super) const APPEND_POSTGRES: &str = "taken AS (UPDATE event_log \
     SET head_seq = head_seq + $1, turn = turn + 1 WHERE id = 1 \
     RETURNING head_seq, pg_notify('bookbell_events', current_setting('bookbell.node', true))), \
     appended AS (INSERT INTO event (seq, id, at_ms, name, payload, user_id, admins) \
     SELECT taken.head_seq - $1 + e.n, e.id, $2, e.name, e.payload, e.user_id, e.admins \
     FROM taken, UNNEST($3::TEXT[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::BOOLEAN[]) \
     WITH ORDINALITY AS e (id, name, payload, user_id, admins, n))";

/// The parts of a batch that is written as one statement, beside the one before it (see
/// [`super::line`]). The first lets no person's change come between, which take the same lock for
/// themselves. The connection has the batch's own lock, `$5`, which lasts from here on until the
/// commit, for those behind it, and takes that of its next one.
pub(super) const BEGIN_BESIDE_POSTGRES: &str = "MATERIALIZED (SELECT \
     pg_advisory_xact_lock_shared(7309939834921446), pg_advisory_xact_lock($5), \
     pg_advisory_unlock($5), pg_advisory_lock($5 + 1))";

/// Takes the lock of the first batch of a connection.
pub(super) const LOCK_POSTGRES: &str = "SELECT pg_advisory_lock($1)";

/// Appends events behind the position `$3`, where the log is expected to be when this is committed.
pub(super) const APPEND_AT_POSTGRES: &str = "(INSERT INTO event (seq, id, at_ms, name, payload, user_id, admins) \
     SELECT $3 + e.n, e.id, $2, e.name, e.payload, e.user_id, e.admins \
     FROM UNNEST($9::TEXT[], $10::TEXT[], $11::TEXT[], $12::TEXT[], $13::BOOLEAN[]) \
     WITH ORDINALITY AS e (id, name, payload, user_id, admins, n) RETURNING 1)";

/// Waits until the batch before it, whose lock is `$6`, is committed, or comes to nothing.
pub(super) const WAIT_POSTGRES: &str = "MATERIALIZED (SELECT pg_advisory_xact_lock($6))";

/// Takes `$1` positions behind `$3`, in the turn `$4`, and gives that its own number, `$8`, by which
/// the batch behind it knows that it was this one; tells other nodes, if there are any (`$7` is 1). Somebody else may have come between: then the counter has no value, which its column does
/// not allow, and the whole statement comes to nothing. What the statement else sees may be older
/// than the batch before it; of the counter's row `FOR UPDATE` sees the newest, and keeps it until
/// the commit.
pub(super) const TAKE_AT_POSTGRES: &str = "counter AS MATERIALIZED \
     (SELECT head_seq = $3 AND turn = $4 AS expected FROM event_log WHERE id = 1 FOR UPDATE), \
     taken AS (UPDATE event_log SET turn = $8, \
     head_seq = CASE WHEN ARRAY[{rows}] = {wanted} \
     AND (SELECT expected FROM counter) THEN $3 + $1 END WHERE id = 1 \
     RETURNING head_seq, CASE WHEN $7 = 1 THEN \
     pg_notify('bookbell_events', current_setting('bookbell.node', true)) END)";

/// Has those who read before see that something was changed of which the log does not tell.
pub(super) const TAKE_TURN: &str = "UPDATE event_log SET turn = turn + 1 WHERE id = 1";

/// Has the turn that is taken next be `$1` and one.
pub(super) const BEGIN_TURN: &str = "UPDATE event_log SET turn = $1 WHERE id = 1";

/// The channel on which nodes tell each other that the log has grown, each under its own name.
pub(super) const EVENTS_CHANNEL: &str = "bookbell_events";

/// The name by which a node knows its own hints: a setting of its connections, and how to ask for
/// it. There is none where something between it and the database drops settings.
const NODE: &str = "bookbell.node";
pub(super) const WHICH_NODE: &str = "SELECT current_setting('bookbell.node', true)";

/// Shows others that a node listens, for as long as the connection lasts, and greets them.
pub(super) const GREET_POSTGRES: &str = "SELECT pg_advisory_lock_shared(1651339115, 0), \
    pg_notify('bookbell_events', current_setting('bookbell.node', true))";

/// Whether another connection than this one listens.
pub(super) const OTHERS_POSTGRES: &str = "SELECT EXISTS (SELECT 1 FROM pg_locks \
    WHERE locktype = 'advisory' AND classid = 1651339115 AND objid = 0 AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    AND pid <> pg_backend_pid())";

/// Begins and serializes folding between nodes, in one round trip: a chain may join any two
/// deliveries, so two batches must not be folded beside each other. On SQLite `BEGIN IMMEDIATE`
/// does the same.
pub(super) const BEGIN_FOLD_POSTGRES: &str =
    "BEGIN; SELECT pg_advisory_xact_lock(7309939834921446)";

/// Makes the index of trigrams, which SQLite has from its migration. One node at a time does so.
/// The list of what is not yet sorted in is kept short, because each search reads all of it.
pub(super) const PREPARE_SEARCH_POSTGRES: &[&str] = &[
    "SELECT CAST(pg_advisory_xact_lock(7309939834921447) AS TEXT)",
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE EXTENSION IF NOT EXISTS btree_gin",
    "CREATE INDEX IF NOT EXISTS prospect_search_text ON prospect_search \
        USING gin (owner_id, text gin_trgm_ops) WITH (gin_pending_list_limit = 256)",
];

/// SQLite takes the write lock at once: a transaction that reads first and writes later fails
/// when another wrote in between.
pub(super) const BEGIN_SQLITE: &str = "BEGIN IMMEDIATE";

/// Has a connection forget what it remembers of the file.
pub(super) const SHRINK_SQLITE: &str = "PRAGMA shrink_memory";

/// Statements kept prepared on each connection.
pub(super) const STATEMENT_CACHE: usize = 400;

/// How every connection to a SQLite file is set up.
pub(super) const PRAGMAS: [(&str, &str); 5] = [
    ("journal_mode", "WAL"),
    // What was acknowledged survives power loss, not only a crash of the program.
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
    // Pages that are looked at again and again stay in memory: 8 MiB for each connection.
    ("cache_size", "-8192"),
    // Copying the write-ahead log into the file is a job's, beside the writes; a commit does it
    // itself, and holds up everybody for tens of milliseconds, only where the job falls behind: at
    // 400 MB (a page has 4 KiB).
    ("wal_autocheckpoint", "100000"),
];

/// How long to wait before looking again whether another program has made or migrated the file.
const AGAIN: Duration = Duration::from_millis(10);

/// How long a request waits for a connection before it fails.
pub(super) const ACQUIRE: Duration = Duration::from_secs(5);

/// How long a connection to Postgres may take to say that it lives. Less than half of [`ACQUIRE`],
/// so that who meets a dead one gets another.
const PULSE: Duration = Duration::from_secs(2);

/// The pools of an open database.
#[derive(Debug, Clone)]
pub(super) enum Pools {
    /// Several readers, and the one writer SQLite allows: deliveries have a connection of their
    /// own. Who writes has the store's turn.
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
        deliveries: Arc<Mutex<embedded::Slot>>,
        checkpoint: SqlitePool,
        disk: Arc<Disk>,
    },
    /// One pool for both, the connection that the writer of deliveries keeps, and whether there
    /// may be other nodes.
    Postgres {
        pool: PgPool,
        deliveries: Arc<Mutex<held::Slot>>,
        others: Arc<AtomicBool>,
    },
}

/// Opens the database a URL names, creating it when it is not there, and migrates it.
pub(super) async fn open(url: &str) -> Result<Pools> {
    if url.starts_with("sqlite:") {
        open_sqlite(url).await
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        open_postgres(url).await
    } else {
        Err(Error::Url(
            "DATABASE_URL must begin with sqlite:// or postgres://".to_owned(),
        ))
    }
}

async fn open_sqlite(url: &str) -> Result<Pools> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(Error::Url(
            "DATABASE_URL must name a file: bookings are to be kept".to_owned(),
        ));
    }
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| Error::Url(format!("DATABASE_URL is not a SQLite URL: {error}")))?
        .create_if_missing(true)
        .busy_timeout(busy::LIMIT)
        .statement_cache_capacity(STATEMENT_CACHE)
        .disable_statement_logging();
    let options = PRAGMAS.into_iter().fold(options, |options, (name, value)| {
        options.pragma(name, value)
    });
    let path = options.get_filename().to_owned();
    let _turn = turn_to_open(&path).await;
    create_private(&path)?;
    let write =
        pool::<Sqlite>(1).after_connect(|connection, _| Box::pin(busy::wait_so(connection)));
    let write = write.before_acquire(|connection, _| {
        // SQLite ends a transaction by itself when the disk is full or fails. sqlx 0.9.0 then
        // fails to roll it back, believes it open for ever, and begins no other.
        let usable = !connection.is_in_transaction();
        Box::pin(async move { Ok(usable) })
    });
    let write = write.connect_with(options.clone()).await?;
    migrations::run(migrations::sqlite(), &write).await?;
    checkpoint::sync_log(&path)?;
    let patient = options.clone().busy_timeout(checkpoint::PATIENCE);
    let checkpoint = pool::<Sqlite>(1).connect_lazy_with(patient);
    let read = options.pragma("query_only", "true");
    let read = pool::<Sqlite>(4).connect_with(read).await?;
    let deliveries = Arc::new(Mutex::new(Some(embedded::Connection::open(&path)?)));
    Ok(Pools::Sqlite {
        read,
        write,
        deliveries,
        checkpoint,
        disk: Arc::new(Disk::new(path)),
    })
}

/// Waits until no other program makes or migrates a file in the same folder: two that start at once
/// would make the same tables. It is a lock of the folder, which leaves nothing behind, and ends
/// with what is answered. Where it cannot be had, it goes without.
async fn turn_to_open(path: &Path) -> Option<File> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).ok()?;
    let mut said = false;
    loop {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(TryLockError::Error(_)) => return None,
            Err(TryLockError::WouldBlock) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::info!(
                        "another program makes or migrates the database; waiting for it"
                    );
                }
                sleep(AGAIN).await;
            }
        }
    }
}

/// Makes the file when it is not there, readable by its owner only: it holds the secret of
/// tokens and what people told us. SQLite gives its side files the same rights. A file that is
/// there is left alone: closing it would drop the locks that this process holds on it.
fn create_private(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(Error::Url(format!(
            "cannot open {}: {error}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

async fn open_postgres(url: &str) -> Result<Pools> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| Error::Url(format!("DATABASE_URL is not a Postgres URL: {error}")))?
        .application_name("bookbell")
        // A node that is cut off must not keep the turn to fold from the others.
        .options([("idle_in_transaction_session_timeout", "15s")])
        .options([(NODE, UuidV7::new().new_id(0).as_str())])
        .statement_cache_capacity(STATEMENT_CACHE)
        .disable_statement_logging();
    // Instead of the pool's own questions, which wait for ever: on a line that was cut without a word
    // they would keep the places of all connections.
    let pool = pool::<Postgres>(16)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(lives(connection, PULSE)))
        // A statement that nobody waits for any more may still be running, and keeps its place.
        .after_release(|connection, _| Box::pin(lives(connection, ANSWER)));
    let connected = match pool.clone().connect_with(options.clone()).await {
        Err(error) if is_missing_database(&error) => {
            create_postgres(url).await?;
            pool.connect_with(options.clone()).await
        }
        other => other,
    };
    let pool = match connected {
        Err(error) => return Err(refusal(&options, error).await),
        Ok(pool) => pool,
    };
    migrations::run(migrations::postgres(), &pool).await?;
    let deliveries = Arc::default();
    let others = Arc::new(AtomicBool::new(true));
    Ok(Pools::Postgres {
        pool,
        deliveries,
        others,
    })
}

/// Why no connection could be had, which the pool keeps to itself when it has waited.
pub(super) async fn refusal(options: &PgConnectOptions, error: sqlx::Error) -> Error {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error.into();
    }
    let refused = timeout(ACQUIRE, PgConnection::connect_with(options)).await;
    let refused = refused.ok().and_then(std::result::Result::err);
    refused.unwrap_or(error).into()
}

/// Asks a connection whether it lives; an error has the pool drop it.
async fn lives(connection: &mut PgConnection, within: Duration) -> sqlx::Result<bool> {
    let answer = timeout(within, connection.ping()).await;
    answer.unwrap_or_else(|_| Err(io::Error::from(ErrorKind::TimedOut).into()))?;
    Ok(true)
}

/// Another node may create it at the same moment; that is as good.
async fn create_postgres(url: &str) -> Result<()> {
    match Postgres::create_database(url).await {
        Err(error) if !Postgres::database_exists(url).await? => Err(error.into()),
        _ => Ok(()),
    }
}

pub(super) fn pool<DB: sqlx::Database>(size: u32) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE)
}

/// `invalid_catalog_name` in the table of Postgres' error codes.
pub(in crate::store) fn is_missing_database(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.as_deref() == Some("3D000")
}
