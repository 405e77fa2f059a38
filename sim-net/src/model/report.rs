//! What a search found, for people and for programs.

use serde::Serialize;
use std::{fmt, time::Duration};

/// The outcome of one model's search.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The model.
    pub model: String,
    /// Transitions followed: states reached, repeats counted.
    pub states: usize,
    /// States that differ.
    pub unique: usize,
    /// Most steps from a start.
    pub depth: usize,
    /// Time that it took, in milliseconds.
    pub elapsed_ms: u64,
    /// What was asked, and the answers.
    pub properties: Vec<Verdict>,
}

/// One property's answer.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// What was asked.
    pub property: String,
    /// Whether it must hold in every state; if not, it must be reached in one.
    pub always: bool,
    /// Whether it is so.
    pub holds: bool,
    /// The steps to the state that breaks it, or that reaches it: the shortest ones if one thread
    /// searched.
    pub steps: Vec<String>,
}

impl Report {
    /// Whether every property is as it must be.
    pub fn holds(&self) -> bool {
        self.properties.iter().all(|verdict| verdict.holds)
    }

    /// The properties that are broken.
    pub fn broken(&self) -> impl Iterator<Item = &Verdict> {
        self.properties.iter().filter(|verdict| verdict.always && !verdict.holds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = Duration::from_millis(self.elapsed_ms);
        writeln!(
            f,
            "{}: {} states, {} unique, depth {}, {:.1} s",
            self.model,
            self.states,
            self.unique,
            self.depth,
            elapsed.as_secs_f64()
        )?;
        for verdict in &self.properties {
            let word = match (verdict.always, verdict.holds) {
                (true, true) => "holds",
                (true, false) => "BROKEN",
                (false, true) => "reached",
                (false, false) => "NEVER REACHED",
            };
            writeln!(f, "  {word:13} {}", verdict.property)?;
            if verdict.always && !verdict.holds {
                for (number, step) in verdict.steps.iter().enumerate() {
                    writeln!(f, "    {:3} {step}", number + 1)?;
                }
            }
        }
        Ok(())
    }
}
