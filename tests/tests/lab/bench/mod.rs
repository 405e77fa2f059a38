//! The lab against virsh: the same guests evacuated by `lifeboat` and by plain `virsh`, taking turns
//! in one run, each against the bound.
//!
//! Nothing is asserted here but correctness: every run ends with the scenarios' questions (see
//! [`crate::verdict`]), and a goal that is missed is only said. Times are read off the events of the
//! hypervisors, for all strategies alike; none is asked how long it took. No daemon of `lifeboat`
//! runs while virsh has its turn, and those of its own turns know nothing of earlier ones.

mod figures;
mod lifeboat;
mod options;
mod settings;
mod strategies;
mod summary;
mod virsh;
mod watch;

use std::fs;

use anyhow::Context;
use serde_json::json;

use crate::{cluster::Cluster, guests, lab::Lab, triggers::Events};
use options::Options;
use settings::Setting;
use strategies::Run;
use summary::Summary;

/// Plays what the words ask for; prints every run, the medians, and whether the goals are met.
pub(crate) fn run(words: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let options = Options::parse(words)?;
    let mut summaries = Vec::new();
    for setting in settings::ALL.iter().filter(|setting| options.wants(setting.name)) {
        let runs = play(setting, options.rounds).with_context(|| setting.name)?;
        summaries.push(Summary::of(setting, runs));
    }
    for summary in &summaries {
        println!("\n{summary}");
    }
    if let Some(file) = options.json {
        let text = serde_json::to_string_pretty(&json!({ "settings": summaries }))?;
        fs::write(&file, text + "\n").with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// All rounds of a setting, in a lab of its own, from which the guests go back and forth.
fn play(setting: &Setting, rounds: usize) -> anyhow::Result<Vec<Run>> {
    println!("\n== {}", setting.description());
    let sites: [(&str, &[&str]); 2] = [("A", &["a1", "a2"]), ("B", &["b1", "b2"])];
    let lab = Lab::up(&sites, settings::RATE, setting.rtt)?;
    let mut cluster = Cluster::configured(lab, settings::CEILING)?;
    // Listening long before there is anything to hear, so that nothing is missed.
    let hosts: Vec<String> = cluster.lab.hosts().map(str::to_owned).collect();
    let events = Events::of(&cluster, &hosts)?;
    let guests = setting.guests();
    guests::boot(&cluster, &guests)?;
    let mut runs = Vec::new();
    for round in 0..rounds {
        let mut order = strategies::ALL;
        // Nobody always goes first, nor always in the same direction.
        order.rotate_left(round % strategies::ALL.len());
        for strategy in order {
            println!("   round {}, {}", round + 1, strategy.name());
            let run = strategies::run(&mut cluster, &events, &guests, round, strategy)
                .inspect_err(|_| cluster.print_evidence())
                .context(strategy.name())?;
            runs.push(run);
        }
    }
    Ok(runs)
}
