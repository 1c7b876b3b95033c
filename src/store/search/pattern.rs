//! What is searched for, in the terms of the index and of the comparison.

use std::collections::BTreeSet;

use crate::store::sql::{Db, Sql, args};

/// So many trigrams of a search are looked up; the comparison does the rest.
const TRIGRAMS: usize = 32;

/// What the index is asked for a text; `None` where only comparing each prospect will do.
pub(super) fn query(db: &Db<'_>, text: &str) -> Option<String> {
    let runs = || text.split(|c: char| !c.is_ascii_alphanumeric());
    match db {
        Db::Sqlite(_) | Db::Embedded(_) if text.chars().count() >= 3 && !text.contains('\0') => {
            Some(trigrams(text))
        }
        // It knows words only; without three characters of one it would read all of the index.
        Db::Postgres(_) if runs().any(|run| run.len() >= 3) => Some(like(text, '\\')),
        _ => None,
    }
}

/// The FTS5 query for every trigram of a text. Within double quotes, themselves doubled, nothing
/// has a meaning of its own.
fn trigrams(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let trigrams: BTreeSet<String> = chars
        .windows(3)
        .take(TRIGRAMS)
        .map(|three| three.iter().collect::<String>().replace('"', "\"\""))
        .collect();
    let quoted: Vec<String> = trigrams
        .iter()
        .map(|three| format!("\"{three}\""))
        .collect();
    quoted.join(" AND ")
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

    #[test]
    fn a_query_names_every_trigram_and_nothing_in_it_is_an_operator() {
        assert_eq!(trigrams("noor"), "\"noo\" AND \"oor\"");
        assert_eq!(trigrams("a\"*b"), "\"\"\"*b\" AND \"a\"\"*\"");
        assert_eq!(trigrams("żur"), "\"żur\"");
    }

    #[test]
    fn a_pattern_takes_every_character_as_it_is() {
        assert_eq!(like("100%_\\!", '\\'), "%100\\%\\_\\\\!%");
        assert_eq!(like("100%_\\!", '!'), "%100!%!_\\!!%");
    }
}
