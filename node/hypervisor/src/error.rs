//! What can go wrong when a hypervisor is asked for something.

use crate::VmId;

/// Why a hypervisor did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HypervisorError {
    /// No connection; the driver keeps trying by itself.
    #[error(
        "the {kind} hypervisor cannot be reached ({reason}); the daemon goes on when it comes back"
    )]
    Unreachable {
        /// Which driver.
        kind: &'static str,
        /// What the connection said.
        reason: String,
    },
    /// This host knows no such VM.
    #[error("there is no VM {0} on this host")]
    NoSuchVm(VmId),
    /// The hypervisor answered no. State on the hypervisor is unchanged as far as it says.
    #[error("the hypervisor refused to {what}: {reason}")]
    Refused {
        /// What was asked, as a verb phrase.
        what: String,
        /// What it answered.
        reason: String,
    },
    /// No answer within the deadline: the outcome is unknown, look before doing anything else.
    #[error("no answer from the hypervisor to {what} within {seconds} s; the outcome is unknown")]
    Timeout {
        /// What was asked, as a verb phrase.
        what: String,
        /// The deadline in seconds.
        seconds: u64,
    },
}
