//! A cluster with its VMs, and what is asked of its daemons.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use lifeboat::{
    api::{EvacuationInfo, EventInfo, Report, Request, Started, Status, Terms, VmInfo},
    control::{ControlClient, Reply},
    demo::cluster::{Cluster, Layout},
};
use lifeboat_sim_net::live::{hypervisor::protocol::State, wan::protocol::Request as WanRequest};

use crate::{Flow, Sketch, Traffic, program, until, vms::Birth, witness::Witness};

/// A running cluster. Dropping it ends all of its processes.
#[derive(Debug)]
pub struct World {
    // Dropped first: it looks at what the cluster runs.
    witness: Witness,
    cluster: Cluster,
    directory: PathBuf,
    births: BTreeMap<String, Birth>,
    capacity: u64,
}

impl World {
    pub(crate) async fn start(sketch: Sketch, directory: &Path) -> anyhow::Result<Self> {
        let vms = sketch.definitions();
        let layout = Layout {
            program: program(),
            directory: directory.to_owned(),
            hosts: sketch.hosts(),
            vms: vms.clone(),
            memory: sketch.memory << 20,
            capacity_bits: sketch.capacity * 1_000_000,
            rtt_ms: sketch.round_trip,
        };
        let cluster = Cluster::start(layout).await?;
        let hypervisors =
            cluster.hosts().iter().map(|host| (host.name.clone(), host.hypervisor_socket()));
        let mut world = Self {
            witness: Witness::start(hypervisors.collect()),
            cluster,
            directory: directory.to_owned(),
            births: BTreeMap::new(),
            capacity: sketch.capacity,
        };
        for (host, definition) in vms {
            let birth = world.birth(&host, definition, State::Running).await?;
            world.births.insert(birth.definition.name.clone(), birth);
        }
        world.all_vms_listed().await?;
        Ok(world)
    }

    /// Waits until every daemon lists every VM: what an evacuation sees from its first moment on.
    ///
    /// # Errors
    /// If that does not happen within 20 s.
    pub async fn all_vms_listed(&self) -> anyhow::Result<()> {
        until("all daemons list all VMs", Duration::from_secs(20), async || {
            for host in self.cluster.hosts() {
                let vms: Vec<VmInfo> = self.cluster.ask(&host.name, &Request::Vms).await?;
                if vms.len() != self.births.len() {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    /// Waits until every token of the link from `a` to `b` has an issuer who may grant it: an issuer
    /// that has just started first waits for as long as leases of its former life may run.
    ///
    /// # Errors
    /// If that does not happen within 20 s.
    pub async fn tokens_can_be_granted(&self) -> anyhow::Result<()> {
        until("all tokens have an issuer", Duration::from_secs(20), async || {
            let status = self.status("b1").await?;
            let link =
                status.links.iter().find(|link| link.name == "a>b").context("no link a>b")?;
            let issued: u16 = link.issuers.iter().map(|issuer| issuer.tokens).sum();
            Ok((issued == 1000).then_some(()))
        })
        .await
    }

    pub(crate) fn births(&self) -> &BTreeMap<String, Birth> {
        &self.births
    }

    pub(crate) fn births_mut(&mut self) -> &mut BTreeMap<String, Birth> {
        &mut self.births
    }

    pub(crate) fn ran_never_twice(&self) -> anyhow::Result<()> {
        let twice = self.witness.twice();
        ensure!(twice.is_empty(), "VMs ran twice: {twice:?}");
        Ok(())
    }

    /// The processes.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The processes, to start and to kill some.
    pub fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// The directory of a host: its configuration, key, sockets, journal and log.
    pub fn host_directory(&self, host: &str) -> PathBuf {
        self.directory.join(host)
    }

    /// Starts an evacuation of site `a` to site `b` at a host.
    ///
    /// # Errors
    /// If its daemon refuses.
    pub async fn evacuate(&self, at: &str) -> anyhow::Result<String> {
        self.evacuate_from(at, "a").await
    }

    /// Starts an evacuation of a site or host to site `b` at a host.
    ///
    /// # Errors
    /// If its daemon refuses.
    pub async fn evacuate_from(&self, at: &str, from: &str) -> anyhow::Result<String> {
        let terms =
            Terms { from: vec![from.to_owned()], to: vec!["b".to_owned()], deadline_ms: None };
        let started: Started = self.cluster.ask(at, &Request::Evacuate(terms)).await?;
        Ok(started.id)
    }

    /// How a host sees everything.
    ///
    /// # Errors
    /// If its daemon does not answer.
    pub async fn status(&self, host: &str) -> anyhow::Result<Status> {
        self.cluster.ask(host, &Request::Status).await
    }

    /// How a host sees an evacuation.
    ///
    /// # Errors
    /// If its daemon does not answer or does not know it.
    pub async fn evacuation(&self, host: &str, id: &str) -> anyhow::Result<EvacuationInfo> {
        let found = self.status(host).await?.evacuations.into_iter().find(|one| one.id == id);
        found.with_context(|| format!("{host} does not know {id}"))
    }

    /// How an evacuation went, as a host knows it.
    ///
    /// # Errors
    /// If its daemon does not answer or does not know it.
    pub async fn report(&self, host: &str, id: &str) -> anyhow::Result<Report> {
        self.cluster.ask(host, &Request::Report { id: Some(id.to_owned()) }).await
    }

    /// Waits until a host counts an evacuation as done, and answers how it went.
    ///
    /// # Errors
    /// If that does not happen `within` that time.
    pub async fn done(&self, host: &str, id: &str, within: Duration) -> anyhow::Result<Report> {
        until("the evacuation is done", within, async || {
            let report = self.report(host, id).await?;
            Ok((report.evacuation.state == "done").then_some(report))
        })
        .await
    }

    /// Waits until a move flows of which at least so many bytes have arrived, and answers it.
    ///
    /// # Errors
    /// If there is none within 30 s.
    pub async fn flowing(&self, bytes: u64) -> anyhow::Result<Flow> {
        until("a move flows", Duration::from_secs(30), async || {
            let flows = self.flows().await?;
            Ok(flows.into_iter().find(|flow| flow.open && flow.arrived >= bytes))
        })
        .await
    }

    /// Everything that happened so far, as a host saw it.
    ///
    /// # Errors
    /// If its daemon does not answer.
    pub async fn events(&self, host: &str) -> anyhow::Result<Vec<EventInfo>> {
        let socket = self.cluster.host(host)?.socket();
        let asked = async {
            let mut client = ControlClient::connect(&socket).await?;
            client.request(&Request::Events { follow: false }).await?;
            let mut events = Vec::new();
            while let Reply::More(event) = client.next().await? {
                events.push(serde_json::from_value(event)?);
            }
            Ok(events)
        };
        tokio::time::timeout(Duration::from_secs(10), asked).await?
    }

    /// Waits until a host has told an event with all these words.
    ///
    /// # Errors
    /// If it has not within 20 s.
    pub async fn told(&self, host: &str, kind: &str, words: &[&str]) -> anyhow::Result<EventInfo> {
        let what = format!("{host} tells an event of kind {kind} with {words:?}");
        until(&what, Duration::from_secs(20), async || {
            // It may just be starting.
            let events = self.events(host).await.unwrap_or_default();
            Ok(events.into_iter().find(|event| {
                event.kind == kind && words.iter().all(|word| event.text.contains(word))
            }))
        })
        .await
    }

    /// Cuts the WAN in both directions.
    ///
    /// # Errors
    /// If the emulator does not answer.
    pub async fn cut(&self) -> anyhow::Result<()> {
        let request = WanRequest::Cut { from: None, to: None, one_way: false };
        self.cluster.ask_wan::<serde_json::Value>(&request).await?;
        Ok(())
    }

    /// Undoes the cut.
    ///
    /// # Errors
    /// If the emulator does not answer.
    pub async fn heal(&self) -> anyhow::Result<()> {
        let request = WanRequest::Heal { from: None, to: None, one_way: false };
        self.cluster.ask_wan::<serde_json::Value>(&request).await?;
        Ok(())
    }

    /// What the WAN carries in each direction, in Mbit/s.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Watches what the WAN carries, from now on.
    pub fn watch_traffic(&self) -> Traffic {
        let capacity = u32::try_from(self.capacity).map_or(f64::MAX, f64::from) * 125_000.0;
        Traffic::start(self.directory.join("wan.sock"), capacity)
    }
}
