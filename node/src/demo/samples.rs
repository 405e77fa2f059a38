//! Records and reports for tests.

use super::{
    options::{DemoOptions, Kill},
    record::{
        Attempt, KillRecord, LinkSample, Record, Setting, Share, ShareSample, VmRecord, measured,
    },
    verdict::{Fate, Verdict},
};
use crate::{
    api::{Arrived, EvacuationInfo, LinkInfo, Report, SenderInfo},
    units::Rate,
};

/// What nothing said means.
pub(super) fn options() -> DemoOptions {
    DemoOptions {
        hosts: 4,
        vms: 16,
        wan: Rate::from_bits_per_sec(400_000_000),
        rtt: std::time::Duration::from_millis(40),
        seed: 1,
        kill: Kill::Initiator,
        json: None,
        svg: None,
        keep: None,
    }
}

/// The setting of these options.
pub(super) fn setting() -> Setting {
    Setting {
        hosts: options().host_names().into_iter().map(|(name, _)| name).collect(),
        hosts_per_site: 4,
        capacity_bytes_per_sec: 50_000_000,
        rtt_ms: 40,
        seed: 1,
        kill: "initiator".to_owned(),
    }
}

/// A demo of three VMs in which the first host was killed.
pub(super) fn record() -> Record {
    let vms: Vec<VmRecord> = (0..3).map(vm).collect();
    Record {
        link: (1..60).map(|n| LinkSample { at_ms: n * 100, bytes_per_sec: 46_000_000 }).collect(),
        shares: (0..24)
            .map(|n| ShareSample { at_ms: n * 250, hosts: vec![share(600), share(400)] })
            .collect(),
        events: Vec::new(),
        kill: Some(KillRecord {
            host: "a1".to_owned(),
            killed_at_ms: 2000,
            restarted_at_ms: Some(5000),
            under_way: vec!["<vm>-1".to_owned()],
        }),
        wan_sent_bytes: 310_000_000,
        wan_returned_bytes: 2_000_000,
        measures: measured(&vms, 50_000_000, 310_000_000),
        verdict: Verdict {
            vms: vms
                .iter()
                .map(|vm| (vm.name.clone(), Fate::Intact { host: "b1".to_owned() }))
                .collect(),
            pages_verified: 73_242,
            all_intact: true,
        },
        setting: setting(),
        vms,
    }
}

/// A daemon's report, in which `host` holds so many tokens.
pub(super) fn report(host: &str, tokens: u16) -> Report {
    let sender = SenderInfo {
        host: host.to_owned(),
        tokens,
        sent_bytes_per_sec: 0,
        held_back: "tokens".to_owned(),
    };
    Report {
        evacuation: EvacuationInfo {
            id: "1".to_owned(),
            initiator: "a1".to_owned(),
            from: vec!["a".to_owned()],
            to: vec!["b".to_owned()],
            state: "active".to_owned(),
            merged_into: None,
            age_ms: 0,
            deadline_ms: None,
            deadline_left_ms: None,
            sources: Vec::new(),
            vms_left: 0,
            vms_stuck: 0,
            vms_unknown: 0,
            vms_not_heard: 0,
            vms_arrived: 0,
            ended: Vec::new(),
            bytes_left: 0,
            silent: Vec::new(),
            distant: Vec::new(),
            hypervisor_down: Vec::new(),
            remaining_ms: None,
        },
        links: vec![LinkInfo {
            name: "a>b".to_owned(),
            capacity_bytes_per_sec: 50_000_000,
            usable_bytes_per_sec: 47_500_000,
            arrived_bytes_per_sec: 0,
            senders: vec![sender],
            issuers: Vec::new(),
            contested_slices: 0,
            round_trip_us: 40_000,
        }],
        arrived: Vec::new(),
        waiting: Vec::new(),
        uncertain: Vec::new(),
        doubles: Vec::new(),
        late: Vec::new(),
        goes_on: Vec::new(),
        moved_by: Vec::new(),
        measures: None,
    }
}

fn share(tokens: u16) -> Share {
    Share { alive: true, tokens, bytes_per_sec: u64::from(tokens) * 47_500 }
}

/// The n-th VM of [`record`]; the middle one took two attempts.
fn vm(n: u64) -> VmRecord {
    let (start_ms, end_ms) = (n * 2000, n * 2000 + 1900);
    let mut attempts = vec![Attempt { start_ms, end_ms: Some(end_ms) }];
    if n == 1 {
        attempts.insert(0, Attempt { start_ms: 500, end_ms: Some(900) });
    }
    // A name that would break a document that does not mind it.
    let name = format!("<vm>-{n}");
    VmRecord {
        id: n.to_string(),
        name: name.clone(),
        priority: 50,
        memory_bytes: 80_000_000,
        dirty_bytes_per_sec: 1_000_000,
        from: format!("a{}", n % 2 + 1),
        to: Some("b1".to_owned()),
        paused_at_ms: Some(end_ms - 80),
        arrived_at_ms: Some(end_ms),
        downtime_ms: Some(80.4),
        reported: Some(Arrived {
            id: n.to_string(),
            name,
            from: format!("a{}", n % 2 + 1),
            to: "b1".to_owned(),
            start_ms,
            end_ms,
            ran: true,
            downtime_ms: Some(80),
            bytes_needed: 80_000_000,
            bytes_sent: Some(84_000_000),
            attempts: attempts.len() as u32,
            dirty_bytes_per_sec: 0,
        }),
        attempts,
    }
}
