//! The same for many, several at a time, in the order of what was given.

use std::{num::NonZero, sync::Mutex};

/// Does `work` for every item, on so many threads.
///
/// # Errors
/// The first that `work` returned, in the order of the items.
pub(crate) fn over<T: Sync, R: Send>(
    items: &[T],
    threads: NonZero<usize>,
    work: impl Fn(&T) -> Result<R, String> + Sync,
) -> Result<Vec<R>, String> {
    let next = Mutex::new(0..items.len());
    let take = || next.lock().expect("nobody panics with it").next();
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.get().min(items.len()) {
            scope.spawn(|| {
                while let Some(index) = take() {
                    let result = work(&items[index]);
                    results.lock().expect("nobody panics with it").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("nobody panics with it");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_items() {
        let items: Vec<u64> = (0..50).collect();
        let doubled = over(&items, NonZero::new(3).unwrap(), |item| Ok(item * 2)).unwrap();
        assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_counts() {
        let refuse = |item: &u64| if *item > 3 { Err(format!("{item}")) } else { Ok(*item) };
        let items: Vec<u64> = (0..50).collect();
        assert_eq!(over(&items, NonZero::new(4).unwrap(), refuse), Err("4".to_string()));
    }
}
