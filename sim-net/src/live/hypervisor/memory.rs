//! The memory of one VM, with its dirty bitmap.
//!
//! Memory is cut into slabs of 64 pages; one lock guards a slab's bytes together with the word of
//! the bitmap that belongs to it.
//!
//! Invariants:
//! - *No torn page*: a page is read and written under its slab's lock.
//! - *No lost write*: whoever changes a page marks it dirty, and whoever clears the mark copies
//!   the page, under one hold of the lock.

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::live::locked;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// Pages of a slab: the bits of a bitmap word.
pub(crate) const SLAB_PAGES: usize = 64;
/// Bytes of a slab.
pub(crate) const SLAB: usize = PAGE * SLAB_PAGES;

static ZEROS: [u8; PAGE] = [0; PAGE];

struct Slab {
    bytes: Box<[u8]>,
    dirty: u64,
}

/// What [`Memory::take_dirty`] took out of a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The pages that were dirty, one bit each.
    pub(crate) pages: u64,
    /// Those of them that are all zeros; their bytes are left out.
    pub(crate) zeros: u64,
}

/// The memory of one VM.
pub(crate) struct Memory {
    slabs: Vec<Mutex<Slab>>,
    pages: usize,
    dirty_pages: AtomicU64,
    dirtied_pages: AtomicU64,
    /// A planted bug: every so many newly dirtied pages, the mark of one is forgotten.
    #[cfg(test)]
    pub(crate) forget_every: AtomicU64,
}

impl Memory {
    /// Memory of zeros, none of them dirty. `bytes` must be a multiple of [`PAGE`].
    pub(crate) fn new(bytes: u64) -> Self {
        let pages = usize::try_from(bytes).expect("memory is addressable") / PAGE;
        let slabs = (0..pages.div_ceil(SLAB_PAGES))
            .map(|slab| {
                let pages = SLAB_PAGES.min(pages - slab * SLAB_PAGES);
                let bytes = vec![0; pages * PAGE].into_boxed_slice();
                Mutex::new(Slab { bytes, dirty: 0 })
            })
            .collect();
        Self {
            slabs,
            pages,
            dirty_pages: AtomicU64::new(0),
            dirtied_pages: AtomicU64::new(0),
            #[cfg(test)]
            forget_every: AtomicU64::new(0),
        }
    }

    /// Number of pages.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// Number of slabs.
    pub(crate) fn slabs(&self) -> usize {
        self.slabs.len()
    }

    /// Bytes of dirty pages.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.dirty_pages.load(Ordering::Relaxed) * PAGE as u64
    }

    /// Bytes of pages that became dirty since the memory was made; only grows.
    pub(crate) fn dirtied_bytes(&self) -> u64 {
        self.dirtied_pages.load(Ordering::Relaxed) * PAGE as u64
    }

    /// Lets `change` rewrite each page of a range, and marks them dirty.
    pub(crate) fn write(&self, pages: Range<usize>, mut change: impl FnMut(usize, &mut [u8])) {
        let mut page = pages.start;
        while page < pages.end {
            let slab_start = page - page % SLAB_PAGES;
            let end = pages.end.min(slab_start + SLAB_PAGES);
            let mut slab = locked(&self.slabs[page / SLAB_PAGES]);
            for page in page..end {
                let index = page - slab_start;
                change(page, &mut slab.bytes[index * PAGE..][..PAGE]);
                self.mark(&mut slab, index);
            }
            page = end;
        }
    }

    fn mark(&self, slab: &mut Slab, index: usize) {
        if slab.dirty & (1 << index) != 0 {
            return;
        }
        let nth = self.dirtied_pages.fetch_add(1, Ordering::Relaxed) + 1;
        if self.forgets(nth) {
            return;
        }
        slab.dirty |= 1 << index;
        self.dirty_pages.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    fn forgets(&self, nth: u64) -> bool {
        nth.checked_rem(self.forget_every.load(Ordering::Relaxed)) == Some(0)
    }

    #[cfg(not(test))]
    fn forgets(&self, _nth: u64) -> bool {
        false
    }

    /// Marks every page dirty.
    pub(crate) fn mark_all(&self) {
        for (number, slab) in self.slabs.iter().enumerate() {
            let mut slab = locked(slab);
            let all = self.whole_slab(number);
            let new = all & !slab.dirty;
            slab.dirty = all;
            self.dirty_pages.fetch_add(u64::from(new.count_ones()), Ordering::Relaxed);
        }
    }

    /// The bits of the pages that a slab has.
    pub(crate) fn whole_slab(&self, slab: usize) -> u64 {
        let pages = SLAB_PAGES.min(self.pages - slab * SLAB_PAGES);
        u64::MAX >> (SLAB_PAGES - pages)
    }

    /// Appends a slab's dirty pages to `out`, the zero pages left out, and clears their marks.
    pub(crate) fn take_dirty(&self, slab: usize, out: &mut Vec<u8>) -> Taken {
        let mut slab = locked(&self.slabs[slab]);
        let mut taken = Taken { pages: slab.dirty, zeros: 0 };
        for index in bits(taken.pages) {
            let page = &slab.bytes[index * PAGE..][..PAGE];
            if page == ZEROS {
                taken.zeros |= 1 << index;
            } else {
                out.extend_from_slice(page);
            }
        }
        slab.dirty = 0;
        self.dirty_pages.fetch_sub(u64::from(taken.pages.count_ones()), Ordering::Relaxed);
        taken
    }

    /// A slab's bytes, for whoever is alone with the memory. Marks nothing.
    pub(crate) fn slab_mut(&mut self, slab: usize) -> &mut [u8] {
        &mut self.slabs[slab].get_mut().expect("nobody else was here to panic").bytes
    }

    /// Calls `look` with every page in order.
    pub(crate) fn for_each_page(&self, mut look: impl FnMut(usize, &[u8])) {
        for (number, slab) in self.slabs.iter().enumerate() {
            for (index, page) in locked(slab).bytes.chunks_exact(PAGE).enumerate() {
                look(number * SLAB_PAGES + index, page);
            }
        }
    }

    /// Digest of all bytes as they are now. Meaningful only while nobody writes.
    pub(crate) fn digest(&self) -> u128 {
        combine((0..self.slabs()).map(|slab| self.slab_digest(slab)))
    }

    /// XXH3-128 of a slab's bytes as they are now.
    pub(crate) fn slab_digest(&self, slab: usize) -> u128 {
        xxh3_128(&locked(&self.slabs[slab]).bytes)
    }
}

/// The digest of a memory from those of all its slabs.
pub(crate) fn combine(slabs: impl Iterator<Item = u128>) -> u128 {
    let mut whole = Xxh3::new();
    slabs.for_each(|slab| whole.update(&slab.to_le_bytes()));
    whole.digest128()
}

/// The positions of a word's set bits, from the lowest.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let position = word.trailing_zeros() as usize;
            word &= word - 1;
            position
        })
    })
}
