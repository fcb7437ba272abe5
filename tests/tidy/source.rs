//! What the rules look at: a Rust file as its code, with comments, strings and tests blanked out.
//!
//! Lines keep their numbers. Not a parser: it knows comments, literals, braces and `#[cfg(test)]`, and nothing else of the language.

/// One file.
pub struct Source {
    /// Its path from the top of the repository, with `/`.
    pub path: String,
    /// Its text as it is.
    pub text: String,
    /// The same lines without comments and without what literals hold.
    pub code: Vec<String>,
    /// The same lines without what is compiled for tests only.
    pub shipped: Vec<String>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let code: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        let shipped = without_tests(&code);
        Source { path: path.to_owned(), text: text.to_owned(), code, shipped }
    }

    /// Where the rule was broken, as an editor can open it.
    pub fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line + 1)
    }
}

/// The text with comments and the insides of literals replaced by spaces.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => find(&chars, at, |c, i| c[i] == '\n'),
            ('/', Some('*')) => find(&chars, at + 2, |c, i| c[i - 1] == '/' && c[i - 2] == '*'),
            ('"', _) => string(&chars, at),
            ('r', Some('"' | '#')) if !word_before(&chars, at) => raw(&chars, at),
            ('\'', Some('\\')) => find(&chars, at + 3, |c, i| c[i] == '\'') + 1,
            ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
            _ => {
                out.push(chars[at]);
                at += 1;
                continue;
            }
        };
        out.extend(chars[at..end.min(chars.len())].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn find(chars: &[char], from: usize, is_end: impl Fn(&[char], usize) -> bool) -> usize {
    (from..chars.len()).find(|i| is_end(chars, *i)).unwrap_or(chars.len())
}

fn string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw(chars: &[char], from: usize) -> usize {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + 1 + hashes) != Some(&'"') {
        return from + 1;
    }
    let closes =
        |c: &[char], i: usize| c[i] == '"' && c[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    find(chars, from + 2 + hashes, closes) + 1 + hashes
}

fn word_before(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

/// The lines with every `#[cfg(test)]` item blanked.
fn without_tests(code: &[String]) -> Vec<String> {
    let mut out = code.to_vec();
    let mut line = 0;
    while line < code.len() {
        if code[line].trim_start().starts_with("#[cfg(test)]") {
            let end = item_end(code, line);
            out[line..=end].iter_mut().for_each(String::clear);
            line = end;
        }
        line += 1;
    }
    out
}

/// The last line of the item that begins here: where its braces close, or its `;` stands before any brace.
pub fn item_end(code: &[String], from: usize) -> usize {
    let mut depth = 0_i32;
    for (number, line) in code.iter().enumerate().skip(from) {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => return number,
                '}' => depth -= 1,
                ';' if depth == 0 => return number,
                _ => {}
            }
        }
    }
    code.len().saturating_sub(1)
}

/// Whether the word stands here as a whole path segment: not inside a longer name.
pub fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !joins(before) && !joins(after)
    })
}

#[test]
fn comments_literals_and_tests_are_not_code() {
    let text = "fn a() { // sled\n let c = '\"'; let s = \"sled \\\" x\"; /* sled\n */ let r = r#\"sled \"# ; 'x: loop {} }\n\
        #[cfg(test)]\nmod tests {\n  fn b() { use_it() }\n}\nfn c<'a>() {}\n";
    let source = Source::new("src/a.rs", text);
    assert!(!source.code.concat().contains("sled"), "{:?}", source.code);
    assert!(source.code.concat().contains("let r =") && source.code.concat().contains("loop {}"));
    assert!(source.code.concat().contains("use_it") && !source.shipped.concat().contains("use_it"));
    assert!(source.shipped.concat().contains("fn c<'a>() {}"));
    assert_eq!(source.code.len(), text.lines().count());
}
