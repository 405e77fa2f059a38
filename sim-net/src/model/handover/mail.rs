//! Every message between the two ends that was ever sent: each may arrive at any time, again, or
//! never.

use super::host::mark;
use lifeboat_protocol::{
    message::{Direct, Message},
    vm::Copy,
    wire,
};
use std::sync::Arc;

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    /// Whom it is for.
    pub(super) to: usize,
    pub(super) bytes: Arc<[u8]>,
    /// The same, for people.
    pub(super) words: Arc<str>,
    /// How often it has arrived and changed something.
    pub(super) arrived: u8,
}

impl Letter {
    /// Whether it says the same to the same host.
    pub(super) fn is(&self, other: &Letter) -> bool {
        (self.to, &self.bytes) == (other.to, &other.bytes)
    }
}

/// All of them, in the order of their bytes: when each was sent does not matter any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Mail {
    pub(super) letters: Vec<Letter>,
    /// Hash of all of them.
    pub(super) mark: u64,
    /// The source said that its copy is gone.
    pub(super) gone: bool,
    /// The source said that the VM stays.
    pub(super) kept: bool,
    /// The destination said that it has a whole copy.
    pub(super) whole: bool,
}

impl Mail {
    /// Sends a message, unless the same was sent before.
    pub(super) fn post(mail: &mut Arc<Self>, to: usize, direct: &Direct) {
        let bytes: Arc<[u8]> = wire::encode(&Message::Direct(direct.clone())).into();
        let key = |letter: &Letter| (letter.to, letter.bytes.clone());
        let Err(place) = mail.letters.binary_search_by_key(&(to, bytes.clone()), key) else {
            return;
        };
        let mail = Arc::make_mut(mail);
        // Any order does for the sum: the set is what counts.
        mail.mark = mail.mark.wrapping_add(mark(&(to, &bytes)));
        mail.gone |= matches!(direct, Direct::SourceGone { .. });
        mail.kept |= matches!(direct, Direct::SourceKept { .. });
        mail.whole |= matches!(direct, Direct::DestinationHas { copy: Copy::Paused, .. });
        mail.letters.insert(place, Letter { to, bytes, words: words(to, direct), arrived: 0 });
    }

    /// The letter has arrived and changed something.
    pub(super) fn arrived(mail: &mut Arc<Self>, which: usize) {
        let mail = Arc::make_mut(mail);
        let letter = &mut mail.letters[which];
        letter.arrived += 1;
        mail.mark = mail.mark.wrapping_add(mark(&(letter.to, &letter.bytes, letter.arrived)));
    }
}

fn words(to: usize, direct: &Direct) -> Arc<str> {
    let text = match direct {
        Direct::Reserve { id, .. } => format!("Reserve, attempt {}", id.attempt),
        Direct::Reserved { id, answer } => format!("Reserved {answer:?}, attempt {}", id.attempt),
        Direct::DestinationHas { id, copy } => {
            format!("DestinationHas {copy:?}, attempt {}", id.attempt)
        }
        Direct::Preparing { id } => format!("Preparing, attempt {}", id.attempt),
        Direct::Renew { id } => format!("Renew, attempt {}", id.attempt),
        Direct::SourceGone { id, .. } => format!("SourceGone, attempt {}", id.attempt),
        Direct::Withheld { id } => format!("Withheld, attempt {}", id.attempt),
        Direct::SourceKept { id } => format!("SourceKept, attempt {}", id.attempt),
        Direct::Settled { id, .. } => format!("Settled, attempt {}", id.attempt),
        Direct::Discarded { id } => format!("Discarded, attempt {}", id.attempt),
        Direct::Closed { id } => format!("Closed, attempt {}", id.attempt),
        Direct::Ask { id, .. } => format!("Ask, attempt {}", id.attempt),
        Direct::HandOn(_) => "HandOn".into(),
    };
    let receiver = ["the source", "the destination"][to];
    format!("{text}, to {receiver}").into()
}
