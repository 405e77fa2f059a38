//! Tables as all commands print them: no borders, so that they can be cut and searched.

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Row, Table, presets};

/// How a cell is shown on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// As it should be.
    Plain,
    /// Worth a look.
    Warning,
    /// Something is wrong.
    Bad,
}

/// A table whose columns have these titles; those that begin with `>` are numbers, to the right.
pub(super) fn table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if cfg!(test) {
        table.force_no_tty();
    }
    table.set_header(titles.iter().map(|title| {
        Cell::new(title.trim_start_matches('>').to_uppercase()).add_attribute(Attribute::Bold)
    }));
    for (title, column) in titles.iter().zip(table.column_iter_mut()) {
        column.set_padding((0, 2));
        if title.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A row of plain cells.
pub(super) fn row<const N: usize>(cells: [String; N]) -> Row {
    Row::from(cells.map(Cell::new_owned))
}

/// A cell in a mood.
pub(super) fn cell(text: impl Into<String>, mood: Mood) -> Cell {
    let cell = Cell::new_owned(text.into());
    match mood {
        Mood::Plain => cell,
        Mood::Warning => cell.fg(Color::Yellow),
        Mood::Bad => cell.fg(Color::Red),
    }
}

/// The table as text, without blanks at the ends of its lines.
pub(super) fn text(table: &Table) -> String {
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let mut made = table(&["vm", ">memory"]);
        made.add_row(row(["web".to_owned(), "8 GiB".to_owned()]));
        made.add_row(row(["database".to_owned(), "512 MiB".to_owned()]));
        assert_eq!(text(&made), "VM         MEMORY\nweb         8 GiB\ndatabase  512 MiB");
    }
}
