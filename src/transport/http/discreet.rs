//! What is told of a destination, without what it was shown: it may send back whatever it got.
//!
//! # What holds
//!
//! * The texts of an outcome (what happened, the beginning of the answer, the remote id) are blotted out before anybody else sees them.
//! * What an answer means is decided before: rules see it as it came.
//!
//! # What it does not know
//!
//! How a secret is recognised ([`Hidden`](crate::transport::secret::Hidden)).

use super::Http;
use crate::model::{Failure, Outcome, Receipt};
use crate::transport::answer::REMOTE_ID_CHARS_MAX;
use crate::transport::secret::Hidden;
use crate::transport::{Batched, Probed};

impl Http {
    /// A text that came from there, without what was shown there.
    #[must_use]
    pub fn discreet_text(&self, text: &str) -> String {
        self.blot(text)
    }

    fn blot(&self, text: &str) -> String {
        self.blotted(text, Hidden::blot)
    }

    fn blotted(&self, text: &str, blot: fn(&Hidden, &str) -> String) -> String {
        // As of all that arrives without a word.
        if text.is_empty() {
            return String::new();
        }
        let blotted = blot(&self.hidden, text);
        match &self.passes {
            Some(passes) => blot(&passes.issuer().hidden, &blotted),
            None => blotted,
        }
    }

    pub(super) fn discreet_failure(&self, failure: Failure) -> Failure {
        let excerpt = failure.excerpt.as_deref().map(|excerpt| self.blot(excerpt));
        Failure { detail: self.blot(&failure.detail), excerpt, ..failure }
    }

    fn discreet_receipt(&self, receipt: Receipt) -> Receipt {
        // A number that ends as the spelling of a secret begins is a number, unless the id was cut.
        let is_cut = |id: &str| id.chars().count() >= REMOTE_ID_CHARS_MAX;
        let blotted = |id: &str| if is_cut(id) { self.blot(id) } else { self.blotted(id, Hidden::blot_whole) };
        let remote_id = receipt.remote_id.as_deref().map(blotted);
        Receipt { detail: self.blot(&receipt.detail), remote_id, ..receipt }
    }

    pub(super) fn discreet(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Delivered(receipt) => Outcome::Delivered(self.discreet_receipt(receipt)),
            Outcome::Failed(failure) => Outcome::Failed(self.discreet_failure(failure)),
        }
    }

    pub(super) fn discreet_of_many(&self, Batched { request, each }: Batched) -> Batched {
        let each = each.into_iter().map(|own| own.map(|outcome| self.discreet(outcome))).collect();
        Batched { request: self.discreet(request), each }
    }

    pub(super) fn discreet_answer(&self, told: Probed) -> Probed {
        match told {
            Probed::There(receipt) => Probed::There(self.discreet_receipt(receipt)),
            Probed::Absent => Probed::Absent,
            Probed::Unknown(failure) => Probed::Unknown(self.discreet_failure(failure)),
        }
    }
}
