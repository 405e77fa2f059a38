//! Every target on its seeds, its committed corpus, its former crashes, and blind mutations of all.
//!
//! Works with a stable compiler alone. One test, since targets silence and restore the hook that
//! tells of panics.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lifeboat_fuzz::{TARGETS, Target, mutate::Mutator};

/// Time for the mutations of one target.
const TIME: Duration = Duration::from_millis(700);
/// Most mutations of one target.
const MUTATIONS: usize = 20_000;

fn files(directory: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

/// Says on which bytes a target fell, before the panic goes on.
struct Telling<'a>(&'a str, &'a str, &'a [u8]);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.2.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("target {} fell on {} (hexadecimal): {hex}", self.0, self.1);
        }
    }
}

fn run(target: &Target, what: &str, bytes: &[u8]) {
    let _telling = Telling(target.name, what, bytes);
    (target.run)(bytes);
}

#[test]
fn nothing_that_is_decoded_brings_anything_down() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for target in TARGETS {
        let mut inputs = (target.seeds)();
        assert!(!inputs.is_empty(), "{} has no seeds", target.name);
        for seed in &inputs {
            assert!(seed.len() <= target.longest, "a seed of {} is too long", target.name);
            run(target, "a seed", seed);
        }
        for kind in ["corpus", "crashes"] {
            for file in files(&here.join(kind).join(target.name)) {
                let bytes = fs::read(&file).expect("a readable file");
                run(target, &file.display().to_string(), &bytes);
                inputs.push(bytes);
            }
        }
        let mut mutator = Mutator::new(1);
        let began = Instant::now();
        let mut done = 0;
        while done < MUTATIONS && began.elapsed() < TIME {
            let one = &inputs[done % inputs.len()];
            let other = &inputs[(done * 7 + 1) % inputs.len()];
            run(target, "a mutation", &mutator.mutated(one, other, target.longest));
            done += 1;
        }
        println!("{}: {} inputs, {done} mutations", target.name, inputs.len());
    }
}

#[test]
fn nothing_lies_in_the_directory_of_no_target() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for kind in ["corpus", "crashes"] {
        for directory in files(&here.join(kind)) {
            let name = directory.file_name().expect("a name").to_string_lossy();
            let known = TARGETS.iter().any(|target| target.name == name);
            assert!(known, "{} belongs to no target: rename or remove it", directory.display());
        }
    }
}
