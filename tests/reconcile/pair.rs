//! Two registries of one process, the first of which sends to the second by number over a network that can lie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use goniec::admin::reconcile::{Ask, Plan, Reconciler, answer};
use goniec::engine::{Act, Destination, Engine, Item, Received, Settings, Side};
use goniec::model::ledger::{End, Number, SOURCE_HEADER};
use goniec::model::ranges::{Answer, Question};
use goniec::model::{Backoff, Class, Failure, NodeTag, Outcome, Place, Queued, Sent, WallMs};
use goniec::store::Query;
use goniec::store::memory::MemoryStore;
use goniec::transport::IntoOutcome;
use goniec::{Draft, Id, Message, State};

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Arrives,
    /// It arrives with another body.
    Garbled,
    /// Another message has its number there.
    Taken,
    /// It arrives, and what it is edited to does not, though that looks so.
    Outdated,
    /// It arrives, and its sender does not hear of it.
    Unheard,
    /// The same, and a person gives it up.
    UnheardAndCancelled,
    /// It is given up before it leaves.
    Cancelled,
    /// It arrives, and is removed there,
    Removed,
    /// as it was here since;
    RemovedAndForgotten,
    /// and the other side is told that a newer one took its place;
    RemovedAndOvertaken,
    /// or it is sent again and given up, and the other side is told that.
    RemovedAndCancelled,
}

pub const FATES: [Fate; 11] = [
    Fate::Garbled,
    Fate::Taken,
    Fate::Outdated,
    Fate::Unheard,
    Fate::UnheardAndCancelled,
    Fate::Cancelled,
    Fate::Removed,
    Fate::RemovedAndForgotten,
    Fate::RemovedAndOvertaken,
    Fate::RemovedAndCancelled,
    Fate::Arrives,
];

pub struct Pair {
    pub here: Engine,
    pub there: Arc<Engine>,
}

struct Asking {
    there: Arc<Engine>,
    /// What happens before a question comes there, and before its answer is here.
    meanwhile: Box<dyn Fn() + Send + Sync>,
}

impl Ask for Asking {
    fn ask(&self, question: &Question) -> Result<Answer, String> {
        (self.meanwhile)();
        let asked = Question::decode(&question.encode().expect("bytes")).expect("a question");
        let said = answer(&self.there, &"here".into(), &asked).map_err(|error| error.to_string())?;
        (self.meanwhile)();
        Ok(Answer::decode(&said.encode().expect("bytes")).expect("an answer"))
    }
}

/// The time of day.
pub fn now() -> WallMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    WallMs(u64::try_from(since.as_millis()).expect("before the end of time"))
}

/// Takes this there, and waits until that is durable.
fn receive(there: &Engine, number: Number, (id, revision): (Id, u16), key: &str, body: &str) {
    let draft: Draft = Message::to("erp").key(key).header(SOURCE_HEADER, "here").body(body.as_bytes());
    let items = vec![Item { n: number.n, id, revision, drafts: vec![draft] }];
    hear(there, number, Vec::new(), items);
}

fn hear(there: &Engine, number: Number, ended: Vec<(u64, End)>, items: Vec<Item>) {
    let (give, take) = std::sync::mpsc::channel();
    let received = Received { source: "here".into(), epoch: number.epoch, last: number.n, ended, items };
    there.receive(received, Box::new(move |heard| give.send(heard).expect("listens")));
    take.recv().expect("answers").expect("taken");
}

/// The way there, on which messages meet their fates.
fn network(there: Arc<Engine>, fates: BTreeMap<String, Fate>) -> impl Fn(&Message) -> Outcome {
    let met: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    move |message: &Message| {
        let key = message.key().expect("a key").to_owned();
        let number = Number::of(&message.envelope).expect("numbered");
        let times = {
            let mut met = met.lock().expect("no panic");
            let times = met.entry(key.clone()).or_default();
            *times += 1;
            *times
        };
        let fate = fates.get(&key).copied().unwrap_or(Fate::Arrives);
        let body = String::from_utf8_lossy(message.body()).into_owned();
        let (id, body) = match (fate, times) {
            (Fate::Garbled, 1) => (message.id(), body + "?"),
            (Fate::Taken, 1) => (Id::compose(WallMs(9), NodeTag::new(9), Place::new(number.n, 9)), body),
            (Fate::Outdated, 2) => return ().into_outcome(),
            (_, _) => (message.id(), body),
        };
        receive(&there, number, (id, message.revision), &key, &body);
        match (fate, times) {
            (Fate::Unheard | Fate::UnheardAndCancelled, 1) => {
                Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "nobody knows"))
            }
            (_, _) => ().into_outcome(),
        }
    }
}

impl Pair {
    /// Two registries over which each of these messages has met its fate.
    pub fn with(fates: &[Fate]) -> Pair {
        let erp = Destination::new("erp", |_: &Message| ());
        let there = Engine::start(Arc::new(MemoryStore::default()), vec![erp], Settings::default(), Vec::new());
        let there = Arc::new(there.expect("starts"));
        let named: BTreeMap<String, Fate> =
            fates.iter().enumerate().map(|(number, fate)| (format!("order:{number}"), *fate)).collect();
        let send = network(there.clone(), named.clone());
        let mut peer = Destination { is_numbered: true, ..Destination::new("peer", send) };
        peer.policy.retry.backoff = Backoff::Fixed(3_600_000);
        let here = Engine::start(Arc::new(MemoryStore::default()), vec![peer], Settings::default(), Vec::new());
        let pair = Pair { here: here.expect("starts"), there };
        for (key, fate) in &named {
            let hour = if *fate == Fate::Cancelled { WallMs(u64::MAX / 2) } else { WallMs(0) };
            let draft = Message::to("peer").key(key.as_str()).not_before(hour).body(key.as_bytes());
            let id = pair.here.accept_wait(vec![draft]).expect("taken")[0];
            if *fate == Fate::Cancelled {
                pair.here.act_wait(id, Act::Cancel).expect("cancelled");
            }
        }
        pair.settle();
        let of = |fate: Fate| named.iter().filter(move |(_, own)| **own == fate).map(|(key, _)| key.clone());
        for key in of(Fate::Outdated) {
            let edit = Act::Edit { body: b"edited".to_vec().into(), content_type: None, read: None };
            for act in [Act::Resend(Queued::Held), edit, Act::Release] {
                pair.here.act_wait(id_of(&pair.here, &key), act).expect("done");
            }
        }
        pair.settle();
        for key in of(Fate::UnheardAndCancelled) {
            pair.here.act_wait(id_of(&pair.here, &key), Act::Cancel).expect("cancelled");
        }
        for (fate, end) in [
            (Fate::Removed, None),
            (Fate::RemovedAndForgotten, Some(End::Deleted)),
            (Fate::RemovedAndOvertaken, Some(End::Superseded)),
            (Fate::RemovedAndCancelled, Some(End::Cancelled)),
        ] {
            for key in of(fate) {
                pair.there.act_wait(id_of(&pair.there, &key), Act::Delete).expect("deleted");
                let id = id_of(&pair.here, &key);
                if end == Some(End::Cancelled) {
                    pair.here.act_wait(id, Act::Resend(Queued::Held)).expect("waits");
                    pair.here.act_wait(id, Act::Cancel).expect("cancelled");
                }
                let number = Number::of(&pair.here.show(id).expect("there").record.envelope).expect("numbered");
                if fate == Fate::RemovedAndForgotten {
                    pair.here.act_wait(id, Act::Delete).expect("deleted");
                }
                hear(&pair.there, number, end.map(|end| (number.n, end)).into_iter().collect(), Vec::new());
            }
        }
        pair
    }

    /// A message arrives there under a number that was never given here.
    pub fn invent(&self) {
        let (epoch, last) = self.here.numbered("peer").expect("numbered");
        let id = Id::compose(WallMs(9), NodeTag::new(9), Place::new(9, 9));
        receive(&self.there, Number { epoch, n: last + 300 }, (id, 1), "invented", "x");
    }

    /// Waits until nothing is queued or out on either side.
    pub fn settle(&self) {
        let query = Query { limit: 1_000, ..Query::default() };
        let until = Instant::now() + Duration::from_secs(20);
        // What has failed or arrived is shown as out until the scheduler has heard of it.
        let is_over = |state| !matches!(state, State::Queued(_) | State::Sending(_));
        let is_still = |engine: &Engine| {
            let all = engine.list(&query).expect("lists").messages;
            all.iter().all(|shown| is_over(shown.record.state))
        };
        while !(is_still(&self.here) && is_still(&self.there)) {
            assert!(Instant::now() < until, "something waits");
            // The pace of a loop with a deadline.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn reconciler(&self) -> Reconciler {
        self.reconciler_while(|| ())
    }

    /// One whose questions take so long that something happens meanwhile.
    pub fn reconciler_while(&self, meanwhile: impl Fn() + Send + Sync + 'static) -> Reconciler {
        let asking = Asking { there: self.there.clone(), meanwhile: Box::new(meanwhile) };
        let plan = Plan::with_registry("peer".into(), Box::new(asking));
        Reconciler::new(&self.here, vec![plan], now()).expect("begins")
    }

    /// The id of the message with this key, where it was sent.
    pub fn id(&self, key: &str) -> Id {
        id_of(&self.here, key)
    }

    /// How many messages there are on the other side.
    pub fn there(&self) -> u64 {
        self.there.list(&Query { limit: 1_000, ..Query::default() }).expect("lists").messages.len() as u64
    }

    /// The streams that the first side sends.
    pub fn streams(&self) -> usize {
        self.here.streams().iter().filter(|shown| shown.stream.side == Side::Out).count()
    }
}

fn id_of(engine: &Engine, key: &str) -> Id {
    let all = engine.list(&Query { limit: 1_000, ..Query::default() }).expect("lists").messages;
    let own = all.iter().find(|shown| shown.record.envelope.key.as_deref() == Some(key));
    own.unwrap_or_else(|| panic!("{key} is not there")).record.id
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.here.shutdown(Duration::from_secs(5)).expect("ends");
        self.there.shutdown(Duration::from_secs(5)).expect("ends");
    }
}
