//! `lifeboat-sim sweep`, `replay` and `shrink`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use lifeboat_sim_net::r#virtual::{
    World,
    scenario::{self, Scenario},
    sweep::{Failure, Outcome, draw, run, shrink as make_smaller},
};
use lifeboat_units::Span;
use serde::Serialize;

/// One in so many seeds is run twice and must give the same hash.
const TWICE_EVERY: u64 = 50;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many worlds.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Stop after this time, done or not.
    #[arg(long)]
    budget: Option<Span>,
    /// Worlds at a time. Default: as many as there are processors.
    #[arg(long)]
    threads: Option<usize>,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// Most hosts of a cluster in which each tells all others everything; 0 runs every world as
    /// large clusters are run.
    #[arg(long)]
    mesh: Option<usize>,
    /// Where failing worlds are written.
    #[arg(long, default_value = "sweep-failures")]
    save: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    /// A saved world, or any scenario.
    #[arg(required_unless_present = "seed")]
    file: Option<PathBuf>,
    /// The world that the sweep draws for this seed.
    #[arg(long, conflicts_with = "file")]
    seed: Option<u64>,
    /// Print what every daemon says, hears and wants from this time of the world on.
    #[arg(long)]
    trace_from: Option<Span>,
    /// As in `sweep`.
    #[arg(long)]
    mesh: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct ShrinkOptions {
    /// A failing world.
    file: PathBuf,
    /// Where the smaller one is written.
    #[arg(long)]
    into: PathBuf,
    /// Most runs to spend.
    #[arg(long, default_value_t = 400)]
    runs: usize,
}

/// What a sweep has seen.
#[derive(Debug, Default, Serialize)]
struct Summary {
    seeds: u64,
    events: u64,
    virtual_hours: f64,
    seconds: f64,
    faults: BTreeMap<&'static str, u64>,
    marks: BTreeMap<&'static str, u64>,
    failures: Vec<Found>,
}

#[derive(Debug, Serialize)]
struct Found {
    seed: u64,
    check: &'static str,
    what: String,
    replay: String,
    #[serde(skip)]
    exit_code: u8,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.events += outcome.stats.events;
        self.virtual_hours += outcome.virtual_ns as f64 / 3.6e12;
        for (name, count) in &outcome.stats.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in &outcome.stats.marks {
            *self.marks.entry(name).or_default() += count;
        }
    }

    fn print(&self) {
        let Self { seeds, events, virtual_hours, seconds, .. } = self;
        let per_minute = *seeds as f64 / seconds.max(0.001) * 60.0;
        println!(
            "{seeds} worlds, {events} events, {virtual_hours:.1} virtual hours in {seconds:.0} s \
             ({per_minute:.0} worlds a minute)"
        );
        for (title, counts) in [("faults", &self.faults), ("marks", &self.marks)] {
            println!("{title}:");
            for (name, count) in counts {
                println!("  {count:>8}  {name}");
            }
        }
        println!("{} failures", self.failures.len());
    }
}

pub(crate) fn sweep(options: &Options) -> anyhow::Result<ExitCode> {
    // A panic is reported with its seed; its own message would only interrupt the progress.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let summary = Mutex::new(Summary::default());
    let next = AtomicU64::new(options.from);
    let stop = AtomicBool::new(false);
    let threads =
        options.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
    let (done, finished) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(1).max(1) {
            let done = done.clone();
            scope.spawn(|| {
                let _done = done;
                work(options, &next, &stop, &summary);
            });
        }
        drop(done);
        while let Err(mpsc::RecvTimeoutError::Timeout) =
            finished.recv_timeout(Duration::from_millis(500)) as Result<(), _>
        {
            let over = options.budget.is_some_and(|budget| began.elapsed() > budget.0);
            stop.fetch_or(over, Ordering::Relaxed);
            let seeds = summary.lock().expect("no worker panics while it holds this").seeds;
            eprint!("\r{seeds} of {} worlds ", options.seeds);
        }
        eprint!("\r");
    });
    let mut summary = summary.into_inner().expect("no worker panics while it holds this");
    summary.seconds = began.elapsed().as_secs_f64();
    summary.failures.sort_by_key(|found| found.seed);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        summary.print();
    }
    let worst = summary.failures.iter().map(|found| found.exit_code);
    // A panic before safety, and safety before liveness.
    let rank = |code: &u8| [101, 1, 2, 0].iter().position(|one| one == code);
    Ok(ExitCode::from(worst.min_by_key(rank).unwrap_or(0)))
}

fn work(options: &Options, next: &AtomicU64, stop: &AtomicBool, summary: &Mutex<Summary>) {
    while !stop.load(Ordering::Relaxed) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed - options.from >= options.seeds {
            return;
        }
        let world = Scenario { mesh: options.mesh, ..draw(seed) };
        let run = || run(&world).expect("every drawn world is a cluster");
        let outcome = run();
        let mut failure = outcome.failure.clone();
        if seed.is_multiple_of(TWICE_EVERY) {
            let again = run();
            if again.hash != outcome.hash {
                failure = Some(Failure::Panic("it is another world the second time".into()));
            }
        }
        if failure.is_some() && !options.keep_going {
            stop.store(true, Ordering::Relaxed);
        }
        let found = failure.map(|failure| report(options, seed, &world, &failure));
        let mut summary = summary.lock().expect("no worker panics while it holds this");
        summary.add(&outcome);
        summary.failures.extend(found);
    }
}

fn report(options: &Options, seed: u64, world: &Scenario, failure: &Failure) -> Found {
    let file = options.save.join(format!("seed-{seed}.toml"));
    let saved = std::fs::create_dir_all(&options.save).map_err(anyhow::Error::from);
    let saved = saved.and_then(|()| save(&file, world));
    let what = match failure {
        Failure::Violation(found) => format!("at {} ms: {}", found.at_ms, found.what),
        Failure::Panic(words) => words.clone(),
    };
    let mesh = options.mesh.map_or(String::new(), |mesh| format!(" --mesh {mesh}"));
    let replay = format!("lifeboat-sim replay --seed {seed}{mesh}");
    eprintln!("\rseed {seed}: {}: {what}\n  {replay}", failure.name());
    match saved {
        Ok(()) => eprintln!("  saved as {}", file.display()),
        Err(error) => eprintln!("  {} could not be written: {error:#}", file.display()),
    }
    Found { seed, check: failure.name(), what, replay, exit_code: failure.exit_code() }
}

fn save(file: &Path, world: &Scenario) -> anyhow::Result<()> {
    Ok(std::fs::write(file, toml::to_string(world)?)?)
}

pub(crate) fn replay(options: &ReplayOptions) -> anyhow::Result<ExitCode> {
    let mut scenario = match (&options.file, options.seed) {
        (Some(file), _) => scenario::read(file)?,
        (None, Some(seed)) => draw(seed),
        (None, None) => anyhow::bail!("name a file or a seed"),
    };
    scenario.mesh = options.mesh.or(scenario.mesh);
    let mut world = World::new(&scenario).map_err(anyhow::Error::msg)?;
    if let Some(from) = options.trace_from {
        world.trace(from.0.as_millis() as u64, |line| println!("{line}"));
    }
    let ended = world.run();
    let report = world.report(&ended);
    println!("{}", world.describe());
    println!("{} after {:.3} virtual s, hash {}", report.ended, report.virtual_s, report.hash);
    if let Some(what) = &report.violation {
        println!("{what}");
    }
    Ok(ExitCode::from(u8::from(report.violation.is_some())))
}

pub(crate) fn shrink(options: &ShrinkOptions) -> anyhow::Result<ExitCode> {
    std::panic::set_hook(Box::new(|_| {}));
    let scenario = scenario::read(&options.file)?;
    let outcome = run(&scenario).map_err(anyhow::Error::msg)?;
    let failure = outcome.failure.context("this world does not fail: there is nothing to keep")?;
    let mut smaller = make_smaller(&scenario, options.runs);
    smaller.about = format!("Shrunk from a world in which {} objected.", failure.name());
    save(&options.into, &smaller)?;
    println!(
        "{}: {} of {} faults, {} of {} VMs, {} of {} hosts; written to {}",
        failure.name(),
        smaller.faults.len(),
        scenario.faults.len(),
        smaller.vms.len(),
        scenario.vms.len(),
        smaller.hosts.len(),
        scenario.hosts.len(),
        options.into.display()
    );
    Ok(ExitCode::SUCCESS)
}
