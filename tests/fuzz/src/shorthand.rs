//! One byte for an identifier, so that a mutation can reach another node, link or VM.
//!
//! Identifiers are hashes of eight bytes or UUIDs of sixteen: no fuzzer guesses one. Two bytes that
//! begin nothing valid in an encoded message stand for them: `0xFF k` is node, site or link number
//! `k`, and `0xFE k` is VM number `k`. They are spelled out before a decoder sees the bytes.

/// Stands before the number of a hashed name.
pub const NAME: u8 = 0xFF;
/// Stands before the number of a VM.
pub const VM: u8 = 0xFE;
/// What the codec writes before an integer of eight bytes.
const EIGHT_BYTES: u8 = 253;

/// The identifiers of a world, by number.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Nodes, sites and links.
    pub hashes: Vec<u64>,
    /// VMs.
    pub vms: Vec<[u8; 16]>,
}

impl Names {
    /// Spells the shorthand out.
    pub fn spell_out(&self, bytes: &[u8]) -> Vec<u8> {
        let mut long = Vec::with_capacity(bytes.len() * 2);
        let mut rest = bytes.iter().copied();
        while let Some(byte) = rest.next() {
            let list = match byte {
                NAME => self.hashes.len(),
                VM => self.vms.len(),
                _ => 0,
            };
            match rest.clone().next() {
                Some(number) if usize::from(number) < list => {
                    rest.next();
                    if byte == NAME {
                        long.push(EIGHT_BYTES);
                        long.extend(self.hashes[usize::from(number)].to_le_bytes());
                    } else {
                        long.extend(self.vms[usize::from(number)]);
                    }
                }
                _ => long.push(byte),
            }
        }
        long
    }

    /// Writes the shorthand wherever an identifier stands; undone by [`Self::spell_out`].
    pub fn shorten(&self, bytes: &[u8]) -> Vec<u8> {
        let mut short = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let hash = self.hashes.iter().position(|hash| {
                rest.first() == Some(&EIGHT_BYTES) && rest[1..].starts_with(&hash.to_le_bytes())
            });
            let vm = self.vms.iter().position(|vm| rest.starts_with(vm));
            match (hash, vm) {
                (Some(number), _) => {
                    short.extend([NAME, number as u8]);
                    at += 9;
                }
                (None, Some(number)) => {
                    short.extend([VM, number as u8]);
                    at += 16;
                }
                (None, None) => {
                    short.push(rest[0]);
                    at += 1;
                }
            }
        }
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shortened_is_spelled_out_again() {
        let names = Names { hashes: vec![7 << 40, 9 << 50], vms: vec![[3; 16]] };
        let mut long = vec![1, 2, EIGHT_BYTES];
        long.extend((9_u64 << 50).to_le_bytes());
        long.extend([3; 16]);
        long.push(4);
        let short = names.shorten(&long);
        assert_eq!(short, [1, 2, NAME, 1, VM, 0, 4]);
        assert_eq!(names.spell_out(&short), long);
        assert_eq!(names.spell_out(&[NAME, 200, VM]), [NAME, 200, VM]);
    }
}
