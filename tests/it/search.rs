//! Search by the index, at a size where it is used: what it finds is what comparing each prospect
//! would find, at every moment.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::on_both;

/// More prospects than are compared one by one, none with the text that tests look for.
async fn crowd(app: &TestApp) {
    let number = "INSERT INTO prospect (id, conversation_id, email, email_key, status, source, \
         run, owner_run, tracking, edited, profile, form_only, name_key, search_text, created_ms, \
         updated_ms, version) \
         WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 2100) \
         SELECT '01900000-0000-7000-8000-' || substr(CAST(1000000000000 + i AS TEXT), 2), 'c', \
         'crowd' || i || '@x.example', 'crowd' || i || '@x.example', 'new', 'import', 'new/import', \
         '/new/import', t.tracking, \
         t.edited, t.profile, t.form_only, 'crowd', \
         'crowd ' || i || CASE WHEN i % 2 = 0 THEN ' abcd bcde' ELSE ' zola' END, i, i, 1 \
         FROM number CROSS JOIN (SELECT * FROM prospect LIMIT 1) AS t";
    let made = app
        .prospect(app.admin_token(), "template@example.com")
        .await;
    app.database.execute(number).await;
    let counted = "INSERT INTO record_count (record, owner_key, status, kind, n) \
         VALUES ('prospect', '', 'new', 'import', 2100), ('prospect', '*', 'new', 'import', 2100)";
    app.database.execute(counted).await;
    let path = format!("/api/prospects/{}", made["id"].as_str().unwrap());
    app.delete(&path).await.expect(204);
}

async fn index(app: &TestApp) {
    app.app.prepare_search().await.unwrap();
    while app.app.index_search().await.unwrap() {}
}

async fn found(app: &TestApp, token: &str, query: &str) -> (Vec<String>, i64) {
    let path = format!("/api/prospects?{query}");
    let list = app.get_as(token, &path).await.expect(200);
    let items = list["items"].as_array().unwrap().iter();
    let emails = items.map(|item| item["email"].as_str().unwrap().to_owned());
    (emails.collect(), list["total"].as_i64().unwrap())
}

async fn emails(app: &TestApp, search: &str) -> Vec<String> {
    let search: String = form_urlencoded::byte_serialize(search.as_bytes()).collect();
    let (mut emails, total) = found(
        app,
        app.admin_token(),
        &format!("search={search}&limit=200"),
    )
    .await;
    assert_eq!(usize::try_from(total).unwrap(), emails.len(), "{search}");
    emails.sort();
    emails
}

/// Whether the index has three letters: what is asked of it, not of the prospects.
async fn is_indexed(app: &TestApp, text: &str) -> bool {
    let sqlite = "SELECT rowid FROM prospect_search WHERE prospect_search MATCH $1";
    let postgres = "SELECT CAST(1 AS BIGINT) FROM prospect_search WHERE text LIKE $1";
    let mut reader = app.app.store.read().await.unwrap();
    let (sql, text) = if app.app.store.engine() == "SQLite" {
        (sqlite, format!("\"{text}\""))
    } else {
        (postgres, format!("%{text}%"))
    };
    let rows: Vec<(i64,)> = reader.db().fetch(sql, vec![text.into()]).await.unwrap();
    !rows.is_empty()
}

on_both! {
    async fn the_index_finds_what_comparing_finds(app: TestApp) {
        crowd(&app).await;
        for body in [
            json!({ "email": "a@one.example", "firstname": "Émile", "lastname": "Zola-Ñandú" }),
            json!({ "email": "b@two.example", "phone": "+48 555 010 142", "notes": "zola" }),
            json!({ "email": "c@three.example", "company": "100% Wool_Co (\\!)" }),
            json!({ "email": "d@four.example", "company": "ÅNGSTRÖM \"Q\" AND", "lastname": "O'Neill*" }),
            json!({ "email": "e@five.example", "company": "żółw łódka" }),
            json!({ "email": "f@six.example", "firstname": "Søren", "lastname": "Þór Höfði" }),
            json!({ "email": "g@seven.example", "firstname": "Κώστας", "lastname": "Straße" }),
        ] {
            app.post("/api/prospects", &body).await.expect(201);
        }
        index(&app).await;
        assert!(is_indexed(&app, "woo").await);
        for (search, expected) in [
            ("emile", "a@one.example"), ("ÉMILE", "a@one.example"), ("mile zol", "a@one.example"),
            ("nandu", "a@one.example"), ("e\u{301}mile", "a@one.example"),
            ("555 010", "b@two.example"), ("+48", "b@two.example"), ("@THREE.", "c@three.example"),
            ("100%", "c@three.example"), ("0% ", "c@three.example"), ("%", "c@three.example"),
            ("l_c", "c@three.example"), ("(\\!)", "c@three.example"), ("\\!)", "c@three.example"),
            ("angstrom", "d@four.example"), ("o'neill*", "d@four.example"), ("\"q\"", "d@four.example"),
            ("\" and", "d@four.example"), ("l*\n", "d@four.example"), ("łód", "e@five.example"),
            ("żołw", "e@five.example"), ("ŻÓŁW", "e@five.example"),
            ("zolw lodka", "e@five.example"), ("soren thor hofdi", "f@six.example"),
            ("SØREN", "f@six.example"), ("höfði", "f@six.example"), ("ΚΩΣΤΑΣ", "g@seven.example"),
            ("κωστας", "g@seven.example"), ("strasse", "g@seven.example"), ("TRAẞ", "g@seven.example"),
        ] {
            assert_eq!(emails(&app, search).await, [expected], "{search}");
        }
        // All trigrams of the first, but not next to each other; then what would be operators.
        for search in ["abcde", "w%l", "zol_ nan", "NEAR(abc)", "text:abc", "-abc", "^crowd", "abc\" OR \"zola"] {
            assert_eq!(emails(&app, search).await, [] as [&str; 0], "{search}");
        }
    }

    async fn a_search_knows_what_the_index_does_not_yet(app: TestApp) {
        crowd(&app).await;
        let made = app.prospect(app.admin_token(), "noor@example.com").await;
        let path = format!("/api/prospects/{}", made["id"].as_str().unwrap());
        index(&app).await;
        app.patch(&path, &json!({ "company": "Fietsfabriek" })).await.expect(200);
        assert!(!is_indexed(&app, "fie").await);
        assert_eq!(emails(&app, "fiets").await, ["noor@example.com"]);
        index(&app).await;
        assert!(is_indexed(&app, "fie").await);
        assert_eq!(emails(&app, "fiets").await, ["noor@example.com"]);
        app.patch(&path, &json!({ "company": null })).await.expect(200);
        assert_eq!(emails(&app, "fiets").await, [] as [&str; 0]);
        index(&app).await;
        assert_eq!(emails(&app, "fiets").await, [] as [&str; 0]);
        assert_eq!(emails(&app, "noor").await.len(), 1);
        app.delete(&path).await.expect(204);
        assert_eq!(emails(&app, "noor").await, [] as [&str; 0]);
        // On SQLite the next one may take the number of the one that is gone.
        app.prospect(app.admin_token(), "other@example.com").await;
        assert_eq!(emails(&app, "noor").await, [] as [&str; 0]);
        assert_eq!(emails(&app, "other@").await.len(), 1);
        index(&app).await;
        assert!(!is_indexed(&app, "noo").await, "something is left of whom was deleted");
        assert_eq!(emails(&app, "noor").await, [] as [&str; 0]);
        assert_eq!(emails(&app, "other@").await.len(), 1);
    }

    async fn searches_keep_to_filters_order_and_pages(app: TestApp) {
        crowd(&app).await;
        let (id, token) = app.member("amelie@example.com", None).await;
        for n in 0..6 {
            let body = json!({
                "email": format!("fiets{n}@example.com"), "firstname": (["b", "a", "c"][n % 3]),
                "status": if n < 4 { "won" } else { "new" },
                "ownerId": if n % 2 == 0 { json!(id) } else { json!(null) },
            });
            app.post("/api/prospects", &body).await.expect(201);
            app.advance_ms(1);
        }
        index(&app).await;
        for (query, order, total) in [
            ("", "543210", 6), ("&sort=createdAt", "012345", 6), ("&sort=-updatedAt", "543210", 6),
            ("&sort=name", "140325", 6), ("&status=won", "3210", 4), ("&ownerId=none", "531", 3),
            ("&status=new&source=manual", "54", 2), ("&source=import", "", 0),
        ] {
            let mut seen = String::new();
            let mut cursor = String::new();
            loop {
                let path = format!("/api/prospects?search=fiets&limit=2{query}{cursor}");
                let page = app.get(&path).await.expect(200);
                assert_eq!(page["total"], total, "{query}");
                let items = page["items"].as_array().unwrap();
                seen.extend(items.iter().map(|item| item["email"].as_str().unwrap().as_bytes()[5] as char));
                let Some(next) = page["nextCursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(seen, order, "{query}");
        }
        assert_eq!(found(&app, &token, "search=fiets").await.1, 3);
        let asked = format!("search=fiets&ownerId={NOBODY}");
        assert_eq!(found(&app, &token, &asked).await, (Vec::new(), 0));
    }

    async fn a_prospect_that_changes_hands_is_found_by_its_new_owner_alone(app: TestApp) {
        crowd(&app).await;
        let (one, ones) = app.member("amelie@example.com", None).await;
        let (two, twos) = app.member("bruno@example.com", None).await;
        let made = app.prospect(app.admin_token(), "noor@example.com").await;
        let path = format!("/api/prospects/{}", made["id"].as_str().unwrap());
        for owner in [&one, &two] {
            // As if each had so many that they are not compared one by one.
            let counted = format!(
                "INSERT INTO record_count (record, owner_key, status, kind, n) \
                 VALUES ('prospect', '{owner}', 'new', 'import', 2100)"
            );
            app.database.execute(&counted).await;
        }
        for (owner, sees, others) in [(&one, &ones, &twos), (&two, &twos, &ones)] {
            app.patch(&path, &json!({ "ownerId": owner })).await.expect(200);
            for _ in 0..2 {
                for search in ["noo", "noor@example"] {
                    let search = format!("search={search}");
                    assert_eq!(found(&app, sees, &search).await.1, 1);
                    assert_eq!(found(&app, others, &search).await.1, 0);
                }
                index(&app).await;
            }
        }
    }

    async fn what_the_index_has_of_the_gone_hides_nobody(app: TestApp) {
        crowd(&app).await;
        index(&app).await;
        // More than are gathered, and the greatest numbers: what an index is asked for first.
        let gone = "DELETE FROM prospect WHERE search_text LIKE '%zola' AND created_ms > 21";
        app.database.execute(gone).await;
        assert_eq!(emails(&app, "zola").await.len(), 11);
    }

    async fn what_has_every_part_of_a_text_but_not_the_text_is_not_found(app: TestApp) {
        crowd(&app).await;
        index(&app).await;
        // Half of the crowd has all its trigrams, more than are gathered.
        assert_eq!(emails(&app, "bcd bcd bcde").await, [] as [&str; 0]);
        let body = json!({ "email": "noor@example.com", "company": "bcd bcd bcde" });
        app.post("/api/prospects", &body).await.expect(201);
        for _ in 0..2 {
            assert_eq!(emails(&app, "bcd bcd bcde").await, ["noor@example.com"]);
            index(&app).await;
        }
    }

    async fn a_search_that_finds_very_many_says_how_many_at_least(app: TestApp) {
        crowd(&app).await;
        index(&app).await;
        let mut seen = 0;
        let mut cursor = String::new();
        loop {
            let page = app.get(&format!("/api/prospects?search=zola&limit=200{cursor}")).await.expect(200);
            assert!((200..=1050).contains(&page["total"].as_i64().unwrap()), "{page}");
            seen += page["items"].as_array().unwrap().len();
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, 1050);
    }

    async fn a_walk_through_very_many_meets_each_once_while_some_change(app: TestApp) {
        crowd(&app).await;
        index(&app).await;
        // Just where those end that are gathered; the index does not know of it yet.
        for n in (40..160).step_by(2) {
            let path = format!("/api/prospects/01900000-0000-7000-8000-{n:012}");
            app.patch(&path, &json!({ "company": "abcd" })).await.expect(200);
        }
        for sort in ["createdAt", "-createdAt"] {
            let met = app.all(&format!("/api/prospects?search=abcd&sort={sort}")).await;
            let mut emails: Vec<&str> = met.iter().map(|item| item["email"].as_str().unwrap()).collect();
            emails.sort_unstable();
            emails.dedup();
            assert_eq!((met.len(), emails.len()), (1050, 1050), "{sort}");
        }
    }

    async fn a_search_that_finds_very_many_keeps_the_order_whatever_the_numbers(app: TestApp) {
        crowd(&app).await;
        index(&app).await;
        let first = async |sort: &str| {
            let query = format!("search=zola&limit=3&sort={sort}");
            found(&app, app.admin_token(), &query).await.0
        };
        let crowd = |numbers: [u32; 3]| numbers.map(|n| format!("crowd{n}@x.example"));
        assert_eq!(first("-createdAt").await, crowd([2099, 2097, 2095]));
        assert_eq!(first("createdAt").await, crowd([1, 3, 5]));
        // As with clocks that were set back, or differ between nodes.
        let late = "UPDATE prospect SET created_ms = 5000 WHERE email = 'crowd1@x.example'";
        let early = "UPDATE prospect SET created_ms = -1 WHERE email = 'crowd2099@x.example'";
        for sql in [late, early] {
            app.database.execute(sql).await;
        }
        assert_eq!(first("-createdAt").await, crowd([1, 2097, 2095]));
        assert_eq!(first("createdAt").await, crowd([2099, 3, 5]));
    }

    async fn an_index_that_slept_longer_than_the_log_reaches_is_filled_again(app: TestApp) {
        crowd(&app).await;
        index(&app).await;
        app.prospect(app.admin_token(), "noor@example.com").await;
        app.advance_ms(crate::support::app::settings().event_retention_ms + 1);
        bookbell::jobs::retention::once(&app.app, &mut None).await.unwrap();
        let token = app.sign_in(crate::support::app::ADMIN.0, crate::support::app::ADMIN.1).await;
        assert_eq!(found(&app, &token, "search=noor").await.1, 1);
        index(&app).await;
        assert!(is_indexed(&app, "noo").await);
        assert_eq!(found(&app, &token, "search=noor").await.1, 1);
    }
}

/// The parts of FTS5's index. The number of each is in the keys of its pages
/// (`FTS5_SEGMENT_ROWID` in SQLite's `ext/fts5/fts5_index.c`).
async fn parts(app: &TestApp) -> usize {
    let sql = "SELECT DISTINCT id >> 37 FROM prospect_search_data WHERE id >> 37 > 0";
    app.database.numbers(sql).await.len()
}

#[tokio::test]
async fn what_the_index_has_written_is_merged_by_itself_and_never_as_it_is_written() {
    let app = TestApp::sqlite().await;
    // What is written here is too little to be merged as it is written, whatever it says.
    let automerge = "SELECT v FROM prospect_search_config WHERE k = 'automerge'";
    assert_eq!(app.database.numbers(automerge).await, [0]);
    crowd(&app).await;
    index(&app).await;
    let before = parts(&app).await;
    for n in 1..=20 {
        app.prospect(app.admin_token(), &format!("one{n}@example.com"))
            .await;
        index(&app).await;
        assert_eq!(parts(&app).await, before + n);
    }
    assert!(app.app.merge_search().await.unwrap());
    while app.app.merge_search().await.unwrap() {}
    assert!(parts(&app).await < 8, "{}", parts(&app).await);
    assert!(is_indexed(&app, "one").await && is_indexed(&app, "zol").await);
    for n in 1..=20 {
        let email = format!("one{n}@example.com");
        assert_eq!(emails(&app, &email).await, [email]);
    }
}

const NOBODY: &str = "01a05bfb-7000-7b3e-9a7d-4c2f1160587e";
