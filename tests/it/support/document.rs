//! The document that describes the API, and real answers checked against it.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};

use super::app::{Reply, TestApp};

/// The document as the program serves it.
pub const TEXT: &str = include_str!("../../../src/http/openapi.json");

/// The methods an operation may have.
pub const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// Headers that an answer carries only where the document says so.
const TOLD_HEADERS: [&str; 7] = [
    "bookbell-seq",
    "etag",
    "link",
    "location",
    "retry-after",
    "set-cookie",
    "www-authenticate",
];

/// The document, read.
pub struct Document(pub Value);

impl Document {
    pub fn new() -> Self {
        Self(serde_json::from_str(TEXT).unwrap())
    }

    /// The node itself, or what its `$ref` points at.
    pub fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        let Some(target) = node["$ref"].as_str() else {
            return node;
        };
        let found = self.0.pointer(target.strip_prefix('#').unwrap());
        found.unwrap_or_else(|| panic!("{target} is not there"))
    }

    /// What keeps a value from being as a schema says.
    pub fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let whole = json!({ "allOf": [schema], "components": self.0["components"] });
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        let validator = options.build(&whole).unwrap();
        validator
            .iter_errors(value)
            .map(|e| format!("{} at {}", e, e.instance_path()))
            .collect()
    }

    /// Method, path and description of every operation.
    pub fn operations(&self) -> Vec<(Method, &str, &Value)> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, item)| {
                METHODS.iter().filter_map(move |method| {
                    let operation = item.get(method.as_str().to_lowercase())?;
                    Some((method.clone(), path.as_str(), operation))
                })
            })
            .collect()
    }

    fn operation(&self, method: &Method, path: &str) -> &Value {
        let operations = self.operations();
        let found = operations
            .iter()
            .find(|(m, p, _)| m == method && *p == path);
        found
            .unwrap_or_else(|| panic!("{method} {path} is not described"))
            .2
    }

    /// Checks an answer against what the document says of it.
    pub fn check(&self, method: &Method, path: &str, reply: &Reply) {
        let status = reply.status.as_str();
        let place = format!("{method} {path} {status}");
        let responses = &self.operation(method, path)["responses"];
        let response = self.resolve(&responses[status]);
        assert!(response.is_object(), "{place} is not described");
        self.check_headers(&place, &response["headers"], reply);
        let kind = reply
            .header("content-type")
            .map(|kind| kind.split(';').next().unwrap());
        let Some(described) = response["content"].as_object() else {
            assert!(reply.bytes.is_empty(), "{place} has a body");
            return;
        };
        let content = described.get(kind.unwrap());
        let schema = &content.unwrap_or_else(|| panic!("{place} is {kind:?}"))["schema"];
        if kind.unwrap().ends_with("json") {
            assert_eq!(
                self.faults(schema, &reply.json()),
                [""; 0],
                "{place}: {}",
                reply.json()
            );
        }
    }

    fn check_headers(&self, place: &str, headers: &Value, reply: &Reply) {
        let described = headers.as_object().into_iter().flatten();
        let mut names = BTreeSet::new();
        for (name, header) in described {
            let header = self.resolve(header);
            names.insert(name.to_lowercase());
            let Some(text) = reply.header(name) else {
                assert_ne!(header["required"], true, "{place} has no {name}");
                continue;
            };
            let number = text.parse::<i64>().map(Value::from);
            let value = number.unwrap_or_else(|_| json!(text));
            assert_eq!(
                self.faults(&header["schema"], &value),
                [""; 0],
                "{place}: {name}"
            );
        }
        for name in TOLD_HEADERS
            .iter()
            .filter(|name| reply.header(name).is_some())
        {
            // Pages carry a tag for caches, which no client of the API looks at.
            let page = reply.header("content-security-policy").is_some();
            assert!(page || names.contains(*name), "{place} has {name}");
        }
    }
}

/// Sends requests and checks each answer against the document.
pub struct Client<'a> {
    app: &'a TestApp,
    pub document: Document,
}

impl<'a> Client<'a> {
    pub fn new(app: &'a TestApp) -> Self {
        Self {
            app,
            document: Document::new(),
        }
    }

    /// Sends a request to a path of the document, its `{…}` filled in with `id`.
    pub async fn send(&self, method: Method, path: &str, id: &str, body: Option<Value>) -> Reply {
        self.send_as(Some(self.app.admin_token()), method, path, id, body)
            .await
    }

    pub async fn send_as(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        id: &str,
        body: Option<Value>,
    ) -> Reply {
        let (template, query) = path.split_once('?').unwrap_or((path, ""));
        let target = format!("{}?{query}", filled(template, id));
        let reply = self
            .app
            .send(method.clone(), &target, token, &[], body.as_ref())
            .await;
        self.document.check(&method, template, &reply);
        reply
    }
}

/// A path with its placeholder replaced.
pub fn filled(template: &str, id: &str) -> String {
    match (template.find('{'), template.find('}')) {
        (Some(from), Some(to)) => format!("{}{id}{}", &template[..from], &template[to + 1..]),
        _ => template.to_owned(),
    }
}
