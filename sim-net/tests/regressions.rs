//! Worlds in which a check once objected never fail again, and every run of one is the same.

use std::path::Path;

use lifeboat_sim_net::r#virtual::{scenario, sweep};

#[test]
fn no_world_fails_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/regressions");
    let mut worlds = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        worlds += 1;
        let scenario = scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let outcome = sweep::run(&scenario).unwrap();
        assert_eq!(outcome.failure, None, "{}: {}", path.display(), scenario.about);
        let again = sweep::run(&scenario).unwrap();
        assert_eq!(outcome.hash, again.hash, "{}: not the same twice", path.display());
    }
    assert!(worlds > 0, "there is no world to replay");
}

#[test]
fn a_drawn_world_is_what_its_text_says() {
    for seed in 1..40 {
        let drawn = sweep::draw(seed);
        let text = toml::to_string(&drawn).unwrap();
        assert_eq!(scenario::parse(&text).unwrap(), drawn, "seed {seed}");
    }
}
