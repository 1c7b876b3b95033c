//! Proposals as people make, change, decide, find and delete them.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::on_both;
use crate::support::payload::Booking;

const NOBODY: &str = "01a05bfb-7000-7b3e-9a7d-4c2f1160587e";
const HOST: &str = "https://api.calendly.com/users/amelie";

fn path_of(proposal: &Value) -> String {
    format!(
        "/api/proposals/{}",
        proposal["appointmentId"].as_str().unwrap()
    )
}

fn visit(prospect: &Value) -> Value {
    json!({
        "prospectId": prospect["id"], "title": "Site visit", "timezone": "Europe/Warsaw",
        "startTime": "2026-12-06T10:00:00+02:00", "endTime": "2026-12-06T10:45:00+02:00",
    })
}

/// A proposal made by the admin for a prospect that nobody owns.
async fn made(app: &TestApp) -> Value {
    let prospect = app.prospect(app.admin_token(), "noor@example.com").await;
    app.post("/api/proposals", &visit(&prospect))
        .await
        .expect(201)
}

/// The one proposal there is, after these deliveries.
async fn after(app: &TestApp, deliveries: &[Value]) -> Value {
    for delivery in deliveries {
        app.deliver(delivery).await.expect(200);
    }
    let mut all = app.all("/api/proposals").await;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

async fn decide(app: &TestApp, proposal: &Value, verdict: &str) -> crate::support::app::Reply {
    let path = format!("{}/{verdict}", path_of(proposal));
    app.send(Method::POST, &path, Some(app.admin_token()), &[], None)
        .await
}

/// The titles a list shows, in its order.
async fn titles(app: &TestApp, query: &str) -> String {
    let items = app.all(&format!("/api/proposals?{query}")).await;
    items
        .iter()
        .map(|item| item["title"].as_str().unwrap())
        .collect()
}

on_both! {
    async fn a_proposal_is_made_by_hand(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", None).await;
        let prospect = app.prospect(&token, "noor@example.com").await;
        let mut body = visit(&prospect);
        body["location"] = json!({ "kind": "physical", "value": "12 Example Street" });
        let since = app.head().await;
        let reply = app.post_as(&token, "/api/proposals", &body).await;
        let proposal = reply.expect(201);
        let now = "2026-11-20T08:00:00.000Z";
        let slot = json!({
            "startTime": "2026-12-06T08:00:00.000Z", "endTime": "2026-12-06T08:45:00.000Z",
        });
        let tracking = json!({
            "utmSource": null, "utmMedium": null, "utmCampaign": null, "utmTerm": null,
            "utmContent": null, "salesforceUuid": null,
        });
        assert_eq!(proposal, json!({
            "appointmentId": proposal["appointmentId"],
            "conversationId": proposal["conversationId"], "prospectId": prospect["id"],
            "ownerId": id, "status": "pending", "title": "Site visit",
            "startTime": slot["startTime"], "endTime": slot["endTime"],
            "timezone": "Europe/Warsaw", "location": body["location"], "hosts": [], "guests": [],
            "answers": [], "tracking": tracking, "cancellation": null, "noShow": null,
            "history": [{ "at": now, "what": "booked", "to": slot }],
            "cancelUrl": null, "rescheduleUrl": null, "source": "manual",
            "createdAt": now, "updatedAt": now,
        }));
        assert_eq!(reply.header("location"), Some(path_of(&proposal).as_str()));
        let read = app.get_as(&token, &path_of(&proposal)).await;
        assert_eq!(read.expect(200), proposal);
        assert_eq!(read.header("etag"), reply.header("etag"));
        let told = [("proposal-created".to_owned(), proposal)];
        assert_eq!(app.heard(&token, since).await, told);
        assert_eq!(app.heard(app.admin_token(), since).await, told);
    }

    async fn proposals_of_a_prospect_share_its_conversation(app: TestApp) {
        let booking = Booking::new(1, "noor@example.com");
        let booked = after(&app, &[booking.created()]).await;
        let prospect = app.all("/api/prospects").await.remove(0);
        let by_hand = app.post("/api/proposals", &visit(&prospect)).await.expect(201);
        assert_eq!(by_hand["conversationId"], booked["conversationId"]);
        let other = app.prospect(app.admin_token(), "x@example.com").await;
        let apart = app.post("/api/proposals", &visit(&other)).await.expect(201);
        assert_ne!(apart["conversationId"], booked["conversationId"]);
    }

    async fn every_fault_of_a_proposal_is_named(app: TestApp) {
        let (_, token) = app.member("amelie@example.com", None).await;
        let prospect = app.prospect(app.admin_token(), "noor@example.com").await;
        let faults = app.post("/api/proposals", &json!({ "status": "accepted" })).await.faults();
        let all = ["endTime", "prospectId", "startTime", "status", "timezone", "title"];
        assert_eq!(faults, all);
        for (field, value) in [
            ("prospectId", json!(NOBODY)), ("prospectId", json!("7")), ("title", json!(" ")),
            ("startTime", json!("2026-12-06 10:00")), ("startTime", json!(1_796_119_200)),
            ("endTime", json!("2026-12-06T08:00:00Z")), ("timezone", json!("Mars/Olympus")),
            ("timezone", json!(null)), ("location", json!("here")),
            ("title", json!("x".repeat(201))),
        ] {
            let mut body = visit(&prospect);
            body[field] = value.clone();
            let faults = app.post("/api/proposals", &body).await.faults();
            assert_eq!(faults, [field], "{value}");
        }
        let mut body = visit(&prospect);
        body["location"] = json!({ "value": "x", "room": 7 });
        let faults = app.post("/api/proposals", &body).await.faults();
        assert_eq!(faults, ["location.kind", "location.room"]);
        let foreign = app.post_as(&token, "/api/proposals", &visit(&prospect)).await;
        assert_eq!(foreign.faults(), ["prospectId"]);
    }

    async fn a_time_before_the_year_0_is_refused(app: TestApp) {
        let prospect = app.prospect(app.admin_token(), "noor@example.com").await;
        let mut body = visit(&prospect);
        for early in ["-000044-03-15T12:00:00Z", "0000-01-01T00:00:00+01:00"] {
            body["startTime"] = json!(early);
            assert_eq!(app.post("/api/proposals", &body).await.faults(), ["startTime"], "{early}");
        }
        body["startTime"] = json!("0000-01-01T00:00:00Z");
        let made = app.post("/api/proposals", &body).await.expect(201);
        assert_eq!(app.get(&path_of(&made)).await.expect(200), made);
    }

    async fn a_proposal_is_changed(app: TestApp) {
        let proposal = made(&app).await;
        app.advance_ms(1000);
        let change = json!({
            "title": "Call", "startTime": "2026-12-07T08:00:00Z", "endTime": "2026-12-07T09:00:00Z",
            "location": { "kind": "phone", "value": null }, "timezone": null,
        });
        let since = app.head().await;
        let changed = app.patch(&path_of(&proposal), &change).await.expect(200);
        assert_eq!(changed["title"], "Call");
        assert_eq!(changed["startTime"], "2026-12-07T08:00:00.000Z");
        assert_eq!(changed["location"], change["location"]);
        assert_eq!(changed["timezone"], Value::Null);
        assert_eq!(changed["updatedAt"], "2026-11-20T08:00:01.000Z");
        let told = [("proposal-updated".to_owned(), changed.clone())];
        assert_eq!(app.heard(app.admin_token(), since).await, told);
        for (wrong, field) in [
            (json!({ "endTime": "2026-12-07T08:00:00Z" }), "endTime"),
            (json!({ "startTime": "2026-12-08T08:00:00Z" }), "endTime"),
            (json!({ "status": "accepted" }), "status"),
            (json!({ "prospectId": NOBODY }), "prospectId"),
            (json!({ "title": null }), "title"),
        ] {
            assert_eq!(app.patch(&path_of(&proposal), &wrong).await.faults(), [field]);
        }
        assert_eq!(app.get(&path_of(&proposal)).await.expect(200), changed);
    }

    async fn the_proposal_of_another_is_not_there(app: TestApp) {
        let (_, token) = app.member("amelie@example.com", None).await;
        let proposal = made(&app).await;
        for path in [path_of(&proposal), format!("/api/proposals/{NOBODY}")] {
            app.get_as(&token, &path).await.problem(404, "not_found");
            let body = json!({ "title": "Mine" });
            app.patch_as(&token, &path, &body).await.problem(404, "not_found");
            app.delete_as(&token, &path).await.problem(404, "not_found");
            for verdict in ["accept", "reject"] {
                let path = format!("{path}/{verdict}");
                app.post_as(&token, &path, &json!({})).await.problem(404, "not_found");
            }
        }
        assert_eq!(app.get_as(&token, "/api/proposals").await.expect(200)["total"], 0);
    }

    async fn pending_is_accepted_or_rejected_and_accepted_is_rejected(app: TestApp) {
        let proposal = made(&app).await;
        app.advance_ms(1000);
        assert_eq!(decide(&app, &proposal, "accept").await.expect(200)["status"], "accepted");
        decide(&app, &proposal, "accept").await.problem(409, "status_conflict");
        app.advance_ms(1000);
        let rejected = decide(&app, &proposal, "reject").await.expect(200);
        assert_eq!(rejected["status"], "rejected");
        for verdict in ["accept", "reject"] {
            decide(&app, &proposal, verdict).await.problem(409, "status_conflict");
        }
        let me = app.get("/api/auth/me").await.expect(200)["id"].clone();
        assert_eq!(rejected["history"].as_array().unwrap()[1..], [
            json!({ "at": "2026-11-20T08:00:01.000Z", "what": "accepted", "userId": me }),
            json!({ "at": "2026-11-20T08:00:02.000Z", "what": "rejected", "userId": me }),
        ]);
        assert_eq!(app.get(&path_of(&proposal)).await.expect(200), rejected);
    }

    async fn a_canceled_or_missed_meeting_is_not_decided(app: TestApp) {
        let booking = Booking::new(1, "noor@example.com");
        let proposal = after(&app, &[booking.created(), booking.no_show(1)]).await;
        for deliver in [None, Some(booking.canceled())] {
            after(&app, deliver.as_slice()).await;
            for verdict in ["accept", "reject"] {
                decide(&app, &proposal, verdict).await.problem(409, "status_conflict");
            }
        }
    }

    async fn a_rejection_keeps_its_reason(app: TestApp) {
        let proposal = made(&app).await;
        let since = app.head().await;
        let path = format!("{}/reject", path_of(&proposal));
        let long = json!({ "reason": "x".repeat(2001), "why": 1 });
        assert_eq!(app.post(&path, &long).await.faults(), ["reason", "why"]);
        let reason = json!({ "reason": "Not a fit <b>now</b>" });
        let rejected = app.post(&path, &reason).await.expect(200);
        assert_eq!(rejected["history"][1]["reason"], reason["reason"]);
        let heard = app.heard(app.admin_token(), since).await;
        assert_eq!(heard[0], ("proposal-updated".to_owned(), rejected.clone()));
        assert_eq!(heard[1..], [("proposal-status-changed".to_owned(), json!({
            "appointmentId": rejected["appointmentId"],
            "conversationId": rejected["conversationId"], "prospectId": rejected["prospectId"],
            "status": "rejected", "previousStatus": "pending", "reason": reason["reason"],
            "proposal": rejected,
        }))]);
    }

    async fn of_two_who_decide_at_once_one_does(app: TestApp) {
        let proposal = made(&app).await;
        let decisions = (0..6).map(|_| decide(&app, &proposal, "accept"));
        let replies = futures_util::future::join_all(decisions).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
        assert_eq!(replies.iter().filter(|reply| reply.status == 409).count(), 5);
        let history = app.get(&path_of(&proposal)).await.expect(200)["history"].clone();
        assert_eq!(history.as_array().unwrap().len(), 2);
    }

    async fn a_moved_meeting_is_to_be_decided_again(app: TestApp) {
        let first = Booking::new(1, "noor@example.com");
        let proposal = after(&app, &[first.created()]).await;
        decide(&app, &proposal, "accept").await.expect(200);
        let second = Booking::new(2, "noor@example.com").replacing(1);
        let moved = after(&app, &[first.clone().replaced_by(2).canceled(), second.created()]).await;
        assert_eq!(moved["appointmentId"], proposal["appointmentId"]);
        assert_eq!(moved["status"], "pending");
        decide(&app, &moved, "reject").await.expect(200);
    }

    async fn a_decision_outlives_a_removed_no_show_mark(app: TestApp) {
        let booking = Booking::new(1, "noor@example.com");
        let proposal = after(&app, &[booking.created()]).await;
        decide(&app, &proposal, "accept").await.expect(200);
        assert_eq!(after(&app, &[booking.no_show(1)]).await["status"], "no_show");
        assert_eq!(after(&app, &[booking.no_show_removed(1)]).await["status"], "accepted");
    }

    async fn what_a_person_edited_is_not_overwritten(app: TestApp) {
        let first = Booking::new(1, "noor@example.com");
        let proposal = after(&app, &[first.created()]).await;
        let edit = json!({ "title": "Demo for nine", "location": { "kind": "phone", "value": "1" } });
        app.patch(&path_of(&proposal), &edit).await.expect(200);
        let second = Booking::new(2, "noor@example.com").replacing(1);
        let moved = after(&app, &[second.created(), first.replaced_by(2).canceled()]).await;
        assert_eq!(moved["title"], edit["title"]);
        assert_eq!(moved["location"], edit["location"]);
        assert_ne!(moved["startTime"], proposal["startTime"]);
        let canceled = after(&app, &[second.canceled()]).await;
        assert_eq!(canceled["title"], edit["title"]);
    }

    async fn a_title_is_changed_also_where_a_move_passed_an_edited_end(app: TestApp) {
        let first = Booking::new(1, "noor@example.com");
        let proposal = after(&app, &[first.created()]).await;
        let edit = json!({ "endTime": "2026-12-02T11:00:00Z" });
        app.patch(&path_of(&proposal), &edit).await.expect(200);
        after(&app, &[Booking::new(9, "noor@example.com").replacing(1).created()]).await;
        app.patch(&path_of(&proposal), &json!({ "title": "Demo" })).await.expect(200);
    }

    async fn a_deleted_proposal_does_not_come_back(app: TestApp) {
        let booking = Booking::new(1, "noor@example.com");
        let proposal = after(&app, &[booking.created()]).await;
        let since = app.head().await;
        assert_eq!(app.delete(&path_of(&proposal)).await.expect(204), Value::Null);
        let gone = json!({
            "appointmentId": proposal["appointmentId"], "prospectId": proposal["prospectId"],
        });
        let told = [("proposal-deleted".to_owned(), gone)];
        assert_eq!(app.heard(app.admin_token(), since).await, told);
        let removed = booking.no_show_removed(1);
        for body in [booking.no_show(1), removed, booking.canceled(), booking.created()] {
            app.deliver(&body).await.expect(200);
        }
        assert_eq!(app.all("/api/proposals").await, [] as [Value; 0]);
        app.get(&path_of(&proposal)).await.problem(404, "not_found");
        assert_eq!(app.all("/api/prospects").await.len(), 1);
        after(&app, &[Booking::new(2, "noor@example.com").created()]).await;
    }

    async fn the_owner_sees_the_links_that_cancel_and_move(app: TestApp) {
        let (_, token) = app.member("amelie@example.com", Some(HOST)).await;
        let booking = Booking::new(1, "noor@example.com").host(HOST, "x@example.com");
        let proposal = after(&app, &[booking.created()]).await;
        let seen = app.get_as(&token, &path_of(&proposal)).await.expect(200);
        assert_eq!(seen["cancelUrl"], "https://calendly.com/cancellations/1");
        assert_eq!(seen["rescheduleUrl"], "https://calendly.com/reschedulings/1");
    }

    async fn lists_are_filtered_and_sorted(app: TestApp) {
        let (id, token) = app.member("amelie@example.com", None).await;
        let mine = app.prospect(&token, "noor@example.com").await;
        let nobodys = app.prospect(app.admin_token(), "x@example.com").await;
        for (title, prospect, day) in
            [("a", &mine, "07"), ("b", &nobodys, "06"), ("c", &mine, "08")]
        {
            let mut body = visit(prospect);
            body["title"] = json!(title);
            body["startTime"] = json!(format!("2026-12-{day}T08:00:00Z"));
            body["endTime"] = json!(format!("2026-12-{day}T09:00:00Z"));
            app.post("/api/proposals", &body).await.expect(201);
            app.advance_ms(1);
        }
        let b = app.all("/api/proposals?ownerId=none").await.remove(0);
        decide(&app, &b, "accept").await.expect(200);
        let prospect = nobodys["id"].as_str().unwrap();
        for (query, expected) in [
            ("", "cba"), ("sort=-createdAt", "cba"), ("sort=createdAt", "abc"),
            ("sort=-updatedAt", "bca"), ("sort=startTime", "bac"), ("sort=-startTime", "cab"),
            ("status=accepted", "b"), ("status=pending", "ca"), ("status=no_show", ""),
            (&format!("prospectId={prospect}"), "b"), (&format!("ownerId={id}"), "ca"),
            ("ownerId=none", "b"), (&format!("ownerId={NOBODY}"), ""),
            ("from=2026-12-07T08:00:00Z", "ca"), ("from=2026-12-07T08:00:00.001Z", "c"),
            ("to=2026-12-07T08:00:00.001Z&sort=startTime", "ba"),
            ("from=2026-12-07T09:00:00%2B01:00&to=2026-12-08T00:00:00Z", "a"),
        ] {
            assert_eq!(titles(&app, query).await, expected, "{query}");
        }
        assert_eq!(app.get_as(&token, "/api/proposals").await.expect(200)["total"], 2);
        for (query, field) in [
            ("from=soon", "from"), ("to=2026-12-07", "to"), ("prospectId=x", "prospectId"),
            ("ownerId=nobody", "ownerId"), ("sort=title", "sort"), ("status=booked", "status"),
        ] {
            assert_eq!(app.get(&format!("/api/proposals?{query}")).await.faults(), [field]);
        }
    }
}
