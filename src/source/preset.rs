//! What known senders write: how they sign, where type and delivery id stand, and which answer they take for a yes.
//!
//! # What it does not know
//!
//! Secrets. Sources: the code of WooCommerce (`class-wc-webhook.php`), the documentation of Shopify, Stripe and GitHub, the specification of
//! Standard Webhooks; for InPost, the code of those who receive from it.

use super::Events;
use crate::transport::secret::Encoding;

/// A known sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// How the configuration calls it.
    pub name: &'static str,
    /// How it proves who it is.
    pub signs: Signs,
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
    /// Whether it is another registry, which sends by number.
    pub is_stream: bool,
}

/// How a sender proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// By an HMAC over the body in this header.
    Body(&'static str, Encoding, &'static str),
    /// The same; by agreement over a time, a dot and the body.
    Timed(&'static str, Encoding),
    /// By an HMAC in a header and a form of its own.
    Own,
    /// As Stripe does.
    Stripe,
    /// As Standard Webhooks says.
    StandardWebhooks,
    /// By a user and a password.
    Basic,
    /// By a token.
    Bearer,
    /// Not at all.
    Nothing,
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

const fn vendor(name: &'static str, signs: Signs, kind: Standing, delivery: Standing) -> Preset {
    Preset {
        name,
        signs,
        kind,
        delivery,
        status: 200,
        is_id_enough: false,
        events: Events::None,
        pings: false,
        is_stream: false,
    }
}

const fn plain(name: &'static str, signs: Signs, events: Events) -> Preset {
    Preset { status: 202, events, ..vendor(name, signs, Nowhere, Nowhere) }
}

/// The known senders, and the plain ways to prove something.
const PRESETS: [Preset; 11] = [
    Preset {
        pings: true,
        ..vendor(
            "woocommerce",
            Signs::Body("x-wc-webhook-signature", Encoding::Base64, ""),
            Header("x-wc-webhook-topic"),
            Header("x-wc-webhook-delivery-id"),
        )
    },
    vendor(
        "shopify",
        Signs::Body("x-shopify-hmac-sha256", Encoding::Base64, ""),
        Header("x-shopify-topic"),
        Header("x-shopify-webhook-id"),
    ),
    Preset { is_id_enough: true, ..vendor("stripe", Signs::Stripe, Body(".type"), Body(".id")) },
    vendor(
        "github",
        Signs::Body("x-hub-signature-256", Encoding::Hex, "sha256="),
        Header("x-github-event"),
        Header("x-github-delivery"),
    ),
    vendor("inpost", Signs::Timed("x-inpost-signature", Encoding::Base64), Body(".event"), Nowhere),
    Preset {
        is_id_enough: true,
        ..vendor("standard-webhooks", Signs::StandardWebhooks, Body(".type"), Standing::WebhookId)
    },
    Preset { is_stream: true, ..plain("goniec", Signs::StandardWebhooks, Events::None) },
    plain("hmac", Signs::Own, Events::InBodies),
    plain("basic", Signs::Basic, Events::All),
    plain("bearer", Signs::Bearer, Events::All),
    plain("none", Signs::Nothing, Events::All),
];

/// Their names, in the same order.
pub const PRESET_NAMES: [&str; PRESETS.len()] = [
    "woocommerce",
    "shopify",
    "stripe",
    "github",
    "inpost",
    "standard-webhooks",
    "goniec",
    "hmac",
    "basic",
    "bearer",
    "none",
];

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
