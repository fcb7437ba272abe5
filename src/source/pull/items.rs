//! What of a page becomes messages.
//!
//! # What holds
//!
//! * Where a filter only names a place (`.items[]`, `.data.orders[]`, `.[]`), items are kept byte for byte as they came: what reading and writing would change
//!   of them, the order of members and the digits of numbers, stays. What another filter makes is written anew, and a page with numbers that this would change is refused.
//! * At most [`ITEMS_MAX`] of a page.
//!
//! # What it does not know
//!
//! What an item means.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::transport::filter::{Document, Filter, unkept};
use crate::transport::http::PAGE_BYTES_MAX;

/// The most items of a page.
pub const ITEMS_MAX: usize = 100_000;
/// The most bytes of what a filter makes of a page.
const MADE_BYTES_MAX: usize = 2 * PAGE_BYTES_MAX;

/// Where the items of a page are.
#[derive(Debug)]
pub struct Items {
    filter: Filter,
    /// The names on the way to their array, where the filter says no more than that.
    place: Option<Vec<String>>,
}

/// The member of an object that has this name; the last where there are several.
struct Member<'a>(&'a str);

/// The items of an array.
struct Array;

impl Items {
    /// Where this filter finds them.
    #[must_use]
    pub fn new(filter: Filter) -> Items {
        Items { place: place(filter.source()), filter }
    }

    /// Whether they are kept as they came.
    pub(super) fn is_place(&self) -> bool {
        self.place.is_some()
    }

    /// The items of this page.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub(super) fn of<'a>(&self, page: &'a [u8], read: Option<&Document>) -> Result<Vec<Cow<'a, [u8]>>, String> {
        match (&self.place, read) {
            (Some(names), _) => {
                let found = walked(page, names).map_err(|why| format!("{}: {why}", self.filter.source()))?;
                Ok(found.into_iter().map(|item| Cow::Borrowed(item.get().as_bytes())).collect())
            }
            (None, None) => Err("the page is no JSON".into()),
            (None, Some(read)) => {
                let failed = |why: String| format!("items: {why}");
                if let Some(number) = std::str::from_utf8(page).ok().and_then(unkept) {
                    let number: String = number.chars().take(40).collect();
                    return Err(failed(format!(
                        "the number {number} would become another one; name their place alone, as .items[]"
                    )));
                }
                let made = self.filter.each(read, ITEMS_MAX, MADE_BYTES_MAX);
                let made = made.map_err(|stuck| failed(stuck.to_string()))?;
                Ok(made.into_iter().map(|item| Cow::Owned(item.into_bytes())).collect())
            }
        }
    }
}

/// The names of a filter that only names a place.
fn place(filter: &str) -> Option<Vec<String>> {
    let names = filter.trim().strip_suffix("[]")?;
    if names == "." {
        return Some(Vec::new());
    }
    let is_name = |name: &&str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let names: Vec<&str> = names.strip_prefix('.')?.split('.').collect();
    names.iter().all(is_name).then(|| names.into_iter().map(str::to_owned).collect())
}

fn walked<'a>(page: &'a [u8], names: &[String]) -> Result<Vec<&'a RawValue>, String> {
    let mut at: &RawValue = serde_json::from_slice(page).map_err(|error| format!("the page is no JSON: {error}"))?;
    for name in names {
        let mut reader = serde_json::Deserializer::from_str(at.get());
        let found = Member(name).deserialize(&mut reader).map_err(|error| error.to_string())?;
        at = found.ok_or_else(|| format!("the page has no {name}"))?;
    }
    let mut reader = serde_json::Deserializer::from_str(at.get());
    Array.deserialize(&mut reader).map_err(|error| error.to_string())
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some((name, value)) = from.next_entry::<Cow<'_, str>, &RawValue>()? {
            if name == self.0 {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

impl<'de> DeserializeSeed<'de> for Array {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Array {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            if items.len() >= ITEMS_MAX {
                return Err(de::Error::custom(format!("the page has more than {ITEMS_MAX} items")));
            }
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(filter: &str, page: &str) -> Result<Vec<String>, String> {
        let items = Items::new(Filter::parse(filter).expect("a filter"));
        let found = items.of(page.as_bytes(), Document::read(page.as_bytes()).ok().as_ref())?;
        Ok(found.iter().map(|item| String::from_utf8_lossy(item).into_owned()).collect())
    }

    #[test]
    fn a_place_is_told_from_other_filters() {
        for (filter, expect) in [
            (".[]", Some("")),
            (" .items[] ", Some("items")),
            (".data.orders_2[]", Some("data/orders_2")),
            (".items[]?", None),
            (".items", None),
            (".items[] | select(.a)", None),
            (".a-b[]", None),
            ("..[]", None),
            (".\"a\"[]", None),
            (".[0].a[]", None),
        ] {
            assert_eq!(place(filter).map(|names| names.join("/")).as_deref(), expect, "{filter}");
        }
    }

    #[test]
    fn items_in_their_place_stay_as_they_came() {
        let page = r#"{"a":{"items":[]},"a":{"items":[{"b": 1.50,"a":123456789012345678901234 }, "x" ,[1 , 2]]}}"#;
        let items = [r#"{"b": 1.50,"a":123456789012345678901234 }"#, "\"x\"", "[1 , 2]"];
        assert_eq!(of(".a.items[]", page).expect("items"), items);
        assert_eq!(of(".[]", "[1,2]").expect("items"), ["1", "2"]);
        assert_eq!(
            of(".items[] | {a, n: (.n + 1)}", r#"{"items":[{"n":1,"a":"ż"}]}"#).expect("items"),
            [r#"{"a":"ż","n":2}"#]
        );
        assert_eq!(of(".items[]?", r#"{"items":null}"#).expect("items"), [""; 0]);
    }

    #[test]
    fn what_has_no_items_there_is_told() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for (filter, page, expect) in [
            (".items[]", "<html>", "no JSON"),
            (".items[]", "", "no JSON"),
            (".items[]", "[1]", "an object with items"),
            (".items[]", "{}", "has no items"),
            (".items[]", r#"{"items":null}"#, "an array of items"),
            (".items[]", r#"{"items":{"a":1}}"#, "an array of items"),
            (".items[]?", &deep, "no JSON"),
            (".items[] | .a", r#"{"items":[1]}"#, "cannot index"),
            (".items[] | .a", r#"{"items":[{"a":123456789012345678901}]}"#, "would become another one"),
        ] {
            let wrong = of(filter, page).expect_err(filter);
            assert!(wrong.contains(expect), "{filter}: {wrong}");
        }
        let many = format!("[{}0]", "0,".repeat(ITEMS_MAX));
        assert!(of(".[]", &many).is_err_and(|wrong| wrong.contains("more than 100000 items")));
        assert!(of(".[] | .", &many).is_err_and(|wrong| wrong.contains("more than 100000 answers")));
        // Nothing but a place looks into what is deep.
        assert_eq!(of(".[]", &deep).expect("one").len(), 1);
    }
}
