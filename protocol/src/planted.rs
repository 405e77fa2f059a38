//! Bugs that can be planted, so that checkers can be seen to find them.
//!
//! Invariant: without the cargo feature `planted`, which no product is built with, [`Planted`] holds
//! nothing and [`Planted::is`] is `false` when this is compiled: no bug is in the code.
//!
//! Each is a mistake that was made elsewhere, or nearly made here. `lifeboat-sim planted` finds all.

/// A bug. [`Bug::about`] says what is done wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // `about` is what there is to say, and is printed.
pub enum Bug {
    GrantFromReceipt,
    LoweredGivenOn,
    TakenOverAtOnce,
    RestartedGrantsAtOnce,
    TableGoesBack,
    FormerLifeForgotten,
    FormerAttemptBelieved,
    GiversClock,
    ContestedAdded,
    DeadIssuerAwaited,
    ArrivalsCountedTwice,
    LostReplyIsFailure,
    ResumesWithoutCommit,
    CommitToldOnce,
    ReservationForEver,
    BeyondFreeMemory,
    ArrivesWhileEvacuated,
    CancelledRevived,
    QueueEntryDropped,
    JournalOrderMatters,
    EndlessInventory,
    HeadPassedOver,
    LeftBehind,
    LastPassDropped,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::GrantFromReceipt,
        Self::LoweredGivenOn,
        Self::TakenOverAtOnce,
        Self::RestartedGrantsAtOnce,
        Self::TableGoesBack,
        Self::FormerLifeForgotten,
        Self::FormerAttemptBelieved,
        Self::GiversClock,
        Self::ContestedAdded,
        Self::DeadIssuerAwaited,
        Self::ArrivalsCountedTwice,
        Self::LostReplyIsFailure,
        Self::ResumesWithoutCommit,
        Self::CommitToldOnce,
        Self::ReservationForEver,
        Self::BeyondFreeMemory,
        Self::ArrivesWhileEvacuated,
        Self::CancelledRevived,
        Self::QueueEntryDropped,
        Self::JournalOrderMatters,
        Self::EndlessInventory,
        Self::HeadPassedOver,
        Self::LeftBehind,
        Self::LastPassDropped,
    ];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::GrantFromReceipt => "grant-from-receipt",
            Self::LoweredGivenOn => "lowered-given-on",
            Self::TakenOverAtOnce => "taken-over-at-once",
            Self::RestartedGrantsAtOnce => "restarted-grants-at-once",
            Self::TableGoesBack => "table-goes-back",
            Self::FormerLifeForgotten => "former-life-forgotten",
            Self::FormerAttemptBelieved => "former-attempt-believed",
            Self::GiversClock => "givers-clock",
            Self::ContestedAdded => "contested-added",
            Self::DeadIssuerAwaited => "dead-issuer-awaited",
            Self::ArrivalsCountedTwice => "arrivals-counted-twice",
            Self::LostReplyIsFailure => "lost-reply-is-failure",
            Self::ResumesWithoutCommit => "resumes-without-commit",
            Self::CommitToldOnce => "commit-told-once",
            Self::ReservationForEver => "reservation-for-ever",
            Self::BeyondFreeMemory => "beyond-free-memory",
            Self::ArrivesWhileEvacuated => "arrives-while-evacuated",
            Self::CancelledRevived => "cancelled-revived",
            Self::QueueEntryDropped => "queue-entry-dropped",
            Self::JournalOrderMatters => "journal-order-matters",
            Self::EndlessInventory => "endless-inventory",
            Self::HeadPassedOver => "head-passed-over",
            Self::LeftBehind => "left-behind",
            Self::LastPassDropped => "last-pass-dropped",
        }
    }

    /// What is done wrongly.
    pub fn about(self) -> &'static str {
        match self {
            Self::GrantFromReceipt => {
                "a grant lives for a lease from its receipt, not from the heartbeat's sending"
            }
            Self::LoweredGivenOn => {
                "what a grant was lowered by is given on before that is confirmed or has run out"
            }
            Self::TakenOverAtOnce => "a slice of a dead issuer is issued without waiting",
            Self::RestartedGrantsAtOnce => "a restarted issuer grants at once",
            Self::TableGoesBack => "a sender goes back to an older version of a table",
            Self::FormerLifeForgotten => {
                "what the former life of a sender was granted is given on as soon as it restarts"
            }
            Self::FormerAttemptBelieved => {
                "what a source says of a former attempt is taken for word of the present one"
            }
            Self::GiversClock => "what is left of a lease handed on counts from its receipt",
            Self::ContestedAdded => "tokens that two issuers claim are added, not taken away",
            Self::DeadIssuerAwaited => "issuers wait for the word of a dead one for ever",
            Self::ArrivalsCountedTwice => "what arrives counts twice in the estimate of a link",
            Self::LostReplyIsFailure => "silence about a migration is taken for its failure",
            Self::ResumesWithoutCommit => "a complete copy is resumed without the source's word",
            Self::CommitToldOnce => "the commit is told once, and not to whoever asks",
            Self::ReservationForEver => "a reservation that nobody renews stays",
            Self::BeyondFreeMemory => "room is set aside beyond the memory that is free",
            Self::ArrivesWhileEvacuated => "a host takes VMs in while it is being emptied",
            Self::CancelledRevived => "an old message revives a cancelled evacuation",
            Self::QueueEntryDropped => "a restarted daemon drops the VMs that it was moving",
            Self::JournalOrderMatters => "of several arrivals only the first one read is restored",
            Self::EndlessInventory => "an inventory repeats all that was ever told",
            Self::HeadPassedOver => "the head of the order gets nothing while others want the link",
            Self::LeftBehind => "the last VM of a host never leaves",
            Self::LastPassDropped => {
                "the hypervisor does not send what was rewritten since the move began (of the world)"
            }
        }
    }
}

/// What is planted in a node: nothing, or one [`Bug`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Planted {
    #[cfg(feature = "planted")]
    bug: Option<Bug>,
}

impl Planted {
    /// One bug.
    #[cfg(feature = "planted")]
    pub fn one(bug: Bug) -> Self {
        Self { bug: Some(bug) }
    }

    /// Whether this bug is planted.
    #[cfg(feature = "planted")]
    pub fn is(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether this bug is planted: never.
    #[cfg(not(feature = "planted"))]
    pub const fn is(self, _: Bug) -> bool {
        false
    }
}
