//! The journal's records, and a node that starts from whatever records there are.

use std::collections::BTreeMap;

use lifeboat_protocol::{journal, wire};

use super::Target;
use crate::world::{self, World};

/// Single records: a length, a key, a value.
pub(super) const RECORD: Target = Target {
    name: "journal_record",
    run: run_record,
    seeds: record_seeds,
    longest: 1024,
    share_permille: 180,
};
/// Many records, a node that finds them at its start, and what happens around it then.
pub(super) const REPLAY: Target = Target {
    name: "journal_replay",
    run: replay,
    seeds: replay_seeds,
    longest: 4096,
    share_permille: 2,
};

fn run_record(bytes: &[u8]) {
    let Some((key, value, _)) = split(bytes) else { return };
    if let Ok((key, value)) = journal::read(&versioned(key), &versioned(value)) {
        let written = journal::change(&key, Some(&value));
        let again = journal::read(&written.key, &written.value.unwrap_or_default());
        assert_eq!(again, Ok((key, value)));
    }
}

/// Records up to one with an empty key; the rest is a script for the world.
fn replay(bytes: &[u8]) {
    let names = world::names();
    let mut records = BTreeMap::new();
    let mut rest = bytes;
    while let Some((key, value, after)) = split(rest) {
        rest = after;
        if key.is_empty() {
            break;
        }
        let (key, value) = (names.spell_out(key), names.spell_out(value));
        records.insert(versioned(&key), versioned(&value));
    }
    if let Ok(mut world) = World::new(records) {
        world.play(rest);
        world.pass(1000);
    }
}

fn versioned(bytes: &[u8]) -> Vec<u8> {
    [&[wire::VERSION], bytes].concat()
}

/// Length of the key, key, length of the value, value, and what follows.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_at(usize::from(*length).min(rest.len()));
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    Some((key, value, rest))
}

fn joined(key: &[u8], value: &[u8]) -> Vec<u8> {
    let key_length = u8::try_from(key.len()).expect("keys are short");
    let length = u16::try_from(value.len()).expect("values are short").to_le_bytes();
    [&[key_length], key, &length, value].concat()
}

/// Journals at every fifth of a second of an evacuation, of all hosts.
fn journals() -> Vec<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut world = World::new(BTreeMap::new()).expect("an empty journal is a good one");
    let mut journals: Vec<BTreeMap<Vec<u8>, Vec<u8>>> = Vec::new();
    world.pass(600);
    world.evacuate();
    for _ in 0..40 {
        world.pass(200);
        for host in 0..world::HOSTS.len() {
            let journal = world.journal(host);
            if !journals.contains(journal) {
                journals.push(journal.clone());
            }
        }
    }
    journals
}

fn record_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (key, value) in journals().iter().flatten() {
        let seed = joined(&key[1..], &value[1..]);
        if !seeds.contains(&seed) {
            seeds.push(seed);
        }
    }
    seeds
}

fn replay_seeds() -> Vec<Vec<u8>> {
    let names = world::names();
    let mut seeds: Vec<Vec<u8>> = journals()
        .iter()
        .map(|journal| {
            let record = |(key, value): (&Vec<u8>, &Vec<u8>)| {
                joined(&names.shorten(&key[1..]), &names.shorten(&value[1..]))
            };
            let mut seed: Vec<u8> = journal.iter().flat_map(record).collect();
            seed.extend(joined(&[], &[]));
            seed.extend([world::script::PASS, 200]);
            seed
        })
        .collect();
    seeds.retain(|seed| seed.len() <= REPLAY.longest);
    seeds
}
