//! Marks: how far a source was read stands or falls with the messages that this brought.

#[path = "common/faulty.rs"]
mod faulty;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use faulty::Faulty;
use goniec::engine::{Act, Destination, MARK_BYTES_MAX, MARK_NAME_BYTES_MAX, Mark, Reply, Settings, Turn};
use goniec::model::{Stamp, WallMs};
use goniec::store::{Query, Store, StoreError};
use goniec::{Draft, Error, Id, Message};

fn now(mono_ms: u64) -> Stamp {
    Stamp { wall: WallMs(1_790_000_000_000 + mono_ms), mono_ms }
}

fn open(store: &Arc<Faulty>) -> Turn {
    let erp = Destination::new("erp", |_: &Message| ());
    Turn::open(store.clone(), vec![erp], Settings::default(), Vec::new(), now(0)).expect("opens")
}

type Said<T> = Box<dyn Fn() -> Result<T, Error>>;

fn answer() -> (Reply<Vec<Id>>, Said<Vec<Id>>) {
    let (give, take) = std::sync::mpsc::channel();
    (Box::new(move |said| give.send(said).expect("listens")), Box::new(move || take.try_recv().expect("answered")))
}

fn ask(turn: &mut Turn, body: &str, was: Option<&str>, is: &str) -> Said<Vec<Id>> {
    let (reply, said) = answer();
    let drafts: Vec<Draft> = (!body.is_empty()).then(|| Message::to("erp").body(body.as_bytes())).into_iter().collect();
    let mark =
        Mark { name: "poll/erp".into(), was: was.map(|was| was.as_bytes().to_vec()), is: is.as_bytes().to_vec() };
    turn.accept_marked(drafts, mark, reply);
    said
}

fn mark(store: &Faulty) -> Option<String> {
    let note = store.note(b"mpoll/erp").expect("reads");
    note.map(|note| String::from_utf8(note).expect("text"))
}

fn count(store: &Faulty) -> usize {
    store.inner.list(&Query { limit: 100, ..Query::default() }).expect("lists").records.len()
}

#[test]
fn of_two_who_read_on_from_the_same_mark_one_is_refused_whole() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let asked = [ask(&mut turn, "a", None, "1"), ask(&mut turn, "b", None, "2"), ask(&mut turn, "c", Some("1"), "3")];
    turn.turn(now(1)).expect("turns");
    turn.turn(now(2)).expect("turns");
    let [first, second, third] = asked.map(|said| said());
    assert_eq!(first.expect("taken").len(), 1);
    assert!(matches!(second, Err(Error::Marked(name)) if &*name == "poll/erp"));
    assert_eq!(third.expect("taken").len(), 1);
    assert_eq!((mark(&store).as_deref(), count(&store)), (Some("3"), 2));
}

#[test]
fn a_mark_moves_without_messages_outlives_a_start_and_goes() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let said = ask(&mut turn, "", None, "7");
    turn.turn(now(1)).expect("turns");
    assert_eq!(said().expect("moved"), Vec::<Id>::new());
    let mut turn = open(&store);
    let said = ask(&mut turn, "", Some("7"), "");
    turn.turn(now(2)).expect("turns");
    assert_eq!(said().expect("moved"), Vec::<Id>::new());
    assert_eq!(mark(&store), None);
}

#[test]
fn without_room_neither_the_messages_nor_the_mark_are_kept() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    *store.room_for.lock().expect("whole") = Some(0);
    let said = ask(&mut turn, "a", None, "1");
    turn.turn(now(1)).expect("turns");
    assert!(matches!(said(), Err(Error::Store(StoreError::Full(_)))));
    *store.room_for.lock().expect("whole") = None;
    turn.turn(now(5_000)).expect("turns");
    assert_eq!((mark(&store), count(&store)), (None, 0));
    let said = ask(&mut turn, "a", None, "1");
    turn.turn(now(6_000)).expect("turns");
    said().expect("taken");
    assert_eq!((mark(&store).as_deref(), count(&store)), (Some("1"), 1));
}

#[test]
fn in_a_batch_that_is_written_item_by_item_each_mark_stays_with_its_messages() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let (reply, said) = answer();
    turn.accept(vec![Message::to("erp").not_before(WallMs(u64::MAX >> 16)).body(*b"damaged")], reply);
    turn.turn(now(1)).expect("turns");
    let id = said().expect("taken")[0];
    store.hindered.lock().expect("whole").insert(id.place());
    turn.act(id, Act::Cancel, Box::new(|said| assert!(said.is_err())));
    let said = ask(&mut turn, "a", None, "1");
    turn.turn(now(2)).expect("turns");
    assert_eq!(said().expect("taken").len(), 1);
    assert_eq!((mark(&store).as_deref(), count(&store)), (Some("1"), 2));
}

#[test]
fn a_store_that_fails_keeps_neither() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    store.fails.store(true, Ordering::SeqCst);
    let said = ask(&mut turn, "a", None, "1");
    assert!(turn.turn(now(1)).is_err());
    assert!(said().is_err());
    assert_eq!((mark(&store), count(&store)), (None, 0));
}

#[test]
fn a_mark_that_no_store_takes_is_refused_before_it_is_written() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let refused = |turn: &mut Turn, name: &str, bytes: usize| {
        let (reply, said) = answer();
        turn.accept_marked(Vec::new(), Mark { name: name.into(), was: None, is: vec![b'x'; bytes] }, reply);
        turn.turn(now(1)).expect("turns");
        said()
    };
    assert!(matches!(refused(&mut turn, "", 1), Err(Error::Invalid(_))));
    assert!(matches!(refused(&mut turn, &"n".repeat(MARK_NAME_BYTES_MAX + 1), 1), Err(Error::Invalid(_))));
    assert!(matches!(refused(&mut turn, "n", MARK_BYTES_MAX + 1), Err(Error::Invalid(_))));
    assert!(refused(&mut turn, &"n".repeat(MARK_NAME_BYTES_MAX), MARK_BYTES_MAX).is_ok());
}
