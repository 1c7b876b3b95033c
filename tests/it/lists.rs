//! Lists of prospects, whatever they are filtered and sorted by, page by page: they show what
//! filtering and sorting all records would.

use bookbell::domain::ids::Id;
use bookbell::domain::prospect::{Prospect, ProspectStatus};
use bookbell::domain::source::Source;
use bookbell::store::paging::{Direction, Page, Position, SortKey};
use bookbell::store::prospects::{Filter, OwnerFilter, Sort, list, sort_key};
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::on_both;
use crate::support::payload::Booking;

const SORTS: [Sort; 4] = [
    Sort::Created(Direction::Descending),
    Sort::Created(Direction::Ascending),
    Sort::Updated,
    Sort::Name,
];

/// Prospects of two owners and of nobody, with every status and source, of which some were made in
/// the same moment, have the same name, or were changed and handed over later.
async fn fill(app: &TestApp) -> [Id; 2] {
    let (ann, _) = app.member("ann@example.com", None).await;
    let (ben, _) = app.member("ben@example.com", None).await;
    let owners = [json!(ann), json!(ben), json!(null)];
    let mut paths = Vec::new();
    for n in 0..80_usize {
        let body = json!({
            "email": format!("p{n}@x.example"),
            "firstname": (["abe", "bea", "cleo"][n % 3]),
            "status": (["new", "won", "contacted", "lost", "qualified"][n / 2 % 5]),
            "source": (["manual", "import"][n / 3 % 2]),
            "ownerId": (owners[n / 5 % 3]),
        });
        let made = app.post("/api/prospects", &body).await.expect(201);
        paths.push(format!("/api/prospects/{}", made["id"].as_str().unwrap()));
        app.advance_ms(i64::from(n % 4 == 0));
    }
    for n in 0..10_u32 {
        let booking = Booking::new(n, &format!("b{n}@x.example"));
        app.deliver(&booking.created()).await.expect(200);
    }
    for (n, path) in paths.iter().enumerate().filter(|(n, _)| n * 7 % 11 < 4) {
        let change = match n % 3 {
            0 => json!({ "status": (["won", "new"][n % 2]) }),
            1 => json!({ "ownerId": owners[n % 2], "firstname": "dora" }),
            _ => json!({ "notes": "x" }),
        };
        app.patch(path, &change).await.expect(200);
        app.advance_ms(i64::from(n % 2 == 0));
    }
    [ann, ben].map(Id::from_stored)
}

fn filters([ann, ben]: [Id; 2]) -> Vec<Filter> {
    use ProspectStatus::{Contacted, Lost, New, Qualified, Won};
    let user = |id: &Id| Some(OwnerFilter::User(id.clone()));
    let mut filters = Vec::new();
    for (owner, visible_to) in [
        (None, None),
        (user(&ann), None),
        (Some(OwnerFilter::Nobody), None),
        (None, Some(ben.clone())),
        (user(&ann), Some(ben)),
    ] {
        for status in [
            None,
            Some(New),
            Some(Won),
            Some(Contacted),
            Some(Lost),
            Some(Qualified),
        ] {
            for source in [
                None,
                Some(Source::Calendly),
                Some(Source::Manual),
                Some(Source::Import),
            ] {
                for search in [None, Some("be".to_owned())] {
                    let (owner, visible_to) = (owner.clone(), visible_to.clone());
                    filters.push(Filter {
                        status,
                        owner,
                        visible_to,
                        source,
                        search,
                    });
                }
            }
        }
    }
    filters
}

fn shows(filter: &Filter, p: &Prospect) -> bool {
    let asked = match &filter.owner {
        None => true,
        Some(OwnerFilter::User(id)) => p.owner_id.as_ref() == Some(id),
        Some(OwnerFilter::Nobody) => p.owner_id.is_none(),
    };
    asked
        && (filter.visible_to.is_none() || filter.visible_to == p.owner_id)
        && filter.status.is_none_or(|status| status == p.status)
        && filter.source.is_none_or(|source| source == p.source)
        && filter
            .search
            .as_ref()
            .is_none_or(|text| p.search_text().contains(text))
}

fn sorted(mut all: Vec<&Prospect>, sort: Sort) -> Vec<String> {
    let key = |p: &Prospect| match sort_key(p, sort) {
        SortKey::Int(at) => (at, String::new(), p.id.to_string()),
        SortKey::Text(name) => (0, name, p.id.to_string()),
    };
    all.sort_by_key(|p| key(p));
    if matches!(sort, Sort::Created(Direction::Descending) | Sort::Updated) {
        all.reverse();
    }
    all.into_iter().map(|p| p.id.to_string()).collect()
}

/// Reads a list page by page, and how many it says it has.
async fn paged(app: &TestApp, filter: &Filter, sort: Sort) -> (Vec<String>, i64) {
    let mut reader = app.app.store.read().await.unwrap();
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = Page { limit: 7, after };
        let found = list(&mut reader.db(), filter, sort, page).await.unwrap();
        let shown = &found.items[..found.items.len().min(7)];
        ids.extend(shown.iter().map(|p| p.id.to_string()));
        if found.items.len() <= 7 {
            return (ids, found.total);
        }
        after = shown.last().map(|last| Position {
            key: sort_key(last, sort),
            id: last.id.to_string(),
        });
    }
}

on_both! {
    async fn every_list_shows_what_filtering_and_sorting_all_would(app: TestApp) {
        let owners = fill(&app).await;
        let page = Page { limit: 200, after: None };
        let mut reader = app.app.store.read().await.unwrap();
        let all = list(&mut reader.db(), &Filter::default(), SORTS[0], page).await.unwrap().items;
        drop(reader);
        assert_eq!(all.len(), 90);
        for filter in filters(owners) {
            let shown: Vec<&Prospect> = all.iter().filter(|p| shows(&filter, p)).collect();
            let total = i64::try_from(shown.len()).unwrap();
            for sort in SORTS {
                let expected = (sorted(shown.clone(), sort), total);
                assert_eq!(paged(&app, &filter, sort).await, expected, "{filter:?} {sort:?}");
            }
        }
    }
}

/// The orders that are merged from runs.
const MERGED: &[Sort] = SORTS.split_at(3).0;

/// Two runs of 650 prospects, of which one alone has the text, and that at both ends.
const CROWD: &str = "INSERT INTO prospect (id, conversation_id, email, email_key, status, source, \
     run, owner_run, tracking, edited, profile, form_only, name_key, search_text, created_ms, \
     updated_ms, version) \
     WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 1300), \
     made AS (SELECT i, i % 2 = 0 AS even FROM number) \
     SELECT '01900000-0000-7000-8000-' || substr(CAST(1000000000000 + i AS TEXT), 2), 'c', \
     i || '@x.example', i || '@x.example', CASE WHEN even THEN 'new' ELSE 'lost' END, 'import', \
     CASE WHEN even THEN 'new/import' ELSE 'lost/import' END, \
     CASE WHEN even THEN '/new/import' ELSE '/lost/import' END, '{}', '[]', '{}', FALSE, 'crowd', \
     CASE WHEN even AND (i < 100 OR i > 1250) THEN 'needle' ELSE 'hay' END, i / 3, i / 3, 1 \
     FROM made";

const COUNTED: &str = "INSERT INTO record_count (record, owner_key, status, kind, n) VALUES \
     ('prospect', '', 'new', 'import', 650), ('prospect', '*', 'new', 'import', 650), \
     ('prospect', '', 'lost', 'import', 650), ('prospect', '*', 'lost', 'import', 650)";

on_both! {
    async fn a_search_finds_what_is_far_apart_in_one_run(app: TestApp) {
        app.database.execute(CROWD).await;
        app.database.execute(COUNTED).await;
        let page = Page { limit: 2000, after: None };
        let mut reader = app.app.store.read().await.unwrap();
        let all = list(&mut reader.db(), &Filter::default(), SORTS[0], page).await.unwrap().items;
        drop(reader);
        let filter = Filter { search: Some("needle".to_owned()), ..Filter::default() };
        let has: Vec<&Prospect> = all.iter().filter(|p| is_needle(p)).collect();
        assert_eq!(has.len(), 74);
        for &sort in MERGED {
            let expected = (sorted(has.clone(), sort), 74);
            assert_eq!(paged(&app, &filter, sort).await, expected, "{sort:?}");
        }
    }
}

/// Whether the row has the text, by the number in its address: it was not made by the program.
fn is_needle(p: &Prospect) -> bool {
    let number = p.email.as_str().split('@').next().unwrap();
    let i: i64 = number.parse().unwrap();
    i % 2 == 0 && !(100..=1250).contains(&i)
}
