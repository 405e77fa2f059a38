//! Memory that arrives is memory that left: a VM runs on with what it had when it last ran.

use super::{Check, Checks};

impl Checks {
    /// A copy with the content `stamp` starts to run; the VM's last content was `true_stamp`.
    pub(crate) fn resumed(&mut self, now: u64, name: &str, stamp: u64, true_stamp: u64) {
        if stamp != true_stamp {
            let what = format!("{name} runs on with memory that is older than its last run");
            self.object(Check::Intact, now, what);
        }
    }
}
