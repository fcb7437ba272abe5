//! Destinations that are asked whether they have a message before it is sent again: lost answers, dead processes, people who know better.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goniec::engine::{Act, Alert, Channel, Destination, Flight, Rule, Settings, Shown, Turn};
use goniec::model::policy::scatter;
use goniec::model::{
    Attempt, Backoff, Class, Delivery, Failed, Failure, OnUncertain, Outcome, Policy, Queued, Receipt, Retry, Sent,
    Stamp, State, WallMs,
};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::transport::{Probed, Transport};
use goniec::{Error, Id, Message};

const HOUR_MS: u64 = 3_600_000;

/// What becomes of a message on its way.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// It arrives, and the answer comes home.
    Arrives,
    /// It arrives, and the answer is lost.
    AnswerLost,
    /// It is lost with the connection.
    Lost,
    /// There is no connection.
    Refused,
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy)]
enum Question {
    /// It is answered, and the answer is true.
    Answered,
    /// Nobody is there.
    Unreachable,
    /// The answer does not tell.
    Unknowable,
}

/// A bank with a ledger: whoever sends it an order twice has paid twice.
#[derive(Default)]
struct Ledger {
    has: HashMap<Id, u32>,
    ways: VecDeque<Way>,
    questions: VecDeque<Question>,
    /// What every question comes to once those above are used up.
    otherwise: Option<Question>,
    sends: u32,
    asked: u32,
}

#[derive(Clone, Default)]
struct Bank(Arc<Mutex<Ledger>>);

impl Transport for Bank {
    fn send(&self, message: &Message, _deadline: Duration) -> Outcome {
        let mut ledger = self.0.lock().expect("whole");
        ledger.sends += 1;
        let way = ledger.ways.pop_front().unwrap_or(Way::Arrives);
        if let Way::Arrives | Way::AnswerLost = way {
            *ledger.has.entry(message.id).or_default() += 1;
        }
        match way {
            Way::Arrives => Outcome::Delivered(Receipt { status: Some(201), ..Receipt::default() }),
            Way::AnswerLost | Way::Lost => Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "no answer")),
            Way::Refused => Outcome::Failed(Failure::new(Class::Connect, Sent::No, "refused")),
        }
    }

    fn probe(&self, message: &Message, _deadline: Duration) -> Probed {
        let mut ledger = self.0.lock().expect("whole");
        ledger.asked += 1;
        let otherwise = ledger.otherwise.unwrap_or(Question::Answered);
        match ledger.questions.pop_front().unwrap_or(otherwise) {
            Question::Answered if ledger.has.contains_key(&message.id) => {
                let remote_id = Some("ORD-17".to_owned());
                Probed::There(Receipt { status: Some(200), remote_id, ..Receipt::default() })
            }
            Question::Answered => Probed::Absent,
            Question::Unreachable => Probed::Unknown(Failure::new(Class::Connect, Sent::No, "refused")),
            Question::Unknowable => Probed::Unknown(Failure::new(Class::Rule, Sent::Answered, "what is that?")),
        }
    }
}

impl Bank {
    fn with(ways: &[Way], questions: &[Question]) -> Bank {
        let ledger = Ledger { ways: ways.to_vec().into(), questions: questions.to_vec().into(), ..Ledger::default() };
        Bank(Arc::new(Mutex::new(ledger)))
    }

    /// How often messages were sent, how often it was asked, and how often it has the message that it has most often.
    fn counts(&self) -> (u32, u32, u32) {
        let ledger = self.0.lock().expect("whole");
        (ledger.sends, ledger.asked, ledger.has.values().copied().max().unwrap_or(0))
    }

    fn otherwise(&self, question: Question) {
        self.0.lock().expect("whole").otherwise = Some(question);
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Channel for Told {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        let detail = alert.detail.clone().unwrap_or_default();
        self.0.lock().expect("whole").push(format!("{}: {detail}", alert.reason));
        Ok(())
    }

    fn name(&self) -> String {
        "notes".into()
    }
}

/// An engine over a disk, under a clock of its own.
struct World {
    disk: MemoryDisk,
    bank: Bank,
    rule: OnUncertain,
    backoff: Backoff,
    turn: Option<Turn>,
    flights: Vec<Flight>,
    told: Told,
    now: Stamp,
}

impl World {
    fn new(bank: &Bank, rule: OnUncertain) -> World {
        let now = Stamp { wall: WallMs(1_795_435_200_000), mono_ms: 0 };
        let (disk, told, flights) = (MemoryDisk::new(), Told::default(), Vec::new());
        let backoff = Backoff::Exponential { first_ms: 2_000, max_ms: 600_000 };
        let mut world = World { disk, bank: bank.clone(), rule, backoff, turn: None, flights, told, now };
        world.start();
        world
    }

    fn start(&mut self) {
        let retry = Retry { backoff: self.backoff.clone(), jitter_permille: 0, attempts: 5 };
        let policy = Policy { retry, on_uncertain: self.rule };
        let bank = Destination { policy, ..Destination::new("bank", self.bank.clone()) };
        let told = Rule::all(self.told.clone(), 0);
        let store = Arc::new(MemoryStore::open(&self.disk).expect("opens"));
        let turn = Turn::open(store, vec![bank], Settings::default(), vec![told], self.now).expect("starts");
        self.turn = Some(turn);
    }

    /// The process dies, with whatever is out.
    fn die(&mut self, seed: u64) {
        (self.turn, self.flights) = (None, Vec::new());
        self.disk.crash(seed);
        self.start();
    }

    fn turn(&mut self) -> &mut Turn {
        self.turn.as_mut().expect("runs")
    }

    /// Lets the engine run until it has handed something over or there is nothing to do, and says until when.
    fn out(&mut self) -> Option<u64> {
        let (now, mut flights) = (self.now, Vec::new());
        let due = self.turn().turn_out(now, &mut flights).expect("turns");
        self.flights.append(&mut flights);
        due
    }

    /// Lets what is out go and come home.
    fn land(&mut self) {
        let now = self.now;
        for flight in std::mem::take(&mut self.flights) {
            let outcome = flight.send();
            self.turn().land(flight, outcome, now);
        }
    }

    fn live(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        while self.now.mono_ms < end_ms {
            let due = self.out().unwrap_or(end_ms);
            if self.flights.is_empty() {
                let by_ms = due.clamp(self.now.mono_ms + 1, end_ms) - self.now.mono_ms;
                self.now = Stamp { wall: self.now.wall.plus(by_ms), mono_ms: self.now.mono_ms + by_ms };
            }
            self.land();
        }
    }

    fn accept(&mut self, count: usize) -> Vec<Id> {
        let (give, take) = channel();
        let drafts = (0..count).map(|_| Message::to("bank").body(*b"1.00")).collect();
        self.turn().accept(drafts, Box::new(move |said| give.send(said).expect("listens")));
        self.out();
        take.try_recv().expect("answers").expect("accepts")
    }

    fn act(&mut self, id: Id, act: Act) -> Result<Shown, Error> {
        let (give, take) = channel();
        self.turn().act(id, act, Box::new(move |said| give.send(said).expect("listens")));
        self.out();
        take.try_recv().expect("answers")
    }

    fn state(&mut self, id: Id) -> State {
        let now = self.now.wall;
        self.turn().show(id, now).expect("shows").record.state
    }

    fn attempts(&mut self, id: Id) -> Vec<Attempt> {
        self.turn().attempts(id).expect("reads")
    }

    fn told(&self) -> Vec<String> {
        self.told.0.lock().expect("whole").clone()
    }
}

#[test]
fn what_is_there_is_not_sent_again_and_its_attempt_says_why() {
    let bank = Bank::with(&[Way::AnswerLost], &[]);
    let mut world = World::new(&bank, OnUncertain::Probe);
    let id = world.accept(1)[0];
    world.live(HOUR_MS);
    assert_eq!(world.state(id), State::Delivered);
    assert_eq!(bank.counts(), (1, 1, 1));
    let attempts = world.attempts(id);
    let outcomes: Vec<Delivery> = attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Delivery::Uncertain, Delivery::Delivered]);
    let said = "asked, the destination has the message, as ORD-17; it was not sent again.";
    assert_eq!((attempts[1].detail.as_str(), attempts[1].status), (said, Some(200)));
    // A start reads the same.
    world.die(1);
    assert_eq!(world.attempts(id), attempts);
}

#[test]
fn what_is_absent_is_sent_within_the_attempt_that_asked() {
    let bank = Bank::with(&[Way::Lost, Way::Lost], &[]);
    let mut world = World::new(&bank, OnUncertain::Probe);
    let id = world.accept(1)[0];
    world.live(HOUR_MS);
    assert_eq!(world.state(id), State::Delivered);
    assert_eq!((bank.counts(), world.attempts(id).len()), ((3, 2, 1), 3));
}

#[test]
fn what_surely_never_left_is_not_asked_after() {
    let bank = Bank::with(&[Way::Refused, Way::Refused], &[]);
    let mut world = World::new(&bank, OnUncertain::Probe);
    let id = world.accept(1)[0];
    world.live(HOUR_MS);
    assert_eq!((world.state(id), bank.counts()), (State::Delivered, (3, 0, 1)));
}

#[test]
fn a_question_that_nobody_answers_uses_up_nothing_waits_longer_each_time_and_not_for_ever() {
    let bank = Bank::with(&[Way::AnswerLost], &[]);
    bank.otherwise(Question::Unreachable);
    let mut world = World::new(&bank, OnUncertain::Probe);
    let id = world.accept(1)[0];
    world.live(6 * HOUR_MS);
    assert!(matches!(world.state(id), State::Failed(Failed::Due(_))), "an outage holds no orders");
    let (sends, asked, _) = bank.counts();
    // Doubling from 2 s to 10 min: nine steps to the longest, then six an hour.
    assert!(sends == 1 && (40..50).contains(&asked), "{asked} questions in six hours");
    let last = world.attempts(id).pop().expect("an attempt");
    assert_eq!((last.outcome, last.class, last.sent), (Delivery::Uncertain, Some(Class::Connect), Sent::Maybe));
    assert_eq!(last.detail, "asked whether the destination has the message: refused");
    assert_eq!(world.told(), Vec::<String>::new());
    // Nobody hears of it for so long only.
    world.live(18 * HOUR_MS);
    assert_eq!(world.state(id), State::Failed(Failed::Held));
    assert_eq!(world.told(), ["uncertain: asked whether the destination has the message: refused"]);
    assert_eq!(bank.counts().0, 1);
}

#[test]
fn once_it_is_back_a_destination_that_was_away_is_asked_and_has_it_once() {
    let bank = Bank::with(&[Way::AnswerLost], &[Question::Unreachable; 12]);
    let mut world = World::new(&bank, OnUncertain::Probe);
    let id = world.accept(1)[0];
    world.live(2 * HOUR_MS);
    assert_eq!((world.state(id), bank.counts()), (State::Delivered, (1, 13, 1)));
}

#[test]
fn what_cannot_be_known_waits_for_a_person_once_its_attempts_are_used_up() {
    let bank = Bank::with(&[Way::AnswerLost], &[]);
    bank.otherwise(Question::Unknowable);
    let mut world = World::new(&bank, OnUncertain::Probe);
    let id = world.accept(1)[0];
    world.live(HOUR_MS);
    assert_eq!(world.state(id), State::Failed(Failed::Held));
    assert_eq!(bank.counts(), (1, 4, 1));
    let words = "asked whether the destination has the message: what is that?";
    assert_eq!(world.told(), [format!("rule: {words}"), format!("uncertain: {words}")]);
    let shown = world.act(id, Act::Arrived).expect("a person knows");
    assert_eq!(shown.record.state, State::Delivered);
}

#[test]
fn a_start_asks_after_what_was_out_before_it_sends_anything() {
    // Where it did not arrive, it is sent once after the question.
    for arrives in [true, false] {
        let bank = Bank::default();
        let mut world = World::new(&bank, OnUncertain::Probe);
        let id = world.accept(1)[0];
        assert_eq!(world.flights.len(), 1, "it is out");
        if arrives {
            let _unheard = world.flights[0].send();
        }
        world.die(7);
        world.live(HOUR_MS);
        assert_eq!((world.state(id), bank.counts()), (State::Delivered, (1, 1, 1)), "arrives: {arrives}");
        let first = &world.attempts(id)[0];
        assert_eq!((first.class, first.outcome), (Some(Class::Interrupted), Delivery::Uncertain));
    }
}

#[test]
fn a_person_who_sends_again_is_not_asked_back_and_one_who_lets_go_on_is() {
    let start = |act: Act| {
        let bank = Bank::with(&[Way::AnswerLost], &[]);
        bank.otherwise(Question::Unreachable);
        let mut world = World::new(&bank, OnUncertain::Probe);
        let id = world.accept(1)[0];
        world.live(10);
        bank.otherwise(Question::Answered);
        world.act(id, Act::Hold).expect("holds");
        world.act(id, act).expect("acts");
        world.live(HOUR_MS);
        assert_eq!(world.state(id), State::Delivered);
        bank.counts()
    };
    assert_eq!(start(Act::Resend(Queued::Ready)), (2, 0, 2), "a person knows better");
    assert_eq!(start(Act::Release), (1, 1, 1));
}

#[test]
fn an_edit_of_what_may_be_there_holds_it() {
    let edit = || Act::Edit { body: Arc::from(*b"2.00"), content_type: None, read: None };
    for (way, expect) in [(Way::AnswerLost, State::Queued(Queued::Held)), (Way::Refused, State::Delivered)] {
        let bank = Bank::with(&[way], &[]);
        let mut world = World::new(&bank, OnUncertain::Probe);
        let id = world.accept(1)[0];
        world.live(10);
        world.act(id, edit()).expect("edits");
        world.live(HOUR_MS);
        assert_eq!((world.state(id), bank.counts().1), (expect, 0), "{way:?}");
    }
}

#[test]
fn a_message_that_goniec_never_survives_rests_and_the_others_go() {
    let bank = Bank::default();
    let mut world = World::new(&bank, OnUncertain::Probe);
    let poison = world.accept(1)[0];
    for death in 1..=3 {
        assert!(matches!(world.state(poison), State::Sending(_)), "death {death}");
        world.die(death);
        // Whatever is due goes out, and the process dies before it comes home.
        while world.flights.is_empty() && !world.state(poison).is_held() {
            let due = world.out().expect("it waits for a time");
            world.now.wall = world.now.wall.plus(due - world.now.mono_ms);
            world.now.mono_ms = due;
        }
    }
    let others = world.accept(5);
    world.live(HOUR_MS);
    assert_eq!(world.state(poison), State::Failed(Failed::Held));
    assert!(others.iter().all(|id| world.state(*id) == State::Delivered));
    let told = world.told();
    assert!(told.len() == 1 && told[0].contains("3 times in a row"), "{told:?}");
    world.act(poison, Act::Resend(Queued::Ready)).expect("a person says so");
    world.live(HOUR_MS);
    assert_eq!(world.state(poison), State::Delivered);
}

/// Lives through a schedule of lost answers, deaths and unanswered questions; how often the bank then has the message that it has most often.
fn schedule(seed: u64, rule: OnUncertain) -> u32 {
    let mut chance = seed;
    let mut below = move |limit: u64| {
        chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scatter(chance) % limit
    };
    let ways = [Way::Arrives, Way::AnswerLost, Way::AnswerLost, Way::Lost, Way::Refused];
    let questions = [Question::Answered, Question::Answered, Question::Unreachable, Question::Unknowable];
    let ways: Vec<Way> = (0..12).map(|_| ways[below(5) as usize]).collect();
    let questions: Vec<Question> = (0..12).map(|_| questions[below(4) as usize]).collect();
    let bank = Bank::with(&ways, &questions);
    let mut world = World::new(&bank, rule);
    let ids = world.accept(4);
    for _ in 0..6 {
        world.live(below(30_000));
        world.out();
        if below(2) == 0 {
            // Some of what is out arrives, and nobody hears of it.
            let flights = std::mem::take(&mut world.flights);
            flights.iter().filter(|_| below(2) == 0).for_each(|flight| drop(flight.send()));
            drop(flights);
            world.die(seed);
        } else {
            world.land();
        }
    }
    world.live(24 * HOUR_MS);
    for id in ids {
        let state = world.state(id);
        let ends = state.is_final() || state.is_held();
        assert!(ends, "seed {seed}: {id} stands at {state}");
        let is_there = bank.0.lock().expect("whole").has.contains_key(&id);
        assert!(is_there || state != State::Delivered, "seed {seed}: {id} is delivered and not there");
        // Where nobody asks, a message that is there may be given up.
        let is_honest = !is_there || state == State::Delivered || state.is_held();
        assert!(is_honest || rule == OnUncertain::Retry, "seed {seed}: {id} is there, and {state}");
    }
    bank.counts().2
}

#[test]
fn nothing_arrives_twice_whatever_is_lost_and_whenever_goniec_dies() {
    let mut twice_when_retried = 0;
    for seed in 0..200 {
        let most = schedule(seed, OnUncertain::Probe);
        assert!(most <= 1, "seed {seed}: a message is there {most} times");
        // The control: the same schedule where nobody asks.
        twice_when_retried += u32::from(schedule(seed, OnUncertain::Retry) > 1);
    }
    println!("200 seeds: {twice_when_retried} of them bring a message twice where nobody asks");
    assert!(twice_when_retried > 100, "the schedules are too kind: {twice_when_retried}");
}
