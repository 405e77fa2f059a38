//! `lifeboat-sim planted`: checkers that are seen to find something.
//!
//! Only with the cargo feature `planted`: without it there is nothing to plant.

use clap::Args;

#[derive(Debug, Args)]
#[cfg_attr(not(feature = "planted"), allow(dead_code))]
pub(crate) struct Options {
    /// Most drawn worlds for each bug.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// Only this bug.
    #[arg(long)]
    only: Option<String>,
    /// Drawn worlds alone: leave out the worlds that were made for a bug.
    #[arg(long)]
    drawn: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[cfg(not(feature = "planted"))]
pub(crate) fn planted(_: &Options) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!(
        "this lifeboat-sim was built without bugs to plant: build it with --features planted"
    )
}

#[cfg(feature = "planted")]
pub(crate) use with_the_feature::planted;

#[cfg(feature = "planted")]
mod with_the_feature {
    use std::{process::ExitCode, time::Instant};

    use anyhow::Context as _;
    use lifeboat_protocol::planted::Bug;
    use lifeboat_sim_net::r#virtual::{
        checks::Check,
        scenario::{self, Scenario},
        sweep::{Failure, draw, run, run_with_bug},
    };
    use serde::Serialize;

    use super::Options;

    /// The world that was made for a bug which drawn worlds seldom meet.
    fn made_for(bug: Bug) -> Option<&'static str> {
        macro_rules! world {
            ($name:literal) => {
                Some(include_str!(concat!("../../../scenarios/planted/", $name, ".toml")))
            };
        }
        match bug {
            Bug::GrantFromReceipt => world!("grant-from-receipt"),
            Bug::TakenOverAtOnce => world!("taken-over-at-once"),
            Bug::RestartedGrantsAtOnce => world!("restarted-grants-at-once"),
            Bug::FormerAttemptBelieved => world!("former-attempt-believed"),
            Bug::ReservationForEver => world!("reservation-for-ever"),
            Bug::ResumesWithoutCommit => world!("resumes-without-commit"),
            Bug::BeyondFreeMemory => world!("beyond-free-memory"),
            Bug::ArrivesWhileEvacuated => world!("arrives-while-evacuated"),
            Bug::HeadPassedOver => world!("head-passed-over"),
            Bug::DeadIssuerAwaited => world!("dead-issuer-awaited"),
            _ => None,
        }
    }

    /// How a bug was found.
    #[derive(Debug, Serialize)]
    struct Found {
        bug: &'static str,
        about: &'static str,
        /// The check that objected; `panic` where only an assertion did; none if nothing did.
        check: Option<&'static str>,
        /// In which world: a drawn one's seed, or the one made for the bug.
        world: String,
        /// Drawn worlds that it took.
        seeds: u64,
        seconds: f64,
        what: String,
    }

    pub(crate) fn planted(options: &Options) -> anyhow::Result<ExitCode> {
        std::panic::set_hook(Box::new(|_| {}));
        let bugs: Vec<Bug> = match &options.only {
            None => Bug::ALL.to_vec(),
            Some(name) => {
                let known = Bug::ALL.map(Bug::name).join(", ");
                let bug = Bug::ALL.into_iter().find(|bug| bug.name() == *name);
                vec![
                    bug.with_context(|| format!("no bug is called \"{name}\"; there are {known}"))?,
                ]
            }
        };
        let mut all = Vec::new();
        for bug in bugs {
            let found = find(bug, options)?;
            if !options.json {
                let Found { bug, check, world, seconds, what, about, .. } = &found;
                let check = check.unwrap_or("NOT FOUND");
                println!("{bug:24}  {check:14}  {world:12}  {seconds:5.1} s  {about}\n    {what}");
            }
            all.push(found);
        }
        let sees = |check: &Check| all.iter().any(|found| found.check == Some(check.name()));
        let blind: Vec<&str> =
            Check::ALL.iter().filter(|check| !sees(check)).map(|check| check.name()).collect();
        let missed = all.iter().filter(|found| found.check.is_none()).count();
        if options.json {
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            println!("{} of {} bugs found", all.len() - missed, all.len());
            if options.only.is_none() && !blind.is_empty() {
                println!("checks that found nothing: {}", blind.join(", "));
            }
        }
        let good = missed == 0 && (options.only.is_some() || blind.is_empty());
        Ok(ExitCode::from(u8::from(!good)))
    }

    /// Looks at the world that was made for the bug, then at drawn ones, until a check objects.
    fn find(bug: Bug, options: &Options) -> anyhow::Result<Found> {
        let began = Instant::now();
        let mut found = Found {
            bug: bug.name(),
            about: bug.about(),
            check: None,
            world: String::new(),
            seeds: 0,
            seconds: 0.0,
            what: format!("nothing objected in {} drawn worlds", options.seeds),
        };
        let made = made_for(bug).filter(|_| !options.drawn).map(scenario::parse).transpose()?;
        let made = made.map(|scenario| ("its own".to_string(), scenario));
        let drawn = (1..=options.seeds).map(|seed| (format!("seed {seed}"), draw(seed)));
        for (name, scenario) in made.into_iter().chain(drawn) {
            found.seeds += u64::from(name.starts_with("seed"));
            let Some(failure) = failure(&scenario, Some(bug))? else { continue };
            anyhow::ensure!(
                failure_is_the_bugs(&scenario)?,
                "{}: its world ({name}) fails without it, too",
                bug.name()
            );
            found.check = Some(failure.name());
            found.world = name;
            match failure {
                Failure::Violation(violation) => {
                    found.what = format!("at {} ms: {}", violation.at_ms, violation.what);
                    break;
                }
                // An assertion has seen it; whether a check does, too, other worlds show.
                Failure::Panic(words) => found.what = words,
            }
        }
        found.seconds = began.elapsed().as_secs_f64();
        Ok(found)
    }

    fn failure(scenario: &Scenario, bug: Option<Bug>) -> anyhow::Result<Option<Failure>> {
        let outcome = match bug {
            Some(bug) => run_with_bug(scenario, bug),
            None => run(scenario),
        };
        Ok(outcome.map_err(anyhow::Error::msg)?.failure)
    }

    /// Whether nothing objects where the bug is not planted.
    fn failure_is_the_bugs(scenario: &Scenario) -> anyhow::Result<bool> {
        Ok(failure(scenario, None)?.is_none())
    }
}
