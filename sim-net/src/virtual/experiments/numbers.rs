//! Medians and how figures are written.

/// The value below which `part` (0 to 1) of all lie; not a number if there are none.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = part * (sorted.len().max(1) - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(below), Some(above)) => below + (above - below) * (at - at.floor()),
        _ => f64::NAN,
    }
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The largest; not a number if there are none.
pub(crate) fn largest(values: &[f64]) -> f64 {
    quantile(values, 1.0)
}

/// A figure with so many digits after the point, or a dash.
pub(crate) fn shown(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "-".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_values_it_is_in_proportion() {
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(quantile(&[0.0, 10.0, 20.0], 0.25), 5.0);
        assert_eq!(largest(&[3.0, 9.0, 2.0]), 9.0);
        assert!(median(&[]).is_nan());
        assert_eq!((shown(1.25, 1), shown(f64::NAN, 1)), ("1.2".into(), "-".into()));
    }
}
