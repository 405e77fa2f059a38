//! The daemon's control socket.

use super::Target;

/// Lines in either direction.
pub(super) const TARGET: Target = Target {
    name: "control",
    run: lifeboat::fuzz::control,
    seeds,
    longest: 4096,
    share_permille: 40,
};

fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"op":"status"}
{"op":"vms"}"#,
        r#"{"op":"plan","from":["here","a1"],"to":["there"],"deadline_ms":600000}"#,
        r#"{"op":"evacuate","from":["here"],"to":["there"]}"#,
        r#"{"op":"cancel","id":"0000abcd","abort":true}
{"op":"declare_dead","host":"a2"}"#,
        r#"{"op":"events","follow":true}
{"op":"report","id":null}"#,
        r#"{"error":"no"}
{"wrong":"not so"}
{"more":null}"#,
        r#"{"done":[{"id":"a0","name":"web","host":"a1","run_state":"running","state":"queued","priority":50,"memory_bytes":1,"remaining_bytes":1,"reasons":["no room"]}]}"#,
        r#"{"done":{"node":"a1","site":"here","hypervisor_down":null,"journal_failed":null,"carrier_up":true,"hosts":[{"name":"a1","site":"here","state":"alive","memory_total_bytes":1,"memory_free_bytes":1,"cpu_free_permille":900,"runtime_left_ms":null,"nic_sent_bytes_per_sec":1,"nic_received_bytes_per_sec":1,"hypervisor_up":true,"takes_arrivals":true,"vms_left":0,"vms_stuck":0,"round_trip_us":20}],"links":[{"name":"a>b","capacity_bytes_per_sec":1,"usable_bytes_per_sec":1,"arrived_bytes_per_sec":1,"senders":[{"host":"a1","tokens":1000,"sent_bytes_per_sec":1,"held_back":"tokens"}],"issuers":[{"host":"b1","tokens":1000}],"contested_slices":0,"round_trip_us":1}],"evacuations":[]}}"#,
        r#"{"more":{"unix_seconds":1,"milliseconds":2,"kind":"vm","vm":null,"evacuation":null,"text":"web runs at b1"}}"#,
    ]
    .map(|text| format!("{text}\n").into_bytes())
    .to_vec()
}
