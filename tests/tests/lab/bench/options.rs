//! What the benchmark is told.

use std::path::PathBuf;

use anyhow::{Context, ensure};

/// As of `tests/lab/bench`.
pub(super) struct Options {
    pub(super) rounds: usize,
    pub(super) json: Option<PathBuf>,
    beginnings: Vec<String>,
}

impl Options {
    pub(super) fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self { rounds: 2, json: None, beginnings: Vec::new() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--rounds" => {
                    let rounds = words.next().context("--rounds needs a number")?;
                    options.rounds = rounds.parse().context("--rounds needs a number")?;
                    ensure!(options.rounds > 0, "--rounds is 1 or more");
                }
                "--json" => {
                    options.json = Some(words.next().context("--json needs a file")?.into());
                }
                _ => {
                    ensure!(!word.starts_with('-'), "the benchmark does not know {word}");
                    options.beginnings.push(word);
                }
            }
        }
        Ok(options)
    }

    /// Whether the setting of this name is to be played: all are, unless some were named.
    pub(super) fn wants(&self, name: &str) -> bool {
        let begins = |beginning: &String| name.starts_with(beginning.as_str());
        self.beginnings.is_empty() || self.beginnings.iter().any(begins)
    }
}
