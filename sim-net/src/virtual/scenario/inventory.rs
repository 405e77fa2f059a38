//! VMs from a CSV file: `name,host,memory,dirty_rate,working_set,priority,group,disk`, with a
//! heading.
//!
//! The heading may leave out all but the first three columns and give them in any order; an empty
//! field stands for the default.

use super::{Vm, VmState, nothing, priority};

const COLUMNS: [&str; 8] =
    ["name", "host", "memory", "dirty_rate", "working_set", "priority", "group", "disk"];

/// Reads all VMs.
///
/// # Errors
/// The first line that is wrong, counted from 1, and what is wrong with it.
pub(crate) fn read(text: &str) -> Result<Vec<Vm>, (usize, String)> {
    let mut lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let Some((heading, first)) = lines.next() else { return Ok(Vec::new()) };
    let columns: Vec<&str> = heading.split(',').map(str::trim).collect();
    for column in &columns {
        if !COLUMNS.contains(column) {
            let known = COLUMNS.join(", ");
            return Err((first, format!("unknown column \"{column}\"; known are {known}")));
        }
    }
    for needed in &COLUMNS[..3] {
        if !columns.contains(needed) {
            return Err((first, format!("the column \"{needed}\" is missing")));
        }
    }
    lines.map(|(line, number)| vm(&columns, line).map_err(|what| (number, what))).collect()
}

fn vm(columns: &[&str], line: &str) -> Result<Vm, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    if fields.len() != columns.len() {
        return Err(format!("{} fields for {} columns", fields.len(), columns.len()));
    }
    let field = |name: &str| {
        let index = columns.iter().position(|column| *column == name)?;
        Some(fields[index]).filter(|field| !field.is_empty())
    };
    let needed = |name: &str| field(name).ok_or_else(|| format!("\"{name}\" is empty"));
    Ok(Vm {
        name: needed("name")?.into(),
        host: needed("host")?.into(),
        memory: parsed("memory", needed("memory")?)?,
        dirty_rate: field("dirty_rate").map_or(Ok(nothing()), |text| parsed("dirty_rate", text))?,
        working_set: field("working_set").map(|text| parsed("working_set", text)).transpose()?,
        priority: field("priority").map_or(Ok(priority()), |text| parsed("priority", text))?,
        group: field("group").map(str::to_owned),
        disk: field("disk").map_or(Ok(Default::default()), |text| parsed("disk", text))?,
        state: VmState::Running,
        stop_and_copy: false,
    })
}

fn parsed<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_may_stand_in_any_order() {
        let vms =
            read("host,name,memory,priority,group\n\na1, web ,1.5GiB,,\na2,db,512MiB,90,shop\n")
                .unwrap();
        assert_eq!((vms[0].name.as_str(), vms[0].memory.0, vms[0].priority), ("web", 3 << 29, 50));
        assert_eq!((vms[1].host.as_str(), vms[1].priority), ("a2", 90));
        assert_eq!((&vms[0].group, vms[1].group.as_deref()), (&None, Some("shop")));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let check = |text: &str, line: usize, expect: &str| {
            let (at, what) = read(text).unwrap_err();
            assert!(at == line && what.contains(expect), "{text:?}: line {at}: {what}");
        };
        check("name,host\n", 1, "\"memory\" is missing");
        check("name,host,memory,colour\n", 1, "unknown column \"colour\"");
        check("name,host,memory\nweb,a1,512MiB\ndb,a1,512\n", 3, "no unit");
        check("name,host,memory\nweb,a1\n", 2, "2 fields for 3 columns");
        check("name,host,memory\n,a1,1GiB\n", 2, "\"name\" is empty");
    }
}
