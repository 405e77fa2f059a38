//! Whose turn it is: deficit round robin between the moves of a link.

/// What the heaviest move may send in one turn: a full frame and some.
const QUANTUM: u64 = 68 * 1024;
/// The least a turn gives, so that every frame is reached within about a hundred rounds.
const LEAST_QUANTUM: u64 = 1024;

#[derive(Debug)]
struct Seat {
    weight: u32,
    deficit: u64,
}

/// The seats of a round table; who has nothing to send leaves its time to the others.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    seats: Vec<Seat>,
    cursor: usize,
    /// Whether the seat at the cursor has had its quantum in this turn.
    served: bool,
}

impl Turns {
    /// Adds a seat at the end.
    pub(crate) fn join(&mut self, weight: u32) {
        self.seats.push(Seat { weight: weight.max(1), deficit: 0 });
    }

    /// Removes the seat; those behind it move up by one.
    pub(crate) fn leave(&mut self, index: usize) {
        self.seats.remove(index);
        self.cursor = 0;
        self.served = false;
    }

    pub(crate) fn set_weight(&mut self, index: usize, weight: u32) {
        self.seats[index].weight = weight.max(1);
    }

    /// Picks the seat that sends next and charges it, given the length of each one's next frame.
    pub(crate) fn pick(&mut self, heads: &[Option<usize>]) -> Option<usize> {
        assert_eq!(heads.len(), self.seats.len(), "one head per seat");
        if heads.iter().all(Option::is_none) {
            return None;
        }
        let heaviest = self.seats.iter().map(|seat| seat.weight).max().unwrap_or(1);
        loop {
            let seat = &mut self.seats[self.cursor];
            match heads[self.cursor] {
                None => seat.deficit = 0,
                Some(len) => {
                    if !self.served {
                        let part = QUANTUM * u64::from(seat.weight) / u64::from(heaviest);
                        seat.deficit += part.max(LEAST_QUANTUM);
                        self.served = true;
                    }
                    if seat.deficit >= len as u64 {
                        seat.deficit -= len as u64;
                        return Some(self.cursor);
                    }
                }
            }
            self.cursor = (self.cursor + 1) % self.seats.len();
            self.served = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_by(turns: &mut Turns, heads: &[Option<usize>], frames: usize) -> Vec<usize> {
        let mut sent = vec![0; heads.len()];
        for _ in 0..frames {
            let index = turns.pick(heads).expect("somebody can send");
            sent[index] += heads[index].expect("only who can send is picked");
        }
        sent
    }

    #[test]
    fn bytes_follow_weights_whatever_the_frame_sizes() {
        let mut turns = Turns::default();
        turns.join(300);
        turns.join(100);
        let sent = sent_by(&mut turns, &[Some(4_096), Some(65_560)], 40_000);
        let ratio = sent[0] as f64 / sent[1] as f64;
        assert!((2.9..3.1).contains(&ratio), "{ratio}");
    }

    #[test]
    fn what_one_cannot_use_goes_to_the_others() {
        let mut turns = Turns::default();
        turns.join(1_000_000);
        turns.join(1);
        assert_eq!(sent_by(&mut turns, &[None, Some(65_560)], 10), [0, 655_600]);
        assert_eq!(turns.pick(&[None, None]), None);
    }

    #[test]
    fn a_seat_that_leaves_takes_no_turn() {
        let mut turns = Turns::default();
        turns.join(1);
        turns.join(1);
        turns.pick(&[None, Some(100)]);
        turns.leave(1);
        assert_eq!(turns.pick(&[Some(100)]), Some(0));
    }
}
