//! The running node, as the verbs see it: one call, its answer or the reason why not.
//!
//! # What it does not know
//!
//! What the calls mean.

use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;

use crate::transport::http::{Answer, Client, Stream};

use super::{Fail, NO, STORE, UNREACHED, USAGE, text};

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long the events may be quiet; the node gives a sign of life more often.
const QUIET_MAX: Duration = Duration::from_secs(45);

/// A node.
pub(super) struct Node {
    client: Client,
    url: String,
    token: Option<String>,
}

impl Node {
    /// The node that the arguments name.
    pub(super) fn of(arguments: &ArgMatches) -> Result<Node, Fail> {
        let url = text(arguments, "url").unwrap_or_default().trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(
                Fail::new(USAGE, format!("{url:?} is no address of a node")).hint("Write it as http://HOST:PORT.")
            );
        }
        Ok(Node::at(&url, text(arguments, "token")))
    }

    /// The node at this address, asked with this token.
    pub(super) fn at(url: &str, token: Option<&str>) -> Node {
        let token = token.map(|token| format!("Bearer {token}"));
        Node { client: Client::new(), url: url.to_owned(), token }
    }

    /// Calls, and gives back whatever was answered.
    pub(super) fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Fail> {
        let mut all = headers.to_vec();
        if let Some(token) = &self.token {
            all.push(("authorization", token));
        }
        let url = format!("{}{path}", self.url);
        self.client.call(method, &url, &all, body, TIMEOUT).map_err(|failure| self.unreached(&failure.detail))
    }

    /// Calls, and gives back the JSON of a yes.
    pub(super) fn json(&self, method: &str, path: &str) -> Result<Value, Fail> {
        let answer = yes(self.call(method, path, &[], &[])?)?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| Fail::new(UNREACHED, format!("{} answers no JSON: {error}", self.url)))
    }

    /// Opens a stream.
    pub(super) fn open(&self, path: &str) -> Result<Stream, Fail> {
        let headers: Vec<(&str, &str)> = self.token.iter().map(|token| ("authorization", token.as_str())).collect();
        let url = format!("{}{path}", self.url);
        self.client.open("GET", &url, &headers, TIMEOUT, QUIET_MAX).map_err(|failure| self.unreached(&failure.detail))
    }

    fn unreached(&self, detail: &str) -> Fail {
        Fail::new(UNREACHED, format!("cannot reach {}: {detail}", self.url))
            .hint("Is `goniec serve` running there? Another node is named with --url or GONIEC_URL.")
    }
}

/// The answer, if it is a yes; else what the node said.
pub(super) fn yes(answer: Answer) -> Result<Answer, Fail> {
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    Err(refusal(answer.status, &answer.body))
}

/// What the node said instead of yes.
pub(super) fn refusal(status: u16, body: &[u8]) -> Fail {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let word = |name: &str| problem.get(name).and_then(Value::as_str);
    let is_store = word("type").is_some_and(|kind| kind.ends_with(":store-failed"));
    let code = match status {
        400 | 401 | 403 | 413 | 415 => USAGE,
        507 => STORE,
        503 if is_store => STORE,
        500..=599 => UNREACHED,
        _ => NO,
    };
    let fail = Fail::new(code, word("detail").map_or_else(|| format!("the node answered {status}"), str::to_owned));
    match word("hint") {
        Some(hint) => fail.hint(hint),
        None => fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_failed_is_no_node_that_cannot_be_reached() {
        let code =
            |status, kind: &str| refusal(status, format!("{{\"type\":\"urn:goniec:problem:{kind}\"}}").as_bytes()).code;
        assert_eq!(
            (code(507, "disk-full"), code(503, "store-failed"), code(503, "stopping")),
            (STORE, STORE, UNREACHED)
        );
        assert_eq!((refusal(503, b"").code, code(404, "not-found"), code(400, "invalid")), (UNREACHED, NO, USAGE));
    }
}
