//! JSON kept in TEXT columns.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Error, Result};

/// Writes a value that always can be written.
pub(super) fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records have string keys only")
}

/// Reads what the program wrote.
pub(super) fn read<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| Error::Corrupt(what))
}

/// Reads what the program wrote, where it wrote something.
pub(super) fn read_option<T: DeserializeOwned>(
    text: Option<&str>,
    what: &'static str,
) -> Result<Option<T>> {
    text.map(|text| read(text, what)).transpose()
}
