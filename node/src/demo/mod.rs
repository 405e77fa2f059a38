//! The demo: two sites as processes on loopback, an evacuation, and a dead initiator.
//!
//! Nothing in it is played: every host is a daemon, a carrier and a hypervisor, each a process of
//! its own, whose guests hold real memory and write to it; the link between the sites is emulated
//! in capacity and delay. The demo gives one command to one daemon, then only looks on, but for
//! killing a daemon and starting it again. What it says in the end it has from the hypervisors.

pub mod cluster;
mod disaster;
mod guests;
mod options;
mod outputs;
mod picture;
mod place;
mod record;
#[cfg(test)]
mod samples;
mod screen;
mod summary;
mod timeline;
mod verdict;
mod watch;
mod words;

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use lifeboat_sim_net::live::{hypervisor::protocol::Definition, wan};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    api::{Request, Started, Status, Terms},
    units::{ByteSize, format_duration},
};
use cluster::{Cluster, Layout};
use disaster::Disaster;
pub use options::{DemoOptions, Kill};
use outputs::Outputs;
use picture::Picture;
use place::Place;
use record::{Happening, Record, Setting};
pub use screen::NobodyReads;
use screen::Screen;
use verdict::Verdict;
use watch::Watch;

/// Between two pictures.
const SHOW_EVERY: Duration = Duration::from_millis(250);
/// How long the daemons may take to tell of the last move after it was seen.
const REPORT_WITHIN: Duration = Duration::from_secs(5);
/// Beside five times what physics allows, an evacuation may take so long.
const GRACE: Duration = Duration::from_secs(60);

/// A demo that can be played: all that it was told makes sense, and all that it is to write can be
/// written.
#[derive(Debug)]
pub struct Demo {
    options: DemoOptions,
    outputs: Outputs,
    place: Place,
}

impl Demo {
    /// Checks the options and makes the directory.
    ///
    /// # Errors
    /// A sentence that says what to change; nothing was started or left behind.
    pub fn new(options: DemoOptions) -> anyhow::Result<Self> {
        options.check()?;
        let outputs = Outputs::open(&options)?;
        let place = Place::make(options.keep.as_deref())?;
        Ok(Self { options, outputs, place })
    }

    /// Runs the demo; whether every VM arrived once, intact.
    ///
    /// # Errors
    /// If the machine has too little memory, a process does not come up, it is interrupted, or
    /// nobody reads the output any more ([`NobodyReads`]). All processes are gone by then.
    pub async fn run(self) -> anyhow::Result<bool> {
        let Self { options, outputs, mut place } = self;
        let guests = guests::guests(&options);
        let mut system = sysinfo::System::new();
        system.refresh_memory();
        guests::fit(&options, &guests, system.available_memory())?;
        let played = tokio::select! {
            played = play(&options, &guests, outputs, place.path()) => played,
            signal = interrupted() => {
                bail!("ended by {}; all processes of the demo are gone", signal?);
            }
        };
        let is_wanted = !played.as_ref().is_err_and(|error| error.is::<NobodyReads>());
        if is_wanted && !matches!(played, Ok(true)) {
            place.keep();
        }
        if place.is_kept() {
            // Nobody may listen any more.
            let _ = writeln!(
                io::stderr(),
                "Configurations, journals and logs of all hosts are in {}.",
                place.path().display()
            );
        }
        played
    }
}

async fn interrupted() -> anyhow::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "Ctrl-C",
        _ = terminate.recv() => "SIGTERM",
        _ = hang_up.recv() => "the loss of its terminal",
    })
}

/// Brings everything up, plays, and tells how it went.
async fn play(
    options: &DemoOptions,
    guests: &[(String, Definition)],
    outputs: Outputs,
    directory: &Path,
) -> anyhow::Result<bool> {
    let screen = Screen::new();
    screen.say(&announcement(options, guests))?;
    let mut cluster = Cluster::start(layout(options, guests, directory)?).await?;
    wait_until_the_link_is_issued(&cluster).await?;
    let before = verdict::before(&cluster).await?;
    let mut show = Show::start(options, guests, screen, &cluster).await?;
    let ending = show.look_on(&mut cluster).await;
    show.screen.close();
    let is_over = ending?;
    let wan_after = forwarded(&cluster).await?;
    let verdict = verdict::judge(&cluster, before).await?;
    let record = show.record(wan_after, verdict);
    let json = || Ok(serde_json::to_string_pretty(&record)? + "\n");
    let written = outputs.write(json, || timeline::svg(&record));
    Screen::Plain { told: None }.say(&format!("\n{}", summary::text(&record)))?;
    written?;
    if !is_over {
        bail!(
            "it was not over after {}, five times what physics allows and a minute",
            format_duration(time_limit(options, guests))
        );
    }
    Ok(record.verdict.all_intact)
}

/// Waits as a new issuer does, who cannot know what its former life has granted. Hosts that have
/// been up for a while have that behind them.
async fn wait_until_the_link_is_issued(cluster: &Cluster) -> anyhow::Result<()> {
    let within = cluster.patience();
    let deadline = Instant::now() + within;
    while tokens_issued(cluster).await? < 1000 {
        if Instant::now() > deadline {
            bail!("site b did not take over the link within {} s", within.as_secs());
        }
        sleep(SHOW_EVERY).await;
    }
    Ok(())
}

/// Tokens of the link to site b that its hosts issue, each by its own word: in a large cluster not
/// everyone hears of all of them.
async fn tokens_issued(cluster: &Cluster) -> anyhow::Result<u16> {
    let mut tokens = 0;
    for host in cluster.hosts().iter().filter(|host| host.site == "b") {
        let status: Status = cluster.ask(&host.name, &Request::Status).await?;
        let link = status.links.iter().find(|link| link.name == "a>b");
        let issuers = link.map_or(&[][..], |link| &link.issuers);
        let own = issuers.iter().filter(|issuer| issuer.host == status.node);
        tokens += own.map(|issuer| issuer.tokens).sum::<u16>();
    }
    Ok(tokens)
}

fn announcement(options: &DemoOptions, guests: &[(String, Definition)]) -> String {
    format!(
        "Two sites, a and b, of {} {} each, as processes on this machine.\n\
         {} with {} of memory run at site a. The link to site b carries {}\n\
         at a round-trip time of {}: no evacuation takes less than {}. The hosts do not\n\
         know what it carries; they find out.\n\
         Bringing up {} daemons, carriers and hypervisors ...",
        options.hosts,
        if options.hosts == 1 { "host" } else { "hosts" },
        words::vms(guests.len()),
        ByteSize(guests::memory(guests)),
        options.wan,
        format_duration(options.rtt),
        words::seconds(
            u64::try_from(guests::bound(options, guests).as_millis()).unwrap_or(u64::MAX)
        ),
        options.hosts * 2,
    )
}

fn layout(
    options: &DemoOptions,
    guests: &[(String, Definition)],
    directory: &Path,
) -> anyhow::Result<Layout> {
    Ok(Layout {
        program: std::env::current_exe().context("cannot find the lifeboat program")?,
        directory: directory.to_owned(),
        hosts: options.host_names(),
        vms: guests.to_vec(),
        memory: guests::host_memory(options, guests),
        capacity_bits: options.wan.bits_per_sec(),
        rtt_ms: options.rtt.as_secs_f64() * 1000.0,
    })
}

fn setting(options: &DemoOptions) -> Setting {
    Setting {
        hosts: options.host_names().into_iter().map(|(name, _)| name).collect(),
        hosts_per_site: usize::from(options.hosts),
        capacity_bytes_per_sec: options.wan.bytes_per_sec(),
        rtt_ms: u64::try_from(options.rtt.as_millis()).unwrap_or(u64::MAX),
        seed: options.seed,
        kill: options.kill.to_string(),
    }
}

fn time_limit(options: &DemoOptions, guests: &[(String, Definition)]) -> Duration {
    let limit = guests::bound(options, guests) * 5 + GRACE;
    Duration::from_secs(limit.as_secs())
}

/// An evacuation that is looked at.
struct Show {
    screen: Screen,
    watch: Watch,
    picture: Picture,
    disaster: Disaster,
    happened: Vec<Happening>,
    started: Instant,
    limit: Duration,
    /// What had left on the WAN before, from a to b and back.
    wan_before: (u64, u64),
}

impl Show {
    /// Gives the command, and begins to look.
    async fn start(
        options: &DemoOptions,
        guests: &[(String, Definition)],
        screen: Screen,
        cluster: &Cluster,
    ) -> anyhow::Result<Self> {
        let initiator = cluster.hosts()[0].name.clone();
        let picture = Picture::new(setting(options), guests);
        let wan_before = forwarded(cluster).await?;
        let terms =
            Terms { from: vec!["a".to_owned()], to: vec!["b".to_owned()], deadline_ms: None };
        let started = Instant::now();
        let _: Started = cluster.ask(&initiator, &Request::Evacuate(terms)).await?;
        let mut show = Self {
            screen,
            watch: Watch::start(cluster),
            disaster: Disaster::new(&options.kill, &initiator, guests.len()),
            picture,
            happened: Vec::new(),
            started,
            limit: time_limit(options, guests),
            wan_before,
        };
        show.tell(0, format!("{initiator} is told once: evacuate --from a --to b"))?;
        Ok(show)
    }

    /// Looks on until all is over, or takes too long; whether it is over.
    async fn look_on(&mut self, cluster: &mut Cluster) -> anyhow::Result<bool> {
        let mut ticks = interval(SHOW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut settled_since: Option<Instant> = None;
        loop {
            tokio::select! {
                (at, news) = self.watch.next() => {
                    let at_ms = self.milliseconds(at);
                    for text in self.picture.take(at_ms, news) {
                        self.tell(at_ms, text)?;
                    }
                }
                now = ticks.tick() => {
                    let at_ms = self.milliseconds(now);
                    self.picture.sample_shares(at_ms);
                    self.screen.show(at_ms, &self.picture, self.disaster.down())?;
                }
            }
            let now = Instant::now();
            let at_ms = self.milliseconds(now);
            if self.picture.all_settled() {
                let since = *settled_since.get_or_insert(now);
                if self.picture.all_reported() || now - since >= REPORT_WITHIN {
                    return Ok(true);
                }
            } else {
                settled_since = None;
                if let Some(text) = self.disaster.act(at_ms, &self.picture, cluster)? {
                    self.tell(at_ms, text)?;
                }
            }
            if now - self.started > self.limit {
                return Ok(false);
            }
        }
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from((at - self.started).as_millis()).unwrap_or(u64::MAX)
    }

    fn tell(&mut self, at_ms: u64, text: String) -> anyhow::Result<()> {
        self.screen.tell(at_ms, &text)?;
        self.happened.push(Happening { at_ms, text });
        Ok(())
    }

    /// Everything that was seen.
    fn record(self, wan_after: (u64, u64), verdict: Verdict) -> Record {
        let Picture { setting, vms, link, shares, .. } = self.picture;
        let wan_sent_bytes = wan_after.0.saturating_sub(self.wan_before.0);
        Record {
            measures: record::measured(&vms, setting.capacity_bytes_per_sec, wan_sent_bytes),
            setting,
            vms,
            link,
            shares,
            events: self.happened,
            kill: self.disaster.into_record(),
            wan_sent_bytes,
            wan_returned_bytes: wan_after.1.saturating_sub(self.wan_before.1),
            verdict,
        }
    }
}

/// Bytes that have left on the WAN, from a to b and back.
async fn forwarded(cluster: &Cluster) -> anyhow::Result<(u64, u64)> {
    let stats: wan::protocol::Stats = cluster.ask_wan(&wan::protocol::Request::Stats).await?;
    Ok((watch::forwarded(&stats, "a"), watch::forwarded(&stats, "b")))
}
