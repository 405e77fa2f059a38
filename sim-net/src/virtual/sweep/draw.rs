//! A world, its workload and its mix of faults, drawn from a seed.
//!
//! Three worlds in four are small, since most of what goes wrong needs few to go wrong.
//!
//! Each of the three has its own stream. A world draws first how bad its network is and which kinds
//! of faults it knows at all, so that some worlds meet one kind again and again and others a
//! mixture; one in ten is harsh, and most of its hosts die.

use std::time::Duration;

use lifeboat_units::{ByteSize, Rate, Span};

use crate::{
    random::SplitMix,
    r#virtual::scenario::{
        Change, Evacuation, Fault, FaultKind, Host, Hypervisor, Link, Network, Scenario, Vm,
        VmState,
    },
};

const MIB: u64 = 1 << 20;
/// Every fault begins before this, milliseconds.
const STORY_MS: u64 = 60_000;
/// How long the calm may last, besides a multiple of what the worst link needs for everything.
const CALM: Duration = Duration::from_secs(300);
/// That multiple: guests that dirty faster than the link carries are sent several times.
const CALM_TIMES: u64 = 30;

fn ms(milliseconds: u64) -> Span {
    Span(Duration::from_millis(milliseconds))
}

/// How large worlds are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// Small ones, mostly.
    Any,
    /// Ten hosts and forty VMs.
    Ten,
}

/// The scenario of a seed.
pub fn draw(seed: u64) -> Scenario {
    drawn(seed, Size::Any)
}

/// The same with ten hosts and forty VMs, to measure how fast worlds are run.
pub fn draw_ten(seed: u64) -> Scenario {
    drawn(seed, Size::Ten)
}

fn drawn(seed: u64, size: Size) -> Scenario {
    let mut world = SplitMix::named(seed, "sweep world");
    let mut workload = SplitMix::named(seed, "sweep workload");
    let mut faults = SplitMix::named(seed, "sweep faults");
    let small = world.permille(750);
    let small = small && size == Size::Any;
    let hosts = draw_hosts(&mut world, small, size);
    let capacity = 12_500_000 * world.between(1, 40);
    let links = draw_links(&mut world, &hosts, capacity);
    let vms = draw_vms(&mut workload, &hosts, capacity, small, size);
    let mut scenario = Scenario {
        about: String::new(),
        seed,
        limit: ms(0),
        calm: None,
        mesh: None,
        network: draw_network(&mut world),
        hypervisor: Hypervisor::default(),
        links,
        inventory: None,
        vms,
        evacuations: draw_evacuations(&mut workload, &hosts),
        faults: Vec::new(),
        hosts,
    };
    for host in &mut scenario.hosts {
        let on_it = scenario.vms.iter().filter(|vm| vm.host == host.name);
        let needed: u64 = on_it.map(|vm| vm.memory.0 + vm.memory.0 / 8 + 256 * MIB).sum();
        host.memory = host.memory.max(ByteSize(needed));
    }
    if faults.permille(100) {
        harsh(&mut faults, &mut scenario);
    }
    if !faults.permille(80) {
        draw_faults(&mut faults, &mut scenario);
    }
    let last = scenario
        .faults
        .iter()
        .map(|fault| fault.at.0 + fault.kind.lasting().map_or(Duration::ZERO, |lasting| lasting.0));
    let calm = last.max().unwrap_or_default().max(Duration::from_millis(STORY_MS));
    let calm = calm + Duration::from_millis(faults.below(2000));
    if !scenario.faults.is_empty() {
        scenario.calm = Some(Span(calm));
    }
    let bytes: u64 = scenario.vms.iter().map(|vm| vm.memory.0).sum();
    let rates = scenario.links.iter().flat_map(|link| {
        let changed = link.changes.iter().filter_map(|change| change.capacity);
        changed.chain([link.capacity])
    });
    let worst = rates.map(Rate::bytes_per_sec).min().unwrap_or(1).max(1);
    scenario.limit = Span(calm + CALM + Duration::from_secs(CALM_TIMES * bytes / worst));
    scenario
}

fn draw_hosts(random: &mut SplitMix, small: bool, size: Size) -> Vec<Host> {
    let two_targets = random.permille(250);
    let (here, there, yonder) = if small { (3, 3, 2) } else { (6, 5, 3) };
    let mut sites = vec![("here", random.between(1, here)), ("there", random.between(1, there))];
    if two_targets {
        sites.push(("yonder", random.between(1, yonder)));
    }
    if size == Size::Ten {
        let there =
            if two_targets { vec![("there", 3), ("yonder", 2)] } else { vec![("there", 5)] };
        sites = [vec![("here", 5)], there].concat();
    }
    let drift = [0, 100, 10_000][random.below(3) as usize];
    let mut hosts = Vec::new();
    for (site, count) in sites {
        for number in 1..=count {
            hosts.push(Host {
                name: format!("{site}{number}"),
                site: site.into(),
                memory: ByteSize((8 << 30) * random.between(1, 8)),
                nic: Rate::from_bits_per_sec(1_000_000_000 * [1, 10, 25][random.below(3) as usize]),
                power: None,
                power_known: true,
                clock_ppm: random.below(2 * drift + 1) as i64 - drift as i64,
                start: ms(if random.permille(60) { random.below(20_000) } else { 0 }),
                lease: None,
            });
        }
    }
    hosts
}

fn sites(hosts: &[Host]) -> Vec<String> {
    let mut sites: Vec<String> = hosts.iter().map(|host| host.site.clone()).collect();
    sites.dedup();
    sites
}

fn draw_links(random: &mut SplitMix, hosts: &[Host], capacity: u64) -> Vec<Link> {
    let targets = sites(hosts).split_off(1);
    let shared = random.permille(500);
    let ends: Vec<Vec<String>> =
        if shared { vec![targets] } else { targets.into_iter().map(|site| vec![site]).collect() };
    let rtt = ms([1, 5, 20, 60, 180, 400][random.below(6) as usize]);
    let mut links = Vec::new();
    for to in ends {
        let mut changes = Vec::new();
        for _ in 0..[0, 0, 1, 3][random.below(4) as usize] {
            changes.push(Change {
                at: ms(random.between(5_000, STORY_MS)),
                capacity: Some(Rate::from_bytes_per_sec(
                    capacity * random.between(100, 1500) / 1000,
                )),
                ..Change::default()
            });
        }
        links.push(Link {
            from: "here".into(),
            to,
            capacity: Rate::from_bytes_per_sec(capacity),
            rtt,
            window: ByteSize(4 << 20),
            stream_ceiling: None,
            loss_ppm: 0,
            saturates: false,
            streams: 16,
            production: Rate::from_bytes_per_sec(if random.permille(200) {
                capacity / 4
            } else {
                0
            }),
            ceiling: None,
            initial: Rate::from_bytes_per_sec(capacity * random.between(100, 2000) / 1000),
            reserve_permille: 50,
            changes,
        });
    }
    links
}

fn draw_network(random: &mut SplitMix) -> Network {
    Network {
        loss_permille: [0, 0, 10, 50, 100, 200][random.below(6) as usize],
        duplicate_permille: [0, 0, 50][random.below(3) as usize],
        jitter: ms([0, 5, 60, 300][random.below(4) as usize]),
        relay: random.permille(500),
        ..Network::default()
    }
}

fn draw_vms(
    random: &mut SplitMix,
    hosts: &[Host],
    capacity: u64,
    small: bool,
    size: Size,
) -> Vec<Vm> {
    let sources: Vec<&Host> = hosts.iter().filter(|host| host.site == "here").collect();
    let count = random.between(1, if small { 8 } else { 40 });
    let count = if size == Size::Ten { 40 } else { count };
    // All of them together take the link so many seconds.
    let seconds = random.between(5, if small { 30 } else { 60 });
    let grouped = random.permille(200);
    let mean = (capacity * seconds / count).clamp(16 * MIB, 4096 * MIB);
    (1..=count)
        .map(|number| {
            let memory = (mean * random.between(200, 2200) / 1000).max(8 * MIB);
            let dirty = if random.permille(400) { 0 } else { capacity * random.below(700) / 1000 };
            let dirty = if random.permille(50) { capacity * 2 } else { dirty };
            let state = match random.below(20) {
                0 => VmState::Paused,
                1 => VmState::ShutOff,
                _ => VmState::Running,
            };
            Vm {
                name: format!("vm{number}"),
                host: random.pick(&sources).name.clone(),
                memory: ByteSize(memory),
                dirty_rate: Rate::from_bytes_per_sec(dirty),
                working_set: Some(ByteSize(memory * random.between(10, 500) / 1000)),
                priority: [50, 50, 50, 90, 10][random.below(5) as usize],
                group: (grouped && random.permille(500))
                    .then(|| random.pick(&["shop", "mail"]).to_string()),
                disk: ByteSize(0),
                state,
                stop_and_copy: random.permille(500),
            }
        })
        .collect()
}

fn draw_evacuations(random: &mut SplitMix, hosts: &[Host]) -> Vec<Evacuation> {
    let targets = sites(hosts).split_off(1);
    let evacuation = |random: &mut SplitMix, at: u64, cancel: Option<u64>| Evacuation {
        from: vec!["here".into()],
        to: if random.permille(300) {
            vec![random.pick(&targets).clone()]
        } else {
            targets.clone()
        },
        at: ms(at),
        initiator: random.pick(hosts).name.clone(),
        deadline: random.permille(200).then(|| ms(random.between(10_000, 120_000))),
        cancel: cancel.map(ms),
        abort: random.permille(500),
    };
    let at = random.between(2000, 8000);
    match random.below(10) {
        // Two at once, at two nodes.
        0 => vec![evacuation(random, at, None), evacuation(random, at, None)],
        // Cancelled, and asked for again.
        1 => {
            let cancel = at + random.between(500, 20_000);
            let again = cancel + random.between(500, 10_000);
            vec![evacuation(random, at, Some(cancel)), evacuation(random, again, None)]
        }
        2 => {
            let cancel = at + random.between(500, 20_000);
            vec![evacuation(random, at, Some(cancel))]
        }
        _ => vec![evacuation(random, at, None)],
    }
}

/// Most hosts die.
fn harsh(random: &mut SplitMix, scenario: &mut Scenario) {
    let names: Vec<(String, String)> =
        scenario.hosts.iter().map(|host| (host.name.clone(), host.site.clone())).collect();
    for (host, _) in names {
        if random.permille(600) {
            let at = ms(random.between(5_000, STORY_MS));
            scenario.faults.push(Fault { at, kind: FaultKind::PowerOff { host } });
        }
    }
}

fn draw_faults(random: &mut SplitMix, scenario: &mut Scenario) {
    let known: Vec<u64> = (0..17).filter(|_| random.permille(400)).collect();
    if known.is_empty() {
        return;
    }
    for _ in 0..random.between(1, 14) {
        let at = random.between(2000, STORY_MS);
        let kind = *random.pick(&known);
        let host = random.pick(&scenario.hosts).name.clone();
        for (at, kind) in fault(random, scenario, kind, host, at) {
            scenario.faults.push(Fault { at: ms(at), kind });
        }
    }
}

fn fault(
    random: &mut SplitMix,
    scenario: &Scenario,
    kind: u64,
    host: String,
    at: u64,
) -> Vec<(u64, FaultKind)> {
    let lasting = ms([50, 400, 2000, 4000, 12_000][random.below(5) as usize] + random.below(500));
    let again = at + [10, 300, 2000, 5000, 20_000][random.below(5) as usize] + random.below(500);
    let restarted = |kind: FaultKind, host: &str| {
        vec![(at, kind), (again, FaultKind::Start { host: host.to_string() })]
    };
    match kind {
        0 | 1 => restarted(FaultKind::Crash { host: host.clone() }, &host),
        2 => vec![(at, FaultKind::Freeze { host, lasting })],
        3 => vec![(at, FaultKind::Slow { host, by: ms(random.between(5, 400)), lasting })],
        4..=6 => {
            let other = random.pick(&scenario.hosts).clone();
            let (from, to) = match kind {
                4 => (vec!["here".to_string()], sites(&scenario.hosts).split_off(1)),
                // One host against everyone at another's site, or against just one.
                5 => (vec![host], vec![other.site]),
                _ => (vec![host], vec![other.name]),
            };
            let one_way = random.permille(400);
            vec![(at, FaultKind::Cut { from, to, one_way }), (again, FaultKind::Heal)]
        }
        7 => vec![(at, FaultKind::KillCarrier { host })],
        8 => vec![(at, FaultKind::HypervisorDown { host, lasting })],
        9 => vec![(at, FaultKind::HypervisorHangs { host, lasting })],
        10 => vec![(at, FaultKind::HypervisorRefuses { host, lasting })],
        11 => vec![(at, FaultKind::LoseReports { host, lasting })],
        12 => vec![(at, FaultKind::DiskFull { host, lasting })],
        13 => vec![(at, FaultKind::Replay { host, count: random.between(1, 64) as u32 })],
        14 => vec![(at, FaultKind::Garble { host, lasting })],
        15 => vec![(at, FaultKind::Oversized { host })],
        _ => restarted(FaultKind::LoseJournal { host: host.clone() }, &host),
    }
}
