//! What keeps a VM from leaving, as far as its own host can tell.
//!
//! The move of a shut-off VM carries its definition and nothing else. Whatever more its host keeps
//! of it would be left behind, or deleted together with the definition; so such a VM stays, and why
//! is said. Of snapshots and checkpoints libvirt keeps what it knows beside every definition, and
//! lets no running VM go that has snapshots.

use virt::{domain::Domain, error::Error};

use super::{Storage, domain_xml::Description, raw};
use crate::RunState;

/// Everything that keeps a domain here.
pub(super) fn obstacles(
    domain: &Domain,
    state: RunState,
    description: &Description,
    storage: Storage,
) -> Result<Vec<String>, Error> {
    let mut obstacles = description.obstacles.clone();
    obstacles.extend(known_here("snapshot", domain.num_snapshots(0)?));
    obstacles.extend(known_here("checkpoint", raw::checkpoints(domain)?));
    if state == RunState::ShutOff {
        if domain.has_managed_save(0)? {
            obstacles.push(
                "it is shut off with a saved state, which would be left behind: start it, or give \
                 the state up (virsh managedsave-remove)"
                    .into(),
            );
        }
        obstacles.extend(left_behind(description, storage));
    }
    Ok(obstacles)
}

fn known_here(what: &str, number: u32) -> Option<String> {
    let plural = if number == 1 { "" } else { "s" };
    (number > 0).then(|| {
        format!(
            "it has {number} {what}{plural}, which cannot travel: delete them (virsh {what}-delete)"
        )
    })
}

/// What a definition that moves alone leaves behind.
fn left_behind(description: &Description, storage: Storage) -> Vec<String> {
    let disks = match storage {
        Storage::Shared => Vec::new(),
        Storage::Local => description.disks.iter().filter_map(|disk| disk.source.clone()).collect(),
    };
    let disks = disks.into_iter().map(|source| {
        format!(
            "it is shut off and its disk {source} is local, which only a running VM takes along: \
             start it, or copy the disk and its definition by hand"
        )
    });
    let beside = description.kept_beside.iter().map(|what| {
        format!(
            "it is shut off and this host keeps {what} in a file, which only a running VM takes \
             along: start it, or copy the file and its definition by hand"
        )
    });
    disks.chain(beside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::domain_xml::Disk;

    #[test]
    fn local_disks_keep_a_shut_off_vm_and_are_named() {
        let disk = |source: Option<&str>| Disk {
            target: "vda".into(),
            source: source.map(Into::into),
            written: true,
        };
        let disks = vec![disk(Some("/images/web.img")), disk(None)];
        let mut description = Description { disks, ..Description::default() };
        assert_eq!(left_behind(&description, Storage::Shared), Vec::<String>::new());
        let told = left_behind(&description, Storage::Local);
        assert!(
            told.len() == 1 && told[0].contains("its disk /images/web.img is local"),
            "{told:?}"
        );
        description.kept_beside = vec!["its TPM's state"];
        let told = left_behind(&description, Storage::Shared);
        assert!(told.len() == 1 && told[0].contains("keeps its TPM's state in a file"), "{told:?}");
    }

    #[test]
    fn snapshots_are_counted() {
        assert_eq!(known_here("snapshot", 0), None);
        assert!(known_here("snapshot", 1).unwrap().starts_with("it has 1 snapshot, "));
        assert!(known_here("checkpoint", 2).unwrap().starts_with("it has 2 checkpoints, "));
    }
}
