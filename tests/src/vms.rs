//! What the hypervisors have, asked of themselves.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use lifeboat_sim_net::live::hypervisor::{
    Uuid,
    protocol::{Definition, Description, Inspection, Request, State},
};

use crate::{World, until};

/// Where a VM is and what it does there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The host.
    pub host: String,
    /// What it does.
    pub state: State,
}

/// By VM name: every host that has something complete of it.
pub type Found = BTreeMap<String, Vec<Home>>;

/// A VM as it was before it was disturbed.
#[derive(Debug, Clone)]
pub(crate) struct Birth {
    pub(crate) definition: Definition,
    pub(crate) state: State,
    inspection: Option<Inspection>,
}

impl World {
    /// Everything that the hypervisors have; those of dead hosts have nothing.
    ///
    /// # Errors
    /// Never; for `?`.
    pub async fn find_vms(&self) -> anyhow::Result<Found> {
        let mut found = Found::new();
        for host in self.cluster().hosts() {
            let list = self.cluster().ask_hypervisor(&host.name, &Request::List).await;
            let list: Vec<Description> = list.unwrap_or_default();
            let complete = list.into_iter().filter(|one| {
                matches!(
                    one.state,
                    State::Running | State::Paused | State::Switching | State::ShutOff
                )
            });
            for one in complete {
                let home = Home { host: host.name.clone(), state: one.state };
                found.entry(one.definition.name).or_default().push(home);
            }
        }
        Ok(found)
    }

    /// Names of the VMs of which exactly one complete copy exists, at a host whose name begins with
    /// `site`, in the state that it was in at first.
    ///
    /// # Errors
    /// Never; for `?`.
    pub async fn settled_at(&self, site: &str) -> anyhow::Result<Vec<String>> {
        let found = self.find_vms().await?;
        let settled = self.births().values().filter(|birth| {
            matches!(
                found.get(&birth.definition.name).map(Vec::as_slice),
                Some([home]) if home.host.starts_with(site) && home.state == birth.state
            )
        });
        Ok(settled.map(|birth| birth.definition.name.clone()).collect())
    }

    /// Waits until every VM has arrived at site `b`, then holds each against what it was at first.
    ///
    /// # Errors
    /// If one is missing, runs on several hosts, or is not what it was.
    pub async fn all_arrive_intact(&self, within: Duration) -> anyhow::Result<()> {
        let all = self.births().len();
        let waited = until("all VMs at site b", within, async || {
            Ok((self.settled_at("b").await?.len() == all).then_some(()))
        });
        if let Err(error) = waited.await {
            return Err(error.context(format!("{:#?}", self.find_vms().await?)));
        }
        self.all_intact().await
    }

    /// Holds every VM, wherever it is, against what it was at first.
    ///
    /// # Errors
    /// If one is missing, exists on several hosts, or is not what it was.
    pub async fn all_intact(&self) -> anyhow::Result<()> {
        let found = self.find_vms().await?;
        for birth in self.births().values() {
            let name = &birth.definition.name;
            let homes = found.get(name).map_or(&[][..], Vec::as_slice);
            let [home] = homes else { anyhow::bail!("{name} is on these hosts: {homes:?}") };
            self.intact(birth, home).await.with_context(|| format!("{name} on {}", home.host))?;
        }
        Ok(())
    }

    async fn intact(&self, birth: &Birth, home: &Home) -> anyhow::Result<()> {
        ensure!(home.state == birth.state, "it is {:?} and was {:?}", home.state, birth.state);
        let vm = birth.definition.uuid.clone();
        let Some(then) = &birth.inspection else {
            let definition: Definition =
                self.cluster().ask_hypervisor(&home.host, &Request::Definition { vm }).await?;
            ensure!(definition == birth.definition, "its definition has changed");
            return Ok(());
        };
        let now = if birth.state == State::Running {
            until("its clock goes on", Duration::from_secs(10), async || {
                let now = self.inspect(&home.host, &vm).await?;
                Ok((now.ticks > then.ticks).then_some(now))
            })
            .await?
        } else {
            self.inspect(&home.host, &vm).await?
        };
        ensure!(now.boot_id == then.boot_id, "it has been booted anew");
        ensure!(now.wrong_pages == Some(0), "{:?} pages are wrong", now.wrong_pages);
        if birth.state != State::Running {
            ensure!(now.ticks == then.ticks && now.digest == then.digest, "it has run meanwhile");
        }
        Ok(())
    }

    /// The longest pause of a guest at its switchover as its hypervisor measured it, in
    /// milliseconds.
    ///
    /// # Errors
    /// If a hypervisor does not answer.
    pub async fn longest_pause(&self) -> anyhow::Result<f64> {
        let mut longest: f64 = 0.0;
        for host in self.cluster().hosts() {
            let list: Vec<Description> =
                self.cluster().ask_hypervisor(&host.name, &Request::List).await?;
            let pauses = list.into_iter().filter_map(|one| one.last_downtime_ms);
            longest = pauses.fold(longest, f64::max);
        }
        Ok(longest)
    }

    async fn inspect(&self, host: &str, vm: &Uuid) -> anyhow::Result<Inspection> {
        let request = Request::Inspect { vm: vm.clone(), digest: true, verify: true };
        self.cluster().ask_hypervisor(host, &request).await
    }

    /// Pauses a VM and counts it as one that is paused.
    ///
    /// # Errors
    /// If it does not run on that host.
    pub async fn pause(&mut self, host: &str, name: &str) -> anyhow::Result<()> {
        let vm = self.definition(name)?.uuid.clone();
        let request = Request::Pause { vm: vm.clone() };
        self.cluster().ask_hypervisor::<serde_json::Value>(host, &request).await?;
        let definition = self.definition(name)?.clone();
        let birth = self.birth(host, definition, State::Paused).await?;
        self.births_mut().insert(name.to_owned(), birth);
        Ok(())
    }

    /// Defines one more VM that is shut off.
    ///
    /// # Errors
    /// If the host refuses.
    pub async fn define_shut_off(&mut self, host: &str, memory_mib: u64) -> anyhow::Result<()> {
        let definition = crate::sketch::definition(self.births().len(), memory_mib, 0);
        let request = Request::Define { definition: definition.clone() };
        self.cluster().ask_hypervisor::<serde_json::Value>(host, &request).await?;
        let birth = self.birth(host, definition, State::ShutOff).await?;
        self.births_mut().insert(birth.definition.name.clone(), birth);
        Ok(())
    }

    /// Takes up memory of a host with a VM that is none of the test's.
    ///
    /// # Errors
    /// If the host refuses.
    pub async fn fill(&self, host: &str, memory_mib: u64) -> anyhow::Result<()> {
        let number = host.bytes().map(usize::from).sum::<usize>() + 100;
        let definition = crate::sketch::definition(number, memory_mib, 0);
        let request = Request::Create { definition, paused: true };
        self.cluster().ask_hypervisor::<serde_json::Value>(host, &request).await?;
        Ok(())
    }

    pub(crate) async fn birth(
        &self,
        host: &str,
        definition: Definition,
        state: State,
    ) -> anyhow::Result<Birth> {
        let inspection = match state {
            State::ShutOff => None,
            _ => Some(self.inspect(host, &definition.uuid).await?),
        };
        Ok(Birth { definition, state, inspection })
    }

    fn definition(&self, name: &str) -> anyhow::Result<&Definition> {
        let birth = self.births().get(name).with_context(|| format!("no VM {name}"))?;
        Ok(&birth.definition)
    }
}
