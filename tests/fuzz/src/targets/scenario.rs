//! Scenarios: what a person writes, what the sweep saves, and what shrinking reads.

use lifeboat_sim_net::r#virtual::{
    World,
    scenario::{Scenario, parse},
    sweep::draw,
};

use super::Target;

/// From a text to the first moments of the world that it describes.
pub(super) const TARGET: Target =
    Target { name: "scenario", run, seeds, longest: 8192, share_permille: 3 };

/// Most things in a world that is built; larger ones are only read.
const MOST: usize = 24;
/// Virtual time that a world is given.
const MOMENTS_NS: u64 = 300_000_000;

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let scenario = match parse(text) {
        Ok(scenario) => scenario,
        Err(error) => return drop(error.to_string()),
    };
    let written = toml_text(&scenario);
    match parse(&written) {
        Ok(again) => assert_eq!(again, scenario, "what is written is read again: {written}"),
        Err(error) => panic!("what was written cannot be read: {error}\n{written}"),
    }
    let things = scenario.hosts.len() + scenario.vms.len() + scenario.links.len();
    if things <= MOST
        && let Ok(mut world) = World::new(&scenario)
    {
        // What the world's checks find in a nonsensical one is no bug of reading it.
        let _ = world.run_until(MOMENTS_NS);
    }
}

fn toml_text(scenario: &Scenario) -> String {
    toml::to_string(scenario).expect("a scenario is plain data")
}

fn seeds() -> Vec<Vec<u8>> {
    let mut texts: Vec<String> = (1..9).map(|seed| toml_text(&draw(seed))).collect();
    texts.retain(|text| text.len() <= TARGET.longest);
    texts.push(include_str!("../../../../sim-net/scenarios/last-hour.toml").to_owned());
    texts.into_iter().map(String::into_bytes).collect()
}
