//! Which filters are refused before they are compiled: those that might not end, or are too large to be read safely.
//!
//! # What holds
//!
//! * What passes is nested no deeper than the interpreter can read on a small stack.
//! * What passes defines no functions and calls none that loop for ever; loops are over values (`.[]`, `reduce`, `range`, `limit`).
//!
//! # What it does not know
//!
//! What the filter computes.

use jaq_core::load::lex::{Lexer, StrPart, Tok, Token};

use super::{BRACKETS_MAX, FILTER_BYTES_MAX, Misparse, TOKENS_MAX};

/// Words that make functions, loops without an end, or reach outside.
const REFUSED: [&str; 6] = ["def", "import", "include", "repeat", "until", "while"];

/// Refuses what is too large or might not end. What does not even divide into words is left to the parser.
pub(super) fn check(source: &str) -> Result<(), Misparse> {
    if source.len() > FILTER_BYTES_MAX {
        let problem = format!("expected at most {FILTER_BYTES_MAX} bytes, found {}", source.len());
        return Err(Misparse::at(source, source, problem));
    }
    let mut open = 0_usize;
    for (at, letter) in source.char_indices() {
        match letter {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > BRACKETS_MAX {
            let rest = source.get(at..).unwrap_or_default();
            return Err(Misparse::at(
                source,
                rest,
                format!("expected at most {BRACKETS_MAX} brackets within one another"),
            ));
        }
    }
    let Ok(tokens) = Lexer::new(source).lex() else { return Ok(()) };
    let mut count = 0;
    words(source, &tokens, &mut count)
}

fn words(source: &str, tokens: &[Token<&str>], count: &mut usize) -> Result<(), Misparse> {
    let mut is_key = false;
    for (position, Token(text, kind)) in tokens.iter().enumerate() {
        *count += 1;
        if *count > TOKENS_MAX {
            return Err(Misparse::at(source, text, format!("expected at most {TOKENS_MAX} words and signs")));
        }
        let next = tokens.get(position + 1);
        match kind {
            Tok::Word if is_key => {}
            Tok::Word if REFUSED.contains(text) && !names_member(next) => {
                let problem = format!("{text:?} is not available: a filter defines nothing and always ends");
                return Err(Misparse::at(source, text, problem));
            }
            Tok::Word if *text == "recurse" && next.is_some_and(|next| next.0.starts_with('(')) => {
                let problem = "\"recurse\" takes no filter here, as it might not end; use \"..\"".into();
                return Err(Misparse::at(source, text, problem));
            }
            Tok::Str(parts) => {
                for part in parts {
                    if let StrPart::Term(inner) = part {
                        words(source, std::slice::from_ref(inner), count)?;
                    }
                }
            }
            Tok::Block(inner) => words(source, inner, count)?,
            Tok::Word | Tok::Var | Tok::Fmt | Tok::Num | Tok::Sym => {}
        }
        is_key = *text == ".";
    }
    Ok(())
}

/// Whether the word before is the name of a member, as in `{while: 1}`.
fn names_member(next: Option<&Token<&str>>) -> bool {
    next.is_some_and(|next| next.0 == ":")
}
