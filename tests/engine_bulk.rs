//! Bulk jobs and the audit log: each message once, in order, whatever is killed when; and no entry is changed unseen.

#[path = "common/shop.rs"]
mod shop;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

use goniec::engine::{
    Act, Bulk, BulkAct, By, Destination, Engine, Entry, FieldEdit, Hand, Head, Job, JobState, Settings, Turn,
};
use goniec::model::chain::Link;
use goniec::model::{Class, Failure, Outcome, Queued, Receipt, Sent, Stamp, State, WallMs};
use goniec::store::memory::{DiskFault, MemoryDisk, MemoryStore};
use goniec::store::{Batch, Note, Pattern, Query, StateName, Store};
use goniec::{Error, Id, Message};
use shop::below;

const NOON: WallMs = WallMs(1_795_435_200_000);
const RESEND: BulkAct = BulkAct::Resend(Queued::Ready);

/// A shop that refuses everything until it is mended.
#[derive(Clone, Default)]
struct Shop(Arc<AtomicU64>);

impl Shop {
    fn mend(&self) {
        self.0.store(1, Ordering::SeqCst);
    }

    fn destination(&self) -> Destination {
        let mended = self.0.clone();
        Destination::new("shop", move |_: &Message| match mended.load(Ordering::SeqCst) {
            0 => Outcome::Failed(Failure { status: Some(422), ..Failure::new(Class::Rejected, Sent::Answered, "no") }),
            _ => Outcome::Delivered(Receipt { status: Some(200), ..Receipt::default() }),
        })
    }
}

struct Day {
    disk: MemoryDisk,
    store: Arc<dyn Store>,
    turn: Turn,
    now: Stamp,
    shop: Shop,
}

impl Day {
    fn begin(disk: MemoryDisk, shop: Shop) -> Day {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::open(&disk).expect("opens"));
        let now = Stamp { wall: NOON, mono_ms: 0 };
        let turn =
            Turn::open(store.clone(), vec![shop.destination()], Settings::default(), Vec::new(), now).expect("opens");
        Day { disk, store, turn, now, shop }
    }

    /// A day with so many messages that were refused, and a shop that takes them now.
    fn with_refused(count: usize) -> (Day, Vec<Id>) {
        let mut day = Day::begin(MemoryDisk::new(), Shop::default());
        let ids = day.accept(count);
        day.shop.mend();
        (day, ids)
    }

    fn ask<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut Turn, Stamp, Box<dyn FnOnce(Result<T, Error>) + Send>),
    ) -> Result<T, Error> {
        let (give, take) = channel();
        ask(&mut self.turn, self.now, Box::new(move |said| give.send(said).expect("listens")));
        self.turn.turn(self.now).expect("turns");
        take.try_recv().expect("answers")
    }

    fn accept(&mut self, count: usize) -> Vec<Id> {
        let drafts = (0..count).map(|n| Message::to("shop").key(format!("k{n}"))).collect();
        self.ask(|turn, _, reply| turn.accept(drafts, reply)).expect("accepts")
    }

    fn bulk(&mut self, act: BulkAct, change: impl FnOnce(&mut Bulk)) -> Result<Job, Error> {
        let bulk = asked(act, change);
        self.ask(|turn, now, reply| turn.bulk(bulk, now.wall, reply))
    }

    fn pause(&mut self) {
        self.ask(|turn, _, reply| turn.steer("shop", Hand::Pause.by("anna", "inventory"), reply)).expect("pauses");
    }

    fn pass(&mut self, ms: u64) {
        self.now = Stamp { wall: self.now.wall.plus(ms), mono_ms: self.now.mono_ms + ms };
        self.turn.turn(self.now).expect("turns");
    }

    fn job(&self, number: u64) -> Job {
        self.turn.jobs().into_iter().find(|job| job.number == number).expect("there is one")
    }

    fn state(&self, id: Id) -> State {
        self.turn.show(id, self.now.wall).expect("is there").record.state
    }

    fn delivered(&self, ids: &[Id]) -> usize {
        ids.iter().filter(|id| self.state(**id) == State::Delivered).count()
    }

    /// Kills the engine at any write and begins anew, more than once, until the job has ended.
    fn kill_until_done(&mut self, number: u64, seed: u64, dice: &mut impl FnMut(u64) -> u64) {
        let mut kills = 0;
        while self.job(number).state == JobState::Running {
            self.disk.fail_write(dice(5), DiskFault::Io);
            for _ in 0..2_000 {
                self.now.mono_ms += 1;
                if self.turn.turn(self.now).is_err() || self.job(number).state != JobState::Running {
                    break;
                }
            }
            self.disk.heal();
            self.disk.crash(seed);
            kills += 1;
            assert!(kills < 300, "seed {seed}: it does not come to its end");
            *self = Day::begin(self.disk.clone(), self.shop.clone());
        }
        assert!(kills > 1, "seed {seed}: nothing was killed");
    }

    /// The whole log, the oldest first.
    fn audit(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut before = None;
        loop {
            let page = self.turn.audit(before, 7).expect("reads");
            entries.extend(page.entries.into_iter().map(|(entry, _)| entry));
            before = page.next;
            if before.is_none() {
                entries.reverse();
                return entries;
            }
        }
    }
}

fn asked(act: BulkAct, change: impl FnOnce(&mut Bulk)) -> By<Bulk> {
    let query = Query { states: vec![StateName::Abandoned], ..Query::default() };
    let mut what = Bulk { act, query, filter: "state:abandoned".into(), rate: None, count: None };
    change(&mut what);
    By { what, who: "anna".into(), why: "the mapping is mended".into() }
}

/// How often each message was acted on by a job.
fn acted(entries: &[Entry]) -> HashMap<Id, usize> {
    let mut acted = HashMap::new();
    entries.iter().flat_map(|entry| &entry.deed.messages).for_each(|id| *acted.entry(*id).or_insert(0) += 1);
    acted
}

#[test]
fn all_that_match_are_sent_again_in_order_of_acceptance_and_nothing_else() {
    let (mut day, ids) = Day::with_refused(1_001);
    let only = |bulk: &mut Bulk| bulk.query.key = Some(Pattern::Prefix("k1".into()));
    let job = day.bulk(RESEND, only).expect("begins");
    let job = day.job(job.number);
    let matched = (0..1_001).filter(|n| n.to_string().starts_with('1')).count() as u64;
    assert_eq!((job.state, job.matched, job.done, job.refused), (JobState::Done, matched, matched, 0));
    assert_eq!(day.delivered(&ids) as u64, matched);
    day.bulk(RESEND, |_| {}).expect("begins");
    assert_eq!(day.delivered(&ids), 1_001);
    let in_order: Vec<Id> = day.audit().into_iter().flat_map(|entry| entry.deed.messages).collect();
    let (first, second) = in_order.split_at(matched as usize);
    assert!(first.is_sorted() && second.is_sorted());
}

#[test]
fn a_job_survives_a_kill_at_any_write_and_acts_on_each_message_once() {
    for seed in 1..=20_u64 {
        let mut dice = below(seed * 0x9e37_79b9);
        let count = 250 + dice(700) as usize;
        let (mut day, ids) = Day::with_refused(count);
        day.pause();
        // Not by state: what the job has queued would match again.
        let job = day.bulk(RESEND, |bulk| {
            bulk.query.states.clear();
            bulk.rate = Some("1000/1s".parse().expect("a rate"));
        });
        let number = job.expect("begins").number;
        day.kill_until_done(number, seed, &mut dice);
        let acted = acted(&day.audit());
        assert!(ids.iter().all(|id| acted.get(id) == Some(&1)), "seed {seed}: left out or done twice");
        let job = day.job(number);
        assert_eq!((job.done, job.refused), (count as u64, 0), "seed {seed}");
        assert!(day.turn.verify_audit(None).expect("reads").wrong.is_none(), "seed {seed}");
        day.ask(|turn, _, reply| turn.steer("shop", Hand::Resume, reply)).expect("resumes");
        assert_eq!(day.delivered(&ids), count, "seed {seed}");
    }
}

#[test]
fn one_field_of_all_that_match_gets_another_value_once_whatever_is_killed() {
    for seed in 1..=10_u64 {
        let mut dice = below(seed * 0x9e37_79b9);
        let mut day = Day::begin(MemoryDisk::new(), Shop::default());
        let count = 220 + dice(300) as usize;
        let body = |n: usize| match n % 10 {
            0 => "no JSON".to_owned(),
            1 => format!("{{\"n\":{n},\"country\":\"PL\"}}"),
            _ => format!("{{ \"n\" : {n}e400, \"country\": \"Poland\" }}"),
        };
        let drafts = (0..count).map(|n| Message::to("shop").key(format!("k{n}")).body(body(n).into_bytes())).collect();
        let ids = day.ask(|turn, _, reply| turn.accept(drafts, reply)).expect("accepts");
        day.pause();
        let edit = FieldEdit::new("/country", Some("\"Poland\""), "\"PL\"").expect("sound");
        let job = day.bulk(BulkAct::Edit(edit), |bulk| {
            bulk.query.states.clear();
            bulk.rate = Some("1000/1s".parse().expect("a rate"));
        });
        let number = job.expect("begins").number;
        day.kill_until_done(number, seed, &mut dice);
        for (n, id) in ids.iter().enumerate() {
            let record = day.turn.show(*id, day.now.wall).expect("is there").record;
            let is_edited = n % 10 > 1;
            assert_eq!(record.revision, if is_edited { 2 } else { 1 }, "seed {seed}, message {n}");
            let revision = day.store.revision(record.place, record.revision).expect("reads").expect("is there");
            let expect = body(n).replace("Poland", "PL");
            assert_eq!(revision.body.as_deref(), Some(expect.as_bytes()), "seed {seed}, message {n}");
            assert_eq!(revision.why, if is_edited { "the mapping is mended" } else { "" });
        }
        let job = day.job(number);
        let edited = (0..count).filter(|n| n % 10 > 1).count() as u64;
        assert_eq!((job.done, job.refused), (edited, count as u64 - edited), "seed {seed}");
    }
}

#[test]
fn an_edit_of_many_large_bodies_is_written_in_steps_of_few() {
    let mut day = Day::begin(MemoryDisk::new(), Shop::default());
    let body = format!("{{\"a\":1,\"text\":\"{}\"}}", "x".repeat(1_000_000));
    let drafts = (0..20).map(|_| Message::to("shop").body(body.clone().into_bytes()));
    let drafts: Vec<_> = drafts.collect();
    for some in drafts.chunks(5) {
        day.ask(|turn, _, reply| turn.accept(some.to_vec(), reply)).expect("accepts");
    }
    let job = day.bulk(BulkAct::Edit(FieldEdit::new("/a", None, "2").expect("sound")), |_| {}).expect("begins");
    (0..100).for_each(|_| day.pass(10));
    let job = day.job(job.number);
    assert_eq!((job.state, job.done, job.refused), (JobState::Done, 20, 0));
    let most = day.audit().iter().map(|entry| entry.deed.messages.len()).max();
    assert_eq!(most, Some(5), "4 MiB of bodies, and the one that goes beyond");
}

#[test]
fn what_does_not_admit_it_is_counted_and_stays() {
    let (mut day, ids) = Day::with_refused(3);
    day.ask(|turn, _, reply| turn.act(ids[1], Act::Resend(Queued::Ready), reply)).expect("resends");
    let job = day.bulk(BulkAct::Cancel, |bulk| bulk.query.states.clear()).expect("begins");
    let job = day.job(job.number);
    assert_eq!((job.done, job.refused), (0, 3));
    assert!(job.detail.is_some_and(|why| why.contains("does not admit")));
    assert_eq!(day.state(ids[1]), State::Delivered);
    let job = day.bulk(BulkAct::Delete, |bulk| bulk.query.states.clear()).expect("begins");
    assert_eq!(day.job(job.number).done, 3);
    assert!(ids.iter().all(|id| day.turn.show(*id, day.now.wall).is_err()));
}

#[test]
fn what_matches_no_longer_when_its_turn_comes_is_left_alone() {
    let (mut day, ids) = Day::with_refused(3);
    let job = day.bulk(BulkAct::Delete, |bulk| bulk.rate = Some("1/1s".parse().expect("a rate"))).expect("begins");
    // A person sends the last one again while the job deletes the others.
    day.ask(|turn, _, reply| turn.act(ids[2], Act::Resend(Queued::Ready), reply)).expect("resends");
    (0..500).for_each(|_| day.pass(10));
    let job = day.job(job.number);
    assert_eq!((job.state, job.done, job.refused), (JobState::Done, 2, 1));
    assert!(job.detail.is_some_and(|why| why.contains("no longer matches")));
    assert_eq!(day.state(ids[2]), State::Delivered);
}

#[test]
fn words_that_no_note_can_hold_are_refused_and_stop_nothing() {
    let (mut day, ids) = Day::with_refused(1);
    for (filter, why) in [("x".repeat(20_000), String::new()), (String::new(), "x".repeat(2_000))] {
        let (give, take) = channel();
        let asked = asked(RESEND, |bulk| bulk.filter = filter);
        day.turn.bulk(By { why, ..asked }, NOON, Box::new(move |said| give.send(said).expect("listens")));
        assert!(matches!(take.try_recv(), Ok(Err(Error::Invalid(_)))));
    }
    let long = Act::Hold.by("anna", "x".repeat(20_000));
    let refused = day.ask(|turn, _, reply| turn.act(ids[0], long, reply));
    assert!(matches!(refused, Err(Error::Invalid(_))));
    // Every letter takes six in the note.
    let worst = |letters: usize| String::from_utf8(vec![1; letters]).expect("is text");
    let hand = Hand::Pause.by(worst(256), worst(1_024));
    day.ask(|turn, _, reply| turn.steer("shop", hand, reply)).expect("pauses");
    let bulk = day.bulk(RESEND, |bulk| bulk.filter = worst(2_048)).expect("begins");
    assert_eq!(day.job(bulk.number).state, JobState::Done);
}

#[test]
fn a_job_keeps_its_pace_and_is_cancelled_where_it_is() {
    let (mut day, ids) = Day::with_refused(100);
    let job = day.bulk(RESEND, |bulk| bulk.rate = Some("20/1s".parse().expect("a rate"))).expect("begins");
    for second in 1..=3 {
        (0..100).for_each(|_| day.pass(10));
        let done = day.delivered(&ids);
        assert!((19 * second..=20 * second + 1).contains(&done), "{done} in {second} s");
    }
    let job = day.ask(|turn, _, reply| turn.cancel_job(job.number, "ola", reply)).expect("cancels");
    assert_eq!((job.state, job.done), (JobState::Cancelled, day.delivered(&ids) as u64));
    (0..100).for_each(|_| day.pass(10));
    assert_eq!(day.delivered(&ids) as u64, job.done, "no more is sent");
    let again = day.ask(|turn, _, reply| turn.cancel_job(job.number, "ola", reply)).expect("answers");
    assert_eq!(again, job, "it is cancelled already");
    let none = day.ask(|turn, _, reply| turn.cancel_job(77, "ola", reply));
    assert!(matches!(none, Err(Error::Invalid(_))));
}

#[test]
fn what_the_person_believes_is_held_against_what_is() {
    let (mut day, ids) = Day::with_refused(5);
    let (give, take) = channel();
    let bulk = asked(RESEND, |bulk| bulk.count = Some(4));
    day.turn.bulk(bulk, NOON, Box::new(move |said| give.send(said).expect("listens")));
    assert!(matches!(take.try_recv(), Ok(Err(Error::Counted { expected: 4, found: 5 }))));
    assert_eq!((day.delivered(&ids), day.turn.jobs().len()), (0, 0));
    day.bulk(RESEND, |bulk| bulk.count = Some(5)).expect("begins");
    assert_eq!(day.delivered(&ids), 5);
}

#[test]
fn every_act_has_its_entry_and_says_who_why_and_what_it_changed() {
    let (mut day, ids) = Day::with_refused(1);
    let id = ids[0];
    let edit = Act::Edit { body: Arc::from(*b"mended"), content_type: None, read: Some(1) };
    day.ask(|turn, _, reply| turn.act(id, edit.by("anna", "a typo"), reply)).expect("edits");
    let refused = day.ask(|turn, _, reply| turn.act(id, Act::Cancel.by("anna", ""), reply));
    assert!(matches!(refused, Err(Error::Refused { .. })), "and is no entry");
    day.ask(|turn, _, reply| turn.act(id, Act::Delete.by("ola", "by mistake"), reply)).expect("deletes");
    day.pause();
    let entries = day.audit();
    let acts: Vec<(&str, &str)> = entries.iter().map(|entry| (&*entry.deed.act, &*entry.deed.who)).collect();
    assert_eq!(acts, [("edit", "anna"), ("delete", "ola"), ("pause", "anna")]);
    let deed = &entries[0].deed;
    assert_eq!((deed.key.as_deref(), &*deed.detail), (Some("k0"), "a typo"));
    let sha = |body: &[u8]| format!("sha256 {}", Link::over(body));
    let (before, after) = (deed.before.as_deref().expect("was"), deed.after.as_deref().expect("is"));
    assert!(before.starts_with("abandoned (rejected), revision 1") && before.ends_with(&sha(b"")), "{before}");
    assert!(after.starts_with("queued, revision 2") && after.ends_with(&sha(b"mended")), "{after}");
}

#[test]
fn a_change_a_cut_and_a_move_of_any_entry_are_seen() {
    let (mut day, _) = Day::with_refused(1);
    for n in 0..40 {
        let hand = if n % 2 == 0 { Hand::Pause } else { Hand::Resume };
        day.ask(|turn, _, reply| turn.steer("shop", hand.by("anna", format!("reason {n}")), reply)).expect("steers");
    }
    let sound = day.turn.verify_audit(None).expect("reads");
    assert_eq!((sound.entries, sound.head.number, sound.wrong), (40, 40, None));
    let key = |number: u64| [&b"j"[..], &number.to_be_bytes()].concat();
    let value = |number: u64| day.store.note(&key(number)).expect("reads").expect("is there");
    let write = |notes: Vec<Note>| {
        let committed = day.store.commit(&Batch { notes, ..Batch::default() }).expect("writes");
        day.store.sync(committed.number).expect("syncs");
    };
    let mut dice = below(4);
    let mut seen = 0;
    for case in 0..1_000 {
        let (one, other) = (1 + dice(40), 1 + dice(39));
        let other = other + u64::from(other >= one);
        let (old, old_other) = (value(one), value(other));
        let changed = match case % 4 {
            0 => {
                let mut bytes = old.clone();
                let at = dice(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << dice(8);
                vec![Note { key: key(one), value: bytes }]
            }
            1 => vec![Note { key: key(one), value: Vec::new() }],
            2 => vec![Note { key: key(one), value: old_other.clone() }, Note { key: key(other), value: old.clone() }],
            _ => {
                // A whole new entry with a link of its own that fits the one before.
                let before = if one == 1 { Link::START } else { link(&value(one - 1)) };
                let text = String::from_utf8(old[..old.len() - Link::BYTES].to_vec()).expect("JSON");
                let forged = text.replace("reason", "Reason").into_bytes();
                let link = before.follow(&forged);
                vec![Note { key: key(one), value: [&forged[..], &link.bytes()].concat() }]
            }
        };
        write(changed);
        let found = day.turn.verify_audit(None).expect("reads");
        assert!(found.wrong.is_some(), "case {case}: entry {one}");
        seen += 1;
        write(vec![Note { key: key(one), value: old }, Note { key: key(other), value: old_other }]);
    }
    assert_eq!((seen, day.turn.verify_audit(None).expect("reads").wrong), (1_000, None));
}

fn link(value: &[u8]) -> Link {
    let (_, link) = value.split_last_chunk::<{ Link::BYTES }>().expect("has a link");
    Link::from(*link)
}

#[test]
fn a_check_of_the_log_is_not_misled_by_what_is_done_meanwhile() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let shop = Shop::default().destination();
    let engine = Engine::start(store, vec![shop], Settings::default(), Vec::new()).expect("starts");
    let acting = engine.clone();
    let acts = std::thread::spawn(move || {
        for n in 0..400 {
            let hand = if n % 2 == 0 { Hand::Pause } else { Hand::Resume };
            acting.steer_wait("shop", hand).expect("steers");
        }
    });
    let mut checks = 0;
    while !acts.is_finished() {
        assert_eq!(engine.verify_audit(None).expect("reads").wrong, None);
        checks += 1;
    }
    acts.join().expect("acts");
    assert!(checks > 0);
    assert_eq!(engine.verify_audit(None).expect("reads").entries, 400);
}

#[test]
fn a_log_whose_end_is_lost_goes_on_and_the_loss_is_seen() {
    let (mut day, _) = Day::with_refused(1);
    (0..3).for_each(|_| day.pause());
    let lost = Note { key: b"J".to_vec(), value: Vec::new() };
    let committed = day.store.commit(&Batch { notes: vec![lost], ..Batch::default() }).expect("writes");
    day.store.sync(committed.number).expect("syncs");
    day.disk.crash(1);
    let mut day = Day::begin(day.disk.clone(), day.shop.clone());
    day.pause();
    let numbers: Vec<u64> = day.audit().iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4], "nothing is written over");
    assert_eq!(day.turn.verify_audit(None).expect("reads").wrong, None);
}

#[test]
fn a_log_that_is_cut_at_its_end_is_seen_by_who_wrote_its_end_down() {
    let (mut day, _) = Day::with_refused(1);
    (0..3).for_each(|_| day.pause());
    let head = day.turn.verify_audit(None).expect("reads").head;
    let two = link(&day.store.note(&[&b"j"[..], &2_u64.to_be_bytes()].concat()).expect("reads").expect("is there"));
    let gone = Note { key: [&b"j"[..], &3_u64.to_be_bytes()].concat(), value: Vec::new() };
    let end = Note { key: b"J".to_vec(), value: [&2_u64.to_be_bytes()[..], &two.bytes()].concat() };
    day.store.commit(&Batch { notes: vec![gone, end], ..Batch::default() }).expect("writes");
    assert_eq!(day.turn.verify_audit(None).expect("reads").wrong, None, "by itself it cannot know");
    let found = day.turn.verify_audit(Some(head)).expect("reads");
    assert_eq!(found.wrong.expect("is seen").0, 3);
    let other = Head { number: 2, link: Link::over(b"another") };
    assert_eq!(day.turn.verify_audit(Some(other)).expect("reads").wrong.expect("is seen").0, 2);
}
