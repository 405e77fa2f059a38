//! Many worlds, each drawn from its seed, each with its own mix of faults.

mod draw;
mod shrink;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

pub use draw::{draw, draw_ten};
pub use shrink::shrink;

use super::{
    checks::Violation,
    scenario::Scenario,
    world::{Ended, Stats, World},
};

/// How one seed ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What went wrong, if anything did.
    pub failure: Option<Failure>,
    /// What the run was made of.
    pub stats: Stats,
    /// Virtual time, nanoseconds.
    pub virtual_ns: u64,
    /// Hash of everything that happened.
    pub hash: u64,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A check found something.
    Violation(Violation),
    /// The protocol, or the simulator, panicked.
    Panic(String),
}

impl Failure {
    /// A word for it: the check's name, or `panic`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Violation(found) => found.check.name(),
            Self::Panic(_) => "panic",
        }
    }

    /// What a program that found it exits with: 1 safety, 2 liveness, 101 panic.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Violation(found) if found.check.is_liveness() => 2,
            Self::Violation(_) => 1,
            Self::Panic(_) => 101,
        }
    }
}

/// Runs one scenario to its end, whatever happens.
///
/// # Errors
/// A sentence, if the scenario describes no cluster.
pub fn run(scenario: &Scenario) -> Result<Outcome, String> {
    Ok(outcome(World::new(scenario)?))
}

/// The same with a bug planted.
///
/// # Errors
/// As [`run`].
#[cfg(feature = "planted")]
pub fn run_with_bug(
    scenario: &Scenario,
    bug: lifeboat_protocol::planted::Bug,
) -> Result<Outcome, String> {
    Ok(outcome(World::with_bug(scenario, bug)?))
}

fn outcome(mut world: World) -> Outcome {
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    let failure = match ended {
        Ok(Ended::Done | Ended::Limit) => None,
        Ok(Ended::Violated(violation)) => Some(Failure::Violation(violation)),
        Err(panic) => Some(Failure::Panic(message(panic.as_ref()))),
    };
    Outcome { failure, stats: world.stats().clone(), virtual_ns: world.now(), hash: world.hash() }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_string()
}
