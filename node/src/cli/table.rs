//! Tables as all commands print them: no borders, so that they can be cut and searched.
//!
//! A table never breaks inside a word. On a narrow terminal its secondary columns are left out, the
//! last of them first, and that is said below it; what is still too wide then is left to the
//! terminal. Where there is no terminal, or one that does not know its width, nothing is left out.

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, Table, Width,
    presets,
};

/// Blanks between two columns.
const GAP: u16 = 2;
/// Narrower than this a text is not wrapped.
const TEXT: u16 = 24;

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

/// A table that is being filled.
pub(super) struct Sheet {
    table: Table,
    titles: Vec<String>,
    secondary: Vec<usize>,
    texts: Vec<usize>,
}

/// A table whose columns have these titles. Signs before a title: `>` for numbers, which stand to
/// the right; `?` for what is left out first for want of room; `~` for a text that may be wrapped
/// between words.
pub(super) fn table(titles: &[&str]) -> Sheet {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if cfg!(test) {
        table.force_no_tty();
    }
    let with = |sign: char| -> Vec<usize> {
        let signs = |title: &str| title.chars().take_while(|sign| "?>~".contains(*sign)).collect();
        let signs: Vec<String> = titles.iter().map(|title| signs(title)).collect();
        (0..titles.len()).filter(|index| signs[*index].contains(sign)).collect()
    };
    let plain: Vec<String> = titles
        .iter()
        .map(|title| title.trim_start_matches(['?', '>', '~']).to_uppercase())
        .collect();
    table.set_header(
        plain.iter().map(|title| Cell::new_owned(title.clone()).add_attribute(Attribute::Bold)),
    );
    let numbers = with('>');
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, GAP));
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Sheet { table, titles: plain, secondary: with('?'), texts: with('~') }
}

impl Sheet {
    pub(super) fn add_row(&mut self, row: impl Into<Row>) {
        self.table.add_row(row);
    }

    /// Makes it fit so many columns of a terminal; the titles of what was left out for that.
    fn fit(&mut self, width: u16) -> Vec<&str> {
        let widths = self.table.column_max_content_widths();
        let mut hidden: Vec<usize> = Vec::new();
        let least = |hidden: &[usize]| -> u16 {
            let shown = (0..widths.len()).filter(|index| !hidden.contains(index));
            let each = shown.map(|index| match self.texts.contains(&index) {
                true => widths[index].min(TEXT) + GAP,
                false => widths[index] + GAP,
            });
            each.sum()
        };
        for secondary in self.secondary.iter().rev() {
            if least(&hidden) <= width {
                break;
            }
            hidden.push(*secondary);
        }
        if least(&hidden) <= width {
            self.wrap(width, &widths, &hidden);
        }
        for index in &hidden {
            if let Some(column) = self.table.column_mut(*index) {
                column.set_constraint(ColumnConstraint::Hidden);
            }
        }
        hidden.sort_unstable();
        hidden.into_iter().map(|index| self.titles[index].as_str()).collect()
    }

    /// Gives the texts what the other columns leave.
    fn wrap(&mut self, width: u16, widths: &[u16], hidden: &[usize]) {
        let shown = |index: &usize| !hidden.contains(index);
        let texts: Vec<usize> = self.texts.iter().copied().filter(shown).collect();
        let others = (0..widths.len()).filter(shown).filter(|index| !texts.contains(index));
        let mut left = width - others.map(|index| widths[index] + GAP).sum::<u16>();
        self.table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        for (index, column) in self.table.column_iter_mut().enumerate() {
            if !texts.contains(&index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        // Those to the right get what those to the left do not need.
        for (at, index) in texts.iter().enumerate() {
            let later: u16 = texts[at + 1..].iter().map(|text| widths[*text].min(TEXT) + GAP).sum();
            let own = (widths[*index] + GAP).min(left - later);
            left -= own;
            if let Some(column) = self.table.column_mut(*index) {
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(own)));
            }
        }
    }
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
pub(super) fn text(sheet: Sheet) -> String {
    let width = sheet.table.width();
    text_within(sheet, width)
}

/// The same on a terminal of so many columns.
pub(super) fn text_within(mut sheet: Sheet, width: Option<u16>) -> String {
    // A terminal whose size nobody has told it says that it has no columns.
    let hidden = match width.filter(|width| *width > 0) {
        Some(width) => sheet.fit(width).join(", "),
        None => String::new(),
    };
    let table = sheet.table.trim_fmt();
    if hidden.is_empty() {
        return table;
    }
    format!("{table}\n(no room for {hidden}; a wider terminal or --json shows them)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut made = table(&["vm", ">memory", "?>idle", "~why"]);
        made.add_row(row(
            ["web", "8 GiB", "99%", "it has a device that cannot leave"].map(str::to_owned)
        ));
        made.add_row(row(["database", "512 MiB", "1%", ""].map(str::to_owned)));
        made
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let mut made = table(&["vm", ">memory"]);
        made.add_row(row(["web".to_owned(), "8 GiB".to_owned()]));
        made.add_row(row(["database".to_owned(), "512 MiB".to_owned()]));
        assert_eq!(text(made), "VM         MEMORY\nweb         8 GiB\ndatabase  512 MiB");
    }

    #[test]
    fn where_there_is_room_nothing_is_left_out() {
        let whole = "VM         MEMORY  IDLE  WHY\n\
                     web         8 GiB   99%  it has a device that cannot leave\n\
                     database  512 MiB    1%";
        for width in [None, Some(0), Some(200)] {
            assert_eq!(text_within(sheet(), width), whole, "{width:?}");
        }
    }

    #[test]
    fn texts_are_wrapped_between_words() {
        let wrapped = "VM         MEMORY  IDLE  WHY\n\
                       web         8 GiB   99%  it has a device that\n\
                       \x20                        cannot leave\n\
                       database  512 MiB    1%";
        assert_eq!(text_within(sheet(), Some(52)), wrapped);
    }

    #[test]
    fn no_word_is_broken_for_want_of_room() {
        for width in 1..60 {
            let text = text_within(sheet(), Some(width));
            for word in ["database", "512 MiB", "device", "cannot"] {
                assert!(text.contains(word), "{width}: {text}");
            }
            assert_eq!(text.contains("IDLE  "), width >= 51, "{width}: {text}");
        }
        let narrow = text_within(sheet(), Some(45));
        assert!(narrow.ends_with("(no room for IDLE; a wider terminal or --json shows them)"));
    }
}
