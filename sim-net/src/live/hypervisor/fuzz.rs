//! A migration's stream, for the fuzzer.

use super::{
    guest::{Guest, Life},
    host::validate,
    incoming::fill,
    memory::{Memory, SLAB, Taken},
    protocol::Definition,
    wire::{self, Ending, Header, Reply},
};

/// Most memory that an arrival may ask for here; a real host refuses what it has no room for.
const ROOM: u64 = 4 * SLAB as u64;

/// Takes a stream as the destination does, up to the copy that would wait for its order to run, and
/// the reply as the source does.
pub fn migration_stream(mut bytes: &[u8]) {
    drop(wire::get_json::<Reply>(&mut &bytes[..]));
    let Some(rest) = bytes.strip_prefix(wire::MAGIC) else { return };
    bytes = rest;
    let Ok(Header { definition }) = wire::get_json(&mut bytes) else { return };
    if validate(&definition).is_err() || definition.memory > ROOM {
        return;
    }
    let mut memory = Memory::new(definition.memory);
    let Ok((ending, digest)) = fill(&mut memory, &mut bytes) else { return };
    assert_eq!(digest, memory.digest(), "what was hashed on the way is what is there");
    if format!("{digest:032x}") == ending.digest {
        let paused_at = Some(ending.paused_at_ns);
        let guest = Guest::arrived(definition, memory, ending.life, paused_at);
        guest.resume();
        guest.tick();
        drop(guest.definition());
    }
}

/// A small migration that arrives.
///
/// # Panics
/// Never: memory takes any bytes.
pub fn migration_seed() -> Vec<u8> {
    let definition: Definition = serde_json::from_value(serde_json::json!({
        "uuid": "a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0", "name": "web", "memory": 12288,
    }))
    .expect("a good definition");
    let mut memory = Memory::new(definition.memory);
    memory.slab_mut(0)[4096] = 7;
    let mut stream = wire::MAGIC.to_vec();
    wire::put_json(&mut stream, &Header { definition }).expect("memory takes it");
    let mut frame = vec![0; 1 + wire::PAGES_HEAD];
    wire::put_pages_head(&mut frame, 0, Taken { pages: 0b111, zeros: 0b101 });
    stream.extend(frame);
    stream.extend_from_slice(&memory.slab_mut(0)[4096..8192]);
    stream.push(wire::END);
    let life = Life { boot_id: "0".repeat(32), ticks: 3, writes: 4 };
    let digest = format!("{:032x}", memory.digest());
    let ending = Ending { life, digest, paused_at_ns: 5, dirty_rate: 6 };
    wire::put_json(&mut stream, &ending).expect("memory takes it");
    stream
}
