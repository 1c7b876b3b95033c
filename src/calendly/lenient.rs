//! Reads single JSON fields forgivingly: a value of an unexpected type is absent, never an error.
//!
//! Only a few fields are certain and the rest changes without notice, so one odd field must not
//! cost a booking. Every reader first takes the field's raw text: what `serde_json` refuses half
//! way through a value (a number beyond `f64`, half a surrogate pair) then costs that field alone.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::time::UtcMs;

/// Longest URI that is taken; a longer one is absent.
pub(super) const URI_MAX_BYTES: usize = 2048;

/// A text, or a number or truth value as it is written; `None` when it is blank.
pub(super) fn text<'de, D>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(text_of(raw(deserializer)?))
}

/// As [`text`], with an empty one for what is absent.
pub(super) fn text_or_empty<'de, D>(deserializer: D) -> Result<Cow<'de, str>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(text(deserializer)?.unwrap_or_default())
}

/// A trimmed text of at most [`URI_MAX_BYTES`]; whether it is a URI is not checked.
pub(super) fn uri<'de, D>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error>
where
    D: Deserializer<'de>,
{
    let uri = text(deserializer)?.map(trim);
    Ok(uri.filter(|uri| uri.len() <= URI_MAX_BYTES))
}

/// A trimmed text that its caller insists on: only a JSON string will do, anything else is empty.
///
/// Stricter than [`text`] because identities are made of it: all bookings whose `uri` is `true`
/// would be one booking.
pub(super) fn needed<'de, D>(deserializer: D) -> Result<Cow<'de, str>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = string(raw(deserializer)?).unwrap_or_default();
    Ok(trim(clean(text)))
}

/// A whole number.
pub(super) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(raw(deserializer)?.parse().ok())
}

/// An RFC 3339 time, in microseconds since 1970.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(text(deserializer)?.as_deref().and_then(micros))
}

/// An object; `None` when it is anything else.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(object_of(raw(deserializer)?))
}

/// The objects of an array, without what else it holds; empty when it is no array.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let items: Vec<&RawValue> = serde_json::from_str(raw(deserializer)?).unwrap_or_default();
    let objects = items.into_iter().filter_map(|item| object_of(item.get()));
    Ok(objects.collect())
}

/// Microseconds since 1970 of a time that can be written again.
pub(super) fn micros(text: &str) -> Option<i64> {
    let time: jiff::Timestamp = text.trim().parse().ok()?;
    UtcMs::within_reach(UtcMs::from_us(time.as_microsecond()).0)?;
    Some(time.as_microsecond())
}

/// Reads JSON that begins with an object.
///
/// `None` also when the object has a field of `T` twice, since then nobody can tell which is meant.
pub(super) fn object_of<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    // Without this, an array whose items are in the order of the fields would do.
    json.starts_with('{').then_some(())?;
    serde_json::from_str(json).ok()
}

fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'de str, D::Error> {
    <&RawValue>::deserialize(deserializer).map(RawValue::get)
}

fn text_of(json: &str) -> Option<Cow<'_, str>> {
    let text = match json.as_bytes().first()? {
        b'"' => clean(string(json)?),
        b'{' | b'[' | b'n' => return None,
        _ => Cow::Borrowed(json),
    };
    (!text.trim().is_empty()).then_some(text)
}

/// Decodes a JSON string, borrowing it when it has no escapes.
fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Replaces U+0000, which Postgres cannot hold in a TEXT.
fn clean(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        text
    }
}

fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        #[serde(deserialize_with = "integer")]
        n: Option<i64>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Sample<'a> {
        #[serde(borrow, deserialize_with = "text")]
        text: Option<Cow<'a, str>>,
        #[serde(deserialize_with = "uri")]
        uri: Option<Cow<'a, str>>,
        #[serde(deserialize_with = "needed")]
        needed: Cow<'a, str>,
        #[serde(deserialize_with = "time")]
        time: Option<i64>,
        #[serde(deserialize_with = "object")]
        object: Option<Inner>,
        #[serde(deserialize_with = "list")]
        list: Vec<Inner>,
    }

    /// What stands under every field is `json`.
    fn everywhere(json: &str) -> String {
        let names = ["text", "uri", "needed", "time", "object", "list"];
        let fields = names.map(|name| format!("\"{name}\": {json} "));
        format!("{{{}}}", fields.join(","))
    }

    fn read(json: &str) -> Sample<'_> {
        object_of(json).expect("a lenient reader never refuses")
    }

    #[test]
    fn null_and_nothing_are_the_same() {
        assert_eq!(read(&everywhere("null")), Sample::default());
        assert_eq!(read("{}"), Sample::default());
    }

    #[test]
    fn numbers_and_truth_values_become_their_text() {
        for json in ["12", "-1.50", "1e999", "10000000000000000000000", "true"] {
            let body = everywhere(json);
            let sample = read(&body);
            assert_eq!(sample.text.as_deref(), Some(json));
            assert_eq!(sample.uri.as_deref(), Some(json));
            assert_eq!(sample.needed, "");
            assert_eq!((sample.time, sample.object), (None, None));
            assert!(sample.list.is_empty());
        }
    }

    #[test]
    fn objects_and_arrays_are_no_texts() {
        let body = everywhere(r#"{"n":7}"#);
        let sample = read(&body);
        assert_eq!((sample.text, sample.uri, sample.time), (None, None, None));
        assert_eq!(sample.object, Some(Inner { n: Some(7) }));
        assert!(sample.list.is_empty());
        let body = everywhere(r#"[{"n":1},null,3,"x",[4],{"n":"5"},{"n":1.5}]"#);
        let sample = read(&body);
        assert_eq!((sample.text, sample.object), (None, None));
        assert_eq!(sample.list, [Some(1), None, None].map(|n| Inner { n }));
    }

    #[test]
    fn an_array_of_values_is_not_taken_for_an_object() {
        assert_eq!(object_of::<Inner>("[7]"), None);
        assert_eq!(read(r#"{"object":[7]}"#).object, None);
    }

    #[test]
    fn blank_texts_are_absent_and_others_stay_as_they_are() {
        assert_eq!(read(&everywhere(r#"" \n\t\u00a0""#)), Sample::default());
        assert_eq!(read(&everywhere(r#""""#)), Sample::default());
        assert_eq!(read(r#"{"text":" a "}"#).text.as_deref(), Some(" a "));
        assert_eq!(
            read(r#"{"text":"Zo\u00eb \ud83d\ude00"}"#).text.as_deref(),
            Some("Zoë 😀")
        );
    }

    #[test]
    fn a_text_without_escapes_is_borrowed() {
        let sample = read(r#"{"text":"Zoë","needed":" a "}"#);
        assert!(matches!(sample.text, Some(Cow::Borrowed("Zoë"))));
        assert!(matches!(sample.needed, Cow::Borrowed("a")));
    }

    #[test]
    fn u_0000_is_replaced() {
        let body = everywhere(r#""a\u0000b""#);
        let sample = read(&body);
        assert_eq!(sample.text.as_deref(), Some("a\u{fffd}b"));
        assert_eq!(sample.uri.as_deref(), Some("a\u{fffd}b"));
        assert_eq!(sample.needed, "a\u{fffd}b");
    }

    #[test]
    fn half_a_surrogate_pair_costs_only_its_own_field() {
        let sample = read(r#"{"text":"\ud83d","needed":"kept"}"#);
        assert_eq!((sample.text, &*sample.needed), (None, "kept"));
    }

    #[test]
    fn uris_are_trimmed_and_bounded() {
        assert_eq!(read(r#"{"uri":" u\n"}"#).uri.as_deref(), Some("u"));
        let longest = format!(r#"{{"uri":" {} "}}"#, "u".repeat(URI_MAX_BYTES));
        assert!(read(&longest).uri.is_some());
        let longer = format!(r#"{{"uri":"{}"}}"#, "u".repeat(URI_MAX_BYTES + 1));
        assert_eq!(read(&longer).uri, None);
    }

    #[test]
    fn times_have_any_precision_and_offset() {
        let expected = Some(1_719_921_090_000_000);
        for text in [
            "2024-07-02T11:51:30.000000Z",
            "2024-07-02T11:51:30.000Z",
            "2024-07-02T11:51:30Z",
            "2024-07-02T13:51:30+02:00",
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
        assert_eq!(micros("1970-01-01T00:00:00.000001Z"), Some(1));
        for text in [
            "",
            "soon",
            "2024-07-02",
            "2024-07-02T11:51:30",
            "1719921090",
            "0000-01-01T00:00:00+01:00",
            "-000044-03-15T12:00:00Z",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_skipped() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&everywhere(&deep)), Sample::default());
    }

    #[test]
    fn a_field_given_twice_makes_its_object_absent() {
        assert_eq!(object_of::<Inner>(r#"{"n":1,"n":2}"#), None);
        assert_eq!(read(r#"{"object":{"n":1,"n":2},"text":"x"}"#).object, None);
        let twice = r#"{"unknown":1,"unknown":2,"text":"x"}"#;
        assert_eq!(read(twice).text.as_deref(), Some("x"));
    }
}
