//! What of a registry's notes is taken over by another one that is made of it.
//!
//! # What it does not know
//!
//! How registries are made.

use super::ledger::{is_count, without};
use crate::model::Place;
use crate::store::Note;

/// Whether the note under this key names this registry towards others. One that is made of an export is another registry: it must not go on as if it
/// were the old one, so it does not take such a note over, and begins new epochs of its streams.
#[must_use]
pub fn is_bound_to_node(key: &[u8]) -> bool {
    is_count(key)
}

/// What a salvaged registry takes over of a note. It may have lost what it gave numbers to, so it begins new epochs too; and what came by a stream and is
/// lost is unknown again, so that its sender is asked for it.
#[must_use]
pub fn salvaged(note: Note, is_lost: &dyn Fn(Place) -> bool) -> Option<Note> {
    (!is_bound_to_node(&note.key)).then(|| without(note, is_lost))
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Side, Stream};
    use super::*;
    use crate::model::ledger::{Content, End, Entry, Page};
    use crate::model::{Envelope, Id, NodeTag, WallMs};

    #[test]
    fn the_numbers_that_a_registry_gives_are_its_own() {
        assert!(is_bound_to_node(b"lcerp"));
        assert!(!is_bound_to_node(b"lierp") && !is_bound_to_node(b"mpoll/erp") && !is_bound_to_node(b""));
    }

    #[test]
    fn what_came_by_a_stream_and_is_lost_is_unknown_again() {
        let [lost, kept] = [Place::new(3, 1), Place::new(4, 1)];
        let content = Content::of(Id::compose(WallMs(1), NodeTag::new(1), kept), 1, &Envelope::default(), b"{}");
        let mut page = Page::default();
        let entries = [Entry::There(lost, content), Entry::Ended(End::Expired), Entry::There(kept, content)];
        entries.into_iter().enumerate().for_each(|(at, entry)| page.set(at, entry));
        let is_lost = |place: Place| place == lost;
        let carried = |side| {
            let stream = Stream { side, name: "shop".into(), epoch: 7 };
            let note = salvaged(Note { key: stream.key(0), value: page.bytes().to_vec() }, &is_lost).expect("taken");
            let page = Page::read(note.value).expect("a page");
            [0, 1, 2, 3].map(|at| page.entry(at))
        };
        let [first, second, third] = entries;
        assert_eq!(carried(Side::In), [Entry::Unknown, second, third, Entry::Unknown]);
        // What was sent from here has arrived, whatever is left of it here.
        assert_eq!(carried(Side::Out), [first, second, third, Entry::Unknown]);
        assert_eq!(salvaged(Note { key: b"lcerp".to_vec(), value: vec![1] }, &is_lost), None);
        let other = Note { key: b"mpoll/erp".to_vec(), value: page.bytes().to_vec() };
        assert_eq!(salvaged(other.clone(), &is_lost), Some(other));
    }
}
