//! Prospects as people make, change, find and delete them, and who may see and assign them.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::on_both;
use crate::support::payload::Booking;

const NOBODY: &str = "01a05bfb-7000-7b3e-9a7d-4c2f1160587e";
const HOST: &str = "https://api.calendly.com/users/amelie";

fn path_of(prospect: &Value) -> String {
    format!("/api/prospects/{}", prospect["id"].as_str().unwrap())
}

fn names(heard: &[(String, Value)]) -> Vec<&str> {
    heard.iter().map(|(name, _)| name.as_str()).collect()
}

/// The e-mail addresses a list shows, in its order.
async fn emails(app: &TestApp, query: &str) -> Vec<String> {
    let items = app.all(&format!("/api/prospects?{query}")).await;
    items
        .iter()
        .map(|item| item["email"].as_str().unwrap().to_owned())
        .collect()
}

/// The e-mail addresses that a search finds, sorted.
async fn found(app: &TestApp, search: &str) -> Vec<String> {
    let search: String = form_urlencoded::byte_serialize(search.as_bytes()).collect();
    let mut emails = emails(app, &format!("search={search}")).await;
    emails.sort();
    emails
}

on_both! {
    /// Whoever has two versions of a record takes the one with the later time for the newer one.
    async fn what_changes_is_never_older_than_it_was(app: TestApp) {
        let (user, _) = app.member("amelie@example.com", None).await;
        let booking = Booking::new(1, "noor@example.com");
        app.deliver(&booking.created()).await.expect(200);
        let prospect = app.all("/api/prospects").await.remove(0);
        let proposal = app.all("/api/proposals").await.remove(0);
        let proposal = format!("/api/proposals/{}", proposal["appointmentId"].as_str().unwrap());
        let paths = [path_of(&prospect), proposal];
        // A clock that was ahead is set right.
        app.advance_ms(-3_600_000);
        app.patch(&paths[0], &json!({ "status": "won", "ownerId": user })).await.expect(200);
        app.post(&format!("{}/accept", paths[1]), &json!({})).await.expect(200);
        let mut booking = booking;
        booking.name = String::from("Noor de Vries");
        app.deliver(&booking.canceled()).await.expect(200);
        let mut changes = 0;
        for (name, payload) in app.events().await {
            if let Some(updated) = payload.get("updatedAt") {
                changes += 1;
                assert_eq!(*updated, "2026-11-20T08:00:00.000Z", "{name}");
            }
        }
        assert_eq!(changes, 6);
    }

    async fn a_prospect_is_made_with_what_was_given(app: TestApp) {
        let given = json!({
            "email": " Tomasz@Example.net ", "firstname": "Tomasz", "lastname": "Żuraw",
            "phone": "+48 555 010 142", "company": "Żuraw Logistics", "status": "contacted",
            "source": "import", "notes": "Met at the fair.\nLikes 🚲", "timezone": "Europe/Warsaw",
            "tracking": { "utmSource": "fair" },
        });
        let made = app.post("/api/prospects", &given).await;
        let prospect = made.expect(201);
        assert_eq!(made.header("location"), Some(path_of(&prospect).as_str()));
        let tracking = json!({
            "utmSource": "fair", "utmMedium": null, "utmCampaign": null, "utmTerm": null,
            "utmContent": null, "salesforceUuid": null,
        });
        let mut expected = given;
        let now = "2026-11-20T08:00:00.000Z";
        for (field, value) in [
            ("id", prospect["id"].clone()), ("email", json!("Tomasz@Example.net")),
            ("tracking", tracking), ("ownerId", Value::Null), ("createdAt", json!(now)),
            ("updatedAt", json!(now)), ("lastBookingAt", Value::Null),
        ] {
            expected[field] = value;
        }
        assert_eq!(prospect, expected);
        let read = app.get(&path_of(&prospect)).await;
        assert_eq!(read.expect(200), prospect);
        assert_eq!(read.header("etag"), made.header("etag"));
        assert_eq!(app.events().await, [("prospect:created".to_owned(), prospect)]);
    }

    async fn a_new_prospect_is_new_manual_and_its_makers_unless_an_admin_made_it(app: TestApp) {
        let (member, token) = app.member("amelie@example.com", None).await;
        let mine = app.prospect(&token, "noor@example.com").await;
        assert_eq!((&mine["status"], &mine["source"]), (&json!("new"), &json!("manual")));
        assert_eq!(mine["ownerId"], member);
        let nobodys = app.prospect(app.admin_token(), "noor@example.com").await;
        assert_eq!(nobodys["ownerId"], Value::Null);
        let body = json!({ "email": "ibrahim@example.org", "ownerId": member });
        let given = app.post("/api/prospects", &body).await.expect(201);
        assert_eq!(given["ownerId"], member);
        let body = json!({ "email": "x@example.org", "ownerId": member });
        app.post_as(&token, "/api/prospects", &body).await.expect(201);
    }

    async fn a_change_touches_only_what_is_given(app: TestApp) {
        let body = json!({ "email": "noor@example.com", "phone": "1", "company": "A", "notes": "n" });
        let made = app.post("/api/prospects", &body).await.expect(201);
        app.advance_ms(1500);
        let change = json!({ "status": "won", "phone": null, "company": "  " });
        let changed = app.patch(&path_of(&made), &change).await.expect(200);
        let mut expected = made.clone();
        for (field, value) in [
            ("status", json!("won")), ("phone", Value::Null), ("company", Value::Null),
            ("updatedAt", json!("2026-11-20T08:00:01.500Z")),
        ] {
            expected[field] = value;
        }
        assert_eq!(changed, expected);
        assert_eq!(app.events().await[1..], [("prospect:updated".to_owned(), expected)]);
    }

    async fn a_change_that_changes_nothing_is_no_event(app: TestApp) {
        let made = app.prospect(app.admin_token(), "noor@example.com").await;
        let read = app.get(&path_of(&made)).await;
        let head = app.head().await;
        app.advance_ms(1000);
        for change in [json!({}), json!({ "status": "new", "phone": null })] {
            let same = app.patch(&path_of(&made), &change).await;
            assert_eq!(same.expect(200), made);
            assert_eq!(same.header("etag"), read.header("etag"));
        }
        assert_eq!(app.head().await, head);
    }

    async fn a_prospect_goes_with_its_proposals(app: TestApp) {
        app.deliver(&Booking::new(1, "noor@example.com").created()).await.expect(200);
        app.deliver(&Booking::new(2, "noor@example.com").created()).await.expect(200);
        let prospect = app.all("/api/prospects").await.remove(0);
        let since = app.head().await;
        assert_eq!(app.delete(&path_of(&prospect)).await.expect(204), Value::Null);
        app.get(&path_of(&prospect)).await.problem(404, "not_found");
        assert_eq!(app.all("/api/proposals").await, [] as [Value; 0]);
        let heard = app.heard(app.admin_token(), since).await;
        assert_eq!(names(&heard), ["proposal-deleted", "proposal-deleted", "prospect:deleted"]);
        assert_eq!(heard[0].1["prospectId"], prospect["id"]);
        assert_eq!(heard[2].1, json!({ "id": prospect["id"] }));
    }

    async fn the_record_of_another_is_not_there(app: TestApp) {
        let (_, amelie) = app.member("amelie@example.com", None).await;
        let (_, kwame) = app.member("kwame@example.com", None).await;
        let hers = app.prospect(&amelie, "noor@example.com").await;
        let nobodys = app.prospect(app.admin_token(), "x@example.com").await;
        for path in [path_of(&hers), path_of(&nobodys), format!("/api/prospects/{NOBODY}")] {
            app.get_as(&kwame, &path).await.problem(404, "not_found");
            app.patch_as(&kwame, &path, &json!({ "notes": "x" })).await.problem(404, "not_found");
            app.delete_as(&kwame, &path).await.problem(404, "not_found");
        }
        let list = app.get_as(&kwame, "/api/prospects").await.expect(200);
        assert_eq!(list, json!({ "items": [], "nextCursor": null, "total": 0 }));
        let asked = format!("/api/prospects?ownerId={}", hers["ownerId"].as_str().unwrap());
        assert_eq!(app.get_as(&kwame, &asked).await.expect(200)["total"], 0);
        let counts = app.get_as(&kwame, "/api/prospects/counts").await.expect(200);
        assert_eq!(counts["total"], 0);
        assert_eq!(app.get_as(&amelie, &path_of(&hers)).await.expect(200), hers);
        assert_eq!(app.all("/api/prospects").await.len(), 2);
    }

    async fn one_owner_has_an_address_once(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", None).await;
        let first = app.prospect(&token, "Noor@Example.com").await;
        let existing = |reply: crate::support::app::Reply, of: &Value| {
            let problem = reply.problem(409, "prospect_exists");
            assert_eq!(problem["existingId"], of["id"]);
            assert_eq!(reply.header("location"), Some(path_of(of).as_str()));
        };
        let body = json!({ "email": "noor@example.COM" });
        existing(app.post_as(&token, "/api/prospects", &body).await, &first);
        let nobodys = app.post("/api/prospects", &body).await.expect(201);
        existing(app.post("/api/prospects", &body).await, &nobodys);
        let other = app.prospect(&token, "other@example.com").await;
        existing(app.patch_as(&token, &path_of(&other), &body).await, &first);
        let assign = json!({ "ownerId": id });
        existing(app.patch(&path_of(&nobodys), &assign).await, &first);
        let release = json!({ "ownerId": null });
        existing(app.patch(&path_of(&first), &release).await, &nobodys);
        app.patch_as(&token, &path_of(&first), &json!({ "email": "NOOR@example.com" }))
            .await
            .expect(200);
    }

    async fn of_two_makers_at_once_one_finds_it_there(app: TestApp) {
        let body = json!({ "email": "noor@example.com" });
        let makers = (0..8).map(|_| app.post("/api/prospects", &body));
        let replies = futures_util::future::join_all(makers).await;
        let made = replies.iter().filter(|reply| reply.status == 201).count();
        assert_eq!(made, 1);
        for reply in replies.iter().filter(|reply| reply.status != 201) {
            reply.problem(409, "prospect_exists");
        }
        assert_eq!(app.events().await.len(), 1);
    }

    async fn only_admins_assign_and_only_to_users(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", None).await;
        let (other, _) = app.member("kwame@example.com", None).await;
        let mine = app.prospect(&token, "noor@example.com").await;
        for owner in [json!(other), json!(null), json!(NOBODY)] {
            let body = json!({ "email": "x@example.com", "ownerId": owner });
            app.post_as(&token, "/api/prospects", &body).await.problem(403, "forbidden");
            let assign = json!({ "ownerId": owner });
            app.patch_as(&token, &path_of(&mine), &assign).await.problem(403, "forbidden");
        }
        app.patch_as(&token, &path_of(&mine), &json!({ "ownerId": id })).await.expect(200);
        for owner in [json!(NOBODY), json!("none"), json!(7)] {
            let faults = app.patch(&path_of(&mine), &json!({ "ownerId": owner })).await.faults();
            assert_eq!(faults, ["ownerId"]);
        }
        assert_eq!(app.get(&path_of(&mine)).await.expect(200), mine);
    }

    async fn a_reassigned_prospect_leaves_one_owner_and_comes_to_the_other(app: TestApp) {
        let (_, amelie) = app.member("amelie@example.com", Some(HOST)).await;
        let (kwame_id, kwame) = app.member("kwame@example.com", None).await;
        for n in [1, 2] {
            let booking = Booking::new(n, "noor@example.com").host(HOST, "x@example.com");
            app.deliver(&booking.created()).await.expect(200);
        }
        let prospect = app.all("/api/prospects").await.remove(0);
        let since = app.head().await;
        let assign = json!({ "ownerId": kwame_id });
        let assigned = app.patch(&path_of(&prospect), &assign).await.expect(200);

        let lost = app.heard(&amelie, since).await;
        assert_eq!(lost, [("prospect:deleted".to_owned(), json!({ "id": prospect["id"] }))]);
        let gained = app.heard(&kwame, since).await;
        assert_eq!(names(&gained), ["prospect:created", "proposal-created", "proposal-created"]);
        assert_eq!(gained[0].1, assigned);
        let mut proposals = app.all("/api/proposals?sort=createdAt").await;
        let mut told: Vec<Value> = gained[1..].iter().map(|(_, payload)| payload.clone()).collect();
        proposals.sort_by_key(|proposal| proposal["appointmentId"].to_string());
        told.sort_by_key(|proposal| proposal["appointmentId"].to_string());
        assert_eq!(told, proposals);
        assert!(proposals.iter().all(|proposal| proposal["ownerId"] == kwame_id));
        let seen = app.heard(app.admin_token(), since).await;
        assert_eq!(seen, [("prospect:updated".to_owned(), assigned)]);

        app.get_as(&amelie, &path_of(&prospect)).await.problem(404, "not_found");
        let path = format!("/api/proposals/{}", proposals[0]["appointmentId"].as_str().unwrap());
        app.get_as(&amelie, &path).await.problem(404, "not_found");
        app.get_as(&kwame, &path).await.expect(200);
    }

    async fn an_unassigned_booking_is_assigned_and_stays_so(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", None).await;
        let booking = Booking::new(1, "noor@example.com").host("https://x.example", "x@example.com");
        app.deliver(&booking.created()).await.expect(200);
        let prospect = app.all("/api/prospects?ownerId=none").await.remove(0);
        assert_eq!(app.heard(&token, 0).await, []);
        app.patch(&path_of(&prospect), &json!({ "ownerId": id })).await.expect(200);
        assert_eq!(names(&app.heard(&token, 0).await), ["prospect:created", "proposal-created"]);
        app.deliver(&booking.canceled()).await.expect(200);
        assert_eq!(app.get_as(&token, "/api/proposals?status=canceled").await.items().len(), 1);
        assert_eq!(app.all("/api/prospects").await.len(), 1);
    }

    async fn what_stands_around_names_and_numbers_is_not_part_of_them(app: TestApp) {
        let mut booked = Booking::new(1, "ada@example.com").created();
        let payload = &mut booked["payload"];
        payload["first_name"] = json!("Ada ");
        payload["last_name"] = json!(" Lovelace");
        payload["text_reminder_number"] = json!(" +1 404 555 0100 ");
        let answer = |text: &str| json!([{ "question": "Company", "answer": text, "position": 0 }]);
        payload["questions_and_answers"] = answer("\nACME Ltd\nLondon");
        app.deliver(&booked).await.expect(200);
        assert_eq!(found(&app, "ada lovelace").await, ["ada@example.com"]);
        let prospect = app.all("/api/prospects").await.remove(0);
        for (field, expected) in [("phone", "+1 404 555 0100"), ("company", "ACME Ltd")] {
            assert_eq!(prospect[field], expected);
        }
        let mut again = Booking::new(2, "ada@example.com").created();
        again["payload"]["questions_and_answers"] = answer("\n ");
        app.deliver(&again).await.expect(200);
        assert_eq!(app.all("/api/prospects").await[0]["company"], "ACME Ltd");
    }

    async fn an_answer_about_a_company_is_not_the_company(app: TestApp) {
        let answers = |first: &str, second: &str| json!([
            { "question": "How did you hear about our company?", "answer": first, "position": 0 },
            { "question": "Company name", "answer": second, "position": 1 },
        ]);
        for (n, answers) in [(1, answers("Google", "ACME Ltd")), (2, answers("LinkedIn", ""))] {
            let mut booked = Booking::new(n, "ada@example.com").created();
            booked["payload"]["questions_and_answers"] = answers;
            app.deliver(&booked).await.expect(200);
            assert_eq!(app.all("/api/prospects").await[0]["company"], "ACME Ltd");
        }
    }

    async fn search_finds_parts_of_name_address_phone_and_company(app: TestApp) {
        for body in [
            json!({ "email": "a@one.example", "firstname": "Émile", "lastname": "Zola-Ñandú" }),
            json!({ "email": "b@two.example", "phone": "+48 555 010 142", "notes": "zola" }),
            json!({ "email": "c@three.example", "company": "100% Wool_Co (\\!)" }),
            json!({ "email": "d@four.example", "company": "ÅNGSTRÖM", "lastname": "O'Neill" }),
        ] {
            app.post("/api/prospects", &body).await.expect(201);
        }
        for (search, expected) in [
            ("emile", "a@one.example"), ("ÉMILE", "a@one.example"), ("mile zol", "a@one.example"),
            ("nandu", "a@one.example"), ("e\u{301}mile", "a@one.example"),
            ("555 010", "b@two.example"), ("+48", "b@two.example"), ("@THREE.", "c@three.example"),
            ("100%", "c@three.example"), ("%", "c@three.example"), ("_", "c@three.example"),
            ("l_c", "c@three.example"), ("\\", "c@three.example"), ("!", "c@three.example"),
            ("angstrom", "d@four.example"), ("o'neill", "d@four.example"),
        ] {
            assert_eq!(found(&app, search).await, [expected], "{search}");
        }
        assert_eq!(found(&app, "w%l").await, [] as [&str; 0]);
        assert_eq!(found(&app, "zol_").await, [] as [&str; 0]);
        assert_eq!(found(&app, ".example").await.len(), 4);
        assert_eq!(found(&app, " ").await.len(), 4);
    }

    async fn search_follows_what_changes(app: TestApp) {
        let made = app.prospect(app.admin_token(), "noor@example.com").await;
        app.patch(&path_of(&made), &json!({ "company": "Fietsfabriek" })).await.expect(200);
        assert_eq!(found(&app, "fiets").await.len(), 1);
        app.patch(&path_of(&made), &json!({ "company": null })).await.expect(200);
        assert_eq!(found(&app, "fiets").await.len(), 0);
    }

    async fn lists_are_filtered(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", None).await;
        for body in [
            json!({ "email": "a@x.example", "status": "won", "source": "import" }),
            json!({ "email": "b@x.example", "status": "won", "ownerId": id }),
            json!({ "email": "c@x.example", "status": "lost", "ownerId": id }),
        ] {
            app.post("/api/prospects", &body).await.expect(201);
        }
        app.deliver(&Booking::new(1, "d@x.example").created()).await.expect(200);
        for (query, expected) in [
            ("status=won", vec!["a@x.example", "b@x.example"]),
            ("status=new", vec!["d@x.example"]),
            ("status=qualified", vec![]),
            ("ownerId=none", vec!["a@x.example", "d@x.example"]),
            (&format!("ownerId={id}"), vec!["b@x.example", "c@x.example"]),
            (&format!("ownerId={NOBODY}"), vec![]),
            ("source=calendly", vec!["d@x.example"]),
            ("source=manual", vec!["b@x.example", "c@x.example"]),
            ("source=import&status=won&ownerId=none&search=A%40x", vec!["a@x.example"]),
        ] {
            assert_eq!(emails(&app, &format!("sort=createdAt&{query}")).await, expected, "{query}");
        }
        let none = app.get_as(&token, "/api/prospects?ownerId=none").await;
        assert_eq!(none.expect(200)["total"], 0);
    }

    async fn lists_are_sorted(app: TestApp) {
        for (email, name) in [("b", "émile"), ("c", "Zoé"), ("a", "Emil"), ("d", "Łukasz")] {
            let body = json!({ "email": format!("{email}@x.example"), "firstname": name });
            app.post("/api/prospects", &body).await.expect(201);
            app.advance_ms(1);
        }
        let first = app.all("/api/prospects?sort=createdAt").await.remove(0);
        app.patch(&path_of(&first), &json!({ "notes": "x" })).await.expect(200);
        for (query, expected) in [
            ("sort=-createdAt", "dacb"), ("", "dacb"), ("sort=createdAt", "bcad"),
            ("sort=-updatedAt", "bdac"), ("sort=name", "abdc"),
        ] {
            let order: String =
                emails(&app, query).await.iter().map(|email| &email[..1]).collect();
            assert_eq!(order, expected, "{query}");
        }
    }

    async fn counts_tell_every_status_the_caller_may_see(app: TestApp) {
        let (_, token) = app.member("amelie@example.com", None).await;
        for status in ["won", "won", "new"] {
            let n = app.head().await;
            let body = json!({ "email": format!("{n}@x.example"), "status": status });
            app.post("/api/prospects", &body).await.expect(201);
        }
        app.prospect(&token, "mine@x.example").await;
        let all = app.get("/api/prospects/counts").await;
        let expected = json!({ "new": 2, "contacted": 0, "qualified": 0, "won": 2, "lost": 0 });
        assert_eq!(all.expect(200), json!({ "total": 4, "byStatus": expected }));
        let mine = app.get_as(&token, "/api/prospects/counts").await;
        let expected = json!({ "new": 1, "contacted": 0, "qualified": 0, "won": 0, "lost": 0 });
        assert_eq!(mine.expect(200), json!({ "total": 1, "byStatus": expected }));
    }

    async fn what_a_person_edited_is_not_overwritten(app: TestApp) {
        let booking = Booking::new(1, "noor@example.com");
        app.deliver(&booking.created()).await.expect(200);
        let made = app.all("/api/prospects").await.remove(0);
        let edit = json!({
            "firstname": "Eleonora", "company": null, "email": "work@example.com",
            "timezone": "Asia/Tokyo", "tracking": { "utmSource": "phone" }, "status": "qualified",
        });
        let edited = app.patch(&path_of(&made), &edit).await.expect(200);
        let mut again = Booking::new(2, "noor@example.com");
        "Noortje Jansen".clone_into(&mut again.name);
        for body in [booking.canceled(), again.created(), again.no_show(1)] {
            app.deliver(&body).await.expect(200);
        }
        let now = app.get(&path_of(&made)).await.expect(200);
        for field in ["firstname", "company", "email", "timezone", "tracking", "status"] {
            assert_eq!(now[field], edited[field], "{field}");
        }
        assert_eq!(now["lastname"], "Jansen");
        assert_eq!(now["lastBookingAt"], "2026-11-01T02:00:00.000Z");
        assert_eq!(app.all("/api/prospects").await.len(), 1);
    }

    async fn a_deleted_prospect_comes_back_by_a_new_booking_only(app: TestApp) {
        let booking = Booking::new(1, "noor@example.com");
        app.deliver(&booking.created()).await.expect(200);
        let old = app.all("/api/prospects").await.remove(0);
        app.delete(&path_of(&old)).await.expect(204);
        let since = app.head().await;
        let mut later = booking.created();
        later["created_at"] = json!("2026-11-19T00:00:00.000000Z");
        later["payload"]["updated_at"] = json!("2026-11-19T00:00:00.000000Z");
        let removed = booking.no_show_removed(1);
        for body in [later, booking.no_show(1), removed, booking.canceled()] {
            app.deliver(&body).await.expect(200);
        }
        assert_eq!(app.all("/api/prospects").await, [] as [Value; 0]);
        assert_eq!(app.all("/api/proposals").await, [] as [Value; 0]);
        assert_eq!(app.head().await, since);
        app.deliver(&Booking::new(2, "noor@example.com").created()).await.expect(200);
        let new = app.all("/api/prospects").await.remove(0);
        assert_ne!(new["id"], old["id"]);
        assert_eq!(app.all("/api/proposals").await.len(), 1);
    }
}
