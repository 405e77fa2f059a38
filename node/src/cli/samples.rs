//! Answers of a daemon for the tests of what is printed.

use crate::api::{
    Arrived, EndedInfo, EvacuationInfo, HostInfo, LateInfo, LinkInfo, Measures, PlannedVmInfo,
    Report, Status, VmInfo,
};

pub(super) fn host(name: &str, site: &str) -> HostInfo {
    HostInfo {
        name: name.to_owned(),
        site: site.to_owned(),
        state: "alive".to_owned(),
        steward: false,
        vms_told: true,
        memory_total_bytes: 64 << 30,
        memory_free_bytes: 32 << 30,
        cpu_free_permille: 900,
        runtime_left_ms: None,
        nic_sent_bytes_per_sec: 0,
        nic_received_bytes_per_sec: 0,
        hypervisor_up: true,
        takes_arrivals: true,
        journal_fails: false,
        vms_left: 0,
        vms_stuck: 0,
        round_trip_us: Some(20_500),
    }
}

pub(super) fn status() -> Status {
    Status {
        node: "a1".to_owned(),
        site: "a".to_owned(),
        hypervisor_down: None,
        journal_failed: None,
        carrier_up: true,
        carrier_failed: None,
        carrier_differs: None,
        uncertain: Vec::new(),
        doubles: Vec::new(),
        hosts: vec![host("a1", "a"), host("b1", "b")],
        links: vec![link("a>b")],
        evacuations: Vec::new(),
    }
}

pub(super) fn link(name: &str) -> LinkInfo {
    LinkInfo {
        name: name.to_owned(),
        capacity_bytes_per_sec: 50_000_000,
        usable_bytes_per_sec: 47_500_000,
        arrived_bytes_per_sec: 40_000_000,
        senders: Vec::new(),
        issuers: Vec::new(),
        contested_slices: 0,
        round_trip_us: 20_500,
    }
}

pub(super) fn evacuation() -> EvacuationInfo {
    EvacuationInfo {
        id: "68f3a2c100000007".to_owned(),
        initiator: "a1".to_owned(),
        from: vec!["a".to_owned()],
        to: vec!["b".to_owned()],
        state: "active".to_owned(),
        merged_into: None,
        age_ms: 10_000,
        deadline_ms: None,
        deadline_left_ms: None,
        sources: vec!["a1".to_owned(), "a2".to_owned()],
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
    }
}

pub(super) fn vm(name: &str, host: &str, state: &str) -> VmInfo {
    VmInfo {
        id: format!("id of {name}"),
        name: name.to_owned(),
        host: host.to_owned(),
        run_state: "running".to_owned(),
        state: state.to_owned(),
        priority: 50,
        group: None,
        memory_bytes: 1 << 30,
        remaining_bytes: 1 << 30,
        reasons: Vec::new(),
    }
}

pub(super) fn late(name: &str, by_ms: u64, limit: &str) -> LateInfo {
    LateInfo {
        id: format!("id of {name}"),
        name: name.to_owned(),
        host: "a1".to_owned(),
        by_ms,
        limit: limit.to_owned(),
    }
}

pub(super) fn planned(name: &str) -> PlannedVmInfo {
    PlannedVmInfo {
        name: name.to_owned(),
        id: format!("id of {name}"),
        priority: 50,
        group: None,
        memory_bytes: 1 << 30,
        from: "a1".to_owned(),
        to: Some("b1".to_owned()),
        start_ms: 0,
        finish_ms: 5_000,
        downtime_ms: 80,
        late: false,
        limit: None,
        reasons: Vec::new(),
    }
}

pub(super) fn arrived(name: &str) -> Arrived {
    Arrived {
        id: format!("id of {name}"),
        name: name.to_owned(),
        from: "a1".to_owned(),
        to: "b1".to_owned(),
        start_ms: 1_000,
        end_ms: 26_000,
        ran: true,
        downtime_ms: Some(80),
        bytes_needed: 1 << 30,
        bytes_sent: Some((1 << 30) + (100 << 20)),
        attempts: 1,
        dirty_bytes_per_sec: 0,
    }
}

pub(super) fn ended(name: &str) -> EndedInfo {
    EndedInfo {
        id: format!("id of {name}"),
        name: name.to_owned(),
        from: "a1".to_owned(),
        to: "b1".to_owned(),
    }
}

pub(super) fn measures() -> Measures {
    Measures {
        total_ms: 26_000,
        mean_individual_ms: 25_000,
        mean_completion_ms: 26_000,
        max_downtime_ms: Some(80),
        mean_downtime_ms: Some(80),
        bytes_needed: 1 << 30,
        bytes_sent: Some((1 << 30) + (100 << 20)),
        vms_not_counted: 0,
        capacity_bytes_per_sec: 50_000_000,
        capacity_from: "estimate".to_owned(),
        link_use_permille: Some(912),
        bound_total_ms: 21_500,
        bound_individual_ms: 21_500,
        score: 1.186,
    }
}

pub(super) fn report() -> Report {
    Report {
        evacuation: evacuation(),
        links: vec![link("a>b")],
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
