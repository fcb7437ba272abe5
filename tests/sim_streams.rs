//! Two registries and a network between them that loses, doubles, delays and reorders what they say, on disks that forget: each life from a seed.
//! In some of them the sender's registry is put back from an earlier copy, whatever it has sent since.
//!
//! `GONIEC_SIM_START` and `GONIEC_SIM_SEEDS` choose the seeds; a failure prints its own, and `GONIEC_SIM_START=N GONIEC_SIM_SEEDS=1` repeats it.
//! The epochs alone are drawn by chance. The controls: every planted fault is found.

#[path = "sim_streams/judge.rs"]
mod judge;
#[path = "sim_streams/leaky.rs"]
mod leaky;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use goniec::engine::{Act, Destination, Flight, Heard, Item, Received, Settings, Side, Turn};
use goniec::model::ledger::Number;
use goniec::model::stream::{self, Answer};
use goniec::model::{Backoff, Class, Failure, Outcome, Queued, Receipt, Sent, Stamp, WallMs};
use goniec::source::{Keeper, answer, is_set_back};
use goniec::store::Store;
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::transport::Batched;
use goniec::{Draft, Id, Message};
use judge::Copied;
use leaky::{Leaky, Plant};

const SEEDS: u64 = 2_000;
const TURNS: u64 = 160;
/// How long a sender waits for an answer.
const TIMEOUT_MS: u64 = 4_000;

struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        goniec::model::policy::scatter(self.0) % end.max(1)
    }

    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }
}

/// One of the two.
struct Node {
    disk: MemoryDisk,
    store: Arc<Leaky>,
    turn: Turn,
    is_sender: bool,
    plant: Plant,
}

impl Node {
    fn new(is_sender: bool, plant: Plant, syncs_lie: bool, now: Stamp) -> Node {
        let disk = MemoryDisk::new();
        let (store, turn) = open(&disk, is_sender, plant, now);
        disk.lie_about_syncs(syncs_lie);
        Node { disk, store, turn, is_sender, plant }
    }

    fn crash(&mut self, seed: u64, now: Stamp) {
        self.disk.crash(seed);
        (self.store, self.turn) = open(&self.disk, self.is_sender, self.plant, now);
    }

    /// Goes on as it was when this copy was made.
    fn restore(&mut self, backup: &MemoryDisk, now: Stamp) {
        self.disk = backup.copy();
        (self.store, self.turn) = open(&self.disk, self.is_sender, self.plant, now);
    }
}

fn open(disk: &MemoryDisk, is_sender: bool, plant: Plant, now: Stamp) -> (Arc<Leaky>, Turn) {
    let store = Arc::new(Leaky { inner: MemoryStore::open(disk).expect("opens"), plant });
    let closure = |_: &Message| ();
    let mut to = Destination { concurrency: 3, timeout_ms: TIMEOUT_MS, ..Destination::new("erp", closure) };
    if is_sender {
        let batch = Some(goniec::engine::BatchRule { max: 4, wait_ms: 0 });
        to = Destination { is_numbered: true, batch, ..Destination { name: "peer".into(), ..to } };
        to.policy.retry.attempts = 30;
        to.policy.retry.backoff = Backoff::Fixed(5_000);
    }
    let turn = Turn::open(store.clone(), vec![to], Settings::default(), Vec::new(), now).expect("opens");
    (store, turn)
}

/// What travels.
#[derive(Clone)]
enum Packet {
    Ask { question: u64, frame: Vec<u8> },
    Tell { question: u64, answer: Vec<u8> },
}

/// What the sender waits for.
enum Question {
    /// One of the frames of a flight, and which of its messages go in it.
    Frame { flight: u64, messages: Vec<usize>, epoch: u64 },
    /// The keeper's.
    Word(goniec::engine::Stream),
}

/// A flight whose frames are answered one by one.
struct Flown {
    flight: Flight,
    each: Vec<Option<Outcome>>,
    open: usize,
    until_ms: u64,
}

struct World {
    /// What the receiver's disk calls safe is not: what it loses is sent again, as long as nobody removed or edited it.
    lies: bool,
    /// Whether the sender is put back. Not where the receiver's disk lies: what came by a conflict has no number, and is not missed.
    is_restored: bool,
    chance: Chance,
    plant: Plant,
    mono_ms: u64,
    sender: Node,
    receiver: Node,
    keeper: Keeper,
    packets: BTreeMap<(u64, u64), Packet>,
    questions: BTreeMap<u64, Question>,
    flights: BTreeMap<u64, Flown>,
    last: u64,
    parted_until_ms: u64,
    is_quiet: bool,
    taken: Arc<Mutex<Vec<Id>>>,
    /// An earlier copy of the sender's registry.
    backup: Option<MemoryDisk>,
    /// What had arrived when the sender was put back.
    stays: BTreeSet<Copied>,
    restores: u64,
    crashes: u64,
    doubled: u64,
}

impl World {
    fn new(seed: u64, plant: Plant) -> World {
        let now = Stamp { wall: WallMs(1_790_000_000_000), mono_ms: 0 };
        let lies = plant == Plant::HolesIgnored || seed.is_multiple_of(5);
        World {
            lies,
            is_restored: !lies && (plant.is_of_restores() || seed.is_multiple_of(2)),
            chance: Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)),
            plant,
            mono_ms: 0,
            sender: Node::new(true, plant, false, now),
            receiver: Node::new(false, plant, lies, now),
            keeper: Keeper::new(vec!["peer".into()]),
            packets: BTreeMap::new(),
            questions: BTreeMap::new(),
            flights: BTreeMap::new(),
            last: 0,
            parted_until_ms: 0,
            is_quiet: false,
            taken: Arc::default(),
            backup: None,
            stays: BTreeSet::new(),
            restores: 0,
            crashes: 0,
            doubled: 0,
        }
    }

    fn now(&self) -> Stamp {
        Stamp { wall: WallMs(1_790_000_000_000 + self.mono_ms), mono_ms: self.mono_ms }
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Gives a packet to the network.
    fn send(&mut self, packet: &Packet) {
        if !self.is_quiet && self.chance.percent(12) {
            return;
        }
        let copies = if !self.is_quiet && self.chance.percent(10) { 2 } else { 1 };
        self.doubled += copies - 1;
        for _ in 0..copies {
            let delay_ms = if self.chance.percent(80) { self.chance.below(60) } else { self.chance.below(6_000) };
            let at = (self.mono_ms.max(self.parted_until_ms) + 1 + delay_ms, self.next());
            self.packets.insert(at, packet.clone());
        }
    }

    /// What people, and chance, do.
    fn event(&mut self) {
        match self.chance.below(40) {
            0 => {
                self.crashes += 1;
                let (seed, now) = (self.chance.below(u64::MAX), self.now());
                self.sender.crash(seed, now);
                self.hang_up();
            }
            1 => {
                self.crashes += 1;
                let (seed, now) = (self.chance.below(u64::MAX), self.now());
                self.receiver.crash(seed, now);
            }
            2 => self.parted_until_ms = self.mono_ms + self.chance.below(20_000),
            3..=7 => self.act(),
            8..=24 => self.hand_in(),
            25 | 26 if self.is_restored => self.backup = Some(self.sender.disk.copy()),
            27 if self.is_restored => self.restore(),
            _ => {}
        }
    }

    /// Nothing comes back to a sender that began anew.
    fn hang_up(&mut self) {
        self.questions.clear();
        self.flights.clear();
        self.keeper = Keeper::new(vec!["peer".into()]);
    }

    /// Puts the earlier copy of the sender back: what it accepted since is gone there, and its numbers are given to others.
    fn restore(&mut self) {
        let Some(backup) = self.backup.clone() else { return };
        self.restores += 1;
        self.stays.extend(self.arrived().into_keys());
        self.sender.restore(&backup, self.now());
        self.hang_up();
        let taken = std::mem::take(&mut *self.taken.lock().expect("no panic"));
        let is_left = |id: &Id| self.sender.store.find(*id).expect("reads").is_some() || self.is_known_as_removed(*id);
        let left: Vec<Id> = taken.into_iter().filter(is_left).collect();
        // What was under way then answers nobody.
        self.taken = Arc::new(Mutex::new(left));
    }

    fn hand_in(&mut self) {
        let count = 1 + self.chance.below(5);
        let drafts: Vec<Draft> =
            (0..count).map(|_| Message::to("peer").body(self.next().to_string().into_bytes())).collect();
        let taken = self.taken.clone();
        let keep = move |said: Result<Vec<Id>, goniec::Error>| {
            taken.lock().expect("no panic").extend(said.into_iter().flatten());
        };
        self.sender.turn.accept(drafts, Box::new(keep));
    }

    fn act(&mut self) {
        let count = self.taken.lock().expect("no panic").len() as u64;
        if count == 0 {
            return;
        }
        let at = usize::try_from(self.chance.below(count)).expect("small");
        let id = self.taken.lock().expect("no panic")[at];
        let act = match self.chance.below(4) {
            0 => Act::Cancel,
            1 if !self.lies => Act::Delete,
            2 if !self.lies => {
                let body = self.next().to_string().into_bytes().into();
                Act::Edit { body, content_type: None, read: None }
            }
            _ => Act::Resend(Queued::Ready),
        };
        self.sender.turn.act(id, act, Box::new(drop));
    }

    /// Lets both do what there is to do.
    fn turn(&mut self) {
        let now = self.now();
        let mut flights = Vec::new();
        self.sender.turn.turn_out(now, &mut flights).expect("turns");
        flights.into_iter().for_each(|flight| self.depart(flight));
        self.receiver.turn.turn(now).expect("turns");
        for word in self.keeper.due(&self.sender.turn, self.mono_ms, self.now().wall) {
            let ended = if self.plant == Plant::EndsNotTold { Vec::new() } else { word.ended };
            let frame = stream::encode(word.stream.epoch, word.last, &ended, &[]).expect("a frame");
            let question = self.next();
            self.questions.insert(question, Question::Word(word.stream));
            self.send(&Packet::Ask { question, frame });
        }
    }

    fn depart(&mut self, flight: Flight) {
        let number = self.next();
        let messages: Vec<Message> = flight.messages().into_iter().cloned().collect();
        let mut by_epoch: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
        for (at, message) in messages.iter().enumerate() {
            let own = Number::of(&message.envelope).expect("every message has a number");
            by_epoch.entry(own.epoch).or_default().push((at, own.n));
        }
        let open = by_epoch.len();
        for (epoch, own) in by_epoch {
            let carried: Vec<(u64, &Message)> = own.iter().map(|(at, n)| (*n, &messages[*at])).collect();
            let highest = own.iter().map(|(_, n)| *n).max().unwrap_or(0);
            let given = self.sender.turn.numbered("peer").filter(|(current, _)| *current == epoch);
            let last = given.map_or(highest, |(_, last)| last);
            let frame = stream::encode(epoch, last, &[], &carried).expect("a frame");
            let question = self.next();
            let messages = own.iter().map(|(at, _)| *at).collect();
            self.questions.insert(question, Question::Frame { flight: number, messages, epoch });
            self.send(&Packet::Ask { question, frame });
        }
        let (each, until_ms) = (vec![None; messages.len()], self.mono_ms + TIMEOUT_MS);
        self.flights.insert(number, Flown { flight, each, open, until_ms });
    }

    /// Lets arrive what is due, and gives up what is not answered in time.
    fn arrive(&mut self) {
        while let Some(first) = self.packets.first_entry().filter(|first| first.key().0 <= self.mono_ms) {
            match first.remove() {
                Packet::Ask { question, frame } => self.ask(question, &frame),
                Packet::Tell { question, answer } => self.tell(question, &answer),
            }
        }
        let late: Vec<u64> =
            self.flights.iter().filter(|(_, flown)| flown.until_ms <= self.mono_ms).map(|(n, _)| *n).collect();
        for number in late {
            let flown = self.flights.remove(&number).expect("there");
            let failure = Failure::new(Class::Timeout, Sent::Maybe, "no answer");
            let batched = Batched { request: Outcome::Failed(failure), each: flown.each };
            let now = self.now();
            self.sender.turn.land_batch(flown.flight, batched, now);
        }
    }

    /// The receiver is asked.
    fn ask(&mut self, question: u64, frame: &[u8]) {
        let frame = stream::decode(frame).expect("a frame");
        let items: Vec<Item> = frame
            .messages
            .into_iter()
            .map(|carried| {
                let mut draft = Message::to("erp").header("goniec-source", "here").body(carried.body.clone());
                draft.envelope.key = carried.envelope.key;
                Item { n: carried.n, id: carried.id, revision: carried.revision, drafts: vec![draft] }
            })
            .collect();
        let now = self.now();
        if self.plant == Plant::NoDedup {
            for item in &items {
                // As another number far away, which is new each time.
                let n = 1_000_000 + question * 10 + item.n;
                let item = Item { n, id: item.id, revision: item.revision, drafts: item.drafts.clone() };
                let one = Received {
                    source: "here".into(),
                    epoch: frame.epoch,
                    last: 0,
                    ended: Vec::new(),
                    items: vec![item],
                };
                self.receiver.turn.receive(one, Box::new(drop));
            }
        }
        let said = Arc::new(Mutex::new(None));
        let keep = said.clone();
        let received =
            Received { source: "here".into(), epoch: frame.epoch, last: frame.last, ended: frame.ended, items };
        let reply = move |heard: Result<Heard, goniec::Error>| *keep.lock().expect("no panic") = heard.ok();
        self.receiver.turn.receive(received, Box::new(reply));
        // Both of a doubled request may be in one commit.
        if self.is_quiet || self.chance.percent(70) {
            self.receiver.turn.turn(now).expect("turns");
        }
        if let Some(heard) = said.lock().expect("no panic").take() {
            self.send(&Packet::Tell { question, answer: answer(heard).encode().expect("an answer") });
        }
    }

    /// The sender hears.
    fn tell(&mut self, question: u64, bytes: &[u8]) {
        let Some(asked) = self.questions.remove(&question) else { return };
        let Answer { took, mark, highest, holes } = Answer::decode(bytes).expect("an answer");
        let took = took.into_iter().filter_map(goniec::engine::Took::of_byte).collect();
        let heard = Heard { took, mark, highest, holes };
        let (epoch, name) = match &asked {
            Question::Frame { epoch, .. } => (*epoch, "peer".into()),
            Question::Word(stream) => (stream.epoch, stream.name.clone()),
        };
        let stream = goniec::engine::Stream { side: Side::Out, name, epoch };
        let now = self.now();
        self.sender.turn.told(&stream, &heard, now.wall);
        let is_set_back = is_set_back(&heard, epoch, self.sender.turn.numbered("peer"));
        if is_set_back && self.plant != Plant::EpochKept {
            self.sender.turn.begin_epoch("peer", epoch).expect("random");
        }
        match asked {
            Question::Word(stream) => {
                let heard =
                    if self.plant == Plant::HolesIgnored { Heard { holes: Vec::new(), ..heard } } else { heard };
                self.keeper.heard(&mut self.sender.turn, &stream, &heard, now.mono_ms, now.wall).expect("reads");
            }
            Question::Frame { flight, messages, .. } => {
                let Some(flown) = self.flights.get_mut(&flight) else { return };
                for at in messages {
                    flown.each[at] = Some(Outcome::Delivered(Receipt::default()));
                }
                flown.open -= 1;
                if flown.open == 0 {
                    let flown = self.flights.remove(&flight).expect("there");
                    let batched = Batched { request: Outcome::Delivered(Receipt::default()), each: flown.each };
                    self.sender.turn.land_batch(flown.flight, batched, now);
                }
            }
        }
    }

    /// The network is sound from now on, and all that can arrive does.
    fn settle_down(&mut self) {
        self.is_quiet = true;
        self.parted_until_ms = 0;
        for _ in 0..600 {
            self.mono_ms += 2_000;
            self.arrive();
            self.turn();
            let is_done = self.flights.is_empty() && self.packets.is_empty() && self.holes().is_none();
            if is_done && self.mono_ms.is_multiple_of(3) && self.sender.turn.wakes().is_empty() {
                return;
            }
        }
    }
}

struct Ended {
    violations: Vec<String>,
    messages: usize,
    restores: u64,
    crashes: u64,
    doubled: u64,
}

fn live(seed: u64, plant: Plant) -> Ended {
    let mut world = World::new(seed, plant);
    for _ in 0..TURNS {
        world.mono_ms += 1 + world.chance.below(400);
        world.event();
        world.arrive();
        world.turn();
    }
    world.settle_down();
    let messages = world.taken.lock().expect("no panic").len();
    let World { restores, crashes, doubled, .. } = world;
    Ended { violations: world.violations(), messages, restores, crashes, doubled }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_seed_keeps_the_invariants() {
    let (start, seeds) = (number("GONIEC_SIM_START", 0), number("GONIEC_SIM_SEEDS", SEEDS));
    let live_part = |part: u64| {
        let mut sum = (0, 0, 0, 0);
        for seed in (start..start + seeds).filter(|seed| seed % 2 == part) {
            let ended = live(seed, Plant::Nothing);
            assert!(ended.violations.is_empty(), "seed {seed}: {:#?}", ended.violations);
            sum.0 += ended.messages as u64;
            sum.1 += ended.crashes;
            sum.2 += ended.doubled;
            sum.3 += ended.restores;
        }
        sum
    };
    let (one, two) = std::thread::scope(|scope| {
        let two = scope.spawn(|| live_part(1));
        let one = live_part(0);
        (one, two.join().expect("the other half of the seeds"))
    });
    let (messages, crashes, doubled, restores) = (one.0 + two.0, one.1 + two.1, one.2 + two.2, one.3 + two.3);
    println!(
        "{seeds} seeds from {start}: {messages} messages, {crashes} crashes, {restores} restores, {doubled} packets doubled"
    );
    assert!(seeds < 100 || messages / seeds >= 100, "the worlds are too empty: {messages} messages");
    assert!(seeds < 100 || crashes / seeds >= 3, "hardly anything crashes: {crashes}");
    assert!(seeds < 100 || restores * 2 >= seeds, "hardly anything is put back: {restores}");
}

/// The control of all the rest: every planted fault is found.
#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    for plant in Plant::FAULTS {
        let found =
            (0..SEEDS).find_map(|seed| live(seed, plant).violations.into_iter().next().map(|what| (seed, what)));
        match found {
            Some((seed, what)) => println!("{plant:?}: seed {seed}: {what}"),
            None => missed.push(plant),
        }
    }
    assert!(missed.is_empty(), "not found in {SEEDS} seeds: {missed:?}");
}
