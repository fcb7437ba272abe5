//! Planted differences are found, all of them and nothing else, and little is said for it.

use super::*;
use crate::model::Place;
use crate::model::ledger::{Content, End, PAGE_NUMBERS, Page, UNSAID};

/// A ledger in memory.
#[derive(Clone)]
struct Ledger {
    pages: Vec<Page>,
    prints: Vec<Print>,
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn entry(n: u64, salt: u64) -> Entry {
    let [a, b, c, d, e, f, ..] = (n ^ (salt << 40)).to_be_bytes();
    let digest = [f, a, b, c, d ^ (n as u8), e ^ ((n >> 8) as u8)];
    Entry::There(Place::from_u64(n * 64), Content { digest, revision: 1 + salt as u16 })
}

impl Ledger {
    fn of(entries: impl Iterator<Item = Entry>) -> Ledger {
        let mut ledger = Ledger { pages: Vec::new(), prints: Vec::new() };
        for (number, entry) in entries.enumerate() {
            let (page, at) = (number / PAGE_NUMBERS, number % PAGE_NUMBERS);
            if at == 0 {
                ledger.pages.push(Page::default());
            }
            ledger.pages[page].set(at, entry);
        }
        ledger.prints = (0..).zip(&ledger.pages).map(|(number, page)| page.print(number)).collect();
        ledger
    }

    fn set(&mut self, n: u64, entry: Entry) {
        let (page, at) = ((n - 1) / 256, (n - 1) % 256);
        self.pages[page as usize].set(at as usize, entry);
        self.prints[page as usize] = self.pages[page as usize].print(page);
    }

    fn said_of(&self, n: u64) -> u64 {
        let (page, at) = ((n - 1) / 256, (n - 1) % 256);
        self.pages.get(page as usize).map_or(UNSAID, |page| page.entry(at as usize).said())
    }
}

impl Ranges for Ledger {
    type Error = String;

    fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    fn print(&self, pages: Range<u64>) -> Print {
        let end = pages.end.min(self.pages());
        (pages.start..end).fold(Print::default(), |all, page| all.and(self.prints[page as usize]))
    }

    fn said(&self, page: u64) -> Result<Vec<u64>, String> {
        let empty = Page::default();
        Ok(said(self.pages.get(page as usize).unwrap_or(&empty).entries()))
    }
}

/// Compares over the wire; the answer comes with the bytes and the questions that it took.
fn compared(here: &Ledger, there: &Ledger) -> (Compared, usize, usize) {
    let (mut bytes, mut questions) = (0, 0);
    let found = differences(here, 7, &mut |question| {
        let asked = question.encode().expect("bytes");
        let answer = Question::decode(&asked).expect("a question").answer(there)?.encode().expect("bytes");
        bytes += asked.len() + answer.len();
        questions += 1;
        Answer::decode(&answer).map_err(|error| error.to_string())
    });
    (found.expect("both can be read"), bytes, questions)
}

#[test]
fn exactly_what_was_planted_is_found() {
    let seed = std::env::var("GONIEC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_0011_u64);
    println!("seed of ranges: {seed}");
    let mut dice = Dice(seed);
    for round in 0..100 {
        let most = [3, 300, 20_000][dice.below(3) as usize];
        let count = 1 + dice.below(most);
        let here = Ledger::of((1..=count).map(|n| entry(n, 0)));
        let mut there = match dice.below(4) {
            // One side has gone on.
            0 => Ledger::of((1..=count + dice.below(9_000)).map(|n| entry(n, 0))),
            1 => Ledger::of((1..=count - dice.below(count)).map(|n| entry(n, 0))),
            _ => here.clone(),
        };
        let mut there_pages = there.pages.len() as u64 * 256;
        for _ in 0..dice.below(40) {
            there_pages = there_pages.max(1);
            let n = 1 + dice.below(there_pages);
            let planted = match dice.below(4) {
                0 => Entry::Unknown,
                1 => entry(n, 1 + dice.below(3)),
                2 => Entry::Ended(End::ALL[dice.below(6) as usize]),
                _ => entry(n, 0),
            };
            there.set(n, planted);
        }
        let numbers = 1..=here.pages.len().max(there.pages.len()) as u64 * 256;
        let expected: Vec<Difference> = numbers
            .map(|n| Difference { n, here: here.said_of(n), there: there.said_of(n) })
            .filter(|both| both.here != both.there)
            .collect();
        let same = (1..=here.pages.len() as u64 * 256).filter(|n| here.said_of(*n) != UNSAID);
        let same = same.filter(|n| here.said_of(*n) == there.said_of(*n)).count() as u64;
        let (found, ..) = compared(&here, &there);
        assert_eq!(found, Compared { differences: expected, same, unseen: 0 }, "round {round}, seed {seed}");
    }
}

/// A side that goes on while it is compared.
struct Live(std::cell::RefCell<Ledger>);

impl Ranges for Live {
    type Error = String;

    fn pages(&self) -> u64 {
        self.0.borrow().pages()
    }

    fn print(&self, pages: Range<u64>) -> Print {
        self.0.borrow().print(pages)
    }

    fn said(&self, page: u64) -> Result<Vec<u64>, String> {
        self.0.borrow().said(page)
    }
}

#[test]
fn what_arrives_between_answer_and_comparison_does_not_look_lost() {
    let mut there = Ledger::of((1..=600).map(|n| entry(n, 0)));
    let here = Live(there.clone().into());
    // Something that differs at all, so that pages are asked for.
    there.set(7, Entry::Unknown);
    let mut next = 601;
    let found = differences(&here, 7, &mut |question| {
        let answer = question.answer(&there);
        // It is taken there, and the yes of that is written down here, before anybody looks at the answer.
        for ledger in [&mut there, &mut *here.0.borrow_mut()] {
            ledger.set(next, entry(next, 0));
        }
        next += 1;
        answer
    });
    let found: Vec<u64> = found.expect("both can be read").differences.iter().map(|difference| difference.n).collect();
    assert!(next > 603, "it arrived while pages were compared");
    assert_eq!(found, [7]);
}

#[test]
fn ten_of_a_million_are_found_for_little() {
    let here = Ledger::of((1..=1_000_000).map(|n| entry(n, 0)));
    assert_eq!(compared(&here, &here).0, Compared { same: 1_000_000, ..Compared::default() });
    let mut there = here.clone();
    let planted: Vec<u64> = (0..10).map(|n| 1 + n * 99_991).collect();
    planted.iter().for_each(|n| there.set(*n, Entry::Unknown));
    let (found, bytes, questions) = compared(&here, &there);
    println!("{bytes} bytes in {questions} questions");
    assert_eq!(found.differences.iter().map(|difference| difference.n).collect::<Vec<_>>(), planted);
    assert!(bytes < 200_000, "{bytes} bytes");
    assert!(questions <= 6, "{questions} questions");
}

#[test]
fn an_answer_of_another_form_ends_the_asking() {
    let here = Ledger::of((1..=70_000).map(|n| entry(n, 0)));
    let strange: [Vec<Part>; 5] = [
        vec![],
        vec![Part::Page(vec![0; 256])],
        vec![Part::Fork(vec![(1, 1); 15])],
        vec![Part::Fork(vec![(1, 1); 17])],
        vec![Part::Fork(vec![(1, 1); 16]), Part::Fork(vec![(1, 1); 16])],
    ];
    for parts in strange {
        let mut asked = 0;
        let found = differences(&here, 7, &mut |question| {
            asked += 1;
            let parts = if question.nodes.is_empty() { Vec::new() } else { parts.clone() };
            Ok(Answer { pages: u64::MAX, parts })
        });
        assert!(matches!(found, Err(Broken::There(_))), "{parts:?}");
        assert!(asked <= 3, "{asked}");
    }
}

#[test]
fn whoever_always_says_that_all_is_different_ends_the_asking_too() {
    let here = Ledger::of((1..=70_000).map(|n| entry(n, 0)));
    let mut asked = 0_u64;
    let found = differences(&here, 7, &mut |question| {
        asked += 1;
        let part = |node: &Node| match node.level {
            0 => Part::Page(vec![asked; 256]),
            _ => Part::Fork(vec![(asked, asked); 16]),
        };
        Ok(Answer { pages: u64::MAX, parts: question.nodes.iter().map(part).collect() })
    });
    // It is told that not all was looked at, however many there are said to be.
    let found = found.expect("it ends");
    assert!((DIFFERENCES_MAX..DIFFERENCES_MAX + NODES_MAX * PAGE_NUMBERS).contains(&found.differences.len()));
    assert!(found.same == 0 && found.unseen > 0, "{} are the same, {} unseen", found.same, found.unseen);
    assert!(asked < 100, "{asked}");
    let too_many = Question { epoch: 7, nodes: vec![Node { level: 0, index: 0 }; NODES_MAX + 1] };
    assert!(Question::decode(&too_many.encode().expect("bytes")).is_err());
    let too_high = Question { epoch: 7, nodes: vec![Node { level: LEVEL_MAX + 1, index: 0 }] };
    assert!(Question::decode(&too_high.encode().expect("bytes")).is_err());
}

#[test]
fn what_was_not_looked_at_is_neither_the_same_nor_different() {
    let (first, all) = (DIFFERENCES_MAX as u64, 3 * DIFFERENCES_MAX as u64);
    let here = Ledger::of((1..=all).map(|n| entry(n, 0)));
    let there = Ledger::of((1..=all + first).map(|n| if n > first { entry(n, 0) } else { entry(n, 1) }));
    let (whole, ..) = compared(&here, &there);
    assert_eq!(whole.differences.len() as u64 + whole.same + whole.unseen, all + first, "each is counted once");
    assert!(whole.differences.len() >= DIFFERENCES_MAX && whole.unseen > 0, "{}", whole.differences.len());
    let really = (1..=all).filter(|n| here.said_of(*n) == there.said_of(*n)).count() as u64;
    assert!(whole.same <= really, "{} of {really}", whole.same);
}
