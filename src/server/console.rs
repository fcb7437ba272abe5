//! The console: pages for people, embedded in the binary. They use the calls of this server and nothing else.
//!
//! # What holds
//!
//! * A page may load from this server only, may stand in no frame, and runs no script that is not one of these files.
//! * A file is asked for again each time, and sent only where it changed: its tag is its digest.
//!
//! # What it does not know
//!
//! What the pages show.

use std::collections::HashMap;
use std::sync::LazyLock;

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};

use crate::model::percent::hex;
use crate::transport::secret::digest;

use super::payload::{Answer, Reply};
use super::problem::Problem;
use super::routes::Call;

/// What a page may do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

macro_rules! files {
    ($($name:literal)*) => { &[$(($name, include_bytes!(concat!("console/", $name)))),*] };
}

/// The files by their names.
static FILES: &[(&str, &[u8])] = files! {
    "index.html"
    "icon.svg"
    "console.css"
    "api.js"
    "app.js"
    "agreement.js"
    "audit.js"
    "body.js"
    "bulk.js"
    "chart.js"
    "cycles.js"
    "destinations.js"
    "editor.js"
    "filter.js"
    "h.js"
    "incidents.js"
    "keyboard.js"
    "keys.js"
    "live.js"
    "login.js"
    "memory.js"
    "message.js"
    "messages.js"
    "now.js"
    "parts.js"
    "reasons.js"
    "system.js"
    "words.js"
    "words.json"
};

/// The tag of each file.
static TAGS: LazyLock<HashMap<&str, HeaderValue>> = LazyLock::new(|| {
    let tag = |bytes: &[u8]| {
        let half = digest(bytes).get(..16).map(hex).unwrap_or_default();
        HeaderValue::from_str(&format!("\"{half}\"")).unwrap_or(HeaderValue::from_static("\"\""))
    };
    FILES.iter().map(|(name, bytes)| (*name, tag(bytes))).collect()
});

/// `GET /console`.
pub(super) fn page(call: &Call<'_>) -> Result<Answer, Problem> {
    send(call, "index.html")
}

/// `GET /console/{file}`.
pub(super) fn file(call: &Call<'_>) -> Result<Answer, Problem> {
    send(call, &call.name)
}

fn send(call: &Call<'_>, wanted: &str) -> Result<Answer, Problem> {
    let missing = || Problem::no_route(&format!("/console/{wanted}"));
    let (name, bytes) = FILES.iter().find(|(name, _)| *name == wanted).ok_or_else(missing)?;
    let tag = TAGS.get(name);
    let has_it = tag.is_some_and(|tag| call.headers.get(IF_NONE_MATCH).is_some_and(|known| known == tag));
    let mut answer = Response::new(Reply::Whole((!has_it).then_some(Bytes::from_static(bytes))));
    *answer.status_mut() = if has_it { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind(name)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("content-security-policy"), HeaderValue::from_static(POLICY));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    if let Some(tag) = tag {
        headers.insert(ETAG, tag.clone());
    }
    Ok(answer)
}

/// The type of a file, by the ending of its name.
fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
