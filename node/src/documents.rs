//! What the documents quote is what the program says.

use std::fs;
use std::path::{Path, PathBuf};

/// The shortest piece of a quotation that is looked for.
const SHORTEST: usize = 6;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All sources below a directory, with strings that go over several lines in one.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            text += &fs::read_to_string(&path).expect("a source can be read");
        }
    }
    let mut lines = text.lines();
    let mut joined = String::new();
    while let Some(mut line) = lines.next() {
        while let Some(begun) = line.strip_suffix('\\') {
            joined += begun;
            line = lines.next().unwrap_or_default().trim_start();
        }
        joined += line;
        joined.push('\n');
    }
    joined
}

/// The pieces of a quotation between what varies, which stands in capitals or as dots.
fn pieces(quotation: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for word in quotation.split(' ') {
        let bare = word.trim_matches(|sign: char| !sign.is_alphanumeric());
        let varies = word == "..." || (!bare.is_empty() && bare.chars().all(char::is_uppercase));
        match pieces.last_mut() {
            Some(piece) if !varies => *piece = format!("{piece} {word}"),
            _ => pieces.push(String::new()),
        }
    }
    let trimmed = pieces.iter().map(|piece| piece.trim_matches([' ', ':', '.']).to_owned());
    trimmed.filter(|piece| piece.len() >= SHORTEST).collect()
}

#[test]
fn the_table_of_trouble_quotes_the_program() {
    let text = fs::read_to_string(workspace().join("docs/operating.md")).expect("it is there");
    let (_, section) = text.split_once("\n## Trouble\n").expect("it has this section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let all = ["node/src", "node/hypervisor/src", "protocol/src", "sim-net/src/live"];
    let said: String = all.iter().map(|part| sources(&workspace().join(part))).collect();
    let said = said.replace("\\\"", "\"");
    let mut found = 0;
    for row in rows {
        let cell = row.split('|').nth(1).unwrap_or_default();
        for piece in cell.split('`').skip(1).step_by(2).flat_map(pieces) {
            assert!(said.contains(&piece), "nobody says {piece:?}: {row}");
            found += 1;
        }
    }
    assert!(found > 10, "the table is not where it is looked for");
}

#[test]
fn what_varies_is_left_out() {
    let check = |quotation: &str, expect: &[&str]| assert_eq!(pieces(quotation), expect);
    check("HOST: N MiB of memory are needed", &["MiB of memory are needed"]);
    check("waiting (WHY); going on", &["waiting", "going on"]);
    check("N of N", &[]);
}
