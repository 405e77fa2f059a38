//! Whether every VM arrived once, intact. Believes no daemon: asks every hypervisor.

use std::fmt;

use lifeboat_sim_net::live::hypervisor::{
    Uuid,
    protocol::{Description, Inspection, Request, State},
};
use serde::Serialize;

use super::cluster::Cluster;

/// One VM before the evacuation.
#[derive(Debug, Clone)]
pub(super) struct Before {
    /// Its UUID.
    pub(super) id: Uuid,
    /// Its name.
    pub(super) name: String,
    /// What its guest could tell.
    pub(super) inspection: Inspection,
}

/// Something of a VM, seen at a host afterwards.
#[derive(Debug, Clone)]
pub(super) struct Sighting {
    /// The host.
    pub(super) host: String,
    /// Its site.
    pub(super) site: String,
    /// What is there.
    pub(super) state: State,
    /// What its guest tells, if there is one.
    pub(super) inspection: Option<Inspection>,
}

/// What became of one VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub(super) enum Fate {
    /// It runs at the other site, once, and is what it was.
    Intact {
        /// Where.
        host: String,
    },
    /// It is nowhere.
    Missing,
    /// It is live at several hosts.
    Twice {
        /// Where.
        hosts: Vec<String>,
    },
    /// It has not left.
    Behind {
        /// Where.
        host: String,
    },
    /// It is there and does not run.
    NotRunning {
        /// Where.
        host: String,
        /// What is there.
        state: State,
    },
    /// Its guest was started anew.
    Rebooted {
        /// Where.
        host: String,
    },
    /// Its guest has not executed since.
    StoodStill {
        /// Where.
        host: String,
    },
    /// Its memory does not hold what its guest wrote.
    Damaged {
        /// Where.
        host: String,
        /// How many pages.
        wrong_pages: u64,
    },
    /// Its guest could not be asked.
    Unverified {
        /// Where.
        host: String,
    },
}

impl fmt::Display for Fate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intact { host } => write!(out, "runs on {host}, intact"),
            Self::Missing => write!(out, "is LOST: no host has it"),
            Self::Twice { hosts } => write!(out, "is live TWICE: on {}", hosts.join(" and ")),
            Self::Behind { host } => write!(out, "is still on {host}"),
            Self::NotRunning { host, state } => {
                write!(out, "does not run: {host} has it as {state:?}")
            }
            Self::Rebooted { host } => write!(out, "was REBOOTED on its way to {host}"),
            Self::StoodStill { host } => write!(out, "has not executed since it is on {host}"),
            Self::Damaged { host, wrong_pages } => {
                write!(out, "is DAMAGED: {wrong_pages} wrong pages on {host}")
            }
            Self::Unverified { host } => write!(out, "could not be inspected on {host}"),
        }
    }
}

/// What became of all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    /// Each VM by name.
    pub(super) vms: Vec<(String, Fate)>,
    /// Pages that were looked at.
    pub(super) pages_verified: u64,
    /// Whether every VM arrived once, intact.
    pub(super) all_intact: bool,
}

impl Verdict {
    /// From what was seen.
    pub(super) fn new(seen: &[(Before, Vec<Sighting>)], pages_verified: u64) -> Self {
        let vms: Vec<(String, Fate)> = seen
            .iter()
            .map(|(before, sightings)| (before.name.clone(), fate(&before.inspection, sightings)))
            .collect();
        let all_intact =
            !vms.is_empty() && vms.iter().all(|(_, fate)| matches!(fate, Fate::Intact { .. }));
        Self { vms, pages_verified, all_intact }
    }

    /// Those that did not arrive once and intact.
    pub(super) fn failures(&self) -> impl Iterator<Item = &(String, Fate)> {
        self.vms.iter().filter(|(_, fate)| !matches!(fate, Fate::Intact { .. }))
    }
}

/// Whether a guest with memory is there that could run on.
pub(super) fn is_live(state: State) -> bool {
    matches!(state, State::Running | State::Paused | State::Switching)
}

fn fate(before: &Inspection, sightings: &[Sighting]) -> Fate {
    let live: Vec<&Sighting> = sightings.iter().filter(|one| is_live(one.state)).collect();
    let there = match live.as_slice() {
        [one] => *one,
        [] => {
            return sightings.first().map_or(Fate::Missing, |one| Fate::NotRunning {
                host: one.host.clone(),
                state: one.state,
            });
        }
        several => {
            return Fate::Twice { hosts: several.iter().map(|one| one.host.clone()).collect() };
        }
    };
    let host = there.host.clone();
    let Some(after) = &there.inspection else { return Fate::Unverified { host } };
    match after.wrong_pages {
        _ if there.site != "b" => Fate::Behind { host },
        _ if there.state != State::Running => Fate::NotRunning { host, state: there.state },
        _ if after.boot_id != before.boot_id => Fate::Rebooted { host },
        _ if after.ticks <= before.ticks => Fate::StoodStill { host },
        None => Fate::Unverified { host },
        Some(0) => Fate::Intact { host },
        Some(wrong_pages) => Fate::Damaged { host, wrong_pages },
    }
}

/// Notes what every VM is, before anything happens to it.
///
/// # Errors
/// If a hypervisor does not answer.
pub(super) async fn before(cluster: &Cluster) -> anyhow::Result<Vec<Before>> {
    let mut all = Vec::new();
    for host in cluster.hosts() {
        let listed: Vec<Description> = cluster.ask_hypervisor(&host.name, &Request::List).await?;
        for one in listed {
            let id = one.definition.uuid;
            let request = Request::Inspect { vm: id.clone(), digest: false, verify: false };
            let inspection = cluster.ask_hypervisor(&host.name, &request).await?;
            all.push(Before { id, name: one.definition.name, inspection });
        }
    }
    Ok(all)
}

/// Looks for every VM at every host, and at every page of its memory.
///
/// # Errors
/// If a hypervisor does not answer: what it has is not known then.
pub(super) async fn judge(cluster: &Cluster, vms: Vec<Before>) -> anyhow::Result<Verdict> {
    let mut seen: Vec<(Before, Vec<Sighting>)> =
        vms.into_iter().map(|before| (before, Vec::new())).collect();
    let mut pages = 0;
    for host in cluster.hosts() {
        let listed: Vec<Description> = cluster.ask_hypervisor(&host.name, &Request::List).await?;
        for one in listed {
            let id = one.definition.uuid;
            let Some((_, sightings)) = seen.iter_mut().find(|(before, _)| before.id == id) else {
                continue;
            };
            let request = Request::Inspect { vm: id, digest: false, verify: true };
            let inspection = if is_live(one.state) {
                pages += one.definition.memory / 4096;
                cluster.ask_hypervisor(&host.name, &request).await.ok()
            } else {
                None
            };
            sightings.push(Sighting {
                host: host.name.clone(),
                site: host.site.clone(),
                state: one.state,
                inspection,
            });
        }
    }
    Ok(Verdict::new(&seen, pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspection(ticks: u64) -> Inspection {
        Inspection {
            boot_id: "first".to_owned(),
            ticks,
            writes: ticks,
            last_downtime_ms: None,
            digest: None,
            wrong_pages: Some(0),
        }
    }

    fn sighting(host: &str, state: State) -> Sighting {
        Sighting {
            host: host.to_owned(),
            site: host[..1].to_owned(),
            state,
            inspection: Some(inspection(20)),
        }
    }

    /// The verdict over one good VM and one that was seen like this.
    fn verdict(sightings: Vec<Sighting>) -> (Fate, bool) {
        let before = |name: &str| Before {
            id: "00000000000000000000000000000001".parse().unwrap(),
            name: name.to_owned(),
            inspection: inspection(10),
        };
        let good = (before("good"), vec![sighting("b1", State::Running)]);
        let verdict = Verdict::new(&[good, (before("planted"), sightings)], 2);
        assert_eq!(verdict.failures().count(), usize::from(!verdict.all_intact));
        (verdict.vms[1].1.clone(), verdict.all_intact)
    }

    fn changed(change: impl Fn(&mut Inspection)) -> Vec<Sighting> {
        let mut there = sighting("b1", State::Running);
        there.inspection.iter_mut().for_each(change);
        vec![there]
    }

    #[test]
    fn a_vm_that_arrived_is_intact() {
        let host = "b2".to_owned();
        let good = vec![sighting("b2", State::Running)];
        assert_eq!(verdict(good), (Fate::Intact { host: host.clone() }, true));
        let with_remains = vec![sighting("a1", State::MovedAway), sighting("b2", State::Running)];
        assert_eq!(verdict(with_remains), (Fate::Intact { host }, true));
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        let host = || "b1".to_owned();
        let check = |sightings, expect: Fate| {
            assert_eq!(verdict(sightings), (expect, false));
        };
        check(Vec::new(), Fate::Missing);
        check(
            vec![sighting("a1", State::Running), sighting("b1", State::Running)],
            Fate::Twice { hosts: vec!["a1".to_owned(), "b1".to_owned()] },
        );
        check(
            vec![sighting("b1", State::Paused), sighting("b2", State::Running)],
            Fate::Twice { hosts: vec!["b1".to_owned(), "b2".to_owned()] },
        );
        check(vec![sighting("a1", State::Running)], Fate::Behind { host: "a1".to_owned() });
        check(
            vec![sighting("b1", State::Paused)],
            Fate::NotRunning { host: host(), state: State::Paused },
        );
        check(
            vec![sighting("a1", State::MovedAway)],
            Fate::NotRunning { host: "a1".to_owned(), state: State::MovedAway },
        );
        check(changed(|it| it.boot_id = "second".to_owned()), Fate::Rebooted { host: host() });
        check(changed(|it| it.ticks = 10), Fate::StoodStill { host: host() });
        check(
            changed(|it| it.wrong_pages = Some(3)),
            Fate::Damaged { host: host(), wrong_pages: 3 },
        );
        check(changed(|it| it.wrong_pages = None), Fate::Unverified { host: host() });
        let mut silent = sighting("b1", State::Running);
        silent.inspection = None;
        check(vec![silent], Fate::Unverified { host: host() });
    }

    #[test]
    fn nothing_is_not_everything() {
        assert!(!Verdict::new(&[], 0).all_intact);
    }
}
