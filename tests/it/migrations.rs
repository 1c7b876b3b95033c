//! A database of the first version, with data in it, is brought up to date.

use std::borrow::Cow;
use std::process::Output;
use std::thread;

use bookbell::domain::text::search_key;
use bookbell::store::paging::Page;
use bookbell::store::prospects::{Filter, Sort, list};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection, SqlSafeStr, SqliteConnection};

use crate::support::database::Database;
use crate::support::on_each_database;
use crate::support::server::{Server, bookbell, finish, refusal};

on_each_database![
    what_the_first_version_kept_is_there_and_counted,
    what_was_kept_is_searched_in_plain_letters,
    each_migration_of_what_is_there_is_announced,
    programs_that_start_at_once_make_one_database,
    servers_that_start_at_once_have_one_admin_and_one_secret,
    a_database_that_other_migrations_made_is_refused,
];

async fn first_version(database: &Database) {
    let sqlite = database.url.starts_with("sqlite:");
    let text = if sqlite {
        include_str!("../../migrations/sqlite/0001_start.sql")
    } else {
        include_str!("../../migrations/postgres/0001_start.sql")
    };
    let (name, kind) = (Cow::Borrowed("start"), MigrationType::Simple);
    let migration = Migration::new(1, name, kind, text.into_sql_str(), false);
    let migrator = Migrator::with_migrations(vec![migration]);
    if sqlite {
        let url = format!("{}?mode=rwc", database.url);
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        migrator.run(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        migrator.run(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
    let data = "INSERT INTO app_user (id, email, email_key, name, role, password_hash, created_ms, \
         updated_ms, version) VALUES ('u', 'u@x.example', 'u@x.example', 'U', 'admin', 'x', 1, 1, 1); \
         INSERT INTO prospect (id, owner_id, conversation_id, email, email_key, status, source, \
         tracking, edited, profile, form_only, name_key, search_text, created_ms, updated_ms, \
         version) VALUES \
         ('p1', 'u', 'c1', 'a@x.example', 'a@x.example', 'won', 'manual', '{}', '[]', '{}', false, \
          'a', 'a@x.example', 1, 1, 1), \
         ('p2', NULL, 'c2', 'b@x.example', 'b@x.example', 'new', 'calendly', '{}', '[]', '{}', \
          false, 'b', 'b@x.example', 2, 2, 1); \
         INSERT INTO proposal (id, prospect_id, conversation_id, owner_id, status, hosts, guests, \
         answers, tracking, history, source, decisions, edited, created_ms, updated_ms, version) \
         VALUES ('q', 'p1', 'c1', 'u', 'pending', '[]', '[]', '[]', '{}', '[]', 'calendly', '[]', \
         '[]', 1, 1, 1)";
    database.execute(data).await;
}

async fn what_the_first_version_kept_is_there_and_counted(database: Database) {
    first_version(&database).await;
    let store = bookbell::store::Store::open(&database.url).await.unwrap();
    let mut reader = store.read().await.unwrap();
    let sql = "SELECT record, owner_key, status, kind, n FROM record_count \
        ORDER BY record, owner_key, status";
    let rows: Vec<(String, String, String, String, i64)> =
        reader.db().fetch(sql, Vec::new()).await.unwrap();
    let rows: Vec<String> = rows
        .into_iter()
        .map(|(a, b, c, d, n)| format!("{a} {b} {c} {d} {n}"))
        .collect();
    let mut expected = vec![
        "prospect  new calendly 1",
        "prospect * new calendly 1",
        "prospect * won manual 1",
        "prospect u won manual 1",
        "proposal * pending  1",
        "proposal u pending  1",
    ];
    let mut rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    rows.sort_unstable();
    expected.sort_unstable();
    assert_eq!(rows, expected);
    // The proposal still refers to its prospect.
    let sql =
        "SELECT prospect.id FROM proposal JOIN prospect ON prospect.id = proposal.prospect_id";
    let joined: Vec<(String,)> = reader.db().fetch(sql, Vec::new()).await.unwrap();
    assert_eq!(joined, [("p1".to_owned(),)]);
    // Lists find both, by their runs.
    let (sort, page) = (
        Sort::Updated,
        Page {
            limit: 10,
            after: None,
        },
    );
    let all = list(&mut reader.db(), &Filter::default(), sort, page).await;
    let ids: Vec<String> = all
        .unwrap()
        .items
        .iter()
        .map(|p| p.id.to_string())
        .collect();
    assert_eq!(ids, ["p2", "p1"]);
    drop(reader);
    // On Postgres nobody checks: migration 0005 says why.
    let mut tx = store.begin().await.unwrap();
    let delete = "DELETE FROM prospect WHERE id = 'p1'";
    let deleted = tx.db().execute(delete, Vec::new()).await;
    assert_eq!(deleted.is_err(), database.is_sqlite());
}

async fn what_was_kept_is_searched_in_plain_letters(database: Database) {
    // As the eighth version left it, its search index filled.
    let before = "straße æ œ ø đ ð ħ ı ł ŋ ŧ þ ə ɓ ɖ ɗ ɛ ɔ ƙ ɲ ƴ κωστας ł";
    first_version(&database).await;
    let store = bookbell::store::Store::open(&database.url).await.unwrap();
    drop(store);
    let letters = format!(
        "UPDATE prospect SET search_text = '{before}', name_key = '{}' WHERE id = 'p1'; \
         UPDATE search_index SET filled_id = NULL; DELETE FROM _sqlx_migrations WHERE version = 9",
        "æ".repeat(200)
    );
    database.execute(&letters).await;
    let store = bookbell::store::Store::open(&database.url).await.unwrap();
    let mut reader = store.read().await.unwrap();
    let sql = "SELECT search_text, name_key FROM prospect ORDER BY id";
    let rows: Vec<(String, String)> = reader.db().fetch(sql, Vec::new()).await.unwrap();
    let expected = [
        (search_key(before), "ae".repeat(100)),
        ("b@x.example".to_owned(), "b".to_owned()),
    ];
    assert_eq!(rows, expected);
    assert!(rows[0].0.starts_with("strasse ae oe o d d h i l n t th "));
    let sql = "SELECT filled_id FROM search_index";
    let filled: Vec<(Option<String>,)> = reader.db().fetch(sql, Vec::new()).await.unwrap();
    assert_eq!(
        filled,
        [(Some(String::new()),)],
        "the index is not filled anew"
    );
}

async fn each_migration_of_what_is_there_is_announced(database: Database) {
    first_version(&database).await;
    let mut server = Server::start(database);
    let announced = |server: &Server| -> Vec<String> {
        let log = server.log();
        let lines = log.lines().filter(|line| line.contains("migrating"));
        lines.map(str::to_owned).collect()
    };
    let names = [
        "counts_and_search",
        "write_path",
        "fewer_indexes",
        "turns",
        "runs",
        "names",
        "turns_on_sqlite",
        "plain_letters",
        "merged",
        "search_of_an_owner",
        "search_in_pieces",
        "hidden_events",
        "users_before",
    ];
    let said = announced(&server);
    assert_eq!(said.len(), names.len(), "{said:?}");
    for (line, name) in said.iter().zip(names) {
        assert!(line.contains(name), "{line}");
    }
    server.terminate();
    server.restart();
    assert_eq!(announced(&server), said);
}

async fn programs_that_start_at_once_make_one_database(database: Database) {
    let url = &database.url;
    let add = |n: usize| {
        let email = format!("ada{n}@example.com");
        let who = ["--name", "Ada", "--role", "member", "--email", &email];
        let mut program = bookbell();
        program.args(["user", "add", "--password-stdin", "--database-url", url]);
        finish(program.args(who), "a long passphrase\n")
    };
    let ended: Vec<Output> = thread::scope(|scope| {
        let running: Vec<_> = (0..6).map(|n| scope.spawn(move || add(n))).collect();
        let ended = running.into_iter().map(|program| program.join().unwrap());
        ended.collect()
    });
    for ended in ended {
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success(), "{said}");
    }
}

async fn servers_that_start_at_once_have_one_admin_and_one_secret(database: Database) {
    let start = || Server::start(database.clone());
    let servers: Vec<Server> = thread::scope(|scope| {
        let starting: Vec<_> = (0..3).map(|_| scope.spawn(start)).collect();
        let servers = starting.into_iter().map(|server| server.join().unwrap());
        servers.collect()
    });
    for sql in [
        "SELECT COUNT(*) FROM app_user",
        "SELECT COUNT(*) FROM setting WHERE name = 'jwt_secret'",
    ] {
        assert_eq!(database.numbers(sql).await, [1], "{sql}");
    }
    for one in &servers {
        let admin = one.api().admin().await;
        for other in &servers {
            let me = other.api().get("/api/auth/me", &admin.token).await;
            assert_eq!(me.expect(200)["id"], admin.id);
        }
    }
}

async fn a_database_that_other_migrations_made_is_refused(database: Database) {
    let mut server = Server::start(database);
    server.terminate();
    let database = &server.database;
    // The checksum of another one's text.
    let other = "UPDATE _sqlx_migrations SET checksum = \
        (SELECT checksum FROM _sqlx_migrations WHERE version = 2) WHERE version = 1";
    database.execute(other).await;
    let said = refusal(database);
    assert!(said.contains("migration 1"), "{said}");
}
