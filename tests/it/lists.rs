//! Lists of prospects, whatever they are filtered and sorted by, page by page: they show what
//! filtering and sorting all records would.

use std::collections::HashSet;

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
        let all = everything(&app).await;
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

/// Writes so many prospects, of which SQL says the rest by their number `i`: whose they are, their
/// status, their name and what is searched in them.
async fn write(app: &TestApp, n: u32, [owner, status, name, text]: [&str; 4]) {
    let sql = format!(
        "INSERT INTO prospect (id, conversation_id, firstname, email, email_key, owner_id, status, source, \
         run, owner_run, tracking, edited, profile, form_only, name_key, search_text, created_ms, \
         updated_ms, version) \
         WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < {n}), \
         made AS (SELECT i, {owner} AS owner, {status} AS status, {name} AS name, {text} AS text \
         FROM number) \
         SELECT '01900000-0000-7000-8000-' || substr(CAST(1000000000000 + i AS TEXT), 2), 'c', name, \
         i || '@x.example', i || '@x.example', owner, status, 'import', status || '/import', \
         COALESCE(owner, '') || '/' || status || '/import', '{{}}', '[]', '{{}}', FALSE, name, text, \
         i / 3, i * 7 % 1000, 1 FROM made"
    );
    app.database.execute(&sql).await;
    for owner in ["COALESCE(owner_id, '')", "'*'"] {
        let sql = format!(
            "INSERT INTO record_count (record, owner_key, status, kind, n) \
             SELECT 'prospect', {owner}, status, source, COUNT(*) FROM prospect GROUP BY 2, 3, 4"
        );
        app.database.execute(&sql).await;
    }
}

async fn everything(app: &TestApp) -> Vec<Prospect> {
    let page = Page {
        limit: 5000,
        after: None,
    };
    let mut reader = app.app.store.read().await.unwrap();
    let (mut db, filter) = (reader.db(), Filter::default());
    list(&mut db, &filter, SORTS[0], page).await.unwrap().items
}

/// The number of a row that was not made by the program, which its address begins with.
fn number(p: &Prospect) -> i64 {
    let number = p.email.as_str().split('@').next().unwrap();
    number.parse().unwrap()
}

on_both! {
    /// Two runs, of which one alone has the text, and that at both ends.
    async fn a_search_finds_what_is_far_apart_in_one_run(app: TestApp) {
        let status = "CASE WHEN i % 2 = 0 THEN 'new' ELSE 'lost' END";
        let needle = "CASE WHEN i % 2 = 0 AND (i < 100 OR i > 1250) THEN 'needle' ELSE 'hay' END";
        write(&app, 1300, ["NULL", status, "'crowd'", needle]).await;
        let filter = Filter { search: Some("needle".to_owned()), ..Filter::default() };
        let all = everything(&app).await;
        let is_needle = |p: &&Prospect| number(p) % 2 == 0 && !(100..=1250).contains(&number(p));
        let has: Vec<&Prospect> = all.iter().filter(is_needle).collect();
        assert_eq!(has.len(), 74);
        for sort in SORTS {
            let expected = sorted(has.clone(), sort);
            assert_eq!(paged(&app, &filter, sort).await, (expected, 74), "{sort:?}");
        }
    }

    /// More runs of owners than one statement merges.
    async fn what_many_owners_have_is_one_list(app: TestApp) {
        let owner = "CASE WHEN i % 40 = 0 THEN NULL ELSE 'owner ' || (i % 40) END";
        let status = "CASE i % 3 WHEN 0 THEN 'new' WHEN 1 THEN 'won' ELSE 'lost' END";
        let needle = "CASE WHEN i % 90 = 7 THEN 'needle' ELSE 'hay' END";
        write(&app, 1200, [owner, status, "'name ' || (i * 37 % 100)", needle]).await;
        let all = everything(&app).await;
        let runs: HashSet<_> = all.iter().map(|p| (&p.owner_id, p.status.name())).collect();
        assert_eq!(runs.len(), 120);
        for (status, search) in [(None, None), (Some(ProspectStatus::Won), None), (None, Some("needle"))] {
            let filter = Filter { status, search: search.map(str::to_owned), ..Filter::default() };
            let shown = |p: &&Prospect| {
                status.is_none_or(|status| status == p.status)
                    && (search.is_none() || number(p) % 90 == 7)
            };
            let shown: Vec<&Prospect> = all.iter().filter(shown).collect();
            let total = i64::try_from(shown.len()).unwrap();
            for sort in SORTS {
                let expected = (sorted(shown.clone(), sort), total);
                assert_eq!(paged(&app, &filter, sort).await, expected, "{filter:?} {sort:?}");
            }
        }
    }
}
