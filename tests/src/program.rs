//! The `lifeboat` program under test.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// The program that was built with the same profile as this test.
///
/// # Panics
/// If it has not been built.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let profile = test.ancestors().nth(2).expect("tests are built two directories deep");
    let program = profile.join("lifeboat");
    assert!(
        program.exists(),
        "{} is missing: these tests run the real program, and cargo does not build it for them. \
         Run `cargo build --release -p lifeboat` first, then `cargo test --release -p \
         lifeboat-tests`.",
        program.display()
    );
    program
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status, if it was not killed.
    pub code: Option<i32>,
    /// What it wrote, standard error after standard output.
    pub text: String,
}

/// Runs the program to its end.
///
/// # Errors
/// If it cannot be run, or does not end within 20 s; it is ended then.
pub fn run_program(words: &[impl AsRef<OsStr>]) -> anyhow::Result<Ended> {
    let directory = tempfile::tempdir()?;
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let mut child = Command::new(program())
        .args(words)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .spawn()
        .context("cannot run the program")?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("the program did not end within 20 s");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut text = String::new();
    for file in [out, err] {
        File::open(file)?.read_to_string(&mut text)?;
    }
    Ok(Ended { code: status.code(), text })
}
