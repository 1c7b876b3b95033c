//! Reads the fields of a request, collecting every fault before it answers.
//!
//! A request that changes part of a record must tell a field that is absent from one that is
//! null, must refuse fields it does not know, and should name all faults at once. Deriving does
//! none of the three, so requests are read field by field here.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value};

use super::email::Email;
use super::ids::Id;
use super::time::{UtcMs, is_time_zone};

/// How many unknown fields are named at most, and how many characters of each: a request may have
/// as many as fit into it, and its answer is not to be larger than that.
const UNKNOWN: usize = 20;
const NAME: usize = 100;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The field's name on the wire.
    pub field: String,
    /// What is wrong, for a person.
    pub message: String,
}

/// Puts a given value in its place; answers whether that changes it.
pub(super) fn replace<T: PartialEq>(place: &mut T, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    let changes = *place != value;
    *place = value;
    changes
}

/// The fields of a request, taken one by one.
#[derive(Debug)]
pub struct Fields {
    rest: Map<String, Value>,
    faults: Vec<Fault>,
    prefix: &'static str,
}

impl Fields {
    /// The fields of a JSON object.
    #[must_use]
    pub fn new(object: Map<String, Value>) -> Self {
        Self {
            rest: object,
            faults: Vec::new(),
            prefix: "",
        }
    }

    /// The parameters of a query string; one that is given twice is a fault.
    #[must_use]
    pub fn from_query(query: &str) -> Self {
        let mut fields = Self::new(Map::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = Value::String(value.into_owned());
            if fields.rest.insert(name.to_string(), value).is_some() {
                fields.fault(&name, "must be given once");
            }
        }
        fields
    }

    /// Notes a fault.
    pub fn fault(&mut self, field: &str, message: impl Into<String>) {
        let field = format!("{}{field}", self.prefix);
        self.faults.push(Fault {
            field,
            message: message.into(),
        });
    }

    /// Takes a field as it is; `None` when it is absent.
    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.rest.remove(field)
    }

    /// Takes a text of at most `max` characters; `Some(None)` when it is null or blank.
    pub fn text(&mut self, field: &str, max: usize) -> Option<Option<String>> {
        match self.take(field)? {
            Value::Null => Some(None),
            Value::String(text) => self.checked_text(field, text.trim(), max).map(Some),
            _ => self.refuse(field, "must be a string"),
        }
        .map(|text| text.filter(|text| !text.is_empty()))
    }

    fn checked_text(&mut self, field: &str, text: &str, max: usize) -> Option<String> {
        if text.chars().count() > max {
            return self.refuse(field, format!("must have at most {max} characters"));
        }
        // Postgres cannot keep U+0000; other control characters have no place in these fields.
        if text
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        {
            return self.refuse(field, "must not contain control characters");
        }
        Some(text.to_owned())
    }

    /// Takes a text that, when it is given, must not be blank.
    pub fn some_text(&mut self, field: &str, max: usize) -> Option<String> {
        match self.text(field, max)? {
            Some(text) => Some(text),
            None => self.refuse(field, "must not be empty"),
        }
    }

    /// Takes a text that must be there.
    pub fn required_text(&mut self, field: &str, max: usize) -> Option<String> {
        self.required_value(field)?;
        self.some_text(field, max)
    }

    /// Notes a fault unless the field is there and not null; answers whether it is.
    pub fn required_value(&mut self, field: &str) -> Option<()> {
        match self.rest.get(field) {
            None => self.refuse(field, "is required"),
            Some(Value::Null) => {
                self.rest.remove(field);
                self.refuse(field, "must not be null")
            }
            Some(_) => Some(()),
        }
    }

    /// Takes a secret of so many characters exactly as it is, spaces and all.
    pub fn secret(&mut self, field: &str, length: RangeInclusive<usize>) -> Option<String> {
        match self.take(field)? {
            Value::String(text) if length.contains(&text.chars().count()) => Some(text),
            _ => {
                let (min, max) = length.into_inner();
                self.refuse(
                    field,
                    format!("must be a text of {min} to {max} characters"),
                )
            }
        }
    }

    /// Takes an e-mail address that, when it is given, must be one.
    pub fn email(&mut self, field: &str) -> Option<Email> {
        let text = self.some_text(field, 320)?;
        let email = Email::parse_bare(&text);
        if email.is_none() {
            self.fault(field, "must be an e-mail address");
        }
        email
    }

    /// Takes one of a list of names.
    pub fn choice<T>(
        &mut self,
        field: &str,
        all: &[T],
        name: impl Fn(&T) -> &'static str,
    ) -> Option<T>
    where
        T: Copy,
    {
        let text = self.some_text(field, 200)?;
        let found = all.iter().find(|choice| name(choice) == text).copied();
        if found.is_none() {
            let names: Vec<&str> = all.iter().map(name).collect();
            self.fault(field, format!("must be one of {}", names.join(", ")));
        }
        found
    }

    /// Takes true or false.
    pub fn flag(&mut self, field: &str) -> Option<bool> {
        match self.take(field)? {
            Value::Bool(flag) => Some(flag),
            _ => self.refuse(field, "must be true or false"),
        }
    }

    /// Takes an id; `Some(None)` when it is null.
    pub fn id(&mut self, field: &str) -> Option<Option<Id>> {
        let Some(text) = self.text(field, 200)? else {
            return Some(None);
        };
        match Id::parse(&text) {
            Some(id) => Some(Some(id)),
            None => self.refuse(field, "must be an id"),
        }
    }

    /// Takes an id that, when it is given, must be one.
    pub fn some_id(&mut self, field: &str) -> Option<Id> {
        match self.id(field)? {
            Some(id) => Some(id),
            None => self.refuse(field, "must not be empty"),
        }
    }

    /// Takes an RFC 3339 time that, when it is given, must be one.
    pub fn time(&mut self, field: &str) -> Option<UtcMs> {
        let text = self.some_text(field, 64)?;
        let time = UtcMs::parse(&text);
        if time.is_none() {
            self.fault(
                field,
                "must be an RFC 3339 time, such as 2026-11-20T08:00:00Z",
            );
        }
        time
    }

    /// Takes the name of a time zone; `Some(None)` when it is null.
    pub fn time_zone(&mut self, field: &str) -> Option<Option<String>> {
        let zone = self.text(field, 64)?;
        if zone.as_deref().is_some_and(|zone| !is_time_zone(zone)) {
            return self.refuse(field, "must be an IANA time zone, such as Europe/Paris");
        }
        Some(zone)
    }

    /// Takes an object and reads its fields; `Some(None)` when it is null.
    pub fn object<T>(
        &mut self,
        field: &str,
        prefix: &'static str,
        read: impl FnOnce(&mut Fields) -> T,
    ) -> Option<Option<T>> {
        let object = match self.take(field)? {
            Value::Null => return Some(None),
            Value::Object(object) => object,
            _ => return self.refuse(field, "must be an object"),
        };
        let mut inner = Self {
            rest: object,
            faults: Vec::new(),
            prefix,
        };
        let value = read(&mut inner);
        let faults = inner.into_faults();
        let sound = faults.is_empty();
        self.faults.extend(faults);
        sound.then_some(Some(value))
    }

    /// Notes a fault and answers nothing.
    pub fn refuse<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        self.fault(field, message);
        None
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Every fault, a field nobody asked for among them.
    pub fn finish(self) -> Result<(), Vec<Fault>> {
        let faults = self.into_faults();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    fn into_faults(mut self) -> Vec<Fault> {
        let unknown: BTreeSet<String> = self.rest.keys().cloned().collect();
        for field in unknown.iter().take(UNKNOWN) {
            let name: String = field.chars().take(NAME).collect();
            self.fault(&name, "is not a known field");
        }
        if let (Some(more @ 1..), Some(last)) =
            (unknown.len().checked_sub(UNKNOWN), self.faults.last_mut())
        {
            last.message = format!("is not a known field, nor are {more} more");
        }
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> Fields {
        Fields::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn absent_null_and_given_differ() {
        let mut f = fields(&json!({"a": null, "b": " x "}));
        assert_eq!(f.text("a", 9), Some(None));
        assert_eq!(f.text("b", 9), Some(Some("x".into())));
        assert_eq!(f.text("c", 9), None);
        assert_eq!(f.finish(), Ok(()));
    }

    #[test]
    fn every_fault_is_named() {
        let mut f =
            fields(&json!({"email": "no", "status": 3, "zone": "Mars", "x": 1, "t": "soon"}));
        f.email("email");
        f.text("status", 9);
        f.time_zone("zone");
        f.time("t");
        f.required_text("name", 9);
        let named: Vec<String> = f
            .finish()
            .unwrap_err()
            .into_iter()
            .map(|e| e.field)
            .collect();
        assert_eq!(named, ["email", "status", "zone", "t", "name", "x"]);
    }

    #[test]
    fn inner_faults_carry_the_path() {
        let mut f = fields(&json!({"location": {"kind": 1, "size": 2}}));
        f.object("location", "location.", |inner| {
            inner.required_text("kind", 9)
        });
        let named: Vec<String> = f
            .finish()
            .unwrap_err()
            .into_iter()
            .map(|e| e.field)
            .collect();
        assert_eq!(named, ["location.kind", "location.size"]);
    }

    #[test]
    fn nul_is_refused() {
        let mut f = fields(&json!({"a": "x\u{0}y"}));
        assert_eq!(f.text("a", 9), None);
        assert!(f.finish().is_err());
    }
}
