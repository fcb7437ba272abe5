//! A store that keeps nothing: for tests of what lies in front of the engine.

use std::sync::{Arc, Mutex};

use goniec::model::WallMs;
use goniec::model::{Attempt, Id, NodeTag, Place, Record};
use goniec::store::{
    Batch, CommitNo, Committed, Count, Dest, Loaded, Moved, Page, Query, Retained, Retention, Revision, Room, Store,
    StoreError, Unfinished,
};

/// Says yes to every write and shows nothing of it.
#[derive(Default)]
pub struct NullStore {
    names: Mutex<Vec<Arc<str>>>,
    commits: Mutex<(u64, u64)>,
}

impl Store for NullStore {
    fn destination(&self, name: &str) -> Result<Dest, StoreError> {
        let mut names = self.names.lock().expect("a lock");
        let position = names.iter().position(|known| &**known == name).unwrap_or_else(|| {
            names.push(name.into());
            names.len() - 1
        });
        Ok(Dest(u16::try_from(position).expect("few names")))
    }

    fn destinations(&self) -> Vec<(Dest, Arc<str>)> {
        let names = self.names.lock().expect("a lock");
        (0..).map(Dest).zip(names.iter().cloned()).collect()
    }

    fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let mut commits = self.commits.lock().expect("a lock");
        commits.0 += 1;
        let accepted = batch.accepts.iter().map(|_| {
            commits.1 += 1;
            let place = Place::from_u64(commits.1);
            (Id::compose(batch.now, NodeTag::new(1), place), place)
        });
        let accepted = accepted.collect();
        let (moved, deleted) = (vec![Moved::Gone; batch.moves.len()], vec![false; batch.deletes.len()]);
        Ok(Committed { number: commits.0, accepted, moved, deleted })
    }

    fn sync(&self, _number: CommitNo) -> Result<(), StoreError> {
        Ok(())
    }

    fn unfinished(
        &self,
        _is_timed: &dyn Fn(Dest) -> bool,
        _each: &mut dyn FnMut(Unfinished),
    ) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn idempotent(&self, _since: WallMs, _each: &mut dyn FnMut(u64, Place)) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn note(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn notes(&self, _prefix: &[u8], _each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        Ok(())
    }

    fn untold(&self, _after: Option<Place>, _limit: usize) -> Result<Vec<Place>, StoreError> {
        Ok(Vec::new())
    }

    fn find(&self, _id: Id) -> Result<Option<Place>, StoreError> {
        Ok(None)
    }

    fn load(&self, _place: Place) -> Result<Option<Loaded>, StoreError> {
        Ok(None)
    }

    fn get(&self, _place: Place) -> Result<Option<Record>, StoreError> {
        Ok(None)
    }

    fn attempts(&self, _place: Place) -> Result<Vec<Attempt>, StoreError> {
        Ok(Vec::new())
    }

    fn revision(&self, _place: Place, _number: u16) -> Result<Option<Revision>, StoreError> {
        Ok(None)
    }

    fn list(&self, _query: &Query) -> Result<Page, StoreError> {
        Ok(Page::default())
    }

    fn counts(&self) -> Vec<Count> {
        Vec::new()
    }

    fn retain(&self, _rule: &Retention, _now: WallMs) -> Result<Retained, StoreError> {
        Ok(Retained::default())
    }

    fn room(&self) -> Room {
        Room::default()
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
