//! What the WAN's interface counted, against what the carriers were allowed to send.
//!
//! The leaving site's interface counts every byte that leaves, headers included, whoever sends it.
//! Three figures are held against it, over the whole evacuation:
//!
//! - *granted*: each leaving carrier's rate x time, zero when its lease has run out. Between two
//!   samples the higher of their rates counts, so that a grant which comes and goes between them is
//!   the only one that could be missed;
//! - *sent*: what the leaving carriers say that they handed to their streams;
//! - *gossip*: what the interface counts per second while nothing moves, twice that (daemons speak
//!   twice as often during an evacuation), x time.
//!
//! Carriers count what they give to TCP. A full packet on the WAN is 1514 bytes for 1448 of those;
//! acknowledgements of the return path go with the other site's bytes and are not counted here.
//! The rule: `WAN <= granted x 1514/1448 x 1.02 + gossip`. Where nothing was lost on the way, also
//! `WAN <= sent x 1514/1448 x 1.02 + gossip`: nothing flows past the carriers. Retransmissions
//! count for the WAN and not for the carriers, so the second rule is left out where a link was cut.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::cluster::Cluster;

const SAMPLE_EVERY: Duration = Duration::from_millis(100);
const BASELINE: Duration = Duration::from_secs(2);
const HEADERS: f64 = 1514.0 / 1448.0;
const TOLERANCE: f64 = 1.02;

/// What was counted from the start to the end of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) wan: f64,
    pub(crate) granted: f64,
    pub(crate) sent: f64,
    pub(crate) gossip: f64,
}

impl Counted {
    /// Says how the figures compare, and refuses them if the WAN carried too much.
    pub(crate) fn judge(self, lossless: bool) -> anyhow::Result<()> {
        let Self { wan, granted, sent, gossip } = self;
        let carried = wan - gossip;
        println!(
            "   WAN {:.1} MB, of {:.1} MB granted and {:.1} MB sent with headers ({:.1} % and \
             {:.1} %), gossip {:.2} MB",
            wan / 1e6,
            granted * HEADERS / 1e6,
            sent * HEADERS / 1e6,
            100.0 * carried / (granted * HEADERS),
            100.0 * carried / (sent * HEADERS),
            gossip / 1e6,
        );
        ensure!(carried <= granted * HEADERS * TOLERANCE, "the WAN carried more than was granted");
        ensure!(
            !lossless || carried <= sent * HEADERS * TOLERANCE,
            "bytes flowed past the carriers"
        );
        Ok(())
    }
}

/// A measurement that is under way.
pub(crate) struct Meter {
    stop: Arc<AtomicBool>,
    sampler: JoinHandle<anyhow::Result<Totals>>,
    site: String,
    wan_before: f64,
    gossip_rate: f64,
    started: Instant,
}

/// Over all leaving carriers, in bytes.
#[derive(Default)]
struct Totals {
    granted: f64,
    sent: f64,
}

/// How a carrier's share was the last time, and its counter.
#[derive(Default, Clone, Copy)]
struct Last {
    rate: f64,
    sent: f64,
}

impl Meter {
    /// Measures what an idle cluster says, and then what leaves the guests' site.
    pub(crate) fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let site = cluster.home.clone();
        let idle = leaving(cluster, &site)?;
        thread::sleep(BASELINE);
        let wan_before = leaving(cluster, &site)?;
        let gossip_rate = 2.0 * (wan_before - idle) / BASELINE.as_secs_f64();

        let sockets: Vec<_> = cluster
            .lab
            .hosts_of(&site)
            .iter()
            .map(|host| cluster.lab.path(host, "run/lifeboat/carrier.sock"))
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let mut last: BTreeMap<_, Last> = BTreeMap::new();
        for socket in &sockets {
            let (rate, sent) = figures(&crate::cluster::carrier_status(socket)?);
            last.insert(socket.clone(), Last { rate, sent });
        }
        let sampler = thread::spawn(move || {
            let mut totals = Totals::default();
            let mut then = Instant::now();
            while !stopping.load(Ordering::Relaxed) {
                thread::sleep(SAMPLE_EVERY);
                let elapsed = then.elapsed().as_secs_f64();
                then = Instant::now();
                for socket in &sockets {
                    let before = last.get(socket).copied().unwrap_or_default();
                    // A carrier that is dead sends nothing; the next one counts from zero.
                    let (rate, sent) = crate::cluster::carrier_status(socket)
                        .map_or((0.0, 0.0), |status| figures(&status));
                    totals.granted += before.rate.max(rate) * elapsed;
                    totals.sent += if sent < before.sent { sent } else { sent - before.sent };
                    last.insert(socket.clone(), Last { rate, sent });
                }
            }
            Ok(totals)
        });
        Ok(Self { stop, sampler, site, wan_before, gossip_rate, started: Instant::now() })
    }

    pub(crate) fn stop(self, cluster: &Cluster) -> anyhow::Result<Counted> {
        let wan = leaving(cluster, &self.site)? - self.wan_before;
        let gossip = self.gossip_rate * self.started.elapsed().as_secs_f64();
        self.stop.store(true, Ordering::Relaxed);
        let totals =
            self.sampler.join().map_err(|_| anyhow::anyhow!("the sampling panicked"))??;
        Ok(Counted { wan, granted: totals.granted, sent: totals.sent, gossip })
    }
}

/// Bytes that have left a site.
pub(crate) fn leaving(cluster: &Cluster, site: &str) -> anyhow::Result<f64> {
    let stats: Value = serde_json::from_str(&cluster.lab.run(&["wan", "stats"])?)?;
    stats[site]["out_bytes"].as_f64().context("the WAN's counters")
}

/// The rate that a carrier may send at now, and all that it has sent.
fn figures(status: &Value) -> (f64, f64) {
    let now = status["at_ns"].as_u64().unwrap_or(0);
    let links = status["links"].as_array().map_or(&[][..], Vec::as_slice);
    links.iter().fold((0.0, 0.0), |(rate, sent), link| {
        let valid = link["valid_until_ns"].as_u64().unwrap_or(0) > now;
        let here = if valid { link["rate_bytes_per_sec"].as_f64().unwrap_or(0.0) } else { 0.0 };
        (rate + here, sent + link["wire_sent_bytes"].as_f64().unwrap_or(0.0))
    })
}
