//! What is searched for, in the terms of the index and of the comparison.

use std::collections::BTreeSet;

use crate::store::sql::{Db, Sql, args};

/// So many trigrams of a search are looked up; the comparison does the rest.
const TRIGRAMS: usize = 32;

/// Of so many of them, the rarest, what they all are in is nearly always few enough, and to look
/// up the others takes longer than to compare what they would spare.
const RAREST: usize = 4;

/// What the index is asked for.
pub(super) enum Query {
    /// Postgres: a text that is like this.
    Like(String),
    /// FTS5: the trigrams of a text, and the mark of an owner.
    Trigrams(Vec<String>, Option<String>),
}

impl Query {
    /// The query for a text, of one owner's prospects unless `owner` is empty; `None` where only
    /// comparing each prospect will do.
    pub(super) fn of(db: &Db<'_>, text: &str, owner: &str) -> Option<Self> {
        let runs = || text.split(|c: char| !c.is_ascii_alphanumeric());
        match db {
            Db::Sqlite(_) | Db::Embedded(_)
                if text.chars().count() >= 3 && !text.contains('\0') =>
            {
                Some(Self::Trigrams(trigrams(text), owner_mark(owner)))
            }
            // It knows words only; without three characters of one it would read all of the index.
            Db::Postgres(_) if runs().any(|run| run.len() >= 3) => {
                Some(Self::Like(like(text, '\\')))
            }
            _ => None,
        }
    }

    /// In the database's terms.
    pub(super) fn whole(&self) -> String {
        match self {
            Self::Like(pattern) => pattern.clone(),
            Self::Trigrams(trigrams, owner) => all_of(trigrams.iter().chain(owner)),
        }
    }

    /// Whether it has more than is worth asking for.
    pub(super) fn is_long(&self) -> bool {
        matches!(self, Self::Trigrams(trigrams, _) if trigrams.len() > RAREST)
    }

    /// What finds more, and sooner: only the trigrams that the fewest of some texts have, and
    /// those first that have no letter in common, because what has one has the next one too.
    pub(super) fn of_the_rarest(mut self, among: &[String]) -> Self {
        if let Self::Trigrams(trigrams, _) = &mut self {
            let mut ranked: Vec<usize> = (0..trigrams.len()).collect();
            ranked.sort_by_cached_key(|place| {
                let three = &trigrams[*place];
                among.iter().filter(|text| text.contains(three)).count()
            });
            let mut chosen: Vec<usize> = Vec::new();
            for apart in [3, 1] {
                for place in &ranked {
                    let is_apart = chosen.iter().all(|other| place.abs_diff(*other) >= apart);
                    if is_apart && chosen.len() < RAREST {
                        chosen.push(*place);
                    }
                }
            }
            *trigrams = (chosen.into_iter())
                .map(|place| trigrams[place].clone())
                .collect();
        }
        self
    }
}

/// The trigrams of a text, by their places.
fn trigrams(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let windows = chars.windows(3).take(TRIGRAMS);
    windows.map(|three| three.iter().collect()).collect()
}

/// A trigram that the prospects of an owner have, and hardly anybody else's; none for nobody's.
/// It begins with what no key puts into a text, and ends as the owner's id does.
fn owner_mark(owner: &str) -> Option<String> {
    let end = owner.get(owner.len().checked_sub(2)?..)?;
    Some(format!("\u{1}{end}"))
}

/// The FTS5 query for what has all of some trigrams. Within double quotes, themselves doubled,
/// nothing has a meaning of its own.
fn all_of<'a>(trigrams: impl Iterator<Item = &'a String>) -> String {
    let quoted: BTreeSet<String> = trigrams
        .map(|three| format!("\"{}\"", three.replace('"', "\"\"")))
        .collect();
    Vec::from_iter(quoted).join(" AND ")
}

/// A LIKE pattern that finds the text anywhere, `%` and `_` taken as they are.
pub(super) fn like(text: &str, escape: char) -> String {
    let mut pattern = String::from('%');
    for c in text.chars() {
        if c == escape || c == '%' || c == '_' {
            pattern.push(escape);
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

pub(in crate::store) fn compare(sql: &mut Sql, text: &str) {
    sql.filter("search_text LIKE ? ESCAPE '!'", args![like(text, '!')]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str, owner: &str) -> Query {
        Query::Trigrams(trigrams(text), owner_mark(owner))
    }

    #[test]
    fn a_query_names_every_trigram_and_nothing_in_it_is_an_operator() {
        assert_eq!(asked("noor", "").whole(), "\"noo\" AND \"oor\"");
        assert_eq!(asked("a\"*b", "").whole(), "\"\"\"*b\" AND \"a\"\"*\"");
        assert_eq!(asked("żur", "").whole(), "\"żur\"");
        assert_eq!(asked("żur", "…-90f5").whole(), "\"\u{1}f5\" AND \"żur\"");
        assert_eq!(asked("aaaaa", "").whole(), "\"aaa\"");
    }

    #[test]
    fn of_many_trigrams_those_are_asked_for_that_the_fewest_have() {
        assert!(!asked("123456", "").is_long());
        let rarest = |text: &str| {
            let long = asked(text, "…-90f5");
            assert!(long.is_long());
            let among = ["van der meer", "van den berg", "dijkstra"].map(str::to_owned);
            long.of_the_rarest(&among).whole()
        };
        // Nobody has two of them; a third has no letter of theirs, and then comes the rarest left.
        let expected = "\"\u{1}f5\" AND \" di\" AND \"dij\" AND \"jk1\" AND \"van\"";
        assert_eq!(rarest("van dijk1"), expected);
        assert_eq!(
            rarest("1234567890123"),
            "\"\u{1}f5\" AND \"012\" AND \"123\" AND \"456\" AND \"789\""
        );
    }

    #[test]
    fn a_pattern_takes_every_character_as_it_is() {
        assert_eq!(like("100%_\\!", '\\'), "%100\\%\\_\\\\!%");
        assert_eq!(like("100%_\\!", '!'), "%100!%!_\\!!%");
    }
}
