//! The four stories of docs/scenarios.md, played as the page tells them: its configuration, its scripts, against the sink. Sixty times as fast: what is a minute there is a second here.

#![cfg(feature = "cli")]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::cli::sink::{Script, Sink};
use goniec::config::{Config, Process};
use goniec::engine::Waits;
use goniec::model::span::parse_span_ms;
use goniec::model::{Abandoned, Attempt, Failed, State};
use goniec::store::memory::MemoryStore;
use goniec::{Goniec, Id, Message};

const PAGE: &str = include_str!("../docs/scenarios.md");
const PATIENCE: Duration = Duration::from_secs(40);
/// How many times as fast a story is played.
const FASTER: u64 = 60;

/// One story of the page.
struct Story {
    toml: String,
    script: String,
}

impl Story {
    fn of(title: &str) -> Story {
        let (_, from) = PAGE.split_once(&format!("\n## {title}\n")).expect("the page tells it");
        let story = from.split("\n## ").next().expect("a story");
        let block = |kind: &str| {
            let (_, from) = story.split_once(&format!("```{kind}\n")).expect("a block");
            from.split("```").next().expect("its end").to_owned()
        };
        Story { toml: faster(&block("toml"), '"'), script: faster(&block("text"), ' ') }
    }

    /// A node of this configuration, once the names of its hosts are those of these sinks.
    fn node(&self, sinks: &[(&str, &Sink)]) -> Goniec {
        let url = |toml: String, (host, sink): &(&str, &Sink)| {
            let named = format!("https://{host}.example");
            assert!(toml.contains(&named), "{host} is in the configuration");
            toml.replace(&named, &format!("http://{}", sink.addr()))
        };
        let toml = sinks.iter().fold(self.toml.clone(), url);
        let config = Config::parse(&toml, "docs/scenarios.md", &Process).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let opened = Goniec::over(Arc::new(MemoryStore::new())).settings(config.settings);
        let opened = config.destinations.into_iter().fold(opened, |opened, one| opened.with(one));
        config.alerts.into_iter().fold(opened, |opened, one| opened.alert(one)).start().expect("starts")
    }

    fn sink(&self) -> Sink {
        sink(&self.script)
    }
}

fn sink(script: &str) -> Sink {
    Sink::start("127.0.0.1:0", Script::parse(script).expect(script), None).expect("a sink")
}

/// The text with every duration a sixtieth of what it is; also the seconds of `Retry-After`. Durations stand between these.
fn faster(text: &str, between: char) -> String {
    let shorter = |word: &str| {
        let (before, span) = word.split_at(word.rfind(['/', ' ']).map_or(0, |at| at + 1));
        match parse_span_ms(span) {
            Ok(ms) => format!("{before}{}ms", ms / FASTER),
            Err(_) => word.to_owned(),
        }
    };
    let faster = text.split(between).map(shorter).collect::<Vec<_>>().join(&between.to_string());
    faster.replace("retry-after 60", "retry-after 1")
}

#[test]
fn a_minute_is_a_second() {
    assert_eq!(faster("a = \"1m\", b = \"2m30s\", c = \"x\"", '"'), "a = \"1000ms\", b = \"2500ms\", c = \"x\"");
    assert_eq!(faster("rate = \"120/1m\"; c = \"every 5m\"", '"'), "rate = \"120/1000ms\"; c = \"every 5000ms\"");
    assert_eq!(faster("from 2m until 3m -> 429 retry-after 60", ' '), "from 2000ms until 3000ms -> 429 retry-after 1");
}

fn until(what: &str, look: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < until, "{what}: waited in vain");
        // Polls until it is so; the loop has a deadline.
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn state(goniec: &Goniec, id: Id) -> State {
    goniec.get(id).expect("reads").state
}

fn attempts(goniec: &Goniec, ids: &[Id]) -> Vec<Attempt> {
    ids.iter().flat_map(|id| goniec.engine().attempts(*id).expect("reads")).collect()
}

#[test]
fn a_courier_that_is_overloaded_for_two_minutes_and_strict_for_two_more() {
    let story = Story::of("A courier that is overloaded");
    let courier = story.sink();
    let goniec = story.node(&[("courier", &courier)]);
    let labels = (0..40).map(|n| Message::to("courier").key(format!("parcel-{n}")).body(format!("{n}").into_bytes()));
    let ids = goniec.send_all(labels.collect()).expect("accepts");
    until("every label is there", || ids.iter().all(|id| state(&goniec, *id) == State::Delivered));
    let all = attempts(&goniec, &ids);
    let with = |status: u16| all.iter().filter(move |attempt| attempt.status == Some(status));
    // While it was down it was hardly asked; without the breaker these are more than forty in the first second.
    assert!(with(503).count() >= 5 && with(503).count() < 40, "{} knocks", with(503).count());
    assert!(with(429).count() >= 1, "it was strict too");
    // In the minute that it asked for, none of the labels went.
    for asked in with(429) {
        let from = asked.started_at.plus(asked.duration_ms.into());
        let inside = |one: &&Attempt| one.started_at.0 > from.0 + 100 && one.started_at.0 + 100 < from.0 + 1_000;
        assert!(!all.iter().any(|one| inside(&one)), "{asked:?}");
    }
    let figures = courier.figures();
    assert_eq!((figures.distinct, figures.duplicates), (40, 0));
    goniec.shutdown(Duration::from_secs(5)).expect("stops");
}

/// The prices that the shop holds in the end and should not, and how many requests it took.
fn prices(story: &Story, changes: u64, articles: u64, seed: u64) -> (Vec<String>, u64) {
    let shop = story.sink();
    let goniec = story.node(&[("shop", &shop)]);
    let mut dice = seed | 1;
    let mut below = move |limit: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % limit
    };
    let mut newest = BTreeMap::new();
    for block in 0..changes / 1_000 {
        let mut change = |n: u64| {
            let (key, price) = (format!("sku-{}", below(articles)), format!("price {}", block * 1_000 + n));
            newest.insert(key.clone(), price.clone());
            Message::to("shop").key(key).body(price.into_bytes())
        };
        goniec.send_all((0..1_000).map(&mut change).collect()).expect("accepts");
    }
    until("the shop is quiet", || {
        let stats = goniec.engine().stats();
        let rests = |(_, name, count): &(Arc<str>, goniec::store::StateName, u64)| {
            *count == 0 || matches!(name, goniec::store::StateName::Delivered | goniec::store::StateName::Abandoned)
        };
        stats.sending == 0 && stats.counts.iter().all(rests)
    });
    let is_wrong = |(key, price): &(&String, &String)| shop.last(key) != Some(crc32fast::hash(price.as_bytes()));
    let wrong = newest.iter().filter(is_wrong).map(|(key, price)| format!("{key} is not at {price}")).collect();
    let requests = shop.figures().requests;
    goniec.shutdown(Duration::from_secs(5)).expect("stops");
    (wrong, requests)
}

#[test]
fn ten_thousand_prices_over_five_hundred_articles_at_a_shop_that_fails_half_of_its_answers() {
    let seed = std::env::var("GONIEC_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x51ed_270b_u64);
    println!("GONIEC_SEED={seed}");
    let story = Story::of("Ten thousand prices");
    let (wrong, requests) = prices(&story, 10_000, 500, seed);
    assert_eq!(wrong, Vec::<String>::new());
    println!("{requests} requests for 10,000 changes");
    // The control: without the line of the page an old price comes back.
    let toml = story.toml.replace("latest_wins = true\n", "");
    assert_ne!(toml, story.toml);
    assert!(!prices(&Story { toml, ..story }, 2_000, 20, seed).0.is_empty());
}

#[test]
fn stock_that_fails_goes_in_the_next_cycle() {
    let story = Story::of("Stock in cycles");
    let warehouse = story.sink();
    let goniec = story.node(&[("warehouse", &warehouse)]);
    let level =
        |n: u64| Message::to("warehouse").kind("stock").key(format!("sku-{n}")).body(format!("{n}").into_bytes());
    let ids = goniec.send_all((0..20).map(level).collect()).expect("accepts");
    let of = |id: &Id| goniec.engine().show(*id).expect("reads");
    // All have failed once, and say what they wait for; what comes in meanwhile goes at once.
    until("all of them failed once", || ids.iter().all(|id| of(id).record.attempts >= 1));
    let waits: HashMap<Id, _> = ids.iter().map(|id| (*id, of(id))).collect();
    let other = goniec.send(Message::to("warehouse").kind("location").body(*b"x")).expect("accepts");
    until("the other one is there", || state(&goniec, other) == State::Delivered);
    // Unless the cycle has come already.
    let is_out = |state| matches!(state, State::Sending(_));
    for shown in waits.values().filter(|shown| shown.record.attempts == 1 && !is_out(shown.record.state)) {
        assert_eq!((shown.record.state, shown.waits_for), (State::Failed(Failed::NextCycle), Some(Waits::NextCycle)));
    }
    until("the next cycle took them", || ids.iter().all(|id| state(&goniec, *id) == State::Delivered));
    for id in &ids {
        let attempts = attempts(&goniec, &[*id]);
        assert_eq!(attempts.len(), 2);
        let late_ms = attempts[1].started_at.0 % 5_000;
        assert!(late_ms < 2_500, "begun {late_ms} ms after the cycle");
    }
    goniec.shutdown(Duration::from_secs(5)).expect("stops");
}

#[test]
fn orders_with_a_deadline_for_an_erp_that_hangs() {
    let story = Story::of("Orders for an ERP that hangs");
    let begun = Instant::now();
    let (erp, shop, chat) = (story.sink(), sink(""), sink(""));
    let goniec = story.node(&[("erp", &erp), ("shop", &shop), ("chat", &chat)]);
    let order = |n: u64| Message::to("erp").key(format!("customer-{}", n % 4)).body(format!("{n}").into_bytes());
    let orders = goniec.send_all((0..12).map(order).collect()).expect("accepts");
    let news = |n: u64| Message::to("shop").body(format!("{n}").into_bytes());
    let beside = goniec.send_all((0..200).map(news).collect()).expect("accepts");
    until("the shop has all", || beside.iter().all(|id| state(&goniec, *id) == State::Delivered));
    let is_tried = |id: &Id| !matches!(state(&goniec, *id), State::Abandoned(_));
    until("somebody was told that they are late", || chat.figures().taken >= 1);
    let told = chat.figures().taken;
    assert!(orders.iter().all(is_tried), "the orders are still tried");
    until("the deadline came", || orders.iter().all(|id| state(&goniec, *id) == State::Abandoned(Abandoned::Expired)));
    assert!(begun.elapsed() < Duration::from_secs(20), "long after three minutes: {:?}", begun.elapsed());
    until("somebody was told that they were too late", || chat.figures().taken > told);
    let all = attempts(&goniec, &orders);
    assert!(all.len() >= 8, "the first of each key were tried more than once: {}", all.len());
    assert!(all.iter().all(|attempt| attempt.duration_ms < 500 + 250), "{all:?}");
    assert!(chat.figures().requests <= 6, "one alert a cause and window, not one an order: {:?}", chat.figures());
    goniec.shutdown(Duration::from_secs(5)).expect("stops");
}
