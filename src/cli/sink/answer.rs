//! What a sink sends: any status, headers that lie, bodies that are huge, endless or a bomb, and bytes that are no answer at all.
//!
//! # What holds
//!
//! * However large an answer is, it is made piece by piece.
//!
//! # What it does not know
//!
//! Why this is answered. Where it is written to: it is given a [`Pen`].

use std::io;
use std::time::{Duration, SystemTime};

/// The bytes of a body that is made up, as many as are written at once.
const PIECE_BYTES: usize = 16 << 10;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Three digits.
    pub(super) status: String,
    pub(super) headers: Vec<Header>,
    pub(super) head_fill: u64,
    pub(super) body: Body,
    pub(super) is_chunked: bool,
    /// The length that the head tells, where it is not the true one.
    pub(super) length: Option<u64>,
    /// Interim answers before.
    pub(super) interim: u64,
    /// At most so many bytes of all.
    pub(super) cut: Option<u64>,
    /// One byte in so long.
    pub(super) drip: Option<Duration>,
    pub(super) drip_body: Option<Duration>,
    /// These bytes in place of all that.
    pub(super) raw: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Header {
    Text(String, String),
    /// A date so many milliseconds from when it is sent.
    Date(String, i64, DateForm),
}

/// The three dates of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DateForm {
    Imf,
    Rfc850,
    Asctime,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Body {
    #[default]
    Empty,
    Text(Vec<u8>),
    Fill(u64),
    Gzip(u64),
    Endless,
}

/// What writes an answer, at its pace.
pub(super) trait Pen {
    /// Writes this, one byte in so long where a pace is given.
    fn put(&mut self, bytes: &[u8], drip: Option<Duration>) -> io::Result<()>;
    /// Whether there is no sense in going on.
    fn is_done(&self) -> bool;
}

impl Default for Answer {
    fn default() -> Answer {
        Answer {
            status: "200".into(),
            headers: Vec::new(),
            head_fill: 0,
            body: Body::Empty,
            is_chunked: false,
            length: None,
            interim: 0,
            cut: None,
            drip: None,
            drip_body: None,
            raw: None,
        }
    }
}

impl Answer {
    /// A plain answer with a status and words.
    pub(super) fn plain(status: &str, words: &str) -> Answer {
        Answer { status: status.into(), body: Body::Text(words.as_bytes().to_vec()), ..Answer::default() }
    }

    /// Whether it says yes.
    pub(super) fn is_yes(&self) -> bool {
        self.status.starts_with('2') && self.cut.is_none() && self.raw.is_none()
    }

    /// Whether the other side cannot know where it ends, so that nothing can come after it.
    pub(super) fn is_last(&self) -> bool {
        self.cut.is_some() || self.raw.is_some() || self.length.is_some() || self.body == Body::Endless
    }

    /// Writes all of it.
    pub(super) fn write(&self, pen: &mut impl Pen) -> io::Result<()> {
        if let Some(raw) = &self.raw {
            return pen.put(raw, self.drip);
        }
        for _ in 0..self.interim {
            pen.put(b"HTTP/1.1 102 sink\r\n\r\n", self.drip)?;
        }
        pen.put(format!("HTTP/1.1 {} sink\r\n", self.status).as_bytes(), self.drip)?;
        for header in &self.headers {
            pen.put(header.line().as_bytes(), self.drip)?;
        }
        if self.head_fill > 0 {
            pen.put(b"x-fill: ", self.drip)?;
            fill(self.head_fill, b'x', |piece| pen.put(piece, self.drip))?;
            pen.put(b"\r\n", self.drip)?;
        }
        pen.put(self.framing().as_bytes(), self.drip)?;
        self.write_body(pen)
    }

    /// The headers that tell where the body ends, and the empty line.
    fn framing(&self) -> String {
        let is_bodiless = matches!(&*self.status, "204" | "304") && self.body == Body::Empty;
        let length = match (&self.body, self.length) {
            (_, Some(length)) => Some(length),
            _ if self.is_chunked || is_bodiless => None,
            (Body::Empty, None) => Some(0),
            (Body::Text(text), None) => Some(u64::try_from(text.len()).unwrap_or(u64::MAX)),
            (Body::Fill(bytes), None) => Some(*bytes),
            (Body::Gzip(bytes), None) => Some(Gzip::length(*bytes)),
            (Body::Endless, None) => None,
        };
        let mut lines = length.map_or_else(String::new, |length| format!("content-length: {length}\r\n"));
        if self.is_chunked {
            lines += "transfer-encoding: chunked\r\n";
        }
        if let Body::Gzip(_) = self.body {
            lines += "content-encoding: gzip\r\n";
        }
        lines + "\r\n"
    }

    fn write_body(&self, pen: &mut impl Pen) -> io::Result<()> {
        let drip = self.drip.or(self.drip_body);
        let is_chunked = self.is_chunked;
        let mut put = |piece: &[u8]| {
            if !is_chunked || piece.is_empty() {
                return pen.put(piece, drip);
            }
            pen.put(format!("{:x}\r\n", piece.len()).as_bytes(), drip)?;
            pen.put(piece, drip)?;
            pen.put(b"\r\n", drip)
        };
        match &self.body {
            Body::Empty => {}
            Body::Text(text) => put(text)?,
            Body::Fill(bytes) => fill(*bytes, b'x', put)?,
            Body::Gzip(bytes) => Gzip::write(*bytes, put)?,
            Body::Endless => {
                let piece = [b'x'; 1 << 10];
                while !pen.is_done() {
                    let end = if is_chunked { "400\r\n" } else { "" };
                    pen.put(end.as_bytes(), drip)?;
                    pen.put(&piece, drip)?;
                    pen.put(if is_chunked { b"\r\n" } else { b"" }, drip)?;
                }
            }
        }
        if is_chunked { pen.put(b"0\r\n\r\n", drip) } else { Ok(()) }
    }
}

impl Header {
    fn line(&self) -> String {
        match self {
            Header::Text(name, value) => format!("{name}: {value}\r\n"),
            Header::Date(name, ms, form) => {
                let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
                let at = now.saturating_add(jiff::SignedDuration::from_millis(*ms)).unwrap_or(now);
                let form = match form {
                    DateForm::Imf => "%a, %d %b %Y %H:%M:%S GMT",
                    DateForm::Rfc850 => "%A, %d-%b-%y %H:%M:%S GMT",
                    DateForm::Asctime => "%a %b %e %H:%M:%S %Y",
                };
                format!("{name}: {}\r\n", at.strftime(form))
            }
        }
    }
}

/// So many equal bytes, piece by piece.
fn fill(bytes: u64, byte: u8, mut put: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let piece = vec![byte; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let many = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        put(piece.get(..many).unwrap_or_default())?;
        left -= u64::try_from(many).unwrap_or(left);
    }
    Ok(())
}

/// Zero bytes as a gzip stream of one block with fixed codes: a match of 258 bytes at distance one takes 13 bits, so that eight of them are 13 bytes.
struct Gzip;

impl Gzip {
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

    fn length(bytes: u64) -> u64 {
        let matched = bytes.saturating_sub(1);
        let bits = 3 + bytes.min(1) * 8 + matched / 258 * 13 + matched % 258 * 8 + 7;
        10 + bits.div_ceil(8) + 8
    }

    fn write(bytes: u64, mut put: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut bits = Bits { bytes: Gzip::HEAD.to_vec(), filled: 0 };
        // The last block, with fixed codes; then the first zero by itself.
        bits.push(0b011, 3);
        if bytes > 0 {
            bits.code(0b0011_0000, 8);
        }
        let matched = bytes.saturating_sub(1);
        for _ in 0..matched / 258 {
            bits.code(0b1100_0101, 8);
            bits.code(0, 5);
            if bits.bytes.len() >= PIECE_BYTES {
                // The last byte may still have room.
                let open = bits.bytes.split_off(bits.bytes.len() - 1);
                put(&bits.bytes)?;
                bits.bytes = open;
            }
        }
        for _ in 0..matched % 258 {
            bits.code(0b0011_0000, 8);
        }
        bits.code(0, 7);
        let mut crc = crc32fast::Hasher::new();
        fill(bytes, 0, |piece| {
            crc.update(piece);
            Ok(())
        })?;
        bits.bytes.extend(crc.finalize().to_le_bytes());
        bits.bytes.extend(u32::try_from(bytes & u64::from(u32::MAX)).unwrap_or(0).to_le_bytes());
        put(&bits.bytes)
    }
}

/// Bits as deflate packs them: the first one lowest.
struct Bits {
    bytes: Vec<u8>,
    /// The bits in use of the last byte, below eight; 0 opens a new one.
    filled: u32,
}

impl Bits {
    /// A number, its lowest bit first.
    fn push(&mut self, number: u16, count: u32) {
        for at in 0..count {
            if self.filled == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut().filter(|_| number >> at & 1 == 1) {
                *last |= 1 << self.filled;
            }
            self.filled = (self.filled + 1) % 8;
        }
    }

    /// A code of Huffman, its highest bit first.
    fn code(&mut self, code: u16, count: u32) {
        (0..count).rev().for_each(|at| self.push(code >> at & 1, 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Kept(Vec<u8>);

    impl Pen for Kept {
        fn put(&mut self, bytes: &[u8], _: Option<Duration>) -> io::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }

        fn is_done(&self) -> bool {
            self.0.len() > 10_000
        }
    }

    fn written(words: &str) -> String {
        let manner = super::super::manner::Manner::parse(words).expect("a manner");
        let mut kept = Kept(Vec::new());
        manner.answer.expect("an answer").write(&mut kept).expect("no socket");
        String::from_utf8_lossy(&kept.0).into_owned()
    }

    #[test]
    fn an_answer_is_what_its_words_say() {
        for (words, expect) in [
            ("200", "HTTP/1.1 200 sink\r\ncontent-length: 0\r\n\r\n"),
            ("999 body no", "HTTP/1.1 999 sink\r\ncontent-length: 2\r\n\r\nno"),
            ("204", "HTTP/1.1 204 sink\r\n\r\n"),
            ("200 length 7 body abc", "HTTP/1.1 200 sink\r\ncontent-length: 7\r\n\r\nabc"),
            (
                "429 retry-after 1 retry-after x",
                "HTTP/1.1 429 sink\r\nretry-after: 1\r\nretry-after: x\r\ncontent-length: 0\r\n\r\n",
            ),
            ("200 chunked body abc", "HTTP/1.1 200 sink\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            (
                "interim 1 header 'a: b'",
                "HTTP/1.1 102 sink\r\n\r\nHTTP/1.1 200 sink\r\na: b\r\ncontent-length: 0\r\n\r\n",
            ),
            ("head-fill 3B fill 2B", "HTTP/1.1 200 sink\r\nx-fill: xxx\r\ncontent-length: 2\r\n\r\nxx"),
            ("raw 'SSH\\x00\\r\\n'", "SSH\0\r\n"),
        ] {
            assert_eq!(written(words), expect, "{words}");
        }
        let endless = written("endless chunked");
        assert!(endless.contains("\r\n\r\n400\r\nxxx") && endless.len() > 10_000);
        assert!(!endless[..10_000].contains("0\r\n\r\n"), "it has no end");
    }

    #[test]
    fn a_date_is_one_that_the_transport_could_read() {
        let line = written("503 retry-after-date 30s imf retry-after-date -1h rfc850 retry-after-date 1h asctime");
        let dates: Vec<&str> = line.lines().filter_map(|line| line.strip_prefix("retry-after: ")).collect();
        let form = |at: usize, form: &str| jiff::civil::DateTime::strptime(form, dates[at]).expect(dates[at]);
        let soon = form(0, "%a, %d %b %Y %H:%M:%S GMT");
        assert!(form(1, "%A, %d-%b-%y %H:%M:%S GMT") < soon && soon < form(2, "%a %b %e %H:%M:%S %Y"));
    }

    #[test]
    fn a_bomb_has_the_length_that_its_head_tells_and_is_small() {
        for bytes in [0, 1, 258, 259, 1_000, 10_000_000] {
            let mut kept = Vec::new();
            Gzip::write(bytes, |piece| {
                kept.extend_from_slice(piece);
                Ok(())
            })
            .expect("no socket");
            assert_eq!(u64::try_from(kept.len()), Ok(Gzip::length(bytes)), "{bytes}");
            assert!(kept.len() < 2_200 || kept.len() < usize::try_from(bytes / 150).expect("small"), "{bytes}");
        }
    }
}
