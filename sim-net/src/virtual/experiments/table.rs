//! Tables, as Markdown for people and as CSV for programs.

use std::fmt::Write;

/// A table of text. Every row has as many cells as the heading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// What it shows; empty if that needs no saying.
    pub title: String,
    /// Names of the columns, with their units.
    pub heading: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new(title: &str, heading: &[&str]) -> Self {
        let heading = heading.iter().map(|name| (*name).to_owned()).collect();
        Self { title: title.to_owned(), heading, rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has another number of cells than the heading.
    pub(crate) fn row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| cell.to_string()).collect();
        assert_eq!(cells.len(), self.heading.len(), "{}: {cells:?}", self.title);
        self.rows.push(cells);
    }

    /// As a Markdown table below its title.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        if !self.title.is_empty() {
            out += &format!("{}\n\n", self.title);
        }
        let rule = vec!["---".to_owned(); self.heading.len()];
        for row in [&self.heading, &rule].into_iter().chain(&self.rows) {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            writeln!(out, "| {} |", cells.join(" | ")).expect("a string takes everything");
        }
        out
    }

    /// As CSV with a heading (RFC 4180).
    pub fn csv(&self) -> String {
        let quoted = |cell: &String| {
            if cell.contains([',', '"', '\n']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.clone()
            }
        };
        let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n";
        std::iter::once(&self.heading).chain(&self.rows).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_survive_both_forms() {
        let mut table = Table::new("Two", &["name", "x, s"]);
        table.row(["a|b", "1"]);
        table.row(["says \"no\"", "2"]);
        assert_eq!(
            table.markdown(),
            "Two\n\n| name | x, s |\n| --- | --- |\n| a\\|b | 1 |\n| says \"no\" | 2 |\n"
        );
        assert_eq!(table.csv(), "name,\"x, s\"\na|b,1\n\"says \"\"no\"\"\",2\n");
    }
}
