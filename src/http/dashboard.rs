//! The dashboard's files, built into the binary, compressed once and cached under their version.

use std::collections::HashMap;
use std::io::Write;
use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::answer::hash_tag;
use super::extract::PathText;
use super::problem::{Problem, not_found};

/// What the page may load and run: what this server serves, and the one import map it contains.
const POLICY: &str = "default-src 'self'; script-src 'self' 'sha256-{map}'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Names are not hashed but their folder may be: only then may a browser keep a file unasked.
const ASK_FIRST: &str = "no-cache";
const KEEP: &str = "public, max-age=31536000, immutable";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Where the page's text has room for the links to all modules.
const PRELOAD_HERE: &str = "<!-- modulepreload: the program lists all modules here -->";

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("dashboard/", $name)))),+]
    };
}

/// Path below `/assets/`, and text. `tests/it/dashboard.rs` finds a file that is missing here.
const FILES: &[(&str, &str)] = files![
    "announce.js",
    "api.js",
    "app.js",
    "arrivals.js",
    "bell.js",
    "charts.js",
    "clock.js",
    "favicon-new.svg",
    "favicon.svg",
    "filter.js",
    "focus.js",
    "format.js",
    "i18n.js",
    "keys.js",
    "list.js",
    "live.js",
    "people.js",
    "read.js",
    "screen.js",
    "session.js",
    "settings.js",
    "store.js",
    "style.css",
    "style/forms.css",
    "style/lists.css",
    "style/panel.css",
    "style/shell.css",
    "style/views.css",
    "sync.js",
    "table.js",
    "toasts.js",
    "ui.js",
    "vendor/htm-preact.mjs",
    "vendor/htm.mjs",
    "vendor/preact-hooks.mjs",
    "vendor/preact.mjs",
    "vendor/signals-core.mjs",
    "vendor/signals.mjs",
    "vendor/socket.io.esm.min.js",
    "views/deliveries.js",
    "views/delivery-panel.js",
    "views/first-run.js",
    "views/help.js",
    "views/login.js",
    "views/notifications.js",
    "views/numbers.js",
    "views/proposal-parts.js",
    "views/proposals.js",
    "views/prospect-form.js",
    "views/prospect-panel.js",
    "views/prospects.js",
    "views/settings-dialog.js",
    "views/shell.js",
    "words/en.js",
    "words/fr.js",
];

/// One file as it is sent.
struct File {
    kind: &'static str,
    plain: Vec<u8>,
    gzip: Vec<u8>,
    tag: String,
}

/// All files; `version` names their folder and changes with any of them.
struct Site {
    version: String,
    page: File,
    policy: HeaderValue,
    files: HashMap<&'static str, File>,
}

static SITE: LazyLock<Site> = LazyLock::new(Site::build);

impl Site {
    fn build() -> Self {
        let page = include_str!("dashboard/index.html");
        let mut hash = Sha256::new_with_prefix(page);
        for (_, text) in FILES {
            hash.update(text);
        }
        let version = hex::encode(&hash.finalize()[..8]);
        let page = page.replace(PRELOAD_HERE, &preloads());
        let page = page.replace("/assets/", &format!("/assets/{version}/"));
        let map = BASE64_STANDARD.encode(Sha256::digest(import_map(&page)));
        let policy = HeaderValue::try_from(POLICY.replace("{map}", &map));
        let files = FILES
            .iter()
            .map(|(name, text)| (*name, File::new(name, text)));
        Self {
            version,
            page: File::new("index.html", &page),
            policy: policy.expect("it is ASCII"),
            files: files.collect(),
        }
    }
}

/// Lets a browser fetch all modules at once, rather than find them one behind the other.
fn preloads() -> String {
    let modules = FILES.iter().map(|(name, _)| name);
    let modules = modules.filter(|name| kind(name) == SCRIPT);
    let links = modules.map(|name| format!("<link rel=\"modulepreload\" href=\"/assets/{name}\">"));
    links.collect::<Vec<_>>().join("\n  ")
}

/// The text between the tags of the page's import map, which the policy allows by its hash.
fn import_map(page: &str) -> &str {
    let (_, behind) = page
        .split_once("<script type=\"importmap\">")
        .unwrap_or_default();
    behind.split_once("</script>").unwrap_or_default().0
}

impl File {
    fn new(name: &str, text: &str) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(text.as_bytes()).expect("memory takes it");
        Self {
            kind: kind(name),
            plain: text.as_bytes().to_vec(),
            gzip: gzip.finish().expect("memory takes it"),
            tag: hash_tag(text.as_bytes()),
        }
    }

    fn answer(&self, headers: &HeaderMap, cache: &'static str) -> Response {
        let compressed = accepts_gzip(headers);
        // The two encodings are different answers, so a strong tag tells them apart.
        let tag = if compressed {
            self.tag.replacen('"', "\"gzip-", 1)
        } else {
            self.tag.clone()
        };
        let fixed = [
            (header::ETAG, tag.as_str()),
            (header::CACHE_CONTROL, cache),
            (header::VARY, "accept-encoding"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        if is_known(headers, &tag) {
            return (StatusCode::NOT_MODIFIED, fixed).into_response();
        }
        let kind = [(header::CONTENT_TYPE, self.kind)];
        if compressed {
            let encoding = [(header::CONTENT_ENCODING, "gzip")];
            return (fixed, kind, encoding, self.gzip.clone()).into_response();
        }
        (fixed, kind, self.plain.clone()).into_response()
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => SCRIPT,
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING);
    let accepted = accepted
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    accepted.split(',').any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, "q=1"));
        name.trim() == "gzip" && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    known.split(',').any(|one| one.trim() == tag)
}

pub(super) async fn page(headers: HeaderMap) -> Response {
    guarded(SITE.page.answer(&headers, ASK_FIRST))
}

pub(super) async fn asset(
    PathText(path): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let current = path.strip_prefix(&SITE.version);
    let (name, cache) = match current.and_then(|rest| rest.strip_prefix('/')) {
        Some(name) => (name, KEEP),
        None => (path.as_str(), ASK_FIRST),
    };
    let file = SITE.files.get(name);
    let file = file.ok_or_else(|| not_found("there is no such file"))?;
    Ok(guarded(file.answer(&headers, cache)))
}

/// A picture can be opened as a page of its own, so every file carries the policy.
fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, SITE.policy.clone());
    response
}
