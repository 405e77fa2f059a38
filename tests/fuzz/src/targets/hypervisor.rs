//! The embedded hypervisor and the WAN emulator: migration streams and control sockets.

use lifeboat_sim_net::fuzz;

use super::Target;

/// A migration's stream as the destination takes it.
pub(super) const STREAM: Target = Target {
    name: "migration_stream",
    run: fuzz::migration_stream,
    seeds: || vec![fuzz::migration_seed()],
    longest: 8192,
    share_permille: 20,
};
/// A line on a control socket, in either direction, and the driver's view of a VM.
pub(super) const CONTROL: Target = Target {
    name: "hypervisor_control",
    run,
    seeds: control_seeds,
    longest: 2048,
    share_permille: 40,
};

fn run(bytes: &[u8]) {
    fuzz::control_line(bytes);
    if let Some(vm) = lifeboat_hypervisor::fuzz::described(bytes) {
        let priority = lifeboat::fuzz::vm(vm).policy.priority;
        assert!(priority <= 100, "priority {priority}");
    }
}

fn control_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"id":1,"do":"capacity"}"#,
        r#"{"id":1,"do":"list"}"#,
        r#"{"id":"x","do":"look","vm":"a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0"}"#,
        r#"{"id":1,"do":"create","definition":{"uuid":"a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0","name":"web","memory":4096,"vcpus":2,"seed":1,"zero_percent":10,"compressible_percent":20,"dirty_rate":5,"working_set":4096,"policy":{"priority":90}},"paused":true}"#,
        r#"{"id":1,"do":"cut","from":"a","to":"b","one_way":true}"#,
        r#"{"id":1,"do":"set","from":"a","capacity_bits":1000000,"rtt_ms":20.5,"window_bytes":65536,"loss":0.01}"#,
        r#"{"id":null,"do":"subscribe"}"#,
        r#"{"id":1,"error":{"kind":"not_found","reason":"there is no VM"}}"#,
        r#"{"uuid":"a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0","name":"web","memory":4096,"policy":{"priority":200},"state":"running"}"#,
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec()
}
