//! Commands that make no sense are refused with what to do instead, and change nothing.

use anyhow::ensure;
use lifeboat::api::{Request, Terms};
use lifeboat_tests::{Sketch, World, run};

#[test]
fn each_refusal_says_what_is_wrong() {
    let sketch = Sketch { sources: 2, destinations: 1, vms: vec![8], ..Sketch::default() };
    run(sketch, async |world| {
        let terms = |from: &[&str], to: &[&str], deadline_ms| Terms {
            from: from.iter().map(|name| (*name).to_owned()).collect(),
            to: to.iter().map(|name| (*name).to_owned()).collect(),
            deadline_ms,
        };
        let table: [(Terms, &[&str]); 7] = [
            (terms(&["x"], &["b"], None), &["no site or host \"x\"", "known: a, b, a1, a2, b1"]),
            (terms(&["a"], &["y"], None), &["no site \"y\"", "known: a, b"]),
            (terms(&["x"], &["y"], None), &["\"x\"", "\"y\""]),
            (terms(&["a"], &["b1"], None), &["b1 is a host: name a site"]),
            (terms(&["a"], &["a"], None), &["destination a is itself to be evacuated"]),
            (terms(&["a1"], &["a"], None), &["a1 stands in the destination site a"]),
            (terms(&["a"], &["b"], Some(0)), &["the deadline is already past"]),
        ];
        for (terms, words) in table {
            refused(world, "a1", &Request::Plan(terms.clone()), words).await?;
            refused(world, "a1", &Request::Evacuate(terms), words).await?;
        }
        let cancel = |id: Option<&str>| Request::Cancel { id: id.map(str::to_owned), abort: false };
        refused(world, "b1", &cancel(None), &["no evacuation is active"]).await?;
        refused(world, "b1", &cancel(Some("77")), &["no evacuation 77", "lifeboat status"]).await?;
        let report = Request::Report { id: Some("77".to_owned()) };
        refused(world, "b1", &report, &["no evacuation 77"]).await?;
        let dead = |host: &str| Request::DeclareDead { host: host.to_owned(), whole_site: false };
        refused(world, "b1", &dead("nobody"), &["no host \"nobody\""]).await?;
        refused(world, "b1", &dead("a1"), &["a1 is heard, so it is not dead"]).await?;
        let status = world.status("a2").await?;
        ensure!(status.evacuations.is_empty(), "{:?}", status.evacuations);
        world.all_intact().await
    });
}

async fn refused(
    world: &World,
    host: &str,
    request: &Request,
    words: &[&str],
) -> anyhow::Result<()> {
    let answer = world.cluster().ask::<serde_json::Value>(host, request).await;
    let Err(error) = answer else { anyhow::bail!("{request:?} was not refused") };
    let error = format!("{error:#}");
    for word in words {
        ensure!(error.contains(word), "{request:?}: {word:?} is not in: {error}");
    }
    Ok(())
}
