//! From a file to a scenario in which every name means something.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use super::{Scenario, inventory};

/// Why a scenario cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    /// The file, if it came from one.
    pub path: Option<PathBuf>,
    /// Where, counted from 1; 0 if it is no line's fault.
    pub line: usize,
    /// What is wrong, and what is accepted.
    pub what: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(out, "{}: ", path.display())?;
        }
        if self.line > 0 {
            write!(out, "line {}: ", self.line)?;
        }
        out.write_str(&self.what)
    }
}

impl std::error::Error for ScenarioError {}

/// Reads a scenario's file and the inventory that it names.
///
/// # Errors
/// What is wrong, with file and line.
pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
    let open = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| ScenarioError {
            path: Some(path.into()),
            line: 0,
            what: format!("it cannot be read: {error}"),
        })
    };
    let text = open(path)?;
    let with_path = |error: ScenarioError| ScenarioError { path: Some(path.into()), ..error };
    let mut scenario = deserialize(&text).map_err(with_path)?;
    if let Some(name) = scenario.inventory.take() {
        let beside = path.parent().unwrap_or(Path::new(".")).join(name);
        let vms = inventory::read(&open(&beside)?).map_err(|(line, what)| ScenarioError {
            path: Some(beside),
            line,
            what,
        })?;
        scenario.vms.extend(vms);
    }
    check(&text, &scenario).map_err(with_path)?;
    Ok(scenario)
}

/// Reads a scenario that names no inventory.
///
/// # Errors
/// What is wrong, with its line.
pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    let scenario = deserialize(text)?;
    if scenario.inventory.is_some() {
        return Err(at(0, "an inventory can only be named in a file".into()));
    }
    check(text, &scenario)?;
    Ok(scenario)
}

fn deserialize(text: &str) -> Result<Scenario, ScenarioError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().map_or("", |span| &text[..span.start.min(text.len())]);
        at(1 + before.matches('\n').count(), error.message().to_owned())
    })
}

fn at(line: usize, what: String) -> ScenarioError {
    ScenarioError { path: None, line, what }
}

/// The line of the heading of the `index`th `[[name]]`.
fn heading(text: &str, name: &str, index: usize) -> usize {
    let heading = format!("[[{name}]]");
    let mut lines = text.lines().zip(1..).filter(|(line, _)| line.trim().starts_with(&heading));
    lines.nth(index).map_or(0, |(_, line)| line)
}

/// Every name means something, and every number makes sense.
fn check(text: &str, scenario: &Scenario) -> Result<(), ScenarioError> {
    let hosts: BTreeSet<&str> = scenario.hosts.iter().map(|host| host.name.as_str()).collect();
    let sites: BTreeSet<&str> = scenario.hosts.iter().map(|host| host.site.as_str()).collect();
    let listed = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
    let refuse = |name: &str, index: usize, what: String| Err(at(heading(text, name, index), what));
    if hosts.len() < scenario.hosts.len() {
        let twice = |index: &usize| {
            let name = &scenario.hosts[*index].name;
            scenario.hosts[..*index].iter().any(|host| host.name == *name)
        };
        let index = (0..scenario.hosts.len()).find(twice).unwrap_or(0);
        let name = &scenario.hosts[index].name;
        return refuse("host", index, format!("the host \"{name}\" is listed twice"));
    }
    if hosts.is_empty() {
        return Err(at(0, "there is no [[host]]: a world needs at least one".into()));
    }
    for (index, host) in scenario.hosts.iter().enumerate() {
        if host.clock_ppm.abs() > 100_000 {
            return refuse("host", index, "clock_ppm is from -100000 to 100000".into());
        }
    }
    for (index, link) in scenario.links.iter().enumerate() {
        for site in link.to.iter().chain([&link.from]) {
            if !sites.contains(site.as_str()) {
                let known = listed(&sites);
                let what = format!("no host stands in the site \"{site}\"; there are {known}");
                return refuse("link", index, what);
            }
        }
        if link.capacity.bytes_per_sec() == 0 || link.window.0 == 0 || link.streams == 0 {
            let what = "capacity, window and streams must be more than nothing";
            return refuse("link", index, what.into());
        }
    }
    let mut names = BTreeSet::new();
    for (index, vm) in scenario.vms.iter().enumerate() {
        if !hosts.contains(vm.host.as_str()) {
            let known = listed(&hosts);
            let what = format!("the VM \"{}\" is on \"{}\"; hosts are {known}", vm.name, vm.host);
            return refuse("vm", index, what);
        }
        if !names.insert(vm.name.as_str()) {
            return refuse("vm", index, format!("the VM \"{}\" is listed twice", vm.name));
        }
        if vm.memory.0 == 0 || vm.priority > 100 {
            let what = "memory must be more than nothing, and priority from 0 to 100";
            return refuse("vm", index, what.into());
        }
    }
    for (index, evacuation) in scenario.evacuations.iter().enumerate() {
        let unknown = evacuation
            .from
            .iter()
            .find(|name| !hosts.contains(name.as_str()) && !sites.contains(name.as_str()))
            .or(evacuation.to.iter().find(|name| !sites.contains(name.as_str())))
            .or(Some(&evacuation.initiator).filter(|name| !hosts.contains(name.as_str())));
        if let Some(name) = unknown {
            let (hosts, sites) = (listed(&hosts), listed(&sites));
            let what = format!("\"{name}\" is unknown; hosts are {hosts}; sites are {sites}");
            return refuse("evacuation", index, what);
        }
    }
    for (index, fault) in scenario.faults.iter().enumerate() {
        for name in fault.kind.names() {
            let is_cut = matches!(fault.kind, super::FaultKind::Cut { .. });
            let known = hosts.contains(name.as_str()) || is_cut && sites.contains(name.as_str());
            if !known {
                let known = listed(&hosts);
                return refuse("fault", index, format!("no host \"{name}\"; there are {known}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
[[host]]
name = "a1"
site = "here"

[[host]]
name = "b1"
site = "there"
power = "20m"

[[link]]
from = "here"
to = ["there"]
capacity = "400Mbit/s"
change = [{ at = "10s", capacity = "40Mbit/s" }]

[[vm]]
name = "web"
host = "a1"
memory = "1.5GiB"

[[evacuation]]
from = ["here"]
to = ["there"]
initiator = "b1"

[[fault]]
at = "7s"
kind = "cut"
from = ["here"]
to = ["b1"]
"#;

    #[test]
    fn what_is_written_is_read_again() {
        let scenario = parse(SMALL).unwrap();
        let text = toml::to_string(&scenario).unwrap();
        assert_eq!(parse(&text).unwrap(), scenario, "{text}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let check = |from: &str, to: &str, line: usize, expect: &str| {
            let text = SMALL.replacen(from, to, 1);
            assert_ne!(text, SMALL);
            let error = parse(&text).unwrap_err();
            let good = error.line == line && error.what.contains(expect);
            assert!(good, "{from} -> {to}: {error}");
        };
        check("\"400Mbit/s\"", "\"400\"", 14, "no unit");
        check("capacity =", "capasity =", 14, "capasity");
        check("host = \"a1\"", "host = \"a7\"", 17, "hosts are a1, b1");
        check("to = [\"b1\"]", "to = [\"b7\"]", 27, "no host \"b7\"");
        check("name = \"b1\"", "name = \"a1\"", 6, "listed twice");
        check("kind = \"cut\"", "kind = \"bang\"", 27, "bang");
        check("site = \"there\"", "site = \"elsewhere\"", 11, "\"there\"");
    }
}
