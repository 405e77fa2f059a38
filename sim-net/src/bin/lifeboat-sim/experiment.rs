//! `lifeboat-sim experiment`.

use std::{
    num::NonZero,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, builder::PossibleValuesParser};
use lifeboat_sim_net::r#virtual::experiments::{ALL, Experiment, Options, Outcome};

use crate::document;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which, or `all`.
    #[arg(value_parser = PossibleValuesParser::new(
        ALL.iter().map(|one| one.name).chain(["all"])
    ))]
    name: String,
    /// Worlds drawn of each kind, where worlds are drawn [default: each experiment's own].
    #[arg(long)]
    seeds: Option<u64>,
    /// Worlds that are run at the same time.
    #[arg(long, default_value = "1")]
    threads: NonZero<usize>,
    /// Print the world of this seed as a scenario file, and run nothing.
    #[arg(long, value_name = "SEED")]
    world: Option<u64>,
    /// Folder for NAME.md, NAME.csv and NAME.svg.
    #[arg(long, default_value = "target/experiments")]
    into: PathBuf,
    /// A Markdown document with a line `<!-- experiment NAME -->` and later `<!-- end -->`: the
    /// tables replace what stands between them.
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

pub(crate) fn experiment(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(seed) = arguments.world {
        let one = Experiment::named(&arguments.name).and_then(|one| one.world);
        let draw = one.with_context(|| format!("{} draws no worlds by a seed", arguments.name))?;
        print!("{}", toml::to_string(&draw(seed))?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut missed = false;
    let all = arguments.name == "all";
    for one in ALL.iter().filter(|one| all || arguments.name == one.name) {
        if let Some(feature) = one.lacks().filter(|_| all) {
            eprintln!("{} is left out: it needs a build with --features {feature}", one.name);
            continue;
        }
        let options = Options {
            seeds: arguments.seeds.unwrap_or(one.seeds).max(1),
            threads: arguments.threads,
        };
        let outcome = one.run(&options).map_err(anyhow::Error::msg)?;
        save(&arguments.into, one, &outcome)?;
        println!("{}: {}\n\n{}", one.name, one.about, outcome.markdown());
        if let Some(path) = &arguments.document {
            put(path, one, &outcome).with_context(|| path.display().to_string())?;
        }
        missed |= outcome.goals.iter().any(|goal| !goal.met);
    }
    Ok(ExitCode::from(u8::from(missed)))
}

fn put(path: &Path, experiment: &Experiment, outcome: &Outcome) -> anyhow::Result<()> {
    let document = std::fs::read_to_string(path)?;
    std::fs::write(path, document::with(&document, experiment.name, &outcome.markdown())?)?;
    Ok(())
}

fn save(folder: &Path, experiment: &Experiment, outcome: &Outcome) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    let mut files = vec![
        (format!("{}.md", experiment.name), outcome.markdown()),
        (format!("{}.csv", experiment.name), outcome.runs.csv()),
    ];
    for (svg, number) in outcome.svgs().map_err(anyhow::Error::msg)?.into_iter().zip(1..) {
        let name = match number {
            1 => format!("{}.svg", experiment.name),
            _ => format!("{}-{number}.svg", experiment.name),
        };
        files.push((name, svg));
    }
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}
