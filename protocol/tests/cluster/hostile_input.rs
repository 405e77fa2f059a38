//! Input that no honest node sends: nothing panics, nothing changes, and it is said.

use crate::{
    finish, warm,
    world::{MIB, Setup, World, random::Random},
};
use lifeboat_protocol::{
    EvacuationId, Incarnation, Input, MoveId, NodeId,
    message::{Direct, Heartbeat, Inventory, LinkReport, Message},
    output::NoticeKind,
    tokens::{Acceptance, Entry, HandOn, Table},
    units::BytesPerSec,
    wire,
};
use std::time::Duration;

fn rejected(world: &World, host: usize) -> usize {
    let notices = &world.hosts[host].notices;
    notices.iter().filter(|notice| notice.kind == NoticeKind::Rejected).count()
}

/// What a node knows and does, but for its clock.
fn state(world: &World, host: usize) -> String {
    let node = world.node(host);
    let now = world.local(host);
    format!(
        "{:?} {:?} {:?} {:?}",
        node.departures(),
        node.arrivals(),
        node.usable_tokens(now, world.link),
        node.nodes_view(now).iter().map(|one| (one.id, one.liveness)).collect::<Vec<_>>()
    )
}

fn refuses(world: &mut World, from: NodeId, bytes: Vec<u8>) {
    let (state_before, rejected_before) = (state(world, 0), rejected(world, 0));
    world.input(0, Input::Received { from, bytes });
    assert_eq!(state(world, 0), state_before);
    assert_eq!(rejected(world, 0), rejected_before + 1);
}

#[test]
fn what_cannot_be_read_is_refused_and_said() {
    let mut world = warm(&Setup::new(2, 2), 4);
    world.evacuate(0);
    world.run(Duration::from_secs(2));
    let listed = world.hosts[2].id;
    let mut random = Random::new(7);
    for _ in 0..500 {
        let length = random.below(300) + 1;
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        if random.chance(500) {
            bytes[0] = wire::VERSION;
        }
        if wire::decode::<Message>(&bytes).is_err() {
            refuses(&mut world, listed, bytes);
        }
    }
    refuses(&mut world, listed, Vec::new());
    refuses(&mut world, listed, vec![wire::VERSION; wire::LIMIT + 1]);
    let good = wire::encode(&Message::Direct(Direct::Renew {
        id: MoveId { vm: world.vms[0], source: listed, incarnation: Incarnation(1), attempt: 1 },
    }));
    for length in 0..good.len() {
        refuses(&mut world, listed, good[..length].to_vec());
    }
    refuses(&mut world, NodeId::of("a stranger"), good.clone());
    let me = world.hosts[0].id;
    refuses(&mut world, me, good);
    finish(&mut world);
}

#[test]
fn nobody_speaks_of_moves_that_are_not_his() {
    let mut world = warm(&Setup::new(2, 3), 4);
    world.evacuate(0);
    world.run(Duration::from_secs(2));
    let (me, other, third) = (world.hosts[0].id, world.hosts[1].id, world.hosts[3].id);
    let of = |source| MoveId { vm: world.vms[0], source, incarnation: Incarnation(1), attempt: 1 };
    let (mine, his) = (of(me), of(other));
    let heard = world.node(0).newest_heartbeat();
    let gone = |id| Direct::SourceGone { id, paused_ms: Some(0), resumes: true, heard };
    for direct in [
        gone(his),
        Direct::Withheld { id: his },
        Direct::SourceKept { id: his },
        Direct::Closed { id: his },
        Direct::Renew { id: his },
        Direct::Settled { id: his, downtime_ms: Some(0) },
        Direct::Reserved { id: his, answer: Ok(()) },
        gone(mine),
        Direct::SourceKept { id: mine },
    ] {
        refuses(&mut world, third, wire::encode(&Message::Direct(direct)));
    }
    let before = state(&world, 0);
    let running = world.node(0).departures().all().next().expect("one is under way").id;
    // The real move, but not from its destination.
    let to = world.node(0).departures().all().next().expect("one is under way").to;
    let liar = world.hosts.iter().find(|host| host.id != to && host.id != me).expect("many").id;
    for direct in [
        Direct::Settled { id: running, downtime_ms: Some(0) },
        Direct::Discarded { id: running },
        Direct::Reserved { id: running, answer: Err("no".into()) },
    ] {
        let bytes = wire::encode(&Message::Direct(direct));
        world.input(0, Input::Received { from: liar, bytes });
    }
    assert_eq!(state(&world, 0), before);
    finish(&mut world);
}

/// Well-formed messages of a listed node whose numbers are absurd.
#[test]
fn absurd_numbers_stop_no_node() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut world = warm(&Setup::new(2, 2), 4);
        world.evacuate(0);
        world.run(Duration::from_millis(500 + 40 * seed));
        world.strict = false;
        for _ in 0..30 {
            let from = random.below(4) as usize;
            let to = (from + 1 + random.below(3) as usize) % 4;
            let message = absurd(&world, &mut random, from, to);
            let from = world.hosts[from].id;
            world.input(to, Input::Received { from, bytes: wire::encode(&message) });
            world.run(Duration::from_millis(20));
            let now = world.local(to);
            let node = world.node(to);
            drop((node.links_view(now), node.evacuations_view(now), node.vms_view(now)));
            let terms = lifeboat_protocol::plan::Terms {
                from_sites: vec![lifeboat_protocol::SiteId::of("here")],
                to: vec![lifeboat_protocol::SiteId::of("there")],
                ..Default::default()
            };
            drop(node.plan(now, &terms));
        }
        world.run(Duration::from_secs(5));
    }
}

fn absurd(world: &World, random: &mut Random, from: usize, to: usize) -> Message {
    let life = Incarnation(1);
    let mut number = || match random.below(4) {
        0 => u64::MAX,
        1 => u64::MAX - random.below(1000),
        2 => random.next(),
        _ => random.below(5),
    };
    let node = world.node(from);
    let mut vm = world.hosts[0].hypervisor.guests.values().next().map_or_else(
        || world.hosts[2].hypervisor.guests.values().next().expect("a VM").vm.clone(),
        |guest| guest.vm.clone(),
    );
    vm.memory = number();
    vm.disk = number();
    vm.dirty_rate = number();
    vm.policy.max_downtime_ms = number();
    let id = MoveId {
        vm: vm.id,
        source: world.hosts[from].id,
        incarnation: Incarnation(number()),
        attempt: number(),
    };
    let mine = MoveId { source: world.hosts[to].id, ..id };
    let link = world.link;
    match number() % 9 {
        0 => Message::Direct(Direct::Reserve {
            id,
            evacuation: EvacuationId(number()),
            vm,
            definition: None,
        }),
        1 => {
            let heard = node.newest_heartbeat();
            let (paused_ms, resumes) = (Some(number()), true);
            Message::Direct(Direct::SourceGone { id, paused_ms, resumes, heard })
        }
        2 => Message::Direct(Direct::Settled { id: mine, downtime_ms: Some(number()) }),
        3 => Message::Direct(Direct::HandOn(HandOn {
            link,
            issuer: world.hosts[2].id,
            issuer_incarnation: life,
            tokens: number() as u16,
            incarnation: life,
            answering: node.usable_tokens(world.local(from), link).into(),
            remaining_us: number(),
        })),
        4 => Message::Inventory(Inventory {
            incarnation: life,
            version: number(),
            part: number() as u16,
            parts: number() as u16,
            vms: vec![lifeboat_protocol::message::InventoryVm {
                vm,
                state: lifeboat_protocol::message::VmState::Queued,
                remaining: number(),
                reasons: Vec::new(),
            }],
            outcomes: Vec::new(),
        }),
        _ => {
            let mut queue = lifeboat_protocol::message::QueueReport {
                vms: number() as u32,
                stuck: number() as u32,
                bytes: number(),
                unknown: number() as u32,
                head: Vec::new(),
            };
            queue.head.push(lifeboat_protocol::message::HeadVm {
                vm: vm.id,
                evacuation: EvacuationId(number()),
                link,
                stage: lifeboat_protocol::message::Stage::Moving,
                priority: number() as u8,
                bytes: number(),
                dirty_rate: number(),
                floor: BytesPerSec(number()),
                most: BytesPerSec(number()),
                reach: BytesPerSec(number()),
                to: Some(world.hosts[to].id),
                rate: BytesPerSec(number()),
                setup_ms: number() as u32,
                yields: number() % 2 == 0,
                group: (number() % 2 == 0).then(|| lifeboat_protocol::groups::Grouped {
                    id: lifeboat_protocol::ids::GroupId(number() % 3),
                    begun: (number() % 2 == 0).then(|| number() as u8),
                }),
            });
            Message::Heartbeat(Heartbeat {
                incarnation: life,
                number: node.nodes_view(world.local(from)).len() as u64 + 100_000 + number() / 2,
                leaving: false,
                echoes: vec![lifeboat_protocol::message::Echo {
                    node: world.hosts[to].id,
                    incarnation: life,
                    number: number(),
                    held_us: number(),
                }],
                host: lifeboat_protocol::message::HostReport {
                    memory_total: number(),
                    memory_free: number(),
                    takes_arrivals: true,
                    ..Default::default()
                },
                links: (0..3)
                    .map(|_| LinkReport {
                        link,
                        sent: BytesPerSec(number()),
                        arrived: BytesPerSec(number()),
                        held_back: lifeboat_protocol::message::HeldBack::Link,
                        tokens: number() as u16,
                    })
                    .collect(),
                queue,
                tables: vec![Table {
                    link,
                    version: number(),
                    slices: number(),
                    entries: vec![Entry {
                        sender: world.hosts[to].id,
                        incarnation: life,
                        answering: 20,
                        tokens: number() as u16,
                    }],
                }],
                accepted: vec![Acceptance {
                    link,
                    issuer: world.hosts[to].id,
                    incarnation: life,
                    version: number(),
                    handed: vec![(world.hosts[0].id, number() as u16)],
                }],
                capacities: vec![lifeboat_protocol::message::CapacityGossip {
                    link,
                    capacity: BytesPerSec(number()),
                    epoch: number(),
                    width: 1,
                }],
                evacuations: vec![lifeboat_protocol::evacuation::Record {
                    id: EvacuationId(number()),
                    initiator: NodeId(number()),
                    from_sites: Vec::new(),
                    from_hosts: Vec::new(),
                    to: Vec::new(),
                    age_ms: number(),
                    deadline_ms: Some(number()),
                    state: lifeboat_protocol::evacuation::State::Active,
                }],
            })
        }
    }
}

/// A forged command to move something that is not there changes nothing either.
#[test]
fn senseless_commands_are_refused() {
    let mut world = warm(&Setup::new(1, 1), 1);
    let id = EvacuationId(1);
    let before = rejected(&world, 0);
    let here = lifeboat_protocol::SiteId::of("here");
    for (from_sites, to) in [(vec![], vec![here]), (vec![here], vec![]), (vec![here], vec![here])] {
        world.command(
            0,
            lifeboat_protocol::command::Command::Evacuate {
                id,
                from_sites,
                from_hosts: Vec::new(),
                to,
                deadline_ms: None,
            },
        );
    }
    world.command(0, lifeboat_protocol::command::Command::Cancel { id, abort: true });
    assert_eq!(rejected(&world, 0), before + 4);
    let peer = world.hosts[1].id;
    world.command(
        0,
        lifeboat_protocol::command::Command::DeclareDead { node: peer, whole_site: true },
    );
    assert_eq!(rejected(&world, 0), before + 5);
    world.add_vm(0, MIB, 0);
    world.run(Duration::from_secs(5));
    assert!(!world.all_safe());
}
