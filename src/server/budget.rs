//! The memory for request bodies: one room for many, in which who holds much makes way for who holds little.
//!
//! # What holds
//!
//! * The bodies in a room have no more bytes together than the room has.
//! * Where it is full, who holds most makes way: of the bodies that are still being read, the largest of the party with the most bytes. So who holds less
//!   than an equal share is not turned away for what others hold back, whoever came first and however long they take.
//!
//! # What it does not know
//!
//! How bodies come, and what is in them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::listen::neighbourhood;
use super::problem::Problem;

/// The bytes of bodies that may be in memory at once.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_max: usize,
    room: RefCell<Room>,
}

/// What is in memory.
#[derive(Debug, Default)]
struct Room {
    bytes: usize,
    bodies: BTreeMap<u64, Held>,
    next: u64,
}

/// For whom bodies are held: the source, where it is one, and its address.
type Party = (Option<Arc<str>>, IpAddr);

/// What is held of one body.
#[derive(Debug)]
struct Held {
    party: Party,
    bytes: usize,
    /// Whom to tell that it makes way, while it is being read.
    reader: Option<Rc<Notify>>,
}

/// The part of one body in the budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Part {
    budget: Rc<Budget>,
    number: u64,
    must_go: Rc<Notify>,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Budget {
        Budget { bytes_max, room: RefCell::default() }
    }

    /// A part for one more body, of which nothing has come yet.
    pub(super) fn part(self: &Rc<Self>, source: Option<Arc<str>>, peer: IpAddr) -> Part {
        let mut room = self.room.borrow_mut();
        let (number, must_go) = (room.next, Rc::new(Notify::new()));
        let held = Held { party: (source, neighbourhood(peer)), bytes: 0, reader: Some(Rc::clone(&must_go)) };
        room.next += 1;
        room.bodies.insert(number, held);
        Part { budget: Rc::clone(self), number, must_go }
    }
}

impl Part {
    /// Takes so many bytes more.
    ///
    /// # Errors
    /// The room is full, and it is this body that makes way.
    pub(super) fn grow(&self, bytes: usize) -> Result<(), Problem> {
        let mut room = self.budget.room.borrow_mut();
        let own = room.bodies.get_mut(&self.number).filter(|own| own.reader.is_some()).ok_or_else(crowded)?;
        own.bytes = own.bytes.saturating_add(bytes);
        room.bytes = room.bytes.saturating_add(bytes);
        while room.bytes > self.budget.bytes_max {
            let number = room.heaviest().unwrap_or(self.number);
            let reader = room.empty(number);
            if number == self.number {
                return Err(crowded());
            }
            if let Some(reader) = reader {
                reader.notify_one();
            }
        }
        Ok(())
    }

    /// Ends with the reason once this body has to make way.
    pub(super) async fn makes_way(&self) -> Problem {
        self.must_go.notified().await;
        crowded()
    }

    /// All of it has come: it makes way for nobody.
    pub(super) fn complete(&self) {
        if let Some(own) = self.budget.room.borrow_mut().bodies.get_mut(&self.number) {
            own.reader = None;
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut room = self.budget.room.borrow_mut();
        room.empty(self.number);
        room.bodies.remove(&self.number);
    }
}

impl Room {
    /// Of the bodies that are being read, the largest of the party that holds most.
    fn heaviest(&self) -> Option<u64> {
        let mut parties: HashMap<&Party, usize> = HashMap::new();
        for held in self.bodies.values() {
            *parties.entry(&held.party).or_default() += held.bytes;
        }
        let read = self.bodies.iter().filter(|(_, held)| held.reader.is_some() && held.bytes > 0);
        let heaviest = read.max_by_key(|(number, held)| (parties.get(&held.party), held.bytes, **number));
        heaviest.map(|(number, _)| *number)
    }

    /// Takes its bytes from a body; who reads it is to be told.
    fn empty(&mut self, number: u64) -> Option<Rc<Notify>> {
        let held = self.bodies.get_mut(&number)?;
        self.bytes = self.bytes.saturating_sub(std::mem::take(&mut held.bytes));
        held.reader.take()
    }
}

fn crowded() -> Problem {
    Problem::crowded("there are too many request bodies at once")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of this party that holds so many bytes, or none where it made way at once.
    fn holding(budget: &Rc<Budget>, source: &str, host: u8, bytes: usize) -> Option<Part> {
        let part = budget.part(Some(Arc::from(source)), [127, 0, 0, host].into());
        part.grow(bytes).is_ok().then_some(part)
    }

    #[test]
    fn who_holds_most_makes_way_and_who_holds_little_never() {
        let budget = Rc::new(Budget::new(1_000));
        let peer: Vec<Part> = (0..5).filter_map(|_| holding(&budget, "peer", 1, 100)).collect();
        let shop = holding(&budget, "shop", 1, 10).expect("room is left");
        let stranger = holding(&budget, "shop", 2, 490).expect("room is left");
        let late = holding(&budget, "shop", 1, 20).expect("the peer holds more");
        assert!(peer[4].grow(1).is_err(), "the last of equals made way");
        assert!(peer[..4].iter().chain([&shop, &late]).all(|part| part.grow(1).is_ok()));
        assert!(holding(&budget, "shop", 1, 300).is_some() && stranger.grow(1).is_err(), "now the stranger holds most");
        drop((peer, shop, stranger, late));
        assert_eq!((budget.room.borrow().bytes, budget.room.borrow().bodies.len()), (0, 0));
    }

    #[test]
    fn what_is_whole_makes_way_for_nobody_and_what_is_too_much_for_the_room_makes_way_itself() {
        let budget = Rc::new(Budget::new(1_000));
        let whole = holding(&budget, "peer", 1, 900).expect("an empty room");
        whole.complete();
        assert!(holding(&budget, "shop", 1, 101).is_none() && holding(&budget, "shop", 1, 100).is_some());
        assert!(holding(&budget, "peer", 2, 2_000).is_none());
        drop(whole);
        assert!(holding(&budget, "shop", 1, 1_000).is_some());
    }
}
