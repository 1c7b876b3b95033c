//! How two versions of a record differ, field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

/// A field's two values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it was; null where there was no record.
    pub before: Value,
    /// What it is; null where there is no record any more.
    pub after: Value,
}

/// The fields that differ, by name.
pub type Difference = BTreeMap<String, Change>;

/// The fields in which two records differ as clients see them, but for those left out. A record
/// that is not there has no fields.
///
/// # Panics
/// When a record cannot be written as JSON, which none of ours can fail to be.
#[must_use]
pub fn difference<T: Serialize>(
    before: Option<&T>,
    after: Option<&T>,
    left_out: &[&str],
) -> Difference {
    let (before, after) = (object(before), object(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let value = |object: &Map<String, Value>, name: &str| object.get(name).cloned();
    let mut difference = Difference::new();
    for name in names
        .into_iter()
        .filter(|name| !left_out.contains(&name.as_str()))
    {
        let before = value(&before, name).unwrap_or_default();
        let after = value(&after, name).unwrap_or_default();
        if before != after {
            difference.insert(name.clone(), Change { before, after });
        }
    }
    difference
}

fn object<T: Serialize>(record: Option<&T>) -> Map<String, Value> {
    let value = record.map(|record| serde_json::to_value(record).expect("views are JSON"));
    match value {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let (old, new) = (
            json!({"a": 1, "b": 2, "c": 3}),
            json!({"a": 1, "b": 5, "c": 4}),
        );
        let told = difference(Some(&old), Some(&new), &["c"]);
        assert_eq!(json!(told), json!({"b": {"before": 2, "after": 5}}));
        let made = difference(None, Some(&new), &[]);
        assert_eq!(made.len(), 3);
        assert_eq!(made["a"].before, Value::Null);
    }
}
