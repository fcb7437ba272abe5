//! What a person was told of a source that is asked, so that a start does not tell it again.
//!
//! # What holds
//!
//! * A telling is remembered in the registry once everybody was told, and not before: what waits for a channel or the end of quiet hours is told after a start.
//! * It counts until the source is read: what comes up after that is told anew.
//!
//! # What it does not know
//!
//! When something is to be told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Mark, Notified};
use crate::model::WallMs;

/// What can be told; of what a source forgets the graver behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Telling {
    /// Nothing.
    #[default]
    Nothing,
    /// That it cannot be read.
    Fails,
    /// That it would bring much at first.
    Asks,
    /// That it will forget what was not read.
    Nears,
    /// That it may have forgotten something.
    Closed,
}

/// What was told of a source, in one of the things that can be.
#[derive(Debug)]
pub(super) struct Told {
    /// The name of its mark.
    name: Arc<str>,
    telling: Telling,
    /// Of what is not remembered in the registry yet.
    notified: Option<Notified>,
    /// As it is remembered there.
    mark: Option<Vec<u8>>,
    is_recalled: bool,
}

/// What the mark says.
#[derive(Serialize, Deserialize)]
struct Remembered {
    telling: Telling,
    at: u64,
}

impl Told {
    /// Nothing yet, as far as is known before a start is recalled; this is the name of its mark.
    pub(super) fn under(name: String) -> Told {
        Told { name: name.into(), telling: Telling::Nothing, notified: None, mark: None, is_recalled: false }
    }

    /// Recalls what was told before a start of a source that was last read then.
    ///
    /// # Errors
    /// Why that cannot be read, in words.
    pub(super) fn recall(&mut self, engine: &Engine, read_at: Option<WallMs>) -> Result<(), String> {
        if self.is_recalled {
            return Ok(());
        }
        self.mark = engine.mark(&self.name).map_err(|error| error.to_string())?;
        self.is_recalled = true;
        let remembered: Option<Remembered> = self.mark.as_ref().and_then(|mark| serde_json::from_slice(mark).ok());
        let holds = |told: &Remembered| match told.telling {
            Telling::Nothing => false,
            Telling::Asks => read_at.is_none(),
            // What was read since was told of what was before.
            Telling::Fails | Telling::Nears | Telling::Closed => read_at.is_none_or(|read_at| read_at.0 <= told.at),
        };
        self.telling = remembered.filter(holds).map(|told| told.telling).unwrap_or_default();
        Ok(())
    }

    pub(super) fn telling(&self) -> Telling {
        self.telling
    }

    /// This is being told now.
    pub(super) fn tells(&mut self, telling: Telling, notified: Notified) {
        (self.telling, self.notified) = (telling, Some(notified));
    }

    /// It was read: what was told is over.
    pub(super) fn is_over(&mut self) {
        (self.telling, self.notified) = (Telling::Nothing, None);
    }

    /// Writes down what everybody was told by now. What cannot be written, as on a full disk, is tried again in the next turn.
    pub(super) fn keep(&mut self, engine: &Engine, now: WallMs) {
        let is = match self.telling {
            Telling::Nothing if self.mark.is_none() => return,
            Telling::Nothing => Vec::new(),
            telling @ (Telling::Fails | Telling::Asks | Telling::Nears | Telling::Closed) => {
                if !self.notified.as_ref().is_some_and(Notified::is_everybody) {
                    return;
                }
                // What is short and ours can always be written.
                serde_json::to_vec(&Remembered { telling, at: now.0 }).unwrap_or_default()
            }
        };
        let mark = Mark { name: self.name.clone(), was: self.mark.clone(), is: is.clone() };
        if engine.accept_marked_wait(Vec::new(), mark).is_ok() {
            self.mark = Some(is).filter(|is| !is.is_empty());
            self.notified = None;
        }
    }
}
