//! A demo that is killed, or whose output nobody reads any more, leaves nothing running.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lifeboat_tests::program;

/// A small demo in a directory of its own.
fn demo(directory: &Path, output: Stdio) -> Child {
    let words = ["demo", "--hosts", "1", "--vms", "1", "--wan", "20Mbit/s", "--kill", "none"];
    Command::new(program())
        .args(words)
        .arg("--keep")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be run")
}

/// Processes whose command line names something within this directory.
fn processes_in(directory: &Path) -> Vec<String> {
    let place = directory.join("").display().to_string();
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&place))
        .collect()
}

fn until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", within.as_secs());
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// Two daemons, two carriers, two hypervisors, and the WAN emulator.
fn until_all_run(directory: &Path) {
    until("all processes run", Duration::from_secs(20), || processes_in(directory).len() >= 7);
}

fn until_none_runs(directory: &Path) {
    let mut left = Vec::new();
    until("no process is left", Duration::from_secs(10), || {
        left = processes_in(directory);
        left.is_empty()
    });
}

#[test]
fn by_sigkill() {
    let around = tempfile::tempdir_in("/tmp").expect("a directory");
    let directory = around.path().join("demo");
    let mut demo = demo(&directory, Stdio::null());
    until_all_run(&directory);
    demo.kill().expect("it runs");
    demo.wait().expect("it was killed");
    until_none_runs(&directory);
}

#[test]
fn by_a_reader_that_goes_away() {
    let around = tempfile::tempdir_in("/tmp").expect("a directory");
    let directory = around.path().join("demo");
    let mut demo = demo(&directory, Stdio::piped());
    until_all_run(&directory);
    let mut output = demo.stdout.take().expect("it is a pipe");
    output.read_exact(&mut [0; 20]).expect("it has said something");
    drop(output);
    let mut status = None;
    until("the demo has ended", Duration::from_secs(20), || {
        status = demo.try_wait().expect("it can be waited for");
        status.is_some()
    });
    // It was neither finished nor in a panic.
    assert_eq!(status.and_then(|status| status.code()), Some(1));
    until_none_runs(&directory);
}
