//! Searching one model whole, breadth first.

use super::report::{Report, Verdict};
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::{fmt::Debug, hash::Hash, time::Instant};

/// Searches every state that a model can reach, or until something is broken. With one thread the
/// steps told are the shortest ones.
pub fn search<M>(name: &str, model: M, threads: usize) -> Report
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Clone + PartialEq + Send + Sync,
    M::Action: Clone + PartialEq + Debug,
{
    let properties = model.properties();
    let started = Instant::now();
    let checker = model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut found = checker.discoveries();
    let verdicts = properties.iter().map(|property| {
        let path = found.remove(property.name);
        let always = property.expectation == Expectation::Always;
        let holds = path.is_some() != always;
        let actions = path.map(|path| path.into_actions()).unwrap_or_default();
        let steps = actions.iter().map(|action| checker.model().format_action(action)).collect();
        Verdict { property: property.name.into(), always, holds, steps }
    });
    Report {
        model: name.into(),
        states: checker.state_count(),
        unique: checker.unique_state_count(),
        depth: checker.max_depth(),
        elapsed_ms,
        properties: verdicts.collect(),
    }
}
