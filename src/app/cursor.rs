//! Cursors: where the next page of a list begins, sealed so that only our own are taken.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::auth::Tokens;
use super::{App, Error, Listed, Result};
use crate::domain::event::Seq;
use crate::store::paging::{Found, Page, Position, SortKey};

/// Bytes of the seal.
const SEAL: usize = 16;

/// The default and the largest number of records on a page.
pub const LIMITS: (i64, i64) = (50, 200);

/// Which page a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// How many records.
    pub limit: i64,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

impl Tokens {
    /// Seals a position. `scope` names the list with its filters and sort: the cursor is good
    /// for nothing else.
    #[must_use]
    pub fn seal(&self, scope: &str, position: &Position) -> String {
        let (kind, key) = match &position.key {
            SortKey::Int(value) => ('i', value.to_string()),
            SortKey::Text(value) => ('t', value.clone()),
        };
        let text = format!("{kind}{}\n{key}", position.id);
        let mut sealed = self.mac(scope, text.as_bytes()).finalize().into_bytes()[..SEAL].to_vec();
        sealed.extend_from_slice(text.as_bytes());
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// Opens a page query.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor that was not issued for this list.
    pub fn page(&self, scope: &str, query: PageQuery) -> Result<Page> {
        let after = match query.cursor {
            None => None,
            Some(cursor) => Some(self.open(scope, &cursor).ok_or_else(|| {
                Error::invalid("cursor", "was not issued by this list with these filters")
            })?),
        };
        Ok(Page {
            limit: query.limit,
            after,
        })
    }

    fn open(&self, scope: &str, cursor: &str) -> Option<Position> {
        let sealed = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (seal, text) = sealed.split_at_checked(SEAL)?;
        self.mac(scope, text).verify_truncated_left(seal).ok()?;
        let (head, key) = std::str::from_utf8(text).ok()?.split_once('\n')?;
        let key = match head.chars().next()? {
            'i' => SortKey::Int(key.parse().ok()?),
            _ => SortKey::Text(key.to_owned()),
        };
        Some(Position {
            key,
            id: head[1..].to_owned(),
        })
    }

    fn mac(&self, scope: &str, text: &[u8]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.cursor_key);
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(&(scope.len() as u64).to_be_bytes());
        mac.update(scope.as_bytes());
        mac.update(text);
        mac
    }
}

impl App {
    /// A page as it is answered: without the extra record, and with where the next one begins.
    pub(super) fn listed<T>(
        &self,
        scope: &str,
        limit: i64,
        found: Found<T>,
        seq: Seq,
        position: impl Fn(&T) -> Position,
    ) -> Listed<T> {
        let Found { mut items, total } = found;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more);
        let next_cursor = last.map(|last| self.tokens.seal(scope, &position(last)));
        Listed {
            items,
            next_cursor,
            total,
            seq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(cursor: String) -> PageQuery {
        PageQuery {
            limit: 50,
            cursor: Some(cursor),
        }
    }

    #[test]
    fn a_cursor_opens_only_the_list_it_was_sealed_for() {
        let tokens = Tokens::new(&[7; 32]);
        let position = Position {
            key: SortKey::Text("émile\nzola".into()),
            id: "0198".into(),
        };
        let cursor = tokens.seal("prospects?sort=name", &position);
        let page = tokens
            .page("prospects?sort=name", ask(cursor.clone()))
            .unwrap();
        assert_eq!(page.after, Some(position));
        assert!(
            tokens
                .page("prospects?sort=createdAt", ask(cursor.clone()))
                .is_err()
        );
        assert!(
            Tokens::new(&[8; 32])
                .page("prospects?sort=name", ask(cursor))
                .is_err()
        );
        assert!(
            tokens
                .page("prospects?sort=name", ask("AAAA".into()))
                .is_err()
        );
    }
}
