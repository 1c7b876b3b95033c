//! Pages, counts and searches, read as the product reads them.

use std::ops::RangeInclusive;
use std::time::Instant;

use anyhow::ensure;
use bookbell::domain::ids::{Id, UuidV7};
use bookbell::domain::prospect::{Prospect, ProspectStatus};
use bookbell::domain::source::Source;
use bookbell::store::paging::{Direction, Found, Page, Position, SortKey};
use bookbell::store::prospects::{self, Filter, OwnerFilter, Sort, sort_key};
use bookbell::store::{Reader, Store, search};

use crate::common::figures::Percentiles;
use crate::fill::BIG_OWNER;

const SORTS: [(&str, Sort); 4] = [
    ("-createdAt", Sort::Created(Direction::Descending)),
    ("createdAt", Sort::Created(Direction::Ascending)),
    ("-updatedAt", Sort::Updated),
    ("name", Sort::Name),
];

/// The filters of lists, by name.
fn filters() -> Vec<(&'static str, Filter)> {
    let big = || Some(Id::from_stored(BIG_OWNER.to_owned()));
    let status = |status| Filter {
        status: Some(status),
        ..Filter::default()
    };
    let source = |source| Filter {
        source: Some(source),
        ..Filter::default()
    };
    vec![
        ("all", Filter::default()),
        (
            "member",
            Filter {
                visible_to: big(),
                ..Filter::default()
            },
        ),
        (
            "nobody's",
            Filter {
                owner: Some(OwnerFilter::Nobody),
                ..Filter::default()
            },
        ),
        ("new", status(ProspectStatus::New)),
        ("won", status(ProspectStatus::Won)),
        (
            "member, lost",
            Filter {
                visible_to: big(),
                ..status(ProspectStatus::Lost)
            },
        ),
        (
            "member, new",
            Filter {
                visible_to: big(),
                ..status(ProspectStatus::New)
            },
        ),
        ("calendly", source(Source::Calendly)),
        ("import", source(Source::Import)),
        (
            "member, import",
            Filter {
                visible_to: big(),
                ..source(Source::Import)
            },
        ),
    ]
}

/// Of how many prospects one is the big owner's.
const OWNED: u64 = 4;

/// How far hits are counted.
const COUNTED: u64 = 1001;

/// How many prospects have what a search asks for.
#[derive(Debug, Clone, Copy)]
enum Share {
    /// The sixth alone, which is the big owner's.
    One,
    /// One of so many, and of the big owner's too.
    OneIn(u64),
    Nobody,
    /// It is not counted: too few letters for the index.
    Unknown,
}

/// Searches, by what there is of them among the prospects.
const SEARCHES: [(&str, &str, Share); 9] = [
    ("one has it", "681126412.6@", Share::One),
    ("one in 1000", "fietsfab", Share::OneIn(1000)),
    ("one in 450", "becker 7", Share::OneIn(450)),
    ("one in 100", "anna becker", Share::OneIn(100)),
    ("one in 10", "gmail.com", Share::OneIn(10)),
    ("one in 10, part", "nowak", Share::OneIn(10)),
    ("every", "mail", Share::OneIn(1)),
    ("two letters", "ew", Share::Unknown),
    ("nobody has it", "zyxwv", Share::Nobody),
];

impl Share {
    /// How many hits there may be, all or the big owner's, when that many prospects are made up.
    fn bounds(self, prospects: u64, owned: bool) -> RangeInclusive<u64> {
        match self {
            Self::One => 1..=1,
            Self::Nobody => 0..=0,
            Self::Unknown => 0..=COUNTED,
            Self::OneIn(one) => {
                let about = prospects / one / if owned { OWNED } else { 1 };
                // Four times what chance has it astray by.
                let astray = 4 * about.isqrt();
                let few = about.saturating_sub(astray).clamp(1, COUNTED);
                few..=(about + astray).min(COUNTED)
            }
        }
    }
}

/// Fills the search index, as the job does, but without its rests.
pub(crate) async fn index(store: &Store) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let mut tx = store.begin().await?;
        let Some(work) = search::look(&mut tx.db(), 5000).await? else {
            break;
        };
        search::index(&mut tx.db(), &work).await?;
        while search::merge(&mut tx.db()).await? {}
        tx.commit(Vec::new(), 0, &UuidV7::new()).await?;
    }
    println!(
        "  (the search index filled in {:.0} s, without the job's rests)",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Reads everything several times and prints what it took.
pub(crate) async fn measure(store: &Store, prospects: u64, repeats: usize) -> anyhow::Result<()> {
    let mut reader = store.read().await?;
    println!(
        "\nPages of 50 at {prospects} prospects, median (highest) ms of {repeats}; target 1 ms"
    );
    println!(
        "  {:<16} {:>24} {:>24} {:>24} {:>24}",
        "", SORTS[0].0, SORTS[1].0, SORTS[2].0, SORTS[3].0
    );
    for (name, filter) in filters() {
        let some = first(&mut reader, &filter).await?;
        ensure!(!some.items.is_empty(), "nothing is in the list: {name}");
        let (mut firsts, mut deeps) = (String::new(), String::new());
        for (_, sort) in SORTS {
            let after = middle(&mut reader, &filter, sort).await?;
            firsts += &cell(&mut reader, &filter, sort, None, repeats).await?;
            deeps += &cell(&mut reader, &filter, sort, after, repeats).await?;
        }
        println!("  {name:<16} {firsts}\n  {:<16} {deeps}", "  deep");
    }
    println!("\nCounts by status; target 0.1 ms");
    let big = Id::from_stored(BIG_OWNER.to_owned());
    for (name, visible_to) in [("all", None), ("member", Some(&big))] {
        let mut ms = Vec::new();
        for _ in 0..repeats {
            let begun = Instant::now();
            prospects::counts(&mut reader.db(), visible_to).await?;
            ms.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        println!("  {name:<16} {}", shown(ms));
    }
    searches(&mut reader, prospects, repeats).await
}

/// The first page, as lists are shown.
async fn first(reader: &mut Reader, filter: &Filter) -> anyhow::Result<Found<Prospect>> {
    let page = Page {
        limit: 50,
        after: None,
    };
    Ok(prospects::list(&mut reader.db(), filter, SORTS[0].1, page).await?)
}

async fn searches(reader: &mut Reader, prospects: u64, repeats: usize) -> anyhow::Result<()> {
    println!("\nSearches, first page; target 10 ms");
    for (name, text, share) in SEARCHES {
        for (whose, filter) in filters().into_iter().take(2) {
            let search = Some(text.to_owned());
            let filter = Filter { search, ..filter };
            let mut line = String::new();
            for (_, sort) in [SORTS[0], SORTS[2], SORTS[3]] {
                line += &cell(reader, &filter, sort, None, repeats).await?;
            }
            let total = u64::try_from(first(reader, &filter).await?.total)?;
            println!("  {name:<16} {whose:<8} {line}  total {total}");
            let bounds = share.bounds(prospects, filter.visible_to.is_some());
            ensure!(
                bounds.contains(&total),
                "{name}, {whose}: {total} is not in {bounds:?}"
            );
        }
    }
    Ok(())
}

/// Where the page in the middle of a list begins.
async fn middle(
    reader: &mut Reader,
    filter: &Filter,
    sort: Sort,
) -> anyhow::Result<Option<Position>> {
    // A name in the middle, and the time half way between the first record and the last.
    let mut ends = Vec::new();
    for sort in [sort, reversed(sort)] {
        let page = Page {
            limit: 1,
            after: None,
        };
        let found = prospects::list(&mut reader.db(), filter, sort, page).await?;
        ends.extend(found.items.first().map(|p| sort_key(p, sort)));
    }
    Ok(match ends.as_slice() {
        [SortKey::Int(a), SortKey::Int(b)] => Some(Position {
            key: SortKey::Int(i64::midpoint(*a, *b)),
            id: String::new(),
        }),
        [SortKey::Text(_), ..] => Some(Position {
            key: SortKey::Text("joana".to_owned()),
            id: String::new(),
        }),
        _ => None,
    })
}

/// The list that begins at the other end; of those by change, the one by creation comes close.
fn reversed(sort: Sort) -> Sort {
    match sort {
        Sort::Created(Direction::Descending) | Sort::Updated => Sort::Created(Direction::Ascending),
        Sort::Created(Direction::Ascending) => Sort::Created(Direction::Descending),
        Sort::Name => Sort::Name,
    }
}

async fn cell(
    reader: &mut Reader,
    filter: &Filter,
    sort: Sort,
    after: Option<Position>,
    repeats: usize,
) -> anyhow::Result<String> {
    let mut ms = Vec::new();
    for n in 0..=repeats {
        let page = Page {
            limit: 50,
            after: after.clone(),
        };
        let begun = Instant::now();
        prospects::list(&mut reader.db(), filter, sort, page).await?;
        // The first prepares the statement.
        if n > 0 {
            ms.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(shown(ms))
}

fn shown(ms: Vec<f64>) -> String {
    let Percentiles { p50, max, .. } = Percentiles::of(ms);
    format!(" {:>24}", format!("{p50:.2} ({max:.1})"))
}
