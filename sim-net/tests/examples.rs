//! The worked examples do what they are said to show.

use std::{collections::BTreeMap, path::Path};

use lifeboat_sim_net::r#virtual::{World, report::Report, scenario};

fn run(name: &str, seed: u64) -> Report {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let mut scenario = scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
    scenario.seed = seed;
    let mut world = World::new(&scenario).expect("a good scenario");
    let ended = world.run();
    world.report(&ended)
}

#[test]
fn a_group_ends_at_one_site_although_all_its_hosts_choose_at_once() {
    for seed in 1..=5 {
        let report = run("groups.toml", seed);
        assert_eq!(report.ended, "done", "seed {seed}");
        let mut sites: BTreeMap<&str, Vec<char>> = BTreeMap::new();
        for vm in &report.vms {
            let (group, _) = vm.name.split_once('-').expect("the group's name comes first");
            let site = vm.to.as_ref().and_then(|host| host.chars().next()).expect("it arrived");
            sites.entry(group).or_default().push(site);
        }
        for (group, sites) in &sites {
            assert!(
                sites.windows(2).all(|two| two[0] == two[1]),
                "seed {seed}, {group}: {sites:?}"
            );
        }
        assert_ne!(sites["shop"][0], sites["mail"][0], "seed {seed}: one link did nothing");
    }
}
