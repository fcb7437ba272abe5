//! How a sink deals with one request, and the words that say it: `503 retry-after 30`, `reset at head`, `200 body '{"ok":true}' drip 1s`.
//!
//! # What holds
//!
//! * One table of words: the parser and `docs/sink.md` come from it.
//!
//! # What it does not know
//!
//! Which requests are dealt with so, and sockets.

use std::time::Duration;

use super::answer::{Answer, Body, DateForm, Header};
use super::words::{Word, Words, Wrong};

/// The most bytes that a sink makes up for one answer.
const MADE_UP_MAX: u64 = 1 << 40;
/// The longest that anything takes.
const SPAN_MS_MAX: u64 = 366 * 86_400_000;
const INTERIM_MAX: u64 = 1_000_000;

/// When a sink acts on a request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// As soon as the connection stands.
    Connect,
    /// When the first byte of a request is there.
    Byte,
    /// When its head has been read, and its body has not.
    Head,
    /// When it has been read whole.
    #[default]
    Request,
}

/// What becomes of the connection then.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It serves on.
    #[default]
    Keep,
    /// It is closed.
    Close,
    /// It is reset.
    Reset,
    /// Nothing more is read or written, until the other side goes.
    Hang,
    /// It is reset, and the sink does not listen for so long.
    Refuse(Duration),
}

/// How a sink deals with one request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Manner {
    /// When it acts.
    pub at: Moment,
    /// How long it waits before.
    pub wait: Option<Duration>,
    /// What it sends; `None` sends nothing.
    pub(super) answer: Option<Answer>,
    /// What becomes of the connection.
    pub end: End,
    /// Whether the request counts as taken, whatever it is answered.
    pub is_taken: bool,
}

/// The words of a manner: what each takes, and what it is for.
pub(super) const WORDS: &[(&str, &str, &str)] = &[
    ("503", "", "The status, three digits, from `000` to `999`. Where only other words of an answer are there, `200`."),
    ("reset", "", "Resets the connection; after the answer, where there is one."),
    ("close", "", "Closes it, likewise."),
    ("hang", "", "Does nothing more, likewise, until the other side goes."),
    ("refuse", "2s", "Resets the connection, and listens no more for so long."),
    (
        "at",
        "head",
        "When it acts: `at connect`, `at byte` (the first of the request), `at head` (the body is not read), `at request` (all is read), which is the default.",
    ),
    ("wait", "2s", "Waits so long first."),
    ("take", "", "Counts the request as taken, whatever it is answered: what arrived and was not confirmed."),
    ("body", "'no such sku'", "The body of the answer."),
    ("fill", "1MiB", "A body of so many `x`."),
    ("gzip", "1GiB", "A body of so many zero bytes, compressed to a 150th."),
    ("endless", "", "A body that never ends."),
    ("chunked", "", "Sends the body in chunks."),
    ("length", "100", "The `content-length`, right or not."),
    ("header", "'x-a: b'", "One more header; `content-type` for instance."),
    ("head-fill", "1MiB", "A header of so many `x`."),
    (
        "retry-after",
        "30",
        "The header of this name; given twice, it is sent twice. `'soon'`, `-1` and `99999999999999999999` are sent as they are.",
    ),
    (
        "retry-after-date",
        "30s imf",
        "The same as a date so long from now, in one of the three forms of HTTP: `imf`, `rfc850`, `asctime`. `-30s` lies in the past.",
    ),
    ("interim", "10000", "So many `102 Processing` first."),
    ("cut", "20B", "Sends no more than so many bytes of all this, then closes."),
    ("drip", "1s", "Sends all this byte by byte, one in so long."),
    ("drip-body", "1s", "Sends the body so."),
    ("raw", "'SSH-2.0\\r\\n'", "Sends exactly this in place of an answer, then closes."),
];

impl Manner {
    /// Reads the words of a manner.
    ///
    /// # Errors
    ///
    /// What is wrong, where, and what was expected.
    pub fn parse(text: &str) -> Result<Manner, Wrong> {
        Manner::read(&mut Words::of(text)?)
    }

    /// A plain yes.
    pub(super) fn yes() -> Manner {
        Manner { answer: Some(Answer::default()), ..Manner::default() }
    }

    /// 400 with these words.
    pub(super) fn refusing(words: &str) -> Manner {
        Manner { answer: Some(Answer::plain("400", words)), ..Manner::default() }
    }

    pub(super) fn read(words: &mut Words) -> Result<Manner, Wrong> {
        let mut manner = Manner::default();
        let mut first = words.expect("what to do, as 503 or reset")?;
        loop {
            manner.word(&first, words)?;
            match words.next() {
                Some(next) => first = next,
                None => break,
            }
        }
        if manner.end == End::Keep && manner.answer.as_ref().is_some_and(Answer::is_last) {
            manner.end = End::Close;
        }
        if manner.end == End::Keep && manner.answer.is_none() {
            manner.answer = Some(Answer::default());
        }
        Ok(manner)
    }

    fn word(&mut self, word: &Word, words: &mut Words) -> Result<(), Wrong> {
        match word.bare() {
            "at" => self.at = moment(&words.expect("connect, byte, head or request")?)?,
            "wait" => self.wait = Some(span(words)?),
            "take" => self.is_taken = true,
            "close" => self.end = End::Close,
            "reset" => self.end = End::Reset,
            "hang" => self.end = End::Hang,
            "refuse" => self.end = End::Refuse(span(words)?),
            _ => self.answer.get_or_insert_default().word(word, words)?,
        }
        Ok(())
    }
}

impl Answer {
    fn word(&mut self, word: &Word, words: &mut Words) -> Result<(), Wrong> {
        match word.bare() {
            "body" => self.body = Body::Text(words.expect("the body")?.bytes),
            "fill" => self.body = Body::Fill(words.bytes_count(MADE_UP_MAX)?),
            "gzip" => self.body = Body::Gzip(words.bytes_count(MADE_UP_MAX)?),
            "endless" => self.body = Body::Endless,
            "chunked" => self.is_chunked = true,
            "length" => self.length = Some(words.number(u64::MAX)?),
            "header" => self.headers.push(header(&words.expect("a header, as 'x-a: b'")?)?),
            "head-fill" => self.head_fill = words.bytes_count(MADE_UP_MAX)?,
            "retry-after" => {
                let value = words.expect("a value, as 30")?.text()?.to_owned();
                self.headers.push(Header::Text("retry-after".into(), value));
            }
            "retry-after-date" => self.headers.push(date(words)?),
            "interim" => self.interim = words.number(INTERIM_MAX)?,
            "cut" => self.cut = Some(words.bytes_count(MADE_UP_MAX)?),
            "drip" => self.drip = Some(span(words)?),
            "drip-body" => self.drip_body = Some(span(words)?),
            "raw" => self.raw = Some(words.expect("what is sent")?.bytes),
            digits if digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.status = digits.to_owned();
            }
            _ => {
                let known: Vec<&str> = WORDS.iter().map(|(word, ..)| *word).collect();
                return Err(word.unknown("word of a manner", &known));
            }
        }
        Ok(())
    }
}

fn span(words: &mut Words) -> Result<Duration, Wrong> {
    words.span_ms().map(|ms| Duration::from_millis(ms.min(SPAN_MS_MAX)))
}

fn moment(word: &Word) -> Result<Moment, Wrong> {
    match word.bare() {
        "connect" => Ok(Moment::Connect),
        "byte" => Ok(Moment::Byte),
        "head" => Ok(Moment::Head),
        "request" => Ok(Moment::Request),
        _ => Err(word.unknown("moment", &["connect", "byte", "head", "request"])),
    }
}

fn header(word: &Word) -> Result<Header, Wrong> {
    let pair = word.text()?.split_once(':');
    let (name, value) = pair.ok_or_else(|| word.wrong("a header has a name and a value; expected 'x-a: b'"))?;
    Ok(Header::Text(name.to_owned(), value.trim_start().to_owned()))
}

fn date(words: &mut Words) -> Result<Header, Wrong> {
    let word = words.expect("a duration, as 30s or -30s")?;
    let text = word.text()?;
    let (is_past, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let ms = crate::model::span::parse_span_ms(text).map_err(|wrong| word.wrong(wrong.to_string()))?;
    let ms = i64::try_from(ms.min(SPAN_MS_MAX)).unwrap_or(0);
    let form = words.expect("imf, rfc850 or asctime")?;
    let form = match form.bare() {
        "imf" => DateForm::Imf,
        "rfc850" => DateForm::Rfc850,
        "asctime" => DateForm::Asctime,
        _ => return Err(form.unknown("form of a date", &["imf", "rfc850", "asctime"])),
    };
    Ok(Header::Date("retry-after".into(), if is_past { -ms } else { ms }, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_is_understood_as_it_is_shown() {
        for (word, takes, _) in WORDS {
            Manner::parse(&format!("{word} {takes}")).unwrap_or_else(|wrong| panic!("{word} {takes}: {wrong:?}"));
        }
    }

    #[test]
    fn words_go_together_in_any_order() {
        let manner = Manner::parse("at head 429 hang retry-after 7 wait 2s").expect("a manner");
        let answer = manner.answer.clone().expect("an answer");
        assert_eq!((manner.at, manner.end, manner.wait), (Moment::Head, End::Hang, Some(Duration::from_secs(2))));
        assert_eq!((&*answer.status, answer.headers.len()), ("429", 1));
        assert_eq!(Manner::parse("reset").expect("a manner").answer, None, "nothing is sent");
        assert_eq!(Manner::parse("wait 1s").expect("a manner").answer, Some(Answer::default()));
        assert_eq!(Manner::parse("raw x").expect("a manner").end, End::Close);
        assert_eq!(Manner::parse("raw x hang").expect("a manner").end, End::Hang);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_expected() {
        for (text, column, says) in [
            ("", 1, "expected what to do"),
            ("rset", 1, "did you mean reset?"),
            ("'reset'", 1, "no word of a manner"),
            ("503 wait", 9, "expected a duration"),
            ("503 wait 2", 10, "has no unit"),
            ("at hed", 4, "did you mean head?"),
            ("fill 3", 6, "is not a size"),
            ("length x", 8, "no number"),
            ("header x", 8, "expected 'x-a: b'"),
            ("retry-after-date 3s rfc", 21, "did you mean rfc850?"),
            ("5033", 1, "no word of a manner"),
        ] {
            let wrong = Manner::parse(text).expect_err(text);
            assert!(wrong.column == column && wrong.what.contains(says), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn the_page_has_every_word() {
        let page = include_str!("../../../docs/sink.md");
        for (word, takes, what) in WORDS {
            let row = format!("| `{}` | {what} |", format!("{word} {takes}").trim());
            assert!(page.contains(&row), "docs/sink.md lacks the row\n{row}");
        }
    }
}
