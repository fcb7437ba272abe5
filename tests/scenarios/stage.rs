//! Where a scenario is played: a sink with a script, an engine with one destination that sends one message at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::cli::sink::{DO, Script, Sink};
use goniec::engine::{Destination, Settings};
use goniec::model::{Abandoned, Attempt, Backoff, Failed, Retry, State};
use goniec::store::memory::MemoryStore;
use goniec::transport::http::{EXCERPT_BYTES_MAX, Http};
use goniec::{Goniec, Id, Message, Record};

/// Whatever is waited for comes within this time, on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// By how much an attempt may be late.
const SLACK_MS: u64 = 250;
/// Larger than what the sockets between two processes hold.
const BIG_BYTES: usize = 12 << 20;

/// One scenario.
pub struct Scenario {
    /// A line of a script: what the sink does with the first attempt.
    pub rule: &'static str,
    /// How long an attempt may take.
    pub timeout_ms: u64,
    /// Whether the message is larger than the sockets between both.
    pub is_big: bool,
    /// What the first attempt is written down as: outcome, class, whether bytes left, status.
    pub first: &'static str,
    /// What the message is then, and after how many attempts.
    pub then: &'static str,
}

/// A scenario of a small message and a patient destination.
pub const fn scene(rule: &'static str, first: &'static str, then: &'static str) -> Scenario {
    Scenario { rule, timeout_ms: 5_000, is_big: false, first, then }
}

impl Scenario {
    pub const fn within(self, timeout_ms: u64) -> Scenario {
        Scenario { timeout_ms, ..self }
    }

    pub const fn big(self) -> Scenario {
        Scenario { is_big: true, ..self }
    }
}

/// A sink and an engine that delivers to it.
pub struct Stage {
    pub sink: Sink,
    pub goniec: Goniec,
}

impl Stage {
    pub fn new(script: &str, timeout_ms: u64) -> Stage {
        Stage::with(script, |shop| shop.timeout_ms = timeout_ms)
    }

    pub fn with(script: &str, rule: impl FnOnce(&mut Destination)) -> Stage {
        let sink = Sink::start("127.0.0.1:0", Script::parse(script).expect(script), None).expect("a sink");
        let mut shop = Destination::new("shop", Http::post(&format!("http://{}/", sink.addr())));
        shop.concurrency = 1;
        shop.policy.retry = Retry { backoff: Backoff::Fixed(20), jitter_permille: 0, attempts: 30 };
        rule(&mut shop);
        let settings = Settings { body_bytes_max: 16 << 20, ..Settings::default() };
        let opened = Goniec::over(Arc::new(MemoryStore::new())).with(shop).settings(settings);
        Stage { sink, goniec: opened.start().expect("starts") }
    }

    pub fn send(&self, body: impl Into<Vec<u8>>) -> Id {
        self.goniec.send(Message::to("shop").key("k").body(body.into())).expect("accepts")
    }

    pub fn attempts(&self, id: Id) -> Vec<Attempt> {
        self.goniec.engine().attempts(id).expect("reads")
    }

    /// The record, once `look` says yes to it.
    pub fn until(&self, id: Id, look: impl Fn(&Record) -> bool) -> Record {
        let until = Instant::now() + PATIENCE;
        loop {
            let record = self.goniec.get(id).expect("reads");
            if look(&record) {
                return record;
            }
            assert!(Instant::now() < until, "waited in vain: {:?}, {:?}", record.state, self.attempts(id));
            // Polls until it is so; the loop has a deadline.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How often the head of this message came to the sink.
    pub fn came(&self, id: Id) -> u64 {
        self.sink.times(&uuid::Uuid::from_bytes(id.to_bytes()).hyphenated().to_string())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.goniec.shutdown(Duration::ZERO).expect("stops");
    }
}

/// Whether a message rests: nothing happens to it any more.
pub fn rests(record: &Record) -> bool {
    matches!(record.state, State::Delivered | State::Abandoned(_) | State::Failed(Failed::Held))
}

fn first(attempt: &Attempt) -> String {
    let class = attempt.class.map_or("-", |class| class.name());
    let status = attempt.status.map_or("-".to_owned(), |status| status.to_string());
    format!("{} {class} {} {status}", attempt.outcome.name(), attempt.sent.name())
}

fn then(record: &Record) -> String {
    let state = match record.state {
        State::Abandoned(Abandoned::Rejected) => "rejected".to_owned(),
        State::Delivered => "delivered".to_owned(),
        other => format!("{other:?}"),
    };
    format!("{state} {}", record.attempts)
}

/// Plays them all, and says everything that went otherwise.
pub fn play(scenes: &[Scenario]) {
    let wrong: Vec<String> = scenes.iter().flat_map(|scene| played(scene).err()).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn played(scene: &Scenario) -> Result<(), String> {
    let stage = Stage::new(scene.rule, scene.timeout_ms);
    let id = stage.send(vec![b'x'; if scene.is_big { BIG_BYTES } else { 9 }]);
    let record = stage.until(id, rests);
    let attempts = stage.attempts(id);
    let (came_first, came_then) = (first(&attempts[0]), then(&record));
    if (&*came_first, &*came_then) != (scene.first, scene.then) {
        return Err(format!("{}: {came_first}; {came_then}: {}", scene.rule, attempts[0].detail));
    }
    // The worker is there for the next one, and every request bore one of the two ids.
    let next = Message::to("shop").header(DO, "200").body(*b"next");
    let next = stage.goniec.send(next).expect("accepts");
    stage.until(next, |record| record.state == State::Delivered);
    let heads = stage.came(id) + stage.came(next);
    let unread = u64::from(scene.rule.contains("at connect") || scene.rule.contains("at byte"));
    let sent = u64::try_from(attempts.len() + 1).expect("few");
    if heads + unread != sent {
        return Err(format!("{}: {heads} heads with the ids of {sent} attempts", scene.rule));
    }
    for attempt in &attempts {
        let late = u64::from(attempt.duration_ms) > scene.timeout_ms + SLACK_MS;
        let long = attempt.response_excerpt.as_ref().is_some_and(|text| text.len() > EXCERPT_BYTES_MAX);
        if late || long || attempt.detail.len() > 2 * EXCERPT_BYTES_MAX {
            return Err(format!("{}: late {late}, long {long}: {attempt:?}", scene.rule));
        }
    }
    Ok(())
}
