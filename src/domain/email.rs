//! E-mail addresses, compared without regard to case.

use serde::{Deserialize, Serialize, Serializer};

/// The longest address SMTP can carry, in bytes (RFC 5321, 4.5.3.1).
const MAX_BYTES: usize = 320;

/// What stands around addresses and between them.
const AROUND: [char; 11] = ['<', '>', '(', ')', '[', ']', ',', ';', ':', '\\', '"'];

/// What may stand around an address in a sentence, and also within one.
const QUOTES: [char; 8] = ['\'', '!', '?', '*', '“', '”', '‘', '’'];

/// An address as it was typed, trimmed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "String")]
pub struct Email {
    text: String,
    /// The form that compares equal, where it differs from the text: it is asked for often.
    key: Option<String>,
}

impl From<String> for Email {
    fn from(text: String) -> Self {
        Self::from_stored(text)
    }
}

impl Serialize for Email {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Email {
    /// Reads an address: exactly one `@` with something on both sides, no white space or control
    /// characters, at most 320 bytes. Nothing stricter, because mail servers accept far more than
    /// any pattern does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, domain) = text.split_once('@')?;
        let whole = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        (whole && plain && text.len() <= MAX_BYTES).then(|| Self::from_stored(text.to_owned()))
    }

    /// Reads an address that a person types here, who can be told: one with what belongs around
    /// addresses (RFC 5322, 3.2.3) was pasted with it.
    #[must_use]
    pub fn parse_bare(text: &str) -> Option<Self> {
        Self::parse(text).filter(|email| !email.text.contains(AROUND))
    }

    /// Finds the first address in what somebody wrote around it.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        let words = text.split(|c: char| c.is_whitespace() || AROUND.contains(&c));
        let mut words = words.map(|word| word.trim_matches(QUOTES).trim_end_matches('.'));
        words.find_map(Self::parse)
    }

    /// Takes an address that the program itself stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        let key = Some(text.to_lowercase()).filter(|key| *key != text);
        Self { text, key }
    }

    /// The address as typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form in which two spellings of one address are equal.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_share_a_key() {
        let typed = Email::parse(" Ada@Example.COM ").unwrap();
        assert_eq!(typed.as_str(), "Ada@Example.COM");
        assert_eq!(typed.key(), "ada@example.com");
    }

    #[test]
    fn an_address_is_found_among_words() {
        for text in [
            "ada@example.com",
            "Ada <ada@example.com>",
            "mailto:ada@example.com",
            "You can write to ada@example.com, or bob@example.com.",
            "@ada: ada@example.com.",
            "'ada@example.com'",
            "ada@example.com!",
            "Is it “ada@example.com”?",
        ] {
            let found = Email::find(text).unwrap();
            assert_eq!(found.as_str(), "ada@example.com", "{text}");
        }
        assert_eq!(Email::find("@ada, or ada at example.com"), None);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a@b@c",
            "a da@example.com",
            "a\n@b",
        ] {
            assert_eq!(Email::parse(text), None, "{text:?}");
        }
        for text in [
            "<ada@example.com>",
            "mailto:ada@example.com",
            "ada@example.com;",
            "a,b@c",
        ] {
            assert_eq!(Email::parse_bare(text), None, "{text:?}");
        }
    }
}
