//! The way to another registry: many numbered messages in one request, and what it says of each.
//!
//! # What holds
//!
//! * A message arrives with its number; that it was there already is an arrival.
//! * Where the other side knows numbers that were not given here, or another message under one, this registry was set back: it counts anew.
//!
//! # What it does not know
//!
//! Who goes together, and when.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::engine::{Engine, Heard, Side, Stream, Took};
use crate::model::ledger::{End, Number};
use crate::model::ranges::{self, Question};
use crate::model::stream::{self, Answer, CONTENT_TYPE};
use crate::model::{Class, Failure, Id, Message, Outcome, Receipt, Sent};
use crate::transport::http::Http;
use crate::transport::{Batched, Transport};

/// Messages of more bytes than this go in several requests; one that is larger goes alone.
const FRAME_BYTES_MAX: usize = 4 << 20;

/// The way to another registry.
#[derive(Clone)]
pub struct Peer {
    /// The name of the destination.
    pub destination: Arc<str>,
    http: Arc<Http>,
    engine: Arc<Mutex<Option<Engine>>>,
}

impl Peer {
    /// The way to the registry at the end of `http`, which signs.
    #[must_use]
    pub fn new(destination: &str, http: Http) -> Peer {
        Peer { destination: destination.into(), http: Arc::new(http), engine: Arc::default() }
    }

    /// From now on the numbers are those of this engine.
    pub fn hands_to(&self, engine: &Engine) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine.clone());
    }

    fn engine(&self) -> Option<Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says how a stream stands here, and what ended; hears how it stands there.
    ///
    /// # Errors
    /// How that failed.
    pub fn ask(&self, epoch: u64, last: u64, ended: &[(u64, End)], deadline: Duration) -> Result<Heard, Failure> {
        let (_, heard) = self.exchange(epoch, last, ended, &[], deadline)?;
        Ok(heard)
    }

    /// Asks how a stream looks there.
    ///
    /// # Errors
    /// There is no such answer: in words.
    pub fn compare(&self, question: &Question, deadline: Duration) -> Result<ranges::Answer, String> {
        let bytes = question.encode().map_err(|error| error.to_string())?;
        let (outcome, body) = self.http.exchange_raw(Id::of_batch([]), 1, ranges::CONTENT_TYPE, &bytes, deadline);
        if let Outcome::Failed(failure) = outcome {
            return Err(failure.detail);
        }
        let body = body.ok_or("the answer did not come whole")?;
        ranges::Answer::decode(&body).map_err(|error| format!("the answer is not that of a goniec: {error}"))
    }

    /// One request of one epoch, and its answer.
    fn exchange(
        &self,
        epoch: u64,
        last: u64,
        ended: &[(u64, End)],
        messages: &[(u64, &Message)],
        deadline: Duration,
    ) -> Result<(Outcome, Heard), Failure> {
        let unsent = |why: String| Failure::new(Class::Template, Sent::No, why);
        let frame = stream::encode(epoch, last, ended, messages).map_err(|error| unsent(error.to_string()))?;
        let id = Id::of_batch(messages.iter().map(|(_, message)| message.id));
        let (outcome, body) = self.http.exchange_raw(id, messages.len(), CONTENT_TYPE, &frame, deadline);
        if let Outcome::Failed(failure) = outcome {
            return Err(failure);
        }
        let heard =
            heard(body.as_deref(), messages.len()).map_err(|why| Failure::new(Class::Protocol, Sent::Maybe, why))?;
        if let Some(engine) = self.engine() {
            let stream = Stream { side: Side::Out, name: self.destination.clone(), epoch };
            engine.told(&stream, &heard);
            if is_set_back(&heard, epoch, engine.numbered(&self.destination))
                && engine.begin_epoch(&self.destination, epoch).unwrap_or(false)
            {
                log::warn!(
                    "destination {:?} knows numbers that were not given here: this registry was set back, and counts anew",
                    self.destination
                );
            }
        }
        Ok((outcome, heard))
    }
}

/// Whether the other side knows numbers of this epoch that were not given here, though messages are still counted in it: `given` is its epoch and the
/// last number.
#[must_use]
pub fn is_set_back(heard: &Heard, epoch: u64, given: Option<(u64, u64)>) -> bool {
    let last = given.filter(|(own, _)| *own == epoch).map(|(_, last)| last);
    last.is_some_and(|last| heard.highest > last || heard.took.contains(&Took::Conflict))
}

/// What an answer says of so many messages.
fn heard(body: Option<&[u8]>, count: usize) -> Result<Heard, String> {
    let body = body.ok_or("the answer did not come whole")?;
    let answer = Answer::decode(body).map_err(|error| format!("the answer is not that of a goniec: {error}"))?;
    let took: Option<Vec<Took>> = answer.took.into_iter().map(Took::of_byte).collect();
    let took = took.filter(|took| took.len() == count).ok_or("the answer does not tell of every message")?;
    Ok(Heard { took, mark: answer.mark, highest: answer.highest, holes: answer.holes })
}

/// What became of a message.
fn outcome(took: Took, request: &Outcome) -> Outcome {
    let detail = match took {
        Took::New => "",
        Took::Known => "it was there already",
        Took::Conflict => "another message has its number there; it was taken all the same",
    };
    match request {
        Outcome::Delivered(receipt) => Outcome::Delivered(Receipt { detail: detail.to_owned(), ..receipt.clone() }),
        Outcome::Failed(failure) => Outcome::Failed(failure.clone()),
    }
}

/// Which of the messages go in one request: those of one epoch, of not too many bytes, words and all; with their numbers.
fn frames(messages: &[Message]) -> Vec<(u64, Vec<(usize, u64)>)> {
    let mut by_epoch: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
    for (at, message) in messages.iter().enumerate() {
        let number = Number::of(&message.envelope).unwrap_or(Number { epoch: 0, n: 0 });
        by_epoch.entry(number.epoch).or_default().push((at, number.n));
    }
    let mut frames = Vec::new();
    for (epoch, all) in by_epoch {
        let mut bytes = 0;
        let mut frame = Vec::new();
        for (at, n) in all {
            let own = messages.get(at).map_or(0, stream::bytes_of);
            if bytes + own > FRAME_BYTES_MAX && !frame.is_empty() {
                frames.push((epoch, std::mem::take(&mut frame)));
                bytes = 0;
            }
            bytes += own;
            frame.push((at, n));
        }
        frames.push((epoch, frame));
    }
    frames
}

impl Transport for Peer {
    fn send(&self, message: &Message, deadline: Duration) -> Outcome {
        let batched = self.send_batch(std::slice::from_ref(message), deadline);
        batched.each.into_iter().next().flatten().unwrap_or(batched.request)
    }

    fn send_batch(&self, messages: &[Message], deadline: Duration) -> Batched {
        let mut each: Vec<Option<Outcome>> = vec![None; messages.len()];
        let frames = frames(messages);
        let share = deadline / u32::try_from(frames.len().max(1)).unwrap_or(u32::MAX);
        let mut request = Outcome::Delivered(Receipt::default());
        for (epoch, frame) in frames {
            let own: Vec<(u64, &Message)> = frame.iter().filter_map(|(at, n)| Some((*n, messages.get(*at)?))).collect();
            let given = self.engine().and_then(|engine| engine.numbered(&self.destination));
            let highest = own.iter().map(|(n, _)| *n).max().unwrap_or(0);
            let last = given.filter(|(own, _)| *own == epoch).map_or(highest, |(_, last)| last.max(highest));
            match self.exchange(epoch, last, &[], &own, share) {
                Ok((went, heard)) => {
                    for ((at, _), took) in frame.iter().zip(heard.took) {
                        each.get_mut(*at).into_iter().for_each(|own| *own = Some(outcome(took, &went)));
                    }
                    request = went;
                }
                // What did not go before this ended goes with the next attempt.
                Err(failure) => return Batched { request: Outcome::Failed(failure), each },
            }
        }
        Batched { request, each }
    }

    fn shutdown(&self) {
        self.http.shutdown();
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("destination", &self.destination).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{HEADER_BYTES_MAX, WORD_BYTES_MAX};
    use crate::model::ledger::NUMBER_HEADER;
    use crate::model::{Envelope, NodeTag, Place, WallMs};

    /// A message with the longest words, and a body of so many bytes.
    fn message(n: u64, body_bytes: usize) -> Message {
        let word: Arc<str> = "w".repeat(WORD_BYTES_MAX).into();
        let mut headers: Vec<_> = (0..512).map(|at| (format!("x-{at:06}"), String::new())).collect();
        assert_eq!(headers.iter().map(|(name, _)| name.len()).sum::<usize>(), HEADER_BYTES_MAX);
        headers.push((NUMBER_HEADER.to_owned(), Number { epoch: 7, n }.to_string()));
        let own = Some(word.clone());
        let envelope =
            Envelope { key: own.clone(), kind: own.clone(), traceparent: own.clone(), headers, ..Envelope::default() };
        Message {
            id: Id::compose(WallMs(7), NodeTag::new(3), Place::new(n, 0)),
            attempt: 1,
            revision: 1,
            envelope: Arc::new(envelope),
            content_type: own,
            body: vec![0; body_bytes].into(),
        }
    }

    #[test]
    fn no_request_of_many_is_larger_than_it_may_be_and_one_that_is_large_goes_alone() {
        let mut messages: Vec<Message> = (1..=2_000).map(|n| message(n, 2_000)).collect();
        messages.push(message(2_001, 16 << 20));
        let frames = frames(&messages);
        let went: Vec<usize> = frames.iter().flat_map(|(_, frame)| frame.iter().map(|(at, _)| *at)).collect();
        assert_eq!(went, (0..messages.len()).collect::<Vec<_>>());
        for (epoch, frame) in &frames {
            let own: Vec<(u64, &Message)> = frame.iter().map(|(at, n)| (*n, &messages[*at])).collect();
            let bytes = stream::encode(*epoch, 2_001, &[], &own).expect("a frame").len();
            let bytes_max = if own.len() == 1 { (16 << 20) + stream::WORDS_BYTES_MAX } else { FRAME_BYTES_MAX + 64 };
            assert!(bytes <= bytes_max, "{} messages take {bytes} bytes", own.len());
        }
        assert!(frames.len() > 4, "they go in {} requests", frames.len());
    }
}
