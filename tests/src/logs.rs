//! What the processes wrote.

use std::{collections::BTreeMap, fs, path::Path};

/// Lines that must not stand in any log: panics, and everything logged as an error, which is how
/// alarms are logged.
pub(crate) fn troubles(directory: &Path) -> Vec<String> {
    lines(directory)
        .into_iter()
        .filter(|(_, line)| line.contains("panicked at") || line.contains(" ERROR "))
        .map(|(log, line)| format!("{log}: {line}"))
        .collect()
}

/// Warnings without their times, each with how often it was written; for people.
pub(crate) fn warnings(directory: &Path) -> BTreeMap<String, usize> {
    let mut warnings = BTreeMap::new();
    for (log, line) in lines(directory) {
        if let Some((_, text)) = line.split_once(" WARN ") {
            *warnings.entry(format!("{log}: {}", text.trim())).or_default() += 1;
        }
    }
    warnings
}

fn lines(directory: &Path) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut read = |name: String, path: &Path| {
        // A host that was never started has none.
        let text = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        lines.extend(text.lines().map(|line| (name.clone(), line.to_owned())));
    };
    read("wan".to_owned(), &directory.join("wan.log"));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        read(format!("{name} carrier"), &entry.path().join("run/carrier.log"));
        read(name, &entry.path().join("log"));
    }
    lines
}
