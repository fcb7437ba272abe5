//! Looking for a text in bytes and in files, whatever spells it.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// How many bytes on each side of a find are shown.
const SHOWN_BYTES: usize = 70;

/// The spellings of texts.
pub struct Needles(Vec<Vec<u8>>);

impl Needles {
    pub fn of(text: &str) -> Needles {
        let bytes = text.as_bytes();
        let each = |form: fn(&u8) -> String, between: &str| bytes.iter().map(form).collect::<Vec<_>>().join(between);
        let mut all = vec![
            text.to_owned(),
            each(|byte| format!("{byte:02x}"), ""),
            each(|byte| format!("{byte:02X}"), ""),
            each(|byte| format!("%{byte:02X}"), ""),
            // As the bytes of a request are dumped, two and two, from an even and from an odd place.
            dumped(bytes, 0),
            dumped(bytes, 1),
            // As a list of bytes is written where somebody prints one.
            each(u8::to_string, ", "),
        ];
        // Within other bytes, base64 spells a text in three ways, without the letters that it shares with its neighbours.
        for before in 0..3 {
            let encoded = STANDARD_NO_PAD.encode([&vec![b'.'; before], bytes].concat());
            let first = (before * 8).div_ceil(6);
            let last = (before + bytes.len()) * 8 / 6;
            all.push(encoded[first..last].to_owned());
        }
        Needles(all.into_iter().map(String::into_bytes).collect())
    }

    /// These bytes as they are, too.
    pub fn and(mut self, bytes: &[u8]) -> Needles {
        self.0.push(bytes.to_vec());
        self
    }
}

/// Where the needles stand, with what is around them.
pub fn leaks(needles: &Needles, name: &str, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for needle in &needles.0 {
        let mut at = 0;
        while let Some(next) = position(&bytes[at..], needle) {
            let start = at + next;
            let around = &bytes[start.saturating_sub(SHOWN_BYTES)..bytes.len().min(start + needle.len() + SHOWN_BYTES)];
            found.push(format!("{name}: ..{}..", String::from_utf8_lossy(around).escape_debug()));
            at = start + needle.len();
        }
    }
    found
}

fn dumped(bytes: &[u8], before: usize) -> String {
    let space = |at: usize| if (at + before).is_multiple_of(2) && at > 0 { " " } else { "" };
    bytes.iter().enumerate().map(|(at, byte)| format!("{}{byte:02x}", space(at))).collect()
}

fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| *byte == first) {
        at += next;
        if bytes[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Every file below a folder, by its path in it.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files_in = BTreeMap::new();
    for path in std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            files_in.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else if let Ok(bytes) = std::fs::read(&path) {
            files_in.insert(name, bytes);
        }
    }
    files_in
}
