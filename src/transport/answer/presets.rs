//! The kinds of destinations that are known by name, as data: what their answers mean.
//!
//! # What holds
//!
//! * A preset is written in the words that a configuration has; nothing in it could not stand there.
//!
//! # What it does not know
//!
//! How rules are asked.

use super::{Answers, Meaning, Misparse, Rule, Wrong};
use crate::model::Class;

/// A kind of destination.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// The name in the configuration.
    pub name: &'static str,
    /// What it is for, in one line.
    pub about: &'static str,
    /// The rules: what it means, the statuses, a filter over the body. Empty texts are conditions that are not given.
    pub rules: &'static [(Meaning, &'static str, &'static str)],
    /// Where the reason is, over `{status, headers, body}`.
    pub reason: &'static str,
    /// Where the remote id is, over `{status, headers, body}`.
    pub remote_id: &'static str,
    /// Where the seconds to wait are, over `{status, headers, body}`.
    pub retry_after: &'static str,
}

const THROTTLED: Meaning = Meaning::Retry(Class::RateLimited);
const UNAUTHORISED: Meaning = Meaning::Retry(Class::Setup);
const FAILED: Meaning = Meaning::Retry(Class::Server);

/// The presets.
pub const PRESETS: [Preset; 6] = [
    Preset {
        name: "standard",
        about: "a receiver of Standard Webhooks: the status says it all, problem details (RFC 9457) are the reason",
        rules: &[],
        reason: r#".body | objects | [.title, .detail, .message, (.error | strings)] | map(strings) | unique | join(": ")"#,
        remote_id: "",
        retry_after: "",
    },
    Preset {
        name: "baselinker",
        about: "BaseLinker: always 200, `status` says what happened",
        rules: &[
            (THROTTLED, "2xx", r#"type == "object" and .error_code == "ERROR_BLOCKED_TOKEN""#),
            (
                UNAUTHORISED,
                "2xx",
                r#"type == "object" and (.error_code // "" | tostring
                    | . == "ERROR_BAD_TOKEN" or . == "ERROR_EMPTY_TOKEN" or . == "ERROR_USER_ACCOUNT_BLOCKED")"#,
            ),
            (Meaning::Reject, "2xx", r#"type == "object" and .status == "ERROR""#),
            (Meaning::Success, "2xx", r#"type == "object" and .status == "SUCCESS""#),
        ],
        reason: r#".body | objects | [.error_code, .error_message] | map(strings) | join(": ")"#,
        remote_id: ".body | objects | .order_id // .product_id // .package_id // .return_id // empty",
        retry_after: "",
    },
    Preset {
        name: "odoo-jsonrpc",
        about: "Odoo over JSON-RPC: 200 with `error`",
        rules: &[
            (
                UNAUTHORISED,
                "2xx",
                r#"type == "object" and ((.error.code == 100) or (.error.data.name // "" | tostring
                    | contains("SessionExpired") or contains("AccessDenied")))"#,
            ),
            (
                FAILED,
                "2xx",
                r#"type == "object" and (.error.data.name // "" | tostring
                    | contains("psycopg2") or contains("OperationalError") or contains("SerializationFailure") or contains("LockNotAvailable"))"#,
            ),
            (Meaning::Reject, "2xx", r#"type == "object" and .error != null"#),
            (Meaning::Success, "2xx", r#"type == "object" and .jsonrpc == "2.0" and has("result")"#),
        ],
        reason: r#".body | objects | [.error.message, .error.data.message] | map(strings) | unique | join(": ")"#,
        remote_id: r#".body | objects | .result | if type == "array" then .[0] end | select(type == "number" or type == "string")"#,
        retry_after: "",
    },
    Preset {
        name: "shopify-graphql",
        about: "Shopify's GraphQL: 200 with `errors` or with `userErrors` inside of `data`",
        rules: &[
            (
                THROTTLED,
                "2xx",
                r#"type == "object" and ([.errors[]?.extensions?.code? | select(. == "THROTTLED")] | length > 0)"#,
            ),
            (
                UNAUTHORISED,
                "2xx",
                r#"type == "object" and ([.errors[]?.extensions?.code? | select(. == "ACCESS_DENIED" or . == "SHOP_INACTIVE")] | length > 0)"#,
            ),
            (
                FAILED,
                "2xx",
                r#"type == "object" and ([.errors[]?.extensions?.code? | select(. == "INTERNAL_SERVER_ERROR" or . == "TIMEOUT")] | length > 0)"#,
            ),
            (Meaning::Reject, "2xx", r#"type == "object" and .errors != null"#),
            (Meaning::Reject, "2xx", r#"type == "object" and ([.data?[]?.userErrors?[]?] | length > 0)"#),
            (Meaning::Success, "2xx", r#"type == "object" and (.data | type == "object")"#),
        ],
        reason: r#".body | objects | [.errors[]?.message?, (.errors | strings),
            (.data?[]?.userErrors?[]? | [((.field? // [])[]? | tostring), .message?] | join(" "))] | map(strings) | join("; ")"#,
        remote_id: r#".body | objects | [.data[]?[]? | objects | .id? | strings] | .[0]"#,
        retry_after: r#".body | objects | .extensions.cost | objects
            | (.requestedQueryCost - .throttleStatus.currentlyAvailable) / .throttleStatus.restoreRate | if . > 0 then . else empty end"#,
    },
    Preset {
        name: "woocommerce-batch",
        about: "WooCommerce's batch calls: 200 with an `error` at each item that failed",
        rules: &[
            (
                Meaning::Reject,
                "2xx",
                r#"type == "object" and ([(.create, .update, .delete)[]? | objects | select(.error != null)] | length > 0)"#,
            ),
            (Meaning::Success, "2xx", r#"type == "object" and (has("create") or has("update") or has("delete"))"#),
        ],
        reason: r#".body | objects | [.code, .message, ((.create, .update, .delete)[]? | objects | select(.error != null)
            | "item \(.id // .sku // "?"): \(.error.code // "") \(.error.message // "")")] | map(strings) | join("; ")"#,
        remote_id: r#".body | objects | [(.create, .update)[]? | objects | .id | numbers | tostring] | select(length > 0) | join(",")"#,
        retry_after: "",
    },
    Preset {
        name: "soap-fault",
        about: "SOAP 1.1 and 1.2: a fault in the envelope, with 200 or with 500",
        rules: &[
            (
                FAILED,
                "2xx,500",
                r#"type == "string" and (element("Fault") // "" | (element("faultcode") // element("Value") // "")
                    | split(":") | last // "" | startswith("Server") or startswith("Receiver"))"#,
            ),
            (Meaning::Reject, "2xx,500", r#"type == "string" and element("Fault") != null"#),
            (Meaning::Success, "2xx", r#"type == "string" and element("Envelope") != null"#),
        ],
        reason: r#".body | strings | element("Fault") | strings
            | [element("faultcode") // element("Value"), element("faultstring") // element("Text")] | map(strings) | join(": ")"#,
        remote_id: "",
        retry_after: "",
    },
];

/// Makes the rules of a preset.
pub(super) fn read(name: &str) -> Result<Answers, Wrong> {
    let Some(preset) = PRESETS.iter().find(|preset| preset.name == name) else {
        let known: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        let problem = format!("expected one of {}, found {name:?}", known.join(", "));
        return Err(Wrong { key: "preset", problem: Misparse { line: 1, column: 1, problem } });
    };
    let given = |text: &'static str| Some(text).filter(|text| !text.is_empty());
    let mut answers = Answers::new();
    for (meaning, status, body) in preset.rules {
        answers = answers.rule(*meaning, Rule::parse(given(status), given(body), None)?);
    }
    if let Some(reason) = given(preset.reason) {
        answers = answers.reason(reason)?;
    }
    if let Some(remote_id) = given(preset.remote_id) {
        answers = answers.remote_id(remote_id)?;
    }
    if let Some(retry_after) = given(preset.retry_after) {
        answers = answers.retry_after(retry_after)?;
    }
    Ok(answers)
}
