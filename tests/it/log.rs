//! The event log: one order for everybody, without gaps (laws 2 and 3).

use bookbell::app::events::{Most, Served};
use bookbell::app::log::{Listening, Log};
use bookbell::domain::event::{Audience, Event, Seq};
use bookbell::domain::ids::Id;
use bookbell::domain::user::{Caller, Role};
use bookbell::store::{self, Store};
use futures_util::FutureExt as _;
use serde_json::json;

use crate::support::app::{TestApp, settings};
use crate::support::on_both;
use crate::support::payload::Booking;
use crate::support::server::PATIENCE;

async fn after(store: &Store, since: i64) -> Vec<Event> {
    let mut reader = store.read().await.unwrap();
    store::events::after(&mut reader.db(), since, 10_000)
        .await
        .unwrap()
}

fn caller(nth: i64, role: Role) -> Caller {
    let id = || Id::from_stored(format!("01900000-0000-7000-8000-{nth:012}"));
    let (user_id, session_id) = (id(), id());
    Caller {
        user_id,
        role,
        session_id,
    }
}

/// An event that the admins hear of, and its owner.
fn event(seq: Seq, owner: &Caller) -> Event {
    Event {
        seq,
        id: Id::from_stored(format!("01900000-0000-7000-9000-{seq:012}")),
        at_ms: 0,
        name: "prospect:created".to_owned(),
        payload: "{}".to_owned(),
        audience: Audience::owner_and_admins(Some(&owner.user_id)),
    }
}

/// Whether one who has heard everything up to `seq` is to read on.
fn is_woken(listening: &mut Listening, seq: Seq) -> bool {
    listening.after(seq).now_or_never().is_some()
}

/// As long as it takes that memory lets go of what it need not have.
async fn at_rest_for_long(app: &TestApp) {
    for _ in 0..3 {
        app.app.rest().await.unwrap();
    }
}

#[test]
fn an_event_wakes_those_who_may_hear_of_it_and_nobody_else() {
    let (noor, other) = (caller(1, Role::Member), caller(2, Role::Member));
    let log = Log::new(0);
    let mut members = log.listen(&noor);
    let mut admins = log.listen(&caller(3, Role::Admin));
    log.offer(vec![event(1, &other)]);
    assert!(is_woken(&mut admins, 0) && !is_woken(&mut members, 0));
    log.offer(vec![event(2, &noor), event(3, &other)]);
    assert!(is_woken(&mut admins, 2) && is_woken(&mut members, 0));
    assert!(!is_woken(&mut admins, 3) && !is_woken(&mut members, 2));
    // Whoever comes later listens for what comes after that.
    assert!(!is_woken(&mut log.listen(&noor), 3));
    // What was lost is nobody's: all have to know.
    log.restart(9);
    assert!(is_woken(&mut admins, 3) && is_woken(&mut members, 2));
}

#[test]
fn who_has_nothing_to_hear_reads_on_before_memory_forgets_where_that_was() {
    let (noor, other) = (caller(1, Role::Member), caller(2, Role::Member));
    let log = Log::new(0);
    let mut listening = log.listen(&noor);
    let (mut heard, mut woken) = (0, 0);
    for seq in 1..=50_000 {
        log.offer(vec![event(seq, &other)]);
        if is_woken(&mut listening, heard) {
            let stretch = log
                .after(heard, 64, &noor)
                .expect("memory reaches back to there");
            assert!(stretch.events.is_empty());
            (heard, woken) = (stretch.upto, woken + 1);
        }
    }
    assert!((5..=50).contains(&woken), "{woken} times for nothing");
}

#[test]
fn what_memory_lets_go_of_it_takes_back() {
    let noor = caller(1, Role::Member);
    let log = Log::new(0);
    let heard_after = |since| {
        let stretch = log.after(since, 64, &noor)?;
        Some(
            stretch
                .events
                .iter()
                .map(|event| event.seq)
                .collect::<Vec<_>>(),
        )
    };
    log.offer((1..=3).map(|seq| event(seq, &noor)).collect());
    assert!(!log.rest() && !log.rest() && log.rest());
    assert_eq!((heard_after(1), heard_after(2)), (None, Some(vec![3])));
    log.offer(vec![event(4, &noor)]);
    assert_eq!(heard_after(2), Some(vec![3, 4]));
    assert!(log.recall(vec![event(1, &noor), event(2, &noor)]));
    assert_eq!(heard_after(0), Some(vec![1, 2, 3, 4]));
    // For all who come back, not for the first of them only.
    assert!(!log.rest() && !log.rest() && log.rest());
    assert!(log.recall(vec![event(3, &noor)]) && !log.rest() && log.holds(2));
}

#[test]
fn everybody_has_read_memory_before_it_is_let_go() {
    let (noor, other) = (caller(1, Role::Member), caller(2, Role::Member));
    let log = Log::new(0);
    let mut listening = log.listen(&noor);
    log.offer(vec![event(1, &other), event(2, &other)]);
    // Nobody for nothing while events come.
    assert!(!log.rest() && !is_woken(&mut listening, 0));
    assert!(!log.rest() && is_woken(&mut listening, 0));
    let heard = log.after(0, 64, &noor).expect("it is in memory yet").upto;
    assert!(log.rest() && log.holds(heard) && !is_woken(&mut listening, heard));
}

on_both! {
    async fn a_reader_never_overtakes_a_position_that_commits_later(app: TestApp) {
        const EACH: i64 = 40;
        // Two nodes, each with several people and bookings committing at once.
        let second = app.second_node().await;
        let people = async |node: &TestApp, name: &str| {
            for n in 0..EACH {
                let body = json!({ "email": format!("{name}{n}@example.com") });
                node.post("/api/prospects", &body).await.expect(201);
            }
        };
        let bookings = async |node: &TestApp, from: u32| {
            for n in 0..u32::try_from(EACH).unwrap() {
                let email = format!("b{}@example.com", from + n);
                node.deliver(&Booking::new(from + n, &email).created()).await.expect(200);
            }
        };
        let total = EACH * 2 + EACH * 2 * 2;
        let reader = async {
            let mut seen = 0;
            while seen < total {
                for event in after(&app.app.store, seen).await {
                    assert_eq!(event.seq, seen + 1, "a gap, or a position out of order");
                    seen = event.seq;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(
            people(&app, "x"), people(&second, "y"), bookings(&app, 1), bookings(&second, 1001), reader,
        );
        assert_eq!(after(&app.app.store, 0).await.len(), usize::try_from(total).unwrap());
    }

    async fn a_change_that_fails_leaves_no_event(app: TestApp) {
        let body = json!({ "email": "noor@example.com" });
        app.post("/api/prospects", &body).await.expect(201);
        app.post("/api/prospects", &body).await.problem(409, "prospect_exists");
        app.patch("/api/prospects/01900000-0000-7000-8000-000000000001", &json!({})).await.problem(404, "not_found");
        assert_eq!(after(&app.app.store, 0).await.len(), 1);
    }

    async fn what_is_kept_long_enough_is_forgotten_and_the_floor_says_so(app: TestApp) {
        for n in 1..=3 {
            app.deliver(&Booking::new(n, &format!("p{n}@example.com")).created()).await.expect(200);
        }
        app.advance_ms(settings().event_retention_ms + 1);
        let body = json!({ "email": "young@example.com" });
        let token = app.sign_in(crate::support::app::ADMIN.0, crate::support::app::ADMIN.1).await;
        app.post_as(&token, "/api/prospects", &body).await.expect(201);
        bookbell::jobs::retention::once(&app.app, &mut None).await.unwrap();
        let kept: Vec<i64> = after(&app.app.store, 0).await.iter().map(|event| event.seq).collect();
        assert_eq!(kept, [7]);
        let served = app.get_as(&token, "/api/events?since=6").await.expect(200);
        assert_eq!(served["items"].as_array().unwrap().len(), 1);
        let gone = app.get_as(&token, "/api/events?since=5").await.problem(410, "resync");
        assert_eq!(gone["seq"], 7);
        let all = app.get_as(&token, "/api/events").await.expect(200);
        assert_eq!(all["items"].as_array().unwrap().len(), 1);
    }

    async fn where_the_database_goes_back_the_log_begins_past_what_was_heard(app: TestApp) {
        for n in 1..=3 {
            app.deliver(&Booking::new(n, &format!("p{n}@example.com")).created()).await.expect(200);
        }
        let back = "DELETE FROM event WHERE seq > 4; UPDATE event_log SET head_seq = 4 WHERE id = 1";
        app.database.execute(back).await;
        app.app.catch_up().await.unwrap();
        let begins = app.app.log.head();
        assert!(begins > 1_000_000, "{begins}");
        for heard in [4, 6, 8] {
            let path = format!("/api/events?since={heard}");
            app.get(&path).await.problem(410, "resync");
        }
        app.deliver(&Booking::new(4, "p4@example.com").created()).await.expect(200);
        let seqs: Vec<i64> = after(&app.app.store, 0).await.iter().map(|event| event.seq).collect();
        assert_eq!(seqs[4..], [begins + 1, begins + 2]);
        // Once is enough.
        app.app.catch_up().await.unwrap();
        assert_eq!(app.app.log.head(), begins + 2);
    }

    async fn where_it_has_grown_again_before_anybody_looked_all_are_told_too(app: TestApp) {
        for (other_node, at_rest) in [(false, false), (true, false), (false, true), (true, true)] {
            for n in 1..=3 {
                let email = format!("p{n}{other_node}{at_rest}@example.com");
                app.post("/api/prospects", &json!({ "email": email })).await.expect(201);
            }
            if at_rest {
                at_rest_for_long(&app).await;
            }
            let heard = app.app.log.head();
            let back = "UPDATE event_log SET head_seq = head_seq - 2 WHERE id = 1; \
                DELETE FROM event WHERE seq > (SELECT head_seq FROM event_log)";
            app.database.execute(back).await;
            let second = app.second_node().await;
            let grows = if other_node { &second } else { &app };
            for n in 4..=7 {
                let email = format!("p{n}{other_node}{at_rest}@example.com");
                grows.post("/api/prospects", &json!({ "email": email })).await.expect(201);
            }
            app.app.catch_up().await.unwrap();
            let begins = app.app.log.head();
            assert!(begins > heard + 1_000_000, "{begins}");
            let path = format!("/api/events?since={heard}");
            app.get(&path).await.problem(410, "resync");
        }
    }

    async fn at_rest_nothing_is_missed_and_bookings_go_on(app: TestApp) {
        let most = Most { events: 64, payload: None };
        let admin = caller(1, Role::Admin);
        let mut heard = Vec::new();
        for n in 1..=4 {
            app.deliver(&Booking::new(n, &format!("p{n}@example.com")).created()).await.expect(200);
            at_rest_for_long(&app).await;
            // Of two events memory keeps one: they are read back, once from the beginning.
            let since = if n == 3 { 0 } else { i64::try_from(heard.len()).unwrap() };
            assert!(!app.app.log.holds(since));
            heard.truncate(usize::try_from(since).unwrap());
            let Served::Stretch(stretch) = app.app.events_after(since, most, &admin).await.unwrap() else {
                panic!("it is not served");
            };
            heard.extend(stretch.events.iter().map(|event| event.seq));
        }
        assert_eq!(heard, (1..=8).collect::<Vec<_>>());
    }

    async fn while_the_database_is_away_memory_keeps_what_it_has(app: TestApp) {
        app.deliver(&Booking::new(1, "p1@example.com").created()).await.expect(200);
        for _ in 0..2 {
            app.app.rest().await.unwrap();
        }
        app.app.store.close(PATIENCE).await;
        app.app.rest().await.unwrap_err();
        assert!(app.app.log.holds(0));
    }

    async fn what_is_read_back_is_bounded_in_bytes_and_all_of_it_comes(app: TestApp) {
        for n in 1..=5 {
            let body = json!({ "email": format!("p{n}@example.com"), "notes": "x".repeat(n * 1000) });
            app.post("/api/prospects", &body).await.expect(201);
        }
        // From here on they are read from the database.
        app.app.log.restart(5);
        let most = Most { events: 64, payload: Some(3_000) };
        let (mut since, mut pieces) = (0, Vec::new());
        loop {
            let Served::Stretch(stretch) =
                app.app.events_after(since, most, &caller(1, Role::Admin)).await.unwrap()
            else {
                panic!("it is not served");
            };
            pieces.push(stretch.events.iter().map(|event| event.seq).collect::<Vec<_>>());
            since = stretch.upto;
            if !stretch.more {
                break;
            }
        }
        assert_eq!(pieces, [vec![1, 2], vec![3], vec![4], vec![5], vec![]]);
    }

    async fn events_are_forgotten_in_steps_while_bookings_come_in(app: TestApp) {
        for n in 1..=300 {
            app.deliver(&Booking::new(n, &format!("p{n}@example.com")).created()).await.expect(200);
        }
        app.advance_ms(settings().event_retention_ms + 1);
        let steps = async {
            let mut steps = Vec::new();
            loop {
                steps.push(app.app.forget_events().await.unwrap());
                if steps.last() == Some(&0) {
                    return steps;
                }
            }
        };
        let bookings = async {
            for n in 301..=330 {
                app.deliver(&Booking::new(n, &format!("p{n}@example.com")).created()).await.expect(200);
            }
        };
        let (steps, ()) = tokio::join!(steps, bookings);
        assert_eq!(steps, [500, 100, 0]);
        let kept: Vec<i64> = after(&app.app.store, 0).await.iter().map(|event| event.seq).collect();
        assert_eq!(kept, (601..=660).collect::<Vec<_>>());
    }
}
