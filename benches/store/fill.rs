//! Fills a database with as many records as years of bookings leave: one booking is taken in by
//! the product, and copied by SQL under other ids, names and owners.

use std::net::{Ipv4Addr, SocketAddr};

use bookbell::app::App;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection, query_as, raw_sql};

use crate::common::booking::Request;
use crate::ingest::posted;

/// The owner of one prospect in four; the others have 40 owners, or none.
pub(crate) const BIG_OWNER: &str = "01900000-0000-7000-9000-000000000000";

/// When the first prospect was made; each later one a second after the one before.
pub(crate) const BEGAN_MS: u64 = 1_600_000_000_000;

const ID: &str = "'01900000-0000-7000-8000-' || substr(CAST(1000000000000 + i AS TEXT), 2)";

/// What is the same in both databases. `{from}` and `{to}` are the numbers to make, `i` each of
/// them, and `r` stands for a number that tells nothing of the order.
const RECORDS: &[&str] = &[
    "INSERT INTO prospect (id, owner_id, conversation_id, firstname, lastname, email, email_key,
        phone, company, status, source, run, owner_run, notes, timezone, tracking,
        last_booking_ms, edited, profile, fold_owner_id, fold_email_key, form_only, name_key,
        search_text, created_ms, updated_ms, version)
     SELECT {id}, owner, {id}, first, last, email, email, phone, company, status, source,
        status || '/' || source, COALESCE(owner, '') || '/' || status || '/' || source, NULL,
        t.timezone, t.tracking, t.last_booking_ms, t.edited, t.profile, owner, email,
        t.form_only, lower(first || ' ' || last),
        lower(first || ' ' || last || chr10 || email || chr10 || phone || chr10 || company),
        {began} + i * 1000, {began} + i * 1000 + r % 100000 * 1000, 1
     FROM made CROSS JOIN (SELECT timezone, tracking, last_booking_ms, edited, profile,
        form_only FROM prospect ORDER BY created_ms DESC LIMIT 1) AS t",
    "INSERT INTO proposal (id, prospect_id, conversation_id, owner_id, status, title, start_ms,
        end_ms, timezone, location, hosts, guests, answers, tracking, cancellation, no_show_ms,
        history, cancel_url, reschedule_url, source, decisions, edited, current_invitee,
        created_ms, updated_ms, version)
     SELECT {id}, {id}, {id}, owner, t.status, t.title, t.start_ms + r % 1000000, t.end_ms,
        t.timezone, t.location, t.hosts, t.guests, t.answers, t.tracking, t.cancellation,
        t.no_show_ms, t.history, t.cancel_url, t.reschedule_url, t.source, t.decisions, t.edited,
        'https://x.example/' || r || '/' || i, {began} + i * 1000, {began} + i * 1000, 1
     FROM made CROSS JOIN (SELECT * FROM proposal ORDER BY created_ms DESC LIMIT 1) AS t",
    "INSERT INTO invitee (uri, proposal_id, prospect_id, owner_id, dismissed, facts)
     SELECT 'https://x.example/' || r || '/' || i, {id}, {id}, owner, t.dismissed, t.facts
     FROM made CROSS JOIN (SELECT * FROM invitee ORDER BY uri LIMIT 1) AS t",
    "INSERT INTO delivery (id, status, reason, event, dedupe_key, duplicate_of, connection_id,
        received_ms, signed_ms, prospect_id, proposal_id, headers, timings, body)
     SELECT {id}, t.status, t.reason, t.event, r || '-' || i, NULL, NULL, {began} + i * 1000,
        {began} + i * 1000, {id}, {id}, t.headers, t.timings, NULL
     FROM made CROSS JOIN (SELECT * FROM delivery ORDER BY received_ms DESC LIMIT 1) AS t",
];

/// Owner, status and names come from places of `r` of their own, and the rest from `i`: else what
/// is asked for together may be nobody's.
const MADE: &str = "CREATE TEMPORARY TABLE made AS
    WITH RECURSIVE
    first(k, first) AS (VALUES (0, 'Noor'), (1, 'Tomoe'), (2, 'Amelie'), (3, 'Kwame'),
        (4, 'Priya'), (5, 'Ibrahim'), (6, 'Ewa'), (7, 'Chidi'), (8, 'Anna'), (9, 'Joana')),
    last(k, last) AS (VALUES (0, 'van Dijk'), (1, 'Hanabusa'), (2, 'Okafor'), (3, 'Larsen'),
        (4, 'Raghunathan'), (5, 'Costa'), (6, 'Nowak'), (7, 'Garcia'), (8, 'Becker'),
        (9, 'Mensah')),
    number(i) AS (SELECT CAST({from} AS BIGINT) UNION ALL SELECT i + 1 FROM number WHERE i < {to}),
    scattered AS (SELECT i, i * 7919 * 104729 % 2147483647 AS r FROM number)
    SELECT i, r, first, last || ' ' || (r % 5003) AS last,
        CASE WHEN r / 100 % 4 = 0 THEN '{big}'
             WHEN i % 41 = 0 THEN NULL
             ELSE '01900000-0000-7000-9000-'
                || substr(CAST(1000000000001 + r / 20000 % 40 AS TEXT), 2)
        END AS owner,
        r || '.' || i || CASE WHEN i % 10 = 3 THEN '@gmail.com' ELSE '@mail.example' END AS email,
        '+48 555 ' || (r % 1000000) AS phone,
        CASE WHEN i % 1000 = 7 THEN 'Fietsfabriek' ELSE 'Company ' || (r % 20011) END AS company,
        CASE WHEN r / 1000 % 20 < 12 THEN 'new' WHEN r / 1000 % 20 < 16 THEN 'contacted'
             WHEN r / 1000 % 20 < 18 THEN 'qualified' WHEN i < 50000 THEN 'won' ELSE 'lost' END AS status,
        CASE WHEN i < 20000 THEN 'import' WHEN i % 50 = 0 THEN 'manual' ELSE 'calendly' END
            AS source
    FROM scattered JOIN first ON first.k = r % 10 JOIN last ON last.k = r / 10 % 10
    ORDER BY i";

/// Those that were taken in before are older than what is made now, as their numbers say.
const OLDER: &str = "UPDATE prospect SET created_ms = {began} + {from} * 1000 - 1,
    updated_ms = {began} + {from} * 1000 - 1 WHERE created_ms > {began} + {from} * 1000";

/// Takes in the one booking that is copied, and makes the users.
pub(crate) async fn template(app: &App) -> anyhow::Result<()> {
    let mut request = Request::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))?;
    app.receive(posted(&mut request, 0)?).await?;
    Ok(())
}

/// Makes the records from one number to another.
pub(crate) async fn up_to(url: &str, from: u64, to: u64) -> anyhow::Result<()> {
    let mut script = Vec::new();
    if from == 1 {
        script.push(users());
    }
    script.extend([OLDER.to_owned(), MADE.to_owned()]);
    // An index is made in a fraction of the time that a million insertions take.
    let indexes = indexes(url).await?;
    script.extend(indexes.iter().map(|(name, _)| format!("DROP INDEX {name}")));
    script.extend(RECORDS.iter().map(|text| (*text).to_owned()));
    script.extend(indexes.into_iter().map(|(_, text)| text));
    script.push("DROP TABLE made".to_owned());
    script.push("DELETE FROM record_count".to_owned());
    script.extend(counting());
    // The search index is filled with them as with what was there before it.
    script.push("UPDATE search_index SET filled_id = ''".to_owned());
    let sqlite = url.starts_with("sqlite:");
    let fill = |text: String| {
        text.replace("{id}", ID)
            .replace("{began}", &BEGAN_MS.to_string())
            .replace("{big}", BIG_OWNER)
            .replace("{from}", &from.to_string())
            .replace("{to}", &to.to_string())
            .replace("chr10", if sqlite { "char(10)" } else { "chr(10)" })
    };
    let script = script.into_iter().map(fill).collect::<Vec<_>>();
    if sqlite {
        let mut connection = SqliteConnection::connect(url).await?;
        // What is being made up may be lost; what is measured is opened by the product.
        for text in ["PRAGMA synchronous = OFF", "PRAGMA cache_size = -1000000"] {
            raw_sql(text).execute(&mut connection).await?;
        }
        for text in script {
            raw_sql(AssertSqlSafe(text))
                .execute(&mut connection)
                .await?;
        }
        raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut connection)
            .await?;
        connection.close().await?;
    } else {
        let mut connection = PgConnection::connect(url).await?;
        for text in script {
            raw_sql(AssertSqlSafe(text))
                .execute(&mut connection)
                .await?;
        }
        raw_sql("VACUUM ANALYZE").execute(&mut connection).await?;
        raw_sql("CHECKPOINT").execute(&mut connection).await?;
        connection.close().await?;
    }
    Ok(())
}

fn users() -> String {
    let user = |n: u64| {
        format!(
            "('01900000-0000-7000-9000-{n:012}', 'u{n}@x.example', 'u{n}@x.example', 'U', \
             'member', 'x', 1, 1, 1)"
        )
    };
    let users: Vec<String> = (0..=40).map(user).collect();
    format!(
        "INSERT INTO app_user (id, email, email_key, name, role, password_hash, created_ms, \
         updated_ms, version) VALUES {}",
        users.join(", ")
    )
}

/// The migrations' own statements that count what is there.
fn counting() -> Vec<String> {
    let text = include_str!("../../migrations/sqlite/0002_counts_and_search.sql");
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    let code = code.join(" ");
    let statements = code.split(';').map(|text| text.trim().to_owned());
    let begins = |text: &String| text.starts_with("INSERT INTO record_count");
    statements.filter(begins).collect()
}

/// The indexes of the tables that are filled, by name, but for those of primary keys.
async fn indexes(url: &str) -> anyhow::Result<Vec<(String, String)>> {
    if url.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(url).await?;
        let sql = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL \
            AND tbl_name IN ('prospect', 'proposal', 'invitee', 'delivery')";
        let found = query_as(sql).fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(found)
    } else {
        let mut connection = PgConnection::connect(url).await?;
        let sql = "SELECT CAST(indexname AS TEXT), indexdef FROM pg_indexes \
            WHERE tablename IN ('prospect', 'proposal', 'invitee', 'delivery') \
            AND indexname NOT LIKE '%\\_pkey'";
        let found = query_as(sql).fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(found)
    }
}
