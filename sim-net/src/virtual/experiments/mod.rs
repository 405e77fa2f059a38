//! Experiments: the seed's own, and what it could not ask. Each is a command that runs worlds under
//! the protocol and its rivals and leaves a table, its data and a drawing.
//!
//! Invariant: an experiment is a function of its options: the same tables every time, on however
//! many threads. What misses its goal is shown as missed.

mod capacity;
mod course;
mod deadlines;
mod families;
mod figure;
mod goal;
mod kang;
mod kang_30;
mod node_lost;
mod numbers;
mod over;
mod plain;
mod predictions;
mod published;
mod sensitivity;
mod settling;
mod shapes;
mod table;

pub use figure::Figure;
pub use goal::Goal;
pub use table::Table;

use std::num::NonZero;

use self::families::Family;
use super::scenario::Scenario;

/// How an experiment is run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Worlds drawn of each kind, where worlds are drawn.
    pub seeds: u64,
    /// Worlds that are run at the same time.
    pub threads: NonZero<usize>,
}

/// What came of an experiment.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What was found, for people.
    pub tables: Vec<Table>,
    /// What was aimed at.
    pub goals: Vec<Goal>,
    /// Every run, for programs.
    pub runs: Table,
    /// What it looks like.
    pub figures: Vec<Figure>,
    /// Drawings of another kind, as SVG documents.
    pub drawings: Vec<String>,
}

impl Outcome {
    /// All tables as they stand in a document.
    pub fn markdown(&self) -> String {
        let mut tables: Vec<String> = self.tables.iter().map(Table::markdown).collect();
        if !self.goals.is_empty() {
            tables.push(goal::table(&self.goals).markdown());
        }
        tables.join("\n")
    }

    /// All figures and drawings, as SVG documents.
    ///
    /// # Errors
    /// What the drawing library objects to.
    pub fn svgs(&self) -> Result<Vec<String>, String> {
        let figures: Result<Vec<String>, String> = self.figures.iter().map(Figure::svg).collect();
        Ok([figures?, self.drawings.clone()].concat())
    }
}

/// An experiment.
#[derive(Debug, Clone, Copy)]
pub struct Experiment {
    /// Its name on the command line, and of its files.
    pub name: &'static str,
    /// What it asks.
    pub about: &'static str,
    /// Worlds of each kind unless said.
    pub seeds: u64,
    /// The world of a seed, where one seed makes one world.
    pub world: Option<fn(u64) -> Scenario>,
    run: fn(&Options) -> Result<Outcome, String>,
}

impl Experiment {
    /// Runs it.
    ///
    /// # Errors
    /// A sentence, if a world cannot be built.
    pub fn run(&self, options: &Options) -> Result<Outcome, String> {
        (self.run)(options)
    }

    /// The cargo feature that it needs and that this build lacks.
    pub fn lacks(&self) -> Option<&'static str> {
        let built = cfg!(feature = "tuning") || self.name != sensitivity::NAME;
        (!built).then_some("tuning")
    }

    /// The experiment of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|one| one.name == name)
    }
}

/// All of them.
pub const ALL: &[Experiment] = &[
    Experiment {
        name: "published",
        about: "do the rivals reproduce what was published of them",
        seeds: 15,
        world: None,
        run: published::run,
    },
    Experiment {
        name: "kang-30",
        about: "the seed's workload, in both models of the link, under every policy",
        seeds: 1,
        world: None,
        run: kang_30::run,
    },
    Experiment {
        name: "link-bound",
        about: "drawn worlds in which one VM can fill the link",
        seeds: 100,
        world: Some(|seed| families::draw(Family::Link, seed)),
        run: families::link,
    },
    Experiment {
        name: "source-bound",
        about: "drawn worlds in which a source host's interface is the bottleneck",
        seeds: 100,
        world: Some(|seed| families::draw(Family::Source, seed)),
        run: families::source,
    },
    Experiment {
        name: "rtt-bound",
        about: "drawn worlds in which it takes several VMs to fill the link",
        seeds: 100,
        world: Some(|seed| families::draw(Family::RoundTrip, seed)),
        run: families::round_trip,
    },
    Experiment {
        name: "dirty-near-share",
        about: "drawn worlds whose guests rewrite nearly what the link carries",
        seeds: 100,
        world: Some(|seed| families::draw(Family::Dirty, seed)),
        run: families::dirty,
    },
    Experiment {
        name: "node-lost",
        about: "any one node is lost at 10, 50 and 90 % of the way (seeds: hosts of each site, up to 8)",
        seeds: 4,
        world: None,
        run: node_lost::run,
    },
    Experiment {
        name: "capacity",
        about: "the link steps to a tenth and back, sags, drops for seconds, oscillates",
        seeds: 1,
        world: None,
        run: capacity::changes,
    },
    Experiment {
        name: "production",
        about: "production traffic comes and goes",
        seeds: 1,
        world: None,
        run: capacity::production,
    },
    Experiment {
        name: "deadlines",
        about: "deadlines at 25, 50 and 75 % of the bound",
        seeds: 30,
        world: None,
        run: deadlines::run,
    },
    Experiment {
        name: "predictions",
        about: "what was foretold of finish times against what came",
        seeds: 30,
        world: None,
        run: predictions::run,
    },
    Experiment {
        name: "live-offline",
        about: "guests that run against guests that are paused, with and without disks",
        seeds: 20,
        world: None,
        run: shapes::live_offline,
    },
    Experiment {
        name: "memory",
        about: "memory spread even or skewed over hosts",
        seeds: 1,
        world: None,
        run: shapes::memory,
    },
    Experiment {
        name: "scale",
        about: "from 2 to 1,000 hosts (seeds: how many of the ten sizes)",
        seeds: 6,
        world: None,
        run: shapes::scale,
    },
    Experiment {
        name: sensitivity::NAME,
        about: "each constant of the control loop at half and double (in builds with the feature tuning)",
        seeds: 8,
        world: None,
        run: sensitivity::run,
    },
];
