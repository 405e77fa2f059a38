//! Messages between nodes.

use lifeboat_protocol::{message::Message, wire};

use super::Target;
use crate::world::World;

/// What every node decodes of what every other says.
pub(super) const TARGET: Target =
    Target { name: "message", run, seeds, longest: 4096, share_permille: 240 };

fn run(bytes: &[u8]) {
    // The version byte is the same in every message that gets any further.
    for bytes in [bytes, &[&[wire::VERSION], bytes].concat()] {
        if let Ok(message) = wire::decode::<Message>(bytes) {
            let written = wire::encode(&message);
            assert_eq!(wire::decode::<Message>(&written).as_ref(), Ok(&message));
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    said().into_iter().map(|message| message[1..].to_vec()).collect()
}

/// What three nodes say in the course of an evacuation, one of each length.
pub(super) fn said() -> Vec<Vec<u8>> {
    let mut world = World::new(Default::default()).expect("an empty journal is a good one");
    let mut said: Vec<Vec<u8>> = Vec::new();
    world.pass(600);
    world.evacuate();
    for _ in 0..160 {
        world.pass(50);
        for message in world.mail() {
            let known =
                |one: &Vec<u8>| one.len() == message.len() && one.get(..3) == message.get(..3);
            if !said.iter().any(known) {
                said.push(message.to_vec());
            }
        }
    }
    said
}
