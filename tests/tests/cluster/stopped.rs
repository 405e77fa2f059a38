//! What stopping the daemon means for its carrier.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lifeboat_tests::{program, run_program};
use tempfile::TempDir;

/// A host without a hypervisor, which its daemon waits for.
struct Lone {
    directory: TempDir,
    daemon: Option<Child>,
}

impl Lone {
    fn new() -> Self {
        let directory = tempfile::tempdir_in("/tmp").expect("a directory");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address").to_string();
        drop(listener);
        let (run, state, dir) = (at("run"), at("state"), at(""));
        let words = ["init", "a1", "--site", "a", "--hypervisor", "embedded", "--address"];
        let places = [&address, "--dir", &dir, "--run-dir", &run, "--state-dir", &state];
        let all: Vec<&str> = words.into_iter().chain(places).collect();
        let made = run_program(&all).expect("it ends");
        assert_eq!(made.code, Some(0), "{}", made.text);
        Self { directory, daemon: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log"));
        let daemon = Command::new(program())
            .args(["node".as_ref(), "--config".as_ref(), self.path("lifeboat.toml").as_os_str()])
            .stdin(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn();
        self.daemon = Some(daemon.expect("the program can be run"));
        let answers = |socket: PathBuf| UnixStream::connect(socket).is_ok();
        until("both answer", || {
            answers(self.path("run/lifeboat.sock")) && answers(self.path("run/carrier.sock"))
        });
        until("the daemon has its carrier", || {
            self.lifeboat(&["status", "--json"]).1.contains("\"carrier_up\": true")
        });
    }

    fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("it was started").id()
    }

    fn carrier_pid(&self) -> u32 {
        let text = fs::read_to_string(self.path("run/carrier.pid")).expect("it was started");
        text.trim().parse().expect("a number")
    }

    fn until_the_daemon_ends(&mut self) {
        let mut daemon = self.daemon.take().expect("it was started");
        until("the daemon has ended", || daemon.try_wait().expect("it is ours").is_some());
    }

    fn lifeboat(&self, words: &[&str]) -> (Option<i32>, String) {
        let config = self.path("lifeboat.toml").display().to_string();
        let all: Vec<&str> = words.iter().copied().chain(["--config", &config]).collect();
        let ended = run_program(&all).expect("it ends");
        (ended.code, ended.text)
    }

    fn carriers(&self) -> usize {
        let config = self.path("lifeboat.toml").display().to_string();
        let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
        let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let ours = |line: &Vec<u8>| {
            let mut words = line.split(|byte| *byte == 0);
            words.any(|word| word == b"carrier") && words.any(|word| word == config.as_bytes())
        };
        lines.filter(ours).count()
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended by itself.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let config = self.path("lifeboat.toml").display().to_string();
        let _ = run_program(&["carrier", "--stop", "--config", &config]);
    }
}

fn terminate(pids: &[u32]) {
    let done = Command::new("kill").arg("-TERM").args(pids.iter().map(u32::to_string)).status();
    assert!(done.expect("kill can be run").success(), "{pids:?}");
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(40));
    }
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}/cmdline")).exists()
}

#[test]
fn a_carrier_that_is_ended_with_its_daemon_stays_so() {
    let mut lone = Lone::new();
    lone.start();
    let carrier = lone.carrier_pid();
    terminate(&[carrier, lone.daemon_pid()]);
    lone.until_the_daemon_ends();
    until("the carrier has ended", || is_gone(carrier));
    assert_eq!(lone.carriers(), 0);
}

#[test]
fn a_carrier_outlives_its_daemon_until_it_is_told_to_end() {
    let mut lone = Lone::new();
    lone.start();
    let (code, text) = lone.lifeboat(&["carrier", "--stop"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("stop it first"), "{text}");
    terminate(&[lone.daemon_pid()]);
    lone.until_the_daemon_ends();
    assert_eq!(lone.carriers(), 1);
    let (code, text) = lone.lifeboat(&["carrier", "--stop"]);
    assert_eq!((code, lone.carriers()), (Some(0), 0), "{text}");
    let (code, text) = lone.lifeboat(&["carrier", "--stop"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("No carrier runs"), "{text}");
    lone.start();
}

#[test]
fn a_carrier_with_another_configuration_is_named_and_replaced() {
    let mut lone = Lone::new();
    lone.start();
    let former = lone.carrier_pid();
    terminate(&[lone.daemon_pid()]);
    lone.until_the_daemon_ends();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    drop(listener);
    let file = lone.path("lifeboat.toml");
    let text = fs::read_to_string(&file).expect("it was made");
    let is_listen = |line: &&str| line.trim_start_matches(['#', ' ']).starts_with("listen = ");
    let old = text.lines().find(is_listen).expect("it listens").to_owned();
    fs::write(&file, text.replace(&old, &format!("listen = \"{address}\""))).expect("it is ours");
    lone.start();
    until("the former carrier has ended", || is_gone(former));
    until("another listens there", || std::net::TcpStream::connect(address).is_ok());
    assert_eq!(lone.carriers(), 1);
    let (_, text) = lone.lifeboat(&["events"]);
    assert!(text.contains("runs with another configuration than its daemon: listen is"), "{text}");
    assert!(!text.contains("died"), "{text}");
}
