//! What known senders write: how they sign, where type and delivery id stand, and which answer they take for a yes.
//!
//! # What it does not know
//!
//! Secrets. Sources: the code of WooCommerce (`class-wc-webhook.php`), the documentation of Shopify, Stripe and GitHub, the specification of
//! Standard Webhooks; for InPost, the code of those who receive from it.

use super::Events;

/// A known sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// How the configuration calls it.
    pub name: &'static str,
    /// Where its type stands.
    pub kind: Standing,
    /// Where its id of a delivery stands.
    pub delivery: Standing,
    /// The status that it takes for a yes.
    pub status: u16,
    /// Whether its id alone names a delivery: what comes under it again is the same, whatever else it says by then.
    pub is_id_enough: bool,
    /// In which forms it may send CloudEvents.
    pub events: Events,
    /// Whether it asks first, unsigned, whether somebody listens.
    pub pings: bool,
}

/// Where a word of a known sender stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nowhere.
    Nowhere,
    /// In this header.
    Header(&'static str),
    /// In the body, found by this filter.
    Body(&'static str),
    /// Where the signature of Standard Webhooks has it.
    WebhookId,
}

use Standing::{Body, Header, Nowhere};

const fn vendor(name: &'static str, kind: Standing, delivery: Standing) -> Preset {
    Preset { name, kind, delivery, status: 200, is_id_enough: false, events: Events::None, pings: false }
}

const fn plain(name: &'static str, events: Events) -> Preset {
    Preset { name, kind: Nowhere, delivery: Nowhere, status: 202, is_id_enough: false, events, pings: false }
}

/// The known senders, and the plain ways to prove something.
const PRESETS: [Preset; 10] = [
    Preset { pings: true, ..vendor("woocommerce", Header("x-wc-webhook-topic"), Header("x-wc-webhook-delivery-id")) },
    vendor("shopify", Header("x-shopify-topic"), Header("x-shopify-webhook-id")),
    Preset { is_id_enough: true, ..vendor("stripe", Body(".type"), Body(".id")) },
    vendor("github", Header("x-github-event"), Header("x-github-delivery")),
    vendor("inpost", Body(".event"), Nowhere),
    Preset { is_id_enough: true, ..vendor("standard-webhooks", Body(".type"), Standing::WebhookId) },
    plain("hmac", Events::InBodies),
    plain("basic", Events::All),
    plain("bearer", Events::All),
    plain("none", Events::All),
];

/// Their names, in the same order.
pub const PRESET_NAMES: [&str; PRESETS.len()] =
    ["woocommerce", "shopify", "stripe", "github", "inpost", "standard-webhooks", "hmac", "basic", "bearer", "none"];

impl Preset {
    /// The preset of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Preset> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::filter::Filter;

    #[test]
    fn every_preset_has_its_name_and_filters_that_are_some() {
        assert_eq!(PRESETS.map(|preset| preset.name), PRESET_NAMES);
        for preset in PRESETS {
            assert_eq!(Preset::named(preset.name), Some(preset));
            for standing in [preset.kind, preset.delivery] {
                assert!(if let Body(text) = standing { Filter::parse(text).is_ok() } else { true }, "{}", preset.name);
            }
        }
    }
}
