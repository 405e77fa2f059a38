//! Who moves the guests, and one run of it from the command to the last question.

use serde::Serialize;

use super::{
    figures::Figures,
    lifeboat, virsh,
    watch::{Journey, Watch},
};
use crate::{GUESTS, cluster::Cluster, guests::Guest, triggers::Events, verdict};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Strategy {
    Lifeboat,
    /// So many commands of virsh at a time, each for one guest.
    Virsh(usize),
}

/// In the order in which they first take turns.
pub(super) const ALL: [Strategy; 4] =
    [Strategy::Lifeboat, Strategy::Virsh(1), Strategy::Virsh(2), Strategy::Virsh(GUESTS.len())];

impl Strategy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lifeboat => "lifeboat",
            Self::Virsh(1) => "virsh, one at a time",
            Self::Virsh(2) => "virsh, two at a time",
            Self::Virsh(_) => "virsh, all at once",
        }
    }
}

/// What became of one run.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    /// From 1.
    pub(super) round: usize,
    #[serde(skip)]
    pub(super) strategy: Strategy,
    #[serde(rename = "strategy")]
    pub(super) name: &'static str,
    /// The site that the guests left.
    pub(super) from: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
    journeys: Vec<Journey>,
}

/// Moves all guests to the other site.
pub(super) fn run(
    cluster: &mut Cluster,
    events: &Events,
    guests: &[Guest],
    round: usize,
    strategy: Strategy,
) -> anyhow::Result<Run> {
    let from = cluster.home.clone();
    let seen = match strategy {
        Strategy::Lifeboat => {
            lifeboat::make_ready(cluster)?;
            let watch = Watch::begin(cluster, events)?;
            let evacuation = cluster.evacuate()?;
            let seen = watch.end(cluster, guests)?;
            lifeboat::wait_until_done(cluster, &evacuation)?;
            verdict::all_arrived(cluster)?;
            lifeboat::clear_away(cluster, &evacuation)?;
            seen
        }
        Strategy::Virsh(at_a_time) => {
            let orders = virsh::make_ready(cluster, guests)?;
            let watch = Watch::begin(cluster, events)?;
            virsh::move_all(cluster, &orders, at_a_time)?;
            let seen = watch.end(cluster, guests)?;
            verdict::all_arrived(cluster)?;
            cluster.home = cluster.away();
            seen
        }
    };
    let figures = Figures::of(&seen);
    println!("   {figures}");
    Ok(Run {
        round: round + 1,
        strategy,
        name: strategy.name(),
        from,
        figures,
        journeys: seen.journeys,
    })
}
