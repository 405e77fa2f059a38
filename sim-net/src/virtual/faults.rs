//! Making happen what a scenario says goes wrong.

use lifeboat_protocol::Input;

use super::{
    SECOND, World,
    event::{Event, Story},
    hypervisor::Place,
    nanoseconds,
    network::Network,
    scenario::FaultKind,
};

impl World {
    /// The number of a host, or all hosts of a site.
    fn named(&self, name: &str) -> Vec<usize> {
        let hosts = self.hosts.iter().enumerate();
        let site = self.sites.iter().position(|site| site == name);
        hosts
            .filter(|(_, host)| host.name == name || site == Some(host.site))
            .map(|(index, _)| index)
            .collect()
    }

    fn host_named(&self, name: &str) -> usize {
        self.hosts.iter().position(|host| host.name == name).expect("the scenario was checked")
    }

    pub(crate) fn fault(&mut self, number: usize) {
        let kind = self.scenario.faults[number].kind.clone();
        *self.stats.faults.entry(kind.name()).or_default() += 1;
        self.disturbed_at = self.now;
        if let Some(lasting) = kind.lasting() {
            self.disturbed_until = self.disturbed_until.max(self.now + nanoseconds(lasting));
        }
        let hosts: Vec<usize> = kind.names().iter().flat_map(|name| self.named(name)).collect();
        for host in hosts {
            self.hosts[host].sound_since = self.disturbed_until.max(self.now);
        }
        let end = |lasting| self.now + nanoseconds(lasting);
        match kind {
            FaultKind::Crash { host } => self.crash(self.host_named(&host)),
            FaultKind::Start { host } => self.start(self.host_named(&host)),
            FaultKind::PowerOff { host } => self.power_off(self.host_named(&host)),
            FaultKind::Freeze { host, lasting } => {
                let host = self.host_named(&host);
                let until = end(lasting);
                self.hosts[host].frozen_until = until;
                self.events.push(until, Event::Thaw { host });
            }
            FaultKind::Slow { host, by, lasting } => {
                let host = self.host_named(&host);
                self.hosts[host].slow = (end(lasting), nanoseconds(by));
            }
            FaultKind::Cut { from, to, one_way } => {
                let all = |names: &[String]| -> Vec<usize> {
                    names.iter().flat_map(|name| self.named(name)).collect()
                };
                let (from, to) = (all(&from), all(&to));
                for from in &from {
                    for to in to.iter().filter(|to| *to != from) {
                        self.network.cut(*from, *to);
                        if !one_way {
                            self.network.cut(*to, *from);
                        }
                    }
                }
                self.cut_happened();
            }
            FaultKind::Heal => self.heal(),
            FaultKind::KillCarrier { host } => {
                let host = self.host_named(&host);
                self.hosts[host].carrier.rights.clear();
                self.break_moves(host, "the carrier died");
            }
            FaultKind::HypervisorDown { host, lasting } => {
                let host = self.host_named(&host);
                let until = end(lasting);
                self.hypervisor_dies(host);
                self.events.push(until, Event::Story(Story::HypervisorBack(host)));
            }
            FaultKind::HypervisorHangs { host, lasting } => {
                let host = self.host_named(&host);
                self.hosts[host].hypervisor.hangs_until = end(lasting);
            }
            FaultKind::HypervisorRefuses { host, lasting } => {
                let host = self.host_named(&host);
                self.hosts[host].hypervisor.refuses_until = end(lasting);
            }
            FaultKind::LoseReports { host, lasting } => {
                let host = self.host_named(&host);
                self.hosts[host].hypervisor.reports_lost_until = end(lasting);
            }
            FaultKind::DiskFull { host, lasting } => {
                let host = self.host_named(&host);
                self.hosts[host].journal.full_until = end(lasting);
            }
            FaultKind::LoseJournal { host } => {
                let host = self.host_named(&host);
                self.crash(host);
                self.hosts[host].journal.lose_everything();
            }
            FaultKind::LyingDisk { host, writes } => {
                let host = self.host_named(&host);
                self.hosts[host].journal.unsynced = writes as usize;
            }
            FaultKind::Replay { host, count } => {
                let host = self.host_named(&host);
                for (to, bytes) in self.network.old(host, count as usize) {
                    self.deliver_again(host, to, bytes);
                }
            }
            FaultKind::Garble { host, lasting } => {
                let host = self.host_named(&host);
                self.network.garble(host, end(lasting));
            }
            FaultKind::Oversized { host } => {
                let host = self.host_named(&host);
                self.deliver_again(host, None, Network::oversized());
            }
        }
    }

    /// To one host, or to all others.
    fn deliver_again(&mut self, from: usize, to: Option<usize>, bytes: std::rc::Rc<[u8]>) {
        for to in (0..self.hosts.len()).filter(|one| to.is_none_or(|to| to == *one) && *one != from)
        {
            let at = self.now + self.one_way(from, to);
            self.events.push(at, Event::Deliver { from, to, bytes: bytes.clone() });
        }
    }

    /// The daemon dies; hypervisor, carrier and journal live on.
    pub(crate) fn crash(&mut self, host: usize) {
        self.rival_dies(host);
        let one = &mut self.hosts[host];
        one.daemon = None;
        one.waiting.clear();
        one.frozen_until = 0;
        one.journal.lose_unsynced();
        one.sound_since = u64::MAX;
        self.disturbed_at = self.now;
    }

    /// The whole host dies with everything on it.
    pub(crate) fn power_off(&mut self, host: usize) {
        if !self.hosts[host].powered {
            return;
        }
        self.crash(host);
        self.hosts[host].powered = false;
        let on_it: Vec<_> = self.hosts[host].hypervisor.guests.keys().copied().collect();
        for vm in on_it {
            let elsewhere = self.copies_of(vm).map(|host| &self.hosts[host]).any(|host| {
                let guest = host.hypervisor.guests.get(&vm);
                host.powered && guest.is_some_and(super::hypervisor::Guest::is_whole)
            });
            if !elsewhere {
                self.died_with_host.insert(vm);
            }
            self.touched.insert(vm);
        }
    }

    /// Every cut is over.
    pub(crate) fn heal(&mut self) {
        self.network.heal();
        self.healed();
    }

    /// The hypervisor's daemon dies: its jobs end, guests that wait for their switchover run on.
    fn hypervisor_dies(&mut self, host: usize) {
        self.hosts[host].hypervisor.down = true;
        self.break_moves(host, "the hypervisor died");
        self.hosts[host].hypervisor.prepared.clear();
        let why = "it does not answer".to_string();
        self.tell(host, Input::HypervisorDown(why));
    }

    /// The hypervisor's daemon is back, without any job.
    pub(crate) fn hypervisor_back(&mut self, host: usize) {
        let hypervisor = &mut self.hosts[host].hypervisor;
        hypervisor.down = false;
        let half: Vec<_> = hypervisor
            .guests
            .iter()
            .filter(|(_, guest)| guest.place == Place::Incoming)
            .map(|(vm, _)| *vm)
            .collect();
        for vm in half {
            self.remove(host, vm);
        }
        self.changed(host);
    }

    /// Faults are over: whatever still has power comes back and hears everyone.
    pub(crate) fn calm_down(&mut self) {
        self.network.calm_down();
        self.healed();
        for host in 0..self.hosts.len() {
            let now = self.now;
            let one = &mut self.hosts[host];
            one.slow = (0, 0);
            one.journal.full_until = 0;
            if std::mem::take(&mut one.journal.told_full) {
                let input = Input::Journal(Ok(()));
                self.events.push(now, Event::Report { host, input });
            }
            one.hypervisor.hangs_until = 0;
            one.hypervisor.refuses_until = 0;
            one.hypervisor.reports_lost_until = 0;
            if one.frozen_until > now {
                one.frozen_until = now;
                self.events.push(now, Event::Thaw { host });
            }
            if self.hosts[host].hypervisor.down {
                self.hypervisor_back(host);
            }
            self.start(host);
        }
        self.disturbed_at = self.now;
        self.disturbed_until = self.now;
        self.calm_since = Some(self.now);
    }

    fn cut_happened(&mut self) {
        for link in 0..self.links.len() {
            if self.network.divides(&self.receivers[link]) {
                self.whole_since[link] = None;
            }
        }
    }

    fn healed(&mut self) {
        for since in &mut self.whole_since {
            since.get_or_insert(self.now + 10 * SECOND);
        }
        self.disturbed_at = self.now;
    }
}
