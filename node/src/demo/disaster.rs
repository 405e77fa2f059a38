//! The death of one daemon, and its return.

use std::time::Duration;

use super::{
    cluster::Cluster,
    options::Kill,
    picture::{Phase, Picture},
    record::KillRecord,
};

/// From the death of a daemon to its return.
const DOWN_FOR: Duration = Duration::from_secs(8);
/// Arrivals after which the initiator dies, as soon as a VM is on its way from it.
const ARRIVALS: usize = 2;

/// What is to happen, and what has happened.
#[derive(Debug)]
pub(super) struct Disaster {
    victim: Option<Victim>,
    record: Option<KillRecord>,
}

#[derive(Debug)]
struct Victim {
    host: String,
    due: Due,
}

#[derive(Debug)]
enum Due {
    /// After so many arrivals in the middle of a move from there, if there is still one to come.
    Arrivals(usize),
    Time(Duration),
}

impl Disaster {
    /// What the options ask for.
    pub(super) fn new(kill: &Kill, initiator: &str, vms: usize) -> Self {
        let victim = match kill {
            Kill::None => None,
            // With few VMs it dies earlier: some must still be there.
            Kill::Initiator => Some(Victim {
                host: initiator.to_owned(),
                due: Due::Arrivals(ARRIVALS.min(vms.saturating_sub(1))),
            }),
            Kill::Host { name, at } => Some(Victim { host: name.clone(), due: Due::Time(*at) }),
        };
        Self { victim, record: None }
    }

    /// The host whose daemon is down now.
    pub(super) fn down(&self) -> Option<&str> {
        let record = self.record.as_ref()?;
        record.restarted_at_ms.is_none().then_some(&record.host)
    }

    /// Does what is due; tells what was done.
    ///
    /// # Errors
    /// If the daemon had ended by itself before, or cannot be started again.
    pub(super) fn act(
        &mut self,
        at_ms: u64,
        picture: &Picture,
        cluster: &mut Cluster,
    ) -> anyhow::Result<Option<String>> {
        if let Some(Victim { host, .. }) =
            self.victim.take_if(|victim| is_due(victim, at_ms, picture))
        {
            let under_way = picture.under_way(&host);
            cluster.kill_node(&host)?;
            let text = format!(
                "*** the daemon of {host} is killed; it comes back in {} s ***",
                DOWN_FOR.as_secs()
            );
            self.record =
                Some(KillRecord { host, killed_at_ms: at_ms, restarted_at_ms: None, under_way });
            return Ok(Some(text));
        }
        let Some(record) = &mut self.record else { return Ok(None) };
        let down_for = Duration::from_millis(at_ms.saturating_sub(record.killed_at_ms));
        if record.restarted_at_ms.is_some() || down_for < DOWN_FOR {
            return Ok(None);
        }
        cluster.start_node(&record.host)?;
        record.restarted_at_ms = Some(at_ms);
        Ok(Some(format!("*** the daemon of {} is started again ***", record.host)))
    }

    /// What came of it.
    pub(super) fn into_record(self) -> Option<KillRecord> {
        self.record
    }
}

fn is_due(victim: &Victim, at_ms: u64, picture: &Picture) -> bool {
    match victim.due {
        Due::Arrivals(count) => {
            let all_left =
                picture.of_host(&victim.host).all(|(_, now)| now.phase == Phase::Arrived);
            let half_way = picture.of_host(&victim.host).any(|(vm, now)| {
                now.phase == Phase::Moves && now.remaining < vm.memory_bytes / 4 * 3
            });
            picture.arrived() >= count && (half_way || all_left)
        }
        Due::Time(at) => Duration::from_millis(at_ms) >= at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{
        guests,
        samples::{options, setting},
    };

    #[test]
    fn the_initiator_dies_in_the_middle_of_a_move() {
        let mut picture = Picture::new(setting(), &guests::guests(&options()));
        let disaster = Disaster::new(&Kill::Initiator, "a1", 16);
        let victim = disaster.victim.as_ref().unwrap();
        let own = picture.vms.iter().position(|vm| vm.from == "a1").unwrap();
        picture.now[own].phase = Phase::Moves;
        picture.now[own].remaining /= 2;
        assert!(!is_due(victim, 0, &picture));
        let others: Vec<usize> = (0..16).filter(|vm| picture.vms[*vm].from != "a1").collect();
        others[..2].iter().for_each(|vm| picture.now[*vm].phase = Phase::Arrived);
        assert!(is_due(victim, 0, &picture));
        picture.now[own].phase = Phase::Waits("queued".to_owned());
        assert!(!is_due(victim, 0, &picture));
    }

    #[test]
    fn a_time_is_waited_for() {
        let picture = Picture::new(setting(), &guests::guests(&options()));
        let kill = Kill::Host { name: "b2".to_owned(), at: Duration::from_secs(10) };
        let disaster = Disaster::new(&kill, "a1", 16);
        let victim = disaster.victim.as_ref().unwrap();
        assert!(!is_due(victim, 9_999, &picture));
        assert!(is_due(victim, 10_000, &picture));
        assert!(Disaster::new(&Kill::None, "a1", 16).victim.is_none());
    }
}
