//! Lists the targets, writes their seeds, and runs a target on files: how a crash is looked at.

use std::{env, fs, path::Path, process::ExitCode};

use lifeboat_fuzz::{TARGETS, Target, target};

const USAGE: &str =
    "usage: lifeboat-fuzz list               name, longest input, thousandths of a long run
       lifeboat-fuzz seeds DIRECTORY        writes each target's seeds into a directory of its name
       lifeboat-fuzz replay TARGET FILE...  runs a target on each file";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["list"] => {
            for Target { name, longest, share_permille, .. } in TARGETS {
                println!("{name} {longest} {share_permille}");
            }
            Ok(())
        }
        ["seeds", directory] => write_seeds(Path::new(directory)),
        ["replay", name, files @ ..] if !files.is_empty() => replay(name, files),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(2)
        }
    }
}

fn write_seeds(directory: &Path) -> Result<(), String> {
    for target in TARGETS {
        let directory = directory.join(target.name);
        let cannot = |error| format!("cannot write the seeds to {}: {error}", directory.display());
        fs::create_dir_all(&directory).map_err(cannot)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(directory.join(format!("seed-{number:03}")), seed).map_err(cannot)?;
        }
    }
    Ok(())
}

fn replay(name: &str, files: &[&str]) -> Result<(), String> {
    let target = target(name).ok_or_else(|| format!("there is no target {name}; see `list`"))?;
    for file in files {
        let bytes = fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
        println!("{file}: {} bytes", bytes.len());
        (target.run)(&bytes);
    }
    Ok(())
}
