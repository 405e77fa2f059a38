//! Names and texts from outside, as they are shown to people: nothing in them moves a cursor, changes a
//! colour or begins a line.
//!
//! Names are made legible where they come in, since they go into texts on all hosts. VMs are told apart by
//! their ids, never by their names.

/// Whether a terminal would do something else with it than show it.
fn acts(sign: char) -> bool {
    let turns =
        ['\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}'];
    sign.is_control() || turns.contains(&sign) || ('\u{2066}'..='\u{2069}').contains(&sign)
}

/// A name: of one line.
pub(crate) fn name(text: &str) -> String {
    escaped(text, acts)
}

/// A text: its lines stay.
pub(crate) fn text(text: &str) -> String {
    escaped(text, |sign| acts(sign) && sign != '\n')
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match is_escaped(sign) {
            true => out.extend(sign.escape_default()),
            false => out.push(sign),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(name("web\n\u{1b}[31mred\r"), "web\\n\\u{1b}[31mred\\r");
        assert_eq!(name("größe ✓ \\n"), "größe ✓ \\n");
        assert_eq!(name("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(text("one\ntwo\u{7}"), "one\ntwo\\u{7}");
    }
}
