//! Secrets as canaries: a node at `trace` with every key of the configuration that can hold one, hostile destinations that send back whatever they were shown, every
//! route and every verb; then no secret stands in the log, in the registry, or in any answer.
//!
//! Which keys those are the table of the configuration says: a new one without a canary fails the test. What is looked for is what all of them begin with, in every
//! spelling, so that a part of one is found too. Skipped, aloud, where there is no `openssl` for the key of a client certificate.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;
#[path = "common/peer.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod peer;
#[path = "common/tls.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod tls;

#[path = "canary/hostile.rs"]
mod hostile;
#[path = "common/search.rs"]
mod search;
#[path = "canary/world.rs"]
mod world;

use std::collections::BTreeSet;

use search::{Needles, leaks};
use world::{KNOWN_OF, World};

/// What a table of the configuration takes where it can hold a secret, as the page of the configuration says it.
const SECRETIVE: [&str; 4] = [
    "`{ env = \"NAME\" }` or `{ file = \"PATH\" }`",
    "a secret, or a list of them",
    "names and texts or secrets",
    "a URL",
];

/// How many leaks are shown.
const SHOWN_MAX: usize = 40;

/// Every key that can hold a secret.
fn secret_keys() -> BTreeSet<String> {
    let page = goniec::config::reference();
    let mut table = "";
    let mut keys = BTreeSet::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            table = title.trim_matches(['`', '[', ']']).split('.').next().unwrap();
        }
        let cells: Vec<&str> = line.split(" | ").collect();
        if let [key, takes, ..] = cells.as_slice()
            && SECRETIVE.contains(takes)
        {
            keys.insert(format!("{table}.{}", key.trim_matches(['|', ' ', '`'])));
        }
    }
    keys
}

#[test]
fn every_key_that_can_hold_a_secret_has_a_canary() {
    let known: BTreeSet<String> = KNOWN_OF.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(secret_keys(), known, "the table of the configuration, and the keys of this test");
}

#[test]
fn a_canary_is_found_in_every_spelling() {
    let needles = Needles::of("canary-");
    for text in [
        "a canary-x",
        "YW5uYTpjYW5hcnktYmFzaWM",
        "Y2FuYXJ5LWJhc2lj",
        "eGNhbmFyeS1iYXNpYw",
        "63616e6172792d",
        "63616E6172792D",
        "%63%61%6E%61%72%79%2D",
        "6f72 3d63 616e 6172 792d 7761",
        "6f72 6361 6e61 7279 2d77",
        "[99, 97, 110, 97, 114, 121, 45, 98]",
    ] {
        assert_eq!(leaks(&needles, "text", text.as_bytes()).len(), 1, "{text}");
    }
    assert_eq!(leaks(&needles, "text", b"canaries, Y2FuYXJpZXM"), Vec::<String>::new());
}

#[test]
fn no_canary_is_heard() {
    let Some(kept) = tls::authorities("no_canary_is_heard") else { return };
    let world = World::begin(kept.path());
    world.deliver();
    world.ask_everything();
    world.make_token();
    world.every_verb();
    let made = world.made();
    let heard = world.end();
    // The control: what is no secret, and was handed in, sent back and logged, is found wherever a canary is looked for.
    let control = Needles::of("kanarek-");
    for place in ["log", "tail", "data/", "answer of ", "output of "] {
        let found = heard.iter().filter(|(name, _)| name.starts_with(place));
        assert!(
            found.into_iter().any(|(name, bytes)| !leaks(&control, name, bytes).is_empty()),
            "{place}: not looked at"
        );
    }
    let needles = made.iter().fold(world::needles(kept.path()), |needles, made| needles.and(made.as_bytes()));
    let found: Vec<String> = heard.iter().flat_map(|(name, bytes)| leaks(&needles, name, bytes)).collect();
    assert!(found.is_empty(), "{} leaks, the first:\n{}", found.len(), found[..found.len().min(SHOWN_MAX)].join("\n"));
}
