//! Temporary.
use crate::world::{MIB, Setup, World};
use std::time::Duration;
#[test]
fn tracing() {
    let setup = Setup { believed: 12_500_000, ..Setup::new(4, 4) };
    let mut world = World::new(&setup);
    for number in 0..16usize {
        let memory = [256, 512, 1024, 2048][number % 4] * MIB + number as u64 * MIB;
        world.add_vm(number % 4, memory, [0, 1_000_000, 4_000_000, 8_000_000][number / 4 % 4]);
    }
    world.run(Duration::from_secs(10));
    world.evacuate(0);
    for _ in 0..120 {
        let (s,b) = (world.flow_steps, world.busy_permille_sum);
        world.run(Duration::from_millis(500));
        let t: Vec<u16> = (0..4).map(|h| world.node(h).usable_tokens(world.local(h), world.link)).collect();
        let used = (world.busy_permille_sum - b) / (world.flow_steps - s);
        let cap: Vec<u64> = (0..8).map(|h| world.node(h).links_view(world.local(h)).iter().find(|l| l.id==world.link).unwrap().capacity.0/1000000).collect();
        let st: Vec<String> = (0..4).flat_map(|h| world.node(h).departures().all().map(|d| format!("{}:{}", d.vm.name, format!("{:?}", d.phase).split(' ').next().unwrap().to_string())).collect::<Vec<_>>()).collect();
        println!("{} used {used} tokens {t:?} cap {cap:?} {st:?}", world.now/1_000_000);
    }
}
