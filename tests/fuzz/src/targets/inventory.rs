//! A scenario's inventory of VMs: CSV.

use lifeboat_sim_net::fuzz::inventory;

use super::Target;

/// A CSV file.
pub(super) const TARGET: Target =
    Target { name: "inventory", run, seeds, longest: 2048, share_permille: 60 };

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match inventory(text) {
        Ok(vms) => assert!(vms.len() <= text.lines().count()),
        Err((line, what)) => {
            assert!(line >= 1 && line <= text.lines().count(), "line {line} is wrong: {what}");
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "name,host,memory,dirty_rate,working_set,priority,disk\nweb,a1,1.5GiB,10MB/s,512MiB,90,10GB\n",
        "host,name,memory\na1,db,512MiB\n\na2,mail,2GiB\n",
        "name,host,memory,priority\nweb,a1,1GiB,\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
