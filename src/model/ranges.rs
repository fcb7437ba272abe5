//! Where the ledgers of both sides of a stream differ, found by asking for as little as that takes.
//!
//! Pages are the leaves of a tree with sixteen branches at each fork. A side says of a fork how each of its branches looks in short; whoever asks goes
//! on only where that is not what it has itself, and takes the entries of a page that differs.
//!
//! ```text
//! question   forks and pages                         answer   for a fork sixteen prints, for a page what is said of each number
//! ```
//!
//! # What holds
//!
//! * What is answered costs no more than [`NODES_MAX`] pages, whatever is asked; what is asked ends, whatever is answered: the way is down, and each page
//!   is asked for once.
//! * An answer that has another form than its question is refused.
//! * Of each fork and page this side is read before the other is asked: what only arrives meanwhile never looks as if it had been lost.
//!
//! # What it does not know
//!
//! How questions travel, and what a difference means.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};
use super::ledger::{Entry, Print, UNSAID, first_of};

/// How many branches a fork has.
const BRANCHES: u64 = 16;
/// How many forks and pages one question names at most.
pub const NODES_MAX: usize = 64;
/// The highest fork, and the pages that it spans: more than there ever are.
const LEVEL_MAX: u8 = 10;
const PAGES_MAX: u64 = BRANCHES.pow(LEVEL_MAX as u32);
/// The most questions of a comparison: more than as many differences need.
const QUESTIONS_MAX: usize = 40_000;
/// After how many differences no more are looked for.
pub const DIFFERENCES_MAX: usize = 100_000;

const OTHER_FORM: &str = "the answer has another form than the question";

/// The content type of questions and answers.
pub const CONTENT_TYPE: &str = "application/vnd.goniec.ranges";

/// One side of a stream.
pub trait Ranges {
    /// What hinders a read.
    type Error;

    /// How many pages there are: one more than the highest.
    fn pages(&self) -> u64;
    /// These pages in short.
    fn print(&self, pages: Range<u64>) -> Print;
    /// What is said of each number of a page, [`Entry::said`].
    ///
    /// # Errors
    /// What hinders the read.
    fn said(&self, page: u64) -> Result<Vec<u64>, Self::Error>;
}

/// A fork or a page of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// How far up it is; 0 for a page.
    level: u8,
    /// How many of its level are before it.
    index: u64,
}

/// What is asked of the other side.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Question {
    /// The epoch of the numbers.
    pub epoch: u64,
    /// Of which forks and pages.
    nodes: Vec<Node>,
}

/// What the other side answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// How many pages it has.
    pages: u64,
    /// What it says of each fork and page, in the order of the question.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    /// How many numbers are known of each branch, and their prints together.
    Fork(Vec<(u64, u64)>),
    /// What is said of each number.
    Page(Vec<u64>),
}

/// What both sides say of a number, where that is not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The number.
    pub n: u64,
    /// What is said here, [`Entry::said`].
    pub here: u64,
    /// What is said there.
    pub there: u64,
}

/// How two sides compare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compared {
    /// The numbers of which they do not say the same, in order.
    pub differences: Vec<Difference>,
    /// Of how many they say the same.
    pub same: u64,
    /// How many at least were not looked at, as more than [`DIFFERENCES_MAX`] differ already.
    pub unseen: u64,
}

/// Why two sides could not be compared.
#[derive(Debug)]
pub enum Broken<E> {
    /// What hinders a read on this side.
    Here(E),
    /// What hinders asking, or what is wrong with the answer, in words.
    There(String),
}

impl Node {
    /// The pages under it.
    fn pages(self) -> Range<u64> {
        let span = BRANCHES.pow(u32::from(self.level.min(LEVEL_MAX)));
        let first = self.index.saturating_mul(span);
        first..first.saturating_add(span)
    }

    /// Its branches.
    fn branches(self) -> impl Iterator<Item = Node> {
        let (level, first) = (self.level.saturating_sub(1), self.index.saturating_mul(BRANCHES));
        (first..first.saturating_add(BRANCHES)).map(move |index| Node { level, index })
    }
}

impl Question {
    /// Its bytes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }

    /// Reads one.
    ///
    /// # Errors
    /// These are the bytes of none.
    pub fn decode(bytes: &[u8]) -> Result<Question, CodecError> {
        let question: Question = codec::decode(bytes)?;
        let is_there = |node: &Node| node.level <= LEVEL_MAX && node.pages().end <= PAGES_MAX;
        let is_sound = question.nodes.len() <= NODES_MAX && question.nodes.iter().all(is_there);
        if is_sound { Ok(question) } else { Err(CodecError::Malformed("it asks for too much at once".into())) }
    }

    /// The answer of a side.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn answer<R: Ranges>(&self, side: &R) -> Result<Answer, R::Error> {
        let part = |node: &Node| {
            if node.level == 0 {
                return side.said(node.index).map(Part::Page);
            }
            let prints = node.branches().map(|branch| side.print(branch.pages()));
            Ok(Part::Fork(prints.map(|print| (print.known, print.mixed)).collect()))
        };
        let parts = self.nodes.iter().take(NODES_MAX).map(part).collect::<Result<_, _>>()?;
        Ok(Answer { pages: side.pages(), parts })
    }
}

impl Answer {
    /// Its bytes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }

    /// Reads one.
    ///
    /// # Errors
    /// These are the bytes of none.
    pub fn decode(bytes: &[u8]) -> Result<Answer, CodecError> {
        codec::decode(bytes)
    }
}

/// Of which numbers both sides say the same, and of which not, until [`DIFFERENCES_MAX`] are found; `ask` takes questions to the other side.
///
/// # Errors
/// Either side failed.
pub fn differences<R: Ranges>(
    side: &R,
    epoch: u64,
    ask: &mut dyn FnMut(&Question) -> Result<Answer, String>,
) -> Result<Compared, Broken<R::Error>> {
    let whole = ask(&Question { epoch, nodes: Vec::new() }).map_err(Broken::There)?;
    let pages = side.pages().max(whole.pages).min(PAGES_MAX);
    let level = (0..LEVEL_MAX).find(|level| Node { level: *level, index: 0 }.pages().end >= pages);
    // Each with how many numbers of it are known on the side that knows more.
    let mut open =
        if pages == 0 { Vec::new() } else { vec![(Node { level: level.unwrap_or(LEVEL_MAX), index: 0 }, 0)] };
    let (mut found, mut same, mut asked) = (Vec::new(), 0_u64, 0_usize);
    while !open.is_empty() && found.len() < DIFFERENCES_MAX {
        // The last first: so the pages of one fork are done before the next fork is opened, and what is open stays little.
        let nodes = open.split_off(open.len().saturating_sub(NODES_MAX));
        let question = Question { epoch, nodes: nodes.into_iter().map(|(node, _)| node).collect() };
        asked += 1;
        if asked > QUESTIONS_MAX {
            return Err(Broken::There("it differs without end".into()));
        }
        // This side first: what it wrote down as arrived by now, the other side has before it answers.
        let own = question.answer(side).map_err(Broken::Here)?.parts;
        let theirs = ask(&question).map_err(Broken::There)?.parts;
        if theirs.len() != own.len() {
            return Err(Broken::There(OTHER_FORM.into()));
        }
        let mut further = Vec::new();
        for (node, parts) in question.nodes.iter().zip(own.iter().zip(&theirs)) {
            match parts {
                (Part::Fork(own), Part::Fork(theirs)) if own.len() == theirs.len() => {
                    for (branch, (own, theirs)) in node.branches().zip(own.iter().zip(theirs)) {
                        match own == theirs {
                            true => same = same.saturating_add(own.0),
                            false => further.push((branch, own.0.max(theirs.0))),
                        }
                    }
                }
                (Part::Page(own), Part::Page(theirs)) if own.len() == theirs.len() => {
                    let both = (first_of(node.index)..).zip(own.iter().zip(theirs));
                    for (n, (here, there)) in both {
                        match here == there {
                            true => same += u64::from(*here != UNSAID),
                            false => found.push(Difference { n, here: *here, there: *there }),
                        }
                    }
                }
                (Part::Fork(_) | Part::Page(_), _) => return Err(Broken::There(OTHER_FORM.into())),
            }
        }
        open.append(&mut further);
    }
    found.sort_unstable();
    let unseen = open.iter().map(|(_, known)| *known).fold(0, u64::saturating_add);
    Ok(Compared { differences: found, same, unseen })
}

/// What is said of each of these entries.
pub fn said(entries: impl Iterator<Item = Entry>) -> Vec<u64> {
    entries.map(Entry::said).collect()
}

#[cfg(test)]
#[path = "ranges/tests.rs"]
mod tests;
