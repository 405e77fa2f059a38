//! Puts what an experiment found into a document, between the marks that bear its name.

use anyhow::{Context, bail};

/// The document with `found` in place of what stood between the marks of this experiment: a line
/// `<!-- experiment NAME -->` and the next line `<!-- end -->`.
///
/// # Errors
/// If one of the marks is missing.
pub(crate) fn with(document: &str, name: &str, found: &str) -> anyhow::Result<String> {
    let begin = format!("<!-- experiment {name} -->\n");
    let end = "<!-- end -->";
    let Some((before, rest)) = document.split_once(&begin) else {
        bail!("it has no line \"{}\": put one where the table shall stand", begin.trim());
    };
    let (_, after) = rest.split_once(end).with_context(|| {
        format!("there is no line \"{end}\" after \"{}\": put one there", begin.trim())
    })?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", found.trim()))
}

#[cfg(test)]
mod tests {
    use super::with;

    const DOCUMENT: &str = "# Found\n\n<!-- experiment a -->\nold\n<!-- end -->\n\n\
                            <!-- experiment b -->\n<!-- end -->\nlast\n";

    #[test]
    fn one_table_is_replaced_and_nothing_else() {
        let once = with(DOCUMENT, "a", "| new |\n").unwrap();
        let expect = DOCUMENT.replace("old", "\n| new |\n");
        assert_eq!(once, expect);
        assert_eq!(with(&once, "a", "| new |\n").unwrap(), once);
        assert!(with(&once, "b", "x").unwrap().ends_with("-->\n\nx\n\n<!-- end -->\nlast\n"));
    }

    #[test]
    fn a_missing_mark_is_named() {
        let error = with(DOCUMENT, "c", "x").unwrap_err().to_string();
        assert!(error.contains("<!-- experiment c -->"), "{error}");
        let error = with("<!-- experiment d -->\n", "d", "x").unwrap_err().to_string();
        assert!(error.contains("<!-- end -->"), "{error}");
    }
}
