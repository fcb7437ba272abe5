//! The two nodes, and a network between them that parts them for hours, and loses, doubles, delays and reorders what they say: over simulated days.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use goniec::engine::{Flight, Heard, Item, Received, Settings, Side, Stream, StreamShown, Took, Turn};
use goniec::model::ledger::{Number, Print};
use goniec::model::ranges::{Difference, Ranges, differences, said};
use goniec::model::stream::{self, Answer};
use goniec::model::{Class, Failure, Outcome, Receipt, Sent, Stamp, WallMs};
use goniec::source::{EVERY_MS, Keeper, answer, is_set_back};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::transport::Batched;
use goniec::{Error, Message};

use crate::Plant;
use crate::systems::{Chance, ERP, PEER, SHOP, SOURCE, Systems, TIMEOUT_MS, routed};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// How often something may happen.
const STEP: u64 = 10 * MINUTE;
/// A midnight.
const BEGAN: u64 = 1_699_920_000_000;
/// How finely time passes.
const GRAIN_MS: u64 = 100;
const ARTICLES: u64 = 20;

/// A node: all of it but its disk dies in a crash.
pub struct Node {
    pub disk: MemoryDisk,
    turn: Turn,
    keeper: Keeper,
    keeps_at_ms: u64,
    flights: BTreeMap<u64, Flown>,
    questions: BTreeMap<u64, Question>,
}

/// A flight whose frames are answered one by one.
struct Flown {
    flight: Flight,
    each: Vec<Option<Outcome>>,
    open: usize,
    until_ms: u64,
}

/// What a sender waits for.
enum Question {
    /// One of the frames of a flight, and which of its messages go in it.
    Frame { flight: u64, messages: Vec<usize>, epoch: u64 },
    /// The keeper's.
    Word(Stream),
}

/// What travels to a side.
#[derive(Clone)]
struct Packet {
    to: usize,
    question: u64,
    bytes: Vec<u8>,
    is_answer: bool,
}

pub struct World {
    chance: Chance,
    plant: Plant,
    pub systems: Systems,
    mono_ms: u64,
    pub nodes: [Node; 2],
    packets: BTreeMap<(u64, u64), Packet>,
    last: u64,
    parted_until_ms: u64,
    is_quiet: bool,
    pub crashes: u64,
    pub partings: u64,
}

fn stamp(mono_ms: u64) -> Stamp {
    Stamp { wall: WallMs(BEGAN + mono_ms), mono_ms }
}

fn open(disk: MemoryDisk, side: usize, systems: &Systems, plant: Plant, now: Stamp) -> Node {
    let store = Arc::new(MemoryStore::open(&disk).expect("opens"));
    // What goes to the other node is taken over by the world before it is sent.
    let destinations = systems.destinations(side, plant, |_: &Message| ());
    let turn = Turn::open(store, destinations, Settings::default(), Vec::new(), now).expect("opens");
    let keeper = Keeper::new(vec![PEER[side].into()]);
    Node { disk, turn, keeper, keeps_at_ms: 0, flights: BTreeMap::new(), questions: BTreeMap::new() }
}

impl World {
    pub fn new(seed: u64, plant: Plant) -> World {
        let systems = Systems::new(seed);
        let nodes = [SHOP, ERP].map(|side| open(MemoryDisk::new(), side, &systems, plant, stamp(0)));
        nodes[ERP].disk.lie_about_syncs(plant == Plant::HolesIgnored);
        World {
            chance: Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)),
            plant,
            systems,
            mono_ms: 0,
            nodes,
            packets: BTreeMap::new(),
            last: 0,
            parted_until_ms: 0,
            is_quiet: false,
            crashes: 0,
            partings: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// So many days, as they are.
    pub fn live(&mut self, days: u64) {
        let mut number = 0;
        while self.mono_ms < days * 24 * HOUR {
            let hour = self.mono_ms / HOUR % 24;
            self.trade(hour, &mut number);
            self.misfortune(hour);
            self.hand_in();
            self.until(self.mono_ms + STEP);
        }
    }

    /// What is sold, and what changes in the ERP.
    fn trade(&mut self, hour: u64, number: &mut u64) {
        let mut known = self.systems.known();
        let busy = if (7..22).contains(&hour) { 60 } else { 5 };
        while self.chance.percent(busy) {
            *number += 1;
            known.order(*number);
        }
        if self.chance.percent(40) {
            for _ in 0..=self.chance.below(6) {
                let what = if self.chance.percent(50) { "price" } else { "stock" };
                known.change(&format!("{what}:sku-{}", self.chance.below(ARTICLES)));
            }
        }
    }

    /// The ERP is down at night, the shop now and then; nodes crash, and the network between them is gone for hours.
    fn misfortune(&mut self, hour: u64) {
        self.systems.known().is_down = [self.chance.percent(3), (1..5).contains(&hour)];
        match self.chance.below(100) {
            0 => self.crash(SHOP),
            1 => self.crash(ERP),
            2 => {
                self.partings += 1;
                self.parted_until_ms = self.mono_ms + HOUR + self.chance.below(4 * HOUR);
            }
            _ => {}
        }
    }

    /// Each system hands in what it has no yes for, as often as it takes; what was not written down yet dies with the node.
    fn hand_in(&mut self) {
        for side in [SHOP, ERP] {
            let waiting: Vec<_> = self.systems.known().outbox[side].clone().into_iter().collect();
            for (delivery, draft) in waiting {
                let systems = self.systems.clone();
                let heard = move |said: Result<Vec<goniec::Id>, Error>| {
                    if said.is_ok() {
                        let mut known = systems.known();
                        known.outbox[side].remove(&delivery);
                        if side == SHOP {
                            known.accepted.insert(delivery);
                        }
                    }
                };
                self.nodes[side].turn.accept(vec![draft], Box::new(heard));
            }
            if !self.is_quiet && self.chance.percent(1) {
                self.crash(side);
            }
        }
    }

    fn crash(&mut self, side: usize) {
        self.crashes += 1;
        let (now, disk) = (stamp(self.mono_ms), self.nodes[side].disk.clone());
        disk.crash(self.chance.below(u64::MAX));
        self.nodes[side] = open(disk, side, &self.systems, self.plant, now);
    }

    /// Lets happen what is due until then.
    fn until(&mut self, end_ms: u64) {
        while self.mono_ms < end_ms {
            self.arrive();
            let dues = [SHOP, ERP].map(|side| self.turn(side));
            // What is due already waits for what is out.
            let due = dues.into_iter().flatten().filter(|due| *due > self.mono_ms).min();
            let late = self.nodes.iter().flat_map(|node| node.flights.values()).map(|flown| flown.until_ms).min();
            let packet = self.packets.first_key_value().map(|((at, _), _)| *at);
            let next = [due, late, packet].into_iter().flatten().min().unwrap_or(end_ms);
            self.mono_ms = next.clamp((self.mono_ms + GRAIN_MS).min(end_ms), end_ms);
        }
    }

    /// Lets a node do what there is to do; when there will be something again.
    fn turn(&mut self, side: usize) -> Option<u64> {
        let now = stamp(self.mono_ms);
        let due = loop {
            let mut flights = Vec::new();
            let due = self.nodes[side].turn.turn_out(now, &mut flights).expect("turns");
            if flights.is_empty() {
                break due;
            }
            for flight in flights {
                if *flight.message().envelope.destination == *PEER[side] {
                    self.depart(side, flight);
                } else {
                    let batched = flight.send_batch();
                    self.nodes[side].turn.land_batch(flight, batched, now);
                }
            }
        };
        let node = &mut self.nodes[side];
        if node.keeps_at_ms > now.mono_ms {
            return due;
        }
        node.keeps_at_ms = now.mono_ms + EVERY_MS;
        for word in node.keeper.due(&node.turn, now.mono_ms, now.wall) {
            let frame = stream::encode(word.stream.epoch, word.last, &word.ended, &[]).expect("a frame");
            self.ask(side, Question::Word(word.stream), frame);
        }
        due
    }

    fn depart(&mut self, side: usize, flight: Flight) {
        let number = self.next();
        let messages: Vec<Message> = flight.messages().into_iter().cloned().collect();
        let mut by_epoch: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
        for (at, message) in messages.iter().enumerate() {
            let own = Number::of(&message.envelope).expect("every message has a number");
            by_epoch.entry(own.epoch).or_default().push((at, own.n));
        }
        let (each, until_ms) = (vec![None; messages.len()], self.mono_ms + TIMEOUT_MS);
        self.nodes[side].flights.insert(number, Flown { flight, each, open: by_epoch.len(), until_ms });
        for (epoch, own) in by_epoch {
            let carried: Vec<(u64, &Message)> = own.iter().map(|(at, n)| (*n, &messages[*at])).collect();
            let highest = own.iter().map(|(_, n)| *n).max().unwrap_or(0);
            let given = self.nodes[side].turn.numbered(PEER[side]).filter(|(current, _)| *current == epoch);
            let frame = stream::encode(epoch, given.map_or(highest, |(_, last)| last), &[], &carried).expect("a frame");
            let messages = own.iter().map(|(at, _)| *at).collect();
            self.ask(side, Question::Frame { flight: number, messages, epoch }, frame);
        }
    }

    fn ask(&mut self, from: usize, what: Question, frame: Vec<u8>) {
        let question = self.next();
        self.nodes[from].questions.insert(question, what);
        self.send(&Packet { to: 1 - from, question, bytes: frame, is_answer: false });
    }

    /// Gives a packet to the network.
    fn send(&mut self, packet: &Packet) {
        let is_parted = self.mono_ms < self.parted_until_ms;
        if !self.is_quiet && self.chance.percent(if is_parted { 60 } else { 8 }) {
            return;
        }
        let copies = if !self.is_quiet && self.chance.percent(10) { 2 } else { 1 };
        for _ in 0..copies {
            let delay_ms =
                if self.chance.percent(85) { self.chance.below(200) } else { self.chance.below(2 * TIMEOUT_MS) };
            let at = (self.mono_ms.max(self.parted_until_ms) + 1 + delay_ms, self.next());
            self.packets.insert(at, packet.clone());
        }
    }

    /// Lets arrive what is due, and gives up what is not answered in time.
    fn arrive(&mut self) {
        while let Some(first) = self.packets.first_entry().filter(|first| first.key().0 <= self.mono_ms) {
            let packet = first.remove();
            if packet.is_answer { self.hear(&packet) } else { self.receive(&packet) }
        }
        for node in &mut self.nodes {
            let is_late = |(number, flown): (&u64, &Flown)| (flown.until_ms <= self.mono_ms).then_some(*number);
            let late: Vec<u64> = node.flights.iter().filter_map(is_late).collect();
            for number in late {
                let flown = node.flights.remove(&number).expect("there");
                let failure = Failure::new(Class::Timeout, Sent::Maybe, "no answer");
                let batched = Batched { request: Outcome::Failed(failure), each: flown.each };
                node.turn.land_batch(flown.flight, batched, stamp(self.mono_ms));
            }
        }
    }

    /// A side is told what the other one sends, and answers; or it crashes, and nobody hears what it has taken.
    fn receive(&mut self, packet: &Packet) {
        let (side, from) = (packet.to, 1 - packet.to);
        let frame = stream::decode(&packet.bytes).expect("a frame");
        let mut items = Vec::new();
        for carried in frame.messages {
            let drafts = vec![routed(from, &carried.envelope, &carried.body)];
            items.push(Item { n: carried.n, id: carried.id, revision: carried.revision, drafts });
        }
        let all: Vec<_> = items.iter().map(|item| item.drafts.clone()).collect();
        let received =
            Received { source: SOURCE[from].into(), epoch: frame.epoch, last: frame.last, ended: frame.ended, items };
        let said = Arc::new(Mutex::new(None));
        let keep = said.clone();
        let reply = move |heard: Result<Heard, Error>| *keep.lock().expect("no panic") = heard.ok();
        self.nodes[side].turn.receive(received, Box::new(reply));
        self.turn(side);
        if !self.is_quiet && self.chance.below(500) == 0 {
            return self.crash(side);
        }
        let heard = said.lock().expect("no panic").take().expect("an answer");
        for (took, drafts) in heard.took.iter().zip(all) {
            if self.plant == Plant::NoDedup && *took == Took::Known {
                self.nodes[side].turn.accept(drafts, Box::new(drop));
            }
        }
        let bytes = answer(heard).encode().expect("an answer");
        self.send(&Packet { to: from, question: packet.question, bytes, is_answer: true });
    }

    /// A side hears the answer of the other one.
    fn hear(&mut self, packet: &Packet) {
        let (side, now) = (packet.to, stamp(self.mono_ms));
        let node = &mut self.nodes[side];
        let Some(asked) = node.questions.remove(&packet.question) else { return };
        let Answer { took, mark, highest, holes } = Answer::decode(&packet.bytes).expect("an answer");
        let heard = Heard { took: took.into_iter().filter_map(Took::of_byte).collect(), mark, highest, holes };
        let epoch = match &asked {
            Question::Frame { epoch, .. } => *epoch,
            Question::Word(stream) => stream.epoch,
        };
        let stream = Stream { side: Side::Out, name: PEER[side].into(), epoch };
        node.turn.told(&stream, &heard, now.wall);
        if is_set_back(&heard, epoch, node.turn.numbered(PEER[side])) {
            node.turn.begin_epoch(PEER[side], epoch).expect("random");
        }
        match asked {
            Question::Word(_) if self.plant == Plant::HolesIgnored => {}
            Question::Word(_) => {
                node.keeper.heard(&mut node.turn, &stream, &heard, now.mono_ms, now.wall).expect("reads");
            }
            Question::Frame { flight, messages, .. } => {
                let Some(flown) = node.flights.get_mut(&flight) else { return };
                for at in messages {
                    flown.each[at] = Some(Outcome::Delivered(Receipt::default()));
                }
                flown.open -= 1;
                if flown.open == 0 {
                    let flown = node.flights.remove(&flight).expect("there");
                    let batched = Batched { request: Outcome::Delivered(Receipt::default()), each: flown.each };
                    node.turn.land_batch(flown.flight, batched, now);
                }
            }
        }
    }

    /// All is well from now on, until both are at rest; whether they are.
    pub fn settle_down(&mut self) -> bool {
        self.is_quiet = true;
        self.parted_until_ms = 0;
        {
            let mut known = self.systems.known();
            (known.is_down, known.faults) = ([false; 2], 0);
        }
        for _ in 0..12 {
            self.hand_in();
            self.until(self.mono_ms + STEP);
            // What the keepers say now and then is always under way.
            let is_at_rest = |node: &Node| node.flights.is_empty() && node.turn.wakes().is_empty();
            if self.nodes.iter().all(is_at_rest) && self.holes().is_empty() {
                return true;
            }
        }
        false
    }

    fn streams(&self, side: usize, way: Side) -> Vec<StreamShown> {
        let all = self.nodes[side].turn.streams();
        all.into_iter().filter(|shown| shown.stream.side == way).collect()
    }

    /// What is missing in the streams, by what either side says.
    pub fn holes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for from in [SHOP, ERP] {
            let there = self.streams(1 - from, Side::In);
            for out in self.streams(from, Side::Out) {
                let its = there.iter().find(|shown| shown.stream.epoch == out.stream.epoch);
                if out.mark < out.last || its.map_or(0, |shown| shown.mark) < out.last {
                    found.push(format!("a hole: {out:?}, {its:?}"));
                }
            }
        }
        found
    }

    /// Where the ledgers of both differ, in both directions, and how many numbers were compared.
    pub fn differences(&self) -> (Vec<Difference>, u64) {
        let (mut found, mut compared) = (Vec::new(), 0);
        for from in [SHOP, ERP] {
            for StreamShown { stream: out, last, .. } in self.streams(from, Side::Out) {
                let into = Stream { side: Side::In, name: SOURCE[from].into(), epoch: out.epoch };
                let known = self.streams(1 - from, Side::In).into_iter().find(|shown| shown.stream == into);
                let here = Ledger::of(&self.nodes[from].turn, &out, last);
                let there = Ledger::of(&self.nodes[1 - from].turn, &into, known.map_or(0, |shown| shown.last));
                let epoch = out.epoch;
                let differ = differences(&here, epoch, &mut |question| {
                    question.answer(&there).map_err(|error| error.to_string())
                });
                found.extend(differ.unwrap_or_else(|_| panic!("the ledgers are compared")).differences);
                compared += last;
            }
        }
        (found, compared)
    }
}

/// One side of a stream.
struct Ledger<'a> {
    turn: &'a Turn,
    stream: &'a Stream,
    pages: u64,
}

impl<'a> Ledger<'a> {
    fn of(turn: &'a Turn, stream: &'a Stream, last: u64) -> Ledger<'a> {
        let pages = if last == 0 { 0 } else { stream.number(last).at().0 + 1 };
        Ledger { turn, stream, pages }
    }
}

impl Ranges for Ledger<'_> {
    type Error = Error;

    fn pages(&self) -> u64 {
        self.pages
    }

    fn print(&self, pages: Range<u64>) -> Print {
        self.turn.ledger_print(self.stream, pages)
    }

    fn said(&self, page: u64) -> Result<Vec<u64>, Error> {
        Ok(said(self.turn.ledger_page(self.stream, page)?.entries()))
    }
}
