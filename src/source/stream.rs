//! What another registry sends by a stream: believed, read, and routed like everything else.
//!
//! # What holds
//!
//! * A message keeps its words: what its sender says of key, type and version is what both ledgers compare.
//!
//! # What it does not know
//!
//! Which numbers are known, and when something is durable.

use std::sync::Arc;

use super::content::Content;
use super::{Refused, Source, Sources, UNROUTED, fits};
use crate::engine::{Heard, Item, Received, Took};
use crate::model::ledger::{SOURCE_HEADER, is_of_ledger};
use crate::model::stream::{self, Answer, Carried};
use crate::model::{Draft, Envelope};

use crate::transport::http::check_header;
use crate::transport::secret::Came;

impl Sources {
    /// What another registry says, with where its messages go here.
    ///
    /// # Errors
    /// [`Refused::Malformed`]: it is no frame.
    pub(super) fn receive(&self, source: &Source, came: Came<'_>) -> Result<Received, Refused> {
        let frame = stream::decode(came.body).map_err(|error| Refused::NoFrame(error.to_string()))?;
        for (name, value) in frame.messages.iter().flat_map(|carried| &carried.envelope.headers) {
            if !is_of_ledger(name) {
                check_header(name, value).map_err(|why| Refused::NoFrame(format!("the header {name:?}: {why}")))?;
            }
        }
        let items = frame.messages.into_iter().map(|carried| self.item(source, carried));
        Ok(Received {
            source: source.name.clone(),
            epoch: frame.epoch,
            last: frame.last,
            ended: frame.ended,
            items: items.collect(),
        })
    }

    fn item(&self, source: &Source, carried: Carried) -> Item {
        let Carried { n, id, revision, mut envelope, body } = carried;
        envelope.headers.insert(0, (SOURCE_HEADER.to_owned(), source.name.to_string()));
        let kind = envelope.kind.clone().filter(fits);
        let planned = self.destinations(source, kind.as_deref(), &Content::new(&body));
        let to = planned.ok().filter(|to| !to.is_empty()).unwrap_or_else(|| vec![Arc::from(UNROUTED)]);
        let draft = |to| {
            let envelope = Envelope { destination: to, ..envelope.clone() };
            Draft { envelope, after: Vec::new(), body: body.clone() }
        };
        Item { n, id, revision, drafts: to.into_iter().map(draft).collect() }
    }
}

/// The answer to whoever sent it.
#[must_use]
pub fn answer(heard: Heard) -> Answer {
    let Heard { took, mark, highest, holes } = heard;
    Answer { took: took.into_iter().map(Took::byte).collect(), mark, highest, holes }
}
