//! Running one test in a world of its own.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::{Sketch, World, logs};

/// Whose turn it is: the clusters of one test program run one after the other.
static TURN: Mutex<()> = Mutex::const_new(());
/// How long a test may take in all.
const WITHIN: Duration = Duration::from_secs(150);

/// Brings up what is sketched, runs the test, and holds the invariants of every test against it.
///
/// # Panics
/// If anything is not as it must be; the directory with all logs is kept then, and named.
pub fn run(sketch: Sketch, test: impl AsyncFnOnce(&mut World) -> anyhow::Result<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(async {
        let _turn = TURN.lock().await;
        let began = Instant::now();
        let directory = tempfile::Builder::new().prefix("lb-").tempdir_in("/tmp");
        let directory = directory.expect("a directory can be made in /tmp");
        let mut failure = match World::start(sketch, directory.path()).await {
            Err(error) => Some(error),
            Ok(mut world) => {
                println!("  up after {:.1} s", began.elapsed().as_secs_f64());
                match tokio::time::timeout(WITHIN, test(&mut world)).await {
                    Err(_) => Some(anyhow::anyhow!("the test took longer than {WITHIN:?}")),
                    Ok(outcome) => outcome.and_then(|()| world.ran_never_twice()).err(),
                }
            }
        };
        println!("  over after {:.1} s", began.elapsed().as_secs_f64());
        let troubles = logs::troubles(directory.path());
        if failure.is_none() && !troubles.is_empty() {
            failure = Some(anyhow::anyhow!("panics or alarms:\n{}", troubles.join("\n")));
        }
        for (warning, times) in logs::warnings(directory.path()) {
            println!("  warned {times} x: {warning}");
        }
        if let Some(error) = failure {
            panic!("{error:#}\nall logs are kept in {}", directory.keep().display());
        }
    });
}
