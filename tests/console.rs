//! The console in a real browser against a running node: every page and act, accessibility, and strings that mean harm.
//!
//! Chromium is driven by WebDriver. Where chromium, its driver or axe-core cannot be had the tests that need them say so.

#![cfg(feature = "server")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "console/acts.rs"]
mod acts;
#[path = "console/axe.rs"]
mod axe;
#[path = "console/browser.rs"]
mod browser;
#[path = "console/hostile.rs"]
mod hostile;
#[path = "console/pages.rs"]
mod pages;
#[path = "console/scripts.rs"]
mod scripts;
#[path = "common/hostile.rs"]
mod strings;
#[path = "console/stub.rs"]
mod stub;
#[path = "console/world.rs"]
mod world;
