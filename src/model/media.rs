//! What a content type says (RFC 9110, 8.3).
//!
//! # What it does not know
//!
//! Bodies.

/// The type and subtype in lower case, without parameters.
#[must_use]
pub fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a body of this type is JSON (RFC 6839 for `+json`).
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence.ends_with("/json") || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_type_and_by_its_suffix() {
        for yes in
            ["application/json", "Application/JSON; charset=utf-8", "text/json", "application/vnd.shop+json ;v=1"]
        {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["", "text/plain", "application/x-ndjson", "application/xml; of=application/json"] {
            assert!(!is_json(no), "{no}");
        }
    }
}
