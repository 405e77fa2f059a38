//! A TOML text as sections of entries that know their line, so that every problem can name it.
//!
//! Reading takes the keys it knows; what nobody took is unknown, and the nearest key that exists
//! is proposed. Nothing here knows what the keys mean.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, counted from 1.
    pub line: usize,
    /// What is wrong and what is accepted.
    pub what: String,
}

/// Collects what is wrong, so that a person sees all of it at once.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn at(&mut self, line: usize, what: impl Into<String>) {
        self.0.push(Problem { line, what: what.into() });
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// `Ok` if nothing was wrong.
    pub(super) fn into_result(mut self) -> Result<(), Vec<Problem>> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by_key(|problem| problem.line);
        Err(self.0)
    }
}

/// A value of the file.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    /// As it was written.
    Number(String),
    Flag(bool),
    List(Vec<Entry>),
    Other(&'static str),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Value,
}

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section {
    /// As a person would write it: `[timing]`; empty at the top.
    title: String,
    pub(super) line: usize,
    entries: BTreeMap<String, Entry>,
    sections: BTreeMap<String, Vec<Section>>,
    /// Whether a name stands for a list of tables; only needed to tell a person.
    listed: BTreeMap<String, bool>,
    known: Vec<&'static str>,
}

impl Section {
    /// Parses a text. Errors of TOML itself end here, since nothing after them can be trusted.
    pub(super) fn parse(text: &str, problems: &mut Problems) -> Option<Self> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            problems.at(line, format!("not valid TOML: {}", error.message()));
        }
        errors.is_empty().then(|| Self::read(text, String::new(), 1, table.get_ref()))
    }

    fn empty(title: String, line: usize) -> Self {
        Self {
            title,
            line,
            entries: BTreeMap::new(),
            sections: BTreeMap::new(),
            listed: BTreeMap::new(),
            known: Vec::new(),
        }
    }

    fn read(text: &str, title: String, line: usize, table: &DeTable<'_>) -> Self {
        let mut section = Self::empty(title, line);
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let line = line_of(text, key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => {
                    section.listed.insert(name.clone(), false);
                    let inner = Self::read(text, format!("[{name}]"), line, inner);
                    section.sections.insert(name, vec![inner]);
                }
                DeValue::Array(items) if is_list_of_tables(items.iter()) => {
                    section.listed.insert(name.clone(), true);
                    let inner = items.iter().filter_map(|item| {
                        let line = line_of(text, item.span().start);
                        let table = item.get_ref().as_table()?;
                        Some(Self::read(text, format!("[[{name}]]"), line, table))
                    });
                    section.sections.insert(name.clone(), inner.collect());
                }
                _ => {
                    section.entries.insert(name.clone(), Entry::read(text, name, line, value));
                }
            }
        }
        section
    }

    /// The entry of this key, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// The table of this name; an empty one if it is not there.
    pub(super) fn table(&mut self, name: &'static str, problems: &mut Problems) -> Self {
        self.known.push(name);
        let mut found = self.sections.remove(name).unwrap_or_default();
        if self.listed.get(name) == Some(&true) {
            let line = found.first().map_or(self.line, |section| section.line);
            problems.at(line, format!("[[{name}]] may stand only once; write [{name}]"));
        }
        found.pop().unwrap_or_else(|| Self::empty(format!("[{name}]"), self.line))
    }

    /// All tables of this name, in the order of the file.
    pub(super) fn tables(&mut self, name: &'static str, problems: &mut Problems) -> Vec<Self> {
        self.known.push(name);
        let found = self.sections.remove(name).unwrap_or_default();
        if let (Some(false), Some(section)) = (self.listed.get(name), found.first()) {
            problems.at(
                section.line,
                format!("[{name}] is a list; write [[{name}]] with double brackets"),
            );
        }
        found
    }

    /// Reports every key that nobody took.
    pub(super) fn finish(self, problems: &mut Problems) {
        let unknown_entries = self.entries.iter().map(|(key, entry)| (key, entry.line));
        let unknown_tables = self
            .sections
            .iter()
            .filter_map(|(key, tables)| tables.first().map(|table| (key, table.line)));
        for (key, line) in unknown_entries.chain(unknown_tables) {
            let place = match self.title.as_str() {
                "" => "at the top".to_owned(),
                title => format!("in {title}"),
            };
            let advice = match nearest(key, &self.known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("known here are {}", self.known.join(", ")),
            };
            problems.at(line, format!("unknown key \"{key}\" {place}; {advice}"));
        }
    }
}

impl Entry {
    fn read(text: &str, key: String, line: usize, value: &Spanned<DeValue<'_>>) -> Self {
        let value = match value.get_ref() {
            DeValue::String(string) => Value::Text(string.to_string()),
            DeValue::Integer(number) => Value::Number(number.as_str().to_owned()),
            DeValue::Float(number) => Value::Number(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Array(items) => Value::List(
                items
                    .iter()
                    .map(|item| {
                        let line = line_of(text, item.span().start);
                        Self::read(text, key.clone(), line, item)
                    })
                    .collect(),
            ),
            other => Value::Other(other.type_str()),
        };
        Self { key, line, value }
    }
}

fn is_list_of_tables<'v, 'i: 'v>(
    mut items: impl ExactSizeIterator<Item = &'v Spanned<DeValue<'i>>>,
) -> bool {
    items.len() > 0 && items.all(|item| item.get_ref().is_table())
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// The known key that a person most likely meant: at most a third of its letters differ.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (edit_distance(key, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove or replace to turn one word into the other (Levenshtein).
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_differ_by_letters() {
        assert_eq!(edit_distance("heartbeet", "heartbeat"), 1);
        assert_eq!(edit_distance("", "lease"), 5);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }

    #[test]
    fn only_a_near_key_is_proposed() {
        let known = ["heartbeat", "dead_after", "lease"];
        assert_eq!(nearest("hartbeat", &known), Some("heartbeat"));
        assert_eq!(nearest("leese", &known), Some("lease"));
        assert_eq!(nearest("colour", &known), None);
    }
}
