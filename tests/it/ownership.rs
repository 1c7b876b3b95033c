//! Whose booking it is, and what becomes of the stories Calendly tells (contract, 3.3).

use bookbell::calendly::signature::{SigningKey, sign};
use bookbell::domain::clock::Clock;
use bookbell::domain::ids::Id;
use bookbell::store;
use serde_json::{Value, json};

use crate::support::on_both;
use crate::support::payload::{Booking, routing_form};

const AMELIE: &str = "https://api.calendly.com/users/amelie";
const KWAME: &str = "https://api.calendly.com/users/kwame";

fn what(proposal: &Value) -> Vec<&str> {
    proposal["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["what"].as_str().unwrap())
        .collect()
}

on_both! {
    async fn the_first_known_uri_owns_then_the_first_known_address(app: TestApp) {
        let (amelie, _) = app.member("amelie@example.com", Some(AMELIE)).await;
        let (kwame, _) = app.member("kwame@example.com", Some(KWAME)).await;
        // By address the first host would be Kwame; a URI goes before any address.
        let by_uri = Booking::new(1, "a@example.net").host("x", "kwame@example.com").host(AMELIE, "other@example.com");
        let by_email = Booking::new(2, "b@example.net").host("x", "nobody@example.com").host("y", "KWAME@example.com");
        let nobody = Booking::new(3, "c@example.net").host("x", "nobody@example.com");
        for booking in [&by_uri, &by_email, &nobody] {
            app.deliver(&booking.created()).await.expect(200);
        }
        let owner = async |email: &str| {
            let found = app.get(&format!("/api/prospects?search={email}")).await.expect(200);
            found["items"][0]["ownerId"].clone()
        };
        assert_eq!(owner("a@example.net").await, json!(amelie));
        assert_eq!(owner("b@example.net").await, json!(kwame));
        assert_eq!(owner("c@example.net").await, Value::Null);
        let hosts = app.get("/api/proposals?sort=createdAt").await.expect(200)["items"][0]["hosts"].clone();
        assert_eq!(hosts[0]["userId"], json!(kwame));
        assert_eq!(hosts[1]["userId"], json!(amelie));
    }

    async fn a_connection_verifies_with_its_own_key_and_gives_its_user(app: TestApp) {
        let (kwame, _) = app.member("kwame@example.com", None).await;
        let id = app.app.ids.new_id(app.clock.now_ms());
        let user = Id::parse(&kwame).unwrap();
        let mut tx = app.app.store.begin().await.unwrap();
        store::connections::insert(&mut tx.db(), &id, Some(&user), "its own key", 0).await.unwrap();
        tx.commit(Vec::new(), 0, &*app.app.ids).await.unwrap();
        let body = Booking::new(1, "a@example.net").created().to_string().into_bytes();
        let path = format!("/webhooks/calendly/{id}");
        let at_s = app.clock.now_ms() / 1000;
        let signed = |key: &str| sign(&SigningKey::new(key).unwrap(), at_s, &body);
        let global = signed(crate::support::app::KEY);
        app.post_webhook(&path, Some(&global), body.clone()).await.problem(401, "signature_mismatch");
        app.post_webhook("/webhooks/calendly", Some(&signed("its own key")), body.clone()).await.problem(401, "signature_mismatch");
        app.post_webhook(&path, Some(&signed("its own key")), body.clone()).await.expect(200);
        assert_eq!(app.all("/api/prospects").await[0]["ownerId"], json!(kwame));
    }

    async fn an_unowned_booking_is_seen_by_admins_and_can_be_assigned(app: TestApp) {
        let (amelie, token) = app.member("amelie@example.com", None).await;
        app.deliver(&Booking::new(1, "noor@example.com").created()).await.expect(200);
        let prospect = app.get("/api/prospects?ownerId=none").await.expect(200)["items"][0].clone();
        assert_eq!(app.get_as(&token, "/api/prospects").await.expect(200)["total"], 0);
        let path = format!("/api/prospects/{}", prospect["id"].as_str().unwrap());
        app.patch(&path, &json!({ "ownerId": amelie })).await.expect(200);
        let mine = app.get_as(&token, "/api/prospects").await.expect(200);
        assert_eq!(mine["items"][0]["id"], prospect["id"]);
        // Later deliveries about it leave it with whom a person gave it to.
        app.deliver(&Booking::new(1, "noor@example.com").canceled()).await.expect(200);
        app.deliver(&Booking::new(2, "noor@example.com").created()).await.expect(200);
        let proposals = app.get_as(&token, "/api/proposals").await.expect(200);
        assert_eq!(proposals["total"], 2);
        assert_eq!(app.all("/api/prospects").await.len(), 1);
    }

    async fn a_reschedule_is_one_proposal_that_moves(app: TestApp) {
        let first = Booking::new(1, "noor@example.com").replaced_by(2);
        let second = Booking::new(2, "noor@example.com").replacing(1);
        app.deliver(&Booking::new(1, "noor@example.com").created()).await.expect(200);
        let before = app.all("/api/proposals").await[0].clone();
        let id = before["appointmentId"].as_str().unwrap();
        app.post(&format!("/api/proposals/{id}/accept"), &json!({})).await.expect(200);

        app.deliver(&first.canceled()).await.expect(200);
        let halfway = app.all("/api/proposals").await[0].clone();
        assert_eq!(halfway["status"], "canceled");
        assert_eq!(halfway["cancellation"]["reason"], "a train strike");
        app.deliver(&second.created()).await.expect(200);
        let moved = app.all("/api/proposals").await;
        assert_eq!(moved.len(), 1);
        assert_eq!(moved[0]["appointmentId"], before["appointmentId"]);
        assert_eq!(moved[0]["status"], "pending", "the new time is undecided");
        assert_ne!(moved[0]["startTime"], before["startTime"]);
        assert_eq!(moved[0]["cancellation"], Value::Null);
        assert_eq!(what(&moved[0]), ["booked", "moved", "accepted"]);
        assert_eq!(moved[0]["history"][1]["from"]["startTime"], before["startTime"]);
        assert_eq!(moved[0]["history"][1]["to"]["startTime"], moved[0]["startTime"]);
        let names: Vec<String> = app.events().await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [
            "prospect:created", "proposal-created",
            "proposal-updated", "proposal-status-changed",
            "proposal-updated", "proposal-status-changed",
            "prospect:updated", "proposal-updated", "proposal-status-changed",
        ]);
    }

    async fn two_records_that_turn_out_to_be_one_reschedule_become_one(app: TestApp) {
        let last = Booking::new(3, "noor@example.com").replacing(2);
        app.deliver(&Booking::new(1, "noor@example.com").created()).await.expect(200);
        app.deliver(&last.created()).await.expect(200);
        let apart = app.all("/api/proposals?sort=createdAt").await;
        assert_eq!(apart.len(), 2);
        let link = Booking::new(2, "noor@example.com").replacing(1).replaced_by(3);
        app.deliver(&link.canceled()).await.expect(200);
        let joined = app.all("/api/proposals").await;
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0]["appointmentId"], apart[0]["appointmentId"]);
        assert_eq!(what(&joined[0]), ["booked", "moved", "moved"]);
        let deleted: Vec<Value> = app.events().await.into_iter()
            .filter(|(name, _)| name == "proposal-deleted").map(|(_, payload)| payload).collect();
        assert_eq!(deleted, [json!({
            "appointmentId": apart[1]["appointmentId"], "prospectId": apart[1]["prospectId"]
        })]);
    }

    async fn a_no_show_mark_is_set_and_removed(app: TestApp) {
        let booking = Booking::new(1, "noor@example.com");
        app.deliver(&booking.created()).await.expect(200);
        let id = app.all("/api/proposals").await[0]["appointmentId"].as_str().unwrap().to_owned();
        app.post(&format!("/api/proposals/{id}/accept"), &json!({})).await.expect(200);
        app.deliver(&booking.no_show(0)).await.expect(200);
        let marked = app.all("/api/proposals").await[0].clone();
        assert_eq!(marked["status"], "no_show");
        assert!(marked["noShow"]["at"].is_string());
        app.deliver(&booking.no_show_removed(0)).await.expect(200);
        let back = app.all("/api/proposals").await[0].clone();
        assert_eq!((&back["status"], &back["noShow"]), (&json!("accepted"), &Value::Null));
        app.deliver(&booking.no_show(1)).await.expect(200);
        assert_eq!(app.all("/api/proposals").await[0]["status"], "no_show");
    }

    async fn each_invitee_of_a_group_event_stands_alone(app: TestApp) {
        for n in 1..=3 {
            app.deliver(&Booking::new(n, &format!("guest{n}@example.com")).created()).await.expect(200);
        }
        app.deliver(&Booking::new(2, "guest2@example.com").canceled()).await.expect(200);
        let mut statuses: Vec<(String, String)> = Vec::new();
        for proposal in app.all("/api/proposals?sort=createdAt").await {
            let prospect = app.get(&format!("/api/prospects/{}", proposal["prospectId"].as_str().unwrap())).await.expect(200);
            statuses.push((prospect["email"].as_str().unwrap().into(), proposal["status"].as_str().unwrap().into()));
        }
        let expected = [("guest1", "pending"), ("guest2", "canceled"), ("guest3", "pending")];
        assert_eq!(statuses, expected.map(|(name, status)| (format!("{name}@example.com"), status.to_owned())));
    }

    async fn the_first_booking_takes_over_what_a_routing_form_made(app: TestApp) {
        let (amelie, token) = app.member("amelie@example.com", Some(AMELIE)).await;
        app.deliver(&routing_form(1, "noor@example.com")).await.expect(200);
        let form = app.all("/api/prospects").await[0].clone();
        assert_eq!((&form["ownerId"], &form["phone"]), (&Value::Null, &json!("+31 20 555 01 99")));
        let booking = Booking::new(1, "Noor@example.com").host(AMELIE, "a@b.example");
        app.deliver(&booking.created()).await.expect(200);
        let claimed = app.all("/api/prospects").await;
        assert_eq!(claimed.len(), 1);
        assert_eq!((&claimed[0]["id"], &claimed[0]["ownerId"]), (&form["id"], &json!(amelie)));
        assert_eq!(claimed[0]["phone"], "+31 20 555 01 99");
        let heard = app.get_as(&token, "/api/events?since=0").await.expect(200);
        let heard: Vec<&str> = heard["items"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
        assert_eq!(heard, ["prospect:created", "proposal-created"]);
        let empty = json!({ "event": "routing_form_submission.created", "payload": {
            "uri": "u", "questions_and_answers": [{ "question": "Industry", "answer": "Bikes" }] } });
        let answer = app.deliver(&empty).await.expect(200);
        assert_eq!((&answer["status"], &answer["reason"]), (&json!("ignored"), &json!("no_email")));
    }

    async fn what_a_person_edited_is_not_overwritten(app: TestApp) {
        app.deliver(&Booking::new(1, "noor@example.com").created()).await.expect(200);
        let id = app.all("/api/prospects").await[0]["id"].as_str().unwrap().to_owned();
        let edit = json!({ "firstname": "Eleonora", "phone": "+31 6 555 01 00", "status": "qualified", "email": "noor@work.example" });
        app.patch(&format!("/api/prospects/{id}"), &edit).await.expect(200);
        let proposal = app.all("/api/proposals").await[0]["appointmentId"].as_str().unwrap().to_owned();
        app.patch(&format!("/api/proposals/{proposal}"), &json!({ "title": "Our big chance" })).await.expect(200);
        let mut later = Booking::new(2, "noor@example.com");
        later.name = String::from("Norah Visser");
        app.deliver(&later.created()).await.expect(200);
        app.deliver(&Booking::new(1, "noor@example.com").canceled()).await.expect(200);
        let prospects = app.all("/api/prospects").await;
        assert_eq!(prospects.len(), 1, "the corrected address still finds its bookings");
        for (field, value) in edit.as_object().unwrap() {
            assert_eq!(&prospects[0][field], value);
        }
        assert_eq!(prospects[0]["lastname"], "Visser");
        let kept = app.get(&format!("/api/proposals/{proposal}")).await.expect(200);
        assert_eq!((&kept["title"], &kept["status"]), (&json!("Our big chance"), &json!("canceled")));
    }

    async fn what_a_person_deleted_does_not_come_back(app: TestApp) {
        app.deliver(&Booking::new(1, "noor@example.com").created()).await.expect(200);
        let id = app.all("/api/prospects").await[0]["id"].as_str().unwrap().to_owned();
        assert_eq!(app.delete(&format!("/api/prospects/{id}")).await.status.as_u16(), 204);
        app.deliver(&Booking::new(1, "noor@example.com").canceled()).await.expect(200);
        assert!(app.all("/api/prospects").await.is_empty());
        assert!(app.all("/api/proposals").await.is_empty());
        app.deliver(&Booking::new(2, "noor@example.com").created()).await.expect(200);
        assert_eq!(app.all("/api/prospects").await.len(), 1, "a new booking is new work");
    }
}
