//! From text to fields: every key held against its rule, every value against its kind. What is wrong is noted, and reading goes on.
//!
//! # What it does not know
//!
//! What is built from the fields, and which of them belong together.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::{Field, Place, Section};
use super::rules::{self, Kind, Rule};
use super::value::checked;
use super::{Outside, Problem, text};
use crate::model::nearest::nearest;
use crate::transport::answer::{Misparse, Statuses};
use crate::transport::filter::Filter;
use crate::transport::secret::{Secret, names_credential};
use crate::transport::shape::Shape;

/// Reads everything, and says what is wrong.
pub(super) fn read(text: &str, source: &str, outside: &dyn Outside) -> (Section, Vec<Problem>) {
    let mut reader = Reader { text, source, outside, problems: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.note(at, one_line(error.message()), "");
    }
    // What the parser made of a file that is not TOML would only repeat that it is none.
    let broken = !reader.problems.is_empty();
    let mut root = if broken { Section::default() } else { reader.section("", "", table.get_ref(), 0) };
    reader.variables(&mut root);
    (root, reader.problems)
}

struct Reader<'a> {
    text: &'a str,
    source: &'a str,
    outside: &'a dyn Outside,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn note(&mut self, at: usize, what: impl Into<String>, hint: impl Into<String>) {
        let at = Some(line_and_column(self.text, at));
        let source = self.source.to_owned();
        self.problems.push(Problem { source, at, what: what.into(), hint: hint.into() });
    }

    fn place(&self, at: usize, path: &str) -> Place {
        Place { source: self.source.to_owned(), at: Some(line_and_column(self.text, at)), path: path.to_owned() }
    }

    /// The fields of a table. `pattern` is its path in the rules, `path` the one in the file.
    fn section(&mut self, pattern: &str, path: &str, table: &DeTable<'_>, at: usize) -> Section {
        let mut section = Section { place: self.place(at, path), ..Section::default() };
        for (key, value) in table {
            let name: &str = key.get_ref();
            let (pattern, path) = (joined(pattern, name), joined(path, name));
            let at = key.span().start;
            let Some(rule) = rules::find(&pattern) else {
                self.unknown(&pattern, &path, at);
                continue;
            };
            match self.field(rule, &path, at, value) {
                Some(field) => {
                    section.fields.insert(name.to_owned(), (self.place(at, &path), field));
                }
                None => {
                    section.refused.insert(name.to_owned());
                }
            }
        }
        section
    }

    fn unknown(&mut self, pattern: &str, path: &str, at: usize) {
        let (table, name) = pattern.rsplit_once('.').unwrap_or(("", pattern));
        let hint = match nearest(name, rules::names(table)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", rules::names(table).collect::<Vec<_>>().join(", ")),
        };
        self.note(at, format!("{path}: unknown key"), hint);
    }

    fn field(&mut self, rule: &Rule, path: &str, at: usize, value: &Spanned<DeValue<'_>>) -> Option<Field> {
        match (rule.kind, value.get_ref()) {
            (Kind::Table | Kind::TableOr(_), DeValue::Table(table)) => {
                Some(Field::Section(self.section(rule.path, path, table, at)))
            }
            (Kind::TableOr(name), DeValue::String(text)) => {
                let place = self.place(at, path);
                let fields = [(name.to_owned(), (place.clone(), Field::Text(text.to_string())))];
                Some(Field::Section(Section { place, fields: fields.into(), ..Section::default() }))
            }
            (Kind::Named, DeValue::Table(table)) => Some(Field::Section(self.named(rule, path, table, at))),
            (Kind::Pairs, DeValue::Table(table)) => Some(Field::Section(self.pairs(path, table, at))),
            (Kind::Tables, DeValue::Array(list)) => self.sections(&format!("{}[]", rule.path), path, at, list.iter()),
            (Kind::OneOrMore, DeValue::Array(list)) => self.sections(rule.path, path, at, list.iter()),
            (Kind::OneOrMore, DeValue::Table(table)) => {
                Some(Field::Sections(vec![self.section(rule.path, path, table, at)]))
            }
            (Kind::Secret, _) => self.secret(path, value, at).map(Field::Secret),
            (Kind::Secrets, DeValue::Array(list)) if !list.is_empty() => {
                let read: Vec<_> = list.iter().map(|item| self.secret(path, item, item.span().start)).collect();
                read.into_iter().collect::<Option<_>>().map(Field::Secrets)
            }
            (Kind::Secrets, _) => Some(Field::Secrets(vec![self.secret(path, value, at)?])),
            (Kind::Statuses, DeValue::String(text)) => self.script(&statuses, path, value, text),
            (Kind::Filter, DeValue::String(text)) => self.script(&filter, path, value, text),
            (Kind::Template, DeValue::String(text)) => self.script(&template, path, value, text),
            (Kind::Template, DeValue::Table(table)) => self.template(path, table, at),
            (Kind::File, DeValue::String(name)) => self.file(path, name, at).map(Field::Text),
            (kind, value_read) => match checked(kind, value_read) {
                Ok(field) => Some(field),
                Err(wrong) => {
                    self.note(value.span().start, format!("{path}: {wrong}"), "");
                    None
                }
            },
        }
    }

    fn named(&mut self, rule: &Rule, path: &str, table: &DeTable<'_>, at: usize) -> Section {
        let mut section = Section { place: self.place(at, path), ..Section::default() };
        for (key, value) in table {
            let name: &str = key.get_ref();
            let (path, at) = (joined(path, name), key.span().start);
            let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
            if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
                self.note(at, format!("{path}: a name has up to 64 letters, digits, `-`, `_` and `.`"), "");
            } else if let DeValue::Table(table) = value.get_ref() {
                let own = self.section(&format!("{}.*", rule.path), &path, table, at);
                section.fields.insert(name.to_owned(), (self.place(at, &path), Field::Section(own)));
            } else {
                self.note(at, format!("{path}: a table is expected, not {}", value.get_ref().type_str()), "");
            }
        }
        section
    }

    fn sections<'v, 'i: 'v>(
        &mut self,
        pattern: &str,
        path: &str,
        at: usize,
        list: impl Iterator<Item = &'v Spanned<DeValue<'i>>>,
    ) -> Option<Field> {
        let mut sections = Vec::new();
        for (number, item) in list.enumerate() {
            let path = format!("{path}[{number}]");
            if let DeValue::Table(table) = item.get_ref() {
                // A table of `[[alert]]` begins where its header does; one in a list, where it stands.
                let at = if item.span().is_empty() { at } else { item.span().start };
                sections.push(self.section(pattern, &path, table, at));
            } else {
                let found = item.get_ref().type_str();
                self.note(item.span().start, format!("{path}: a table is expected, not {found}"), "");
            }
        }
        Some(Field::Sections(sections))
    }

    fn pairs(&mut self, path: &str, table: &DeTable<'_>, at: usize) -> Section {
        let mut section = Section { place: self.place(at, path), ..Section::default() };
        for (key, value) in table {
            let name: &str = key.get_ref();
            let (path, at) = (joined(path, name), key.span().start);
            let is_credential = names_credential(name);
            let field = match (value.get_ref().as_table(), value.get_ref().as_str()) {
                (Some(_), _) => self.secret(&path, value, at).map(Field::Secret),
                (None, Some(_)) if is_credential => {
                    let hint = "A secret comes from outside: { env = \"NAME\" } or { file = \"/run/secrets/name\" }.";
                    self.note(at, format!("{path}: a credential must not stand in the file"), hint);
                    None
                }
                (None, Some(text)) => Some(Field::Text(text.to_owned())),
                (None, None) => {
                    let found = value.get_ref().type_str();
                    self.note(at, format!("{path}: a text or a secret is expected, not {found}"), "");
                    None
                }
            };
            match field {
                Some(field) => {
                    section.fields.insert(name.to_owned(), (self.place(at, &path), field));
                }
                None => {
                    section.refused.insert(name.to_owned());
                }
            }
        }
        section
    }

    /// The secret that `{ env = .. }` or `{ file = .. }` names.
    fn secret(&mut self, path: &str, value: &Spanned<DeValue<'_>>, at: usize) -> Option<Secret> {
        let DeValue::Table(table) = value.get_ref() else {
            let hint = "A secret comes from outside: { env = \"NAME\" } or { file = \"/run/secrets/name\" }.";
            self.note(at, format!("{path}: a secret must not stand in the file"), hint);
            return None;
        };
        let read = match only(table) {
            Some(("env", name)) => self.outside.variable(name).ok_or_else(|| format!("the environment has no {name}")),
            Some(("file", file)) => {
                self.outside.file(file).map_err(|why| format!("the secret in {file} cannot be read: {why}"))
            }
            Some(_) | None => Err("write it as { env = \"NAME\" } or { file = \"/run/secrets/name\" }".to_owned()),
        };
        match read.map(|secret| secret.trim_end_matches(['\r', '\n']).to_owned()) {
            Ok(secret) if secret.is_empty() => {
                self.note(at, format!("{path}: the secret is empty"), "");
                None
            }
            Ok(secret) => Some(Secret::new(secret)),
            Err(wrong) => {
                self.note(at, format!("{path}: {wrong}"), "");
                None
            }
        }
    }

    /// The text of the file of this name.
    fn file(&mut self, path: &str, name: &str, at: usize) -> Option<String> {
        let read = self.outside.file(name);
        read.map_err(|why| self.note(at, format!("{path}: {name} cannot be read: {why}"), "")).ok()
    }

    /// A text in a language of its own: what does not parse is told where it stands in the file.
    fn script(&mut self, parse: Parse, path: &str, value: &Spanned<DeValue<'_>>, text: &str) -> Option<Field> {
        let Err(wrong) = parse(text) else { return Some(Field::Text(text.to_owned())) };
        let raw = self.text.get(value.span()).unwrap_or_default();
        let at = value.span().start + text::place(raw, text, wrong.line, wrong.column);
        self.note(at, format!("{path}: {}", wrong.problem), "");
        None
    }

    /// The template in the file that `{ file = .. }` names.
    fn template(&mut self, path: &str, table: &DeTable<'_>, at: usize) -> Option<Field> {
        let Some(("file", name)) = only(table) else {
            self.note(at, format!("{path}: write it as a text, or as {{ file = \"PATH\" }}"), "");
            return None;
        };
        let text = self.file(path, name, at)?;
        match template(&text) {
            Ok(()) => Some(Field::Text(text)),
            Err(Misparse { line, column, problem }) => {
                let what = format!("{path}: {problem}");
                let at = Some((line, column));
                self.problems.push(Problem { source: name.to_owned(), at, what, hint: String::new() });
                None
            }
        }
    }

    /// What the environment sets, over what the file says.
    fn variables(&mut self, root: &mut Section) {
        let known: Vec<(String, &Rule)> =
            rules::all().filter_map(|rule| rule.variable().map(|name| (name, rule))).collect();
        for prefix in ["GONIEC_SERVER_", "GONIEC_STORE_"] {
            for name in self.outside.variables(prefix) {
                let Some((_, rule)) = known.iter().find(|(variable, _)| *variable == name) else {
                    let hint = nearest(&name, known.iter().map(|(variable, _)| variable.as_str()));
                    let hint = hint.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
                    let what = "unknown variable".to_owned();
                    self.problems.push(Problem { source: name, at: None, what, hint });
                    continue;
                };
                let value = DeValue::String(self.outside.variable(&name).unwrap_or_default().into());
                match checked(rule.kind, &value) {
                    Ok(field) => {
                        set(root, rule.path, Place { source: name, at: None, path: rule.path.to_owned() }, field)
                    }
                    Err(what) => self.problems.push(Problem { source: name, at: None, what, hint: String::new() }),
                }
            }
        }
    }
}

/// The only pair of a table, if it has one alone and its value is a text.
fn only<'t>(table: &'t DeTable<'_>) -> Option<(&'t str, &'t str)> {
    let mut pairs = table.iter();
    let (key, value) = pairs.next()?;
    let value = value.get_ref().as_str()?;
    pairs.next().is_none().then_some((&**key.get_ref(), value))
}

/// Whether a text is what its kind says.
type Parse<'p> = &'p dyn Fn(&str) -> Result<(), Misparse>;

fn statuses(text: &str) -> Result<(), Misparse> {
    Statuses::parse(text).map(|_| ())
}

fn filter(text: &str) -> Result<(), Misparse> {
    Filter::parse(text).map(|_| ())
}

fn template(text: &str) -> Result<(), Misparse> {
    Shape::template(text, "").map(|_| ())
}

fn set(root: &mut Section, path: &str, place: Place, field: Field) {
    let Some((table, name)) = path.split_once('.') else { return };
    let fresh = (Place { path: table.to_owned(), ..Place::default() }, Field::Section(Section::default()));
    if let (_, Field::Section(section)) = root.fields.entry(table.to_owned()).or_insert(fresh) {
        section.fields.insert(name.to_owned(), (place, field));
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The line and the column, in characters, of a byte of the text; both from 1.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}
