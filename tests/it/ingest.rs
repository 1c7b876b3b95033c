//! Deliveries come in: every row of the contract's table (3.1).

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::on_both;
use crate::support::payload::Booking;

on_both! {
    async fn a_booking_makes_a_prospect_and_a_proposal(app: TestApp) {
        let body = Booking::new(1, "Noor@Example.com").created();
        let answer = app.deliver(&body).await.expect(200);
        assert_eq!(answer["status"], "processed");

        let prospects = app.all("/api/prospects").await;
        assert_eq!(prospects.len(), 1);
        assert_eq!(prospects[0]["email"], "Noor@Example.com");
        assert_eq!(prospects[0]["firstname"], "Noor");
        assert_eq!(prospects[0]["lastname"], "van Dijk");
        assert_eq!(prospects[0]["company"], "Fietsfabriek");
        assert_eq!(prospects[0]["status"], "new");
        assert_eq!(prospects[0]["source"], "calendly");
        let proposals = app.all("/api/proposals").await;
        assert_eq!(proposals.len(), 1);
        assert_eq!(proposals[0]["status"], "pending");
        assert_eq!(proposals[0]["prospectId"], prospects[0]["id"]);
        let names: Vec<String> = app.events().await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["prospect:created", "proposal-created"]);
    }

    async fn the_same_event_again_is_a_duplicate_of_the_first(app: TestApp) {
        let body = Booking::new(1, "noor@example.com").created();
        let first = app.deliver(&body).await.expect(200);
        let again = app.deliver(&body).await.expect(200);
        assert_eq!(again, json!({ "status": "duplicate", "deliveryId": first["deliveryId"] }));
        assert_eq!(app.events().await.len(), 2);
    }
}
