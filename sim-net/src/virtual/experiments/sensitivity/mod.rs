//! What hangs on each constant of the control loop: the same worlds with it at half, as it is, and double.
//!
//! Invariants:
//! - one constant at a time is another than it is, and in all worlds the same;
//! - a change counts only if it is more than twice what other luck does to the same worlds: each is also run
//!   some times as it is with other clocks and with messages that take up to 5 ms longer;
//! - a run that fails, since a check objects or a VM is left behind, is worse than any that does not.
//!
//! Only with the cargo feature `tuning`: without it all constants are what they are.

#[cfg(feature = "tuning")]
mod compared;
#[cfg(feature = "tuning")]
mod multiples;
#[cfg(feature = "tuning")]
mod tables;
#[cfg(feature = "tuning")]
mod variants;
#[cfg(feature = "tuning")]
mod worlds;

use super::{Options, Outcome};

/// Its name.
pub(super) const NAME: &str = "sensitivity";

#[cfg(not(feature = "tuning"))]
pub(super) fn run(_: &Options) -> Result<Outcome, String> {
    Err("this lifeboat-sim was built with constants that cannot be varied: build it with --features \
         tuning"
        .into())
}

#[cfg(feature = "tuning")]
pub(super) fn run(options: &Options) -> Result<Outcome, String> {
    let worlds = worlds::all(options.seeds);
    let runs = variants::run(&worlds, options)?;
    let compared = compared::Compared::of(&worlds, &runs);
    Ok(Outcome {
        tables: tables::tables(&compared),
        goals: vec![compared.goal()],
        runs: tables::data(&worlds, &runs),
        drawings: vec![multiples::drawing(&compared)?],
        ..Outcome::default()
    })
}
