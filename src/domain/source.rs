//! Where records come from.

use serde::{Deserialize, Serialize};

/// Where a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Calendly's webhooks.
    Calendly,
    /// A person, through the API.
    Manual,
    /// An import.
    Import,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Calendly, Self::Manual, Self::Import];

    /// The name used on the wire and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calendly => "calendly",
            Self::Manual => "manual",
            Self::Import => "import",
        }
    }

    /// Reads a name; `None` when there is no such source.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}
